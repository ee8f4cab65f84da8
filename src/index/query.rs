//! Questions to the index.

use std::collections::HashMap;
use std::str::FromStr;

use rusqlite::{OptionalExtension, Row, params};

use super::{Index, IndexError, Mark};
use crate::base::digest::Sha256;
use crate::base::id::{IdError, JobId, RunKey};
use crate::base::name::fold_key;

/// What the index says of a run's place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The number of its entries.
    pub seq: u64,
    /// The log index of its last entry.
    pub entry: u64,
    /// The leaf hash of its last entry.
    pub leaf: Sha256,
    /// The digest of its manifest.
    pub manifest: Sha256,
    /// The digest of its file list.
    pub files: Sha256,
    /// The findings that it came in with.
    pub exceptions: Option<Sha256>,
    /// The log index of its first entry.
    pub first_entry: u64,
}

/// A run as a look at its manifest begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRun {
    /// The run.
    pub key: RunKey,
    /// The log index of its first entry.
    pub first_entry: u64,
    /// What the kernel told of its manifest when it was read.
    pub mark: Option<Mark>,
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Of this job.
    pub job: Option<String>,
    /// With this status.
    pub status: Option<String>,
    /// At this schema version.
    pub version: Option<String>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// One listed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its job.
    pub job: String,
    /// Its id.
    pub run: String,
    /// Its status, as its manifest has it.
    pub status: Option<String>,
    /// Its schema version, as its manifest has it.
    pub version: Option<String>,
    /// The kind of job.
    pub job_type: Option<String>,
    /// When it came into the store.
    pub recorded_at: String,
    /// Whether its manifest cannot be read.
    pub problem: Option<String>,
}

/// A manifest that could not be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The run's job.
    pub job: String,
    /// The run.
    pub run: String,
    /// The finding's code.
    pub code: String,
    /// What is wrong.
    pub detail: String,
}

/// A value of a query's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A real number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A query's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResult {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Sha256> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn id<T: FromStr<Err = IdError>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn key(row: &Row<'_>) -> rusqlite::Result<RunKey> {
    Ok(RunKey { job: id(row, 0)?, run: id(row, 1)? })
}

