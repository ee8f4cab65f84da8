//! Migrating documents outside the store.

use std::collections::HashSet;
use std::path::PathBuf;

use super::documents::{DocumentRow, DocumentsReport, Each};
use super::plan::{Plan, Planned, plan};
use super::settle::{Settled, outcome, pack_ref};
use super::sources::{Source, gather};
use super::target::{Change as TargetChange, Ends, Target};
use crate::base::digest::Sha256;
use crate::base::id::OperationId;
use crate::carrier::Verdict;
use crate::format::carried::TargetState;
use crate::format::entry::EntryKind;
use crate::format::paths;
use crate::schema::{Pack, Stamp};
use crate::store::commit::{Change, Operation};
use crate::store::migrate::target_of;
use crate::store::source::Reading;
use crate::store::stage::Stage;
use crate::store::{Store, StoreError};

/// Which documents to migrate, and to what.
#[derive(Debug, Clone, Default)]
pub struct CarryOptions {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// The version to go to; where the pack leads when not given.
    pub to: Option<String>,
}

/// What a migration did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarryReport {
    /// The operation that did it; `None` when nothing was written.
    pub operation: Option<OperationId>,
    /// The documents.
    pub documents: DocumentsReport,
    /// Files that were changed.
    pub changed: u64,
    /// What an interrupted command had left, and what it came to.
    pub settled: Vec<Settled>,
}

/// Most carriers and bytes that are planned and changed together.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: u64 = 64 << 20;

/// One carrier of a batch.
struct Job<'s> {
    source: &'s Source,
    rows: Vec<DocumentRow>,
    planned: Option<Planned>,
}

impl Store {
    /// Migrates documents outside the store; `each` hears of every one, in order.
    pub fn carry(
        &self,
        pack: &Pack,
        options: &CarryOptions,
        each: &mut Each<'_>,
    ) -> Result<CarryReport, StoreError> {
        let target = options.to.as_deref().map(|version| target_of(pack, version)).transpose()?;
        let sources = gather(&options.paths, pack)?;
        refuse_own(&sources.list)?;
        // With the lock on carriers, what an interrupted command left at them is settled here, and told.
        let _lock = self.lock_carriers()?;
        self.finish_interrupted()?;
        let mut report = CarryReport::default();
        report.documents.files = sources.list.len() as u64;
        report.documents.not_looked_at = sources.not_looked_at;
        let mut operation = None;
        if !self.open_intents()?.is_empty() {
            let operation = operation.insert(Operation::begin(self)?);
            report.settled = self.settle_open(operation)?;
        }
        let mut rest = sources.list.as_slice();
        while !rest.is_empty() {
            if self.context.progress.interrupted() {
                let (done, total) = (report.changed, sources.list.len() as u64);
                return Err(StoreError::Interrupted { done, total });
            }
            let (batch, later) = rest.split_at(batch_len(rest));
            rest = later;
            self.carry_batch(&mut operation, pack, target.as_deref(), batch, &mut report, each)?;
            self.context.progress.at((sources.list.len() - rest.len()) as u64, sources.list.len() as u64);
        }
        if let Some(operation) = operation {
            report.operation = (report.changed > 0).then_some(operation.id);
            operation.end();
        }
        Ok(report)
    }

    fn carry_batch(
        &self,
        operation: &mut Option<Operation>,
        pack: &Pack,
        to: Option<&str>,
        batch: &[Source],
        report: &mut CarryReport,
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        let stamp = Stamp { applied_at: self.context.clock.now() };
        let mut jobs = Vec::with_capacity(batch.len());
        for source in batch {
            let (rows, planned) = match plan(source, pack, to, Some(&stamp)) {
                Ok(Plan { rows, change }) => (rows, change),
                Err(why) => {
                    let verdict = Verdict::Unreadable(why);
                    (vec![super::documents::row(source, crate::carrier::Place::Whole, verdict)], None)
                }
            };
            jobs.push(Job { source, rows, planned });
        }
        if jobs.iter().any(|job| job.planned.is_some()) {
            let operation = match operation {
                Some(operation) => operation,
                None => operation.insert(Operation::begin(self)?),
            };
            self.carry_jobs(operation, pack, &mut jobs, report)?;
        }
        for row in jobs.into_iter().flat_map(|job| job.rows) {
            report.documents.take(row, each);
        }
        Ok(())
    }

