//! Entry bundles on the disk (C2SP tlog-tiles): reading them, and settling new
//! entries into them and into the tiles.

use std::borrow::Cow;

use super::tiles::tile_path;
use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::limits::TILE_WIDTH;
use crate::format::batch::Batch;
use crate::format::head::Head;
use crate::format::paths;
use crate::merkle::{self, Bundle, CompactRange, Hash, Tile};

/// Largest bundle read: 256 entries of the largest size with their lengths.
const BUNDLE_BYTES: u64 = TILE_WIDTH * ((16 << 10) + 2);

/// Where the bundle with that number and width lies.
fn bundle_path(number: u64, width: u64) -> String {
    let width = u16::try_from(width).expect("a bundle has at most 256 entries");
    let bundle = Bundle::new(number, width).expect("numbers follow from a log size, widths are 1 to 256");
    format!("{}/{}", paths::AUDIT, bundle.path())
}

impl Store {
    /// Reads the bundle with that number of a log of that size.
    ///
    /// A partial bundle is removed once a larger one is there, so a reader without a lock may look for
    /// one that is gone: then the head says that the log grew, and how wide the bundle is now.
    pub(super) fn bundle(&self, number: u64, size: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let width_of = |size: u64| (size - number * TILE_WIDTH).min(TILE_WIDTH);
        let mut known = size;
        loop {
            for candidate in [width_of(known), TILE_WIDTH] {
                if let Some(mut entries) = self.read_bundle(number, candidate)? {
                    entries.truncate(width_of(size) as usize);
                    return Ok(entries);
                }
            }
            let now = self.head()?.size;
            if now <= known {
                let place = bundle_path(number, width_of(known));
                return Err(StoreError::LogDamaged { place, why: "the entry bundle is missing".to_owned() });
            }
            known = now;
        }
    }

    fn read_bundle(&self, number: u64, width: u64) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let path = bundle_path(number, width);
        let damaged = |why: String| StoreError::LogDamaged { place: path.clone(), why };
        let bytes = match self.disk.read_opt(&path, BUNDLE_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) if error.is_not_regular() || error.is_not_folder() || error.is_too_large() => {
                return Err(damaged(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let entries =
            merkle::decode_entries(&bytes, width as u16).map_err(|error| damaged(error.to_string()))?;
        Ok(Some(entries.iter().map(|entry| entry.to_vec()).collect()))
    }

    /// Writes the entries of committed batches into bundles and their hashes into tiles, durably, and
    /// gives the head that results. Bytes beyond the old head are rebuilt, never trusted.
    pub(super) fn settle_entries(&self, head: &Head, batches: &[Batch]) -> Result<Head, StoreError> {
        let mut next = head.clone();
        let mut files = Settling::begin(self);
        let mut edge = self.tile_edge(head, &mut files)?;
        let before = match head.size % TILE_WIDTH {
            0 => Vec::new(),
            _ => self.bundle(head.size / TILE_WIDTH, head.size)?,
        };
        let mut open: Vec<Cow<'_, [u8]>> = before.into_iter().map(Cow::Owned).collect();
        for batch in batches {
            next.advance_segments(&batch.segments);
            for entry in &batch.entries {
                let mut full = Vec::new();
                edge.append(merkle::leaf_hash(entry), |tile, bytes| full.push((tile, bytes)));
                for (tile, bytes) in full {
                    files.put(tile_path(tile), bytes)?;
                }
                open.push(Cow::Borrowed(entry));
                next.size += 1;
                if open.len() as u64 == TILE_WIDTH {
                    files.put_bundle(next.size / TILE_WIDTH - 1, &open)?;
                    open.clear();
                }
            }
        }
        if !open.is_empty() {
            files.put_bundle(next.size / TILE_WIDTH, &open)?;
        }
        let known = merkle::partial_tiles(head.size);
        for (tile, bytes) in edge.partial() {
            // A tile that did not grow is there, unless all of them had to be made anew.
            if !known.contains(&tile) || self.tile(tile)?.as_ref() != Some(&bytes) {
                files.put(tile_path(tile), bytes)?;
            }
        }
        files.finish()?;
        let tree = edge.range();
        next.root = Sha256::from_bytes(*tree.root().as_bytes());
        next.frontier = tree.hashes().iter().map(|hash| Sha256::from_bytes(*hash.as_bytes())).collect();
        Ok(next)
    }

    /// Removes the partial bundle and the partial tiles that a grown log no longer needs. A failure
    /// leaves a file that nobody reads.
    pub(super) fn drop_partial(&self, old: u64, new: u64) {
        if old == new {
            return;
        }
        let drop = |path: String, filled: bool| {
            let _ = self.disk.unlink(&path);
            if filled && let Some((folder, _)) = path.rsplit_once('/') {
                let _ = self.disk.discard(folder);
            }
        };
        let (number, width) = (old / TILE_WIDTH, old % TILE_WIDTH);
        if width != 0 {
            drop(bundle_path(number, width), new / TILE_WIDTH > number);
        }
        let needed = merkle::partial_tiles(new);
        for tile in merkle::partial_tiles(old).into_iter().filter(|tile| !needed.contains(tile)) {
            let same_place = |other: &Tile| (other.level(), other.index()) == (tile.level(), tile.index());
            drop(tile_path(tile), !needed.iter().any(same_place));
        }
    }
}

/// Files up to this many are made durable one by one; more with the whole filesystem.
const FEW: usize = 6;

/// Bundles and tiles on their way to the disk. Their names are new beyond the head, so that until
/// the head is replaced nobody reads them.
pub(super) struct Settling<'s> {
    store: &'s Store,
    few: Vec<(String, Vec<u8>)>,
    many: bool,
}

impl<'s> Settling<'s> {
    /// Begins with no files.
    pub fn begin(store: &'s Store) -> Self {
        Self { store, few: Vec::new(), many: false }
    }

