//! A table of a SQLite database: read in one snapshot, backed up from that very snapshot, changed in
//! one immediate transaction that checks before and after.
//!
//! The files of the database are SQLite's own business: a copy of them would lose what lies in the
//! write-ahead log, so a backup is made by SQLite's backup API, and a crash in the middle of a
//! transaction is undone by SQLite when the database is next opened.

mod write;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::row::{Cell, Row, RowError};
use super::{Loaded, Part, Place};
use crate::base::digest::Sha256;
use crate::schema::{AddedColumn, SqliteCarrier};
pub use write::{State, TableChange, Writer};

/// Why a table was not read or changed; nothing of it was changed then.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// SQLite says no.
    #[error("{what}: {source}")]
    Sqlite {
        /// What was attempted.
        what: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A transaction was interrupted, and only a writer may put that in order.
    #[error(
        "an interrupted transaction waits in its journal; open the database once with the program that owns it, or with sqlite3"
    )]
    Interrupted,
    /// What would take back an interrupted change could be lost.
    #[error("the name of its journal cannot be made durable")]
    Journal,
    /// The database has no such table.
    #[error("the database has no table {0:?}")]
    NoTable(String),
    /// The table has no such column.
    #[error("the table {table:?} has no column {column:?}, by which the pack names its rows")]
    NoKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Two rows have the same key.
    #[error("two rows have the key {0}, so neither can be told from the other")]
    NotUnique(String),
    /// Triggers would run.
    #[error("the table {0:?} has triggers, which would change more than the migration says")]
    Triggers(String),
    /// A row is not what the plan was made from.
    #[error("row {0} changed meanwhile")]
    Changed(String),
    /// A row came out other than planned.
    #[error("row {0} would not become what the migration says, so nothing was changed")]
    Differs(String),
    /// Rows that came in since hold values in a column that was to go.
    #[error("the column {0:?} holds values that came in since, so it cannot be taken away")]
    ColumnUsed(String),
    /// The document is no row.
    #[error("row {key}: {source}")]
    Row {
        /// The row.
        key: String,
        /// Why not.
        source: RowError,
    },
}

impl TableError {
    /// Whether the disk failed, so that it cannot be told what it holds.
    pub fn is_io(&self) -> bool {
        let Self::Sqlite { source, .. } = self else { return false };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure)
    }
}

type Result<T> = std::result::Result<T, TableError>;

fn sql(what: &'static str) -> impl Fn(rusqlite::Error) -> TableError {
    move |source| match source.sqlite_error().map(|error| error.extended_code) {
        Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK) => TableError::Interrupted,
        _ => TableError::Sqlite { what, source },
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const BUSY: Duration = Duration::from_secs(10);

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(sql("open"))?;
    db.busy_timeout(BUSY).map_err(sql("open"))?;
    Ok(db)
}

/// A table at one moment, and the connection that holds the moment.
pub struct Snapshot {
    db: Connection,
    carrier: SqliteCarrier,
    /// The columns, and their declared types.
    pub columns: Arc<[String]>,
    types: Vec<String>,
    /// The statement that makes the table.
    pub schema: String,
    /// The rows, by key.
    pub rows: Vec<Row>,
}

/// The columns of a table with their declared types, and the statement that makes it.
fn shape(db: &Connection, table: &str) -> Result<(Arc<[String]>, Vec<String>, String)> {
    let no_table = || TableError::NoTable(table.to_owned());
    let schema: String = db
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE",
            [table],
            |row| row.get(0),
        )
        .map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => no_table(),
            other => sql("read the schema")(other),
        })?;
    // Only columns that `SELECT *` gives: hidden ones are no part of a row.
    let mut statement = db
        .prepare("SELECT name, type FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid")
        .map_err(sql("read the schema"))?;
    let columns = statement
        .query_map([table], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(sql("read the schema"))?;
    let (names, types): (Vec<String>, Vec<String>) = columns.into_iter().unzip();
    Ok((names.into(), types, schema))
}

