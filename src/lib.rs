//! Strongroom: a content-addressed artifact store with an immutable audit trail.
//!
//! Layers import downwards only; `ARCHITECTURE.md` says what lives where and why.

pub mod base;
pub mod schema;
