//! Other kinds of document that lie among those of a pack: told by name and passed through.
//!
//! In `pack.toml`: `[[foreign]]` with `kind` (what it is, in words) and `when` (conditions). What a
//! rule tells is never migrated and never an error; the first rule that holds decides.

use serde_json::{Value, json};

use super::condition::Condition;
use super::error::{PackError, PackErrorKind};
use super::reader::Table;

/// A rule that tells documents of another kind.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    pub kind: String,
    pub when: Vec<Condition>,
}

impl Foreign {
    pub fn read_all(root: &Table<'_, '_>) -> Result<Vec<Self>, PackError> {
        let mut all = Vec::new();
        for table in root.tables("foreign")? {
            let kind = table.need_text("kind")?.value;
            let when = Condition::read_all(&table.tables("when")?)?;
            // A rule without a condition would tell every document away.
            if when.is_empty() {
                return Err(table.error(PackErrorKind::MissingKey { key: "when" }));
            }
            table.finish()?;
            all.push(Self { kind, when });
        }
        Ok(all)
    }

    /// The rule as part of what identifies a pack.
    pub fn compiled(&self) -> Value {
        json!([self.kind, self.when.iter().map(Condition::compiled).collect::<Vec<_>>()])
    }
}
