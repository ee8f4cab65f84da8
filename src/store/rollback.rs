//! Going back to an earlier revision: of one run, or of all runs that an operation changed.

use super::commit::{Change, Operation, What};
use super::{Conflict, Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::id::{OperationId, RunKey};
use crate::base::json;
use crate::base::limits;
use crate::format::entry::{Entry, EntryKind};
use crate::plan::rollback::{self, Decision};

/// What became of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// It has the earlier revision again.
    Done {
        /// The revision that was replaced; it stays restorable.
        before: Sha256,
        /// The revision put back.
        after: Sha256,
        /// The log entry.
        entry: u64,
    },
    /// It had that revision already.
    Already,
    /// It was left alone, for this reason.
    Left(String),
}

/// What a rollback did.
#[derive(Debug, Clone, Default)]
pub struct RollbackReport {
    /// The operation that did it.
    pub operation: Option<OperationId>,
    /// Each run and what became of it.
    pub runs: Vec<(RunKey, RolledBack)>,
    /// Files outside the store, or rows of one, and what became of each.
    pub targets: Vec<(String, RolledBack)>,
}

impl Store {
    /// Puts back a revision of a run, by its digest.
    pub fn rollback(&self, key: &RunKey, to: &Sha256) -> Result<RollbackReport, StoreError> {
        self.finish_interrupted()?;
        let chain = self.entries_of(key)?;
        let decision = rollback::to_digest(&chain, to);
        if decision == Decision::NeverHad {
            return Err(StoreError::NoRevision { run: key.clone(), digest: to.to_string() });
        }
        self.carry_out(vec![(key.clone(), decision)], None)
    }

    /// Undoes an operation, run by run.
    pub fn rollback_operation(&self, operation: &OperationId) -> Result<RollbackReport, StoreError> {
        self.finish_interrupted()?;
        let index = self.index()?;
        let kinds = index.kinds_of_operation(&operation.to_string())?;
        if kinds.is_empty() {
            return Err(StoreError::NoOperation(*operation));
        }
        let rewrites = [EntryKind::Migrated, EntryKind::RolledBack, EntryKind::Intent].map(EntryKind::as_str);
        if !kinds.iter().any(|kind| rewrites.contains(&kind.as_str())) {
            let what = format!("{} runs", kinds.join(" and "));
            return Err(StoreError::NotUndoable { operation: *operation, what });
        }
        let mut decisions = Vec::new();
        for key in index.runs_of_operation(&operation.to_string())? {
            let chain = self.entries_of(&key)?;
            decisions.push((key, rollback::of_operation(&chain, operation)));
        }
        self.carry_out(decisions, Some(operation))
    }

    fn entries_of(&self, key: &RunKey) -> Result<Vec<Entry>, StoreError> {
        Ok(self.chain(key)?.into_iter().map(|(_, entry)| entry).collect())
    }

    fn carry_out(
        &self,
        decisions: Vec<(RunKey, Decision)>,
        undone: Option<&OperationId>,
    ) -> Result<RollbackReport, StoreError> {
        let mut operation = Operation::begin(self)?;
        let mut report = RollbackReport { operation: Some(operation.id), ..RollbackReport::default() };
        let total = decisions.len() as u64;
        let mut committed = 0;
        for chunk in decisions.chunks(limits::BATCH_CHANGES) {
            if self.context.progress.interrupted() {
                return Err(StoreError::Interrupted { done: committed, total });
            }
            let mut stage = operation.stage()?;
            let mut changes = Vec::new();
            for (key, decision) in chunk {
                let left = match decision {
                    Decision::To { before, after } => match self.rewrite(key, before, after, &mut stage) {
                        Ok(what) => {
                            changes.push(Change::run(key.clone(), what));
                            continue;
                        }
                        Err(StoreError::BlobMissing { digest, .. }) => {
                            RolledBack::Left(format!("revision {digest} is not in the objects"))
                        }
                        Err(error) => return Err(error),
                    },
                    Decision::Already => RolledBack::Already,
                    Decision::NeverHad => RolledBack::Left("it never had that revision".to_owned()),
                    Decision::ChangedSince { by } => {
                        RolledBack::Left(format!("it changed since, by operation {by}"))
                    }
                    Decision::BroughtIn => {
                        RolledBack::Left("the operation brought it in, which is not rolled back".to_owned())
                    }
                    Decision::NotTouched => RolledBack::Left("the operation did not change it".to_owned()),
                };
                report.runs.push((key.clone(), left));
            }
            if changes.is_empty() {
                stage.end();
                continue;
            }
            let planned: Vec<(RunKey, Sha256, Sha256)> = changes
                .iter()
                .filter_map(|change| match change {
                    Change::Run { key, what: What::Rewrite { before, after, .. } } => {
                        Some((key.clone(), *before, *after))
                    }
                    _ => None,
                })
                .collect();
            let answers = operation.commit(stage, changes)?;
            for ((key, before, after), answer) in planned.into_iter().zip(answers) {
                committed += 1;
                let result = match answer {
                    Ok(done) if done.foreign => RolledBack::Left(
                        "its manifest was edited in place: the edited bytes were kept and left, restore puts \
                         the logged ones back"
                            .to_owned(),
                    ),
                    Ok(done) => RolledBack::Done { before, after, entry: done.entry },
                    Err(conflict @ Conflict::Changed { .. }) => RolledBack::Left(conflict.to_string()),
                    Err(conflict) => return Err(StoreError::Conflict(conflict)),
                };
                report.runs.push((key, result));
            }
            self.context.progress.at(committed, total);
            self.context.progress.committed(self)?;
        }
        if let Some(undone) = undone {
            report.targets = self.undo_carried(undone, &mut operation)?;
        }
        operation.end();
        report.runs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(report)
    }

    fn rewrite(
        &self,
        key: &RunKey,
        before: &Sha256,
        after: &Sha256,
        stage: &mut super::stage::Stage,
    ) -> Result<What, StoreError> {
        // The bytes are hashed on the way out of the objects, so what is staged is the revision.
        let bytes = self.revision(after)?;
        let current = self.revision(before)?;
        if let (Ok(old), Ok(new)) = (json::scan(&current), json::scan(&bytes))
            && let Some(broken) = rollback::check(&old, &new).first()
        {
            return Err(StoreError::BadRun { run: key.to_string(), why: broken.to_string() });
        }
        let staged = stage.revision(bytes)?;
        Ok(What::Rewrite {
            kind: EntryKind::RolledBack,
            before: *before,
            after: *after,
            staged,
            route: None,
            preserved: None,
        })
    }
}
