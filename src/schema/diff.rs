//! What differs between two documents, member by member, by the exact text of values.

use crate::base::json::{Doc, Kind, Node, Pointer};

/// One difference: a place with what stood there and what stands there.
#[derive(Debug, Clone)]
pub struct Difference<'b, 'a> {
    /// The place.
    pub at: Pointer,
    /// The value before; `None` where it was added.
    pub before: Option<Node<'b>>,
    /// The value after; `None` where it was removed.
    pub after: Option<Node<'a>>,
}

/// All differences between two documents, each at the deepest place that tells it.
///
/// The order of members does not count; the spelling of every scalar does.
pub fn differences<'b, 'a>(before: &'b Doc<'_>, after: &'a Doc<'_>) -> Vec<Difference<'b, 'a>> {
    let mut out = Vec::new();
    compare(before.root(), after.root(), &mut Vec::new(), &mut out);
    out
}

fn compare<'b, 'a>(
    before: Node<'b>,
    after: Node<'a>,
    at: &mut Vec<String>,
    out: &mut Vec<Difference<'b, 'a>>,
) {
    if before.raw() == after.raw() {
        return;
    }
    let place = |at: &[String]| Pointer::from_tokens(at.iter().cloned());
    match (before.kind(), after.kind()) {
        (Kind::Object, Kind::Object) => {
            for member in before.members() {
                let key = member.key();
                at.push(key.clone().into_owned());
                match after.get(&key) {
                    Some(other) => compare(member.value(), other, at, out),
                    None => out.push(Difference { at: place(at), before: Some(member.value()), after: None }),
                }
                at.pop();
            }
            for member in after.members() {
                let key = member.key();
                if before.get(&key).is_none() {
                    at.push(key.into_owned());
                    out.push(Difference { at: place(at), before: None, after: Some(member.value()) });
                    at.pop();
                }
            }
        }
        (Kind::Array, Kind::Array) => {
            let (mut old, mut new) = (before.elements(), after.elements());
            for i in 0..before.len().max(after.len()) {
                at.push(i.to_string());
                match (old.next(), new.next()) {
                    (Some(a), Some(b)) => compare(a, b, at, out),
                    (a, b) => out.push(Difference { at: place(at), before: a, after: b }),
                }
                at.pop();
            }
        }
        _ => out.push(Difference { at: place(at), before: Some(before), after: Some(after) }),
    }
}
