//! The steps of a migration, as data: what `pack.toml` can say, and which places a step touches.
//!
//! Every step has an `op`, a `path` (JSON Pointer, `*` for each child) and may have `when`, a list
//! of conditions in which `*` means the same child as in `path`. An unknown op is refused when the
//! pack is loaded.

use serde_json::{Value, json};

use super::condition::{Condition, JsonType};
use super::error::{PackError, PackErrorKind};
use super::fact::{FactSource, FactSpec};
use super::reader::Table;
use crate::base::json::{Json, PointerPattern, print_compact};

/// A value that a step writes.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Literal(Json),
    /// Facts, tried in order, and what to do when none can be had.
    Facts(Vec<FactSpec>, Otherwise),
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
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub op: Op,
    pub path: PointerPattern,
    pub when: Vec<Condition>,
}

const OPS: &[&str] =
    &["set", "default", "rename", "move", "copy", "remove", "preserve", "map", "cast", "require"];

impl Step {
    pub fn read(table: &Table<'_, '_>, facts: &[FactSpec]) -> Result<Self, PackError> {
        let name = table.need_text("op")?;
        let when = Condition::read_all(&table.tables("when")?)?;
        // `require` is about the whole document unless it says `path`.
        let path = match table.pattern("path")? {
            None if name.value == "require" => PointerPattern::root(),
            None => table.need_pattern("path")?,
            Some(path) if path.is_root() && name.value != "require" => {
                let text = table
                    .need_text("path")
                    .unwrap_or(super::reader::Placed { at: table.at, value: String::new() });
                return Err(table.bad("path", &text, "a step works below the document's root"));
            }
            Some(path) => path,
        };
        let op = match name.value.as_str() {
            "set" => Op::Set { value: read_source(table, facts)?, after: read_after(table)? },
            "default" => Op::Default {
                value: read_source(table, facts)?,
                after: read_after(table)?,
                also_null: table.flag("also_null")?,
            },
            "rename" => Op::Rename { to: table.need_text("to")?.value },
            "move" => Op::Move { to: read_target(table, &path)? },
            "copy" => Op::Copy { to: read_target(table, &path)? },
            "preserve" => match (table.flag("record")?, table.text("to")?) {
                (true, None) => Op::Record,
                (false, Some(_)) => Op::Preserve { to: read_target(table, &path)? },
                _ => return Err(table.error(PackErrorKind::OneOf { keys: &["to", "record = true"] })),
            },
            "remove" => Op::Remove { reason: table.need_text("reason")?.value },
            "map" => read_map(table)?,
            "cast" => Op::Cast { to: read_cast(table)? },
            "require" => Op::Require {
                that: Condition::read_all(&table.tables("that")?)?,
                text: table.need_text("text")?.value,
            },
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
        Ok(Self { op, path, when })
    }

    /// The places that the step may change.
    pub fn writes(&self) -> Vec<PointerPattern> {
        // Taking an element out of an array moves the ones after it.
        let removed = || match self.path.split_last() {
            Some(_) => self.path.clone(),
            None => self.path.parent().unwrap_or_else(PointerPattern::root),
        };
        match &self.op {
            Op::Set { .. } | Op::Default { .. } | Op::Map { .. } | Op::Cast { .. } => {
                vec![self.path.clone()]
            }
            Op::Rename { to } => {
                let renamed = self.path.parent().map(|parent| parent.child(to));
                std::iter::once(self.path.clone()).chain(renamed).collect()
            }
            Op::Move { to } | Op::Preserve { to } => vec![removed(), to.clone()],
            Op::Copy { to } => vec![to.clone()],
            Op::Remove { .. } | Op::Record => vec![removed()],
            Op::Require { .. } => Vec::new(),
        }
    }

    /// The places that the step changes where something is already there.
    pub fn changes(&self) -> Vec<PointerPattern> {
        match &self.op {
            Op::Default { also_null: false, .. } | Op::Copy { .. } | Op::Require { .. } => Vec::new(),
            _ => vec![self.path.clone()],
        }
    }

    /// The places that get a value out of nothing, which a measured member must not.
    pub fn invents(&self) -> Option<&PointerPattern> {
        let literal = |value: &Source| match value {
            Source::Literal(Json::Null) => false,
            Source::Literal(_) => true,
            Source::Facts(..) => true,
        };
        match &self.op {
            Op::Set { value, .. } | Op::Default { value, .. } if literal(value) => Some(&self.path),
            Op::Map { .. } => Some(&self.path),
            _ => None,
        }
    }

    /// Every place that the step reads or writes.
    pub fn touches(&self) -> Vec<PointerPattern> {
        let mut all = self.writes();
        all.push(self.path.clone());
        all.extend(self.when.iter().map(|condition| condition.at.clone()));
        if let Op::Require { that, .. } = &self.op {
            all.extend(that.iter().map(|condition| condition.at.clone()));
        }
        if let Op::Set { value: Source::Facts(facts, _), .. }
        | Op::Default { value: Source::Facts(facts, _), .. } = &self.op
        {
            all.extend(facts.iter().filter_map(|fact| match &fact.source {
                FactSource::Member { member, .. } => Some(PointerPattern::from(member)),
                _ => None,
            }));
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

fn read_source(table: &Table<'_, '_>, facts: &[FactSpec]) -> Result<Source, PackError> {
    let names = table.texts("fact")?;
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
        _ => Err(table.error(PackErrorKind::OneOf { keys: &["value", "json", "fact"] })),
    }
}

fn read_target(table: &Table<'_, '_>, path: &PointerPattern) -> Result<PointerPattern, PackError> {
    let to = table.need_pattern("to")?;
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
