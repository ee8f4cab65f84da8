//! What must hold between a document and what one migration made of it, looked at once more and
//! apart from the engine that made it.

use crate::base::json::{self, Doc, Json, Kind, Node, Pointer, PointerPattern, print_compact};
use crate::schema::apply::preview;
use crate::schema::detect::Detection;
use crate::schema::diff::differences;
use crate::schema::pack::Pack;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub code: &'static str,
    /// The step, from 1, where one is to blame.
    pub step: Option<usize>,
    pub message: String,
    /// What differs, a line each.
    pub difference: Vec<String>,
}

impl Problem {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, step: None, message: message.into(), difference: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, difference: Vec<String>) -> Self {
        self.difference = difference;
        self
    }
}

/// The shape that a detection tells, if it tells one.
pub(in crate::schema) fn shape_name(detection: &Detection) -> Option<String> {
    match detection {
        Detection::Known { version, variant } | Detection::Legacy { version, variant, .. } => {
            Some(match variant {
                Some(variant) => format!("{version}/{variant}"),
                None => version.clone(),
            })
        }
        _ => None,
    }
}

/// The differences of two texts, a line each, the first few.
pub(super) fn told(before: &[u8], after: &[u8]) -> Vec<String> {
    const SHOWN: usize = 8;
    let (Ok(before), Ok(after)) = (json::scan(before), json::scan(after)) else {
        return vec!["not JSON".to_owned()];
    };
    let text = |node: Option<Node<'_>>| {
        node.map_or("absent".to_owned(), |node| preview(&print_compact(&Json::from(node))))
    };
    let differences = differences(&before, &after);
    let more = differences.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = differences
        .iter()
        .take(SHOWN)
        .map(|d| format!("{}: {} -> {}", shown(&d.at), text(d.before), text(d.after)))
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn shown(at: &Pointer) -> String {
    if at.is_root() { "the document".to_owned() } else { at.to_string() }
}

impl Pack {
    /// The first thing that is wrong with what a migration made.
    pub(super) fn judge(&self, number: usize, before: &[u8], after: &[u8]) -> Option<Problem> {
        let migration = &self.migrations[number];
        let problem = |code, message: String| Some(Problem::new(code, message).with(told(before, after)));
        let (Ok(old), Ok(new)) = (json::scan(before), json::scan(after)) else {
            return problem("misfit", "the result is not a JSON document".to_owned());
        };
        let detection = self.detect(&new);
        let arrived = shape_name(&detection);
        let fits = arrived.as_deref().is_some_and(|name| {
            name == migration.to || name.split_once('/').is_some_and(|(version, _)| version == migration.to)
        });
        if !fits {
            return problem("misfit", format!("the result is no document of {}: {detection}", migration.to));
        }
        let mut declared = migration.declared();
        declared.extend(self.version_at.as_ref().map(PointerPattern::from));
        for difference in differences(&old, &new) {
            if !within(&declared, &difference.at, difference.before, difference.after) {
                let message = format!("{} changes, and no step declares it", shown(&difference.at));
                return problem("undeclared", message);
            }
        }
        for frozen in &self.frozen {
            for node in frozen.nodes(&old) {
                let at = node.pointer();
                if new.at(&at).is_none_or(|other| other.raw() != node.raw()) {
                    return problem("frozen", format!("{} changes, and it is frozen", shown(&at)));
                }
            }
        }
        let invented = self.measured.iter().flat_map(|measured| measured.nodes(&new)).find(|node| {
            !node.is_null()
                && old.at(&node.pointer()).is_none_or(|own| own.raw() != node.raw())
                && !was_there(&old, node)
        });
        let at = invented?.pointer();
        problem(
            "measured",
            format!("{} is measured, and gets a value that the document did not have", shown(&at)),
        )
    }
}

/// Whether a value stood anywhere in a document: it was moved then, and not made up.
fn was_there(doc: &Doc<'_>, wanted: &Node<'_>) -> bool {
    fn search(node: Node<'_>, wanted: &Node<'_>) -> bool {
        node.raw() == wanted.raw() || node.children().any(|child| search(child, wanted))
    }
    search(doc.root(), wanted)
}

/// Whether a difference is declared: its place, or, for an object made to hold declared members,
/// each of its members.
fn within(
    declared: &[PointerPattern],
    at: &Pointer,
    before: Option<Node<'_>>,
    after: Option<Node<'_>>,
) -> bool {
    if declared.iter().any(|pattern| pattern.covers(at)) {
        return true;
    }
    match (before, after) {
        (None, Some(node)) if node.kind() == Kind::Object && !node.is_empty() => {
            node.members().all(|member| within(declared, &at.child(member.key()), None, Some(member.value())))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const PACK: &str = r#"
        [pack]
        name = "p"
        version = "1"
        version_at = "/v"
        head = "2"
        order = "graph"
        [[shape]]
        version = "1"
        schema = "any.json"
        [[shape]]
        version = "2"
        schema = "two.json"
        [fields]
        frozen = ["/id"]
        measured = ["/watts"]
        [[migration]]
        from = "1"
        to = "2"
        [[migration.step]]
        op = "rename"
        path = "/a"
        to = "b"
    "#;

    fn judged(before: &str, after: &str) -> Option<&'static str> {
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        let files = BTreeMap::from([
            file("pack.toml", PACK),
            file("any.json", r#"{"type": "object"}"#),
            file("two.json", r#"{"type": "object", "required": ["b"]}"#),
        ]);
        let pack = Pack::parse(&files).unwrap();
        pack.judge(0, before.as_bytes(), after.as_bytes()).map(|problem| problem.code)
    }

    #[test]
    fn each_rule_is_seen_to_fail() {
        let before = r#"{"v":"1","a":1,"id":7,"watts":2.5}"#;
        assert_eq!(judged(before, r#"{"v":"2","b":1,"id":7,"watts":2.5}"#), None);
        assert_eq!(judged(before, r#"{"v":"2","id":7,"watts":2.5}"#), Some("misfit"));
        assert_eq!(judged(before, r#"{"v":"2","b":1,"id":7,"watts":2.5"#), Some("misfit"));
        assert_eq!(judged(before, r#"{"v":"2","b":1,"id":7,"watts":2.5,"c":0}"#), Some("undeclared"));
        assert_eq!(judged(before, r#"{"v":"2","b":1,"id":7}"#), Some("undeclared"));
        let pack = |frozen: &str, after: &str| {
            let text = PACK.replace("path = \"/a\"", "path = \"/c\"").replace("\"b\"", frozen);
            let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
            let files = BTreeMap::from([
                file("pack.toml", &text),
                file("any.json", r#"{"type": "object"}"#),
                file("two.json", r#"{"type": "object"}"#),
            ]);
            let mut pack = Pack::parse(&files).unwrap();
            // Loading a pack refuses such steps; what is tried here is that the check sees it too.
            pack.migrations[0].steps[0].path = "/id".parse().unwrap();
            pack.judge(0, before.as_bytes(), after.as_bytes()).map(|problem| problem.code)
        };
        assert_eq!(pack("\"watts\"", r#"{"v":"2","a":1,"id":8,"watts":2.5}"#), Some("frozen"));
        assert_eq!(pack("\"watts\"", r#"{"v":"2","a":1,"id":7,"watts":3.5}"#), Some("measured"));
        assert_eq!(pack("\"watts\"", r#"{"v":"2","a":1,"id":7,"watts":7}"#), None);
    }
}
