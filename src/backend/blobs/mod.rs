//! Blobs: immutable bytes named by digest.
//!
//! A port, [`Blobs`], and two drivers: [`LocalBlobs`] and [`MemoryBlobs`].
//!
//! Locally a small blob is a record in a segment (`segment`, `segments`), a large one a file of its
//! own, `objects/<2 hex>/<62 hex>` by BLAKE3, mode 0444. Nothing that is read is trusted: small blobs
//! are hashed with both algorithms each time they are read, large ones once in a process and again
//! when the file has changed.

mod check;
mod cut;
#[cfg(test)]
mod cut_tests;
mod memory;
mod port;
mod prepared;
#[cfg(test)]
mod tests;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use super::durable::{Copied, Disk, DiskError, Kind, Stat};
use super::segment::BadRecord;
use super::segments::{Candidates, Location, Segments, segment_path};
use crate::base::digest::{Blake3, BlobId, Hasher, Sha256};
use crate::base::limits;

pub use super::segments::SegmentMark;
pub use check::{BlobFinding, Checked, Sound};
pub use cut::Cut;
pub use memory::MemoryBlobs;
pub use port::{BlobDamage, BlobError, Blobs};
pub use prepared::Prepared;
pub use writer::BlobWriter;

/// Where large blobs lie.
pub const FOLDER: &str = "objects";
/// The mode of a large blob's file.
pub const LARGE_MODE: u32 = 0o444;

/// How the local driver lays blobs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobOptions {
    /// Blobs up to this size go to segments.
    pub small_limit: u64,
    /// A segment is sealed once it has this size.
    pub segment_bytes: u64,
    /// Whether a large blob may be a second name of a file in the store where the filesystem cannot
    /// share blocks. Then there is one copy.
    pub share_large: bool,
    /// The store that segments belong to.
    pub store_id: [u8; 16],
}

impl BlobOptions {
    /// The usual sizes.
    pub fn new(store_id: [u8; 16]) -> Self {
        Self {
            small_limit: limits::SMALL_BLOB_BYTES,
            segment_bytes: limits::SEGMENT_BYTES,
            share_large: true,
            store_id,
        }
    }
}

/// How a blob became a plain file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// Its bytes were written.
    Written,
    /// Shares its blocks with the blob until one of them is written.
    Reflink,
    /// Is the blob, under a second name: one copy.
    HardLink,
}

/// What tells whether a large blob's file was changed since it was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Witness {
    blake3: Blake3,
    dev: u64,
    ino: u64,
    len: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

struct Inner {
    disk: Disk,
    options: BlobOptions,
    segments: Segments,
    /// Large blobs whose file was hashed by this process.
    verified: Mutex<HashSet<Witness>>,
    /// Lengths to which this process made segments durable.
    clean: Mutex<HashSet<SegmentMark>>,
}

/// What there is of a small blob that a writer may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    Sound,
    Absent,
    /// Only records that are damaged.
    Damaged,
}

/// The local driver. Clones share what they know of the disk.
#[derive(Clone)]
pub struct LocalBlobs(Arc<Inner>);

impl LocalBlobs {
    /// Names the place of the blobs; nothing on disk is touched before something is asked.
    pub fn open(disk: Disk, options: BlobOptions) -> Self {
        let segments = Segments::new(disk.clone(), options.store_id);
        Self(Arc::new(Inner { disk, options, segments, verified: Mutex::default(), clean: Mutex::default() }))
    }

    fn disk(&self) -> &Disk {
        &self.0.disk
    }

    fn segments(&self) -> &Segments {
        &self.0.segments
    }

    fn clean(&self) -> MutexGuard<'_, HashSet<SegmentMark>> {
        self.0.clean.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn verified(&self) -> MutexGuard<'_, HashSet<Witness>> {
        self.0.verified.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The options it was opened with.
    pub fn options(&self) -> &BlobOptions {
        &self.0.options
    }

    /// Says how much of each segment committed batches refer to. Writers share only what lies below,
    /// append only where it ends, and nothing below it is ever cut. Lengths only grow.
    pub fn set_committed(&self, marks: &[SegmentMark]) {
        self.segments().set_committed(marks);
    }

    /// Whether [`LocalBlobs::set_committed`] was called yet.
    pub fn knows_committed(&self) -> bool {
        self.segments().is_told()
    }

    /// Makes segments durable up to what others wrote there: what can be read of them need not be.
    pub fn make_durable(&self, marks: &[SegmentMark]) -> Result<(), BlobError> {
        for mark in marks {
            self.disk().sync_file(&segment_path(mark.number))?;
        }
        self.disk().sync_dir(super::segments::FOLDER)?;
        Ok(())
    }

