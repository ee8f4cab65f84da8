//! A first pack from example documents: which shapes there are, how to tell them apart, and a JSON
//! Schema for each. Migrations are the author's to write.
//!
//! Documents are grouped by label, then by what they hold. Two that differ only in members that one of
//! them lacks are one shape with optional members, and so are two that no condition could tell apart.
//! Where each has members that the other lacks, they are one shape too, unless they have little in common
//! or a member of the one looks like one of the other under another name or in another place. A draft is
//! answered only if it reads as a pack and each document is detected as exactly one shape.

mod write;

use std::collections::{BTreeMap, BTreeSet};

use super::error::PackError;
use super::pack::Pack;
use crate::base::json::{self, Doc, Json, Kind, Node, Pointer, quote};
use write::Writer;

/// An example document.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'s> {
    /// Where it comes from, for messages.
    pub place: &'s str,
    /// Its text.
    pub text: &'s [u8],
}

/// A drafted pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Each shape, and how many of the documents have it.
    pub shapes: Vec<(String, usize)>,
    /// Where the label was found.
    pub version_at: Option<Pointer>,
    /// Documents that no pack can be drafted from: their places, and why.
    pub left_out: Vec<(String, String)>,
}

/// Why no pack can be drafted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// There is nothing to draft from.
    #[error("there are no documents to draft a pack from")]
    NoDocuments,
    /// No document can be used.
    #[error("there is no document to draft a pack from: {place}: {why}")]
    Document {
        /// Where the first one is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The draft does not read as a pack.
    #[error("the draft cannot be read: {0}")]
    Pack(#[from] PackError),
    /// A document is not told by the draft.
    #[error("{place}: the draft does not tell it: {detection}")]
    NotTold {
        /// Where the document is.
        place: String,
        /// What the draft says.
        detection: String,
    },
}

/// Members in which labels are looked for.
const LABELS: [&str; 3] = ["/schema_version", "/version", "/app_version"];
/// More groups than this under one label are taken for one shape with optional members.
const MOST_SHAPES: usize = 24;
/// An object with more names than this over all documents, none in each, is taken for a map.
const MAP_NAMES: usize = 24;
/// The version of documents that have no label.
const UNLABELLED: &str = "unlabelled";

/// Documents of one shape.
struct Group<'d> {
    docs: Vec<&'d Doc<'d>>,
    /// The first document's number, for the order.
    first: usize,
}

