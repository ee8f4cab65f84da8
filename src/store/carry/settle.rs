//! Intents and outcomes: writing both, and settling the intents that have no outcome yet.

use std::collections::HashSet;

use super::target::{Ends, Target};
use crate::backend::FileLock;
use crate::base::digest::Sha256;
use crate::base::id::OperationId;
use crate::format::carried::{PlanRecord, TargetRecord, TargetState};
use crate::format::entry::{Entry, EntryKind, PackRef};
use crate::format::paths;
use crate::schema::Pack;
use crate::store::commit::{Change, Operation};
use crate::store::{Store, StoreError};

/// An intent as the log has it.
pub struct Intent {
    /// Its entry's index.
    pub index: u64,
    /// Its entry.
    pub entry: Entry,
    /// What it is about.
    pub target: TargetRecord,
    /// What it is to do.
    pub plan: PlanRecord,
}

impl Intent {
    /// What the target was and is to be.
    pub fn ends(&self) -> Ends<'_> {
        Ends { file: self.entry.before.zip(self.entry.after), plan: &self.plan }
    }
}

/// An intent that was left without an outcome, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The file.
    pub path: String,
    /// `applied`, `not-applied` or `foreign`.
    pub outcome: &'static str,
}

/// What an intent entry says of its pack.
pub fn pack_ref(pack: &Pack) -> PackRef {
    PackRef { name: pack.name().to_owned(), version: pack.version().to_owned(), digest: pack.digest() }
}

/// An outcome entry.
pub fn outcome(operation: &Operation, of: u64, state: TargetState) -> Change {
    let mut entry = operation.entry(EntryKind::Outcome);
    entry.of = Some(of);
    entry.outcome = Some(state.as_str().to_owned());
    Change::Store(entry)
}

impl Store {
    /// Keeps others from settling what is still under way.
    pub(in crate::store) fn lock_carriers(&self) -> Result<FileLock, StoreError> {
        let context = &self.context;
        Ok(FileLock::acquire(&self.disk, paths::CARRIERS_LOCK, &context.holder, context.lock_timeout)?)
    }

    /// Reads an intent.
    pub(super) fn intent(&self, index: u64) -> Result<Intent, StoreError> {
        let entry = self.entry(&self.log()?, index)?;
        let blob = |what: &'static str, digest: Option<Sha256>| {
            let digest = digest.unwrap_or_else(|| Sha256::of(b""));
            self.blobs.get(&digest)?.ok_or(StoreError::BlobMissing { what, digest })
        };
        let place = |what: &str| format!("{what} of log entry {index}");
        let target = TargetRecord::parse(&blob("target record", entry.target)?)
            .map_err(StoreError::record(place("target")))?;
        let plan =
            PlanRecord::parse(&blob("plan", entry.detail)?).map_err(StoreError::record(place("plan")))?;
        Ok(Intent { index, entry, target, plan })
    }

    /// The entries of a kind, of one operation or of all.
    fn entries_of_kind(
        &self,
        kind: EntryKind,
        operation: Option<&OperationId>,
    ) -> Result<Vec<u64>, StoreError> {
        let operation = operation.map(OperationId::to_string);
        Ok(self.index()?.entries_without_run(kind.as_str(), operation.as_deref())?)
    }

    /// The intents of an operation.
    pub(super) fn intents_of(&self, operation: &OperationId) -> Result<Vec<u64>, StoreError> {
        self.entries_of_kind(EntryKind::Intent, Some(operation))
    }

    /// What became of intents: `of` and the outcome.
    pub(super) fn outcomes(&self) -> Result<Vec<(u64, String)>, StoreError> {
        let view = self.log()?;
        let mut outcomes = Vec::new();
        for index in self.entries_of_kind(EntryKind::Outcome, None)? {
            let entry = self.entry(&view, index)?;
            outcomes.extend(entry.of.zip(entry.outcome));
        }
        Ok(outcomes)
    }

    /// The intents without an outcome.
    pub(in crate::store) fn open_intents(&self) -> Result<Vec<u64>, StoreError> {
        let intents = self.entries_of_kind(EntryKind::Intent, None)?;
        // Each intent gets one outcome, so equal counts mean that none is open.
        if intents.len() == self.entries_of_kind(EntryKind::Outcome, None)?.len() {
            return Ok(Vec::new());
        }
        let ended: HashSet<u64> = self.outcomes()?.into_iter().map(|(of, _)| of).collect();
        Ok(intents.into_iter().filter(|index| !ended.contains(index)).collect())
    }

    /// Settles the intents that an interrupted command left, unless one is at work on them.
    pub(in crate::store) fn settle_carriers(&self, operation: &mut Operation) -> Result<(), StoreError> {
        if self.open_intents()?.is_empty() {
            return Ok(());
        }
        let holder = &self.context.holder;
        if let Some(_lock) = FileLock::try_acquire(&self.disk, paths::CARRIERS_LOCK, holder)? {
            self.settle_open(operation)?;
        }
        Ok(())
    }

    /// Settles the open intents; the caller holds the lock on carriers.
    pub(super) fn settle_open(&self, operation: &mut Operation) -> Result<Vec<Settled>, StoreError> {
        let mut settled = Vec::new();
        let mut changes = Vec::new();
        for index in self.open_intents()? {
            // What cannot be read is a finding of verify, and stands in nobody's way.
            let Ok(intent) = self.intent(index) else { continue };
            // A folder that is gone is as foreign as a file that is. Where it cannot be told what the
            // target holds, the intent stays open for another time.
            let state = match Target::of_record(&intent.target, self.context.hook.as_ref()) {
                Err(_) => TargetState::Foreign,
                Ok(target) => match target.settle(&intent.ends()) {
                    Ok(state) => state,
                    Err(_) => continue,
                },
            };
            settled.push(Settled { path: intent.target.path, outcome: state.as_str() });
            changes.push(outcome(operation, index, state));
        }
        if !changes.is_empty() {
            let stage = operation.stage()?;
            operation.commit(stage, changes)?;
        }
        Ok(settled)
    }
}
