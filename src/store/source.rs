//! Reading what lies outside the store, or is being brought in: regular files and folders only,
//! and only if they hold still while they are read.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::{Progress, StoreError};
use crate::backend::{Disk, Kind, Prepared, Stat};
use crate::base::digest::BlobId;
use crate::base::escape;
use crate::base::limits;
use crate::base::name::LogicalPath;

/// A folder tree as found, before its files are read.
pub(super) struct Tree {
    /// The tree's root.
    pub disk: Disk,
    /// Folders below it, parents first.
    pub dirs: Vec<LogicalPath>,
    /// Regular files below it, by path.
    pub files: Vec<LogicalPath>,
}

/// A small file, read before its turn.
pub(super) struct FileRead {
    /// Whether its owner may execute it.
    pub exec: bool,
    /// Its bytes.
    pub prepared: Prepared,
}

/// What came of reading a file ahead: nothing where it is large, or there was no room.
pub(super) type ReadAhead = Result<Option<FileRead>, StoreError>;

/// Files of a tree that are read ahead together.
const AHEAD_FILES: usize = 64;

/// What may be read ahead.
pub(super) struct Room<'a> {
    /// Bytes that there is room for.
    pub bytes: AtomicU64,
    /// The largest file that is read.
    pub largest: u64,
    /// Whether bytes are worth packing.
    pub worth_packing: &'a (dyn Fn(&BlobId) -> bool + Sync),
    /// Hears of permission bits that are not kept.
    pub progress: &'a dyn Progress,
}

