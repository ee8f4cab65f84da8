//! Migrating manifests: read and decided by the pack on all cores (`plan`), while what came before is
//! committed in batches (`write`).

mod plan;
mod write;

use std::sync::mpsc::channel;

use self::plan::Planner;
use self::write::{Batches, Ready};
use super::ahead::{ahead, in_order};
use super::commit::Operation;
use super::scan::RunsOnDisk;
use super::stage::Leftovers;
use super::{Store, StoreError};
use crate::base::id::{JobId, OperationId, RunKey};
use crate::carrier::shape_of;
use crate::schema::{Detection, Pack};

/// Which manifests to migrate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// All of the store's.
    #[default]
    All,
    /// Those of one job.
    Job(JobId),
    /// These.
    Runs(Vec<RunKey>),
}

/// How to migrate.
#[derive(Debug, Clone, Default)]
pub struct MigrateOptions {
    /// Which manifests.
    pub selection: Selection,
    /// The schema version to go to; the pack's head when not given.
    pub to: Option<String>,
    /// Decide, and write nothing.
    pub dry_run: bool,
    /// The most manifests committed together, where it is to be less than 4,096. Less is held in memory then, and a
    /// stop costs less; each batch costs its flushes.
    pub batch: Option<usize>,
    /// Whether the exact bytes before and after are handed over, which a dry run does anyway.
    pub bytes: bool,
}

/// What became of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was rewritten.
    Migrated {
        /// The log entry; `None` in a dry run.
        entry: Option<u64>,
    },
    /// It is at the target already.
    Current,
    /// It was left as it is, for this reason.
    Refused(String),
    /// It could not be read.
    Unreadable(String),
}

/// One manifest and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The run.
    pub key: RunKey,
    /// What became of it.
    pub verdict: Verdict,
    /// The versions passed, both ends included.
    pub path: Vec<String>,
    /// What changed, in words.
    pub changes: Vec<String>,
    /// What the manifest uses that is going, once migrated.
    pub warnings: Vec<String>,
    /// The exact bytes before and after, in a dry run or where they are asked for.
    pub bytes: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a migration did. The counts add up: found is the sum of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrateReport {
    /// The operation that did it; `None` when nothing was written.
    pub operation: Option<OperationId>,
    /// The version gone to.
    pub target: String,
    /// Manifests found.
    pub found: u64,
    /// Rewritten, or in a dry run: would be.
    pub migrated: u64,
    /// At the target already.
    pub current: u64,
    /// Left, with a reason.
    pub refused: u64,
    /// Not readable.
    pub unreadable: u64,
}

/// Manifests planned side by side.
const PLANNED_RUNS: usize = 256;

/// What was told of so far.
struct Tally<'a> {
    store: &'a Store,
    total: u64,
    report: MigrateReport,
    each: &'a mut dyn FnMut(&Migrated),
}

