//! The segments of a store as one set: which there are, and where in them a blob lies.
//!
//! A blob is found by either digest in two tables: the index file (`index`), which covers each segment
//! up to a committed length, and rows in memory for what lies beyond. The index is a cache: it is
//! ignored when it does not fit the segments, and every row, from either table, is confirmed by the
//! record it leads to. So a wrong row costs a read and never gives a wrong blob.
//!
//! Only lengths that a commit vouched for are covered: those bytes are never cut again, while a tail
//! may be cut and written anew under a row that still leads there.

mod index;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::durable::{Disk, DiskError, Kind};
use super::segment::{self, BadHeader, BadRecord, Depth, HEADER_LEN, Place, RecordHeader};
use crate::base::digest::{Blake3, BlobId, Sha256};
use index::{Covered, Index, Table};

/// Where the segments lie.
pub const FOLDER: &str = "objects/segments";
/// The index file's path.
pub const INDEX: &str = "objects/segments/index";

/// Most segment files held open for reading at once.
const OPEN_FILES: usize = 64;

/// The most records of which it is held that they were read and hashed.
const VERIFIED_HELD: usize = 1 << 16;

/// A segment and how much of it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentMark {
    /// The segment's number.
    pub number: u32,
    /// Its length, in bytes.
    pub len: u64,
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The segment's number.
    pub segment: u32,
    /// The record's offset in it.
    pub offset: u64,
}

/// Half a digest (the other half stands in the record) and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: [u8; 16],
    location: Location,
}

fn key(digest: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

/// A segment's path, relative to the root.
pub fn segment_path(number: u32) -> String {
    format!("{FOLDER}/{number:08x}.seg")
}

/// The number in a segment's file name, if it is one.
pub fn segment_number(name: &std::ffi::OsStr) -> Option<u32> {
    let stem = name.to_str()?.strip_suffix(".seg")?;
    let digits = stem.len() == 8 && stem.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits { u32::from_str_radix(stem, 16).ok() } else { None }
}

/// The segments there are, with their lengths, by number.
pub(super) fn list(disk: &Disk) -> Result<Vec<SegmentMark>, DiskError> {
    let entries = match disk.list(FOLDER) {
        Ok(entries) => entries,
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        if let (Some(number), Kind::File) = (segment_number(&entry.name), entry.kind)
            && let Some(stat) = disk.stat(&segment_path(number))?
        {
            found.push(SegmentMark { number, len: stat.len });
        }
    }
    Ok(found)
}

/// Why a segment was not read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentsError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A read failed.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file, relative to the root.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl SegmentsError {
    fn read(path: String) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Read { path, source }
    }
}

/// A record as it was found: good bytes, or why not.
pub(super) type Found = Result<(RecordHeader, Vec<u8>), BadRecord>;

/// Records that may be the one looked for, each with its header or why it has none.
pub(super) type Candidates = Vec<(Location, Result<RecordHeader, BadRecord>)>;

#[derive(Default)]
struct State {
    loaded: bool,
    /// Whether something was committed since the segments were last looked at.
    stale: bool,
    index: Option<Arc<Index>>,
    /// For each segment, how far rows of it are in one of the tables.
    seen: BTreeMap<u32, u64>,
    /// Rows beyond the index, sorted.
    by_sha256: Vec<Row>,
    by_blake3: Vec<Row>,
    committed: HashMap<u32, u64>,
    /// Whether what is committed was ever told.
    told: bool,
    files: HashMap<u32, Arc<File>>,
    verified: HashSet<Location>,
}

/// The set of segments. All calls may come from any thread.
pub(super) struct Segments {
    disk: Disk,
    store_id: [u8; 16],
    state: Mutex<State>,
}