impl Room<'_> {
    /// Takes some of it, if there is so much.
    pub fn take(&self, bytes: u64) -> bool {
        let left = |room: u64| room.checked_sub(bytes);
        self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

impl Tree {
    /// Reads some files of the tree, from one on, on all cores.
    pub fn read_ahead(&self, from: usize, room: &Room<'_>) -> Vec<ReadAhead> {
        let rest = &self.files[from..];
        rest[..rest.len().min(AHEAD_FILES)]
            .par_iter()
            .map(|path| {
                let reading = Reading::open(&self.disk, path.as_str())?;
                if reading.len() > room.largest || !room.take(reading.len()) {
                    return Ok(None);
                }
                reading.tell_dropped(room.progress);
                let exec = reading.exec();
                let mut prepared = Prepared::of(reading.bytes()?);
                if (room.worth_packing)(&prepared.id()) {
                    prepared.pack();
                }
                Ok(Some(FileRead { exec, prepared }))
            })
            .collect()
    }
}

fn refused(shown: &str, why: impl Into<String>) -> StoreError {
    StoreError::Input { path: shown.to_owned(), why: why.into() }
}

/// What a path given by the user names.
pub(super) enum Given {
    /// A regular file, in the folder opened and under that name.
    File(Disk, String),
    /// A folder, opened.
    Folder(Disk),
}

/// Looks at a path given by the user. Its parents may be reached through links; it itself may not
/// be one, because then the bytes recorded would depend on where it points later.
pub(super) fn given(path: &Path) -> Result<Given, StoreError> {
    let shown = path.display().to_string();
    let clean: std::path::PathBuf = path.components().collect();
    let (Some(parent), Some(name)) = (clean.parent(), clean.file_name()) else {
        return Ok(Given::Folder(open(path, &shown)?));
    };
    let Some(name) = name.to_str() else {
        let name = escape::bytes(std::os::unix::ffi::OsStrExt::as_bytes(name));
        return Err(refused(&shown, format!("the name {name} is not UTF-8")));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let disk = open(parent, &shown)?;
    match disk.stat(name)? {
        None => Err(refused(&shown, "there is no such file or folder")),
        Some(Stat { kind: Kind::File, .. }) => Ok(Given::File(disk, name.to_owned())),
        Some(Stat { kind: Kind::Dir, .. }) => Ok(Given::Folder(open(path, &shown)?)),
        Some(Stat { kind, .. }) => Err(refused(
            &shown,
            format!("it is a {}; only regular files and folders are recorded", kind.word()),
        )),
    }
}

fn open(path: &Path, shown: &str) -> Result<Disk, StoreError> {
    Disk::open(path).map_err(|error| {
        if error.is_not_found() { refused(shown, "there is no such file or folder") } else { error.into() }
    })
}

/// Lists a folder tree, refusing by name whatever is neither file nor folder. `skip` leaves out
/// entries of the top folder.
pub(super) fn tree(disk: Disk, shown: &str, skip: &dyn Fn(&str) -> bool) -> Result<Tree, StoreError> {
    let mut tree = Tree { disk, dirs: Vec::new(), files: Vec::new() };
    walk(&mut tree, "", shown, skip)?;
    tree.dirs.sort();
    tree.files.sort();
    Ok(tree)
}

fn walk(tree: &mut Tree, folder: &str, shown: &str, skip: &dyn Fn(&str) -> bool) -> Result<(), StoreError> {
    for entry in tree.disk.list(folder)? {
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(entry.name.as_os_str());
        let place =
            format!("{shown}/{}", if folder.is_empty() { String::new() } else { format!("{folder}/") });
        let Some(name) = entry.name.to_str() else {
            let why = "its name is not UTF-8, so no manifest could name it";
            return Err(refused(&format!("{place}{}", escape::bytes(bytes)), why));
        };
        if folder.is_empty() && skip(name) {
            continue;
        }
        let shown_file = format!("{place}{name}");
        let text = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let path: LogicalPath = text
            .parse()
            .map_err(|error: crate::base::name::PathError| refused(&shown_file, error.to_string()))?;
        match entry.kind {
            Kind::Dir => {
                walk(tree, path.as_str(), shown, skip)?;
                tree.dirs.push(path);
            }
            Kind::File => tree.files.push(path),
            other => {
                let why = format!("it is a {}; only regular files and folders are recorded", other.word());
                return Err(refused(&shown_file, why));
            }
        }
        within_limit(tree.dirs.len() + tree.files.len(), shown)?;
    }
    Ok(())
}

fn within_limit(count: usize, shown: &str) -> Result<(), StoreError> {
    if count > limits::RUN_FILES {
        return Err(refused(shown, format!("more than {} files and folders", limits::RUN_FILES)));
    }
    Ok(())
}

/// An open regular file that is being read, and what it looked like at the start.
pub(super) struct Reading {
    file: File,
    before: Stat,
    shown: String,
}

impl Reading {
    /// Opens a regular file.
    pub fn open(disk: &Disk, path: &str) -> Result<Self, StoreError> {
        let shown = disk.full_path(path).display().to_string();
        let file = disk.open_file(path).map_err(|error| refused(&shown, error.to_string()))?;
        let before = Stat::of_file(&file).map_err(|error| refused(&shown, error.to_string()))?;
        Ok(Self { file, before, shown })
    }

    /// The length at the start, in bytes.
    pub fn len(&self) -> u64 {
        self.before.len
    }

    /// Whether its owner may execute it.
    pub fn exec(&self) -> bool {
        self.before.mode & 0o100 != 0
    }

    /// Tells of permission bits that are not kept.
    pub fn tell_dropped(&self, progress: &dyn Progress) {
        if self.before.mode & 0o7000 != 0 {
            progress.bits_dropped(&self.shown);
        }
    }

    /// Reads all of a file that fits into memory.
    pub fn bytes(mut self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(self.before.len as usize + 1);
        // One byte more than its length is asked for, so that growth shows without a second look.
        let limit = self.before.len + 1;
        (&mut self.file)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| refused(&self.shown, error.to_string()))?;
        self.held_still(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// The open file, for streaming; [`Reading::held_still`] is to be asked afterwards.
    pub fn stream(&mut self) -> &mut File {
        &mut self.file
    }

    /// Insists that the file did not change while it was read.
    pub fn held_still(&self, read: u64) -> Result<(), StoreError> {
        let after = Stat::of_file(&self.file).map_err(|error| refused(&self.shown, error.to_string()))?;
        if read != self.before.len || !after.is_unchanged_since(&self.before) {
            return Err(refused(
                &self.shown,
                "it changed while it was being read; record it when it holds still",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_of_more_files_than_the_limit_is_refused_by_its_number() {
        assert!(within_limit(limits::RUN_FILES, "x").is_ok());
        let error = within_limit(limits::RUN_FILES + 1, "x").unwrap_err().to_string();
        assert_eq!(error, "x: more than 1000000 files and folders");
    }
}
