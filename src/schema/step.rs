//! The steps of a migration, as data: what `pack.toml` can say, and which places a step touches.
//!
//! Every step has an `op`, a `path` (JSON Pointer, `*` for each child) and may have `when`, a list
//! of conditions in which `*` means the same child as in `path`. An unknown op is refused when the
//! pack is loaded. A `for_each` is no step of its own once read: the steps in it are steps whose
//! paths begin with the array's.

use serde_json::{Value, json};

use super::compute::{OnInvalid, read_compute, reads_of};
use super::condition::{Condition, JsonType};
use super::error::{PackError, PackErrorKind};
use super::expr::Expression;
use super::fact::{FactSource, FactSpec};
use super::reader::Table;
use super::wasm::WasmStep;
use crate::base::json::{Json, PointerPattern, print_compact};

/// A value that a step writes.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Literal(Json),
    /// Facts, tried in order, and what to do when none can be had.
    Facts(Vec<FactSpec>, Otherwise),
    /// The version that the migration found the document at.
    FromVersion,
}

#[derive(Debug, Clone)]
pub(super) enum Otherwise {
    Absent,
    Fail,
    Literal(Json),
}

#[derive(Debug, Clone)]
pub(super) enum Unmapped {
    Keep,
    Fail,
    Literal(Json),
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Set {
        value: Source,
        after: Option<String>,
    },
    Default {
        value: Source,
        after: Option<String>,
        also_null: bool,
    },
    Rename {
        to: String,
    },
    Move {
        to: PointerPattern,
    },
    Copy {
        to: PointerPattern,
    },
    Preserve {
        to: PointerPattern,
    },
    /// The value leaves the document for whoever keeps the record of the migration.
    Record,
    Remove {
        reason: String,
    },
    Map {
        table: Vec<(String, Json)>,
        otherwise: Unmapped,
    },
    Cast {
        to: JsonType,
    },
    Require {
        that: Vec<Condition>,
        text: String,
    },
    Compute {
        formula: String,
        expression: Expression,
        invalid: OnInvalid,
        after: Option<String>,
    },
    Entries {
        to_list: bool,
        key: String,
        value: String,
    },
    Wasm(WasmStep),
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its number within the migration, from 1; steps within a `for_each` have that one's.
    pub number: usize,
    pub op: Op,
    pub path: PointerPattern,
    pub when: Vec<Condition>,
}

const OPS: &[&str] = &[
    "set", "default", "rename", "move", "copy", "remove", "preserve", "map", "cast", "require", "compute",
    "for_each", "entries", "wasm",
];

/// What stands around a step: nothing, or the `for_each` that it is in.
#[derive(Debug, Clone)]
pub(super) struct Around {
    pub number: usize,
    pub path: PointerPattern,
    pub when: Vec<Condition>,
}

impl Around {
    fn conditions(&self, table: &Table<'_, '_>, key: &'static str) -> Result<Vec<Condition>, PackError> {
        let mut conditions = Condition::read_all(&table.tables(key)?)?;
        for condition in &mut conditions {
            condition.at = self.path.join(&condition.at);
        }
        Ok(conditions)
    }

    fn when(&self, table: &Table<'_, '_>) -> Result<Vec<Condition>, PackError> {
        Ok([self.when.clone(), self.conditions(table, "when")?].concat())
    }

    /// Reads the steps of a list of tables, those within a `for_each` too, and shows each to `check`.
    pub fn read_steps(
        &self,
        tables: &[Table<'_, '_>],
        facts: &[FactSpec],
        check: &dyn Fn(&Table<'_, '_>, &Step) -> Result<(), PackError>,
        out: &mut Vec<Step>,
    ) -> Result<(), PackError> {
        for (i, table) in tables.iter().enumerate() {
            let number = if self.number == 0 { i + 1 } else { self.number };
            if table.text("op")?.is_some_and(|op| op.value == "for_each") {
                let path = self.path.join(&table.need_pattern("path")?).each();
                let inner = Around { number, path, when: self.when(table)? };
                let steps = table.tables("step")?;
                if steps.is_empty() {
                    return Err(table.error(PackErrorKind::MissingKey { key: "step" }));
                }
                table.finish()?;
                inner.read_steps(&steps, facts, check, out)?;
                continue;
            }
            let step = Step::read(table, facts, &Self { number, ..self.clone() })?;
            check(table, &step)?;
            out.push(step);
        }
        Ok(())
    }
}

