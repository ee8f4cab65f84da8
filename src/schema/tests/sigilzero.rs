//! The sigilzero pack on small manifests of our own.
