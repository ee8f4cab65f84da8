//! Who can read whose documents, computed from the two schemas of a migration, and what a migration
//! does that cannot be undone.
//!
//! A reader of a version takes what its schema takes. That one schema takes all that another takes is
//! proved by `jsonschema`'s canonical form; what it cannot decide counts as no. The label is left out
//! of account on both sides, since it differs by design.

use serde_json::{Map, Value};

use super::pack::Pack;
use super::step::Op;
use crate::base::json::Pointer;

/// Whether readers of one version of a migration can read documents of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compatibility {
    /// Readers of the old version can read every new document.
    pub old_reads_new: bool,
    /// Readers of the new version can read every old document.
    pub new_reads_old: bool,
}

impl Compatibility {
    /// In words: whose readers read whose documents.
    pub fn word(self) -> &'static str {
        match (self.old_reads_new, self.new_reads_old) {
            (true, true) => "old and new read both",
            (true, false) => "old read new",
            (false, true) => "new read old",
            (false, false) => "neither, as far as can be proved",
        }
    }
}

/// Something a migration does that an author should have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lint {
    pub code: &'static str,
    pub step: Option<usize>,
    pub message: String,
}

/// The schemas at one end of a migration, without their labels.
fn schemas(pack: &Pack, name: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    for shape in pack.shapes.iter().filter(|shape| shape.name() == name || shape.version == name) {
        if !seen.contains(&shape.schema) {
            seen.push(shape.schema);
        }
    }
    seen.into_iter().map(|schema| without_label(&pack.schemas[schema].value, pack.version_at())).collect()
}

fn without_label(schema: &Value, label: Option<&Pointer>) -> Value {
    let mut schema = schema.clone();
    if let (Some(label), Value::Object(members)) = (label, &mut schema) {
        // Names and notes say nothing of documents, and would only make two schemas look different.
        for note in ["$id", "title", "description"] {
            members.remove(note);
        }
        let mut here = Some(&mut *members);
        let tokens: Vec<&str> = label.tokens().collect();
        for (at, token) in tokens.iter().enumerate() {
            let Some(members) = here.take() else { break };
            if at + 1 == tokens.len() {
                if let Some(Value::Array(required)) = members.get_mut("required") {
                    required.retain(|name| name != token);
                }
                if let Some(Value::Object(properties)) = members.get_mut("properties") {
                    properties.insert((*token).to_owned(), Value::Bool(true));
                }
                break;
            }
            here = members
                .get_mut("properties")
                .and_then(|own| own.get_mut(*token))
                .and_then(Value::as_object_mut);
        }
    }
    schema
}

fn covers(reader: &Value, documents: &Value) -> bool {
    use jsonschema::canonical::{Containment, options};
    let form = |schema: &Value| options().offline().canonicalize(schema).ok();
    let (Some(reader), Some(documents)) = (form(reader), form(documents)) else { return false };
    matches!(reader.covers(&documents), Ok(Containment::Yes))
}

/// Computes who can read whose documents across a migration.
pub(super) fn compatibility(pack: &Pack, number: usize) -> Compatibility {
    let migration = &pack.migrations[number];
    let (old, new) = (schemas(pack, &migration.from), schemas(pack, &migration.to));
    let all = |readers: &[Value], documents: &[Value]| {
        documents.iter().all(|document| readers.iter().any(|reader| covers(reader, document)))
    };
    Compatibility { old_reads_new: all(&old, &new), new_reads_old: all(&new, &old) }
}

/// Looks for steps that lose something and for shapes that ask for more than before.
pub(super) fn lints(pack: &Pack, number: usize) -> Vec<Lint> {
    let migration = &pack.migrations[number];
    let mut lints = Vec::new();
    for (at, step) in migration.steps.iter().enumerate() {
        if let Op::Remove { reason } = &step.op {
            let kept = migration.steps.iter().any(|other| {
                matches!(other.op, Op::Preserve { .. } | Op::Record | Op::Copy { .. })
                    && other.path.touches(&step.path)
            });
            if !kept {
                let message =
                    format!("{} is removed and its value not preserved (reason given: {reason})", step.path);
                lints.push(Lint { code: "loses", step: Some(at + 1), message });
            }
        }
    }
    let written: Vec<_> = migration.steps.iter().flat_map(|step| step.writes()).collect();
    let touched = |at: &Pointer| written.iter().any(|pattern| pattern.covers(at));
    for old in schemas(pack, &migration.from) {
        for new in schemas(pack, &migration.to) {
            let mut found = Vec::new();
            compare((&old, &old), (&new, &new), &Pointer::root(), 0, &mut found);
            for (code, at, message) in found {
                let lint = Lint { code, step: None, message };
                if !touched(&at) && !lints.contains(&lint) {
                    lints.push(lint);
                }
            }
        }
    }
    lints
}

fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let mut here = schema;
    for _ in 0..super::shape::REF_DEPTH {
        let next = here
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|text| text.strip_prefix('#'))
            .and_then(|at| root.pointer(at));
        match next {
            Some(next) => here = next,
            None => break,
        }
    }
    here
}

fn types(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Value::String(name) => Some(vec![name]),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

type Found = Vec<(&'static str, Pointer, String)>;

/// Compares what two schemas say of the members that both have, each with its root for references.
fn compare(old: (&Value, &Value), new: (&Value, &Value), at: &Pointer, depth: usize, found: &mut Found) {
    if depth > 16 {
        return;
    }
    let (before, after) = (resolve(old.0, old.1), resolve(new.0, new.1));
    if let (Some(had), Some(has)) = (types(before), types(after)) {
        let fits = |name: &&str| has.contains(name) || (*name == "integer" && has.contains(&"number"));
        let lost: Vec<&str> = had.into_iter().filter(|name| !fits(name)).collect();
        if !lost.is_empty() {
            let message = format!("{} could be of type {}, and can no longer", shown(at), lost.join(" or "));
            found.push(("narrows", at.clone(), message));
        }
    }
    let required = |schema: &Value| -> Vec<String> {
        let names = schema.get("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let had = required(before);
    for name in required(after).into_iter().filter(|name| !had.contains(name)) {
        let at = at.child(name);
        let message =
            format!("{at} became required, and no step writes it: documents without it do not migrate");
        found.push(("requires", at, message));
    }
    let empty = Map::new();
    let properties = |schema: &'_ Value| schema.get("properties").and_then(Value::as_object).cloned();
    let (had, has) = (properties(before).unwrap_or_default(), properties(after).unwrap_or(empty));
    for (name, before) in &had {
        if let Some(after) = has.get(name) {
            compare((old.0, before), (new.0, after), &at.child(name.clone()), depth + 1, found);
        }
    }
    if let (Some(before), Some(after)) = (before.get("items"), after.get("items")) {
        compare((old.0, before), (new.0, after), &at.child("*"), depth + 1, found);
    }
}

fn shown(at: &Pointer) -> String {
    if at.is_root() { "the document".to_owned() } else { at.to_string() }
}