impl Step {
    fn read(table: &Table<'_, '_>, facts: &[FactSpec], around: &Around) -> Result<Self, PackError> {
        let name = table.need_text("op")?;
        let when = around.when(table)?;
        // These are about the whole document unless they say `path`.
        let whole = matches!(name.value.as_str(), "require" | "wasm");
        let path = match table.pattern("path")? {
            None if whole => around.path.clone(),
            None => table.need_pattern("path")?,
            Some(path) if path.is_root() && around.path.is_root() && !whole => {
                let text = table
                    .need_text("path")
                    .unwrap_or(super::reader::Placed { at: table.at, value: String::new() });
                return Err(table.bad("path", &text, "a step works below the document's root"));
            }
            Some(path) => around.path.join(&path),
        };
        let op = match name.value.as_str() {
            "set" => Op::Set { value: read_source(table, facts)?, after: read_after(table)? },
            "default" => Op::Default {
                value: read_source(table, facts)?,
                after: read_after(table)?,
                also_null: table.flag("also_null")?,
            },
            "rename" => Op::Rename { to: table.need_text("to")?.value },
            "move" => Op::Move { to: read_target(table, &path, around)? },
            "copy" => Op::Copy { to: read_target(table, &path, around)? },
            "preserve" => match (table.flag("record")?, table.text("to")?) {
                (true, None) => Op::Record,
                (false, Some(_)) => Op::Preserve { to: read_target(table, &path, around)? },
                _ => return Err(table.error(PackErrorKind::OneOf { keys: &["to", "record = true"] })),
            },
            "remove" => Op::Remove { reason: table.need_text("reason")?.value },
            "map" => read_map(table)?,
            "cast" => Op::Cast { to: read_cast(table)? },
            "require" => {
                Op::Require { that: around.conditions(table, "that")?, text: table.need_text("text")?.value }
            }
            "compute" => read_compute(table, read_after(table)?)?,
            "entries" => read_entries(table)?,
            "wasm" => Op::Wasm(WasmStep::read(table)?),
            _ => {
                let kind = PackErrorKind::UnknownOp { op: name.value, known: OPS };
                return Err(table.source.error(name.at, kind));
            }
        };
        if path.split_last().is_none() && matches!(op, Op::Default { .. } | Op::Rename { .. }) {
            let at = table.need_text("path")?;
            return Err(table.bad("path", &at, "it has to end with a name for this op"));
        }
        table.finish()?;
        Ok(Self { number: around.number, op, path, when })
    }

    /// The places that the step may change.
    pub fn writes(&self) -> Vec<PointerPattern> {
        // Taking an element out of an array moves the ones after it.
        let removed = || match self.path.split_last() {
            Some(_) => self.path.clone(),
            None => self.path.parent().unwrap_or_else(PointerPattern::root),
        };
        match &self.op {
            Op::Set { .. }
            | Op::Default { .. }
            | Op::Map { .. }
            | Op::Cast { .. }
            | Op::Compute { .. }
            | Op::Entries { .. } => vec![self.path.clone()],
            Op::Rename { to } => {
                let renamed = self.path.parent().map(|parent| parent.child(to));
                std::iter::once(self.path.clone()).chain(renamed).collect()
            }
            Op::Move { to } | Op::Preserve { to } => vec![removed(), to.clone()],
            Op::Copy { to } => vec![to.clone()],
            Op::Remove { .. } | Op::Record => vec![removed()],
            Op::Require { .. } => Vec::new(),
            Op::Wasm(guest) => guest.writes(&self.path),
        }
    }

    /// The places that the step changes where something is already there.
    pub fn changes(&self) -> Vec<PointerPattern> {
        match &self.op {
            Op::Default { also_null: false, .. } | Op::Copy { .. } | Op::Require { .. } => Vec::new(),
            Op::Wasm(guest) => guest.writes(&self.path),
            _ => vec![self.path.clone()],
        }
    }

    /// The places that get a value out of nothing, which a measured member must not.
    pub fn invents(&self) -> Vec<PointerPattern> {
        let literal = |value: &Source| match value {
            Source::Literal(Json::Null) => false,
            Source::Literal(_) => true,
            Source::Facts(..) | Source::FromVersion => true,
        };
        match &self.op {
            Op::Set { value, .. } | Op::Default { value, .. } if literal(value) => vec![self.path.clone()],
            Op::Map { .. } | Op::Compute { .. } => vec![self.path.clone()],
            // What a module makes of what it reads cannot be known.
            Op::Wasm(guest) => guest.writes(&self.path),
            _ => Vec::new(),
        }
    }

