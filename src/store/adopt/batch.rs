//! One batch of an adoption: what the store has already is told apart, the rest is staged and committed
//! together.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use super::ahead::{self, Contents, ReadRun};
use super::{Adopted, Seen, Todo, Tree};
use crate::base::digest::{BlobId, Sha256};
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::entry::EntryKind;
use crate::format::file_list::FileEntry;
use crate::format::finding::{Exceptions, Finding};
use crate::format::paths;
use crate::plan::adopt::{self, Refusal};
use crate::plan::replay::RunState;
use crate::plan::verify;
use crate::store::ahead::in_order;
use crate::store::commit::{Change, Operation, What};
use crate::store::facts::{self, ManifestBytes, PriorFiles, join};
use crate::store::fingerprint::Fingerprint;
use crate::store::stage::Stage;
use crate::store::stat_cache::{Known, StatCache};
use crate::store::states::States;
use crate::store::{Conflict, Store, StoreError};

pub(super) struct Batch<'a> {
    store: &'a Store,
    operation: &'a mut Operation,
    from: &'a Tree<'a>,
    cache: &'a mut StatCache,
    /// What became of each folder.
    rows: &'a mut [Option<Seen>],
    /// Made for the first run that is new.
    stage: Option<Stage>,
    staged: Vec<StagedRun>,
    /// The files of those, by path.
    coming: HashMap<RunKey, HashMap<String, Sha256>>,
}

/// A run that is ready to be committed.
struct StagedRun {
    /// Its place among the rows.
    row: usize,
    place: String,
    key: RunKey,
    manifest: BlobId,
    files: BlobId,
    entries: Vec<FileEntry>,
    /// Where its folder lies.
    folder: String,
    exceptions: usize,
    print: Option<Fingerprint>,
}

/// What the log has of a run: its state, and the log index of its first entry.
type Here = Option<(RunState, Option<u64>)>;

/// The run that a folder was found to be before, its state now, and what its folder must hold.
type KnownFolder = (RunKey, RunState, Known);

impl<'a> Batch<'a> {
    pub fn new(
        store: &'a Store,
        operation: &'a mut Operation,
        from: &'a Tree<'a>,
        cache: &'a mut StatCache,
        rows: &'a mut [Option<Seen>],
    ) -> Self {
        Self { store, operation, from, cache, rows, stage: None, staged: Vec::new(), coming: HashMap::new() }
    }

    /// Adopts the runs, and says of each in its row what became of it.
    pub fn adopt(mut self, runs: Vec<Todo>) -> Result<(), StoreError> {
        let unknown = self.without_known(runs)?;
        let (store, from) = (self.store, self.from);
        let reader = ahead::Reader::new(store, from);
        in_order(
            pieces(unknown, ahead::RUNS).into_iter(),
            |piece| {
                let read = reader.read(&piece);
                piece.into_iter().zip(read).collect::<Vec<_>>()
            },
            |piece| self.take(&reader, piece),
        )?;
        self.commit()
    }

    fn tell(&mut self, row: usize, place: &str, result: Adopted) {
        self.rows[row] = Some(Seen { place: place.to_owned(), result });
    }

    /// Those that need be read: all but the folders in which nothing changed since the store took them.
    fn without_known(&mut self, runs: Vec<Todo>) -> Result<Vec<Todo>, StoreError> {
        let cache = &mut *self.cache;
        let known = self.operation.states()?.at_once(|states| {
            let known = runs.iter().map(|run| known_run(states, cache, run.print.as_ref()));
            known.collect::<Result<Vec<_>, _>>()
        })??;
        let mut unknown = Vec::new();
        for (run, known) in runs.into_iter().zip(known) {
            match self.still_so(known)? {
                Some(key) => self.tell(run.row, &run.candidate.place, Adopted::Already { key }),
                None => unknown.push(run),
            }
        }
        Ok(unknown)
    }

    /// The run that an unchanged folder was found to be before, if the store still has it so.
    fn still_so(&self, known: Option<KnownFolder>) -> Result<Option<RunKey>, StoreError> {
        let Some((key, state, known)) = known else { return Ok(None) };
        if known.holds(&state.manifest, &state.files) {
            return Ok(Some(key));
        }
        // It may have been migrated since.
        let chain = self.store.chain(&key)?;
        let was = chain.iter().filter_map(|(_, entry)| entry.after);
        Ok(was.into_iter().any(|manifest| known.holds(&manifest, &state.files)).then_some(key))
    }

