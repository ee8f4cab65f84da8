//! Changing a table in one immediate transaction that checks before and after.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{Result, RowChange, TableError, default_of, open, quoted, row_of, select, shape, sql};
use crate::base::digest::Sha256;
use crate::carrier::row::{Cell, Row};
use crate::schema::{AddedColumn, SqliteCarrier};

/// What one transaction does to a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableChange {
    /// Columns to add.
    pub add: Vec<AddedColumn>,
    /// Columns to take away again.
    pub drop: Vec<AddedColumn>,
    /// Rows to change.
    pub rows: Vec<RowChange>,
}

/// What the rows of a plan hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All are as before.
    Before,
    /// All are as after.
    After,
    /// Neither.
    Foreign,
}

/// A database open for a change.
pub struct Writer {
    db: Connection,
    path: PathBuf,
    carrier: SqliteCarrier,
}

impl Writer {
    /// Opens a database that is there. A transaction is durable once it ended: without EXTRA a power loss could
    /// bring back the journal whose removal ended it, and undo what the log says was done.
    pub fn open(path: &Path, carrier: &SqliteCarrier) -> Result<Self> {
        let db = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.execute_batch("PRAGMA synchronous = EXTRA").map_err(sql("open"))?;
        Ok(Self { db, path: path.to_owned(), carrier: carrier.clone() })
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a change, all of it or nothing. `name_journal` is called when no other writer can be at work and
    /// nothing is written yet, if there is to be a rollback journal, and says whether its name is durable: SQLite
    /// itself goes on where it is not.
    pub fn change(&mut self, change: &TableChange, name_journal: impl FnOnce() -> bool) -> Result<()> {
        let begin = sql("begin");
        let carrier = &self.carrier;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(begin)?;
        may_change(&transaction, carrier, change)?;
        let mode = transaction.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0));
        let rolls_back = matches!(mode.map_err(sql("ask"))?.as_str(), "delete" | "truncate" | "persist");
        if rolls_back && !name_journal() {
            return Err(TableError::Journal);
        }
        change_rows(&transaction, carrier, change)?;
        transaction.commit().map_err(sql("commit"))
    }

    /// The digest of a row's document now; `None` if there is no such row.
    pub fn digest_of(&self, key: &Cell) -> Result<Option<Sha256>> {
        digest_of(&self.db, &self.carrier, key)
    }

    /// Compares rows with what they were before and after.
    pub fn state(&self, rows: &[(Cell, Sha256, Sha256)]) -> Result<State> {
        // In WAL mode, what is read here may be a commit that was not flushed before its process was stopped.
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(sql("flush"))?;
        let (mut before, mut after) = (true, true);
        for (key, old, new) in rows {
            let found = self.digest_of(key)?;
            before &= found == Some(*old);
            after &= found == Some(*new);
        }
        Ok(match (before, after) {
            (_, true) => State::After,
            (true, false) => State::Before,
            _ => State::Foreign,
        })
    }
}

/// Whether the rows are what the change was planned from, and nothing else would come of it.
fn may_change(db: &Connection, carrier: &SqliteCarrier, change: &TableChange) -> Result<()> {
    let triggers =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE";
    let triggers: i64 =
        db.query_row(triggers, [&carrier.table], |row| row.get(0)).map_err(sql("read the schema"))?;
    if triggers > 0 {
        return Err(TableError::Triggers(carrier.table.clone()));
    }
    for row in &change.rows {
        if digest_of(db, carrier, &row.key)? != Some(row.before) {
            return Err(TableError::Changed(row.key.to_json()));
        }
    }
    Ok(())
}

