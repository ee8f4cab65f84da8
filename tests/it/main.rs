//! The one integration-test binary.

mod layers;
mod sigilzero;
mod source;
mod tidy;
