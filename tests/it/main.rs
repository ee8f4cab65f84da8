//! The one integration-test binary.

mod sigilzero;
