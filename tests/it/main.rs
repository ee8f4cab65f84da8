//! The one integration-test binary: every file beside this one is declared here, and `tidy` holds
//! us to that.

#![allow(clippy::unwrap_used)]

mod backend_process;
mod corpus;
mod crash;
mod fixture;
mod layers;
mod merkle;
mod oracles;
mod sigilzero;
mod source;
mod tidy;
