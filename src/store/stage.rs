//! Staging: everything a batch will need, written and made durable before the store lock is taken
//! (`store-layout.md`, "Stage").

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

use super::source::{FileRead, ReadAhead, Reading, Room, Tree};
use super::{Store, StoreError};
use crate::backend::{BlobWriter, FileLock, Placed, Prepared};
use crate::base::digest::BlobId;
use crate::base::id::OperationId;
use crate::base::name::LogicalPath;
use crate::format::batch::Mark;
use crate::format::file_list::{self, FileEntry};
use crate::format::paths;

/// Files or folders up to this many are flushed one by one; more with the whole filesystem.
pub(super) const FLUSH_ONE_BY_ONE: usize = 48;

/// The most bytes of files read ahead together.
const AHEAD_BYTES: u64 = 16 << 20;

/// One batch's staging folder and its writer of blobs.
pub(super) struct Stage {
    store: Store,
    number: u64,
    dir: String,
    // Lets go of its segments before the folder goes.
    blobs: BlobWriter,
    folder: Leftovers,
    next: u64,
    files: Vec<String>,
    dirs: Vec<String>,
}

/// A run's folder in the making.
pub(super) struct RunFolder {
    /// Where it lies in the staging folder.
    pub path: String,
    entries: Vec<FileEntry>,
    dirs: HashSet<String>,
}

impl Stage {
    /// Begins the staging folder of a batch, locked so that no sweeper takes it for a leftover.
    pub fn begin(store: &Store, operation: &OperationId, batch: u64) -> Result<Self, StoreError> {
        let dir = paths::batch_dir(operation, batch);
        let lock = FileLock::acquire(
            &store.disk,
            &paths::batch_lock(operation, batch),
            &store.context.holder,
            store.context.lock_timeout,
        )?;
        store.disk.mkdir_all(&dir)?;
        // Writers share only what is committed, and append only where that ends.
        store.blobs.set_committed(&store.committed_marks()?);
        Ok(Self {
            store: store.clone(),
            number: batch,
            blobs: store.blobs.writer_in(&dir),
            dirs: vec![dir.clone()],
            folder: Leftovers { store: store.clone(), dir: dir.clone(), lock },
            dir,
            next: 0,
            files: Vec::new(),
        })
    }

    /// A free path in the staging folder.
    pub fn next_path(&mut self) -> String {
        self.next += 1;
        format!("{}/{}", self.dir, self.next)
    }

    /// Keeps bytes that belong to no run's folder: revisions, file lists, reasons, exceptions.
    pub fn keep(&mut self, bytes: &[u8]) -> Result<BlobId, StoreError> {
        Ok(self.blobs.put_small(bytes)?)
    }

    /// As [`Stage::keep`], of bytes that were prepared on another thread.
    pub fn keep_prepared(&mut self, prepared: &Prepared) -> Result<(), StoreError> {
        Ok(self.blobs.put_small_prepared(prepared)?)
    }

    /// Keeps bytes of any size that belong to no run's folder.
    pub fn keep_any(&mut self, bytes: &[u8]) -> Result<BlobId, StoreError> {
        Ok(self.blobs.put(bytes)?)
    }

    /// Keeps a file's bytes as a blob, of any size.
    pub fn keep_file(&mut self, mut reading: Reading) -> Result<BlobId, StoreError> {
        if reading.len() <= self.store.config.small_limit {
            let bytes = reading.bytes()?;
            return self.keep(&bytes);
        }
        let blob = self.blobs.put_large(reading.stream())?;
        reading.held_still(blob.bytes)?;
        Ok(blob)
    }

    /// Which batch of its operation it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The staging folder.
    pub fn path(&self) -> &str {
        &self.dir
    }

    /// A file was put into the staging folder by other means and is to be flushed with the rest.
    pub fn staged(&mut self, path: &str) {
        self.files.push(path.to_owned());
    }

    /// Begins a run's folder.
    pub fn run_folder(&mut self) -> Result<RunFolder, StoreError> {
        let path = self.next_path();
        self.store.disk.mkdir(&path)?;
        self.dirs.push(path.clone());
        Ok(RunFolder { path, entries: Vec::new(), dirs: HashSet::new() })
    }

