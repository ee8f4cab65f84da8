//! The body of one write-ahead frame: a batch's entries and what they need to be durable
//! (`store-layout.md`, "Write-ahead log").
//!
//! One line of canonical JSON, then one line per entry. Entries are canonical JSON, which holds no
//! raw line feed, so the lines cannot be confused. What a batch does to `artifacts/` follows from
//! its entries alone: redo needs the frame, the segments and the large blobs.

use super::{RecordError, from_canonical, to_canonical};

const WHAT: &str = "write-ahead frame";

/// How far one segment must reach for a batch to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The segment's number.
    pub number: u32,
    /// Its durable length in bytes.
    pub len: u64,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: u64,
    first: u64,
    entries: u64,
    segments: Vec<Mark>,
}

/// A batch as it is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The log index of the first entry.
    pub first: u64,
    /// How far the segments reach.
    pub segments: Vec<Mark>,
    /// The entries' exact bytes.
    pub entries: Vec<Vec<u8>>,
}

impl Batch {
    /// The log size once the batch is in.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The frame's body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            v: 1,
            first: self.first,
            entries: self.entries.len() as u64,
            segments: self.segments.clone(),
        };
        let mut body = to_canonical(&header);
        for entry in &self.entries {
            body.push(b'\n');
            body.extend_from_slice(entry);
        }
        body
    }

    /// Reads a frame's body.
    pub fn parse(body: &[u8]) -> Result<Self, RecordError> {
        let mut lines = body.split(|&b| b == b'\n');
        let header: Header = from_canonical(WHAT, lines.next().unwrap_or_default())?;
        if header.v != 1 {
            return Err(RecordError::Version { what: WHAT, found: header.v, known: 1 });
        }
        let entries: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
        if entries.len() as u64 != header.entries {
            let why = format!("{} entries, {} announced", entries.len(), header.entries);
            return Err(RecordError::Inconsistent { what: WHAT, why });
        }
        Ok(Self { first: header.first, segments: header.segments, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_round_trips_and_a_lost_entry_is_found() {
        let batch = Batch {
            first: 7,
            segments: vec![Mark { number: 1, len: 99 }],
            entries: vec![b"{}".to_vec(), b"{\"a\":1}".to_vec()],
        };
        let body = batch.to_bytes();
        assert_eq!(Batch::parse(&body).unwrap(), batch);
        let cut = &body[..body.len() - 8];
        assert!(matches!(Batch::parse(cut), Err(RecordError::Inconsistent { .. })));
    }
}
