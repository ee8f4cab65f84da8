//! The in-toto statement (version 1) of a bundle: every file of it by digest, and what the signer
//! says of them.

use crate::base::digest::Sha256;
use crate::base::id::{JobId, RunId};
use crate::format::verification::Tally;
use crate::format::{RecordError, from_canonical, to_canonical};

const WHAT: &str = "in-toto statement";
/// The statement's own type.
pub const TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of what it says.
pub const PREDICATE: &str = "urn:strongroom:evidence:1";

/// A file by its digest.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its path in the bundle.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

/// A digest as in-toto writes it: bare hex digits under the algorithm's name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    /// The digits.
    pub sha256: String,
}

/// The log that the bundle is from, at the checkpoint in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// Its origin.
    pub origin: String,
    /// Its size.
    pub size: u64,
    /// Its root.
    pub root: Sha256,
}

/// A run in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunClaim {
    /// The job.
    pub job_id: JobId,
    /// The run.
    pub run_id: RunId,
    /// How many entries it has at that checkpoint: all of them are in the bundle.
    pub entries: u64,
    /// The index of the last.
    pub last: u64,
    /// The digest of its current manifest.
    pub manifest: Sha256,
    /// The digest of its file list.
    pub files: Sha256,
    /// What a verification of the run in the store found when the bundle was made.
    pub findings: Vec<Tally>,
}

/// What the signer says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The log.
    pub log: LogHead,
    /// The runs, sorted.
    pub runs: Vec<RunClaim>,
}

/// The statement.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// Every file of the bundle but the statement itself and the tag manifest, which names it.
    pub subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// What is said.
    pub predicate: Claims,
}

impl Statement {
    /// A statement about these files.
    pub fn new<'f>(files: impl IntoIterator<Item = (&'f String, Sha256)>, predicate: Claims) -> Self {
        let subject = |(name, digest): (&String, Sha256)| Subject {
            name: name.clone(),
            digest: SubjectDigest { sha256: digest.hex() },
        };
        Self {
            kind: TYPE.to_owned(),
            subject: files.into_iter().map(subject).collect(),
            predicate_type: PREDICATE.to_owned(),
            predicate,
        }
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads a statement.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let statement: Self = from_canonical(WHAT, bytes)?;
        for (found, known) in [(&statement.kind, TYPE), (&statement.predicate_type, PREDICATE)] {
            if found != known {
                let why = format!("its type is {found:?}, not {known}");
                return Err(RecordError::Inconsistent { what: WHAT, why });
            }
        }
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_round_trips_and_one_of_another_type_is_refused() {
        let log = LogHead { origin: "o".into(), size: 1, root: Sha256::of(b"r") };
        let name = "data/x".to_owned();
        let statement = Statement::new([(&name, Sha256::of(b"x"))], Claims { log, runs: Vec::new() });
        let bytes = statement.to_bytes();
        assert_eq!(Statement::parse(&bytes).unwrap(), statement);
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [("Statement/v1", "Statement/v0.1"), ("evidence:1", "evidence:2")] {
            assert!(Statement::parse(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
