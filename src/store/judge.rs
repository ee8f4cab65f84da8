//! Judgements that go into the log: what a verification found, and what a person said of a run.

use super::commit::{Change, Committed, Operation, What};
use super::{Conflict, Store, StoreError, VerifyReport};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
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
        let bytes = record.to_bytes();
        let mut operation = Operation::tell_only(self)?;
        let mut entry = operation.entry(EntryKind::Verified);
        entry.detail = Some(Sha256::of(&bytes));
        entry.outcome = Some(record.verdict().as_str().to_owned());
        let answers = operation.tell(vec![bytes], vec![Change::Store(entry)])?;
        operation.end();
        indexes(answers).map(|entries| entries[0])
    }

    /// Puts what a person said of runs into the log; gives each entry's index.
    pub fn review(&self, runs: &[RunKey], review: Review) -> Result<Vec<u64>, StoreError> {
        let mut operation = Operation::tell_only(self)?;
        let outcome = Some(review.as_str().to_owned());
        let what = || What::Tell { kind: EntryKind::Reviewed, detail: None, outcome: outcome.clone() };
        let mut answers = Vec::with_capacity(runs.len());
        for batch in runs.chunks(limits::BATCH_CHANGES) {
            let changes = batch.iter().map(|key| Change::run(key.clone(), what())).collect();
            answers.extend(operation.tell(Vec::new(), changes)?);
        }
        operation.end();
        indexes(answers)
    }

    /// Puts notes into the log, each an entry that names the note's bytes, which are kept among the
    /// objects; gives each entry's index. They belong to no run. Threads that share a store and do this
    /// at the same time share what it costs to make the entries durable.
    pub fn note(&self, notes: &[Vec<u8>]) -> Result<Vec<u64>, StoreError> {
        let mut operation = Operation::tell_only(self)?;
        let mut answers = Vec::with_capacity(notes.len());
        for batch in notes.chunks(limits::BATCH_CHANGES) {
            let entry = |note: &Vec<u8>| {
                let mut entry = operation.entry(EntryKind::Noted);
                entry.detail = Some(Sha256::of(note));
                Change::Store(entry)
            };
            let changes = batch.iter().map(entry).collect();
            answers.extend(operation.tell(batch.to_vec(), changes)?);
        }
        // The index has nothing to say of notes that its next reader would miss: that one brings it up.
        indexes(answers)
    }
}

fn indexes(answers: Vec<Result<Committed, Conflict>>) -> Result<Vec<u64>, StoreError> {
    answers.into_iter().map(|answer| Ok(answer.map_err(StoreError::Conflict)?.entry)).collect()
}
