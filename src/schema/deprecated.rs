//! Members that go: since which version, what to use instead, and for how many releases they stay.

use super::error::{PackError, PackErrorKind};
use super::pack::{Order, Pack};
use super::reader::{Placed, Table};
use crate::base::json::{Doc, Pointer, PointerPattern};

/// Releases after the first that keep a deprecated member, unless the pack says otherwise.
const GRACE: u32 = 2;
const MOST_GRACE: u32 = 1000;

#[derive(Debug, Clone)]
pub(super) struct Deprecated {
    pub path: PointerPattern,
    pub since: Placed<String>,
    pub instead: String,
    pub goes: Goes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goes {
    /// In the named version, which the pack need not have yet.
    In(String),
    /// This many releases after the first in which it is deprecated still have it.
    After(u32),
}

/// A deprecated member that a document uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// The member.
    pub place: Pointer,
    /// The version from which on it is deprecated.
    pub since: String,
    /// What to use instead.
    pub instead: String,
    /// How many releases after the document's own still have it.
    pub remaining: u32,
}

pub(super) fn read_deprecated(root: &Table<'_, '_>) -> Result<Vec<Deprecated>, PackError> {
    let one = |table: &Table<'_, '_>| {
        let goes = match (table.text("goes_in")?, table.count("grace", MOST_GRACE)?) {
            (Some(version), None) => Goes::In(version.value),
            (None, grace) => Goes::After(grace.unwrap_or(GRACE)),
            (Some(_), Some(_)) => {
                return Err(table.error(PackErrorKind::OneOf { keys: &["goes_in", "grace"] }));
            }
        };
        let deprecated = Deprecated {
            path: table.need_pattern("path")?,
            since: table.need_text("since")?,
            instead: table.need_text("use")?.value,
            goes,
        };
        table.finish()?;
        Ok(deprecated)
    };
    root.tables("deprecated")?.iter().map(one).collect()
}

impl Pack {
    /// The versions as releases, the earliest first: by precedence where the pack has semantic
    /// versions, else in the pack's order.
    fn releases(&self) -> Vec<&str> {
        let mut versions = self.versions();
        if self.order == Order::Semver {
            versions.sort_by(|a, b| match (semver::Version::parse(a), semver::Version::parse(b)) {
                (Ok(a), Ok(b)) => a.cmp_precedence(&b),
                _ => std::cmp::Ordering::Equal,
            });
        }
        versions
    }

    /// Whether any member is deprecated: without one there is no need to look.
    pub fn deprecates(&self) -> bool {
        !self.deprecated.is_empty()
    }

    /// The deprecated members that a document of a shape, written `version` or `version/variant`,
    /// uses, in the pack's order.
    pub fn deprecations(&self, doc: &Doc<'_>, shape: &str) -> Vec<Deprecation> {
        if !self.deprecates() {
            return Vec::new();
        }
        let releases = self.releases();
        let number = |version: &str| releases.iter().position(|release| *release == version);
        let Some(own) = number(self.version_of(shape)) else { return Vec::new() };
        let mut out = Vec::new();
        for deprecated in &self.deprecated {
            let Some(since) = number(&deprecated.since.value).filter(|since| *since <= own) else { continue };
            let goes = match &deprecated.goes {
                Goes::After(grace) => since + *grace as usize + 1,
                // A version that the pack does not have comes after those that it has.
                Goes::In(version) => number(version).unwrap_or(releases.len()),
            };
            let remaining = u32::try_from(goes.saturating_sub(own + 1)).unwrap_or(u32::MAX);
            out.extend(deprecated.path.nodes(doc).into_iter().map(|node| Deprecation {
                place: node.pointer(),
                since: deprecated.since.value.clone(),
                instead: deprecated.instead.clone(),
                remaining,
            }));
        }
        out
    }
}
