//! Judgements that go into the log: what a verification found, and what a person said of a run.

use super::commit::{Change, Operation, What};
use super::{Store, StoreError, VerifyReport};
use crate::base::id::RunKey;
use crate::format::entry::EntryKind;
use crate::format::verification::{Stretch, Verification};

/// What a person said of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    /// It is as it should be.
    Accepted,
    /// It is not.
    Rejected,
}

impl Review {
    /// The word as it stands in an entry's `outcome`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

impl VerifyReport {
    /// The report as a record: counts, codes and intervals.
    pub fn record(&self) -> Verification {
        let mut record = Verification::new(self.entries, self.root);
        record.runs = self.runs;
        record.files = self.files;
        record.bytes = self.bytes;
        record.blobs = self.blobs;
        record.findings = Verification::tally(&self.findings);
        let stretch = |part: &super::Interval| Stretch {
            from: part.from,
            to: part.to,
            anchored: part.anchored,
            by: part.by.clone(),
        };
        record.intervals = self.intervals.iter().map(stretch).collect();
        record
    }
}

impl Store {
    /// Puts what a verification of the whole store found into the log; gives the entry's index.
    pub fn record_verification(&self, report: &VerifyReport) -> Result<u64, StoreError> {
        let record = report.record();
        let mut operation = Operation::begin(self)?;
        let mut stage = operation.stage()?;
        let mut entry = operation.entry(EntryKind::Verified);
        entry.detail = Some(stage.keep(&record.to_bytes())?.sha256);
        entry.outcome = Some(record.verdict().as_str().to_owned());
        self.told(operation, stage, vec![Change::Store(entry)]).map(|entries| entries[0])
    }

    /// Puts what a person said of runs into the log; gives each entry's index.
    pub fn review(&self, runs: &[RunKey], review: Review) -> Result<Vec<u64>, StoreError> {
        let mut operation = Operation::begin(self)?;
        let stage = operation.stage()?;
        let outcome = Some(review.as_str().to_owned());
        let what = || What::Tell { kind: EntryKind::Reviewed, detail: None, outcome: outcome.clone() };
        let changes = runs.iter().map(|key| Change::run(key.clone(), what())).collect();
        self.told(operation, stage, changes)
    }

    fn told(
        &self,
        mut operation: Operation,
        stage: super::stage::Stage,
        changes: Vec<Change>,
    ) -> Result<Vec<u64>, StoreError> {
        let answers = operation.commit(stage, changes)?;
        operation.end();
        answers.into_iter().map(|answer| Ok(answer.map_err(StoreError::Conflict)?.entry)).collect()
    }
}
