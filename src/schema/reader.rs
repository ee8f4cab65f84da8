//! Reading `pack.toml`: tables whose every value knows its place, and whose every key must be known.

use std::cell::RefCell;
use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{PackError, PackErrorKind};
use crate::base::json::{self, Json, Pointer, PointerPattern};

type Result<T> = std::result::Result<T, PackError>;

/// The file being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'s> {
    pub file: &'s str,
    pub text: &'s str,
    /// All files of the pack, by their names.
    pub files: &'s std::collections::BTreeMap<String, Vec<u8>>,
}

impl Source<'_> {
    pub fn error(&self, byte: usize, kind: PackErrorKind) -> PackError {
        PackError::at(self.file, self.text, byte, kind)
    }
}

impl Source<'_> {
    /// The byte of the file at which byte `offset` of a string's value stands, given the string's
    /// own place: its quotes and escapes take more room in the file than in the value.
    pub fn within(&self, string_at: usize, offset: usize) -> usize {
        let raw = self.text.get(string_at..).unwrap_or("");
        let open = ["\"\"\"\r\n", "\"\"\"\n", "\"\"\"", "'''\r\n", "'''\n", "'''", "\"", "'"]
            .into_iter()
            .find(|open| raw.starts_with(open))
            .unwrap_or("");
        let mut at = open.len();
        let mut value = 0;
        while let Some(c) = raw[at..].chars().next() {
            let (used, gives) = match c {
                '\\' if open.starts_with('"') => escape(&raw[at..]),
                c => (c.len_utf8(), c.len_utf8()),
            };
            // What gives nothing stands before the byte that is looked for.
            if value >= offset && gives > 0 {
                break;
            }
            at += used;
            value += gives;
        }
        string_at + at
    }
}

