//! Where things stand in `pack.toml`, so that a finding can point there.

use toml::de::{DeTable, DeValue};

use crate::schema::error::{PackError, PackErrorKind};
use crate::schema::pack::PACK_FILE;

/// A line and a column of the pack's file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column in characters.
    pub column: u32,
}

/// The tables of a pack's file that findings are about.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub shapes: Vec<Place>,
    pub migrations: Vec<Place>,
    /// For each migration, its steps.
    pub steps: Vec<Vec<Place>>,
}

impl Places {
    /// Reads the places off a text that was read as a pack before.
    pub fn of(text: &str) -> Self {
        let Ok(root) = DeTable::parse(text) else { return Self::default() };
        let place = |byte: usize| {
            let error = PackError::at(PACK_FILE, text, byte, PackErrorKind::MissingFile);
            Place { line: error.line, column: error.column }
        };
        let tables = |table: &DeTable<'_>, key: &str| -> Vec<(Place, Vec<Place>)> {
            let Some(DeValue::Array(items)) = table.get(key).map(|value| value.get_ref()) else {
                return Vec::new();
            };
            items
                .iter()
                .map(|item| {
                    let steps = match item.get_ref() {
                        DeValue::Table(table) => match table.get("step").map(|value| value.get_ref()) {
                            Some(DeValue::Array(steps)) => {
                                steps.iter().map(|step| place(step.span().start)).collect()
                            }
                            _ => Vec::new(),
                        },
                        _ => Vec::new(),
                    };
                    (place(item.span().start), steps)
                })
                .collect()
        };
        let (migrations, steps) = tables(root.get_ref(), "migration").into_iter().unzip();
        let shapes = tables(root.get_ref(), "shape").into_iter().map(|(place, _)| place).collect();
        Self { shapes, migrations, steps }
    }
}