    fn parents(&mut self, folder: &mut RunFolder, path: &LogicalPath) -> Result<(), StoreError> {
        for parent in path.parents() {
            if !folder.dirs.contains(parent) {
                let parent = parent.parse().expect("a parent of a path is a path");
                self.add_dir(folder, parent)?;
            }
        }
        Ok(())
    }

    /// Adds a folder, and the folders above it that are not there yet.
    pub fn add_dir(&mut self, folder: &mut RunFolder, path: LogicalPath) -> Result<(), StoreError> {
        if folder.dirs.contains(path.as_str()) {
            return Ok(());
        }
        self.parents(folder, &path)?;
        let full = format!("{}/{path}", folder.path);
        self.store.disk.mkdir(&full)?;
        self.dirs.push(full);
        folder.dirs.insert(path.to_string());
        folder.entries.push(FileEntry::dir(path));
        Ok(())
    }

    /// Adds a file from bytes in memory.
    pub fn add_bytes(
        &mut self,
        folder: &mut RunFolder,
        path: LogicalPath,
        bytes: &[u8],
        exec: bool,
    ) -> Result<BlobId, StoreError> {
        let blob = self.blobs.put(bytes)?;
        self.write(folder, path, bytes, exec, blob)?;
        Ok(blob)
    }

    fn add_read(
        &mut self,
        folder: &mut RunFolder,
        path: LogicalPath,
        read: &FileRead,
    ) -> Result<BlobId, StoreError> {
        self.blobs.put_prepared(&read.prepared)?;
        let blob = read.prepared.id();
        self.write(folder, path, read.prepared.bytes(), read.exec, blob)?;
        Ok(blob)
    }

    /// Writes a file of the run whose bytes are put.
    fn write(
        &mut self,
        folder: &mut RunFolder,
        path: LogicalPath,
        bytes: &[u8],
        exec: bool,
        blob: BlobId,
    ) -> Result<(), StoreError> {
        self.parents(folder, &path)?;
        let full = format!("{}/{path}", folder.path);
        self.store.disk.write_new(&full, bytes, mode(exec))?;
        self.files.push(full);
        folder.entries.push(FileEntry::file(path, blob, exec));
        Ok(())
    }

    /// Adds a file from outside, refusing it when it changes while it is read.
    pub fn add_file(
        &mut self,
        folder: &mut RunFolder,
        path: LogicalPath,
        mut reading: Reading,
    ) -> Result<BlobId, StoreError> {
        reading.tell_dropped(self.store.context.progress.as_ref());
        let exec = reading.exec();
        if reading.len() <= self.store.config.small_limit {
            let bytes = reading.bytes()?;
            return self.add_bytes(folder, path, &bytes, exec);
        }
        self.parents(folder, &path)?;
        let blob = self.blobs.put_large(reading.stream())?;
        reading.held_still(blob.bytes)?;
        let full = format!("{}/{path}", folder.path);
        // A hard link shares its inode, and so its mode, with the blob: nothing of its own to flush.
        if !matches!(self.blobs.place(&blob, &full, mode(exec))?, Placed::HardLink) {
            self.files.push(full);
        }
        folder.entries.push(FileEntry::file(path, blob, exec));
        Ok(blob)
    }

    /// Adds a whole tree below a folder of the run (or at its top, for an empty `below`), and gives
    /// the files with their blobs. `ahead` is what was read of the first of its files already.
    pub fn add_tree(
        &mut self,
        folder: &mut RunFolder,
        below: &str,
        tree: &Tree,
        ahead: Vec<ReadAhead>,
    ) -> Result<Vec<(LogicalPath, BlobId)>, StoreError> {
        let place = |path: &LogicalPath| -> Result<LogicalPath, StoreError> {
            let text = if below.is_empty() { path.to_string() } else { format!("{below}/{path}") };
            text.parse().map_err(|error: crate::base::name::PathError| StoreError::Input {
                path: tree.disk.full_path(path.as_str()).display().to_string(),
                why: error.to_string(),
            })
        };
        for dir in &tree.dirs {
            self.add_dir(folder, place(dir)?)?;
        }
        let mut added = Vec::with_capacity(tree.files.len());
        let mut ahead = ahead.into_iter();
        for (at, file) in tree.files.iter().enumerate() {
            let path = place(file)?;
            let read = match ahead.next() {
                Some(read) => read?,
                None => {
                    ahead = self.read_ahead(tree, at).into_iter();
                    ahead.next().expect("this file was asked for")?
                }
            };
            let blob = match read {
                Some(read) => self.add_read(folder, path.clone(), &read)?,
                None => self.add_file(folder, path.clone(), Reading::open(&tree.disk, file.as_str())?)?,
            };
            added.push((path, blob));
        }
        Ok(added)
    }

