//! Questions to the index, and building it anew.

use super::session::Session;
use super::{Store, StoreError};
use crate::base::id::{JobId, RunKey};
use crate::index::{Index, IndexError, ListFilter, Listed, Problem, QueryResult};

/// What `reindex` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexReport {
    /// Rows by table.
    pub rows: Vec<(&'static str, u64)>,
    /// Manifests that could not be indexed.
    pub problems: Vec<Problem>,
    /// How many manifests were read, those that look otherwise than when they were last read; `None` where
    /// the index was built from nothing.
    pub read: Option<u64>,
    /// Tiles and nodes of the run map that were missing or damaged and were made anew.
    pub mended: Vec<String>,
}

impl Store {
    /// Makes what is derived say what the log and the files say: the index, and of the tiles and the run
    /// map what is missing or damaged. Where the entries themselves are damaged the log is left as it is.
    /// A manifest that looks as it did when it was last read is not read again.
    pub fn reindex(&self) -> Result<IndexReport, StoreError> {
        self.reindex_as(false)
    }

    /// As [`reindex`](Self::reindex), with an index built from nothing.
    pub fn reindex_anew(&self) -> Result<IndexReport, StoreError> {
        self.reindex_as(true)
    }

    fn reindex_as(&self, anew: bool) -> Result<IndexReport, StoreError> {
        // First the index: what was left unfinished is looked for in it, and built for that it would be
        // built twice. Where it cannot be made the rest is put in order all the same.
        let made = self.reindex_all(anew);
        self.finish_interrupted()?;
        let mended = match Session::open(self)?.mend() {
            Err(StoreError::LogDamaged { .. }) => Vec::new(),
            mended => mended?,
        };
        let mut read = made?;
        let told = |index: Index| Ok::<_, IndexError>((index.counts()?, index.problems()?));
        let (rows, problems) = match told(self.index()?) {
            Ok(told) => told,
            // Its file is damaged where nothing had to be read so far.
            Err(_) => {
                read = self.reindex_all(true)?;
                told(self.index()?)?
            }
        };
        Ok(IndexReport { rows, problems, read, mended })
    }

    /// Lists runs.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        self.each_listed(filter, &mut |run| listed.push(run))?;
        Ok(listed)
    }

    /// As [`list`](Self::list), one at a time: a list of all runs may be longer than memory is large.
    pub fn each_listed(&self, filter: &ListFilter, see: &mut dyn FnMut(Listed)) -> Result<(), StoreError> {
        Ok(self.index()?.list(filter, see)?)
    }

    /// Answers one reading SQL statement over the index.
    pub fn query(&self, sql: &str) -> Result<QueryResult, StoreError> {
        Ok(self.index()?.query(sql)?)
    }

    /// Finds a run by `job/run`, by its id, or by the beginning of its id.
    pub fn find_run(&self, name: &str) -> Result<RunKey, StoreError> {
        let missing = || StoreError::NoRun { name: name.to_owned() };
        let index = self.index()?;
        let (job, run) =
            match name.strip_prefix("artifacts/").unwrap_or(name).trim_end_matches('/').split_once('/') {
                Some((job, run)) => (Some(job), run),
                None => (None, name),
            };
        if run.is_empty() {
            return Err(missing());
        }
        let found = index.runs_beginning(job, run, 9)?;
        let exact: Vec<RunKey> = found.iter().filter(|key| key.run.as_str() == run).cloned().collect();
        let candidates = if exact.is_empty() { found } else { exact };
        match candidates.as_slice() {
            [] => Err(missing()),
            [one] => Ok(one.clone()),
            _ => Err(StoreError::AmbiguousRun { name: name.to_owned(), candidates }),
        }
    }

    /// The runs of a job.
    pub fn runs_of_job(&self, job: &JobId) -> Result<Vec<RunKey>, StoreError> {
        let runs = self.index()?.runs_of_job(job.as_str())?;
        if runs.is_empty() { Err(StoreError::NoJob { name: job.to_string() }) } else { Ok(runs) }
    }

    /// All runs.
    pub fn all_runs(&self) -> Result<Vec<RunKey>, StoreError> {
        Ok(self.index()?.all_runs()?)
    }
}