    /// Takes in some runs that were read, as far as there was room for them.
    fn take(
        &mut self,
        reader: &ahead::Reader<'_>,
        piece: Vec<(Todo, Option<Result<ReadRun, StoreError>>)>,
    ) -> Result<(), StoreError> {
        let keys: Vec<&RunKey> =
            piece.iter().filter_map(|(_, read)| Some(&read.as_ref()?.as_ref().ok()?.key)).collect();
        let mut asked = self.states_of(&keys)?.into_iter();
        for (todo, read) in piece {
            let taken = match read {
                Some(Ok(read)) => {
                    let here = asked.next().expect("a state was asked for");
                    self.take_one(&todo, read, here)
                }
                Some(Err(error)) => Err(error),
                None => reader.read_now(&todo).and_then(|read| {
                    let here = self.states_of(&[&read.key])?.pop().expect("a state was asked for");
                    self.take_one(&todo, read, here)
                }),
            };
            let place = &todo.candidate.place;
            match taken {
                Err(StoreError::Input { path, why }) => {
                    let why = if path == *place { why } else { format!("{path}: {why}") };
                    self.tell(todo.row, place, Adopted::Refused(why));
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Asks for several runs at once, which is cheaper.
    fn states_of(&mut self, keys: &[&RunKey]) -> Result<Vec<Here>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.operation.states()?.at_once(|states| {
            let state = |key: &&RunKey| -> Result<Here, StoreError> {
                let Some(state) = states.get(key)? else { return Ok(None) };
                Ok(Some((state, states.first_entry(key)?)))
            };
            keys.iter().map(state).collect()
        })?
    }

    /// Stages a run that was read, if the log does not have it.
    fn take_one(&mut self, todo: &Todo, read: ReadRun, here: Here) -> Result<(), StoreError> {
        let candidate = &todo.candidate;
        let refused = |why: String| StoreError::Input { path: candidate.place.clone(), why };
        if self.coming.contains_key(&read.key) {
            return Err(refused(format!("another folder of this tree is {} too", read.key)));
        }
        let Some((state, first)) = here else { return self.stage(todo, read) };
        let key = read.key.clone();
        let manifest = read.manifest.id().sha256;
        let (files, print) = match read.contents? {
            Contents::Listed { files, print } => (files, print),
            // Another process brought it in just now.
            Contents::Tree { .. } => ahead::listed(self.from, candidate, read.before)?,
        };
        match self.same_run(&key, &state, &manifest, &files.sha256)? {
            Err(refusal) => Err(refused(refusal.to_string())),
            Ok(()) => {
                if let Some(first) = first {
                    self.cache.put(&print, first, &manifest, &files.sha256);
                }
                self.tell(todo.row, &candidate.place, Adopted::Already { key });
                Ok(())
            }
        }
    }

    fn stage(&mut self, todo: &Todo, read: ReadRun) -> Result<(), StoreError> {
        let candidate = &todo.candidate;
        let ReadRun { key, manifest, before, contents } = read;
        let (tree, ahead, print) = match contents? {
            Contents::Tree { tree, ahead, print } => (tree, ahead, print),
            // Something lies in the run's place that the log does not have.
            Contents::Listed { print, .. } => (ahead::tree(self.from, candidate)?, Vec::new(), Some(print)),
        };
        let stage = match &mut self.stage {
            Some(stage) => stage,
            None => self.stage.insert(self.operation.stage()?),
        };
        let mut folder = stage.run_folder()?;
        stage.add_tree(&mut folder, "", &tree, ahead)?;
        // The manifest was read before the other files: they belong together only if it is still the same.
        let path = join(&candidate.place, paths::MANIFEST);
        if !self.from.disk.stat(&path).ok().flatten().is_some_and(|after| after.is_unchanged_since(&before)) {
            return Err(StoreError::Input {
                path: candidate.place.clone(),
                why: "manifest.json changed while the run was being read; adopt it when it holds still"
                    .to_owned(),
            });
        }
        let staged = folder.path.clone();
        let (manifest, files, entries) = stage.end_run(folder, &manifest)?;
        let digests = entries.iter().filter_map(|file| Some((file.path.to_string(), file.blob()?.sha256)));
        self.coming.insert(key.clone(), digests.collect());
        self.staged.push(StagedRun {
            row: todo.row,
            place: candidate.place.clone(),
            key,
            manifest,
            files,
            entries,
            folder: staged,
            exceptions: 0,
            print,
        });
        Ok(())
    }

    /// Commits what was staged.
    fn commit(mut self) -> Result<(), StoreError> {
        let Some(mut stage) = self.stage.take() else { return Ok(()) };
        let mut staged = std::mem::take(&mut self.staged);
        if staged.is_empty() {
            stage.end();
            return Ok(());
        }
        let mut changes = Vec::with_capacity(staged.len());
        for run in &mut staged {
            // Links between runs are judged when all runs of the batch are known, whatever their order.
            let findings = self.arrival_findings(run)?;
            run.exceptions = findings.len();
            let exceptions = match findings.is_empty() {
                true => None,
                false => Some(stage.keep(&Exceptions::of(&findings).to_bytes())?.sha256),
            };
            let what = What::New {
                kind: EntryKind::Adopted,
                manifest: run.manifest.sha256,
                files: run.files.sha256,
                staged: run.folder.clone(),
                outcome: None,
                attempt_of: None,
                exceptions,
            };
            changes.push(Change::run(run.key.clone(), what));
        }
        let answers = self.operation.commit(stage, changes)?;
        for (run, answer) in staged.into_iter().zip(answers) {
            let result = match answer {
                Ok(done) => {
                    if let Some(print) = &run.print {
                        self.cache.put(print, done.entry, &run.manifest.sha256, &run.files.sha256);
                    }
                    Adopted::New { key: run.key, exceptions: run.exceptions }
                }
                // Another process brought it in meanwhile; whether it is the same, its entry tells.
                Err(Conflict::Exists(key)) => match self.brought_in(&key, &run)? {
                    Ok(()) => Adopted::Already { key },
                    Err(refusal) => Adopted::Refused(refusal.to_string()),
                },
                Err(conflict) => Adopted::Refused(conflict.to_string()),
            };
            self.tell(run.row, &run.place, result);
        }
        Ok(())
    }

    /// What is already inconsistent in a run that comes in.
    fn arrival_findings(&mut self, run: &StagedRun) -> Result<Vec<Finding>, StoreError> {
        let (store, coming) = (self.store, &self.coming);
        let mut found = BTreeMap::new();
        for entry in &run.entries {
            let what = match entry.blob() {
                Some(blob) => verify::Found::File { blob, exec: entry.exec() },
                None => verify::Found::Dir,
            };
            found.insert(entry.path.to_string(), what);
        }
        let bytes = store.disk.read(&join(&run.folder, paths::MANIFEST), limits::JSON_BYTES as u64)?;
        let folder = facts::FolderFacts { manifest: ManifestBytes::Bytes(bytes), found, trusted: 0 };
        let states = RefCell::new(self.operation.states()?);
        let prior = |job: &str, name: &str| -> PriorFiles {
            let key = RunKey { job: job.parse().ok()?, run: name.parse().ok()? };
            if let Some(files) = coming.get(&key) {
                return Some(files.clone());
            }
            let state = states.borrow_mut().get(&key).ok()??;
            store.digests_of(&state.files).ok()
        };
        let logged = facts::Logged { manifests: &[run.manifest.sha256], files: &run.entries };
        let look = folder.manifest.look();
        let (disk, dir) = (&store.disk, &run.folder);
        let mut findings = facts::check(disk, dir, &run.key, &folder, &look, Some(&logged), &prior);
        if let Some(doc) = &look.doc {
            crate::store::verify::schema_findings(&run.key, doc, self.from.pack, &[], &mut findings);
        }
        Ok(findings)
    }

    /// Whether a run that another process brought in meanwhile is the same.
    fn brought_in(&mut self, key: &RunKey, run: &StagedRun) -> Result<Result<(), Refusal>, StoreError> {
        let Some(state) = self.operation.states()?.get(key)? else { return Ok(Ok(())) };
        self.same_run(key, &state, &run.manifest.sha256, &run.files.sha256)
    }

    /// Whether the run that the log has is the one found.
    fn same_run(
        &self,
        key: &RunKey,
        state: &RunState,
        manifest: &Sha256,
        files: &Sha256,
    ) -> Result<Result<(), Refusal>, StoreError> {
        if (state.manifest, state.files) == (*manifest, *files) {
            return Ok(Ok(()));
        }
        let revisions: Vec<Sha256> =
            self.store.chain(key)?.into_iter().filter_map(|(_, entry)| entry.after).collect();
        Ok(adopt::compare(key, &revisions, &state.files, manifest, files))
    }
}

fn known_run(
    states: &mut States,
    cache: &mut StatCache,
    print: Option<&Fingerprint>,
) -> Result<Option<KnownFolder>, StoreError> {
    let Some(print) = print else { return Ok(None) };
    let Some(known) = cache.get(print) else { return Ok(None) };
    let Some(key) = states.run_of(known.entry) else { return Ok(None) };
    Ok(states.get(&key)?.map(|state| (key, state, known)))
}

/// A list cut into pieces of at most so many.
fn pieces<T>(mut list: Vec<T>, most: usize) -> Vec<Vec<T>> {
    let mut pieces = Vec::new();
    while list.len() > most {
        let rest = list.split_off(most);
        pieces.push(std::mem::replace(&mut list, rest));
    }
    pieces.push(list);
    pieces
}
