//! Documents outside the store, in the carriers of [`crate::carrier`].
//!
//! Reading needs no store (`documents`). A change is two-phased, since nothing outside the store can
//! be in one transaction with its log: an `intent` entry with everything needed to take the change
//! back or to tell whether it happened (`plan`), the change itself (`target`), an `outcome` entry.
//! What was interrupted between the two is settled by comparing the target with what the intent says
//! of it (`settle`); it is never applied again blindly.

mod check;
mod documents;
mod migrate;
mod plan;
mod settle;
mod sources;
mod target;
mod undo;

pub(super) use check::Carried;
pub use documents::{
    AggregateReport, DocumentRow, DocumentVersions, DocumentsReport, Each, Untrue, aggregate, deprecated,
    preview, show, validate, versions,
};
pub use migrate::{CarryOptions, CarryReport};
pub use settle::Settled;
pub use sources::{Source, Sources, gather};
pub use undo::TargetUndone;
