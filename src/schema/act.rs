//! What a step does at one place: the edit, and the words for it.

use std::collections::BTreeSet;

use super::apply::{Ground, Log, StepProblem, Target, preview};
use super::compute::OnInvalid;
use super::condition::JsonType;
use super::expr::Scope;
use super::step::{Op, Otherwise, Source, Step, Unmapped};
use crate::base::json::{
    Doc, Edits, Json, Kind, Member, New, Node, Place, Pointer, Tree, print_compact, quote,
};

fn show(node: &Node<'_>) -> String {
    match node.kind() {
        Kind::Array | Kind::Object => preview(&print_compact(&Json::from(*node))),
        Kind::String => preview(&quote(&node.as_str().unwrap_or_default())),
        Kind::Null | Kind::Bool(_) | Kind::Number => preview(node.raw()),
    }
}

/// The value to write, and how the change is told.
fn value_of(
    source: &Source,
    ground: Ground<'_, '_>,
    place: &Pointer,
) -> Result<Option<(Json, String)>, StepProblem> {
    let literal = |value: &Json| {
        let told = format!("added {place} as {}", preview(&print_compact(value)));
        Some((value.clone(), told))
    };
    let (specs, otherwise) = match source {
        Source::Literal(value) => return Ok(literal(value)),
        Source::FromVersion => return Ok(literal(&Json::from(ground.version))),
        Source::Facts(specs, otherwise) => (specs, otherwise),
    };
    let mut tried = Vec::new();
    for spec in specs {
        match spec.find(ground.doc, ground.facts) {
            Ok((value, origin)) => return Ok(Some((value, format!("backfilled {place} from {origin}")))),
            Err(why) => tried.push(why),
        }
    }
    match otherwise {
        Otherwise::Absent => Ok(None),
        Otherwise::Literal(value) => Ok(literal(value)),
        Otherwise::Fail => Err(StepProblem::NoFact { at: place.clone(), tried }),
    }
}

/// Whether there is surely nothing to do at a place. It saves working out the place, which most
/// steps over many elements need only for some of them.
fn is_settled(step: &Step, node: Option<Node<'_>>) -> bool {
    match (&step.op, node) {
        (Op::Set { .. } | Op::Default { .. } | Op::Compute { .. }, None) => false,
        (_, None) => true,
        (Op::Default { also_null, .. }, Some(node)) => !also_null || !node.is_null(),
        (Op::Set { value: Source::Literal(value), .. }, Some(node)) => value.is(&node),
        (Op::Map { table, otherwise }, Some(node)) => match mapped(table, &node) {
            Some(value) => value.is(&node),
            None => matches!(otherwise, Unmapped::Keep),
        },
        (Op::Cast { to }, Some(node)) => to.fits(&node),
        _ => false,
    }
}

fn mapped<'s>(table: &'s [(String, Json)], node: &Node<'_>) -> Option<&'s Json> {
    let text = node.as_str()?;
    table.iter().find(|(key, _)| text == key.as_str()).map(|(_, value)| value)
}

