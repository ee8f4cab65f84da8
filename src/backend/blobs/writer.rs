//! The writing half of the local driver.
//!
//! Order: bytes first, names after, and nothing counts before [`BlobWriter::flush`] returned. A writer
//! appends to a segment that it has locked and that ends exactly where it is known to be durable, or
//! to a new one: behind bytes that someone else left without a flush, which may never have reached
//! the disk though they can be read, nothing is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::TryLockError;
use std::io::{self, Read};

use super::prepared::{Packed, Prepared};
use super::{BlobError, FOLDER, LARGE_MODE, LocalBlobs, Placed, SegmentMark, Shared};
use crate::backend::durable::{Appender, DiskError, NewFile};
use crate::backend::segment::{BadRecord, Encoder, Place, encode_header, encode_packed};
use crate::backend::segments::{self, Location, SegmentsError, segment_path};
use crate::base::digest::{Blake3, BlobId, Hasher, Sha256};
use crate::base::limits;

/// Up to this many large files are synced one by one, on the descriptors they were written through;
/// more of them by one syncfs.
const SYNC_SINGLY: usize = 32;
/// Unsealed segments that are tried before a new one is made: more than there are writers at once, as a rule, since
/// each new one stays in the head for ever.
const CLAIMS: usize = 128;

struct OpenSegment {
    number: u32,
    file: Appender,
    dirty: bool,
}

struct Large {
    id: BlobId,
    path: String,
    /// The file as it was written, if few are open.
    file: Option<NewFile>,
    /// Whether this writer wrote it. It has its name only once its bytes are durable, so that no crash
    /// leaves a name that leads to other bytes.
    own: bool,
}

/// Writes blobs for one batch or one thread. Others may write at the same time.
pub struct BlobWriter {
    blobs: LocalBlobs,
    /// Where large blobs lie until they are named.
    temps: String,
    encoder: Encoder,
    current: Option<OpenSegment>,
    full: Vec<OpenSegment>,
    own: HashMap<Sha256, BlobId>,
    /// Large blobs of this writer, and where they lie.
    own_large: HashMap<Blake3, String>,
    large: Vec<Large>,
    folders: BTreeSet<String>,
    marks: BTreeMap<u32, u64>,
    repaired: Vec<BlobId>,
    poisoned: bool,
}

impl BlobWriter {
    pub(super) fn new(blobs: LocalBlobs, temps: &str) -> Self {
        Self {
            blobs,
            temps: temps.to_owned(),
            encoder: Encoder::new(),
            current: None,
            full: Vec::new(),
            own: HashMap::new(),
            own_large: HashMap::new(),
            large: Vec::new(),
            folders: BTreeSet::new(),
            marks: BTreeMap::new(),
            repaired: Vec::new(),
            poisoned: false,
        }
    }

    /// Stores bytes: in a segment up to the small limit, else as a large blob.
    pub fn put(&mut self, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let id = BlobId::of(bytes);
        self.put_known(&id, bytes)?;
        Ok(id)
    }

    /// Stores bytes in a segment whatever their size, up to 64 MiB.
    pub fn put_small(&mut self, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let id = BlobId::of(bytes);
        self.put_in_segment(&id, bytes, None)?;
        Ok(id)
    }

    /// As [`BlobWriter::put`] for bytes whose digests the caller has just computed; they are believed.
    pub fn put_known(&mut self, id: &BlobId, bytes: &[u8]) -> Result<(), BlobError> {
        self.put_as(id, bytes, None)
    }

    /// As [`BlobWriter::put_known`], for bytes that were prepared on another thread.
    pub fn put_prepared(&mut self, prepared: &Prepared) -> Result<(), BlobError> {
        self.put_as(&prepared.id, &prepared.bytes, prepared.packed.as_ref())
    }

    /// As [`BlobWriter::put_small`], for bytes that were prepared on another thread.
    pub fn put_small_prepared(&mut self, prepared: &Prepared) -> Result<(), BlobError> {
        self.put_in_segment(&prepared.id, &prepared.bytes, prepared.packed.as_ref())
    }

