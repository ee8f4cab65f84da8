//! Looking for runs in a source tree: which folders are runs, and what everything else is.

use std::os::unix::ffi::OsStrExt;

use super::super::facts::join;
use super::{Adopted, Seen};
use crate::backend::durable::Entry;
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

/// The runs of a tree, and what else lies in it; `name` is the tree's own.
pub(super) fn runs(disk: &Disk, name: &str) -> (Vec<Candidate>, Vec<Seen>) {
    let mut finder = Finder { disk, candidates: Vec::new(), seen: Vec::new() };
    finder.folder("", name, 0);
    (finder.candidates, finder.seen)
}

struct Finder<'d> {
    disk: &'d Disk,
    candidates: Vec<Candidate>,
    seen: Vec<Seen>,
}

impl Finder<'_> {
    fn note(&mut self, place: &str, result: Adopted) {
        self.seen.push(Seen { place: place.to_owned(), result });
    }

    fn folder(&mut self, dir: &str, name: &str, depth: usize) {
        let entries = match self.disk.list(dir) {
            Ok(entries) => entries,
            Err(error) => return self.note(dir, Adopted::Refused(error.to_string())),
        };
        match entries.iter().find(|entry| entry.name == paths::MANIFEST).map(|entry| entry.kind) {
            Some(Kind::File) => {
                self.candidates.push(Candidate { place: dir.to_owned(), name: name.to_owned() });
            }
            Some(other) => {
                let why =
                    format!("its manifest.json is a {}; only regular manifests are taken", other.word());
                self.note(if dir.is_empty() { "." } else { dir }, Adopted::Refused(why));
            }
            None => entries.iter().for_each(|entry| self.entry(dir, entry, depth)),
        }
    }

    fn entry(&mut self, dir: &str, entry: &Entry, depth: usize) {
        let place = join(dir, &escape::bytes(entry.name.as_bytes()));
        let Some(name) = entry.name.to_str() else {
            return self.note(&place, Adopted::Refused("its name is not UTF-8".to_owned()));
        };
        let why = match entry.kind {
            Kind::Link => {
                let target = self.disk.read_link(&place).unwrap_or_default();
                format!("a link to {target}; links are not followed")
            }
            Kind::Dir if name.starts_with('.') => "a staging folder".to_owned(),
            Kind::Dir if matches!(name, "inputs" | "outputs") => "a run's part without a run".to_owned(),
            Kind::Dir if depth + 1 >= DEPTH => format!("too deep to hold runs, below {DEPTH} folders"),
            Kind::Dir => return self.folder(&place, name, depth + 1),
            Kind::File => match self.text_link(&place) {
                Some(target) => format!("a link to {target}, written out as a text file; not followed"),
                None => "a file that belongs to no run".to_owned(),
            },
            other => format!("a {}", other.word()),
        };
        self.note(&place, Adopted::Skipped(why));
    }

    /// Where a link leads that a checkout without links left behind as a small text file.
    fn text_link(&self, place: &str) -> Option<String> {
        let bytes = self.disk.read(place, limits::PATH_BYTES as u64).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let one_line = !text.contains(['\n', '\0']);
        (text.starts_with("../") && one_line).then(|| escape::Escaped(&text).to_string())
    }
}
