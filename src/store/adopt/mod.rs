//! Bringing an existing tree of runs under the store, every byte as it is (`store-layout.md`,
//! "Adopt").
//!
//! A run is a folder with a regular `manifest.json`. Links are never followed; names that begin
//! with a dot are staging folders; `inputs` and `outputs` are parts of runs, never runs. The source
//! is only read.

mod ahead;
mod find;
mod report;

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::ahead::in_order;
use super::commit::{Change, Operation, What};
use super::facts::{self, ManifestBytes, PriorFiles, join};
use super::fingerprint::Fingerprint;
use super::source;
use super::stage::{RunFolder, Stage};
use super::stat_cache::{Known, StatCache};
use super::states::States;
use super::{Conflict, Store, StoreError};
use crate::backend::Disk;
use crate::base::digest::{BlobId, Sha256};
use crate::base::id::{JobId, RunKey};
use crate::base::limits;
use crate::format::entry::EntryKind;
use crate::format::file_list::FileEntry;
use crate::format::finding::{Exceptions, Finding};
use crate::format::paths;
use crate::plan::adopt::{self, Refusal};
use crate::plan::replay::RunState;
use crate::plan::verify;
use crate::schema::{Facts, FileFact, Pack};
use ahead::{Contents, ReadRun};
use find::{Candidate, Found, Walk};
use report::Teller;
pub use report::{AdoptReport, Adopted, Hear, Seen};

/// How to adopt.
#[derive(Debug, Clone, Default)]
pub struct AdoptOptions {
    /// The job of runs that say none themselves.
    pub job: Option<JobId>,
    /// Reads every folder, though the kernel says that nothing in it changed since it was adopted.
    pub rehash: bool,
}

/// Runs committed together.
const BATCH_RUNS: usize = 512;
/// What is told of together, at most.
const BATCH_ROWS: usize = 4096;

/// What of a tree is looked at together, in the tree's order.
#[derive(Default)]
struct Chunk {
    /// The runs, each with its place among the rows.
    runs: Vec<(usize, Candidate)>,
    /// What became of each.
    rows: Vec<Option<Seen>>,
}

impl Chunk {
    /// The next part of a walk; `None` at its end.
    fn of(walk: &mut Walk<'_>) -> Option<Self> {
        let mut chunk = Self::default();
        while chunk.runs.len() < BATCH_RUNS && chunk.rows.len() < BATCH_ROWS {
            match walk.next() {
                None => break,
                Some(Found::Other(seen)) => chunk.rows.push(Some(seen)),
                Some(Found::Run(candidate)) => {
                    chunk.runs.push((chunk.rows.len(), candidate));
                    chunk.rows.push(None);
                }
            }
        }
        (!chunk.rows.is_empty()).then_some(chunk)
    }
}

/// The tree that runs are adopted from, and by what they are judged.
struct Tree<'a> {
    disk: &'a Disk,
    pack: &'a Pack,
    options: &'a AdoptOptions,
}

impl Tree<'_> {
    fn fingerprint(&self, candidate: &Candidate) -> Option<Fingerprint> {
        let job = self.options.job.as_ref().map_or("", |job| job.as_str());
        let pack = self.pack.digest().to_string();
        Fingerprint::of_folder(self.disk, &candidate.place, &[&candidate.name, job, &pack])
    }
}