    /// Whether all that the step can write is an empty object.
    pub fn writes_empty_object(&self) -> bool {
        let empty = |value: &Source| matches!(value, Source::Literal(Json::Object(own)) if own.is_empty());
        matches!(&self.op, Op::Set { value, .. } | Op::Default { value, .. } if empty(value))
    }

    /// Every place that the step reads or writes.
    pub fn touches(&self) -> Vec<PointerPattern> {
        let mut all = self.writes();
        all.push(self.path.clone());
        all.extend(self.when.iter().map(|condition| condition.at.clone()));
        if let Op::Require { that, .. } = &self.op {
            all.extend(that.iter().map(|condition| condition.at.clone()));
        }
        if let Op::Wasm(guest) = &self.op {
            all.extend(guest.reads(&self.path));
        }
        if let Op::Set { value: Source::Facts(facts, _), .. }
        | Op::Default { value: Source::Facts(facts, _), .. } = &self.op
        {
            all.extend(facts.iter().filter_map(|fact| match &fact.source {
                FactSource::Member { member, .. } => Some(PointerPattern::from(member)),
                _ => None,
            }));
        }
        if let Op::Compute { expression, .. } = &self.op {
            all.extend(expression.paths().into_iter().map(|path| reads_of(path, &self.path)));
        }
        // What is missing above the target is created with it.
        if let Op::Preserve { to } = &self.op {
            all.push(to.first());
        }
        all
    }

    /// The step as part of what identifies a migration.
    pub fn compiled(&self) -> Value {
        let source = |value: &Source| match value {
            Source::Literal(value) => json!({"value": print_compact(value)}),
            Source::FromVersion => json!("from_version"),
            Source::Facts(facts, otherwise) => json!({
                "facts": facts.iter().map(FactSpec::compiled).collect::<Vec<_>>(),
                "otherwise": match otherwise {
                    Otherwise::Absent => json!("absent"),
                    Otherwise::Fail => json!("fail"),
                    Otherwise::Literal(value) => json!({"value": print_compact(value)}),
                },
            }),
        };
        let to = |pattern: &PointerPattern| json!({"to": pattern.to_string()});
        let (name, detail) = match &self.op {
            Op::Set { value, after } => ("set", json!({"source": source(value), "after": after})),
            Op::Default { value, after, also_null } => {
                ("default", json!({"source": source(value), "after": after, "also_null": also_null}))
            }
            Op::Rename { to } => ("rename", json!({"to": to})),
            Op::Move { to: target } => ("move", to(target)),
            Op::Copy { to: target } => ("copy", to(target)),
            Op::Preserve { to: target } => ("preserve", to(target)),
            Op::Record => ("preserve", json!({"record": true})),
            Op::Remove { reason } => ("remove", json!({"reason": reason})),
            Op::Map { table, otherwise } => (
                "map",
                json!({
                    "table": table.iter().map(|(k, v)| json!([k, print_compact(v)])).collect::<Vec<_>>(),
                    "otherwise": match otherwise {
                        Unmapped::Keep => json!("keep"),
                        Unmapped::Fail => json!("fail"),
                        Unmapped::Literal(value) => json!({"value": print_compact(value)}),
                    },
                }),
            ),
            Op::Cast { to } => ("cast", json!({"to": to.name()})),
            Op::Compute { formula, expression, invalid, after } => (
                "compute",
                json!({
                    "formula": formula,
                    "expression": expression.to_string(),
                    "invalid": invalid.name(),
                    "after": after,
                }),
            ),
            Op::Entries { to_list, key, value } => {
                ("entries", json!({"to_list": to_list, "key": key, "value": value}))
            }
            Op::Wasm(guest) => ("wasm", guest.compiled()),
            Op::Require { that, text } => (
                "require",
                json!({"that": that.iter().map(Condition::compiled).collect::<Vec<_>>(), "text": text}),
            ),
        };
        json!({
            "op": name,
            "path": self.path.to_string(),
            "when": self.when.iter().map(Condition::compiled).collect::<Vec<_>>(),
            "detail": detail,
        })
    }
}

