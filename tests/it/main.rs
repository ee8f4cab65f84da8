//! The one integration-test binary: every file beside this one is declared here, and `tidy` holds
//! us to that.

#![allow(clippy::unwrap_used)]

mod backend_process;
mod crash;
mod docs;
mod fixture;
mod layers;
mod merkle;
mod sigilzero;
mod source;
mod tidy;
