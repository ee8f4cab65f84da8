//! The one integration-test binary.

mod backend_process;
mod layers;
mod sigilzero;
mod source;
mod tidy;
