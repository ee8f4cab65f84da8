//! What a recorded verification found: the blob that a `verified` entry names (`store-layout.md`,
//! "Audit entries"). Counts and codes only: which file was meant is in the report of the command.

use std::collections::BTreeMap;

use super::finding::{Code, Finding};
use super::{RecordError, from_canonical, known_version, to_canonical};
use crate::base::digest::Sha256;

const WHAT: &str = "verification record";

/// Whether a verification found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing wrong was found.
    Sound,
    /// Something was.
    Found,
}

impl Verdict {
    /// The word as it stands in an entry's `outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Found => "found",
        }
    }
}

/// How often a code was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// The code.
    pub code: Code,
    /// How many findings.
    pub count: u64,
    /// How many of them runs came in with.
    pub known: u64,
}

/// A stretch of the log and what vouched for it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// The first entry.
    pub from: u64,
    /// The entry after the last.
    pub to: u64,
    /// Whether a pinned key or a checkpoint kept elsewhere did.
    pub anchored: bool,
    /// What did, in words.
    pub by: String,
}

/// What was checked, how much of it, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    v: u64,
    /// Entries of the log that were read.
    pub size: u64,
    /// The log's root at that size, recomputed.
    pub root: Option<Sha256>,
    /// Runs checked.
    pub runs: u64,
    /// Files hashed.
    pub files: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// Blobs checked.
    pub blobs: u64,
    /// What was found, by code.
    pub findings: Vec<Tally>,
    /// What vouched for which part of the log.
    pub intervals: Vec<Stretch>,
}

impl Verification {
    /// An empty record.
    pub fn new(size: u64, root: Option<Sha256>) -> Self {
        Self {
            v: 1,
            size,
            root,
            runs: 0,
            files: 0,
            bytes: 0,
            blobs: 0,
            findings: Vec::new(),
            intervals: Vec::new(),
        }
    }

    /// Counts findings by their codes.
    pub fn tally(findings: &[Finding]) -> Vec<Tally> {
        let mut counts: BTreeMap<Code, (u64, u64)> = BTreeMap::new();
        for finding in findings {
            let (count, known) = counts.entry(finding.code).or_default();
            *count += 1;
            *known += u64::from(finding.known);
        }
        counts.into_iter().map(|(code, (count, known))| Tally { code, count, known }).collect()
    }

    /// Whether something was found that no run came in with and that is no warning.
    pub fn verdict(&self) -> Verdict {
        let fails = |tally: &Tally| !tally.code.is_warning() && tally.count > tally.known;
        if self.findings.iter().any(fails) { Verdict::Found } else { Verdict::Sound }
    }

    /// The blob's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let record: Self = from_canonical(WHAT, bytes)?;
        known_version(WHAT, record.v).map(|()| record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::RunKey;

    #[test]
    fn verification_counts_by_code_and_known_findings_and_warnings_leave_it_sound() {
        let key = RunKey { job: "j".parse().unwrap(), run: "r".parse().unwrap() };
        let mut known = Finding::of_run(Code::FileChanged, &key);
        known.known = true;
        let warning = Finding::of_store(Code::Unsettled, "x");
        let mut record = Verification::new(3, Some(Sha256::of(b"root")));
        record.findings = Verification::tally(&[known.clone(), warning.clone()]);
        assert_eq!(record.verdict(), Verdict::Sound);
        assert_eq!(Verification::parse(&record.to_bytes()).unwrap(), record);
        let fresh = Finding::of_run(Code::FileChanged, &key);
        record.findings = Verification::tally(&[known, warning, fresh]);
        assert_eq!(record.verdict(), Verdict::Found);
        assert_eq!(record.findings[0], Tally { code: Code::FileChanged, count: 2, known: 1 });
    }
}
