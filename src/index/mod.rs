//! The SQLite index: derived from the store, deleted and rebuilt at any time (`store-layout.md`,
//! "Index").
//!
//! Rows of the log part follow from the entries, rows of the disk part from the manifests as they
//! lie. Every table is keyed by what the row is about, so that an index brought up to date entry by
//! entry and one rebuilt from nothing are equal row for row, but for the marks by which a manifest that
//! looks as it did is not read again.

mod query;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::base::digest::Sha256;
use crate::format::head::Head;
pub use query::{KnownRun, ListFilter, Listed, Problem, QueryResult, RunRow, Value};
pub use write::{FileRow, LogRow, ManifestRow, Mark};

/// The version of the tables, and of what is read in a manifest; an index with another is rebuilt.
const TABLES_VERSION: i64 = 4;

/// Why the index cannot be used. It can always be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// SQLite refused.
    #[error("index {path}: {source}")]
    Sqlite {
        /// The index file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The tables are not those of this program.
    #[error("index {path} is not one that this program wrote")]
    Foreign {
        /// The index file.
        path: PathBuf,
    },
    /// A query of the user's is wrong.
    #[error("the query cannot be run: {0}")]
    Query(String),
    /// A row holds something that the store never writes.
    #[error("index {path} holds {what}, which the store never writes")]
    BadRow {
        /// The index file.
        path: PathBuf,
        /// What it holds.
        what: String,
    },
}

/// An open index.
pub struct Index {
    db: Connection,
    path: PathBuf,
    /// Whether it is being filled from nothing, so that no row can be in the way of another.
    empty: bool,
}

impl Index {
    /// Opens an index that is there, for reading and for bringing it up to date.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let index = Self::from_db(Connection::open_with_flags(path, flags), path)?;
        // The journal stays, so that its name is durable before it is needed: SQLite passes over a folder
        // that cannot be flushed.
        index.batch("PRAGMA journal_mode = PERSIST; PRAGMA journal_size_limit = 1048576")?;
        index.checked()
    }

    /// Opens an index that is there for reading only.
    pub fn open_read_only(path: &Path) -> Result<Self, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let index = Self::from_db(Connection::open_with_flags(path, flags), path)?.checked()?;
        // Runs are mostly asked for in their order.
        index.hold(8)?;
        Ok(index)
    }

    /// Makes an empty index aside, without a journal: it is renamed into place once it is whole.
    pub fn create(path: &Path) -> Result<Self, IndexError> {
        let index = Self::from_db(Connection::open(path), path)?;
        // Manifests are rows here: pages that hold some of them whole waste little, and keep most off overflow pages.
        index.batch("PRAGMA page_size = 16384; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        index.batch("PRAGMA locking_mode = EXCLUSIVE")?;
        index.begin()
    }

    /// Makes an empty index in memory, for a store that cannot be written to.
    pub fn in_memory() -> Result<Self, IndexError> {
        let path = Path::new(":memory:");
        Self::from_db(Connection::open_in_memory(), path)?.begin()
    }

    fn begin(mut self) -> Result<Self, IndexError> {
        self.empty = true;
        self.batch(concat!("BEGIN;\n", include_str!("schema.sql"), "COMMIT"))?;
        self.set_meta("tables", TABLES_VERSION)?;
        self.set_meta("log_size", 0)?;
        Ok(self)
    }

    fn from_db(db: rusqlite::Result<Connection>, path: &Path) -> Result<Self, IndexError> {
        let at = |source| IndexError::Sqlite { path: path.to_owned(), source };
        let db = db.map_err(at)?;
        db.busy_timeout(Duration::from_secs(30)).map_err(at)?;
        db.set_prepared_statement_cache_capacity(64);
        let index = Self { db, path: path.to_owned(), empty: false };
        // Changes touch pages all over the file: with the default of 2 MiB each is read and spilled
        // many times over.
        index.hold(32)?;
        Ok(index)
    }

    /// Holds at most so many MiB of pages; sorting takes as much again.
    fn hold(&self, mib: u32) -> Result<(), IndexError> {
        self.batch(&format!("PRAGMA cache_size = -{}", mib << 10))
    }

    fn checked(self) -> Result<Self, IndexError> {
        match self.meta("tables") {
            Ok(Some(TABLES_VERSION)) => Ok(self),
            Ok(_) => Err(IndexError::Foreign { path: self.path }),
            Err(_) => Err(IndexError::Foreign { path: self.path }),
        }
    }

    fn batch(&self, sql: &str) -> Result<(), IndexError> {
        self.db.execute_batch(sql).map_err(|source| self.at(source))
    }

    fn at(&self, source: rusqlite::Error) -> IndexError {
        IndexError::Sqlite { path: self.path.clone(), source }
    }

    /// Reads. Whoever brought the index up may have been killed since this connection was opened: one
    /// that only reads cannot put that in order, so another does, and it is read again.
    fn reading<T>(&self, read: impl Fn() -> rusqlite::Result<T>) -> Result<T, IndexError> {
        let interrupted = |error: &rusqlite::Error| {
            error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK)
        };
        match read() {
            Err(error) if interrupted(&error) => {
                Self::open(&self.path)?;
                read()
            }
            done => done,
        }
        .map_err(|source| self.at(source))
    }

    fn meta<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<Option<T>, IndexError> {
        use rusqlite::OptionalExtension;
        let sql = "SELECT value FROM meta WHERE name = ?1";
        self.reading(|| self.db.query_row(sql, [name], |row| row.get(0)).optional())
    }

    fn set_meta(&self, name: &str, value: impl rusqlite::ToSql) -> Result<(), IndexError> {
        let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.db.execute(sql, (name, value)).map_err(|source| self.at(source))?;
        Ok(())
    }

    /// Whether the index has taken in exactly this log. The root tells a log of the same size that
    /// is another one, such as that of a store put back from a backup.
    pub fn is_at(&self, head: &Head) -> bool {
        self.log_size().is_ok_and(|size| size == head.size) && self.has_root(&head.root)
    }

    /// Whether the log taken in has this root.
    pub fn has_root(&self, root: &Sha256) -> bool {
        let known: Option<String> = self.meta("log_root").ok().flatten();
        known == Some(root.to_string())
    }

    /// How many log entries the index has taken in.
    pub fn log_size(&self) -> Result<u64, IndexError> {
        let size: i64 = self.meta("log_size")?.unwrap_or(0);
        u64::try_from(size)
            .map_err(|_| IndexError::BadRow { path: self.path.clone(), what: format!("log size {size}") })
    }
}
