//! One step resolved against one document: which edits it comes to, and what it says about them.

use std::collections::BTreeSet;

use super::compute::OnInvalid;
use super::condition::{JsonType, all_hold, describe_all};
use super::expr::{Invalid, Scope};
use super::fact::Facts;
use super::step::{Op, Otherwise, Source, Step, Unmapped};
use crate::base::json::{Doc, Edits, Json, Kind, Member, New, Node, Place, Pointer, Tree, print_compact};

/// Why a step cannot be done on a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepProblem {
    /// The target is already there with another value.
    #[error("conflict: {at:?} is already there with another value than {from:?}")]
    Conflict {
        /// The target.
        at: Pointer,
        /// What was to go there.
        from: Pointer,
    },
    /// The object that is to hold the target is not there.
    #[error("{at:?} cannot be written: the object that would hold it is not there")]
    NoParent {
        /// The target, as the pack writes it.
        at: String,
    },
    /// What is to hold the target is no object.
    #[error("{at:?} cannot be written: what would hold it is of type {found}, not an object")]
    NotAnObject {
        /// The target.
        at: Pointer,
        /// The type found.
        found: &'static str,
    },
    /// None of the facts for a value can be had.
    #[error("{at:?} cannot be filled: {}", tried.join("; "))]
    NoFact {
        /// The target.
        at: Pointer,
        /// Why each fact cannot be had.
        tried: Vec<String>,
    },
    /// A value is not in the step's table.
    #[error("{at:?} is {found}, which the table does not have")]
    Unmapped {
        /// The place.
        at: Pointer,
        /// The value.
        found: String,
    },
    /// A value cannot become the other type without loss.
    #[error("{at:?} is {found}, which is no {to}")]
    CannotCast {
        /// The place.
        at: Pointer,
        /// The value.
        found: String,
        /// The type wanted.
        to: &'static str,
    },
    /// A formula has no value, and the pack says that it must.
    #[error("{at:?} cannot be computed by the formula {formula:?}: {why}")]
    NotComputed {
        /// The place.
        at: Pointer,
        /// The formula.
        formula: String,
        /// Why not.
        why: Invalid,
    },
    /// What is to become a list or an object of entries has another form.
    #[error("{at:?} is not {wanted}")]
    NotEntries {
        /// The place.
        at: Pointer,
        /// The form wanted.
        wanted: &'static str,
    },
    /// A module of the pack failed, or answered what it may not.
    #[error("the module {module:?} failed: {why}")]
    Guest {
        /// Its file.
        module: String,
        /// How.
        why: String,
    },
    /// A module of the pack refuses the document.
    #[error("{text:?} (said by the module {module:?})")]
    GuestRefused {
        /// Its file.
        module: String,
        /// What it says.
        text: String,
    },
    /// A condition of the pack does not hold.
    #[error("{text} (required: {condition})")]
    Required {
        /// The pack's text.
        text: String,
        /// The conditions in words.
        condition: String,
    },
}

/// What the steps of a migration did.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// What changed, in words.
    pub changes: Vec<String>,
    /// Where values went that are still there.
    pub moved: Vec<(Pointer, Pointer)>,
    /// Values that left the document for the record of the migration, with their exact text.
    pub preserved: Vec<(Pointer, String)>,
}

/// What a step is resolved against.
#[derive(Clone, Copy)]
pub(super) struct Ground<'d, 'f> {
    pub doc: &'d Doc<'d>,
    pub facts: &'f Facts,
    /// The version that the migration found the document at.
    pub version: &'f str,
}

/// A place that a step's path names in this document.
struct Target<'d> {
    parent: Node<'d>,
    node: Option<Node<'d>>,
    name: &'d str,
}

impl Target<'_> {
    /// Where it is; worked out only for what is told or depends on it.
    fn place(&self) -> Pointer {
        match self.node {
            Some(node) => node.pointer(),
            None => self.parent.pointer().child(self.name),
        }
    }

    /// Whether the step's conditions hold there.
    fn is_meant(&self, step: &Step, doc: &Doc<'_>) -> bool {
        step.when.is_empty() || all_hold(&step.when, doc, Some((&step.path, &self.place())))
    }
}

