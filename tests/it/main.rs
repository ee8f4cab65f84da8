//! The one integration-test binary: every file beside this one is declared here, and `tidy` holds
//! us to that.

#![allow(clippy::unwrap_used)]

mod backend_process;
mod crash;
mod fixture;
mod layers;
mod layouts;
mod many;
mod merkle;
mod model;
mod real_runs;
mod sigilzero;
mod source;
mod tamper;
mod tidy;
