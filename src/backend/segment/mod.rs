//! The bytes of a segment: a header, then records one after another.
//!
//! Pure: no file is opened here. All numbers are little-endian.
//!
//! | offset | bytes | segment header |
//! |---|---|---|
//! | 0 | 8 | `SRMSEG` CR LF |
//! | 8 | 4 | format, 1 |
//! | 12 | 4 | number, as in the file's name |
//! | 16 | 16 | store id |
//! | 32 | 16 | check over bytes 0 to 32 |
//!
//! | offset | bytes | record |
//! |---|---|---|
//! | 0 | 4 | `SRR` and 01 |
//! | 4 | 1 | codec: 0 raw, 1 zstd |
//! | 5 | 3 | zero |
//! | 8 | 8 | stored length, n |
//! | 16 | 8 | raw length |
//! | 24 | 32 | SHA-256 of the raw bytes |
//! | 56 | 32 | BLAKE3 of the raw bytes |
//! | 88 | 16 | header check over the place and bytes 0 to 88 |
//! | 104 | n | stored bytes |
//! | 104 + n | 16 | check over the place and bytes 0 to 104 + n |
//!
//! A check is the first 16 bytes of BLAKE3 in key derivation mode under [`HEADER_CONTEXT`],
//! [`RECORD_HEADER_CONTEXT`] or [`RECORD_CONTEXT`]. The place is the store id, the segment's number
//! (4 bytes) and the record's offset (8 bytes): a segment recorded as a blob, lying whole within a
//! record of another, is therefore never taken for records when a scan looks for the next good one.
//! The header has a check of its own so that a damaged body does not hide the records after it.

mod scan;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};

use crate::base::digest::{Blake3, BlobId, Sha256};
use crate::base::limits;
pub use scan::{BadRegion, Depth, ReadAt, Scanned, all_sound, scan};

/// Length of a segment's header.
pub const HEADER_LEN: u64 = 48;
/// Length of a record before its stored bytes.
pub const RECORD_HEADER_LEN: u64 = 104;
/// Length of a record's final check.
pub const CHECK_LEN: u64 = 16;
/// Key derivation context of the segment header's check.
pub const HEADER_CONTEXT: &str = "strongroom 2026 segment header v1";
/// Key derivation context of the record header's check.
pub const RECORD_HEADER_CONTEXT: &str = "strongroom 2026 segment record header v1";
/// Key derivation context of the record's check.
pub const RECORD_CONTEXT: &str = "strongroom 2026 segment record v1";

/// The contexts are hashed once: a record's checks are over little more than that.
static RECORD_HEADER_KEY: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context(RECORD_HEADER_CONTEXT));
static RECORD_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(RECORD_CONTEXT));

const MAGIC: &[u8; 8] = b"SRMSEG\r\n";
const FORMAT: u32 = 1;
const RECORD_MAGIC: &[u8; 4] = b"SRR\x01";
/// Below this zstd's own frame eats what it saves.
const SMALLEST_PACKED: usize = 64;
const LEVEL: i32 = 1;

/// Why bytes are not a segment header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Fewer bytes than a header has.
    #[error("it ends within its header, after {len} bytes")]
    Short {
        /// How many there are.
        len: u64,
    },
    /// The first bytes are not those of a segment.
    #[error("it does not begin as a segment does")]
    Magic,
    /// The check does not fit.
    #[error("its header is damaged")]
    Check,
    /// A format this program does not know.
    #[error("it has format {found}, and this program knows format {FORMAT}")]
    Format {
        /// The format it states.
        found: u32,
    },
    /// Another number than its name says.
    #[error("its header says it is segment {found:08x}")]
    Number {
        /// The number it states.
        found: u32,
    },
    /// It belongs to another store.
    #[error("it belongs to the store {}", crate::base::digest::hex(found))]
    ForeignStore {
        /// The store id it states.
        found: [u8; 16],
    },
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// It ends before its length says.
    #[error("the record ends early")]
    Short,
    /// The header is none, or damaged.
    #[error("the record's header is damaged")]
    Header,
    /// A codec this program does not know.
    #[error("the record has the unknown codec {0}")]
    Codec(u8),
    /// A length above the limit, or two lengths that contradict each other.
    #[error("the record's lengths are impossible")]
    Length,
    /// The stored bytes are damaged.
    #[error("the record's bytes are damaged")]
    Check,
    /// The stored bytes do not decompress to the stated length.
    #[error("the record does not decompress")]
    Decompress,
    /// The raw bytes have another digest than stated.
    #[error("the record's bytes have another digest than it states")]
    Digest,
}

