//! Which formula a derived member has in which version: names survive while meaning changes, so
//! whoever adds up members of several versions asks here first.

use super::error::{PackError, PackErrorKind};
use super::pack::Pack;
use super::reader::{Placed, Table};
use super::step::Op;
use crate::base::json::{Pointer, PointerPattern};

/// A member that is derived by a formula in some versions.
#[derive(Debug, Clone)]
pub(super) struct Derived {
    pub path: PointerPattern,
    pub formula: String,
    /// Versions, or shapes written `version/variant`.
    pub versions: Vec<Placed<String>>,
}

pub(super) fn read_derived(root: &Table<'_, '_>) -> Result<Vec<Derived>, PackError> {
    let one = |table: &Table<'_, '_>| {
        let path = table.need_pattern("path")?;
        let formula = table.need_text("formula")?.value;
        let versions = table.texts("version")?;
        if versions.is_empty() {
            return Err(table.error(PackErrorKind::MissingKey { key: "version" }));
        }
        table.finish()?;
        Ok(Derived { path, formula, versions })
    };
    root.tables("derived")?.iter().map(one).collect()
}

impl Pack {
    /// The formula that a member has in documents of a shape, written `version` or
    /// `version/variant`: what `[[derived]]` says, else what a migration to the shape computes.
    pub fn formula_of(&self, shape: &str, at: &Pointer) -> Option<&str> {
        let version = self.version_of(shape);
        let names = |name: &str| name == shape || name == version;
        let stated = self
            .derived
            .iter()
            .find(|d| d.path.matches(at) && d.versions.iter().any(|name| names(&name.value)))
            .map(|derived| derived.formula.as_str());
        let computed = || {
            let arriving = self.migrations.iter().filter(|migration| names(&migration.to));
            arriving.flat_map(|migration| &migration.steps).find_map(|step| match &step.op {
                Op::Compute { formula, .. } if step.path.matches(at) => Some(formula.as_str()),
                _ => None,
            })
        };
        stated.or_else(computed)
    }

    /// Refuses formulas that contradict each other.
    pub(super) fn check_formulas(&self, root: &Table<'_, '_>) -> Result<(), PackError> {
        let clash = |at: usize, path: &PointerPattern, name: &str, one: &str, other: &str| {
            let path = path.to_string().into();
            let kind =
                PackErrorKind::Formulas { path, version: name.into(), one: one.into(), other: other.into() };
            Err(root.source.error(at, kind))
        };
        for (i, derived) in self.derived.iter().enumerate() {
            for name in &derived.versions {
                let earlier = self.derived[..i].iter().find(|other| {
                    other.path == derived.path && other.versions.iter().any(|n| n.value == name.value)
                });
                if let Some(other) = earlier.filter(|other| other.formula != derived.formula) {
                    return clash(name.at, &derived.path, &name.value, &other.formula, &derived.formula);
                }
                let computing = self.migrations.iter().filter(|m| m.to == name.value).flat_map(|m| &m.steps);
                for step in computing.filter(|step| step.path == derived.path) {
                    if let Op::Compute { formula, .. } = &step.op
                        && *formula != derived.formula
                    {
                        return clash(name.at, &derived.path, &name.value, formula, &derived.formula);
                    }
                }
            }
        }
        Ok(())
    }
}
