//! Stated limits, each enforced where the thing is read and named in the error.

/// Longest job id or run id, in bytes.
pub const ID_BYTES: usize = 128;
/// Longest logical path inside a run, in bytes.
pub const PATH_BYTES: usize = 4096;
/// Longest component of a logical path, in bytes (what common filesystems take).
pub const NAME_BYTES: usize = 255;
/// Deepest nesting of a JSON document.
pub const JSON_DEPTH: usize = 128;
/// Largest JSON document, in bytes.
pub const JSON_BYTES: usize = 16 << 20;
/// Longest number token in a JSON document, in bytes.
pub const NUMBER_BYTES: usize = 1000;
/// Largest audit entry, in bytes; an entry must stay below this.
pub const ENTRY_BYTES: usize = 16 << 10;
/// Largest number of files and folders in one run.
pub const RUN_FILES: usize = 1_000_000;
/// Largest number of entries in one flat file list; above it the list is a tree of lists.
pub const FILE_LIST_ENTRIES: usize = 10_000;
/// Default upper size of blobs kept in segments, in bytes.
pub const SMALL_BLOB_BYTES: u64 = 256 << 10;
/// A segment is sealed once it has reached this size, in bytes.
pub const SEGMENT_BYTES: u64 = 128 << 20;
/// Largest blob that is decompressed from a segment, in bytes (guards against hostile lengths).
pub const SEGMENT_BLOB_BYTES: u64 = 64 << 20;
/// Largest body of one write-ahead frame, in bytes.
pub const FRAME_BYTES: usize = 64 << 20;
/// Most changes in one batch.
pub const BATCH_CHANGES: usize = 4096;
/// Entries in one full bundle or tile (C2SP tlog-tiles).
pub const TILE_WIDTH: u64 = 256;
/// Most files and folders in an evidence bundle that is read.
pub const BUNDLE_FILES: usize = 4_000_000;
/// Largest file of an evidence bundle whose content is looked into, in bytes; all others are only hashed.
pub const BUNDLE_TEXT_BYTES: u64 = 64 << 20;
/// Largest sum of the files of an evidence bundle that are looked into, in bytes.
pub const BUNDLE_TEXTS_BYTES: u64 = 1 << 30;
/// How many times larger than the zip file the files in it may be, above [`ZIP_FREE_BYTES`].
pub const ZIP_RATIO: u64 = 200;
/// Unpacked bytes of a zip file that the ratio does not apply to.
pub const ZIP_FREE_BYTES: u64 = 16 << 20;
