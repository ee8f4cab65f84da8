//! Strongroom: a content-addressed artifact store with an immutable audit trail.
//!
//! Layers import downwards only; `ARCHITECTURE.md` says what lives where and why.

pub mod backend;
pub mod base;
pub mod carrier;
#[cfg(feature = "cli")]
pub mod cli;
pub mod format;
pub mod index;
pub mod merkle;
pub mod note;
pub mod plan;
pub mod schema;
pub mod store;