/// Adds the step's edits to `edits`; all targets are resolved against `doc` as it is.
pub(super) fn resolve<'d>(
    step: &'d Step,
    ground: Ground<'d, '_>,
    edits: &mut Edits<'d>,
    log: &mut Log,
) -> Result<(), StepProblem> {
    let doc = ground.doc;
    let mut said = Vec::new();
    if let Op::Require { that, text } = &step.op {
        return require(step, doc, that, text);
    }
    if let Op::Wasm(guest) = &step.op {
        for node in step.path.nodes(doc) {
            if all_hold(&step.when, doc, Some((&step.path, &node.pointer()))) {
                said.extend(guest.apply(ground, node, edits)?);
            }
        }
        log.changes.extend(summarize(said));
        return Ok(());
    }
    for target in targets(step, doc)? {
        if !target.is_meant(step, doc) {
            continue;
        }
        said.extend(one(step, ground, &target, edits, log)?);
    }
    log.changes.extend(summarize(said));
    Ok(())
}

/// Keeps the list of changes readable where a step works on each of many elements.
fn summarize(mut said: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 5;
    if said.len() > SHOWN {
        let more = said.len() - SHOWN;
        said.truncate(SHOWN);
        if let Some(last) = said.last_mut() {
            last.push_str(&format!(", and likewise in {more} more places"));
        }
    }
    said
}

fn require(
    step: &Step,
    doc: &Doc<'_>,
    that: &[super::condition::Condition],
    text: &str,
) -> Result<(), StepProblem> {
    let failed = step.path.nodes(doc).into_iter().any(|node| {
        let place = node.pointer();
        let place = Some((&step.path, &place));
        all_hold(&step.when, doc, place) && !all_hold(that, doc, place)
    });
    if failed {
        return Err(StepProblem::Required { text: text.to_owned(), condition: describe_all(that) });
    }
    Ok(())
}

fn targets<'d>(step: &'d Step, doc: &'d Doc<'d>) -> Result<Vec<Target<'d>>, StepProblem> {
    let Some((parents, name)) = step.path.nodes_above(doc) else {
        // Nothing is ever added where a `*` stands, so the name is not asked for.
        let target = |node: Node<'d>| Some(Target { parent: node.parent()?, node: Some(node), name: "" });
        return Ok(step.path.nodes(doc).into_iter().filter_map(target).collect());
    };
    let adds = matches!(step.op, Op::Set { .. } | Op::Default { .. } | Op::Compute { .. });
    if parents.is_empty() && adds && step.path.stars() == 0 && all_hold(&step.when, doc, None) {
        return Err(StepProblem::NoParent { at: step.path.to_string() });
    }
    let mut targets = Vec::with_capacity(parents.len());
    for parent in parents {
        let target = Target { parent, node: parent.child(name), name };
        if target.node.is_none() && parent.kind() != Kind::Object {
            if adds && target.is_meant(step, doc) {
                let found = parent.kind().name();
                return Err(StepProblem::NotAnObject { at: target.place(), found });
            }
            continue;
        }
        targets.push(target);
    }
    Ok(targets)
}

/// The beginning of a text that a document may have made long.
pub(super) fn preview(value: &str) -> String {
    const SHOWN: usize = 120;
    if value.len() <= SHOWN {
        return value.to_owned();
    }
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn show(node: &Node<'_>) -> String {
    preview(&print_compact(&Json::from(*node)))
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

/// Does one step at one place; answers what it did, if anything.
fn one<'d>(
    step: &Step,
    ground: Ground<'d, '_>,
    target: &Target<'d>,
    edits: &mut Edits<'d>,
    log: &mut Log,
) -> Result<Option<String>, StepProblem> {
    if is_settled(step, target.node) {
        return Ok(None);
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
        (Op::Map { table, otherwise }, Some(node)) => {
            let value = match (mapped(table, &node), otherwise) {
                (Some(value), _) | (None, Unmapped::Literal(value)) => value,
                (None, Unmapped::Keep) => return Ok(None),
                (None, Unmapped::Fail) => {
                    return Err(StepProblem::Unmapped { at: place.clone(), found: show(&node) });
                }
            };
            if value.is(&node) {
                return Ok(None);
            }
            edits.replace(node, value.clone());
            Ok(Some(format!("mapped {place} from {} to {}", show(&node), preview(&print_compact(value)))))
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
        (Op::Default { .. }, Some(_)) | (_, None) | (Op::Require { .. } | Op::Wasm(_), _) => Ok(None),
    }
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
