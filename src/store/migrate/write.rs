//! What was planned, on its way into the store: staged while the batch before is committed.

use super::{MigrateOptions, Migrated, Verdict, is_at};
use crate::backend::Prepared;
use crate::base::id::RunKey;
use crate::base::json;
use crate::base::limits;
use crate::format::batch::Mark;
use crate::format::entry::{EntryKind, PackRef};
use crate::schema::{Pack, Rewrite};
use crate::store::commit::{Change, Operation, Route, Stager, What};
use crate::store::stage::{Leftovers, Stage};
use crate::store::{Conflict, Store, StoreError};

/// A manifest that was planned: what is told of it, and what is to be written.
pub(super) struct Ready {
    pub row: Migrated,
    write: Option<Box<Write>>,
}

/// Hashed and packed on the thread that planned it.
struct Write {
    before: Prepared,
    after: Prepared,
    preserved: Option<Prepared>,
}

impl Ready {
    /// One that is left as it is.
    pub fn left(key: RunKey, verdict: Verdict, warnings: Vec<String>) -> Self {
        let (path, changes) = (Vec::new(), Vec::new());
        Self { row: Migrated { key, verdict, path, changes, warnings, bytes: None }, write: None }
    }

    /// One that is only told of.
    pub fn told(key: RunKey, rewrite: Rewrite, before: Vec<u8>, warnings: Vec<String>) -> Self {
        let bytes = Some((before, rewrite.bytes));
        let (path, changes) = (rewrite.path, rewrite.changes);
        let verdict = Verdict::Migrated { entry: None };
        Self { row: Migrated { key, verdict, path, changes, warnings, bytes }, write: None }
    }

    /// One that is to be written.
    pub fn to_write(
        store: &Store,
        key: RunKey,
        rewrite: Rewrite,
        before: Vec<u8>,
        warnings: Vec<String>,
    ) -> Self {
        let packed = |bytes| {
            let mut prepared = Prepared::of(bytes);
            prepared.pack();
            prepared
        };
        let preserved = rewrite.preserved_record().map(packed);
        let mut before = Prepared::of(before);
        // As a rule the store has it, since it was recorded or written by a migration.
        if !store.blobs.can_share(&before.id()) {
            before.pack();
        }
        let write = Write { before, after: packed(rewrite.bytes), preserved };
        let (path, changes) = (rewrite.path, rewrite.changes);
        let verdict = Verdict::Migrated { entry: None };
        let row = Migrated { key, verdict, path, changes, warnings, bytes: None };
        Self { row, write: Some(Box::new(write)) }
    }
}

/// What is committed together, staged and durable.
#[derive(Default)]
pub(super) struct Batch {
    /// The operation, with the first batch that has something to write.
    begun: Option<Operation>,
    stage: Option<(Stage, Vec<Mark>)>,
    changes: Vec<Change>,
    /// Of every manifest, written or not, in order.
    rows: Vec<Migrated>,
    /// For each change, its row.
    changed: Vec<usize>,
}

/// Stages what was planned as it comes: for a thread of its own, while another commits the batch before.
pub(super) struct Batches<'a, I> {
    store: &'a Store,
    /// The pack that decided, as entries name it.
    pack: PackRef,
    /// Manifests of a batch.
    most: usize,
    /// Whether the bytes are kept for the rows.
    with_bytes: bool,
    planned: I,
    piece: std::vec::IntoIter<Ready>,
    /// Of the operation, which begins with the first rewrite.
    stager: Option<Stager>,
}

impl<'a, I: Iterator<Item = Result<Vec<Ready>, StoreError>>> Batches<'a, I> {
    pub fn new(store: &'a Store, pack: &Pack, options: &MigrateOptions, planned: I) -> Self {
        let most = options.batch.unwrap_or(limits::BATCH_CHANGES).clamp(1, limits::BATCH_CHANGES);
        let with_bytes = options.bytes;
        let (name, version) = (pack.name().to_owned(), pack.version().to_owned());
        let pack = PackRef { name, version, digest: pack.digest() };
        Self { store, pack, most, with_bytes, planned, piece: Vec::new().into_iter(), stager: None }
    }