    fn put_bundle(&mut self, number: u64, entries: &[Cow<'_, [u8]>]) -> Result<(), StoreError> {
        let bytes = merkle::encode_entries(entries).expect("entries are below 16 KiB, 1 to 256 of them");
        self.put(bundle_path(number, entries.len() as u64), bytes)
    }

    /// Takes in one file.
    pub fn put(&mut self, path: String, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.few.push((path, bytes));
        if self.many || self.few.len() > FEW { self.write_unflushed() } else { Ok(()) }
    }

    /// Writes what is held and leaves the flush to [`finish`](Self::finish).
    fn write_unflushed(&mut self) -> Result<(), StoreError> {
        self.many = true;
        let disk = &self.store.disk;
        for (path, bytes) in self.few.drain(..) {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            disk.mkdir_all(folder)?;
            let mut temp = disk.create_temp(folder, 0o444)?;
            let name = temp.path().to_owned();
            let written = temp.write_all(&bytes);
            drop(temp);
            if let Err(error) = written.and_then(|()| disk.replace(&name, &path)) {
                // A leftover is harmless, and what matters is why the write failed.
                let _ = disk.unlink(&name);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Makes all of them durable.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        if self.many {
            self.write_unflushed()?;
            disk.sync_all()?;
            return Ok(());
        }
        for (path, bytes) in &self.few {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for made in disk.mkdir_all(folder)? {
                disk.sync_dir(made.rsplit_once('/').map_or("", |(parent, _)| parent))?;
            }
            disk.replace_durably(path, bytes, 0o444)?;
        }
        Ok(())
    }
}

/// The tree that a head describes.
pub(super) fn tree_of(head: &Head) -> Result<CompactRange, StoreError> {
    let hashes = head.frontier.iter().map(|hash| Hash::from_bytes(*hash.as_bytes())).collect();
    let tree = CompactRange::from_parts(head.size, hashes)
        .map_err(|error| StoreError::LogDamaged { place: paths::HEAD.to_owned(), why: error.to_string() })?;
    if tree.root().as_bytes() != head.root.as_bytes() {
        return Err(StoreError::LogDamaged {
            place: paths::HEAD.to_owned(),
            why: "its root does not follow from its subtrees".to_owned(),
        });
    }
    Ok(tree)
}
