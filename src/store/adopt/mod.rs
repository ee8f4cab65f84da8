//! Bringing an existing tree of runs under the store, every byte as it is (`store-layout.md`,
//! "Adopt").
//!
//! A run is a folder with a regular `manifest.json`. Links are never followed; names that begin
//! with a dot are staging folders; `inputs` and `outputs` are parts of runs, never runs. The source
//! is only read.

mod ahead;
mod batch;
mod find;
mod report;

use std::path::Path;

use rayon::prelude::*;

use super::ahead::in_order;
use super::commit::Operation;
use super::facts::join;
use super::fingerprint::{Fingerprint, Taking};
use super::source;
use super::stat_cache::StatCache;
use super::{Store, StoreError};
use crate::backend::Disk;
use crate::base::id::JobId;
use crate::base::limits;
use crate::schema::{Facts, FileFact, Pack};
use batch::Batch;
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

/// A run of a batch.
struct Todo {
    candidate: Candidate,
    /// Its place among the rows.
    row: usize,
    /// Of its folder, from before anything in it is read; none where every folder is to be read anyway.
    print: Option<Fingerprint>,
}

/// What of a tree is looked at together, in the tree's order.
#[derive(Default)]
struct Chunk {
    runs: Vec<Todo>,
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
                    chunk.runs.push(Todo { candidate, row: chunk.rows.len(), print: None });
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
    pack_digest: String,
    options: &'a AdoptOptions,
}

impl Tree<'_> {
    /// What decides, beside what lies in a folder, how it is taken.
    fn what<'s>(&'s self, candidate: &'s Candidate) -> [&'s str; 3] {
        let job = self.options.job.as_ref().map_or("", |job| job.as_str());
        [&candidate.name, job, &self.pack_digest]
    }

    fn fingerprint(&self, candidate: &Candidate) -> Option<Fingerprint> {
        Fingerprint::of_folder(self.disk, &candidate.place, &self.what(candidate))
    }

    /// A fingerprint to be taken while the folder is read.
    fn begin_fingerprint(&self, candidate: &Candidate) -> Taking {
        Taking::begin(&self.what(candidate))
    }

    /// Looks at the folders of a chunk, before anything in them is read: what changes from now on has another
    /// fingerprint.
    fn look_at(&self, mut chunk: Chunk) -> Chunk {
        if !self.options.rehash {
            chunk.runs.par_iter_mut().for_each(|run| run.print = self.fingerprint(&run.candidate));
        }
        chunk
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

        let pack_digest = pack.digest().to_string();
        let tree = Tree { disk: &disk, pack: &pack, pack_digest, options };
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
        // The next chunk is looked for while one is taken in.
        in_order(
            std::iter::from_fn(|| Chunk::of(walk)),
            |chunk| from.look_at(chunk),
            |Chunk { runs, mut rows }| {
                if self.context.progress.interrupted() {
                    return Err(StoreError::Interrupted { done, total: 0 });
                }
                done += runs.len() as u64;
                Batch::new(self, operation, from, cache, &mut rows).adopt(runs)?;
                rows.into_iter().flatten().for_each(|seen| teller.tell(seen));
                self.context.progress.at(done, 0);
                self.context.progress.committed(self)
            },
        )
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