/// Where a record lies; part of what its checks cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The store.
    pub store_id: [u8; 16],
    /// The segment's number.
    pub number: u32,
    /// The offset of the record's first byte.
    pub offset: u64,
}

impl Place {
    /// The same segment, elsewhere.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    fn check(&self, context: &ContextKey, bytes: &[&[u8]]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_from_context_key(context);
        hasher.update(&self.store_id);
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&self.offset.to_le_bytes());
        for part in bytes {
            hasher.update(part);
        }
        first_16(&hasher)
    }
}

/// How the bytes of a record are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// What a record says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// How the bytes are stored.
    pub codec: Codec,
    /// How many bytes are stored.
    pub stored: u64,
    /// What they are when unpacked.
    pub id: BlobId,
}

impl RecordHeader {
    /// The record's whole length.
    pub fn extent(&self) -> u64 {
        RECORD_HEADER_LEN + self.stored + CHECK_LEN
    }
}

fn first_16(hasher: &blake3::Hasher) -> [u8; 16] {
    array(&hasher.finalize().as_bytes()[..16])
}

/// Copies a part of known length.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut exactly N bytes")
}

/// The header of a new segment.
pub fn encode_header(store_id: &[u8; 16], number: u32) -> [u8; HEADER_LEN as usize] {
    let mut out = [0; HEADER_LEN as usize];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    out[12..16].copy_from_slice(&number.to_le_bytes());
    out[16..32].copy_from_slice(store_id);
    let mut hasher = blake3::Hasher::new_derive_key(HEADER_CONTEXT);
    hasher.update(&out[..32]);
    out[32..].copy_from_slice(&first_16(&hasher));
    out
}

/// Checks a segment's header against the store and the number in the file's name.
pub fn check_header(bytes: &[u8], store_id: &[u8; 16], number: u32) -> Result<(), BadHeader> {
    let Some(bytes) = bytes.get(..HEADER_LEN as usize) else {
        return Err(BadHeader::Short { len: bytes.len() as u64 });
    };
    if &bytes[..8] != MAGIC {
        return Err(BadHeader::Magic);
    }
    let mut hasher = blake3::Hasher::new_derive_key(HEADER_CONTEXT);
    hasher.update(&bytes[..32]);
    if bytes[32..] != first_16(&hasher) {
        return Err(BadHeader::Check);
    }
    let found = u32::from_le_bytes(array(&bytes[8..12]));
    if found != FORMAT {
        return Err(BadHeader::Format { found });
    }
    if bytes[16..32] != store_id[..] {
        return Err(BadHeader::ForeignStore { found: array(&bytes[16..32]) });
    }
    let found = u32::from_le_bytes(array(&bytes[12..16]));
    if found != number {
        return Err(BadHeader::Number { found });
    }
    Ok(())
}

/// Makes records; keeps the compressor's memory between them.
pub struct Encoder {
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder. Without memory for a compressor it stores everything raw.
    pub fn new() -> Self {
        Self { compressor: zstd::bulk::Compressor::new(LEVEL).ok() }
    }

    /// The bytes of a record at a place, packed as [`Encoder::pack`] says.
    ///
    /// # Errors
    /// [`BadRecord::Length`] above [`limits::SEGMENT_BLOB_BYTES`], or if `id` states another length.
    pub fn encode(&mut self, place: &Place, id: &BlobId, bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
        let packed = self.pack(bytes);
        encode_packed(place, id, bytes, packed.as_deref())
    }

    /// The bytes packed, where that saves at least an eighth.
    pub fn pack(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() < SMALLEST_PACKED {
            return None;
        }
        let packed = self.compressor.as_mut()?.compress(bytes).ok()?;
        (packed.len() <= bytes.len() - bytes.len() / 8).then_some(packed)
    }
}