    /// Intents, changes, outcomes.
    fn carry_jobs(
        &self,
        operation: &mut Operation,
        pack: &Pack,
        jobs: &mut [Job<'_>],
        report: &mut CarryReport,
    ) -> Result<(), StoreError> {
        let mut stage = operation.stage()?;
        let mut intents = Vec::new();
        let mut targets = Vec::new();
        for job in jobs.iter_mut() {
            let Some(planned) = &mut job.planned else { continue };
            let target = Target::of_source(job.source, pack, self.context.hook.as_ref());
            let mut entry = operation.entry(EntryKind::Intent);
            entry.pack = Some(pack_ref(pack));
            self.stage_intent(&mut stage, &mut entry, &target, planned)?;
            intents.push(Change::Store(entry));
            targets.push(target);
        }
        let committed = operation.commit(stage, intents)?;
        let mut outcomes = Vec::new();
        let planned = jobs.iter_mut().filter(|job| job.planned.is_some());
        for ((job, target), intent) in planned.zip(targets).zip(committed) {
            let (Some(planned), Ok(intent)) = (job.planned.take(), intent) else { continue };
            let file = match &planned.change {
                TargetChange::File { before, after } => Some((Sha256::of(before), Sha256::of(after))),
                TargetChange::Table(_) => None,
            };
            // The snapshot's transaction ended with the backup.
            let ends = Ends { file, plan: &planned.record };
            let (state, why) = target.apply(&planned.change, &ends)?;
            report.changed += u64::from(state == TargetState::Applied);
            outcomes.push(outcome(operation, intent.entry, state));
            for row in &mut job.rows {
                if matches!(row.verdict, Verdict::Rewrite(_)) {
                    match &why {
                        None => row.entry = Some(intent.entry),
                        Some(why) => row.verdict = Verdict::Refused(why.clone()),
                    }
                }
            }
        }
        let stage = operation.stage()?;
        operation.commit(stage, outcomes)?;
        Ok(())
    }

    /// Keeps what an intent needs, and completes its entry.
    pub(super) fn stage_intent(
        &self,
        stage: &mut Stage,
        entry: &mut crate::format::entry::Entry,
        target: &Target,
        planned: &mut Planned,
    ) -> Result<(), StoreError> {
        for record in &planned.preserved {
            stage.keep(record)?;
        }
        match &planned.change {
            TargetChange::File { before, after } => {
                planned.record.kept = Some(stage.keep_any(before)?.into());
                entry.before = Some(Sha256::of(before));
                entry.after = Some(Sha256::of(after));
            }
            TargetChange::Table(change) => {
                if let Some(snapshot) = planned.snapshot.take() {
                    let path = stage.next_path();
                    let failed = |error: crate::carrier::table::TableError| StoreError::Input {
                        path: target.path().display().to_string(),
                        why: error.to_string(),
                    };
                    snapshot.backup(&self.disk.full_path(&path)).map_err(failed)?;
                    let backup = stage.keep_file(Reading::open(&self.disk, &path)?)?;
                    planned.record.kept = Some(backup.into());
                    let changed: HashSet<String> = change.rows.iter().map(|row| row.key.to_json()).collect();
                    let images: Vec<String> = snapshot
                        .rows
                        .iter()
                        .filter(|row| changed.contains(&snapshot.key(row)))
                        .map(|row| row.to_json() + "\n")
                        .collect();
                    planned.record.images = Some(stage.keep_any(images.concat().as_bytes())?.into());
                }
            }
        }
        entry.target = Some(stage.keep(&target.record(self.context.clock.random())?.to_bytes())?.sha256);
        entry.detail = Some(stage.keep(&planned.record.to_bytes())?.sha256);
        Ok(())
    }
}

/// A store's own files are not documents outside it, whichever store it is: their changes belong into
/// its own log.
fn refuse_own(sources: &[Source]) -> Result<(), StoreError> {
    let mut looked = HashSet::new();
    for source in sources {
        let folder = source.path.parent().unwrap_or(&source.path);
        if !looked.insert(folder) {
            continue;
        }
        let Some(root) = Store::find(folder) else { continue };
        let inside = source.path.strip_prefix(&root).ok().and_then(|path| path.components().next());
        if inside.and_then(|first| first.as_os_str().to_str()).is_some_and(paths::is_own) {
            let why =
                "it is one of the store's own files; strongroom migrate without --pack migrates manifests";
            return Err(StoreError::Input { path: source.shown.clone(), why: why.to_owned() });
        }
    }
    Ok(())
}

/// How many of the next carriers go together.
fn batch_len(sources: &[Source]) -> usize {
    let mut bytes = 0;
    let fits = |source: &&Source| {
        bytes += source.len();
        bytes <= BATCH_BYTES
    };
    sources.iter().take(BATCH_FILES).take_while(fits).count().max(1)
}