impl Tally<'_> {
    fn interrupted(&self) -> Result<(), StoreError> {
        let (done, total) = (self.report.migrated, self.total);
        if self.store.context.progress.interrupted() {
            return Err(StoreError::Interrupted { done, total });
        }
        Ok(())
    }

    fn rows(&mut self, rows: Vec<Migrated>) {
        for row in rows {
            let report = &mut self.report;
            report.found += 1;
            match &row.verdict {
                Verdict::Migrated { .. } => report.migrated += 1,
                Verdict::Current => report.current += 1,
                Verdict::Refused(_) => report.refused += 1,
                Verdict::Unreadable(_) => report.unreadable += 1,
            }
            (self.each)(&row);
        }
        self.store.context.progress.at(self.report.found, self.total);
    }

    /// Only tells of what was planned.
    fn tell(&mut self, planned: Vec<Ready>) -> Result<(), StoreError> {
        self.interrupted()?;
        self.rows(planned.into_iter().map(|ready| ready.row).collect());
        Ok(())
    }

    /// Commits batch after batch: the next is planned and staged while one is committed. Gives the operation,
    /// if there was anything to write.
    fn write(
        &mut self,
        pack: &Pack,
        options: &MigrateOptions,
        planned: impl Iterator<Item = Result<Vec<Ready>, StoreError>> + Send,
    ) -> Result<Option<Operation>, StoreError> {
        let mut operation: Option<Operation> = None;
        let (to_remove, removed) = channel::<Leftovers>();
        std::thread::scope(|scope| {
            // What was staged goes while the next batch is committed.
            scope.spawn(|| removed.into_iter().for_each(drop));
            let planned = ahead(scope, 1, planned);
            for batch in ahead(scope, 0, Batches::new(self.store, pack, options, planned)) {
                self.interrupted()?;
                let (rows, leftovers) = batch?.commit(&mut operation, self.store, pack)?;
                self.rows(rows);
                if let Some(leftovers) = leftovers {
                    let _ = to_remove.send(leftovers);
                }
                if operation.is_some() {
                    self.store.context.progress.committed(self.store)?;
                }
            }
            drop(to_remove);
            Ok(operation)
        })
    }
}

impl Store {
    /// Migrates manifests; `each` hears of every one that was looked at, in order of job and run.
    pub fn migrate(
        &self,
        options: &MigrateOptions,
        each: &mut dyn FnMut(&Migrated),
    ) -> Result<MigrateReport, StoreError> {
        let pack = &*self.manifest_pack()?;
        let target = target_of(pack, options.to.as_deref().unwrap_or(pack.head()))?;
        if !options.dry_run {
            self.finish_interrupted()?;
        }
        let (total, runs) = match &options.selection {
            Selection::All => (self.count_runs_on_disk()?, self.each_run_on_disk()?),
            Selection::Job(job) => RunsOnDisk::these(self.runs_of_job(job)?),
            Selection::Runs(runs) => RunsOnDisk::these(runs.clone()),
        };
        let planner = Planner { store: self, pack, target: &target, dry_run: options.dry_run };
        let report = MigrateReport { target: target.clone(), ..MigrateReport::default() };
        let mut tally = Tally { store: self, total, report, each };
        let index = self.index()?;
        // The next are planned while these are told or written.
        let planned = runs.by(PLANNED_RUNS).map(move |keys| planner.piece(&index, keys?));
        if options.dry_run {
            in_order(planned, |piece| piece, |piece| tally.tell(piece?))?;
            return Ok(tally.report);
        }
        let operation = tally.write(pack, options, planned)?;
        let mut report = tally.report;
        if let Some(operation) = operation {
            report.operation = (report.migrated > 0).then_some(operation.id);
            operation.end();
        }
        Ok(report)
    }
}

/// The shape or version that a name means: of a version with several shapes that one to which the
/// pack leads, if it does.
pub(super) fn target_of(pack: &Pack, name: &str) -> Result<String, StoreError> {
    let version = pack.version_of_shape(name);
    if version.is_some_and(|version| version != name) {
        return Ok(name.to_owned());
    }
    has_version(pack, name)?;
    let head = pack.head();
    Ok(if pack.version_of_shape(head) == Some(name) { head.to_owned() } else { name.to_owned() })
}

/// Insists that the pack has a version.
pub(super) fn has_version(pack: &Pack, version: &str) -> Result<(), StoreError> {
    let known = pack.versions();
    if known.contains(&version) {
        return Ok(());
    }
    let why = format!("pack {} has no version {version:?}; it has {}", pack.name(), known.join(", "));
    Err(StoreError::NoVersion(why))
}

/// Whether a document says that it is at a version, or at a shape of one, and fits it.
fn is_at(detection: &Detection, target: &str) -> bool {
    matches!(detection, Detection::Known { .. })
        && shape_of(detection).is_some_and(|(version, shape)| version == target || shape == target)
}
