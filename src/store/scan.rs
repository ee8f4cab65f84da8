//! What lies under `artifacts/`: jobs, runs, and what is neither.

use super::{Store, StoreError};
use crate::backend::Kind;
use crate::base::escape;
use crate::base::id::{JobId, RunId, RunKey};
use crate::format::finding::{Code, Finding};
use crate::format::paths;

/// The folders of runs, and what does not belong.
pub(super) struct Scan {
    /// Runs by place, sorted.
    pub runs: Vec<RunKey>,
    /// What is neither a job nor a run.
    pub strays: Vec<Finding>,
}

impl Store {
    /// The runs on the disk, for commands that act on them: a link in the place of a job or run is
    /// refused, because what lies behind it is not the store's.
    pub(super) fn runs_on_disk(&self) -> Result<Vec<RunKey>, StoreError> {
        let scan = self.scan()?;
        let link = scan.strays.iter().find(|stray| stray.found.as_deref() == Some(Kind::Link.word()));
        match link.and_then(|stray| stray.path.clone()) {
            Some(place) => Err(StoreError::LinkInPlace { place }),
            None => Ok(scan.runs),
        }
    }

    /// Lists the runs on the disk without opening any.
    pub(super) fn scan(&self) -> Result<Scan, StoreError> {
        let mut runs = Vec::new();
        let strays = self.scan_each(&mut |key| runs.push(key))?;
        runs.sort();
        Ok(Scan { runs, strays })
    }

    /// Gives each run on the disk as it comes, and returns what is no run.
    pub(super) fn scan_each(&self, take: &mut dyn FnMut(RunKey)) -> Result<Vec<Finding>, StoreError> {
        let mut strays = Vec::new();
        for job in self.disk.list(paths::ARTIFACTS)? {
            let name = escape::bytes(std::os::unix::ffi::OsStrExt::as_bytes(job.name.as_os_str()));
            let place = format!("{}/{name}", paths::ARTIFACTS);
            match (job.kind, job.name.to_str().and_then(|name| name.parse::<JobId>().ok())) {
                (Kind::Dir, Some(job)) => self.scan_job(&job, take, &mut strays)?,
                (kind, _) => strays.push(stray(&place, kind)),
            }
        }
        Ok(strays)
    }

    fn scan_job(
        &self,
        job: &JobId,
        take: &mut dyn FnMut(RunKey),
        strays: &mut Vec<Finding>,
    ) -> Result<(), StoreError> {
        let dir = paths::job_dir(job);
        let entries = match self.disk.list(&dir) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for run in entries {
            let name = escape::bytes(std::os::unix::ffi::OsStrExt::as_bytes(run.name.as_os_str()));
            match (run.kind, run.name.to_str().and_then(|name| name.parse::<RunId>().ok())) {
                (Kind::Dir, Some(run)) => take(RunKey { job: job.clone(), run }),
                (kind, _) => strays.push(stray(&format!("{dir}/{name}"), kind)),
            }
        }
        Ok(())
    }
}

fn stray(place: &str, kind: Kind) -> Finding {
    Finding::of_store(Code::Stray, place).expected("a folder of a job or run").found(kind.word())
}
