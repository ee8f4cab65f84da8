//! A proof file: one entry is in the log of one checkpoint (C2SP tlog-proof, `store-layout.md`,
//! "Proof files"). The entry itself travels as the extra data; that nobody signed it does no harm,
//! since its hash is what the proof is about.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::RecordError;
use crate::merkle::{self, Hash};
use crate::note::{CheckpointBody, SignedNote, VerifyingKey};

const WHAT: &str = "proof file";
const FIRST: &str = "c2sp.org/tlog-proof@v1";

/// A proof file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogProof {
    /// The entry's bytes.
    pub entry: Option<Vec<u8>>,
    /// Its index in the log.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub hashes: Vec<Hash>,
    /// The checkpoint that it leads to.
    pub checkpoint: SignedNote,
}

impl fmt::Display for LogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}")?;
        if let Some(entry) = &self.entry {
            writeln!(f, "extra {}", STANDARD.encode(entry))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofProblem {
    /// There is no entry in it.
    #[error("the file has no entry to prove")]
    NoEntry,
    /// The checkpoint is not signed by a key that was given.
    #[error("its checkpoint: {0}")]
    Signature(#[from] crate::note::NoteError),
    /// The checkpoint's text is none.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] crate::note::CheckpointError),
    /// A known key has signed a checkpoint of another log.
    #[error("its checkpoint is of {origin}, which none of the given keys is for")]
    Origin {
        /// The log.
        origin: String,
    },
    /// The hashes do not lead from the entry to the checkpoint's root.
    #[error("{0}")]
    Inclusion(#[from] merkle::ProofError),
}

impl LogProof {
    /// Reads a proof file, in the one form that it has.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let bad = |why: String| RecordError::Inconsistent { what: WHAT, why };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| bad("it has no empty line".to_owned()))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST) {
            return Err(bad(format!("its first line is not {FIRST}")));
        }
        let mut entry = None;
        if let Some(extra) = lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            entry = Some(STANDARD.decode(extra).map_err(|_| bad("its extra data is not base64".to_owned()))?);
            lines.next();
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).unwrap_or_default();
        let number: u64 = index.parse().map_err(|_| bad("it names no index".to_owned()))?;
        if number.to_string() != index {
            return Err(bad("its index is not in the shortest form".to_owned()));
        }
        let hashes = lines
            .map(|line| line.parse::<Hash>().map_err(|error| bad(error.to_string())))
            .collect::<Result<Vec<_>, _>>()?;
        if hashes.len() > 64 {
            return Err(bad(format!("{} hashes are more than any log needs", hashes.len())));
        }
        let checkpoint = SignedNote::parse(note.as_bytes()).map_err(|error| bad(error.to_string()))?;
        Ok(Self { entry, index: number, hashes, checkpoint })
    }

    /// Whether it proves its entry to someone who trusts these keys. A key speaks for the log of its
    /// own name only.
    pub fn check(&self, keys: &[VerifyingKey]) -> Result<CheckpointBody, ProofProblem> {
        let entry = self.entry.as_ref().ok_or(ProofProblem::NoEntry)?;
        let signers = self.checkpoint.verify(keys)?;
        let body: CheckpointBody = self.checkpoint.text().parse()?;
        if !signers.iter().any(|key| key.name().as_str() == body.origin) {
            return Err(ProofProblem::Origin { origin: body.origin });
        }
        let (leaf, root) = (merkle::leaf_hash(entry), Hash::from_bytes(body.root));
        merkle::verify_inclusion(self.index, body.size, &leaf, &self.hashes, &root)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;

    #[test]
    fn proof_round_trips_and_any_bit_changed_proves_nothing_else() {
        let key = SigningKey::from_seed("example.org/log".parse().unwrap(), &[7; 32]);
        let entries = [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()];
        let leaves: Vec<Hash> = entries.iter().map(|entry| merkle::leaf_hash(entry)).collect();
        let root = *merkle::root_of(&leaves).as_bytes();
        let body = CheckpointBody { origin: "example.org/log".into(), size: 3, root, extensions: vec![] };
        let checkpoint = SignedNote::sign(body.to_string(), &[&key]).unwrap();
        let hashes = merkle::prove_inclusion(1, 3, &leaves[..]).unwrap();
        let proof = LogProof { entry: Some(entries[1].clone()), index: 1, hashes, checkpoint };
        let keys = [key.verifying_key().clone()];
        let text = proof.to_string();
        assert_eq!(LogProof::parse(text.as_bytes()).unwrap(), proof);
        assert_eq!(proof.check(&keys), Ok(body));
        for bit in 0..text.len() * 8 {
            let mut bad = text.clone().into_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            let taken = LogProof::parse(&bad).is_ok_and(|proof| proof.check(&keys).is_ok());
            assert!(!taken, "bit {bit}");
        }
        let other = SigningKey::from_seed("example.org/log".parse().unwrap(), &[8; 32]);
        assert!(matches!(proof.check(&[other.verifying_key().clone()]), Err(ProofProblem::Signature(_))));
    }
}