impl Store {
    /// Adopts every run in a folder tree. `each` hears of everything in it, batch by batch as it is settled:
    /// folder by folder, in each in order of the names. A tree may hold more than should be held at once.
    pub fn adopt<'a>(
        &self,
        from: &Path,
        options: &AdoptOptions,
        each: &'a mut Hear<'a>,
    ) -> Result<AdoptReport, StoreError> {
        let source::Given::Folder(disk) = source::given(from)? else {
            let why = "it is a file; adopt takes a folder with runs in it".to_owned();
            return Err(StoreError::Input { path: from.display().to_string(), why });
        };
        self.refuse_own_tree(&disk, from)?;
        let pack = self.manifest_pack()?;
        let top = from.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let mut walk = Walk::begin(&disk, top.as_deref().unwrap_or("run"));

        let tree = Tree { disk: &disk, pack: &pack, options };
        let mut cache = StatCache::open(self, options.rehash);
        let mut operation = Operation::begin(self)?;
        let mut teller = Teller { report: AdoptReport::default(), each };
        teller.report.operation = Some(operation.id);
        let adopted = self.adopt_all(&mut operation, &tree, &mut walk, &mut cache, &mut teller);
        // What was learnt before an interruption is not to be read again either.
        cache.close(self);
        adopted?;
        operation.end();
        Ok(teller.report)
    }

    fn adopt_all(
        &self,
        operation: &mut Operation,
        from: &Tree<'_>,
        walk: &mut Walk<'_>,
        cache: &mut StatCache,
        teller: &mut Teller<'_>,
    ) -> Result<(), StoreError> {
        let mut done = 0;
        while let Some(Chunk { runs, mut rows }) = Chunk::of(walk) {
            if self.context.progress.interrupted() {
                return Err(StoreError::Interrupted { done, total: 0 });
            }
            self.adopt_batch(operation, from, &runs, cache, &mut rows)?;
            rows.into_iter().flatten().for_each(|seen| teller.tell(seen));
            done += runs.len() as u64;
            self.context.progress.at(done, 0);
            self.context.progress.committed(self)?;
        }
        Ok(())
    }

    /// A store does not adopt itself, nor a folder that it lies in.
    fn refuse_own_tree(&self, disk: &Disk, from: &Path) -> Result<(), StoreError> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (source, own) = (real(disk.root()), real(self.root()));
        if source.starts_with(&own) || own.starts_with(&source) {
            let why = "it is this store, or lies in it, or holds it; adopt takes a tree elsewhere".to_owned();
            return Err(StoreError::Input { path: from.display().to_string(), why });
        }
        Ok(())
    }

    fn adopt_batch(
        &self,
        operation: &mut Operation,
        from: &Tree<'_>,
        runs: &[(usize, Candidate)],
        cache: &mut StatCache,
        rows: &mut [Option<Seen>],
    ) -> Result<(), StoreError> {
        // Before anything is read: what changes from now on has another fingerprint.
        let prints: Vec<Option<Fingerprint>> =
            runs.par_iter().map(|(_, one)| from.fingerprint(one)).collect();
        let mut stage: Option<Stage> = None;
        let mut staged: Vec<StagedRun> = Vec::new();
        let mut coming: HashMap<RunKey, HashMap<String, Sha256>> = HashMap::new();
        let mut unknown = Vec::new();
        let known = operation.states()?.at_once(|states| {
            let known = prints.iter().map(|print| known_run(states, cache, print.as_ref()));
            known.collect::<Result<Vec<_>, _>>()
        })??;
        for (((row, candidate), print), known) in runs.iter().zip(prints).zip(known) {
            match self.still_so(known)? {
                Some(key) => rows[*row] = seen(candidate, Adopted::Already { key }),
                None => unknown.push((candidate, (*row, print))),
            }
        }
        let reader = ahead::Reader::new(self, from);
        let mut take = |(candidate, (row, print)): (&Candidate, (usize, Option<Fingerprint>)), read| {
            let read: Option<Result<ReadRun, StoreError>> = read;
            let run = read
                .unwrap_or_else(|| reader.read_now(candidate))
                .and_then(|read| self.stage_candidate(operation, &mut stage, from, candidate, read, &coming));
            match run {
                Ok(Staged::Here(run)) => {
                    if let Some(print) = &print
                        && let Some(first) = operation.states()?.first_entry(&run.key)?
                    {
                        cache.put(print, first, &run.manifest.sha256, &run.files.sha256);
                    }
                    rows[row] = seen(candidate, Adopted::Already { key: run.key });
                }
                Ok(Staged::Run(mut run)) => {
                    (run.row, run.print) = (row, print);
                    let files =
                        run.entries.iter().filter_map(|f| Some((f.path.to_string(), f.blob()?.sha256)));
                    coming.insert(run.key.clone(), files.collect());
                    staged.push(*run);
                }
                Err(StoreError::Input { path, why }) => {
                    let why = if path == candidate.place { why } else { format!("{path}: {why}") };
                    rows[row] = seen(candidate, Adopted::Refused(why));
                }
                Err(error) => return Err(error),
            }
            Ok(())
        };
        let pieces = pieces(unknown, ahead::RUNS);
        in_order(
            pieces.into_iter(),
            |piece| {
                let read = reader.read(&piece);
                piece.into_iter().zip(read).collect::<Vec<_>>()
            },
            |piece| piece.into_iter().try_for_each(|(one, read)| take(one, read)),
        )?;
        let Some(mut stage) = stage else { return Ok(()) };
        let mut changes = Vec::new();
        for run in &mut staged {
            // Links between runs are judged when all runs of the batch are known, whatever their order.
            let findings = self.arrival_findings(operation, from.pack, run, &coming)?;
            run.exceptions = findings.len();
            let exceptions = match findings.is_empty() {
                true => None,
                false => Some(stage.keep(&Exceptions::of(&findings).to_bytes())?.sha256),
            };
            let what = What::New {
                kind: EntryKind::Adopted,
                manifest: run.manifest.sha256,
                files: run.files.sha256,
                staged: run.staged.clone(),
                outcome: None,
                attempt_of: None,
                exceptions,
            };
            changes.push(Change::run(run.key.clone(), what));
        }
        if changes.is_empty() {
            stage.end();
            return Ok(());
        }
        let answers = operation.commit(stage, changes)?;
        for (run, answer) in staged.into_iter().zip(answers) {
            let result = match answer {
                Ok(done) => {
                    if let Some(print) = &run.print {
                        cache.put(print, done.entry, &run.manifest.sha256, &run.files.sha256);
                    }
                    Adopted::New { key: run.key, exceptions: run.exceptions }
                }
                // Another process brought it in meanwhile; whether it is the same, its entry tells.
                Err(Conflict::Exists(key)) => match self.same_run(operation, &key, &run)? {
                    Ok(()) => Adopted::Already { key },
                    Err(refusal) => Adopted::Refused(refusal.to_string()),
                },
                Err(conflict) => Adopted::Refused(conflict.to_string()),
            };
            rows[run.row] = Some(Seen { place: run.place, result });
        }
        Ok(())
    }

    /// The run that an unchanged folder was found to be before, if the store still has it so.
    fn still_so(&self, known: Option<KnownFolder>) -> Result<Option<RunKey>, StoreError> {
        let Some((key, state, known)) = known else { return Ok(None) };
        if known.holds(&state.manifest, &state.files) {
            return Ok(Some(key));
        }
        // It may have been migrated since.
        let chain = self.chain(&key)?;
        let was = chain.iter().filter_map(|(_, entry)| entry.after);
        Ok(was.into_iter().any(|manifest| known.holds(&manifest, &state.files)).then_some(key))
    }

    fn stage_candidate(
        &self,
        operation: &mut Operation,
        stage: &mut Option<Stage>,
        from: &Tree<'_>,
        candidate: &Candidate,
        read: ReadRun,
        coming: &HashMap<RunKey, HashMap<String, Sha256>>,
    ) -> Result<Staged, StoreError> {
        let ReadRun { key, manifest, before, contents } = read;
        let refused = |why: String| StoreError::Input { path: candidate.place.clone(), why };
        if coming.contains_key(&key) {
            return Err(refused(format!("another folder of this tree is {key} too")));
        }
        if operation.states()?.get(&key)?.is_some() {
            let found = match contents? {
                Contents::Listed(found) => found,
                // Another process brought it in just now.
                Contents::Tree(..) => ahead::listed(from.disk, candidate)?,
            };
            let run = StagedRun::comparable(candidate, key.clone(), manifest.id(), found);
            return match self.same_run(operation, &key, &run)? {
                Ok(()) => Ok(Staged::Here(Box::new(run))),
                Err(refusal) => Err(refused(refusal.to_string())),
            };
        }
        let (tree, ahead) = match contents? {
            Contents::Tree(tree, ahead) => (tree, ahead),
            // Something lies in the run's place that the log does not have.
            Contents::Listed(_) => (ahead::tree(from.disk, candidate)?, Vec::new()),
        };
        let stage = match stage {
            Some(stage) => stage,
            None => stage.insert(operation.stage()?),
        };
        let mut folder: RunFolder = stage.run_folder()?;
        stage.add_tree(&mut folder, "", &tree, ahead)?;
        // The manifest was read before the other files: they belong together only if it is still the same.
        let path = join(&candidate.place, paths::MANIFEST);
        if !from.disk.stat(&path).ok().flatten().is_some_and(|after| after.is_unchanged_since(&before)) {
            return Err(refused(
                "manifest.json changed while the run was being read; adopt it when it holds still".to_owned(),
            ));
        }
        let staged = folder.path.clone();
        let (manifest, files, entries) = stage.end_run(folder, &manifest)?;
        Ok(Staged::Run(Box::new(StagedRun {
            row: 0,
            place: candidate.place.clone(),
            key,
            manifest,
            files,
            entries,
            staged,
            exceptions: 0,
            print: None,
        })))
    }

    /// What is already inconsistent in a run that comes in.
    fn arrival_findings(
        &self,
        operation: &mut Operation,
        pack: &Pack,
        run: &StagedRun,
        coming: &HashMap<RunKey, HashMap<String, Sha256>>,
    ) -> Result<Vec<Finding>, StoreError> {
        let mut found = std::collections::BTreeMap::new();
        for entry in &run.entries {
            let what = match entry.blob() {
                Some(blob) => verify::Found::File { blob, exec: entry.exec() },
                None => verify::Found::Dir,
            };
            found.insert(entry.path.to_string(), what);
        }
        let bytes = self.disk.read(&join(&run.staged, paths::MANIFEST), limits::JSON_BYTES as u64)?;
        let folder = facts::FolderFacts { manifest: ManifestBytes::Bytes(bytes), found, trusted: 0 };
        let states = std::cell::RefCell::new(operation.states()?);
        let prior = |job: &str, name: &str| -> PriorFiles {
            let key = RunKey { job: job.parse().ok()?, run: name.parse().ok()? };
            if let Some(files) = coming.get(&key) {
                return Some(files.clone());
            }
            let state = states.borrow_mut().get(&key).ok()??;
            self.digests_of(&state.files).ok()
        };
        let logged = facts::Logged { manifests: &[run.manifest.sha256], files: &run.entries };
        let look = folder.manifest.look();
        let (disk, dir) = (&self.disk, &run.staged);
        let mut findings = facts::check(disk, dir, &run.key, &folder, &look, Some(&logged), &prior);
        if let Some(doc) = &look.doc {
            super::verify::schema_findings(&run.key, doc, pack, &[], &mut findings);
        }
        Ok(findings)
    }

    fn same_run(
        &self,
        operation: &mut Operation,
        key: &RunKey,
        run: &StagedRun,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let Some(state) = operation.states()?.get(key)? else { return Ok(Ok(())) };
        if (state.manifest, state.files) == (run.manifest.sha256, run.files.sha256) {
            return Ok(Ok(()));
        }
        let revisions: Vec<Sha256> =
            self.chain(key)?.into_iter().filter_map(|(_, entry)| entry.after).collect();
        Ok(adopt::compare(key, &revisions, &state.files, &run.manifest.sha256, &run.files.sha256))
    }
}

