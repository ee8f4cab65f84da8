//! A row of a table as a JSON document, and back: an object with the columns in table order. What
//! JSON has no spelling for is an object with one member: `{"$blob": hex}`, `{"$real": "inf"}`, and
//! `{"$text": hex}` for text that is not UTF-8. Reals always have a point or an exponent, so that
//! every value reads back as exactly what it was.

use std::sync::Arc;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::base::digest::hex;
use crate::base::json::{self, Kind, Node, quote};

/// A value with SQLite's own types.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A real number; never NaN, which SQLite keeps as NULL.
    Real(f64),
    /// Text, of whatever bytes.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Cell {
    /// As JSON text.
    pub fn to_json(&self) -> String {
        let tagged = |tag: &str, text: &str| format!("{{\"{tag}\": \"{text}\"}}");
        match self {
            Self::Null => "null".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) if number.is_finite() => format!("{number:?}"),
            Self::Real(number) => tagged("$real", if *number > 0.0 { "inf" } else { "-inf" }),
            Self::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => quote(text),
                Err(_) => tagged("$text", &hex(bytes)),
            },
            Self::Blob(bytes) => tagged("$blob", &hex(bytes)),
        }
    }

    /// The value that a JSON value means; `None` if a table cannot hold it.
    pub fn of_json(node: &Node<'_>) -> Option<Self> {
        Some(match node.kind() {
            Kind::Null => Self::Null,
            Kind::Bool(truth) => Self::Integer(i64::from(truth)),
            Kind::String => Self::Text(node.as_str()?.into_owned().into_bytes()),
            Kind::Number => {
                let raw = node.raw();
                if raw.contains(['.', 'e', 'E']) {
                    Self::Real(raw.parse().ok()?)
                } else {
                    Self::Integer(raw.parse().ok()?)
                }
            }
            Kind::Array => return None,
            Kind::Object => {
                let member = node.members().next().filter(|_| node.len() == 1)?;
                let text = member.value().as_str()?;
                match member.key().as_ref() {
                    "$blob" => Self::Blob(unhex(&text)?),
                    "$text" => Self::Text(unhex(&text)?),
                    "$real" => Self::Real(match text.as_ref() {
                        "inf" => f64::INFINITY,
                        "-inf" => f64::NEG_INFINITY,
                        _ => return None,
                    }),
                    _ => return None,
                }
            }
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Why a document cannot be a row of the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member without a column.
    #[error("the table has no column {0:?}, and the pack adds none of that name")]
    NoColumn(String),
    /// A column without a member.
    #[error("the column {0:?} is missing: a migration cannot take a column from one row")]
    Removed(String),
    /// A value that no cell holds.
    #[error("the column {0:?} cannot hold that value: it is an array, an object or too large an integer")]
    NoCell(String),
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The columns' names, in table order.
    pub columns: Arc<[String]>,
    /// Their values.
    pub cells: Vec<Cell>,
}

impl Row {
    /// As a JSON document.
    pub fn to_json(&self) -> String {
        let members = self.columns.iter().zip(&self.cells);
        let members: Vec<String> =
            members.map(|(name, cell)| format!("{}: {}", quote(name), cell.to_json())).collect();
        format!("{{{}}}", members.join(", "))
    }

    /// The value of a column.
    pub fn cell(&self, column: &str) -> Option<&Cell> {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.cells.get(at)
    }

    /// The row that its own JSON text says.
    pub fn of_json(text: &str) -> Option<Self> {
        let doc = json::scan(text.as_bytes()).ok()?;
        let columns: Arc<[String]> = doc.root().members().map(|m| m.key().into_owned()).collect();
        let cells = doc.root().members().map(|member| Cell::of_json(&member.value()));
        Some(Self { columns, cells: cells.collect::<Option<_>>()? })
    }

    /// The row that a document means: each member a column and each of the first `present` columns a
    /// member. Columns that come later and have no member are `None`.
    pub fn cells_of(text: &[u8], columns: &[String], present: usize) -> Result<Vec<Option<Cell>>, RowError> {
        let doc = json::scan(text).map_err(|_| RowError::NotAnObject)?;
        if doc.root().kind() != Kind::Object {
            return Err(RowError::NotAnObject);
        }
        let mut cells: Vec<Option<Cell>> = vec![None; columns.len()];
        for member in doc.root().members() {
            let name = member.key();
            let at = columns.iter().position(|column| *column == name);
            let at = at.ok_or_else(|| RowError::NoColumn(name.clone().into_owned()))?;
            let cell = Cell::of_json(&member.value()).ok_or_else(|| RowError::NoCell(name.into_owned()))?;
            cells[at] = Some(cell);
        }
        match cells[..present].iter().position(Option::is_none) {
            Some(at) => Err(RowError::Removed(columns[at].clone())),
            None => Ok(cells),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_cell() -> impl Strategy<Value = Cell> {
        prop_oneof![
            Just(Cell::Null),
            any::<i64>().prop_map(Cell::Integer),
            any::<f64>().prop_filter("SQLite has no NaN", |x| !x.is_nan()).prop_map(Cell::Real),
            Just(Cell::Real(f64::NEG_INFINITY)),
            any::<String>().prop_map(|text| Cell::Text(text.into_bytes())),
            any::<Vec<u8>>().prop_map(Cell::Text),
            any::<Vec<u8>>().prop_map(Cell::Blob),
        ]
    }

    proptest! {
        #[test]
        fn prop_row_as_json_reads_back_as_itself(cells in proptest::collection::vec(any_cell(), 1..6)) {
            let columns: Arc<[String]> = (0..cells.len()).map(|n| format!("c{n}")).collect();
            let row = Row { columns: columns.clone(), cells };
            let text = row.to_json();
            let back = Row::cells_of(text.as_bytes(), &columns, columns.len()).unwrap();
            let back = Row { columns, cells: back.into_iter().map(Option::unwrap).collect() };
            prop_assert_eq!(back.to_json(), text);
            prop_assert_eq!(back, row);
        }
    }

    #[test]
    fn document_that_is_no_row_is_refused_by_the_column() {
        let columns = ["a".to_owned(), "b".to_owned()];
        let cells = |text: &str| Row::cells_of(text.as_bytes(), &columns, 1);
        assert_eq!(cells("{\"a\":1}").unwrap(), [Some(Cell::Integer(1)), None]);
        assert_eq!(cells("{\"b\":1}"), Err(RowError::Removed("a".to_owned())));
        assert_eq!(cells("{\"a\":1,\"c\":1}"), Err(RowError::NoColumn("c".to_owned())));
        assert_eq!(cells("{\"a\":[1]}"), Err(RowError::NoCell("a".to_owned())));
        assert_eq!(cells("{\"a\":{\"$real\":\"nan\"}}"), Err(RowError::NoCell("a".to_owned())));
        assert_eq!(cells("[]"), Err(RowError::NotAnObject));
    }
}