/// Does one step at one place; answers what it did, if anything, in words if they are `shown`.
pub(super) fn one<'d>(
    step: &'d Step,
    ground: Ground<'d, '_>,
    target: &Target<'d>,
    shown: bool,
    edits: &mut Edits<'d>,
    log: &mut Log,
) -> Result<Option<String>, StepProblem> {
    if is_settled(step, target.node) {
        return Ok(None);
    }
    if let (Op::Map { table, otherwise }, Some(node)) = (&step.op, target.node) {
        return map(table, otherwise, node, shown, edits);
    }
    let place = &target.place();
    match (&step.op, target.node) {
        (Op::Set { value, .. }, Some(node)) => {
            let Some((value, _)) = value_of(value, ground, place)? else { return Ok(None) };
            if value.is(&node) {
                return Ok(None);
            }
            let told = preview(&print_compact(&value));
            edits.replace(node, value);
            Ok(Some(format!("set {place} to {told}, replacing {}", show(&node))))
        }
        (Op::Default { value, also_null: true, .. }, Some(node)) if node.is_null() => {
            let Some((value, told)) = value_of(value, ground, place)? else { return Ok(None) };
            if value.is(&node) {
                return Ok(None);
            }
            edits.replace(node, value);
            Ok(Some(format!("{told}, replacing null")))
        }
        (Op::Set { value, after } | Op::Default { value, after, .. }, None) => {
            let Some((value, told)) = value_of(value, ground, place)? else { return Ok(None) };
            add(target, after.as_deref(), value, edits);
            Ok(Some(told))
        }
        (Op::Rename { to }, Some(node)) => {
            let (parent, _) = place.split_last().unwrap_or_default();
            let new = parent.child(to.clone());
            match target.parent.get(to) {
                Some(there) if there.same_value(&node) => {
                    edits.remove(node);
                }
                Some(_) => return Err(StepProblem::Conflict { at: new, from: place.clone() }),
                None => {
                    edits.rename(node, to.clone());
                }
            }
            log.moved.push((place.clone(), new.clone()));
            Ok(Some(format!("renamed {place} to {new}")))
        }
        (Op::Move { to } | Op::Copy { to } | Op::Preserve { to }, Some(node)) => {
            let create = matches!(step.op, Op::Preserve { .. });
            let to = to.bind(&step.path, place).unwrap_or_default();
            put(ground.doc, node, place, &to, create, edits)?;
            if matches!(step.op, Op::Copy { .. }) {
                return Ok(Some(format!("copied {place} to {to}")));
            }
            edits.remove(node);
            log.moved.push((place.clone(), to.clone()));
            Ok(Some(match create {
                true => format!("preserved {place} as {to}"),
                false => format!("moved {place} to {to}"),
            }))
        }
        (Op::Record, Some(node)) => {
            edits.remove(node);
            log.preserved.push((place.clone(), node.raw().to_owned()));
            Ok(Some(format!("preserved {place} in the record of the migration")))
        }
        (Op::Remove { reason }, Some(node)) => {
            edits.remove(node);
            Ok(Some(format!("removed {place}: {reason}")))
        }
        (Op::Cast { to }, Some(node)) => {
            if to.fits(&node) {
                return Ok(None);
            }
            let value = cast(&node, *to).ok_or_else(|| StepProblem::CannotCast {
                at: place.clone(),
                found: show(&node),
                to: to.name(),
            })?;
            let told = print_compact(&value);
            edits.replace(node, value);
            Ok(Some(format!("cast {place} from {} to {told}", show(&node))))
        }
        (Op::Compute { .. }, _) => compute(step, ground, target, edits),
        (Op::Entries { to_list, key, value }, Some(node)) => {
            let kind = if *to_list { Kind::Array } else { Kind::Object };
            if node.kind() == kind {
                return Ok(None);
            }
            let tree = if *to_list { to_list_of(node, key, value) } else { to_object_of(node, key, value) };
            let tree = tree.map_err(|wanted| StepProblem::NotEntries { at: place.clone(), wanted })?;
            edits.replace(node, New::Tree(tree));
            let to = if *to_list { "a list" } else { "an object" };
            Ok(Some(format!("turned {place} into {to} of its entries")))
        }
        (Op::Default { .. }, Some(_))
        | (_, None)
        | (Op::Map { .. } | Op::Require { .. } | Op::Wasm(_), _) => Ok(None),
    }
}

fn map<'d>(
    table: &'d [(String, Json)],
    otherwise: &'d Unmapped,
    node: Node<'d>,
    shown: bool,
    edits: &mut Edits<'d>,
) -> Result<Option<String>, StepProblem> {
    let value = match (mapped(table, &node), otherwise) {
        (Some(value), _) | (None, Unmapped::Literal(value)) => value,
        (None, Unmapped::Keep) => return Ok(None),
        (None, Unmapped::Fail) => {
            return Err(StepProblem::Unmapped { at: node.pointer(), found: show(&node) });
        }
    };
    if value.is(&node) {
        return Ok(None);
    }
    edits.replace(node, value);
    let told = || {
        let (place, old) = (node.pointer(), show(&node));
        format!("mapped {place} from {old} to {}", preview(&print_compact(value)))
    };
    Ok(Some(if shown { told() } else { String::new() }))
}

fn add<'d>(target: &Target<'d>, after: Option<&str>, value: Json, edits: &mut Edits<'d>) {
    let at = match after {
        Some(name) if target.parent.get(name).is_some() => Place::After(name.to_owned()),
        _ => Place::End,
    };
    edits.insert(target.parent, at, target.name, value);
}

