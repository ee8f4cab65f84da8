//! A run proof: the whole history of one run, or that there is no such run, in the log of one
//! checkpoint (`store-layout.md`, "Run proofs").
//!
//! What leads from the checkpoint to the answer: the `run-map` entry is in the log (RFC 6962 inclusion);
//! its root holds the run's last leaf hash and the number of its entries, or leads the run's key to
//! another run's leaf; each entry names the leaf hash of the one before it, back to the first.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::RecordError;
use super::entry::{Entry, EntryKind};
use super::proof::{LogProof, ProofProblem};
use crate::base::id::RunKey;
use crate::merkle::prefix::{MapKey, MapLeaf, MapPath, MapPathError};
use crate::merkle::{self, Hash};
use crate::note::{CheckpointBody, VerifyingKey};

const WHAT: &str = "run proof";

/// The first line of a run proof.
pub const FIRST: &str = "strongroom/run-proof@v1";

/// A run proof's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunProof {
    /// The run asked about.
    pub run: RunKey,
    /// The run's entries, in order; none for an unknown run.
    pub entries: Vec<Vec<u8>>,
    /// The run's way through the map.
    pub path: MapPath,
    /// The proof of the `run-map` entry.
    pub map: LogProof,
}

/// What a run proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAnswer {
    /// How many entries the run has; 0 when there is no such run.
    pub entries: u64,
    /// How far the answer reaches: the log's first so many entries.
    pub covers: u64,
    /// The checkpoint's text.
    pub body: CheckpointBody,
}

/// Why a run proof does not hold.
#[derive(Debug, thiserror::Error)]
pub enum RunProofProblem {
    /// The `run-map` entry is not in the log.
    #[error(transparent)]
    Map(#[from] ProofProblem),
    /// An entry cannot be read.
    #[error("entry {at} of the run: {source}")]
    Entry {
        /// Which, from 1.
        at: usize,
        /// What is wrong with it.
        source: RecordError,
    },
    /// The entry that should tell of the map tells of something else.
    #[error("the entry in the log is no run-map entry")]
    NoMap,
    /// The way does not lead to the map's root.
    #[error(transparent)]
    Path(#[from] MapPathError),
    /// The map knows another number of entries.
    #[error("the map says that the run has {expected} entries, the proof has {found}")]
    Count {
        /// By the map.
        expected: u64,
        /// In the proof.
        found: usize,
    },
    /// The entries are not the run's chain.
    #[error("entry {at} of the run does not follow: {why}")]
    Chain {
        /// Which, from 1.
        at: usize,
        /// Why not.
        why: &'static str,
    },
}

impl fmt::Display for RunProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\nrun {}", self.run)?;
        self.entries.iter().try_for_each(|entry| writeln!(f, "entry {}", STANDARD.encode(entry)))?;
        self.path.steps.iter().try_for_each(|(bit, hash)| writeln!(f, "step {bit} {hash}"))?;
        if let Some(MapLeaf { key, last, count }) = &self.path.leaf {
            writeln!(f, "leaf {} {last} {count}", Hash::from_bytes(*key.as_bytes()))?;
        }
        write!(f, "\n{}", self.map)
    }
}

/// A number in its one form.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse::<T>().ok().filter(|number| number.to_string() == text)
}

fn step(text: &str) -> Option<(u8, Hash)> {
    let (bit, hash) = text.split_once(' ')?;
    Some((number(bit)?, hash.parse().ok()?))
}

fn leaf(text: &str) -> Option<MapLeaf> {
    let mut parts = text.split(' ');
    let (key, last): (Hash, Hash) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let count = number(parts.next()?)?;
    parts.next().is_none().then_some(MapLeaf { key: MapKey::from_bytes(*key.as_bytes()), last, count })
}