fn select(columns: &[String]) -> String {
    columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn row_of(columns: &Arc<[String]>, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let cells = (0..columns.len()).map(|at| Ok(Cell::from(row.get_ref(at)?)));
    Ok(Row { columns: Arc::clone(columns), cells: cells.collect::<rusqlite::Result<_>>()? })
}

/// What a column holds where nothing else was said, as SQL.
fn default_of(db: &Connection, carrier: &SqliteCarrier, name: &str) -> Result<String> {
    let default = "SELECT dflt_value FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE";
    let default: Option<String> = db
        .query_row(default, [carrier.table.as_str(), name], |row| row.get(0))
        .map_err(sql("read the schema"))?;
    Ok(default.unwrap_or_else(|| "NULL".to_owned()))
}

impl Snapshot {
    /// Reads the table that a pack names, in one transaction that stays open. Nothing is written.
    pub fn read(path: &Path, carrier: &SqliteCarrier) -> Result<Self> {
        let db = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.execute_batch("BEGIN").map_err(sql("read"))?;
        let (columns, types, schema) = shape(&db, &carrier.table)?;
        if !columns.iter().any(|name| name.eq_ignore_ascii_case(&carrier.key)) {
            let (table, column) = (carrier.table.clone(), carrier.key.clone());
            return Err(TableError::NoKey { table, column });
        }
        let (table, key) = (quoted(&carrier.table), quoted(&carrier.key));
        let query = format!("SELECT {} FROM {table} ORDER BY {key}", select(&columns));
        let rows = db
            .prepare(&query)
            .and_then(|mut statement| {
                statement.query_map([], |row| row_of(&columns, row))?.collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(sql("read the rows"))?;
        let snapshot = Self { db, carrier: carrier.clone(), columns, types, schema, rows };
        let mut seen = HashSet::with_capacity(snapshot.rows.len());
        for row in &snapshot.rows {
            let key = snapshot.key(row);
            if !seen.insert(key.clone()) {
                return Err(TableError::NotUnique(key));
            }
        }
        Ok(snapshot)
    }

    /// A row's key as JSON text.
    pub fn key(&self, row: &Row) -> String {
        row.cell(&self.carrier.key).map(Cell::to_json).unwrap_or_default()
    }

    /// The rows as documents, one after the other.
    pub fn load(&self) -> Loaded {
        let mut loaded = Loaded { bytes: Vec::new(), parts: Vec::with_capacity(self.rows.len()) };
        for row in &self.rows {
            let start = loaded.bytes.len();
            loaded.bytes.extend_from_slice(row.to_json().as_bytes());
            let span = start..loaded.bytes.len();
            loaded.parts.push(Part { place: Place::Row(self.key(row)), span });
            loaded.bytes.push(b'\n');
        }
        loaded
    }

    /// The columns that the pack adds and the table does not have.
    pub fn missing(&self) -> Vec<AddedColumn> {
        let there = |name: &str| self.columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        self.carrier.columns.iter().filter(|column| !there(&column.name)).cloned().collect()
    }

    /// Whether all rows but some hold a column's default, so that the column can go with these.
    pub fn can_drop(&self, column: &str, but: &HashSet<String>) -> Result<bool> {
        let default = self.default(column)?;
        let plain = |row: &&Row| row.cell(column).is_none_or(|cell| *cell == default);
        Ok(self.rows.iter().filter(|row| !but.contains(&self.key(row))).all(|row| plain(&row)))
    }

    /// What a column holds where nothing else was said.
    pub fn default(&self, column: &str) -> Result<Cell> {
        let default = default_of(&self.db, &self.carrier, column)?;
        let query = format!("SELECT ({default})");
        self.db.query_row(&query, [], |row| Ok(Cell::from(row.get_ref(0)?))).map_err(sql("read a default"))
    }

    /// Makes a backup of the whole database as it was when the table was read.
    pub fn backup(&self, to: &Path) -> Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut copy = open(to, flags)?;
        let backup = rusqlite::backup::Backup::new(&self.db, &mut copy).map_err(sql("back up"))?;
        backup.run_to_completion(1024, Duration::ZERO, None).map_err(sql("back up"))
    }

    /// Makes ready to turn documents into rows.
    pub fn changer(&self) -> Result<Changer<'_>> {
        let missing = self.missing();
        let mut columns = self.columns.to_vec();
        columns.extend(missing.iter().map(|column| column.name.clone()));
        let probe = Probe::new(&self.types, &missing)?;
        Ok(Changer { snapshot: self, columns: columns.into(), probe })
    }
}

/// Turns documents into rows of a table.
pub struct Changer<'s> {
    snapshot: &'s Snapshot,
    columns: Arc<[String]>,
    probe: Probe,
}