    fn put_as(&mut self, id: &BlobId, bytes: &[u8], packed: Option<&Packed>) -> Result<(), BlobError> {
        if id.bytes <= self.blobs.options().small_limit.min(limits::SEGMENT_BLOB_BYTES) {
            self.put_in_segment(id, bytes, packed)
        } else {
            self.alive()?;
            if self.own_large.contains_key(&id.blake3) {
                return Ok(());
            }
            if matches!(self.blobs.large_is_sound(id), Ok(true)) {
                self.add_large(id, LocalBlobs::large_path(&id.blake3), None, false);
                return Ok(());
            }
            let mut temp = self.new_temp()?;
            let written = temp.write_all(bytes);
            self.keep_large(temp, written.map_err(BlobError::from).map(|()| *id)).map(drop)
        }
    }

    /// Stores what a reader gives as a large blob, hashing it on the way.
    pub fn put_large(&mut self, source: &mut dyn Read) -> Result<BlobId, BlobError> {
        self.alive()?;
        let mut temp = self.new_temp()?;
        let copied = copy_hashing(source, &mut temp);
        self.keep_large(temp, copied)
    }

    /// The blobs whose stored copies were found damaged and of which good bytes were stored instead.
    pub fn repaired(&self) -> &[BlobId] {
        &self.repaired
    }

    /// Makes everything put so far durable, with the names it lies under, and says how much of which
    /// segments this writer vouches for.
    ///
    /// # Errors
    /// After any failure nothing is known of what was put since the last flush, and the writer takes
    /// nothing more.
    pub fn flush(&mut self) -> Result<Vec<SegmentMark>, BlobError> {
        self.alive()?;
        if let Err(error) = self.make_durable() {
            self.poisoned = true;
            for large in self.large.drain(..).filter(|large| large.own) {
                // Its bytes may be gone though they can be read; nobody is to share them.
                let _ = self.blobs.disk().unlink(&large.path);
            }
            return Err(error);
        }
        // A cache: a failure shows as slower lookups.
        let _ = self.blobs.segments().write_index(false);
        Ok(self.marks.iter().map(|(number, len)| SegmentMark { number: *number, len: *len }).collect())
    }

    fn alive(&self) -> Result<(), BlobError> {
        if self.poisoned { Err(BlobError::Poisoned) } else { Ok(()) }
    }

    fn put_in_segment(
        &mut self,
        id: &BlobId,
        bytes: &[u8],
        packed: Option<&Packed>,
    ) -> Result<(), BlobError> {
        self.alive()?;
        let limit = limits::SEGMENT_BLOB_BYTES;
        if bytes.len() as u64 > limit {
            let what = "a record in a segment";
            return Err(BlobError::TooLarge { what, bytes: bytes.len() as u64, limit });
        }
        if self.own.get(&id.sha256) == Some(id) || self.is_shared(id)? {
            return Ok(());
        }
        let written = self.append(id, bytes, packed);
        self.poisoned = written.is_err();
        written
    }

    /// Whether a sound record of it lies below a committed mark.
    fn is_shared(&mut self, id: &BlobId) -> Result<bool, BlobError> {
        let shared = self.blobs.shared(id)?;
        if shared == Shared::Damaged {
            self.repaired.push(*id);
        }
        Ok(shared == Shared::Sound)
    }

    fn append(&mut self, id: &BlobId, bytes: &[u8], packed: Option<&Packed>) -> Result<(), BlobError> {
        let mut open = match self.current.take() {
            Some(open) => open,
            None => self.claim()?,
        };
        let store_id = self.blobs.options().store_id;
        let place = Place { store_id, number: open.number, offset: open.file.end() };
        let record = match packed {
            Some(Packed(packed)) => encode_packed(&place, id, bytes, packed.as_deref()),
            None => self.encoder.encode(&place, id, bytes),
        };
        let record = record.map_err(|why: BadRecord| BlobError::Damaged {
            place: "the bytes to be stored".to_owned(),
            damage: why.into(),
        })?;
        open.dirty = true;
        open.file.write_at_end(&record)?;
        self.own.insert(id.sha256, *id);
        if open.file.end() >= self.blobs.options().segment_bytes {
            self.full.push(open);
        } else {
            self.current = Some(open);
        }
        Ok(())
    }