impl Segments {
    pub(super) fn new(disk: Disk, store_id: [u8; 16]) -> Self {
        Self { disk, store_id, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking thread leaves is a cache that is checked at every use.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(super) fn place(&self, location: Location) -> Place {
        Place { store_id: self.store_id, number: location.segment, offset: location.offset }
    }

    pub(super) fn set_committed(&self, marks: &[SegmentMark]) {
        let mut state = self.state();
        state.stale = true;
        state.told = true;
        for mark in marks {
            let len = state.committed.entry(mark.number).or_default();
            *len = mark.len.max(*len);
        }
    }

    pub(super) fn is_told(&self) -> bool {
        self.state().told
    }

    pub(super) fn committed(&self, number: u32) -> Option<u64> {
        self.state().committed.get(&number).copied()
    }

    /// How much of a segment is meant: nothing of one that no commit names. `None` as long as it is not known
    /// what is committed.
    pub(super) fn meant(&self, number: u32) -> Option<u64> {
        let state = self.state();
        state.told.then(|| state.committed.get(&number).copied().unwrap_or(0))
    }

    /// All committed marks, by number.
    pub(super) fn all_committed(&self) -> BTreeMap<u32, u64> {
        self.state().committed.iter().map(|(number, len)| (*number, *len)).collect()
    }

    /// Whether this process has read and hashed the record.
    pub(super) fn is_verified(&self, location: Location) -> bool {
        self.state().verified.contains(&location)
    }

    pub(super) fn set_verified(&self, location: Location) {
        let mut state = self.state();
        if state.verified.len() >= VERIFIED_HELD {
            // They are only read again.
            state.verified.clear();
        }
        state.verified.insert(location);
    }

    /// Records that state this SHA-256, the ones that can be read at all first seen first. `fresh`
    /// looks at the disk again before it says that there are none.
    pub(super) fn locate_sha256(&self, sha: &Sha256, fresh: bool) -> Result<Candidates, SegmentsError> {
        self.locate(Table::Sha256, sha.as_bytes(), fresh, |header| header.id.sha256 == *sha)
    }

    /// As [`Segments::locate_sha256`], by BLAKE3.
    pub(super) fn locate_blake3(&self, b3: &Blake3, fresh: bool) -> Result<Candidates, SegmentsError> {
        self.locate(Table::Blake3, b3.as_bytes(), fresh, |header| header.id.blake3 == *b3)
    }

    fn locate(
        &self,
        table: Table,
        digest: &[u8; 32],
        fresh: bool,
        same: impl Fn(&RecordHeader) -> bool,
    ) -> Result<Candidates, SegmentsError> {
        let mut state = self.state();
        if !state.loaded || state.stale {
            self.refresh(&mut state)?;
        }
        let found = self.confirmed(state, table, digest, &same)?;
        if !fresh || !found.iter().all(|(_, header)| header.is_err()) {
            return Ok(found);
        }
        // Absent, or damaged, is believed only of an index that is whole, and of segments as they are now.
        let mut state = self.state();
        if state.index.as_ref().is_some_and(|index| !index.is_whole()) {
            *state = State {
                committed: std::mem::take(&mut state.committed),
                told: state.told,
                ..State::default()
            };
            self.scan_all(&mut state)?;
        } else {
            self.refresh(&mut state)?;
        }
        self.confirmed(state, table, digest, &same)
    }

    /// The tables are looked at in the state as it is; what they lead to is read without the lock, so that
    /// readers do not wait for each other.
    fn confirmed(
        &self,
        state: MutexGuard<'_, State>,
        table: Table,
        digest: &[u8; 32],
        same: &impl Fn(&RecordHeader) -> bool,
    ) -> Result<Candidates, SegmentsError> {
        let wanted = key(digest);
        let rows = match table {
            Table::Sha256 => &state.by_sha256,
            Table::Blake3 => &state.by_blake3,
        };
        let start = rows.partition_point(|row| row.key < wanted);
        let beyond = rows[start..].iter().take_while(|row| row.key == wanted).map(|row| row.location);
        let beyond: Vec<Location> = beyond.collect();
        let index = state.index.clone();
        drop(state);
        let mut locations = match index {
            Some(index) => index.find(table, &wanted).map_err(SegmentsError::read(INDEX.into()))?,
            None => Vec::new(),
        };
        locations.extend(beyond);
        let mut found = Vec::with_capacity(locations.len());
        for location in locations {
            let header = self.header_at(location)?;
            if header.as_ref().map_or(true, same) {
                found.push((location, header));
            }
        }
        Ok(found)
    }

    fn header_at(&self, location: Location) -> Result<Result<RecordHeader, BadRecord>, SegmentsError> {
        let file = self.file(&mut self.state(), location.segment)?;
        let bytes = match file {
            Some(file) => read_some(&file, location, segment::RECORD_HEADER_LEN)?,
            None => Vec::new(),
        };
        Ok(segment::decode_record_header(&self.place(location), &bytes))
    }

    fn read_in(&self, state: &mut State, location: Location, len: u64) -> Result<Vec<u8>, SegmentsError> {
        let file = self.file(state, location.segment)?;
        let Some(file) = file else { return Ok(Vec::new()) };
        read_some(&file, location, len)
    }

    /// A segment open for reading; `None` if it is gone.
    fn file(&self, state: &mut State, number: u32) -> Result<Option<Arc<File>>, SegmentsError> {
        if let Some(file) = state.files.get(&number) {
            return Ok(Some(Arc::clone(file)));
        }
        let file = match self.disk.open_file(&segment_path(number)) {
            Ok(file) => Arc::new(file),
            Err(DiskError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if state.files.len() >= OPEN_FILES {
            state.files.clear();
        }
        state.files.insert(number, Arc::clone(&file));
        Ok(Some(file))
    }

    /// Reads a record and hashes what it holds.
    pub(super) fn read(&self, location: Location, header: &RecordHeader) -> Result<Found, SegmentsError> {
        // The bytes are read without the lock, so that readers do not wait for each other.
        let file = self.file(&mut self.state(), location.segment)?;
        let Some(file) = file else { return Ok(Err(BadRecord::Short)) };
        let bytes = read_some(&file, location, header.extent())?;
        Ok(segment::decode_record(&self.place(location), &bytes))
    }

    /// Takes in what is new on disk.
    fn refresh(&self, state: &mut State) -> Result<(), SegmentsError> {
        if !state.loaded {
            state.index = Index::open(&self.disk, &self.store_id).map(Arc::new);
            if let Some(index) = &state.index {
                state.seen = index.covered().iter().map(|covered| (covered.number, covered.len)).collect();
            }
        }
        self.scan_all(state)
    }

    /// Scans every segment from where it was last seen to.
    fn scan_all(&self, state: &mut State) -> Result<(), SegmentsError> {
        let mut fresh: Vec<(BlobId, Location)> = Vec::new();
        for mark in list(&self.disk)? {
            let seen = state.seen.get(&mark.number).copied().unwrap_or(0);
            if mark.len < seen {
                // A tail that was cut: its rows lead nowhere, and are told so when they are used.
                state.seen.insert(mark.number, 0);
            }
            let seen = state.seen.get(&mark.number).copied().unwrap_or(0);
            if mark.len > seen {
                let scanned = self.scan_segment(state, mark, seen.max(HEADER_LEN), &mut fresh)?;
                if let Some(scanned) = scanned {
                    state.seen.insert(mark.number, scanned);
                }
            }
        }
        state.loaded = true;
        state.stale = false;
        if !fresh.is_empty() {
            let rows = |digest: fn(&BlobId) -> &[u8; 32]| {
                fresh.iter().map(move |(id, location)| Row { key: key(digest(id)), location: *location })
            };
            state.by_sha256.extend(rows(|id| id.sha256.as_bytes()));
            state.by_blake3.extend(rows(|id| id.blake3.as_bytes()));
            // The old rows are one sorted run, which the stable sort only merges.
            state.by_sha256.sort();
            state.by_blake3.sort();
            state.by_sha256.dedup();
            state.by_blake3.dedup();
        }
        Ok(())
    }

    /// Scans the headers of one segment; gives how far it need not be looked at again, or `None` for
    /// a file that is no segment of this store (`check_all` says so).
    fn scan_segment(
        &self,
        state: &mut State,
        mark: SegmentMark,
        from: u64,
        fresh: &mut Vec<(BlobId, Location)>,
    ) -> Result<Option<u64>, SegmentsError> {
        let path = segment_path(mark.number);
        let Some(file) = self.file(state, mark.number)? else { return Ok(None) };
        if self.bad_header(&file, mark.number)?.is_some() {
            // It may be gone, and the number used again, when it is next looked for.
            state.files.remove(&mark.number);
            return Ok(None);
        }
        let place = Place { store_id: self.store_id, number: mark.number, offset: from };
        let mut visit = |offset, header: RecordHeader| {
            fresh.push((header.id, Location { segment: mark.number, offset }));
        };
        let scanned = segment::scan(&*file, place, mark.len, Depth::Headers, &mut visit)
            .map_err(SegmentsError::read(path))?;
        Ok(Some(scanned.torn_tail().unwrap_or(mark.len)))
    }

    /// What is wrong with a segment's header.
    pub(super) fn bad_header(&self, file: &File, number: u32) -> Result<Option<BadHeader>, SegmentsError> {
        let bytes = read_some(file, Location { segment: number, offset: 0 }, HEADER_LEN)?;
        Ok(segment::check_header(&bytes, &self.store_id, number).err())
    }

    /// Rewrites the index file if it has fallen far enough behind, or in any case; says whether it
    /// did. Not durable, and need not be.
    pub(super) fn write_index(&self, always: bool) -> Result<bool, SegmentsError> {
        let mut state = self.state();
        self.refresh(&mut state)?;
        let committed = state.committed.clone();
        let covered =
            |location: &Location| committed.get(&location.segment).is_some_and(|len| location.offset < *len);
        let new = state.by_sha256.iter().filter(|row| covered(&row.location)).count() as u64;
        let old = state.index.as_ref().map_or(0, |index| index.records());
        // In proportion to what is rewritten, so that the whole cost stays linear.
        if !always && new < 8192 + old / 16 {
            return Ok(false);
        }
        if state.index.as_ref().is_some_and(|index| !index.is_whole()) {
            *state = State {
                committed: std::mem::take(&mut state.committed),
                told: state.told,
                ..State::default()
            };
            self.scan_all(&mut state)?;
        }
        let mut lengths = Vec::new();
        let marks: Vec<(u32, u64)> = state.seen.iter().map(|(number, seen)| (*number, *seen)).collect();
        for (number, seen) in marks {
            let len = committed.get(&number).copied().unwrap_or(0).min(seen);
            let before = state.index.as_ref().and_then(|index| index.covers(number)).unwrap_or(0);
            let len = len.max(before);
            if len > HEADER_LEN {
                let last = self.read_in(&mut state, Location { segment: number, offset: len - 16 }, 16)?;
                if let Ok(check) = last.try_into() {
                    lengths.push(Covered { number, len, check });
                }
            }
        }
        let lens: HashMap<u32, u64> = lengths.iter().map(|covered| (covered.number, covered.len)).collect();
        let within =
            |location: &Location| lens.get(&location.segment).is_some_and(|len| location.offset < *len);
        let pick =
            |rows: &[Row]| rows.iter().filter(|row| within(&row.location)).copied().collect::<Vec<_>>();
        let (sha, b3) = (pick(&state.by_sha256), pick(&state.by_blake3));
        index::write(&self.disk, &self.store_id, &lengths, state.index.as_deref(), &sha, &b3)?;
        // Read back as anyone else would.
        *state = State {
            committed: std::mem::take(&mut state.committed),
            told: state.told,
            verified: std::mem::take(&mut state.verified),
            files: std::mem::take(&mut state.files),
            ..State::default()
        };
        self.refresh(&mut state)?;
        Ok(true)
    }
}

fn read_some(file: &File, location: Location, len: u64) -> Result<Vec<u8>, SegmentsError> {
    use segment::ReadAt as _;
    let path = || segment_path(location.segment);
    let len = usize::try_from(len).map_err(io::Error::other).map_err(SegmentsError::read(path()))?;
    let mut bytes = vec![0; len];
    let read = file.read_at_most(location.offset, &mut bytes).map_err(SegmentsError::read(path()))?;
    bytes.truncate(read);
    Ok(bytes)
}
