//! Ends: shapes from which no way leads to the head, stated on purpose and with a reason.
//!
//! Without an `[[end]]` a shape that does not reach the head is a gap in the pack. With one it is
//! either the end of a line of its own, at which documents are current, or stuck: refused with the
//! pack's reason.

use super::error::{PackError, PackErrorKind};
use super::graph::MigrationRef;
use super::pack::Pack;
use super::reader::Table;

/// A shape, or all shapes of a version, that does not lead to the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The version, or the shape, written `version/variant`.
    pub version: String,
    /// Why no way leads on.
    pub reason: String,
    /// Whether documents there are refused, and not current.
    pub stuck: bool,
}

/// Where a document of some shape goes when it is not told where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination<'p> {
    /// To the head, by these migrations; none where it is there already.
    Head(Vec<MigrationRef<'p>>),
    /// To the end of its own line, by these migrations.
    End(&'p End, Vec<MigrationRef<'p>>),
    /// Nowhere, for the reason of this end.
    Stuck(&'p End),
    /// Nowhere, and the pack does not say why.
    Nowhere,
}

/// A destination with the numbers of its migrations.
pub(super) enum Way<'p> {
    Head(Vec<usize>),
    End(&'p End, Vec<usize>),
    Stuck(&'p End),
    Nowhere,
}

/// Reads the ends and their places in the pack's file; whether they are ends is seen later.
pub(super) fn read_ends(root: &Table<'_, '_>) -> Result<Vec<(usize, End)>, PackError> {
    let mut ends: Vec<(usize, End)> = Vec::new();
    for table in root.tables("end")? {
        let version = table.need_text("version")?;
        let reason = table.need_text("reason")?.value;
        let stuck = table.flag("stuck")?;
        table.finish()?;
        if ends.iter().any(|(_, other)| other.version == version.value) {
            let kind = PackErrorKind::Twice { what: "end", name: version.value };
            return Err(root.source.error(version.at, kind));
        }
        ends.push((version.at, End { version: version.value, reason, stuck }));
    }
    Ok(ends)
}

impl Pack {
    /// The ends that the pack states.
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// Where documents of a shape, written `version` or `version/variant`, go when they are told
    /// no version: to the head, else to the nearest end that is not stuck.
    pub fn destination(&self, shape: &str) -> Destination<'_> {
        match self.way(shape) {
            Way::Head(route) => Destination::Head(self.refs(&route)),
            Way::End(end, route) => Destination::End(end, self.refs(&route)),
            Way::Stuck(end) => Destination::Stuck(end),
            Way::Nowhere => Destination::Nowhere,
        }
    }

    pub(super) fn way(&self, shape: &str) -> Way<'_> {
        if let Some(route) = self.graph.route(shape, &[&self.head]) {
            return Way::Head(route);
        }
        let names = |stuck: bool| -> Vec<&str> {
            self.ends.iter().filter(|end| end.stuck == stuck).map(|end| end.version.as_str()).collect()
        };
        if let Some((end, route)) = self.nearest(shape, &names(false)) {
            return Way::End(end, route);
        }
        match self.nearest(shape, &names(true)) {
            Some((end, _)) => Way::Stuck(end),
            None => Way::Nowhere,
        }
    }

    fn nearest(&self, shape: &str, names: &[&str]) -> Option<(&End, Vec<usize>)> {
        let route = self.graph.route(shape, names)?;
        let arrived = route.last().map_or(shape, |number| self.migrations[*number].to.as_str());
        let version = self.version_of(arrived);
        // An end that names the shape says more of it than one that names its version.
        let named = |name: &str| self.ends.iter().find(|end| end.version == name);
        Some((named(arrived).or_else(|| named(version))?, route))
    }

    /// Refuses ends from which the head can be reached.
    pub(super) fn check_ends(&self, root: &Table<'_, '_>, places: &[usize]) -> Result<(), PackError> {
        for (end, at) in self.ends.iter().zip(places) {
            let starts = self
                .shapes
                .iter()
                .filter(|shape| shape.version == end.version || shape.name() == end.version);
            for start in starts {
                if self.graph.route(&start.name(), &[&self.head]).is_some() {
                    let kind = PackErrorKind::NoEnd { name: end.version.clone(), head: self.head.clone() };
                    return Err(root.source.error(*at, kind));
                }
            }
        }
        Ok(())
    }
}