    /// Rewrites the lookup index if it has fallen behind. Writers do so when they flush; only for
    /// commands that change the store.
    pub fn maintain_index(&self) -> Result<bool, BlobError> {
        Ok(self.segments().write_index(false)?)
    }

    /// Rewrites the lookup index in any case.
    pub fn rewrite_index(&self) -> Result<(), BlobError> {
        self.segments().write_index(true)?;
        Ok(())
    }

    /// Where a large blob lies: `objects/<2 hex>/<62 hex>`.
    pub fn large_path(b3: &Blake3) -> String {
        let hex = b3.hex();
        format!("{FOLDER}/{}/{}", &hex[..2], &hex[2..])
    }

    /// Finds a small blob by SHA-256. Its record says so; the bytes are not read.
    pub fn find(&self, sha: &Sha256) -> Result<Option<BlobId>, BlobError> {
        let found = self.segments().locate_sha256(sha, true)?;
        Ok(found.into_iter().find_map(|(_, header)| header.ok()).map(|header| header.id))
    }

    /// Whether there may be a record of a small blob, as far as the tables in memory and the index say: for
    /// deciding what to prepare, not for leaving a write out.
    pub fn may_have(&self, id: &BlobId) -> bool {
        self.segments().locate_blake3(&id.blake3, false).is_ok_and(|found| !found.is_empty())
    }

    /// Whether a writer would share a record of a small blob, which is read and hashed unless this process did so:
    /// for other threads, so that the writer need not.
    pub fn can_share(&self, id: &BlobId) -> bool {
        matches!(self.shared(id), Ok(Shared::Sound))
    }

    /// What there is of a small blob below the committed marks.
    fn shared(&self, id: &BlobId) -> Result<Shared, BlobError> {
        let segments = self.segments();
        let mut shared = Shared::Absent;
        for (location, header) in segments.locate_blake3(&id.blake3, false)? {
            let Ok(header) = header else {
                shared = Shared::Damaged;
                continue;
            };
            let committed = segments.committed(location.segment).unwrap_or(0);
            if header.id != *id || location.offset + header.extent() > committed {
                continue;
            }
            if segments.is_verified(location) {
                return Ok(Shared::Sound);
            }
            if segments.read(location, &header)?.is_ok() {
                segments.set_verified(location);
                return Ok(Shared::Sound);
            }
            shared = Shared::Damaged;
        }
        Ok(shared)
    }

    /// Whether a blob is there, in a segment or on its own, with the stated length.
    pub fn contains(&self, id: &BlobId) -> Result<bool, BlobError> {
        let is = |found: &Candidates| {
            found.iter().any(|(_, header)| header.as_ref().is_ok_and(|header| header.id == *id))
        };
        // What is cheap first: a segment's miss costs a look at every segment's length.
        if id.bytes <= limits::SEGMENT_BLOB_BYTES && is(&self.segments().locate_blake3(&id.blake3, false)?) {
            return Ok(true);
        }
        match self.disk().stat(&Self::large_path(&id.blake3))? {
            Some(stat) if stat.kind == Kind::File && stat.len == id.bytes => Ok(true),
            _ if id.bytes > limits::SEGMENT_BLOB_BYTES => Ok(false),
            _ => Ok(is(&self.segments().locate_blake3(&id.blake3, true)?)),
        }
    }

    /// Reads a small blob by SHA-256 and hashes it again, with both algorithms.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] if there are records of it and none is sound.
    pub fn get(&self, sha: &Sha256) -> Result<Option<Vec<u8>>, BlobError> {
        let found = self.segments().locate_sha256(sha, true)?;
        self.first_sound(found, |id| id.sha256 == *sha)
    }

    /// Reads a blob of any kind up to 64 MiB; larger ones are for [`LocalBlobs::copy_to`].
    pub fn get_id(&self, id: &BlobId) -> Result<Option<Vec<u8>>, BlobError> {
        let limit = limits::SEGMENT_BLOB_BYTES;
        if id.bytes > limit {
            let what = "reading into memory";
            return Err(BlobError::TooLarge { what, bytes: id.bytes, limit });
        }
        let mut bytes = Vec::new();
        Ok(self.copy_to(id, &mut bytes)?.then_some(bytes))
    }