/// How many bytes an escape of a TOML string takes in the file, and how many its value has.
fn escape(raw: &str) -> (usize, usize) {
    let hex = |digits: usize| {
        let code = raw.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        (2 + digits, code.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    match raw.as_bytes().get(1) {
        Some(b'u') => hex(4),
        Some(b'U') => hex(8),
        Some(b'x') => hex(2),
        // A line end that is escaped takes the space after it along.
        Some(b' ' | b'\t' | b'\r' | b'\n') => {
            (1 + raw[1..].len() - raw[1..].trim_start_matches([' ', '\t', '\r', '\n']).len(), 0)
        }
        Some(_) => (2, 1),
        None => (1, 1),
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub at: usize,
    pub value: T,
}

/// A table; it remembers which keys were asked for, so that [`Table::finish`] finds the others.
pub(super) struct Table<'s, 't> {
    pub source: Source<'s>,
    pub at: usize,
    table: &'t DeTable<'t>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'s, 't> Table<'s, 't> {
    pub fn new(source: Source<'s>, at: usize, table: &'t DeTable<'t>) -> Self {
        Self { source, at, table, asked: RefCell::default() }
    }

    pub fn error(&self, kind: PackErrorKind) -> PackError {
        self.source.error(self.at, kind)
    }

    fn raw(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().insert(key);
        self.table.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &'static str) -> PackError {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.source
            .error(value.span().start, PackErrorKind::WrongType { key: key.to_owned(), expected, found })
    }

    pub fn bad(&self, key: &str, found: &Placed<String>, expected: &'static str) -> PackError {
        let kind = PackErrorKind::BadValue { key: key.to_owned(), found: found.value.clone(), expected };
        self.source.error(found.at, kind)
    }

    fn missing(&self, key: &'static str) -> PackError {
        self.error(PackErrorKind::MissingKey { key })
    }

    pub fn text(&self, key: &'static str) -> Result<Option<Placed<String>>> {
        match self.raw(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::String(text) => {
                    Ok(Some(Placed { at: value.span().start, value: text.clone().into_owned() }))
                }
                _ => Err(self.wrong(key, value, "a string")),
            },
        }
    }

    pub fn need_text(&self, key: &'static str) -> Result<Placed<String>> {
        let text = self.text(key)?.ok_or_else(|| self.missing(key))?;
        if text.value.is_empty() {
            return Err(self.bad(key, &text, "it must not be empty"));
        }
        Ok(text)
    }

    /// A string, or an array of strings.
    pub fn texts(&self, key: &'static str) -> Result<Vec<Placed<String>>> {
        let Some(value) = self.raw(key) else { return Ok(Vec::new()) };
        let one = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::String(text) => Ok(Placed { at: value.span().start, value: text.clone().into_owned() }),
            _ => Err(self.wrong(key, value, "a string or an array of strings")),
        };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().map(one).collect(),
            _ => Ok(vec![one(value)?]),
        }
    }

    pub fn flag(&self, key: &'static str) -> Result<bool> {
        match self.raw(key) {
            None => Ok(false),
            Some(value) => match value.get_ref() {
                DeValue::Boolean(flag) => Ok(*flag),
                _ => Err(self.wrong(key, value, "true or false")),
            },
        }
    }

    /// A whole number from 0 to `most`.
    pub fn count(&self, key: &'static str, most: u32) -> Result<Option<u32>> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        let count = match value.get_ref() {
            DeValue::Integer(n) => u32::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        match count.filter(|count| *count <= most) {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong(key, value, "a whole number within bounds")),
        }
    }

    /// A whole number or one with a fraction, as binary64.
    pub fn number(&self, key: &'static str) -> Result<Option<f64>> {
        match self.raw(key) {
            None => Ok(None),
            Some(value) => match self.to_json(key, value)? {
                Json::Number(text) => Ok(text.parse().ok()),
                _ => Err(self.wrong(key, value, "a number")),
            },
        }
    }

    pub fn pointer(&self, key: &'static str) -> Result<Option<Pointer>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let pointer =
            text.value.parse().map_err(|e| self.source.error(text.at, PackErrorKind::Pointer(e)))?;
        Ok(Some(pointer))
    }

    pub fn need_pointer(&self, key: &'static str) -> Result<Pointer> {
        self.pointer(key)?.ok_or_else(|| self.missing(key))
    }

    fn parse_pattern(&self, text: &Placed<String>) -> Result<PointerPattern> {
        text.value.parse().map_err(|e| self.source.error(text.at, PackErrorKind::Pointer(e)))
    }

    pub fn pattern(&self, key: &'static str) -> Result<Option<PointerPattern>> {
        self.text(key)?.map(|text| self.parse_pattern(&text)).transpose()
    }

    pub fn need_pattern(&self, key: &'static str) -> Result<PointerPattern> {
        self.pattern(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn patterns(&self, key: &'static str) -> Result<Vec<PointerPattern>> {
        self.texts(key)?.iter().map(|text| self.parse_pattern(text)).collect()
    }

    pub fn table(&self, key: &'static str) -> Result<Option<Table<'s, 't>>> {
        match self.raw(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Ok(Some(Table::new(self.source, value.span().start, table))),
                _ => Err(self.wrong(key, value, "a table")),
            },
        }
    }

    pub fn need_table(&self, key: &'static str) -> Result<Table<'s, 't>> {
        self.table(key)?.ok_or_else(|| self.missing(key))
    }

    /// An array of tables; empty where the key is absent.
    pub fn tables(&self, key: &'static str) -> Result<Vec<Table<'s, 't>>> {
        let Some(value) = self.raw(key) else { return Ok(Vec::new()) };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.wrong(key, value, "an array of tables"));
        };
        items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::Table(table) => Ok(Table::new(self.source, item.span().start, table)),
                _ => Err(self.wrong(key, item, "a table")),
            })
            .collect()
    }

    /// All entries of a table whose keys are the author's own, in the order they are written.
    pub fn entries(&self) -> Result<Vec<(Placed<String>, Json)>> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| {
                let name = key.get_ref().clone().into_owned();
                let value = self.to_json(&name, value)?;
                Ok((Placed { at: key.span().start, value: name }, value))
            })
            .collect()
    }

    /// A value under `key`, as TOML, or under `json_key`, as a JSON text (which has `null`).
    pub fn value(&self, key: &'static str, json_key: &'static str) -> Result<Option<Json>> {
        match (self.raw(key), self.text(json_key)?) {
            (Some(value), None) => self.to_json(key, value).map(Some),
            (None, Some(text)) => match json::scan(text.value.as_bytes()) {
                Ok(doc) => Ok(Some(Json::from(doc.root()))),
                Err(error) => {
                    let kind = PackErrorKind::JsonText { key: json_key.to_owned(), problem: error.kind };
                    Err(self.source.error(text.at, kind))
                }
            },
            (None, None) => Ok(None),
            (Some(_), Some(text)) => Err(self.bad(json_key, &text, "the value is given twice")),
        }
    }

    fn to_json(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Json> {
        Ok(match value.get_ref() {
            DeValue::String(text) => Json::String(text.clone().into_owned()),
            DeValue::Boolean(flag) => Json::Bool(*flag),
            DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
                Ok(n) => Json::Number(n.to_string()),
                Err(_) => return Err(self.wrong(key, value, "an integer of 64 bits, or JSON text")),
            },
            // Only spellings that JSON has too: the number is written as it is spelled here.
            DeValue::Float(n) => match json::scan(n.as_str().as_bytes()) {
                Ok(_) => Json::Number(n.as_str().to_owned()),
                Err(_) => return Err(self.wrong(key, value, "a number that JSON has")),
            },
            DeValue::Datetime(_) => {
                return Err(self.wrong(key, value, "a value that JSON has; put a time in quotes"));
            }
            DeValue::Array(items) => {
                Json::Array(items.iter().map(|item| self.to_json(key, item)).collect::<Result<_>>()?)
            }
            DeValue::Table(table) => {
                let entries = Table::new(self.source, value.span().start, table).entries()?;
                Json::Object(entries.into_iter().map(|(key, value)| (key.value, value)).collect())
            }
        })
    }

    /// Refuses keys that nobody asked for.
    pub fn finish(&self) -> Result<()> {
        let asked = self.asked.borrow();
        let mut unknown: Vec<_> =
            self.table.keys().filter(|key| !asked.contains(key.get_ref().as_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        match unknown.first() {
            None => Ok(()),
            Some(key) => Err(self.source.error(
                key.span().start,
                PackErrorKind::UnknownKey {
                    key: key.get_ref().clone().into_owned(),
                    known: asked.iter().copied().collect(),
                },
            )),
        }
    }
}