/// Drafts a pack. `version_at` says where the label is; without it the usual places are tried.
pub fn draft(name: &str, samples: &[Sample<'_>], version_at: Option<&Pointer>) -> Result<Draft, DraftError> {
    let mut docs = Vec::with_capacity(samples.len());
    let mut places = Vec::with_capacity(samples.len());
    let mut left_out = Vec::new();
    for sample in samples {
        match json::scan(sample.text) {
            Ok(doc) if doc.root().kind() == Kind::Object => {
                docs.push(doc);
                places.push(sample.place);
            }
            Ok(doc) => {
                let why = format!("it is of type {}, not an object", doc.root().kind().name());
                left_out.push((sample.place.to_owned(), why));
            }
            Err(error) => left_out.push((sample.place.to_owned(), error.to_string())),
        }
    }
    let is_text = |doc: &Doc<'_>, at: &Pointer| doc.at(at).is_some_and(|node| node.kind() == Kind::String);
    let found = LABELS
        .iter()
        .filter_map(|at| at.parse::<Pointer>().ok())
        .filter(|at| docs.iter().any(|doc| is_text(doc, at)))
        .max_by_key(|at| docs.iter().filter(|doc| is_text(doc, at)).count());
    let version_at = version_at.cloned().or(found);
    let labels = labels(&mut docs, &mut places, version_at.as_ref(), &mut left_out);
    if docs.is_empty() {
        return Err(match left_out.into_iter().next() {
            Some((place, why)) => DraftError::Document { place, why },
            None => DraftError::NoDocuments,
        });
    }
    let mut by_label: Vec<(Option<String>, Vec<usize>)> = Vec::new();
    for (number, label) in labels.iter().enumerate() {
        match by_label.iter_mut().find(|(own, _)| own == label) {
            Some((_, numbers)) => numbers.push(number),
            None => by_label.push((label.clone(), vec![number])),
        }
    }
    let mut writer = Writer::new(name, version_at.as_ref());
    for (label, numbers) in &by_label {
        let mut groups = groups(&docs, numbers);
        while let Some((a, b)) = merge_due(&groups) {
            let other = groups.remove(b);
            groups[a].docs.extend(other.docs);
        }
        groups.sort_by_key(|group| group.first);
        writer.label(label.as_deref(), &groups);
    }
    let Writer { files, shapes, .. } = writer.end(&by_label);
    let pack = Pack::parse(&files)?;
    for (doc, place) in docs.iter().zip(places) {
        let detection = pack.detect(doc);
        if super::check::shape_of(&detection).is_none() {
            let (place, detection) = (place.to_owned(), detection.to_string());
            return Err(DraftError::NotTold { place, detection });
        }
    }
    Ok(Draft { files, shapes, version_at, left_out })
}

/// The label of each document; one that has something else in its place is left out.
fn labels(
    docs: &mut Vec<Doc<'_>>,
    places: &mut Vec<&str>,
    at: Option<&Pointer>,
    left_out: &mut Vec<(String, String)>,
) -> Vec<Option<String>> {
    let Some(at) = at else { return vec![None; docs.len()] };
    let mut labels = Vec::with_capacity(docs.len());
    let mut kept = Vec::with_capacity(docs.len());
    for (doc, place) in docs.iter().zip(places.iter()) {
        let label = doc.at(at).map(|node| node.as_str().filter(|text| !text.is_empty()).map(Into::into));
        kept.push(label != Some(None));
        match label {
            Some(None) => left_out.push(((*place).to_owned(), format!("what is at {at} is no label"))),
            label => labels.push(label.flatten()),
        }
    }
    let mut keep = kept.iter().copied();
    docs.retain(|_| keep.next().unwrap_or(true));
    let mut keep = kept.iter().copied();
    places.retain(|_| keep.next().unwrap_or(true));
    labels
}

/// What is seen of a member: its type, and the names within it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    kind: &'static str,
    inner: BTreeSet<String>,
}

type Names = BTreeMap<String, Seen>;

fn names(doc: &Doc<'_>) -> Names {
    let seen = |node: Node<'_>| Seen {
        kind: node.kind().name(),
        inner: node.members().map(|member| member.key().into_owned()).collect(),
    };
    doc.root().members().map(|m| (m.key().into_owned(), seen(m.value()))).collect()
}

/// The words of a name: `gpu_count` and `gpuCount` have two.
fn words(name: &str) -> BTreeSet<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            last.extend(c.to_lowercase());
        }
    }
    words.into_iter().filter(|word| word.len() > 1).collect()
}

/// Whether a member may be another one under another name, or hold it.
fn alike(a: (&String, &Seen), b: (&String, &Seen)) -> bool {
    if a.1.inner.contains(b.0) || b.1.inner.contains(a.0) {
        return true;
    }
    let named = !words(a.0).is_disjoint(&words(b.0));
    let held = a.1.inner.intersection(&b.1.inner).count() * 2;
    a.1.kind == b.1.kind && (named || held > a.1.inner.len().max(b.1.inner.len()))
}

/// Whether documents with these members may be of one shape.
fn one_shape(a: &Names, b: &Names) -> bool {
    let fits = |x: &Seen, y: &Seen| x.kind == y.kind || x.kind == "null" || y.kind == "null";
    if !a.iter().all(|(name, seen)| b.get(name).is_none_or(|other| fits(seen, other))) {
        return false;
    }
    let only = |a: &Names, b: &Names| -> Vec<(String, Seen)> {
        let own = a.iter().filter(|(name, _)| !b.contains_key(*name));
        own.map(|(name, seen)| (name.clone(), seen.clone())).collect()
    };
    let (left, right) = (only(a, b), only(b, a));
    let common = a.len() - left.len();
    let renamed = left.iter().any(|(n, s)| right.iter().any(|(m, t)| alike((n, s), (m, t))));
    left.is_empty() || right.is_empty() || (!renamed && common > left.len() + right.len())
}