    /// Streams a blob. The bytes are hashed on the way, so what was handed on is to be thrown away
    /// unless this returns `true`; `false` means that there is none, and nothing was handed on.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] once all of it was read and is not the blob.
    pub fn copy_to(&self, id: &BlobId, out: &mut dyn Write) -> Result<bool, BlobError> {
        let mut damaged = None;
        for fresh in [false, true] {
            let found = match id.bytes {
                0..=limits::SEGMENT_BLOB_BYTES => self.segments().locate_blake3(&id.blake3, fresh)?,
                _ => Vec::new(),
            };
            match self.first_sound(found, |found| found == id) {
                Ok(Some(bytes)) => {
                    out.write_all(&bytes).map_err(|source| BlobError::Sink { source })?;
                    return Ok(true);
                }
                Ok(None) => {}
                Err(error @ BlobError::Damaged { .. }) => damaged = Some(error),
                Err(error) => return Err(error),
            }
            if !fresh && self.copy_large(id, out)? {
                return Ok(true);
            }
        }
        damaged.map_or(Ok(false), Err)
    }

    fn copy_large(&self, id: &BlobId, out: &mut dyn Write) -> Result<bool, BlobError> {
        let path = Self::large_path(&id.blake3);
        let Some(stat) = self.disk().stat(&path)? else { return Ok(false) };
        check_large_stat(&path, id, &stat)?;
        if self.hash_large(&path, Some(out))? != *id {
            return Err(BlobError::Damaged { place: path, damage: BlobDamage::Digest });
        }
        self.remember(&id.blake3, &stat);
        Ok(true)
    }

