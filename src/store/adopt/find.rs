//! Looking for runs in a source tree: which folders are runs, and what everything else is.

use std::os::unix::ffi::OsStrExt;

use super::super::facts::join;
use super::{Adopted, Seen};
use crate::backend::durable::{Entry, Names};
use crate::backend::{Disk, Kind};
use crate::base::escape;
use crate::base::limits;
use crate::format::paths;

/// Deepest folder looked into for runs, below the source.
const DEPTH: usize = 12;

/// A folder of the source that is a run.
pub(super) struct Candidate {
    /// Where, below the source.
    pub place: String,
    /// Its own name.
    pub name: String,
}

/// One thing that a tree holds.
pub(super) enum Found {
    /// A run.
    Run(Candidate),
    /// What is none, and why.
    Other(Seen),
}

/// Goes through a tree, folder by folder, in each in order of the names. Of what it went through it holds the
/// names of the folders that it is in.
pub(super) struct Walk<'d> {
    disk: &'d Disk,
    /// The top, until something else was asked for.
    top: Option<Found>,
    inside: Vec<Folder>,
}

struct Folder {
    dir: String,
    names: Names,
    depth: usize,
}

impl<'d> Walk<'d> {
    /// Begins at the top, whose own name is `name`.
    pub fn begin(disk: &'d Disk, name: &str) -> Self {
        let mut walk = Self { disk, top: None, inside: Vec::new() };
        walk.top = walk.folder("", name, 0);
        walk
    }

    /// A folder's run or what stands against it; `None` of one whose names come next.
    fn folder(&mut self, dir: &str, name: &str, depth: usize) -> Option<Found> {
        let names = match self.disk.names(dir) {
            Ok(names) => names,
            Err(error) => return other(dir, Adopted::Refused(error.to_string())),
        };
        match names.kind_of(paths::MANIFEST) {
            Some(Kind::File) => Some(Found::Run(Candidate { place: dir.to_owned(), name: name.to_owned() })),
            Some(found) => {
                let why =
                    format!("its manifest.json is a {}; only regular manifests are taken", found.word());
                other(if dir.is_empty() { "." } else { dir }, Adopted::Refused(why))
            }
            None => {
                self.inside.push(Folder { dir: dir.to_owned(), names, depth });
                None
            }
        }
    }

    fn entry(&mut self, place: &str, entry: &Entry, depth: usize) -> Option<Found> {
        let Some(name) = entry.name.to_str() else {
            return other(place, Adopted::Refused("its name is not UTF-8".to_owned()));
        };
        let why = match entry.kind {
            Kind::Link => {
                let target = self.disk.read_link(place).unwrap_or_default();
                format!("a link to {target}; links are not followed")
            }
            Kind::Dir if name.starts_with('.') => "a staging folder".to_owned(),
            Kind::Dir if matches!(name, "inputs" | "outputs") => "a run's part without a run".to_owned(),
            Kind::Dir if depth + 1 >= DEPTH => format!("too deep to hold runs, below {DEPTH} folders"),
            Kind::Dir => return self.folder(place, name, depth + 1),
            Kind::File => match self.text_link(place) {
                Some(target) => format!("a link to {target}, written out as a text file; not followed"),
                None => "a file that belongs to no run".to_owned(),
            },
            other => format!("a {}", other.word()),
        };
        other(place, Adopted::Skipped(why))
    }

    /// Where a link leads that a checkout without links left behind as a small text file.
    fn text_link(&self, place: &str) -> Option<String> {
        let bytes = self.disk.read(place, limits::PATH_BYTES as u64).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let one_line = !text.contains(['\n', '\0']);
        (text.starts_with("../") && one_line).then(|| escape::Escaped(&text).to_string())
    }
}

impl Iterator for Walk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some(top) = self.top.take() {
            return Some(top);
        }
        loop {
            let folder = self.inside.last_mut()?;
            let Some(entry) = folder.names.next() else {
                self.inside.pop();
                continue;
            };
            let (place, depth) = (join(&folder.dir, &escape::bytes(entry.name.as_bytes())), folder.depth);
            if let Some(found) = self.entry(&place, &entry, depth) {
                return Some(found);
            }
        }
    }
}

fn other(place: &str, result: Adopted) -> Option<Found> {
    Some(Found::Other(Seen { place: place.to_owned(), result }))
}