/// Changes columns and rows, which then are what was planned.
fn change_rows(db: &Connection, carrier: &SqliteCarrier, change: &TableChange) -> Result<()> {
    let table = quoted(&carrier.table);
    for column in &change.add {
        // Spelled as in a statement written by hand where that can mean nothing else: no keyword but
        // CURRENT_DATE and its like has an underscore.
        let plain = !column.name.is_empty()
            && !column.name.starts_with(|c: char| c.is_ascii_digit())
            && column.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && column.name.contains('_')
            && !column.name.starts_with("current_");
        let name = if plain { column.name.clone() } else { quoted(&column.name) };
        let add = format!("ALTER TABLE {table} ADD COLUMN {name} {}", column.declaration);
        db.execute(&add, []).map_err(sql("add a column"))?;
    }
    for row in &change.rows {
        update(db, carrier, row)?;
    }
    for column in &change.drop {
        reset(db, carrier, &column.name, &change.rows)?;
        drop_column(db, carrier, &column.name)?;
    }
    for row in &change.rows {
        if digest_of(db, carrier, &row.key)? != Some(row.after_digest()) {
            return Err(TableError::Differs(row.key.to_json()));
        }
    }
    Ok(())
}

fn read_row(db: &Connection, carrier: &SqliteCarrier, key: &Cell) -> Result<Option<Row>> {
    let (columns, _, _) = shape(db, &carrier.table)?;
    let (table, column) = (quoted(&carrier.table), quoted(&carrier.key));
    let query = format!("SELECT {} FROM {table} WHERE {column} IS ?1", select(&columns));
    let failed = sql("read a row");
    let mut statement = db.prepare_cached(&query).map_err(&failed)?;
    let mut rows = statement.query([key]).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else { return Ok(None) };
    let row = row_of(&columns, row).map_err(&failed)?;
    match rows.next().map_err(&failed)? {
        Some(_) => Err(TableError::NotUnique(key.to_json())),
        None => Ok(Some(row)),
    }
}

fn digest_of(db: &Connection, carrier: &SqliteCarrier, key: &Cell) -> Result<Option<Sha256>> {
    Ok(read_row(db, carrier, key)?.map(|row| Sha256::of(row.to_json().as_bytes())))
}

/// Sets the cells that differ, and no others.
fn update(db: &Connection, carrier: &SqliteCarrier, change: &RowChange) -> Result<()> {
    let gone = || TableError::Changed(change.key.to_json());
    let before = read_row(db, carrier, &change.key)?.ok_or_else(gone)?;
    let mut sets = Vec::new();
    let mut values: Vec<&Cell> = vec![&change.key];
    for (name, new) in change.after.columns.iter().zip(&change.after.cells) {
        if before.cell(name).is_none_or(|old| old.to_json() != new.to_json()) {
            values.push(new);
            sets.push(format!("{} = ?{}", quoted(name), values.len()));
        }
    }
    if sets.is_empty() {
        return Ok(());
    }
    let (table, key) = (quoted(&carrier.table), quoted(&carrier.key));
    let update = format!("UPDATE {table} SET {} WHERE {key} IS ?1", sets.join(", "));
    let mut statement = db.prepare_cached(&update).map_err(sql("change a row"))?;
    match statement.execute(rusqlite::params_from_iter(values)) {
        Ok(1) => Ok(()),
        Ok(_) => Err(TableError::Changed(change.key.to_json())),
        Err(error) => Err(sql("change a row")(error)),
    }
}

/// Puts the default into a column that is to go, in the rows that go back.
fn reset(db: &Connection, carrier: &SqliteCarrier, name: &str, rows: &[RowChange]) -> Result<()> {
    let (table, key, column) = (quoted(&carrier.table), quoted(&carrier.key), quoted(name));
    let default = default_of(db, carrier, name)?;
    let reset = format!("UPDATE {table} SET {column} = ({default}) WHERE {key} IS ?1");
    for row in rows {
        db.execute(&reset, [&row.key]).map_err(sql("change a row"))?;
    }
    Ok(())
}

/// Takes a column away, unless some row holds more than its default in it.
fn drop_column(db: &Connection, carrier: &SqliteCarrier, name: &str) -> Result<()> {
    let (table, column) = (quoted(&carrier.table), quoted(name));
    let default = default_of(db, carrier, name)?;
    let used = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} IS NOT ({default}))");
    let used: bool = db.query_row(&used, [], |row| row.get(0)).map_err(sql("read the rows"))?;
    if used {
        return Err(TableError::ColumnUsed(name.to_owned()));
    }
    db.execute(&format!("ALTER TABLE {table} DROP COLUMN {column}"), [])
        .map(|_| ())
        .map_err(sql("take a column away"))
}