    /// Hashes a large blob's file, handing the bytes on.
    fn hash_large(&self, path: &str, mut out: Option<&mut dyn Write>) -> Result<BlobId, BlobError> {
        let mut file = self.disk().open_file(path)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(BlobError::Read { path: path.to_owned(), source }),
            };
            hasher.update(&buffer[..read]);
            if let Some(out) = &mut out {
                out.write_all(&buffer[..read]).map_err(|source| BlobError::Sink { source })?;
            }
        }
    }

    /// Whether a sound large blob lies at its place, hashing it unless this process did so and the
    /// file is unchanged since. `Damaged` says what lies there instead.
    fn large_is_sound(&self, id: &BlobId) -> Result<bool, BlobError> {
        let path = Self::large_path(&id.blake3);
        let Some(stat) = self.disk().stat(&path)? else { return Ok(false) };
        check_large_stat(&path, id, &stat)?;
        if self.verified().contains(&witness(&id.blake3, &stat)) {
            return Ok(true);
        }
        if self.hash_large(&path, None)? != *id {
            return Err(BlobError::Damaged { place: path, damage: BlobDamage::Digest });
        }
        // From before the hashing: a change during it makes the next look hash again.
        self.remember(&id.blake3, &stat);
        Ok(true)
    }

    fn remember(&self, b3: &Blake3, stat: &Stat) {
        self.verified().insert(witness(b3, stat));
    }

    /// Whether this process hashed exactly this file, under any of its names, and it held this blob.
    pub fn is_verified(&self, id: &BlobId, stat: &Stat) -> bool {
        stat.len == id.bytes && self.verified().contains(&witness(&id.blake3, stat))
    }

    /// The bytes of the first sound record.
    fn first_sound(
        &self,
        found: Candidates,
        wanted: impl Fn(&BlobId) -> bool,
    ) -> Result<Option<Vec<u8>>, BlobError> {
        let mut damaged = None;
        for (location, header) in found {
            let read = match header {
                Ok(header) if wanted(&header.id) => self.segments().read(location, &header)?,
                Ok(_) => continue,
                Err(why) => Err(why),
            };
            match read {
                Ok((_, bytes)) => return Ok(Some(bytes)),
                Err(why) => damaged = Some(record_damage(location, why)),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Makes the blob a plain file at `to`, which must not exist, with exactly this mode. Nothing is
    /// made durable. A large blob is shared by reflink where the filesystem can; else by hard link if
    /// the options say so and the mode is that of large blobs; else copied. It is sound when this
    /// returns: small blobs are hashed here, large ones once in a process.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`]; [`DiskError::Exists`] if anything lies at `to`.
    pub fn place(&self, id: &BlobId, to: &str, mode: u32) -> Result<Placed, BlobError> {
        let small = self.segments().locate_blake3(&id.blake3, false)?;
        let small = match self.first_sound(small, |found| found == id) {
            // A damaged record may have a large file, or a newer record, beside it.
            Ok(None) | Err(BlobError::Damaged { .. }) => None,
            other => other?,
        };
        if let Some(bytes) = small {
            self.disk().write_new(to, &bytes, mode)?;
            return Ok(Placed::Written);
        }
        if self.large_is_sound(id)? {
            return self.place_large(&Self::large_path(&id.blake3), id, to, mode);
        }
        match self.get_id(id) {
            Ok(Some(bytes)) => {
                self.disk().write_new(to, &bytes, mode)?;
                Ok(Placed::Written)
            }
            Ok(None) | Err(BlobError::TooLarge { .. }) => Err(BlobError::Missing { sha256: id.sha256 }),
            Err(error) => Err(error),
        }
    }

    fn place_large(&self, from: &str, id: &BlobId, to: &str, mode: u32) -> Result<Placed, BlobError> {
        // A link has the blob's mode, which must stay as it is.
        if self.options().share_large && mode & 0o777 == LARGE_MODE {
            if self.disk().reflink(from, to, mode)? {
                return Ok(Placed::Reflink);
            }
            let before = self.disk().stat(from)?;
            match self.disk().hard_link(from, to) {
                Ok(()) => {
                    self.remember_linked(id, before, self.disk().stat(from)?);
                    return Ok(Placed::HardLink);
                }
                Err(error @ DiskError::Exists { .. }) => return Err(error.into()),
                // No links, or too many of this one: by bytes.
                Err(_) => {}
            }
        }
        Ok(match self.disk().clone_or_copy(from, to, mode)? {
            Copied::Reflink => Placed::Reflink,
            Copied::Bytes => Placed::Written,
        })
    }

    /// A new name changes the file's ctime and nothing else: what was verified stays so.
    fn remember_linked(&self, id: &BlobId, before: Option<Stat>, after: Option<Stat>) {
        if let (Some(before), Some(after)) = (before, after) {
            let bytes = |stat: &Stat| (stat.dev, stat.ino, stat.len, stat.mtime_ns);
            let known = self.verified().contains(&witness(&id.blake3, &before));
            if known && bytes(&before) == bytes(&after) {
                self.remember(&id.blake3, &after);
            }
        }
    }

    /// A writer. Each thread has its own, and keeps it until its batch is committed: the segments it
    /// wrote are locked for as long.
    pub fn writer(&self) -> BlobWriter {
        self.writer_in(FOLDER)
    }

    /// A writer whose large blobs lie in a folder of the caller's until they are flushed.
    pub fn writer_in(&self, temps: &str) -> BlobWriter {
        BlobWriter::new(self.clone(), temps)
    }
}

fn witness(b3: &Blake3, stat: &Stat) -> Witness {
    let Stat { dev, ino, len, mtime_ns, ctime_ns, .. } = *stat;
    Witness { blake3: *b3, dev, ino, len, mtime_ns, ctime_ns }
}

/// The size and kind of what lies in a large blob's place.
fn check_large_stat(path: &str, id: &BlobId, stat: &Stat) -> Result<(), BlobError> {
    let damage = match stat.kind {
        Kind::File if stat.len == id.bytes => return Ok(()),
        Kind::File => BlobDamage::Length { expected: id.bytes, found: stat.len },
        other => BlobDamage::NotRegular { found: other.word() },
    };
    Err(BlobError::Damaged { place: path.to_owned(), damage })
}

fn record_damage(location: Location, why: BadRecord) -> BlobError {
    let place = format!("{} byte {}", segment_path(location.segment), location.offset);
    BlobError::Damaged { place, damage: why.into() }
}

impl Blobs for LocalBlobs {
    fn put(&self, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let mut writer = self.writer();
        let id = writer.put(bytes)?;
        writer.flush()?;
        Ok(id)
    }

    fn get(&self, id: &BlobId) -> Result<Option<Vec<u8>>, BlobError> {
        self.get_id(id)
    }

    fn contains(&self, id: &BlobId) -> Result<bool, BlobError> {
        Self::contains(self, id)
    }

    fn list(&self, visit: &mut dyn FnMut(Blake3, u64)) -> Result<(), BlobError> {
        self.list_all(visit)
    }

    fn delete(&self, id: &BlobId) -> Result<bool, BlobError> {
        let found = self.segments().locate_blake3(&id.blake3, true)?;
        if found.iter().any(|(_, header)| header.is_ok()) {
            return Err(BlobError::Permanent { blake3: id.blake3 });
        }
        let path = Self::large_path(&id.blake3);
        match self.disk().unlink(&path) {
            Ok(()) => {}
            Err(DiskError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.disk().sync_dir(path.rsplit_once('/').map_or("", |(folder, _)| folder))?;
        Ok(true)
    }
}
