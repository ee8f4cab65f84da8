//! The port, and what can go wrong with blobs.

use std::io;

use crate::backend::durable::DiskError;
use crate::backend::segment::{BadHeader, BadRecord};
use crate::backend::segments::SegmentsError;
use crate::base::digest::{Blake3, BlobId, Sha256};

/// How bytes at a place are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobDamage {
    /// A record in a segment.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// A segment's header.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// A large blob's file has another length.
    #[error("it has {found} bytes instead of {expected}")]
    Length {
        /// The blob's length.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// A large blob's file has other bytes.
    #[error("its bytes have another digest")]
    Digest,
    /// Something else lies where a large blob should.
    #[error("it is a {found}, not a regular file")]
    NotRegular {
        /// What it is.
        found: &'static str,
    },
    /// A segment ends before a length that a commit vouched for.
    #[error("it has {found} bytes, and {committed} were committed")]
    Shorter {
        /// The committed length.
        committed: u64,
        /// The file's length.
        found: u64,
    },
}

/// Why a blob was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is there and its bytes are not what its name says; no good copy was found.
    #[error("the blob at {place} is damaged: {damage}")]
    Damaged {
        /// The file, and the offset in a segment.
        place: String,
        /// How.
        damage: BlobDamage,
    },
    /// It is larger than what is taken into memory, or into a segment.
    #[error("a blob of {bytes} bytes is over the limit of {limit} for {what}")]
    TooLarge {
        /// What was attempted.
        what: &'static str,
        /// The blob's length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It is not in the store.
    #[error("there is no blob {sha256}")]
    Missing {
        /// Its SHA-256.
        sha256: Sha256,
    },
    /// The bytes to be stored could not be read.
    #[error("cannot read the bytes to be stored: {source}")]
    Source {
        /// What the reader said.
        source: io::Error,
    },
    /// The bytes could not be handed on.
    #[error("cannot hand on the bytes of a blob: {source}")]
    Sink {
        /// What the writer said.
        source: io::Error,
    },
    /// Reading a blob's file failed.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file, relative to the root.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An earlier write of this writer failed; what reached the disk is not known.
    #[error("the writer takes no more blobs after a failed write")]
    Poisoned,
    /// This driver cannot take out a single blob of this kind.
    #[error("blob {blake3} lies in a segment, from which nothing is deleted")]
    Permanent {
        /// Its BLAKE3.
        blake3: Blake3,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The segments.
    #[error(transparent)]
    Segments(#[from] SegmentsError),
}

/// The port: immutable bytes by digest.
///
/// Contract, which every driver's tests run:
/// - `put` stores the bytes unless a sound copy is there, and they are durable when it returns;
/// - what `get` returns hashes to the digests asked for; bytes that do not are
///   [`BlobError::Damaged`], absent ones `None`;
/// - `contains` is true exactly for a blob that `get` would look for, with the same length;
/// - `list` gives every blob once, in any order;
/// - `delete` says whether it was there, or refuses with [`BlobError::Permanent`] and changes nothing.
pub trait Blobs {
    /// Stores bytes unless they are there already.
    fn put(&self, bytes: &[u8]) -> Result<BlobId, BlobError>;
    /// Reads a blob.
    fn get(&self, id: &BlobId) -> Result<Option<Vec<u8>>, BlobError>;
    /// Whether a blob is there.
    fn contains(&self, id: &BlobId) -> Result<bool, BlobError>;
    /// Gives every blob's address and length.
    fn list(&self, visit: &mut dyn FnMut(Blake3, u64)) -> Result<(), BlobError>;
    /// Removes a blob.
    fn delete(&self, id: &BlobId) -> Result<bool, BlobError>;
}
