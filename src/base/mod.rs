//! The words everything else is written in: digests, ids, paths, JSON text, limits, time.
//!
//! Pure: no file, clock, network, environment or randomness is reached from here.

pub mod canonical;
pub mod clock;
pub mod digest;
pub mod escape;
pub mod id;
pub mod json;
pub mod limits;
pub mod name;
pub mod sha256;
pub mod tag;
pub(crate) mod text;
