//! Decisions: state in, plan out. Nothing here reads or writes; `--dry-run` is the same plan, not
//! carried out.

pub mod adopt;
pub mod apply;
pub mod bundle;
pub mod keys;
pub mod record;
pub mod replay;
pub mod rollback;
pub mod times;
pub mod verify;
pub mod witness;