/// The bytes of a record at a place, packed already, or to be stored as they are.
///
/// # Errors
/// As [`Encoder::encode`].
pub fn encode_packed(
    place: &Place,
    id: &BlobId,
    bytes: &[u8],
    packed: Option<&[u8]>,
) -> Result<Vec<u8>, BadRecord> {
    if id.bytes != bytes.len() as u64 || id.bytes > limits::SEGMENT_BLOB_BYTES {
        return Err(BadRecord::Length);
    }
    let (codec, stored) = match packed {
        Some(packed) => (1u8, packed),
        None => (0u8, bytes),
    };
    let mut out = Vec::with_capacity((RECORD_HEADER_LEN + CHECK_LEN) as usize + stored.len());
    out.extend_from_slice(RECORD_MAGIC);
    out.extend_from_slice(&[codec, 0, 0, 0]);
    out.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    out.extend_from_slice(&id.bytes.to_le_bytes());
    out.extend_from_slice(id.sha256.as_bytes());
    out.extend_from_slice(id.blake3.as_bytes());
    let check = place.check(&RECORD_HEADER_KEY, &[&out]);
    out.extend_from_slice(&check);
    let check = place.check(&RECORD_KEY, &[&out, stored]);
    out.extend_from_slice(stored);
    out.extend_from_slice(&check);
    Ok(out)
}

/// The bytes of one record; [`Encoder`] makes many.
pub fn encode_record(place: &Place, id: &BlobId, bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
    Encoder::new().encode(place, id, bytes)
}

/// Reads a record's header. No length in it is believed before its check fits, and none above
/// [`limits::SEGMENT_BLOB_BYTES`] at all.
pub fn decode_record_header(place: &Place, bytes: &[u8]) -> Result<RecordHeader, BadRecord> {
    let bytes = bytes.get(..RECORD_HEADER_LEN as usize).ok_or(BadRecord::Short)?;
    let check = place.check(&RECORD_HEADER_KEY, &[&bytes[..88]]);
    if &bytes[..4] != RECORD_MAGIC || bytes[88..] != check || bytes[5..8] != [0; 3] {
        return Err(BadRecord::Header);
    }
    let stored = u64::from_le_bytes(array(&bytes[8..16]));
    let raw = u64::from_le_bytes(array(&bytes[16..24]));
    let codec = match bytes[4] {
        0 if stored == raw => Codec::Raw,
        1 if stored < raw => Codec::Zstd,
        0 | 1 => return Err(BadRecord::Length),
        other => return Err(BadRecord::Codec(other)),
    };
    if raw > limits::SEGMENT_BLOB_BYTES {
        return Err(BadRecord::Length);
    }
    let id = BlobId {
        sha256: Sha256::from_bytes(array(&bytes[24..56])),
        blake3: Blake3::from_bytes(array(&bytes[56..88])),
        bytes: raw,
    };
    Ok(RecordHeader { codec, stored, id })
}

/// Checks that a whole record is as it was written; its bytes are not unpacked.
pub fn check_record(place: &Place, record: &[u8]) -> Result<RecordHeader, BadRecord> {
    let header = decode_record_header(place, record)?;
    let end = usize::try_from(header.extent()).map_err(|_| BadRecord::Length)?;
    let record = record.get(..end).ok_or(BadRecord::Short)?;
    let (body, check) = record.split_at(end - CHECK_LEN as usize);
    if check != place.check(&RECORD_KEY, &[body]) {
        return Err(BadRecord::Check);
    }
    Ok(header)
}

thread_local! {
    /// Making one costs more than unpacking a manifest with it.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn unpack(stored: &[u8], capacity: usize) -> Result<Vec<u8>, BadRecord> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::new().map_err(|_| BadRecord::Decompress)?),
        };
        decompressor.decompress(stored, capacity).map_err(|_| BadRecord::Decompress)
    })
}

/// Unpacks a record. What is returned has both digests of the record's header: they are computed
/// again from the bytes.
pub fn decode_record(place: &Place, record: &[u8]) -> Result<(RecordHeader, Vec<u8>), BadRecord> {
    let header = check_record(place, record)?;
    let end = record.len().min(header.extent() as usize) - CHECK_LEN as usize;
    let stored = &record[RECORD_HEADER_LEN as usize..end];
    let raw = match header.codec {
        Codec::Raw => stored.to_vec(),
        // The capacity bounds the memory whatever the frame says of itself.
        Codec::Zstd => unpack(stored, header.id.bytes as usize)?,
    };
    if BlobId::of(&raw) != header.id {
        return Err(BadRecord::Digest);
    }
    Ok((header, raw))
}