    /// Locks a segment to append to.
    fn claim(&mut self) -> Result<OpenSegment, BlobError> {
        let there = segments::list(self.blobs.disk())?;
        let room = self.blobs.options().segment_bytes;
        for mark in there.iter().rev().filter(|mark| mark.len < room).take(CLAIMS) {
            if self.ends_clean(mark)
                && let Some(open) = self.try_claim(mark.number)?
            {
                return Ok(open);
            }
        }
        let mut number = there.last().map_or(0, |mark| mark.number);
        loop {
            number = number.checked_add(1).ok_or(BlobError::TooLarge {
                what: "a segment's number",
                bytes: u64::from(u32::MAX) + 1,
                limit: u64::from(u32::MAX),
            })?;
            if let Some(open) = self.create_segment(number)? {
                return Ok(open);
            }
        }
    }

    /// Whether a segment ends exactly where it is known to be durable.
    fn ends_clean(&self, mark: &SegmentMark) -> bool {
        self.blobs.segments().committed(mark.number) == Some(mark.len) || self.blobs.clean().contains(mark)
    }

    fn try_claim(&self, number: u32) -> Result<Option<OpenSegment>, BlobError> {
        let path = segment_path(number);
        let mut file = match self.blobs.disk().append_existing(&path) {
            Ok(file) => file,
            Err(DiskError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !lock_named(&file)? {
            return Ok(None);
        }
        // Another writer may have appended, and let go, since its length was seen.
        let len = file.reread_end()?;
        let sound = self.ends_clean(&SegmentMark { number, len })
            && self.blobs.segments().bad_header(file.file(), number)?.is_none();
        Ok(sound.then_some(OpenSegment { number, file, dirty: false }))
    }

    fn create_segment(&mut self, number: u32) -> Result<Option<OpenSegment>, BlobError> {
        let disk = self.blobs.disk();
        disk.mkdir_all(segments::FOLDER)?;
        let mut file = match disk.append_new(&segment_path(number)) {
            Ok(file) => file,
            Err(DiskError::Exists { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Recovery may have locked it to look at it; then it is left, empty, and taken away there. Or it was:
        // what is written to a file without a name is lost.
        if !lock_named(&file)? {
            return Ok(None);
        }
        file.write_at_end(&encode_header(&self.blobs.options().store_id, number))?;
        // All of them, since another process may have made a folder and not synced it yet.
        self.folders.extend([segments::FOLDER, FOLDER, ""].map(str::to_owned));
        Ok(Some(OpenSegment { number, file, dirty: true }))
    }

    fn new_temp(&mut self) -> Result<NewFile, BlobError> {
        self.blobs.disk().mkdir_all(&self.temps)?;
        Ok(self.blobs.disk().create_temp(&self.temps, LARGE_MODE)?)
    }

    /// Keeps a written temporary file until it is named, or drops it.
    fn keep_large(&mut self, temp: NewFile, copied: Result<BlobId, BlobError>) -> Result<BlobId, BlobError> {
        let name = temp.path().to_owned();
        let kept = copied.and_then(|id| self.try_keep_large(temp, &id).map(|used| (id, used)));
        if !matches!(kept, Ok((_, true))) {
            let _ = self.blobs.disk().unlink(&name);
        }
        kept.map(|(id, _)| id)
    }

    /// Says whether the temporary file was used.
    fn try_keep_large(&mut self, temp: NewFile, id: &BlobId) -> Result<bool, BlobError> {
        if self.own_large.contains_key(&id.blake3) {
            return Ok(false);
        }
        match self.blobs.large_is_sound(id) {
            Ok(true) => {
                self.add_large(id, LocalBlobs::large_path(&id.blake3), None, false);
                return Ok(false);
            }
            Ok(false) => {}
            Err(BlobError::Damaged { .. }) => self.repaired.push(*id),
            Err(error) => return Err(error),
        }
        let few = self.large.len() < SYNC_SINGLY;
        self.add_large(id, temp.path().to_owned(), few.then_some(temp), true);
        Ok(true)
    }

    /// One that is there already is made durable here too: who wrote it may not have done so yet.
    fn add_large(&mut self, id: &BlobId, path: String, file: Option<NewFile>, own: bool) {
        self.own_large.insert(id.blake3, path.clone());
        self.large.push(Large { id: *id, path, file, own });
    }

    /// As [`LocalBlobs::place`], with the large blobs of this writer that have no name yet.
    pub fn place(&self, id: &BlobId, to: &str, mode: u32) -> Result<Placed, BlobError> {
        match self.own_large.get(&id.blake3) {
            Some(path) => self.blobs.place_large(path, id, to, mode),
            None => self.blobs.place(id, to, mode),
        }
    }

    /// Gives the large blobs of this writer, whose bytes are durable, their names.
    fn name_large(&mut self) -> Result<(), BlobError> {
        let blobs = self.blobs.clone();
        let disk = blobs.disk();
        for large in &mut self.large {
            let path = LocalBlobs::large_path(&large.id.blake3);
            let (folder, _) = path.rsplit_once('/').expect("the path of a large blob has a folder");
            self.folders.extend([folder, FOLDER, ""].map(str::to_owned));
            if !large.own {
                continue;
            }
            disk.mkdir_all(folder)?;
            match disk.rename_new(&large.path, &path) {
                Ok(()) => {}
                // What lies there is damaged, or someone else stored the same bytes in between.
                Err(DiskError::Exists { .. }) => match blobs.large_is_sound(&large.id) {
                    Ok(_) => {
                        disk.unlink(&large.path)?;
                        disk.sync_file(&path)?;
                        large.own = false;
                    }
                    Err(BlobError::Damaged { .. }) => disk.replace(&large.path, &path)?,
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error.into()),
            }
            large.path.clone_from(&path);
            if let Some(stat) = disk.stat(&path)? {
                blobs.remember(&large.id.blake3, &stat);
            }
            self.own_large.insert(large.id.blake3, path);
        }
        Ok(())
    }

    fn make_durable(&mut self) -> Result<(), BlobError> {
        let disk = self.blobs.disk().clone();
        let mut flushed = Vec::new();
        for open in self.full.iter_mut().chain(&mut self.current).filter(|open| open.dirty) {
            open.file.sync()?;
            open.dirty = false;
            flushed.push(SegmentMark { number: open.number, len: open.file.end() });
        }
        if self.large.len() > SYNC_SINGLY {
            disk.sync_all()?;
        } else {
            for large in &mut self.large {
                match &mut large.file {
                    Some(file) => file.sync()?,
                    None => disk.sync_file(&large.path)?,
                }
            }
        }
        self.name_large()?;
        // Innermost first, so that no name is durable in a folder that is not.
        for folder in self.folders.iter().rev() {
            disk.sync_dir(folder)?;
        }
        self.full.clear();
        self.large.clear();
        self.folders.clear();
        self.blobs.clean().extend(&flushed);
        self.marks.extend(flushed.iter().map(|mark| (mark.number, mark.len)));
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let unnamed = self.large.iter().filter(|large| large.own);
        for large in unnamed.filter(|large| large.path != LocalBlobs::large_path(&large.id.blake3)) {
            // What cannot be removed is found as a leftover.
            let _ = self.blobs.disk().unlink(&large.path);
        }
    }
}

/// Whether the lock was free; it is held until the file is closed.
pub(super) fn try_lock(file: &Appender) -> Result<bool, BlobError> {
    match file.file().try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => {
            Err(SegmentsError::Read { path: file.path().to_owned(), source }.into())
        }
    }
}

/// As [`try_lock`], of a file that still has its name once it is locked: nobody takes it away from then on.
pub(super) fn lock_named(file: &Appender) -> Result<bool, BlobError> {
    Ok(try_lock(file)? && file.still_named()?)
}

fn copy_hashing(source: &mut dyn Read, target: &mut NewFile) -> Result<BlobId, BlobError> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(BlobError::Source { source }),
        };
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
    }
}

impl std::fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let segment =
            self.current.as_ref().map(|open| Location { segment: open.number, offset: open.file.end() });
        f.debug_struct("BlobWriter").field("at", &segment).finish_non_exhaustive()
    }
}
