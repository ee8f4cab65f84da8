//! One step resolved against one document: the places it means, and what it says about them. What
//! it does at one place is in `act.rs`.

use super::act::one;
use super::condition::{all_hold, describe_all};
use super::expr::Invalid;
use super::fact::Facts;
use super::step::{Op, Step};
use crate::base::json::{Doc, Edits, Kind, Node, Pointer};

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
pub(super) struct Target<'d> {
    pub parent: Node<'d>,
    pub node: Option<Node<'d>>,
    pub name: &'d str,
}

impl Target<'_> {
    /// Where it is; worked out only for what is told or depends on it.
    pub fn place(&self) -> Pointer {
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
    if let Op::Require { that, text } = &step.op {
        return require(step, doc, that, text);
    }
    if let Op::Wasm(guest) = &step.op {
        let mut said = Vec::new();
        for node in step.path.nodes(doc) {
            if all_hold(&step.when, doc, Some((&step.path, &node.pointer()))) {
                said.extend(guest.apply(ground, node, edits)?);
            }
        }
        let more = said.len().saturating_sub(SHOWN);
        said.truncate(SHOWN);
        tell(said, more, log);
        return Ok(());
    }
    let (mut said, mut more) = (Vec::new(), 0);
    for target in targets(step, doc)? {
        if !target.is_meant(step, doc) {
            continue;
        }
        let shown = said.len() < SHOWN;
        if let Some(change) = one(step, ground, &target, shown, edits, log)? {
            if shown { said.push(change) } else { more += 1 }
        }
    }
    tell(said, more, log);
    Ok(())
}

/// How many of a step's changes are told one by one.
const SHOWN: usize = 5;

/// Keeps the list of changes readable where a step works on each of many elements.
fn tell(mut said: Vec<String>, more: usize, log: &mut Log) {
    if let Some(last) = said.last_mut().filter(|_| more > 0) {
        last.push_str(&format!(", and likewise in {more} more places"));
    }
    log.changes.append(&mut said);
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