    fn next_ready(&mut self) -> Result<Option<Ready>, StoreError> {
        loop {
            if let Some(ready) = self.piece.next() {
                return Ok(Some(ready));
            }
            match self.planned.next() {
                None => return Ok(None),
                Some(piece) => self.piece = piece?.into_iter(),
            }
        }
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, StoreError> {
        let mut batch = Batch::default();
        let mut stage: Option<Stage> = None;
        while batch.rows.len() < self.most {
            let Some(Ready { mut row, write }) = self.next_ready()? else { break };
            if let Some(write) = write {
                let stage = match &mut stage {
                    Some(stage) => stage,
                    none => none.insert(self.begin(&mut batch)?),
                };
                batch.changes.push(self.stage(stage, &mut row, *write)?);
                batch.changed.push(batch.rows.len());
            }
            batch.rows.push(row);
        }
        if let Some(mut stage) = stage {
            let marks = stage.flush()?;
            batch.stage = Some((stage, marks));
        }
        Ok((!batch.rows.is_empty()).then_some(batch))
    }

    fn begin(&mut self, batch: &mut Batch) -> Result<Stage, StoreError> {
        let stager = match &mut self.stager {
            Some(stager) => stager,
            none => {
                let operation = batch.begun.insert(Operation::begin(self.store)?);
                none.insert(operation.stager())
            }
        };
        stager.stage()
    }

    fn stage(&self, stage: &mut Stage, row: &mut Migrated, write: Write) -> Result<Change, StoreError> {
        let Write { before, after, preserved } = write;
        // The revision planned from is durable before the entry that names it: it may have been edited in place and
        // adopted by nobody.
        stage.keep_prepared(&before)?;
        if let Some(preserved) = &preserved {
            stage.keep_prepared(preserved)?;
        }
        let staged = stage.revision_prepared(&after)?;
        let what = What::Rewrite {
            kind: EntryKind::Migrated,
            before: before.id().sha256,
            after: after.id().sha256,
            staged,
            route: Some(Route { path: row.path.clone(), pack: self.pack.clone() }),
            preserved: preserved.map(|preserved| preserved.id().sha256),
        };
        row.bytes = self.with_bytes.then(|| (before.into_bytes(), after.into_bytes()));
        Ok(Change::run(row.key.clone(), what))
    }
}

impl<I: Iterator<Item = Result<Vec<Ready>, StoreError>>> Iterator for Batches<'_, I> {
    type Item = Result<Batch, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

impl Batch {
    /// Commits it, in an operation that the first one brings; gives what became of its manifests, and what is left
    /// to be removed.
    pub fn commit(
        self,
        operation: &mut Option<Operation>,
        store: &Store,
        pack: &Pack,
    ) -> Result<(Vec<Migrated>, Option<Leftovers>), StoreError> {
        let mut rows = self.rows;
        let mut leftovers = None;
        if let Some(begun) = self.begun {
            *operation = Some(begun);
        }
        if let (Some(operation), Some((stage, marks))) = (operation, self.stage) {
            let (answers, staged) = operation.commit_flushed(stage, marks, self.changes)?;
            leftovers = Some(staged);
            for (at, answer) in self.changed.into_iter().zip(answers) {
                let verdict = match answer {
                    Ok(done) if done.foreign => Verdict::Refused(
                        "its manifest was edited in place meanwhile: the edited bytes were kept and left"
                            .to_owned(),
                    ),
                    Ok(done) => Verdict::Migrated { entry: Some(done.entry) },
                    Err(conflict) => settle_conflict(store, pack, &rows[at], conflict)?,
                };
                if matches!(verdict, Verdict::Refused(_)) {
                    rows[at].warnings.clear();
                }
                rows[at].verdict = verdict;
            }
        }
        Ok((rows, leftovers))
    }
}

/// A conflict with another process that did the same is no failure: the run is then current.
fn settle_conflict(
    store: &Store,
    pack: &Pack,
    row: &Migrated,
    conflict: Conflict,
) -> Result<Verdict, StoreError> {
    let target = row.path.last().map_or(pack.head(), String::as_str);
    if let Conflict::Changed { found, .. } = &conflict
        && json::scan(&store.revision(found)?).is_ok_and(|doc| is_at(&pack.detect(&doc), target))
    {
        return Ok(Verdict::Current);
    }
    Ok(Verdict::Refused(conflict.to_string()))
}
