//! What a pack says of the carriers of its documents: in which table of a SQLite database they are
//! rows, and which columns a migration may add to it.

use serde_json::{Value, json};

use super::error::PackError;
use super::pack::Pack;
use super::reader::Table;

/// A kind of carrier: where documents live outside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarrierKind {
    /// A file that is one document.
    Json,
    /// A file with one document per line.
    Lines,
    /// A table of a SQLite database.
    Sqlite,
}

/// The table whose rows are documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteCarrier {
    /// Its name.
    pub table: String,
    /// The column that names a row.
    pub key: String,
    /// Columns that a migration adds where they are missing, in this order.
    pub columns: Vec<AddedColumn>,
}

/// A column that a migration adds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedColumn {
    /// Its name.
    pub name: String,
    /// What follows the name in `ALTER TABLE … ADD COLUMN`: `TEXT DEFAULT '1.0.0'`.
    pub declaration: String,
}

/// Reads `[carrier.sqlite]`.
pub(super) fn read(root: &Table<'_, '_>) -> Result<Option<SqliteCarrier>, PackError> {
    let Some(carrier) = root.table("carrier")? else { return Ok(None) };
    let Some(sqlite) = carrier.table("sqlite")? else { return carrier.finish().map(|()| None) };
    let (table, key) = (sqlite.need_text("table")?.value, sqlite.need_text("key")?.value);
    let mut columns = Vec::new();
    for column in sqlite.tables("column")? {
        let name = column.need_text("name")?.value;
        let text = column.need_text("declaration")?;
        if text.value.contains([';', '\0']) || text.value.contains("--") || text.value.contains("/*") {
            let wanted = "it is one type with its constraints, as in \"TEXT DEFAULT ''\"";
            return Err(column.bad("declaration", &text, wanted));
        }
        column.finish()?;
        columns.push(AddedColumn { name, declaration: text.value });
    }
    sqlite.finish()?;
    carrier.finish()?;
    Ok(Some(SqliteCarrier { table, key, columns }))
}

impl SqliteCarrier {
    /// What it adds to the pack's identity.
    pub(super) fn compiled(&self) -> Value {
        json!({"table": self.table, "key": self.key, "columns": self.columns})
    }
}

impl Pack {
    /// The table whose rows are documents of the pack, if it names one.
    pub fn sqlite_carrier(&self) -> Option<&SqliteCarrier> {
        self.sqlite.as_ref()
    }
}
