//! Bytes and keys: where the store's bytes lie and how they become durable.
//!
//! Two ports ([`blobs::Blobs`], [`wal::Journal`]), a local driver and a memory driver for each, and
//! the one place with file-changing system calls ([`durable`]). Nothing here knows what the bytes
//! mean, prints, or reads the environment.

pub mod blobs;
pub mod durable;
pub mod lock;
pub mod segment;
pub mod segments;
#[cfg(test)]
mod testing;
pub mod wal;

pub use blobs::{
    BlobError, BlobFinding, BlobOptions, BlobWriter, LocalBlobs, Placed, Prepared, SegmentMark, Sound,
};
pub use durable::{
    Call, Disk, DiskError, Errno, Filesystem, Hook, Kind, Stat, Unnamed, Verdict, is_temp_name,
};
pub use lock::{FileLock, LockError};
pub use wal::{Base, Pending, Wal, WalError, read_pending};
