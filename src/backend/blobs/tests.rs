//! Tests of the blobs.