/// Groups documents whose top members differ only by some that one of them lacks.
fn groups<'d>(docs: &'d [Doc<'d>], numbers: &[usize]) -> Vec<Group<'d>> {
    let mut groups: Vec<(Names, Group<'d>)> = Vec::new();
    for &number in numbers {
        let own = names(&docs[number]);
        match groups.iter_mut().find(|(seen, _)| one_shape(seen, &own)) {
            Some((seen, group)) => {
                group.docs.push(&docs[number]);
                for (name, new) in own {
                    let known = seen.entry(name).or_insert_with(|| new.clone());
                    if known.kind == "null" {
                        known.kind = new.kind;
                    }
                    known.inner.extend(new.inner);
                }
            }
            None => groups.push((own, Group { docs: vec![&docs[number]], first: number })),
        }
    }
    let mut groups: Vec<Group<'d>> = groups.into_iter().map(|(_, group)| group).collect();
    if groups.len() > MOST_SHAPES {
        let first = groups[0].first;
        let docs = groups.drain(..).flat_map(|group| group.docs).collect();
        groups.push(Group { docs, first });
    }
    groups
}

/// Members that all documents of one group have and none of the other.
fn only_in<'d>(group: &Group<'d>, other: &Group<'d>) -> Option<String> {
    let has = |doc: &Doc<'_>, name: &str| doc.root().get(name).is_some();
    let first = group.docs.first()?;
    first.root().members().map(|member| member.key().into_owned()).find(|name| {
        group.docs.iter().all(|doc| has(doc, name)) && !other.docs.iter().any(|doc| has(doc, name))
    })
}

/// A member with one type in all of one group and another type in all of the other.
fn other_type<'d>(group: &Group<'d>, other: &Group<'d>) -> Option<(String, &'static str)> {
    let kind = |doc: &Doc<'_>, name: &str| doc.root().get(name).map(|node| node.kind().name());
    let first = group.docs.first()?;
    first.root().members().find_map(|member| {
        let name = member.key().into_owned();
        let own = member.value().kind().name();
        let told = group.docs.iter().all(|doc| kind(doc, &name) == Some(own))
            && other.docs.iter().all(|doc| kind(doc, &name).is_some_and(|kind| kind != own));
        told.then_some((name, own))
    })
}

/// What tells a group from another, as a condition of a pack's file.
fn condition<'d>(group: &Group<'d>, other: &Group<'d>) -> Option<String> {
    let at = |name: &str| quote(&Pointer::root().child(name).to_string());
    if let Some(name) = only_in(group, other) {
        return Some(format!("{{ present = {} }}", at(&name)));
    }
    if let Some(name) = only_in(other, group) {
        return Some(format!("{{ absent = {} }}", at(&name)));
    }
    let (name, kind) = other_type(group, other)?;
    Some(format!("{{ at = {}, type = {} }}", at(&name), quote(kind)))
}

