//! `audit/head`: how far the log is settled (`store-layout.md`, "Head"). Local state, not signed:
//! it says where the journal starts to count, and lets the log's root be carried on without reading
//! the log again.
//!
//! It is a single copy that says how much of the segments may be cut, so it carries its own check: a
//! bit that rots in it stops the store instead of costing it committed blobs.

use super::batch::Mark;
use super::{RecordError, from_canonical, to_canonical};
use crate::base::digest::Sha256;

/// How far the log is settled.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    v: u64,
    /// The digest of the record without this member; in the file only.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Sha256>,
    /// Entries whose bundles and whose effects are durable.
    pub size: u64,
    /// The RFC 6962 root hash over them.
    pub root: Sha256,
    /// The roots of the perfect subtrees that make up the tree, largest first.
    pub frontier: Vec<Sha256>,
    /// The sequence number of the last settled frame.
    pub frame_seq: u64,
    /// The hash of that frame.
    pub frame_hash: Sha256,
    /// Where the run map's newest tree lies; absent where it is to be made anew from the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<RunMapRef>,
    /// How far each segment is committed.
    pub segments: Vec<Mark>,
}

/// Where the newest tree of the run map lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMapRef {
    /// The number of the file of nodes.
    pub file: u64,
    /// Where the record of the top node begins in it.
    pub at: u64,
    /// The tree's root.
    pub root: Sha256,
    /// How many runs it holds.
    pub runs: u64,
    /// The index of the `run-map` entry that states this root.
    pub entry: u64,
}

impl Head {
    /// The head of a log without entries; its root is the hash of the empty string (RFC 6962,
    /// section 2.1).
    pub fn empty() -> Self {
        Self {
            v: 1,
            check: None,
            size: 0,
            root: Sha256::of(b""),
            frontier: Vec::new(),
            frame_seq: 0,
            frame_hash: Sha256::from_bytes([0; 32]),
            runs: None,
            segments: Vec::new(),
        }
    }

    /// Takes in how far a batch needs the segments to reach.
    pub fn advance_segments(&mut self, marks: &[Mark]) {
        for mark in marks {
            match self.segments.iter_mut().find(|known| known.number == mark.number) {
                Some(known) => known.len = known.len.max(mark.len),
                None => self.segments.push(*mark),
            }
        }
        self.segments.sort_by_key(|mark| mark.number);
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let check = Some(Sha256::of(&to_canonical(self)));
        to_canonical(&Self { check, ..self.clone() })
    }

    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut head: Self = from_canonical("audit/head", bytes)?;
        if head.v != 1 {
            return Err(RecordError::Version { what: "audit/head", found: head.v, known: 1 });
        }
        let check = head.check.take();
        if check != Some(Sha256::of(&to_canonical(&head))) {
            let why = "its check does not fit what it says".to_owned();
            return Err(RecordError::Inconsistent { what: "audit/head", why });
        }
        let subtrees = head.size.count_ones() as usize;
        if head.frontier.len() != subtrees {
            let why = format!("{} subtrees for size {}", head.frontier.len(), head.size);
            return Err(RecordError::Inconsistent { what: "audit/head", why });
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_round_trips_and_a_frontier_of_the_wrong_size_is_refused() {
        let mut head = Head::empty();
        head.advance_segments(&[Mark { number: 2, len: 5 }, Mark { number: 1, len: 9 }]);
        head.advance_segments(&[Mark { number: 2, len: 4 }]);
        assert_eq!(head.segments, [Mark { number: 1, len: 9 }, Mark { number: 2, len: 5 }]);
        assert_eq!(Head::parse(&head.to_bytes()).unwrap(), head);
        head.size = 3;
        assert!(Head::parse(&head.to_bytes()).is_err());
    }

    #[test]
    fn head_with_any_bit_changed_is_refused() {
        let mut head = Head::empty();
        head.advance_segments(&[Mark { number: 1, len: 4096 }]);
        let bytes = head.to_bytes();
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(Head::parse(&changed).is_err(), "bit {at}");
        }
    }

    #[test]
    fn head_with_an_integer_that_has_no_canonical_form_is_refused() {
        let text = String::from_utf8(Head::empty().to_bytes()).unwrap();
        for number in ["9007199254740992", "18446744073709551615"] {
            let odd = text.replace("\"frame_seq\":0", &format!("\"frame_seq\":{number}"));
            assert!(Head::parse(odd.as_bytes()).is_err(), "{number}");
        }
    }
}