fn read_after(table: &Table<'_, '_>) -> Result<Option<String>, PackError> {
    Ok(table.text("after")?.map(|text| text.value))
}

const SOURCES: &[&str] = &["value", "json", "fact", "from_version"];

fn read_source(table: &Table<'_, '_>, facts: &[FactSpec]) -> Result<Source, PackError> {
    let names = table.texts("fact")?;
    if table.flag("from_version")? {
        return match (table.value("value", "json")?, names.is_empty()) {
            (None, true) => Ok(Source::FromVersion),
            _ => Err(table.error(PackErrorKind::OneOf { keys: SOURCES })),
        };
    }
    match (table.value("value", "json")?, names.is_empty()) {
        (Some(value), true) => Ok(Source::Literal(value)),
        (None, false) => {
            let named = names.into_iter().map(|name| {
                facts.iter().find(|fact| fact.name == name.value).cloned().ok_or_else(|| {
                    table.source.error(name.at, PackErrorKind::UnknownFact { name: name.value })
                })
            });
            let named = named.collect::<Result<_, _>>()?;
            let literal = table.value("otherwise_value", "otherwise_json")?;
            let otherwise = match (table.text("otherwise")?, literal) {
                (None, Some(value)) => Otherwise::Literal(value),
                (Some(word), None) if word.value == "absent" => Otherwise::Absent,
                (Some(word), None) if word.value == "fail" => Otherwise::Fail,
                (Some(word), _) => {
                    return Err(table.bad(
                        "otherwise",
                        &word,
                        "it is \"absent\" or \"fail\"; a value goes under otherwise_value or otherwise_json",
                    ));
                }
                (None, None) => {
                    const KEYS: &[&str] = &["otherwise", "otherwise_value", "otherwise_json"];
                    return Err(table.error(PackErrorKind::OneOf { keys: KEYS }));
                }
            };
            Ok(Source::Facts(named, otherwise))
        }
        _ => Err(table.error(PackErrorKind::OneOf { keys: SOURCES })),
    }
}

fn read_target(
    table: &Table<'_, '_>,
    path: &PointerPattern,
    around: &Around,
) -> Result<PointerPattern, PackError> {
    let to = around.path.join(&table.need_pattern("to")?);
    if to.stars() > path.stars() {
        let kind = PackErrorKind::Stars { path: path.to_string(), to: to.to_string() };
        return Err(table.error(kind));
    }
    if to.split_last().is_none() {
        let text = table.need_text("to")?;
        return Err(table.bad("to", &text, "it has to end with a name"));
    }
    Ok(to)
}

fn read_map(table: &Table<'_, '_>) -> Result<Op, PackError> {
    let entries = table.need_table("table")?.entries()?;
    let literal = table.value("otherwise_value", "otherwise_json")?;
    let otherwise = match (table.text("otherwise")?, literal) {
        (None, Some(value)) => Unmapped::Literal(value),
        (None, None) => Unmapped::Fail,
        (Some(word), None) if word.value == "keep" => Unmapped::Keep,
        (Some(word), None) if word.value == "fail" => Unmapped::Fail,
        (Some(word), _) => {
            return Err(table.bad(
                "otherwise",
                &word,
                "it is \"keep\" or \"fail\"; a value goes under otherwise_value or otherwise_json",
            ));
        }
    };
    Ok(Op::Map { table: entries.into_iter().map(|(key, value)| (key.value, value)).collect(), otherwise })
}

fn read_entries(table: &Table<'_, '_>) -> Result<Op, PackError> {
    let to = table.need_text("to")?;
    let to_list = match to.value.as_str() {
        "list" => true,
        "object" => false,
        _ => return Err(table.bad("to", &to, "entries become a \"list\" or an \"object\"")),
    };
    let (key, value) = (table.need_text("key")?.value, table.need_text("value")?);
    if key == value.value {
        return Err(table.bad("value", &value, "it needs another name than the key"));
    }
    Ok(Op::Entries { to_list, key, value: value.value })
}

fn read_cast(table: &Table<'_, '_>) -> Result<JsonType, PackError> {
    let to = table.need_text("to")?;
    match to.value.as_str() {
        "string" => Ok(JsonType::String),
        "integer" => Ok(JsonType::Integer),
        "number" => Ok(JsonType::Number),
        "boolean" => Ok(JsonType::Boolean),
        _ => Err(table.bad("to", &to, "a value is cast to string, integer, number or boolean")),
    }
}