    fn read_ahead(&self, tree: &Tree, from: usize) -> Vec<ReadAhead> {
        let room = Room {
            bytes: AtomicU64::new(AHEAD_BYTES),
            largest: self.store.config.small_limit,
            worth_packing: &|blob| !self.store.blobs.may_have(blob),
            progress: self.store.context.progress.as_ref(),
        };
        tree.read_ahead(from, &room)
    }

    /// Ends a run's folder with its manifest; gives the manifest's and the file list's blobs and the
    /// sorted entries.
    pub fn end_run(
        &mut self,
        folder: RunFolder,
        manifest: &Prepared,
    ) -> Result<(BlobId, BlobId, Vec<FileEntry>), StoreError> {
        let path = format!("{}/{}", folder.path, paths::MANIFEST);
        self.blobs.put_small_prepared(manifest)?;
        let blob = manifest.id();
        self.store.disk.write_new(&path, manifest.bytes(), MANIFEST_MODE)?;
        self.files.push(path);
        let mut entries = folder.entries;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let list = self.keep_list(&entries)?;
        Ok((blob, list, entries))
    }

    /// Keeps a file list.
    pub fn keep_list(&mut self, entries: &[FileEntry]) -> Result<BlobId, StoreError> {
        let mut last = None;
        for blob in file_list::print(entries) {
            last = Some(self.blobs.put_small(&blob)?);
        }
        Ok(last.expect("a file list has at least one blob"))
    }

    /// Stages a new revision of a manifest; gives where it lies.
    pub fn revision(&mut self, bytes: Vec<u8>) -> Result<String, StoreError> {
        self.revision_prepared(&Prepared::of(bytes))
    }

    /// As [`Stage::revision`], of bytes that were prepared on another thread.
    pub fn revision_prepared(&mut self, bytes: &Prepared) -> Result<String, StoreError> {
        self.blobs.put_small_prepared(bytes)?;
        let path = self.next_path();
        self.store.disk.write_new(&path, bytes.bytes(), MANIFEST_MODE)?;
        self.files.push(path.clone());
        Ok(path)
    }

    /// Makes everything staged durable; gives how far the segments then reach.
    pub fn flush(&mut self) -> Result<Vec<Mark>, StoreError> {
        let marks = self.blobs.flush()?;
        let disk = &self.store.disk;
        if self.files.len() > FLUSH_ONE_BY_ONE {
            disk.sync_all()?;
        } else {
            for file in &self.files {
                disk.sync_file(file)?;
            }
            for dir in self.dirs.iter().rev() {
                disk.sync_dir(dir)?;
            }
            disk.sync_dir(paths::TMP)?;
        }
        self.files.clear();
        self.dirs.clear();
        Ok(marks.iter().map(|mark| Mark { number: mark.number, len: mark.len }).collect())
    }

    /// Ends the batch: nothing staged is needed any more. What there is of it goes with what this gives.
    pub fn end(self) -> Leftovers {
        self.folder
    }
}

/// The staging folder of a batch that came through or failed, until it is dropped.
pub(super) struct Leftovers {
    store: Store,
    dir: String,
    lock: FileLock,
}

impl Drop for Leftovers {
    /// Removes the staging folder, then its lock file. What cannot be removed keeps its lock file and so is a
    /// leftover that the sweeper finds.
    fn drop(&mut self) {
        if self.store.disk.discard(&self.dir).is_ok() {
            let _ = self.store.disk.unlink(self.lock.path());
        }
    }
}

/// The mode of manifests: nobody is meant to edit them in place.
pub(super) const MANIFEST_MODE: u32 = 0o444;

/// The mode of a run's files.
pub(super) fn mode(exec: bool) -> u32 {
    if exec { 0o555 } else { 0o444 }
}