/// The run that a folder was found to be before, its state now, and what its folder must hold.
type KnownFolder = (RunKey, RunState, Known);

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

enum Staged {
    Here(Box<StagedRun>),
    Run(Box<StagedRun>),
}

struct StagedRun {
    /// Its place among the rows of its batch.
    row: usize,
    place: String,
    key: RunKey,
    manifest: BlobId,
    files: BlobId,
    entries: Vec<FileEntry>,
    staged: String,
    exceptions: usize,
    /// Of its folder, from before it was read.
    print: Option<Fingerprint>,
}

impl StagedRun {
    /// A run as found, for comparing with what the store has: nothing is staged.
    fn comparable(candidate: &Candidate, key: RunKey, manifest: BlobId, entries: Vec<FileEntry>) -> Self {
        let lists = crate::format::file_list::print(&entries);
        let files = BlobId::of(lists.last().expect("a file list has at least one blob"));
        let (place, staged) = (candidate.place.clone(), String::new());
        Self { row: 0, place, key, manifest, files, entries, staged, exceptions: 0, print: None }
    }
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

fn seen(candidate: &Candidate, result: Adopted) -> Option<Seen> {
    Some(Seen { place: candidate.place.clone(), result })
}

/// The side facts that a pack's migrations want, read from a run's folder. What cannot be read is
/// absent, and the pack says what follows.
pub(super) fn read_facts(
    disk: &Disk,
    dir: &str,
    pack: &Pack,
    files: &[FileFact],
    may_be: impl Fn(&str) -> bool,
) -> Facts {
    let contents = pack
        .wanted_files()
        .filter(|path| may_be(path))
        .filter_map(|path| {
            let bytes = disk.read_opt(&join(dir, path), limits::JSON_BYTES as u64).ok()??;
            Some((path.to_owned(), bytes))
        })
        .collect();
    Facts { files: files.to_vec(), contents }
}
