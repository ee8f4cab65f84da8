//! Bytes to types and back, one file per section of `store-layout.md`.
//!
//! Pure: nothing here opens a file. A reader never re-serializes before hashing; what is hashed is
//! the bytes as they were written.

pub mod actor;
pub mod batch;
pub mod bundle;
pub mod carried;
pub mod config;
pub mod entry;
pub mod file_list;
pub mod finding;
pub mod head;
pub mod key_statement;
pub mod manifest;
pub mod paths;
pub mod policy;
pub mod proof;
pub mod run_proof;
pub mod stamp;
pub mod verification;
pub mod witness;

use crate::base::canonical;

/// Why bytes of one of the store's own records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not the JSON of this record.
    #[error("{what} cannot be read: {source}")]
    Json {
        /// Which record: `audit entry`, `file list`, ...
        what: &'static str,
        /// The JSON error.
        source: serde_json::Error,
    },
    /// The record reads, but its bytes are not the canonical form that the store writes.
    #[error("{what} is not in canonical form (RFC 8785), so it was not written by this program")]
    NotCanonical {
        /// Which record.
        what: &'static str,
    },
    /// The record's version is not one this program reads.
    #[error("{what} has version {found}; this program reads version {known}")]
    Version {
        /// Which record.
        what: &'static str,
        /// The version in the record.
        found: u64,
        /// The version this program reads.
        known: u64,
    },
    /// The record reads, but says something impossible.
    #[error("{what} is inconsistent: {why}")]
    Inconsistent {
        /// Which record.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Prints one of the store's own records in canonical form.
fn to_canonical<T: serde::Serialize>(record: &T) -> Vec<u8> {
    if let Some(bytes) = canonical::rfc8785_direct(record) {
        return bytes;
    }
    let value = serde_json::to_value(record).expect("own records have string keys only");
    canonical::rfc8785(&value).expect("own records hold no floats and no integers beyond 2^53 - 1")
}

/// Refuses a record of a version that this program does not read.
fn known_version(what: &'static str, found: u64) -> Result<(), RecordError> {
    if found == 1 { Ok(()) } else { Err(RecordError::Version { what, found, known: 1 }) }
}

/// Reads one of the store's own records and insists on its canonical form.
fn from_canonical<T>(what: &'static str, bytes: &[u8]) -> Result<T, RecordError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let record: T = serde_json::from_slice(bytes).map_err(|source| RecordError::Json { what, source })?;
    if let Some(canonical) = canonical::rfc8785_direct(&record) {
        return if canonical == bytes { Ok(record) } else { Err(RecordError::NotCanonical { what }) };
    }
    let value = serde_json::to_value(&record).map_err(|source| RecordError::Json { what, source })?;
    // Bytes that were read may hold integers beyond 2^53 - 1, which have no canonical form.
    match canonical::rfc8785(&value) {
        Ok(canonical) if canonical == bytes => Ok(record),
        _ => Err(RecordError::NotCanonical { what }),
    }
}
