//! What migrating a document comes to: what was done, or why nothing was.

use super::apply::StepProblem;
use super::detect::Detection;
use super::graph::NoRoute;
use super::history::HistoryError;
use super::invariant::Violation;
use crate::base::canonical;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::escape::Escaped;
use crate::base::json::{EditError, JsonError, Pointer};

/// What a migration that is to be kept leaves in the document's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it was done.
    pub applied_at: Moment,
}

/// What migrating a document comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The document is at the target: no change.
    Current {
        /// Its version.
        version: String,
    },
    /// The document with its migrations done.
    Rewrite(Rewrite),
    /// The document stays as it is.
    Refused(Refusal),
}

/// A migrated document, and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The new text.
    pub bytes: Vec<u8>,
    /// The version it had.
    pub from: String,
    /// The version it has.
    pub to: String,
    /// The versions along the route, first and last included.
    pub path: Vec<String>,
    /// The shapes along the route, written `version` or `version/variant`.
    pub shapes: Vec<String>,
    /// What was done, in words.
    pub changes: Vec<String>,
    /// The places that differ.
    pub touched: Vec<Pointer>,
    /// Values that were removed and are to be kept in the record of the migration: the place that
    /// each had when it was removed, and its exact JSON text. Whoever writes the document keeps them.
    pub preserved: Vec<(Pointer, String)>,
    /// The checksum in the new history record, where one was written.
    pub checksum_after: Option<Sha256>,
}

impl Rewrite {
    /// The digest of the new text.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&self.bytes)
    }

    /// The route in words: its versions, or its shapes where a step leads from one shape of a
    /// version to another.
    pub fn route(&self) -> &[String] {
        match self.path.windows(2).any(|pair| pair[0] == pair[1]) {
            true => &self.shapes,
            false => &self.path,
        }
    }

    /// The bytes of the record of the values that left the document, in canonical JSON; `None` when
    /// there are none. `store-layout.md`, "Audit entries".
    pub fn preserved_record(&self) -> Option<Vec<u8>> {
        if self.preserved.is_empty() {
            return None;
        }
        let one = |(at, text): &(Pointer, String)| serde_json::json!({"at": at, "text": text});
        let values: Vec<_> = self.preserved.iter().map(one).collect();
        let record = serde_json::json!({"v": 1, "what": "preserved-values", "values": values});
        Some(canonical::rfc8785(&record).expect("places and texts are canonical"))
    }
}

/// Why a document is not migrated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is not JSON as the store reads it.
    #[error("not a JSON document: {0}")]
    NotJson(#[from] JsonError),
    /// Its version is not established, or it does not fit the one it claims.
    #[error("{0}")]
    Detection(Detection),
    /// There is no declared way to the target.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// It is where no way leads on, and the pack says why.
    #[error("{shape} goes no further: {}", Escaped(reason))]
    Stuck {
        /// Its shape.
        shape: String,
        /// The pack's reason.
        reason: String,
    },
    /// A step cannot be done.
    #[error("migration {migration}, step {step}: {problem}")]
    Step {
        /// The migration, as `from -> to`.
        migration: String,
        /// The step's number within it, from 1.
        step: usize,
        /// Why not.
        problem: StepProblem,
    },
    /// The steps' edits exclude each other.
    #[error("migration {migration}: {problem}")]
    Edits {
        /// The migration, as `from -> to`.
        migration: String,
        /// How.
        problem: EditError,
    },
    /// The result does not fit the migration's target shape.
    #[error("migration {migration} gives a document that does not fit: {detection}")]
    TargetMisfit {
        /// The migration, as `from -> to`.
        migration: String,
        /// What the result is instead.
        detection: Detection,
    },
    /// A member that the pack calls frozen would change.
    #[error("migration {migration} changes {at:?}, which is frozen")]
    Frozen {
        /// The migration, as `from -> to`.
        migration: String,
        /// The member.
        at: Pointer,
    },
    /// An invariant would be broken.
    #[error("{stage} breaks {}", violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invariant {
        /// What would break it: a migration, the label, the history record.
        stage: String,
        /// Every violation.
        violations: Vec<Violation>,
    },
    /// The history record cannot be written.
    #[error("the history record cannot be written: {0}")]
    History(#[from] HistoryError),
}
