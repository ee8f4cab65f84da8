//! Documents of a shape: made from its schema, bent to its conditions, kept if they are detected as it;
//! and the facts from beside a document that migrations may ask for.

use super::generate::{Fill, Maker};
use super::random::Random;
use super::shrink::{at, places, put, remove};
use crate::base::digest::Sha256;
use crate::base::json::{self, Json, print_compact};
use crate::schema::condition::{Condition, Test};
use crate::schema::fact::{FactSource, Facts, FileFact};
use crate::schema::pack::{Migration, Pack};
use crate::schema::step::Op;

/// A document for a shape, which need not fit it.
pub(super) fn propose(pack: &Pack, shape: usize, random: &mut Random) -> Json {
    let shape = &pack.shapes[shape];
    let schema = &pack.schemas[shape.schema].value;
    let fill = [Fill::Some, Fill::Least, Fill::Most, Fill::Some][random.below(4)];
    let mut document = Maker { root: schema, random, fill }.value(schema, 0);
    for condition in &shape.when {
        let Some(place) = condition.at.as_pointer() else { continue };
        let found = at(&document, &place).cloned();
        let make = |random: &mut Random| {
            let tokens: Vec<&str> = place.tokens().collect();
            let mut maker = Maker { root: schema, random, fill };
            let below = maker.below(schema, &tokens);
            maker.value(&below, 1)
        };
        let new = match &condition.test {
            Test::Present if found.is_none() => make(random),
            Test::Equals(value) => value.clone(),
            Test::OneOf(values) => random.pick(values).cloned().unwrap_or(Json::Null),
            Test::Type(types) => match types.first().map(|kind| kind.name()) {
                Some(name) => {
                    let rule = serde_json::json!({ "type": name });
                    let made = make(random);
                    let kept = found.unwrap_or(made);
                    if type_name(&kept) == name {
                        kept
                    } else {
                        Maker { root: &rule, random, fill }.value(&rule, 1)
                    }
                }
                None => continue,
            },
            Test::Absent | Test::AbsentOrEmpty => {
                remove(&mut document, &place);
                continue;
            }
            _ => continue,
        };
        put(&mut document, &place, new);
    }
    hint(pack, &shape.name(), &shape.version, schema, &mut document, random);
    match pack.label_place(&shape.name()) {
        // A version that a rule tells without a label is tried that way too.
        Some(label) if pack.legacy.iter().any(|rule| rule.version == shape.version) && random.one_in(6) => {
            remove(&mut document, label);
        }
        Some(label) => put(&mut document, label, Json::from(shape.version.as_str())),
        None => {}
    }
    for fact in &pack.facts {
        if let FactSource::Member { member, before, after } = &fact.source
            && at(&document, member).is_some()
            && random.one_in(2)
        {
            put(&mut document, member, Json::from(format!("{before}job-{}{after}", random.below(1000))));
        }
    }
    document
}

/// Bends a document, mostly, to what the migrations from its shape ask for: without it, a migration
/// that maps four words or requires a positive number would refuse nearly all that chance makes.
fn hint(
    pack: &Pack,
    name: &str,
    version: &str,
    schema: &serde_json::Value,
    document: &mut Json,
    random: &mut Random,
) {
    if random.one_in(8) {
        return;
    }
    let starts = |migration: &&Migration| migration.from == name || migration.from == version;
    for step in pack.migrations.iter().filter(starts).flat_map(|migration| &migration.steps) {
        match &step.op {
            Op::Map { table, .. } => {
                for place in places(document).into_iter().filter(|place| step.path.matches(place)) {
                    if let Some((key, _)) = random.pick(table) {
                        put(document, &place, Json::from(key.as_str()));
                    }
                }
            }
            Op::Require { that, .. } => {
                that.iter().for_each(|condition| meet(condition, schema, document, random));
            }
            _ => {}
        }
    }
}

/// Tries a few values until a condition on one place holds.
fn meet(condition: &Condition, schema: &serde_json::Value, document: &mut Json, random: &mut Random) {
    let Some(place) = condition.at.as_pointer() else { return };
    let tokens: Vec<&str> = place.tokens().collect();
    for _ in 0..8 {
        let text = print_compact(document);
        if json::scan(text.as_bytes()).is_ok_and(|doc| condition.holds(&doc, None)) {
            return;
        }
        match &condition.test {
            Test::Absent | Test::AbsentOrEmpty => drop(remove(document, &place)),
            Test::Equals(value) => put(document, &place, value.clone()),
            Test::OneOf(values) => {
                let value = random.pick(values).cloned();
                put(document, &place, value.unwrap_or(Json::Null));
            }
            Test::MinLength(least) => {
                let short = at(document, &place).and_then(Json::as_str).unwrap_or_default();
                let missing = (*least as usize).min(4096).saturating_sub(short.chars().count());
                let long = format!("{short}{}", "x".repeat(missing));
                put(document, &place, Json::from(long));
            }
            _ => {
                let mut maker = Maker { root: schema, random, fill: Fill::Most };
                let below = maker.below(schema, &tokens);
                let value = maker.value(&below, 1);
                put(document, &place, value);
            }
        }
    }
}

fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(text) if text.contains(['.', 'e', 'E']) => "number",
        Json::Number(_) => "integer",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// Facts as a document may have them beside it: mostly all that the pack asks for.
pub(super) fn facts(pack: &Pack, random: &mut Random) -> Facts {
    let mut facts = Facts::default();
    for fact in pack.facts() {
        if random.one_in(8) {
            continue;
        }
        match &fact.source {
            FactSource::File { path, pointer, .. } => {
                let mut value = Json::Object(Vec::new());
                put(&mut value, pointer, Json::from("job-1"));
                // JSON is YAML as well.
                let text = crate::base::json::print_compact(&value);
                facts.contents.entry(path.clone()).or_insert_with(|| text.clone().into_bytes());
                add_file(&mut facts, path, text.as_bytes());
            }
            FactSource::FilesBelow { folder } => {
                for name in ["brief.json", "notes.md"] {
                    add_file(&mut facts, &format!("{folder}{name}"), name.as_bytes());
                }
            }
            FactSource::Member { .. } => {}
        }
    }
    facts.files.sort_by(|a, b| a.path.cmp(&b.path));
    facts
}

fn add_file(facts: &mut Facts, path: &str, bytes: &[u8]) {
    if facts.files.iter().all(|file| file.path != path) {
        let (path, sha256) = (path.to_owned(), Sha256::of(bytes));
        facts.files.push(FileFact { path, sha256, bytes: bytes.len() as u64 });
    }
}

/// The shape and the kind of an example, from its file's name: `VERSION--name.json`, or
/// `VERSION--VARIANT--name.json`.
pub(super) fn example_shape(pack: &Pack, file: &str) -> Option<usize> {
    let name = file.strip_prefix("examples/")?.strip_suffix(".json")?;
    let parts: Vec<&str> = name.split("--").collect();
    let wanted = match parts.as_slice() {
        [version] | [version, _] => (*version).to_owned(),
        [version, variant, _] => format!("{version}/{variant}"),
        _ => return None,
    };
    pack.shapes.iter().position(|shape| shape.name() == wanted)
}
