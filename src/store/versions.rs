//! How the store's manifests are spread over schema versions, and which could migrate.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Store, StoreError};
use crate::base::json;
use crate::base::limits;
use crate::format::paths;
use crate::schema::{Destination, Detection, Pack};

/// Where the way from a shape ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// At the pack's head.
    Head,
    /// At the end of a line of its own.
    End,
    /// At once: the pack says why it goes no further.
    Stuck,
    /// At once, and the pack does not say why.
    Nowhere,
    /// Not known, as the shape is not.
    Unknown,
}

/// One line of the distribution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionRow {
    /// The label as it stands in the documents, or what stands in its place.
    pub version: String,
    /// The shape within the version, or what the documents are instead of a known shape.
    pub shape: String,
    /// Why they do not fit their label's shape, or are not known.
    pub note: Option<String>,
    /// Where the way from there ends.
    pub next: Next,
    /// Where a migration leads, for documents that can migrate.
    pub target: Option<String>,
    /// The versions on the way, both ends included.
    pub path: Vec<String>,
    /// How many.
    pub count: u64,
}

/// The distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionsReport {
    /// The pack that knows the versions.
    pub pack: String,
    /// Its head.
    pub head: String,
    /// The lines, by version and shape.
    pub rows: Vec<VersionRow>,
    /// Manifests looked at.
    pub total: u64,
    /// Manifests that could not be read: run and reason.
    pub unreadable: Vec<(String, String)>,
}

impl VersionsReport {
    /// How many could migrate to the head.
    pub fn migratable(&self) -> u64 {
        self.going(Next::Head)
    }

    /// How many could migrate to the end of a line of their own.
    pub fn ending(&self) -> u64 {
        self.going(Next::End)
    }

    fn going(&self, next: Next) -> u64 {
        let going = self.rows.iter().filter(|row| row.target.is_some() && row.next == next);
        going.map(|row| row.count).sum()
    }
}

impl Store {
    /// Looks at every manifest on the disk.
    pub fn versions(&self) -> Result<VersionsReport, StoreError> {
        let pack = &*self.manifest_pack()?;
        let mut report = VersionsReport {
            pack: pack.name().to_owned(),
            head: pack.head().to_owned(),
            ..VersionsReport::default()
        };
        let mut rows: BTreeMap<VersionRow, u64> = BTreeMap::new();
        for chunk in self.each_run_on_disk()?.by(4096) {
            let chunk = chunk?;
            report.total += chunk.len() as u64;
            let looked: Vec<_> = chunk
                .par_iter()
                .map(|key| {
                    let path = paths::manifest(key);
                    let bytes = self
                        .disk
                        .read(&path, limits::JSON_BYTES as u64)
                        .map_err(|error| error.to_string())?;
                    let doc = json::scan(&bytes).map_err(|error| error.to_string())?;
                    Ok(row_of(&pack.detect(&doc), pack))
                })
                .collect::<Vec<Result<VersionRow, String>>>();
            for (key, row) in chunk.iter().zip(looked) {
                match row {
                    Ok(row) => *rows.entry(row).or_insert(0) += 1,
                    Err(why) => report.unreadable.push((key.to_string(), why)),
                }
            }
        }
        report.rows = rows.into_iter().map(|(row, count)| VersionRow { count, ..row }).collect();
        Ok(report)
    }
}

/// The line that a document belongs to; its count is filled in afterwards.
pub(super) fn row_of(detection: &Detection, pack: &Pack) -> VersionRow {
    let none = || "(none)".to_owned();
    let shape = |version: &str, variant: &Option<String>| match variant {
        Some(variant) => format!("{version}/{variant}"),
        None => version.to_owned(),
    };
    let (version, shape_name, note) = match detection {
        Detection::Known { version, variant } => (version.clone(), shape(version, variant), None),
        Detection::Legacy { rule, version, variant } => {
            (none(), shape(version, variant), Some(format!("no label; told by the rule {rule:?}")))
        }
        Detection::Misfit { version, .. } => {
            (version.clone(), "misfit".to_owned(), Some(detection.to_string()))
        }
        Detection::UnknownVersion { label } => {
            (label.clone(), "unknown".to_owned(), Some(detection.to_string()))
        }
        Detection::Newer { label } => (label.clone(), "newer".to_owned(), Some(detection.to_string())),
        Detection::Ambiguous { .. } => (none(), "ambiguous".to_owned(), Some(detection.to_string())),
        Detection::NotThisKind { kind: Some(kind), .. } => {
            (none(), "another kind".to_owned(), Some(format!("it is {kind}")))
        }
        Detection::NotThisKind { .. } => (none(), "not this kind".to_owned(), Some(detection.to_string())),
    };
    let mut row = VersionRow {
        version,
        shape: shape_name,
        note,
        next: Next::Unknown,
        target: None,
        path: Vec::new(),
        count: 0,
    };
    let labelled = match detection {
        Detection::Known { .. } => true,
        Detection::Legacy { .. } => false,
        _ => return row,
    };
    let (route, next) = match pack.destination(&row.shape) {
        Destination::Head(route) => (route, Next::Head),
        Destination::End(end, route) => {
            row.note = row.note.or_else(|| Some(end.reason.clone()));
            (route, Next::End)
        }
        Destination::Stuck(end) => {
            row.note = Some(end.reason.clone());
            (Vec::new(), Next::Stuck)
        }
        Destination::Nowhere => (Vec::new(), Next::Nowhere),
    };
    row.next = next;
    let goes = matches!(next, Next::Head | Next::End);
    // A document without a label is migrated even where its shape is the head's: it gets the label.
    let unlabelled = !labelled && pack.version_at().is_some();
    if goes && (!route.is_empty() || unlabelled) {
        let shapes = std::iter::once(row.shape.as_str()).chain(route.iter().map(|step| step.to));
        let shapes: Vec<String> = shapes.map(str::to_owned).collect();
        let version_of = |shape: &String| pack.version_of_shape(shape).unwrap_or(shape).to_owned();
        let versions: Vec<String> = shapes.iter().map(version_of).collect();
        // From one shape of a version to another: then the shapes say more.
        let same = versions.windows(2).any(|pair| pair[0] == pair[1]);
        row.path = if same { shapes } else { versions };
        row.target = row.path.last().cloned();
    }
    row
}
