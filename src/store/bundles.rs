//! Entry bundles on the disk (C2SP tlog-tiles): reading them, and settling new entries into them.

use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::limits::TILE_WIDTH;
use crate::format::batch::Batch;
use crate::format::head::Head;
use crate::format::paths;
use crate::merkle::{self, Bundle, CompactRange, Hash};

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

    /// Writes the entries of committed batches into bundles, durably, and gives the head that
    /// results. Bytes of bundles beyond the old head are rebuilt, never trusted.
    pub(super) fn settle_entries(&self, head: &Head, batches: &[Batch]) -> Result<Head, StoreError> {
        let mut next = head.clone();
        let mut tree = tree_of(head)?;
        let mut open = match head.size % TILE_WIDTH {
            0 => Vec::new(),
            _ => self.bundle(head.size / TILE_WIDTH, head.size)?,
        };
        for batch in batches {
            next.advance_segments(&batch.segments);
            for entry in &batch.entries {
                tree.append(merkle::leaf_hash(entry));
                open.push(entry.clone());
                next.size += 1;
                if open.len() as u64 == TILE_WIDTH {
                    self.write_bundle(next.size / TILE_WIDTH - 1, &open)?;
                    open.clear();
                }
            }
        }
        if !open.is_empty() {
            self.write_bundle(next.size / TILE_WIDTH, &open)?;
        }
        next.root = Sha256::from_bytes(*tree.root().as_bytes());
        next.frontier = tree.hashes().iter().map(|hash| Sha256::from_bytes(*hash.as_bytes())).collect();
        Ok(next)
    }

    fn write_bundle(&self, number: u64, entries: &[Vec<u8>]) -> Result<(), StoreError> {
        let path = bundle_path(number, entries.len() as u64);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for made in self.disk.mkdir_all(folder)? {
            let parent = made.rsplit_once('/').map_or("", |(parent, _)| parent);
            self.disk.sync_dir(parent)?;
        }
        let bytes = merkle::encode_entries(entries).expect("entries are below 16 KiB, 1 to 256 of them");
        self.disk.replace_durably(&path, &bytes, 0o444)?;
        Ok(())
    }

    /// Removes the partial bundle that a grown log no longer needs. A failure leaves a file that
    /// nobody reads.
    pub(super) fn drop_partial_bundle(&self, old: u64, new: u64) {
        let (number, width) = (old / TILE_WIDTH, old % TILE_WIDTH);
        if width == 0 || old == new {
            return;
        }
        let path = bundle_path(number, width);
        let _ = self.disk.unlink(&path);
        if new / TILE_WIDTH > number
            && let Some((folder, _)) = path.rsplit_once('/')
        {
            let _ = self.disk.discard(folder);
        }
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