impl Changer<'_> {
    /// The row that a document means once the missing columns are there, with the values that the
    /// columns will really hold: a column's type may turn a number into text or a text into a number.
    pub fn change(&self, at: usize, text: &[u8]) -> Result<RowChange> {
        let before = &self.snapshot.rows[at];
        let cells = Row::cells_of(text, &self.columns, self.snapshot.columns.len())
            .map_err(|source| TableError::Row { key: self.snapshot.key(before), source })?;
        let after = Row { columns: Arc::clone(&self.columns), cells: self.probe.held(before, &cells)? };
        Ok(RowChange {
            key: before.cell(&self.snapshot.carrier.key).cloned().unwrap_or(Cell::Null),
            before: Sha256::of(before.to_json().as_bytes()),
            after,
        })
    }
}

/// A table of one row in memory with the same column types, to learn what a column makes of a value.
struct Probe {
    db: Connection,
    width: usize,
}

impl Probe {
    fn new(types: &[String], missing: &[AddedColumn]) -> Result<Self> {
        let db = Connection::open_in_memory().map_err(sql("open"))?;
        let columns: Vec<String> = types.iter().enumerate().map(|(n, kind)| format!("c{n} {kind}")).collect();
        let mut make = format!("CREATE TABLE t ({});", columns.join(", "));
        let width = types.len() + missing.len();
        for (n, column) in missing.iter().enumerate() {
            make.push_str(&format!("ALTER TABLE t ADD COLUMN c{} {};", types.len() + n, column.declaration));
        }
        db.execute_batch(&make).map_err(sql("try the columns"))?;
        Ok(Self { db, width })
    }

    /// What the columns hold of these values. Untouched cells are taken over as they are: what lies in
    /// a table need not be what its column would make of it today.
    fn held(&self, before: &Row, cells: &[Option<Cell>]) -> Result<Vec<Cell>> {
        let failed = sql("try the columns");
        self.db.execute_batch("DELETE FROM t; INSERT INTO t DEFAULT VALUES").map_err(&failed)?;
        let mut held = Vec::with_capacity(self.width);
        for (at, cell) in cells.iter().enumerate() {
            if let (Some(old), Some(new)) = (before.cells.get(at), cell)
                && old.to_json() == new.to_json()
            {
                held.push(old.clone());
                continue;
            }
            if let Some(cell) = cell {
                self.db.execute(&format!("UPDATE t SET c{at} = ?1"), [cell]).map_err(&failed)?;
            }
            let read = format!("SELECT c{at} FROM t");
            let cell = self.db.query_row(&read, [], |row| Ok(Cell::from(row.get_ref(0)?)));
            held.push(cell.map_err(&failed)?);
        }
        Ok(held)
    }
}

/// One row's change.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange {
    /// The value of the key column.
    pub key: Cell,
    /// The digest of the row's document before.
    pub before: Sha256,
    /// The row afterwards.
    pub after: Row,
}

impl RowChange {
    /// The digest of the row's document afterwards.
    pub fn after_digest(&self) -> Sha256 {
        Sha256::of(self.after.to_json().as_bytes())
    }
}