/// Writes what a formula gives, or what the step says of a formula without a value.
fn compute<'d>(
    step: &Step,
    ground: Ground<'d, '_>,
    target: &Target<'d>,
    edits: &mut Edits<'d>,
) -> Result<Option<String>, StepProblem> {
    let Op::Compute { formula, expression, invalid, after } = &step.op else { return Ok(None) };
    let place = &target.place();
    let mut around = Some(target.parent);
    while let Some(node) = around.filter(|node| node.kind() != Kind::Object) {
        around = node.parent();
    }
    let scope = Scope { doc: ground.doc, around, it: target.node };
    let (value, mut told) = match (expression.evaluate(&scope), invalid) {
        (Ok(value), _) => {
            let told = preview(&print_compact(&value));
            (value, format!("computed {place} as {told} by the formula {formula}"))
        }
        (Err(why), OnInvalid::Null) => {
            (Json::Null, format!("set {place} to null, for the formula {formula} has no value: {why}"))
        }
        (Err(_), OnInvalid::Keep) => return Ok(None),
        (Err(why), OnInvalid::Fail) => {
            let (at, formula) = (place.clone(), formula.clone());
            return Err(StepProblem::NotComputed { at, formula, why });
        }
    };
    match target.node {
        Some(node) if value.is(&node) => return Ok(None),
        Some(node) => {
            told.push_str(&format!(", replacing {}", show(&node)));
            edits.replace(node, value);
        }
        None => add(target, after.as_deref(), value, edits),
    }
    Ok(Some(told))
}

fn to_list_of<'d>(node: Node<'d>, key: &str, value: &str) -> Result<Tree<'d>, &'static str> {
    if node.kind() != Kind::Object {
        return Err("an object");
    }
    let entry = |member: Member<'d>| {
        Tree::Object(vec![
            (key.to_owned(), Tree::Value(Json::from(member.key().into_owned()))),
            (value.to_owned(), Tree::Node(member.value())),
        ])
    };
    Ok(Tree::Array(node.members().map(entry).collect()))
}

fn to_object_of<'d>(node: Node<'d>, key: &str, value: &str) -> Result<Tree<'d>, &'static str> {
    const WANTED: &str = "a list of objects with one key and one value each, every key once";
    if node.kind() != Kind::Array {
        return Err(WANTED);
    }
    let mut members: Vec<(String, Tree<'d>)> = Vec::with_capacity(node.len());
    let mut seen = BTreeSet::new();
    for entry in node.elements() {
        let name = entry.get(key).and_then(|name| name.as_str());
        match (name, entry.get(value), entry.len()) {
            (Some(name), Some(value), 2) if seen.insert(name.clone()) => {
                members.push((name.into_owned(), Tree::Node(value)));
            }
            _ => return Err(WANTED),
        }
    }
    Ok(Tree::Object(members))
}

/// Puts a copy of a node at `to`, which must be free or hold the same value.
fn put<'d>(
    doc: &'d Doc<'d>,
    node: Node<'d>,
    place: &Pointer,
    to: &Pointer,
    create: bool,
    edits: &mut Edits<'d>,
) -> Result<(), StepProblem> {
    if let Some(there) = doc.at(to) {
        return if there.same_value(&node) {
            Ok(())
        } else {
            Err(StepProblem::Conflict { at: to.clone(), from: place.clone() })
        };
    }
    // The nearest object above the target that is there, and the names that are missing below it.
    let mut missing: Vec<String> = Vec::new();
    let mut above = to.clone();
    let parent = loop {
        let Some((up, last)) = above.split_last() else {
            return Err(StepProblem::NoParent { at: to.to_string() });
        };
        missing.push(last.to_owned());
        above = up;
        if let Some(parent) = doc.at(&above) {
            break parent;
        }
    };
    if missing.len() > 1 && !create {
        return Err(StepProblem::NoParent { at: to.to_string() });
    }
    if parent.kind() != Kind::Object {
        return Err(StepProblem::NotAnObject { at: to.clone(), found: parent.kind().name() });
    }
    let name = missing.pop().unwrap_or_default();
    missing.reverse();
    edits.insert(parent, Place::End, name, New::Within(missing, node));
    Ok(())
}

/// Another type for the same value; `None` where something would be lost or made up.
fn cast(node: &Node<'_>, to: JsonType) -> Option<Json> {
    let text = node.as_str();
    let number = |token: &str| {
        let doc = crate::base::json::scan(token.as_bytes()).ok()?;
        (doc.root().kind() == Kind::Number && doc.root().raw() == token)
            .then(|| Json::Number(token.to_owned()))
    };
    match (node.kind(), to) {
        (Kind::Number | Kind::Bool(_), JsonType::String) => Some(Json::from(node.raw())),
        (Kind::String, JsonType::Number) => number(text.as_deref()?),
        (Kind::String, JsonType::Integer) => {
            number(text.as_deref()?).filter(|_| !text.as_deref().unwrap_or("").contains(['.', 'e', 'E']))
        }
        // Only a fraction that is spelled as zeros is surely no loss.
        (Kind::Number, JsonType::Integer) => {
            let (whole, fraction) = node.raw().split_once('.')?;
            (whole != "-0" && fraction.bytes().all(|b| b == b'0')).then(|| Json::Number(whole.to_owned()))
        }
        (Kind::String, JsonType::Boolean) => match text.as_deref()? {
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}