impl Index {
    /// What the index says of a run.
    pub fn run(&self, run: &RunKey) -> Result<Option<RunRow>, IndexError> {
        let sql = "SELECT run_seq, last_entry, last_leaf, manifest_sha256, files_sha256, exceptions_sha256, \
                   first_entry FROM runs WHERE job_id = ?1 AND run_id = ?2";
        let found = |row: &Row<'_>| {
            Ok(RunRow {
                seq: unsigned(row, 0)?,
                entry: unsigned(row, 1)?,
                leaf: digest(row, 2)?,
                manifest: digest(row, 3)?,
                files: digest(row, 4)?,
                exceptions: match row.get_ref(5)? {
                    rusqlite::types::ValueRef::Null => None,
                    _ => Some(digest(row, 5)?),
                },
                first_entry: unsigned(row, 6)?,
            })
        };
        self.first(sql, [run.job.as_str(), run.run.as_str()], found)
    }

    /// The log index of a run's first entry.
    pub fn first_entry(&self, run: &RunKey) -> Result<Option<u64>, IndexError> {
        let sql = "SELECT first_entry FROM runs WHERE job_id = ?1 AND run_id = ?2";
        self.first(sql, [run.job.as_str(), run.run.as_str()], |row| unsigned(row, 0))
    }

    /// Begins to answer under one lock, which keeps an index from being brought up to date: only for what waits
    /// for nothing else, until [`Index::end_reading`].
    pub fn begin_reading(&self) -> Result<(), IndexError> {
        self.batch("BEGIN")
    }

    /// Lets go of the lock.
    pub fn end_reading(&self) -> Result<(), IndexError> {
        self.batch("COMMIT")
    }

    /// The file lists of those of the runs that the index knows, in one transaction.
    pub fn file_lists(&self, runs: &[RunKey]) -> Result<HashMap<RunKey, Sha256>, IndexError> {
        let reading = self.db.unchecked_transaction().map_err(|source| self.at(source))?;
        let mut lists = HashMap::with_capacity(runs.len());
        for key in runs {
            if let Some(row) = self.run(key)? {
                lists.insert(key.clone(), row.files);
            }
        }
        reading.finish().map_err(|source| self.at(source))?;
        Ok(lists)
    }

    fn first<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params + Clone,
        of: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, IndexError> {
        self.reading(|| self.db.prepare_cached(sql)?.query_row(values.clone(), |row| of(row)).optional())
    }

    fn rows<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params + Clone,
        of: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, IndexError> {
        self.reading(|| self.db.prepare_cached(sql)?.query_map(values.clone(), |row| of(row))?.collect())
    }

    fn keys(&self, sql: &str, values: impl rusqlite::Params + Clone) -> Result<Vec<RunKey>, IndexError> {
        self.rows(sql, values, key)
    }

    /// All runs, by job and id.
    pub fn all_runs(&self) -> Result<Vec<RunKey>, IndexError> {
        self.keys("SELECT job_id, run_id FROM runs ORDER BY job_id, run_id", [])
    }

    /// The jobs, in order.
    pub fn jobs(&self) -> Result<Vec<JobId>, IndexError> {
        self.rows("SELECT job_id FROM jobs ORDER BY job_id", [], |row| id(row, 0))
    }

    /// The runs of one job, in order, with the marks of their manifests.
    pub fn known_of_job(&self, job: &JobId) -> Result<Vec<KnownRun>, IndexError> {
        let sql = "SELECT r.run_id, r.first_entry, m.mark FROM runs r LEFT JOIN marks m USING (first_entry) \
                   WHERE r.job_id = ?1 ORDER BY r.run_id";
        self.rows(sql, [job.as_str()], |row| {
            let key = RunKey { job: job.clone(), run: id(row, 0)? };
            Ok(KnownRun { key, first_entry: unsigned(row, 1)?, mark: row.get(2)? })
        })
    }

    /// The runs of one job.
    pub fn runs_of_job(&self, job: &str) -> Result<Vec<RunKey>, IndexError> {
        self.keys("SELECT job_id, run_id FROM runs WHERE job_id = ?1 ORDER BY run_id", [job])
    }

    /// The runs whose id begins with a text, in all jobs or in one; at most `most`.
    pub fn runs_beginning(
        &self,
        job: Option<&str>,
        text: &str,
        most: u64,
    ) -> Result<Vec<RunKey>, IndexError> {
        // No id holds a `~` or what comes after it, so that between a text and that text with one lie just
        // those that begin with it. Each is one lookup, however many runs there are.
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        match job {
            Some(job) => {
                let sql = "SELECT job_id, run_id FROM runs WHERE job_id = ?1 AND run_id >= ?2 \
                           AND run_id < ?2 || '~' ORDER BY run_id LIMIT ?3";
                self.keys(sql, params![job, text, most])
            }
            None => {
                let sql = "SELECT job_id, run_id FROM runs INDEXED BY runs_run WHERE run_id >= ?1 \
                           AND run_id < ?1 || '~' ORDER BY job_id, run_id LIMIT ?2";
                self.keys(sql, params![text, most])
            }
        }
    }

    /// A job or run that a folding filesystem would take for this one.
    pub fn twin(&self, run: &RunKey) -> Result<Option<String>, IndexError> {
        let text = |row: &Row<'_>| row.get(0);
        let job = "SELECT job_id FROM jobs WHERE fold = ?1 AND job_id <> ?2";
        let twin = self.first(job, [fold_key(run.job.as_str()).as_str(), run.job.as_str()], text)?;
        if twin.is_some() {
            return Ok(twin);
        }
        let sql = "SELECT run_id FROM runs WHERE job_id = ?1 AND fold = ?2 AND run_id <> ?3";
        self.first(sql, [run.job.as_str(), &fold_key(run.run.as_str()), run.run.as_str()], text)
    }

    /// The log indexes of a run's entries, in order.
    pub fn entries_of_run(&self, run: &RunKey) -> Result<Vec<u64>, IndexError> {
        let sql = "SELECT entry FROM entries WHERE job_id = ?1 AND run_id = ?2 ORDER BY entry";
        self.numbers(sql, [run.job.as_str(), run.run.as_str()])
    }

    /// The log indexes of the entries about the log's keys, in order.
    pub fn entries_of_keys(&self) -> Result<Vec<u64>, IndexError> {
        // Entries of no run are few, and the lookup by run finds them.
        let sql = "SELECT entry FROM entries WHERE job_id IS NULL AND run_id IS NULL \
                   AND kind IN (?1, ?2) ORDER BY entry";
        self.numbers(sql, ["key-added", "key-retired"])
    }

    /// The runs that an operation changed, in order.
    pub fn runs_of_operation(&self, operation: &str) -> Result<Vec<RunKey>, IndexError> {
        let sql = "SELECT DISTINCT job_id, run_id FROM entries WHERE operation = ?1 AND run_id IS NOT NULL \
                   ORDER BY job_id, run_id";
        self.keys(sql, [operation])
    }

    /// The kinds of an operation's entries; empty when there is no such operation.
    pub fn kinds_of_operation(&self, operation: &str) -> Result<Vec<String>, IndexError> {
        let sql = "SELECT DISTINCT kind FROM entries WHERE operation = ?1 ORDER BY kind";
        self.rows(sql, [operation], |row| row.get(0))
    }

    /// The distinct revisions of a run whose digest begins with a text (with its algorithm).
    pub fn revisions_beginning(&self, run: &RunKey, text: &str) -> Result<Vec<Sha256>, IndexError> {
        let sql = "SELECT DISTINCT sha256 FROM revisions WHERE job_id = ?1 AND run_id = ?2 \
                   AND substr(sha256, 1, length(?3)) = ?3 ORDER BY run_seq";
        self.rows(sql, [run.job.as_str(), run.run.as_str(), text], |row| digest(row, 0))
    }

    /// The log indexes of the entries of a kind that are about no run, of one operation or of all, in
    /// order.
    pub fn entries_without_run(&self, kind: &str, operation: Option<&str>) -> Result<Vec<u64>, IndexError> {
        // Such entries are few, and the lookup by run finds them.
        let sql = "SELECT entry FROM entries INDEXED BY entries_run WHERE job_id IS NULL AND kind = ?1 \
                   AND (?2 IS NULL OR operation = ?2) ORDER BY entry";
        self.numbers(sql, params![kind, operation])
    }

    fn numbers(&self, sql: &str, values: impl rusqlite::Params + Clone) -> Result<Vec<u64>, IndexError> {
        self.rows(sql, values, |row| unsigned(row, 0))
    }

    /// Lists runs, by job and id, one at a time.
    pub fn list(&self, filter: &ListFilter, see: &mut dyn FnMut(Listed)) -> Result<(), IndexError> {
        let sql = "SELECT r.job_id, r.run_id, i.status, i.schema_version, i.job_type, r.recorded_at, p.detail \
                   FROM runs r LEFT JOIN run_index i USING (job_id, run_id) \
                   LEFT JOIN problems p USING (job_id, run_id) \
                   WHERE (?1 IS NULL OR r.job_id = ?1) AND (?2 IS NULL OR i.status = ?2) \
                   AND (?3 IS NULL OR i.schema_version = ?3) ORDER BY r.job_id, r.run_id LIMIT ?4";
        let limit = filter.limit.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1);
        let listed = |row: &Row<'_>| {
            Ok(Listed {
                job: row.get(0)?,
                run: row.get(1)?,
                status: row.get(2)?,
                version: row.get(3)?,
                job_type: row.get(4)?,
                recorded_at: row.get(5)?,
                problem: row.get(6)?,
            })
        };
        let at = |source| self.at(source);
        // What a killed writer left is put in order before the first row is given.
        self.log_size()?;
        let mut statement = self.db.prepare_cached(sql).map_err(at)?;
        let values = params![filter.job, filter.status, filter.version, limit];
        let mut rows = statement.query(values).map_err(at)?;
        while let Some(row) = rows.next().map_err(at)? {
            see(listed(row).map_err(at)?);
        }
        Ok(())
    }

    /// The manifests that could not be indexed.
    pub fn problems(&self) -> Result<Vec<Problem>, IndexError> {
        let sql = "SELECT job_id, run_id, code, detail FROM problems ORDER BY job_id, run_id, code";
        self.rows(sql, [], |row| {
            Ok(Problem { job: row.get(0)?, run: row.get(1)?, code: row.get(2)?, detail: row.get(3)? })
        })
    }

    /// The number of rows in each table.
    pub fn counts(&self) -> Result<Vec<(&'static str, u64)>, IndexError> {
        let tables = ["runs", "run_index", "files", "revisions", "migrations", "entries", "problems"];
        tables
            .into_iter()
            .map(|table| {
                let sql = format!("SELECT count(*) FROM {table}");
                Ok((table, self.numbers(&sql, [])?.first().copied().unwrap_or(0)))
            })
            .collect()
    }

    /// Runs one reading statement of the user's; anything that would write is refused by SQLite.
    pub fn query(&self, sql: &str) -> Result<QueryResult, IndexError> {
        self.batch("PRAGMA query_only = ON")?;
        match self.reading(|| self.answer(sql)) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(IndexError::Query("only reading statements are allowed".to_owned())),
            Err(IndexError::Sqlite { source, .. }) => Err(IndexError::Query(source.to_string())),
            Err(error) => Err(error),
        }
    }

    /// What a statement gives; nothing for one that would write.
    fn answer(&self, sql: &str) -> rusqlite::Result<Option<QueryResult>> {
        let mut statement = self.db.prepare(sql)?;
        if !statement.readonly() {
            return Ok(None);
        }
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let mut rows = Vec::new();
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mut values = Vec::with_capacity(width);
            for column in 0..width {
                use rusqlite::types::ValueRef;
                values.push(match row.get_ref(column)? {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(n) => Value::Integer(n),
                    ValueRef::Real(x) => Value::Real(x),
                    ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
                    ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
                });
            }
            rows.push(values);
        }
        Ok(Some(QueryResult { columns, rows }))
    }

    /// The runs of one job and stem: the derived id and its further attempts.
    pub fn attempts(&self, job: &JobId, stem: &str) -> Result<Vec<RunKey>, IndexError> {
        let found = self.runs_beginning(Some(job.as_str()), stem, u64::MAX)?;
        Ok(found.into_iter().filter(|key| key.run.stem_and_attempt().0 == stem).collect())
    }
}
