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

/// Members by name, looked for first where they stand if the order is the same.
struct Partner<'n> {
    object: Node<'n>,
    next: Option<Node<'n>>,
}

impl<'n> Partner<'n> {
    fn of(object: Node<'n>) -> Self {
        Self { object, next: object.children().next() }
    }

    fn find(&mut self, member: Node<'_>) -> Option<Node<'n>> {
        let found = match self.next {
            Some(next) if next.same_key(&member) => Some(next),
            _ => self.object.get(&member.key()?),
        }?;
        self.next = found.next_sibling();
        Some(found)
    }
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
    let place =
        |at: &[String], name: String| Pointer::from_tokens(at.iter().cloned().chain(std::iter::once(name)));
    let key = |node: &Node<'_>| node.key().unwrap_or_default().into_owned();
    match (before.kind(), after.kind()) {
        (Kind::Object, Kind::Object) => {
            let mut partner = Partner::of(after);
            for old in before.children() {
                match partner.find(old) {
                    Some(new) if new.raw() == old.raw() => {}
                    Some(new) => {
                        at.push(key(&old));
                        compare(old, new, at, out);
                        at.pop();
                    }
                    None => out.push(Difference { at: place(at, key(&old)), before: Some(old), after: None }),
                }
            }
            let mut partner = Partner::of(before);
            for new in after.children() {
                if partner.find(new).is_none() {
                    out.push(Difference { at: place(at, key(&new)), before: None, after: Some(new) });
                }
            }
        }
        (Kind::Array, Kind::Array) => {
            let (mut old, mut new) = (before.elements(), after.elements());
            for i in 0..before.len().max(after.len()) {
                match (old.next(), new.next()) {
                    (Some(a), Some(b)) if a.raw() == b.raw() => {}
                    (Some(a), Some(b)) => {
                        at.push(i.to_string());
                        compare(a, b, at, out);
                        at.pop();
                    }
                    (a, b) => out.push(Difference { at: place(at, i.to_string()), before: a, after: b }),
                }
            }
        }
        _ => out.push(Difference {
            at: Pointer::from_tokens(at.iter().cloned()),
            before: Some(before),
            after: Some(after),
        }),
    }
}
