//! What lies under `artifacts/`: jobs, runs, and what is neither.

use std::str::FromStr;

use super::{Store, StoreError};
use crate::backend::Kind;
use crate::base::escape;
use crate::base::id::{JobId, RunId, RunKey};
use crate::format::finding::{Code, Finding};
use crate::format::paths;

/// What lies in a folder: names of one kind, in order of their bytes, and what does not belong.
pub(super) struct Listed<T> {
    /// Those that are what they should be.
    pub names: Vec<T>,
    /// The others.
    pub strays: Vec<Finding>,
}

impl<T> Listed<T> {
    /// The names; a link in the place of one is refused, because what lies behind it is not the store's.
    fn without_links(self) -> Result<Vec<T>, StoreError> {
        let link = self.strays.into_iter().find(|stray| stray.found.as_deref() == Some(Kind::Link.word()));
        match link.and_then(|stray| stray.path) {
            Some(place) => Err(StoreError::LinkInPlace { place }),
            None => Ok(self.names),
        }
    }
}

/// Runs to go through, in order.
pub(super) struct RunsOnDisk<'s> {
    source: Option<(&'s Store, std::vec::IntoIter<JobId>)>,
    waiting: std::vec::IntoIter<RunKey>,
}

impl<'s> RunsOnDisk<'s> {
    /// Runs that were named, and how many they are.
    pub fn these(runs: Vec<RunKey>) -> (u64, Self) {
        (runs.len() as u64, Self { source: None, waiting: runs.into_iter() })
    }

    /// Goes through them in pieces of a size.
    pub fn by(mut self, size: usize) -> impl Iterator<Item = Result<Vec<RunKey>, StoreError>> + Send + 's {
        std::iter::from_fn(move || {
            let mut piece = Vec::with_capacity(size);
            while piece.len() < size {
                match self.next_run() {
                    Ok(Some(key)) => piece.push(key),
                    Ok(None) => break,
                    Err(error) => return Some(Err(error)),
                }
            }
            (!piece.is_empty()).then_some(Ok(piece))
        })
    }

    fn next_run(&mut self) -> Result<Option<RunKey>, StoreError> {
        loop {
            if let Some(key) = self.waiting.next() {
                return Ok(Some(key));
            }
            let Some((store, jobs)) = &mut self.source else { return Ok(None) };
            let Some(job) = jobs.next() else { return Ok(None) };
            self.waiting = store.runs_on_disk_of(&job)?.without_links()?.into_iter();
        }
    }
}

impl Store {
    /// The runs on the disk, in order, for commands that act on them. Only those of one job are held at a
    /// time.
    pub(super) fn each_run_on_disk(&self) -> Result<RunsOnDisk<'_>, StoreError> {
        let jobs = self.jobs_on_disk()?.without_links()?;
        Ok(RunsOnDisk { source: Some((self, jobs.into_iter())), waiting: Vec::new().into_iter() })
    }

    /// How many runs there are on the disk. A link in the place of any job or run is refused, before
    /// anything is done.
    pub(super) fn count_runs_on_disk(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for job in self.jobs_on_disk()?.without_links()? {
            count += self.runs_on_disk_of(&job)?.without_links()?.len() as u64;
        }
        Ok(count)
    }

    /// Lists the jobs on the disk, sorted.
    pub(super) fn jobs_on_disk(&self) -> Result<Listed<JobId>, StoreError> {
        self.list_names(paths::ARTIFACTS, JobId::from_str)
    }

    /// Lists the runs of a job on the disk, sorted.
    pub(super) fn runs_on_disk_of(&self, job: &JobId) -> Result<Listed<RunKey>, StoreError> {
        let key = |name: &str| name.parse::<RunId>().map(|run| RunKey { job: job.clone(), run });
        match self.list_names(&paths::job_dir(job), key) {
            Err(StoreError::Disk(error)) if error.is_not_found() => {
                Ok(Listed { names: Vec::new(), strays: Vec::new() })
            }
            listed => listed,
        }
    }

    fn list_names<T, E>(
        &self,
        dir: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Listed<T>, StoreError> {
        let mut listed = Listed { names: Vec::new(), strays: Vec::new() };
        for entry in self.disk.list(dir)? {
            match (entry.kind, entry.name.to_str().and_then(|name| parse(name).ok())) {
                (Kind::Dir, Some(name)) => listed.names.push(name),
                (kind, _) => {
                    let name = escape::bytes(std::os::unix::ffi::OsStrExt::as_bytes(entry.name.as_os_str()));
                    listed.strays.push(stray(&format!("{dir}/{name}"), kind));
                }
            }
        }
        Ok(listed)
    }
}

fn stray(place: &str, kind: Kind) -> Finding {
    Finding::of_store(Code::Stray, place).expected("a folder of a job or run").found(kind.word())
}
