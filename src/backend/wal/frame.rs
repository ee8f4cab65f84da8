//! The bytes of a generation (tables: the module above). Pure.

use super::{Base, Damage};
use crate::base::limits;

/// Key derivation context of a generation header's check.
pub const HEADER_CONTEXT: &str = "strongroom 2026 wal header v1";
/// Key derivation context of a frame's checksum.
pub const FRAME_CONTEXT: &str = "strongroom 2026 wal frame v1";

pub(super) const FORMAT: u32 = 1;
/// Length of a generation's header.
pub const HEADER_LEN: usize = 112;
const MAGIC: &[u8; 8] = b"SRMWAL\r\n";
const FRAME_HEADER_LEN: usize = 48;
const CHECKSUM_LEN: usize = 32;

/// A frame with what it says of the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// Its sequence number.
    pub seq: u64,
    /// The hash of the frame before it.
    pub prev: [u8; 32],
    /// Its own hash.
    pub hash: [u8; 32],
    /// What was committed.
    pub body: Vec<u8>,
}

/// The frames of one file and where bytes begin that are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The frames, each following on the one before it.
    pub frames: Vec<RawFrame>,
    /// Where a write that never finished begins.
    pub torn: Option<u64>,
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut exactly N bytes")
}

/// The header of a new generation whose first frame follows on `base`.
pub fn encode_header(store_id: &[u8; 16], generation: u64, base: &Base) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    out[16..32].copy_from_slice(store_id);
    out[32..40].copy_from_slice(&generation.to_le_bytes());
    out[40..48].copy_from_slice(&base.seq.to_le_bytes());
    out[48..80].copy_from_slice(&base.hash);
    let check = blake3::derive_key(HEADER_CONTEXT, &out[..80]);
    out[80..].copy_from_slice(&check);
    out
}

/// Adds a frame that follows on `head` and gives its hash.
pub fn encode_frame(out: &mut Vec<u8>, head: &Base, body: &[u8]) -> [u8; 32] {
    let start = out.len();
    out.extend_from_slice(&(head.seq + 1).to_le_bytes());
    out.extend_from_slice(&head.hash);
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(body);
    let hash = blake3::derive_key(FRAME_CONTEXT, &out[start..]);
    out.extend_from_slice(&hash);
    hash
}

/// The frame that begins at an offset, if one does, and where it ends.
fn frame_at(bytes: &[u8], at: usize) -> Option<(RawFrame, usize)> {
    let header = bytes.get(at..at.checked_add(FRAME_HEADER_LEN)?)?;
    let len = usize::try_from(u64::from_le_bytes(array(&header[40..48]))).ok()?;
    if len > limits::FRAME_BYTES {
        return None;
    }
    let body = at + FRAME_HEADER_LEN;
    let checksum = bytes.get(body + len..body + len + CHECKSUM_LEN)?;
    let hash = blake3::derive_key(FRAME_CONTEXT, &bytes[at..body + len]);
    if checksum != hash {
        return None;
    }
    let frame = RawFrame {
        seq: u64::from_le_bytes(array(&header[..8])),
        prev: array(&header[8..40]),
        hash,
        body: bytes[body..body + len].to_vec(),
    };
    Some((frame, body + len + CHECKSUM_LEN))
}

/// Whether a good frame begins anywhere from an offset on: one that could follow on frame `after`, so
/// that a journal lying within a body is seldom taken for one.
fn frame_follows(bytes: &[u8], from: usize, after: u64) -> bool {
    // No more frames can stand there than fit, and sequence numbers go up by one.
    let room = ((bytes.len() - from.min(bytes.len())) / (FRAME_HEADER_LEN + CHECKSUM_LEN)) as u64;
    let latest = after.saturating_add(room).saturating_add(1);
    (from..bytes.len().saturating_sub(FRAME_HEADER_LEN)).any(|at| {
        let seq = u64::from_le_bytes(array(&bytes[at..at + 8]));
        seq > after && seq <= latest && frame_at(bytes, at).is_some()
    })
}

/// Reads a generation's file. Every frame returned has a checksum that fits and follows on the one
/// before it in the file.
pub fn read_generation(bytes: &[u8], store_id: &[u8; 16], generation: u64) -> Result<Generation, Damage> {
    let good_header = bytes.len() >= HEADER_LEN
        && &bytes[..8] == MAGIC
        && bytes[80..HEADER_LEN] == blake3::derive_key(HEADER_CONTEXT, &bytes[..80]);
    if !good_header {
        // Header and first frame are one write: where no frame is whole, that write never finished.
        let follows = bytes.len() > HEADER_LEN && any_frame(bytes);
        return if follows {
            Err(Damage::Header)
        } else {
            Ok(Generation { frames: Vec::new(), torn: Some(0) })
        };
    }
    let format = u32::from_le_bytes(array(&bytes[8..12]));
    if format != FORMAT {
        return Err(Damage::Format { found: format });
    }
    if bytes[16..32] != store_id[..] {
        return Err(Damage::ForeignStore { found: array(&bytes[16..32]) });
    }
    let found = u64::from_le_bytes(array(&bytes[32..40]));
    if found != generation {
        return Err(Damage::Generation { found });
    }
    let mut head = Base { seq: u64::from_le_bytes(array(&bytes[40..48])), hash: array(&bytes[48..80]) };
    let mut frames = Vec::new();
    let mut at = HEADER_LEN;
    while at < bytes.len() {
        let Some((frame, end)) = frame_at(bytes, at) else {
            if frame_follows(bytes, at + 1, head.seq) {
                return Err(Damage::Frame { offset: at as u64 });
            }
            return Ok(Generation { frames, torn: Some(at as u64) });
        };
        if frame.seq != head.seq.wrapping_add(1) || frame.prev != head.hash {
            return Err(Damage::Chain { seq: frame.seq });
        }
        head = Base { seq: frame.seq, hash: frame.hash };
        frames.push(frame);
        at = end;
    }
    Ok(Generation { frames, torn: None })
}

/// Whether any good frame begins in a file whose header tells nothing.
fn any_frame(bytes: &[u8]) -> bool {
    frame_at(bytes, HEADER_LEN).is_some()
        || (0..bytes.len().saturating_sub(FRAME_HEADER_LEN)).any(|at| {
            // Most positions state an impossible length and cost nothing.
            let len = u64::from_le_bytes(array(&bytes[at + 40..at + 48]));
            len <= bytes.len() as u64 && frame_at(bytes, at).is_some()
        })
}
