//! One file per command: its arguments, and what it says of what the store did.

pub(super) mod adopt;
pub(super) mod aggregate;
pub(super) mod audit;
pub(super) mod check_evidence;
pub(super) mod completions;
pub(super) mod demo;
pub(super) mod diff;
pub(super) mod evidence;
pub(super) mod history;
pub(super) mod init;
pub(super) mod list;
pub(super) mod log;
pub(super) mod man;
pub(super) mod migrate;
pub(super) mod pack;
mod policy;
pub(super) mod query;
pub(super) mod record;
pub(super) mod reindex;
pub(super) mod restore;
pub(super) mod review;
pub(super) mod rollback;
pub(super) mod show;
pub(super) mod validate;
pub(super) mod verify;
pub(super) mod versions;