/// Two groups that nothing tells apart.
fn merge_due(groups: &[Group<'_>]) -> Option<(usize, usize)> {
    let mut pairs = (0..groups.len()).flat_map(|a| (a + 1..groups.len()).map(move |b| (a, b)));
    pairs.find(|&(a, b)| {
        condition(&groups[a], &groups[b]).is_none() || condition(&groups[b], &groups[a]).is_none()
    })
}

fn json_type(node: &Node<'_>) -> &'static str {
    match Json::from(*node) {
        Json::Number(text) if text.contains(['.', 'e', 'E']) => "number",
        Json::Number(_) => "integer",
        _ => node.kind().name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(texts: &[&str]) -> Result<Draft, DraftError> {
        let samples: Vec<Sample<'_>> =
            texts.iter().map(|text| Sample { place: "x", text: text.as_bytes() }).collect();
        draft("mine", &samples, None)
    }

    #[test]
    fn shapes_under_one_label_are_told_apart() {
        let draft = drafted(&[
            r#"{"version":"1.0.0","a":1,"b":[{"x":1.5}]}"#,
            r#"{"version":"1.0.0","a":2,"b":[]}"#,
            r#"{"version":"1.0.0","c":"t","b":[]}"#,
            r#"{"version":"1.0.0","a":1,"b":[],"note":null}"#,
            r#"{"version":"10.0.0","a":1}"#,
            r#"{"version":"2.0.0","a":1}"#,
            r#"{"a":1,"odd":true}"#,
        ])
        .unwrap();
        let shapes: Vec<(&str, usize)> = draft.shapes.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(shapes, [("1.0.0/a", 3), ("1.0.0/b", 1), ("10.0.0", 1), ("2.0.0", 1), ("unlabelled", 1)]);
        let pack = Pack::parse(&draft.files).unwrap();
        assert_eq!(pack.head(), "10.0.0");
        assert!(draft.left_out.is_empty());
        assert_eq!(draft.version_at.unwrap().to_string(), "/version");
        let labelled = drafted(&[r#"{"version":"10.0.0"}"#, r#"{"version":"2.0.0"}"#]).unwrap();
        assert_eq!(Pack::parse(&labelled.files).unwrap().head(), "10.0.0");
    }

    #[test]
    fn documents_that_nothing_tells_apart_are_one_shape() {
        let draft = drafted(&[r#"{"a":1,"b":1}"#, r#"{"a":1,"c":1}"#, r#"{"b":1,"c":1}"#]).unwrap();
        assert_eq!(draft.shapes.iter().map(|(_, n)| n).sum::<usize>(), 3);
        let many: Vec<String> = (0..40).map(|i| format!(r#"{{"k{i}":1,"z":"t"}}"#)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(drafted(&many).unwrap().shapes, [("unlabelled".to_owned(), 40)]);
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_place() {
        assert_eq!(drafted(&[]), Err(DraftError::NoDocuments));
        for (text, why) in [
            ("[]", "it is of type array, not an object"),
            (
                "{",
                "the text ends where a member name in double quotes is wanted at line 1, column 2 (byte 1)",
            ),
            (r#"{"version":""}"#, "what is at /version is no label"),
        ] {
            assert_eq!(drafted(&[text, r#"{"version":"1"}"#]).unwrap().left_out, [("x".into(), why.into())]);
        }
        assert!(matches!(drafted(&["[]"]), Err(DraftError::Document { .. })));
    }

    #[test]
    fn optional_members_are_one_shape_and_renamed_or_moved_ones_are_not() {
        let shapes = |a: &str, b: &str| drafted(&[a, b]).unwrap().shapes.len();
        let common = r#""id":1,"test":"t","outcome":"o","duration":1"#;
        for (a, b, expected) in [
            (r#""model":{"family":"f"}"#, r#""system":{"ram":1}"#, 1),
            (r#""exp_id":"x""#, r#""experiment_id":"x""#, 2),
            (r#""gpuCount":1"#, r#""gpu_total":1"#, 2),
            (r#""score":1"#, r#""result":{"score":1,"unit":"s"}"#, 2),
            (r#""mem":{"a":1,"b":2}"#, r#""store":{"a":1,"b":3}"#, 2),
            (r#""x":{}"#, r#""x":1"#, 2),
        ] {
            assert_eq!(shapes(&format!("{{{common},{a}}}"), &format!("{{{common},{b}}}")), expected, "{a}");
        }
        assert_eq!(shapes(r#"{"id":1,"aa":1,"bb":1}"#, r#"{"id":1,"cc":"","dd":""}"#), 2);
    }
}