impl RunProof {
    /// Whether bytes say that they are a run proof.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.strip_prefix(FIRST.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'\n'))
    }

    /// Reads a run proof, in the one form that it has.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let bad = |why: &str| RecordError::Inconsistent { what: WHAT, why: why.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        let (head, map) = text.split_once("\n\n").ok_or_else(|| bad("it has no empty line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(bad("its first line is another"));
        }
        let name = lines.next().and_then(|line| line.strip_prefix("run ")?.split_once('/'));
        let run = name.and_then(|(job, run)| Some(RunKey { job: job.parse().ok()?, run: run.parse().ok()? }));
        let run = run.ok_or_else(|| bad("it names no run"))?;
        let mut entries = Vec::new();
        let mut path = MapPath { steps: Vec::new(), leaf: None };
        for line in lines {
            let stray = || bad("a line of it is none that belongs there");
            let (word, rest) = line.split_once(' ').ok_or_else(stray)?;
            let known = match word {
                "entry" if path.steps.is_empty() && path.leaf.is_none() => {
                    STANDARD.decode(rest).ok().map(|entry| entries.push(entry))
                }
                "step" if path.leaf.is_none() => step(rest).map(|step| path.steps.push(step)),
                "leaf" if path.leaf.is_none() => leaf(rest).map(|leaf| path.leaf = Some(leaf)),
                _ => None,
            };
            known.ok_or_else(stray)?;
        }
        if path.steps.len() > 256 {
            return Err(bad("more steps than a key has bits"));
        }
        Ok(Self { run, entries, path, map: LogProof::parse(map.as_bytes())? })
    }

    /// What it proves to someone who trusts these keys.
    pub fn check(&self, keys: &[VerifyingKey]) -> Result<RunAnswer, RunProofProblem> {
        let body = self.map.check(keys)?;
        let entries = self.check_content()?;
        Ok(RunAnswer { entries, covers: self.map.index + 1, body })
    }

    /// What it proves to someone who trusts its `run-map` entry: how many entries the run has.
    pub fn check_content(&self) -> Result<u64, RunProofProblem> {
        let bytes = self.map.entry.as_deref().unwrap_or_default();
        let entry = Entry::parse(bytes).map_err(|source| RunProofProblem::Entry { at: 0, source })?;
        let map = entry.map.filter(|_| entry.kind == EntryKind::RunMap).ok_or(RunProofProblem::NoMap)?;
        let root = Hash::from_bytes(*map.root.as_bytes());
        let leaf = self.path.check(&MapKey::of(&self.run.to_string()), &root)?;
        let expected = leaf.map_or(0, |leaf| leaf.count);
        if self.entries.len() as u64 != expected {
            return Err(RunProofProblem::Count { expected, found: self.entries.len() });
        }
        let last = self.check_chain()?;
        if last != leaf.map(|leaf| leaf.last) {
            let why = "the map names another last entry";
            return Err(RunProofProblem::Chain { at: self.entries.len(), why });
        }
        Ok(expected)
    }

    /// Holds each entry against the one before it; gives the leaf hash of the last.
    fn check_chain(&self) -> Result<Option<Hash>, RunProofProblem> {
        let mut last: Option<Hash> = None;
        for (at, bytes) in (1..).zip(&self.entries) {
            let entry = Entry::parse(bytes).map_err(|source| RunProofProblem::Entry { at, source })?;
            let chain = |why| Err(RunProofProblem::Chain { at, why });
            if entry.run().as_ref() != Some(&self.run) {
                return chain("it is of another run");
            }
            if entry.run_seq != Some(at as u64) {
                return chain("it is not the next in number");
            }
            if entry.run_prev.map(|hash| *hash.as_bytes()) != last.map(|hash| *hash.as_bytes()) {
                return chain("it names another entry before it");
            }
            last = Some(merkle::leaf_hash(bytes));
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;
    use crate::base::digest::Sha256;
    use crate::base::id::OperationId;
    use crate::format::entry::MapRef;
    use crate::merkle::prefix::RunTree;
    use crate::note::{SignedNote, SigningKey};

    fn entry(kind: EntryKind) -> Entry {
        Entry::new(kind, Moment::from_millis(0), Sha256::of(b"actor"), OperationId::new(1, [2; 10]), 1)
    }

    fn run(name: &str) -> RunKey {
        RunKey { job: "job".parse().unwrap(), run: name.parse().unwrap() }
    }

    /// A log of two runs, the first with two entries, and the map over both; gives the proof for a run.
    fn proof(name: &str) -> (RunProof, SigningKey) {
        let mut log: Vec<Vec<u8>> = Vec::new();
        let mut tree = RunTree::new();
        let mut leaves = Vec::new();
        for (id, count) in [("a", 2u64), ("b", 1)] {
            let mut prev = None;
            for seq in 1..=count {
                let kind = if seq == 1 { EntryKind::Adopted } else { EntryKind::Restored };
                let mut entry = entry(kind);
                (entry.job_id, entry.run_id) = (Some(run(id).job), Some(run(id).run));
                (entry.run_seq, entry.run_prev) = (Some(seq), prev);
                let manifest = Some(Sha256::of(b"manifest"));
                (entry.before, entry.after) = (manifest.filter(|_| seq > 1), manifest);
                entry.files = manifest;
                let bytes = entry.to_bytes().unwrap();
                prev = Some(Sha256::from_bytes(*merkle::leaf_hash(&bytes).as_bytes()));
                log.push(bytes);
            }
            let last = Hash::from_bytes(*prev.unwrap().as_bytes());
            let leaf = MapLeaf { key: MapKey::of(&run(id).to_string()), last, count };
            tree.set(leaf);
            leaves.push(leaf);
        }
        let mut map = entry(EntryKind::RunMap);
        map.map = Some(MapRef { root: Sha256::from_bytes(*tree.root().as_bytes()), runs: 2 });
        log.push(map.to_bytes().unwrap());
        let hashes: Vec<Hash> = log.iter().map(|entry| merkle::leaf_hash(entry)).collect();
        let root = *merkle::root_of(&hashes).as_bytes();
        let key = SigningKey::from_seed("example.org/log".parse().unwrap(), &[7; 32]);
        let body = CheckpointBody { origin: "example.org/log".into(), size: 4, root, extensions: vec![] };
        let checkpoint = SignedNote::sign(body.to_string(), &[&key]).unwrap();
        let map = LogProof {
            entry: Some(log[3].clone()),
            index: 3,
            hashes: merkle::prove_inclusion(3, 4, &hashes[..]).unwrap(),
            checkpoint,
        };
        let bit = leaves[0].key.first_difference(&leaves[1].key).unwrap();
        let asked = MapKey::of(&run(name).to_string());
        let near = usize::from(asked.bit(bit) != leaves[0].key.bit(bit));
        let path = MapPath { steps: vec![(bit, leaves[1 - near].hash())], leaf: Some(leaves[near]) };
        let entries = match name {
            "a" => log[..2].to_vec(),
            "b" => log[2..3].to_vec(),
            _ => Vec::new(),
        };
        (RunProof { run: run(name), entries, path, map }, key)
    }

    #[test]
    fn run_proof_round_trips_and_no_changed_bit_makes_another() {
        for (name, entries) in [("a", 2), ("b", 1), ("absent", 0)] {
            let (proof, key) = proof(name);
            let keys = [key.verifying_key().clone()];
            let text = proof.to_string();
            assert_eq!(RunProof::parse(text.as_bytes()).unwrap(), proof);
            let answer = proof.check(&keys).unwrap();
            assert_eq!((answer.entries, answer.covers, answer.body.size), (entries, 4, 4));
            for bit in 0..text.len() * 8 {
                let mut bad = text.clone().into_bytes();
                bad[bit / 8] ^= 1 << (bit % 8);
                let taken = RunProof::parse(&bad).ok().filter(|proof| proof.check(&keys).is_ok());
                // With another name asked about it is the proof that this other run is not there.
                let other = taken.as_ref().is_some_and(|taken| entries == 0 && taken.run != proof.run);
                assert!(taken.is_none() || other, "{name}, bit {bit}");
            }
        }
    }

    #[test]
    fn run_proof_that_leaves_an_entry_out_proves_nothing() {
        let (good, key) = proof("a");
        let keys = [key.verifying_key().clone()];
        for at in 0..2 {
            let mut bad = good.clone();
            bad.entries.remove(at);
            assert!(matches!(bad.check(&keys), Err(RunProofProblem::Count { expected: 2, found: 1 })));
        }
        let mut swapped = good.clone();
        swapped.entries.swap(0, 1);
        assert!(matches!(swapped.check(&keys), Err(RunProofProblem::Chain { at: 1, .. })));
        let mut silent = good.clone();
        silent.entries.clear();
        assert!(matches!(silent.check(&keys), Err(RunProofProblem::Count { .. })));
        let mut other = good;
        other.run = run("b");
        assert!(other.check(&keys).is_err());
    }
}
