//! Finding carriers: files as given, folders walked in a stable order. Links are never followed, a
//! store's own files are passed over, and what the pack's documents cannot lie in is counted.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::backend::{Disk, Kind as FileKind, is_temp_name};
use crate::base::limits;
use crate::carrier::table::Snapshot;
use crate::carrier::{self, Kind, Loaded};
use crate::format::paths;
use crate::schema::Pack;
use crate::store::StoreError;
use crate::store::source::{self, Given};

/// The largest file of JSON Lines, in bytes.
const LINES_BYTES: u64 = 1 << 30;

/// A file that carries documents.
#[derive(Clone)]
pub struct Source {
    /// Its path as given, or below the folder given.
    pub shown: String,
    /// What kind of carrier it is.
    pub kind: Kind,
    pub(super) disk: Disk,
    pub(super) name: String,
    /// Its absolute path without links.
    pub(super) path: PathBuf,
}

/// What was found.
pub struct Sources {
    /// The carriers, in order.
    pub list: Vec<Source>,
    /// Files of other kinds, and links, in the folders given.
    pub not_looked_at: u64,
}

impl Source {
    /// Reads all of it; the error says why that cannot be done.
    pub fn load(&self, pack: &Pack) -> Result<Loaded, String> {
        let read = |limit| self.disk.read(&self.name, limit).map_err(|error| error.to_string());
        match self.kind {
            Kind::Json => Ok(carrier::json_file(read(limits::JSON_BYTES as u64)?)),
            Kind::Lines => Ok(carrier::json_lines(read(LINES_BYTES)?)),
            Kind::Sqlite => Ok(self.snapshot(pack)?.load()),
        }
    }

    /// Opens the table that the pack names.
    pub(super) fn snapshot(&self, pack: &Pack) -> Result<Snapshot, String> {
        let Some(table) = pack.sqlite_carrier() else {
            return Err(format!("pack {} does not say in which table its rows are", pack.name()));
        };
        Snapshot::read(&self.path, table).map_err(|error| error.to_string())
    }

    /// How many bytes it has, as far as that is known.
    pub(super) fn len(&self) -> u64 {
        self.disk.stat(&self.name).ok().flatten().map_or(0, |stat| stat.len)
    }
}

/// Finds the carriers of a pack's documents.
pub fn gather(given: &[PathBuf], pack: &Pack) -> Result<Sources, StoreError> {
    let mut sources = Sources { list: Vec::new(), not_looked_at: 0 };
    for path in given {
        let shown = path.display().to_string();
        match source::given(path)? {
            Given::File(disk, name) => {
                let kind = carrier::kind_of(&name).ok_or_else(|| StoreError::Input {
                    path: shown.clone(),
                    why: "its name does not say what it is: .json, .jsonl or .db".to_owned(),
                })?;
                let real = real_path(disk.root()).join(&name);
                sources.list.push(Source { shown, kind, disk, name, path: real });
            }
            Given::Folder(disk) => {
                let real = real_path(disk.root());
                let shown = shown.trim_end_matches('/').to_owned();
                let mut walk = Walk { disk, shown, real, pack, sources: &mut sources };
                walk.folder("")?;
            }
        }
    }
    let mut seen = HashSet::new();
    sources.list.retain(|source| seen.insert(source.path.clone()));
    Ok(sources)
}

fn real_path(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

struct Walk<'a> {
    disk: Disk,
    shown: String,
    real: PathBuf,
    pack: &'a Pack,
    sources: &'a mut Sources,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &str) -> Result<(), StoreError> {
        let entries = self.disk.list(folder)?;
        let store = entries.iter().any(|entry| entry.name == paths::CONFIG);
        for entry in entries {
            // A store's own files are not documents outside it.
            let own = store && entry.name.to_str().is_some_and(paths::is_own);
            if own || is_temp_name(&entry.name) {
                continue;
            }
            let Some(name) = entry.name.to_str() else {
                self.sources.not_looked_at += 1;
                continue;
            };
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            match (entry.kind, carrier::kind_of(name)) {
                (FileKind::Dir, _) => self.folder(&path)?,
                (FileKind::File, Some(kind))
                    if kind != Kind::Sqlite || self.pack.sqlite_carrier().is_some() =>
                {
                    self.sources.list.push(Source {
                        shown: format!("{}/{path}", self.shown),
                        kind,
                        disk: self.disk.clone(),
                        path: self.real.join(&path),
                        name: path,
                    });
                }
                _ => self.sources.not_looked_at += 1,
            }
        }
        Ok(())
    }
}
