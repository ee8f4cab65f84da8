//! Looking at everything that lies under `objects/`.

use std::collections::BTreeSet;
use std::io::Read as _;

use rayon::prelude::*;

use super::{BlobDamage, BlobError, FOLDER, LocalBlobs};
use crate::backend::durable::{DiskError, Entry, Kind, is_temp_name};
use crate::backend::segment::{self, BadHeader, Depth, HEADER_LEN, Place};
use crate::backend::segments::{self, INDEX, SegmentMark, SegmentsError, segment_number, segment_path};
use crate::base::digest::{Blake3, BlobId, Sha256, parse_hex32};
use crate::base::tag::{Tag, TagKey};

/// One thing that is not as it should be under `objects/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobFinding {
    /// A segment that cannot be read at all: its header is damaged, or it belongs to another store.
    BadSegment {
        /// Its path.
        path: String,
        /// What is wrong.
        why: BadHeader,
    },
    /// A committed segment that is missing or too short.
    Shorter {
        /// Its path.
        path: String,
        /// The committed length.
        committed: u64,
        /// The length found.
        found: u64,
    },
    /// Bytes in a segment that are no good record, and should be.
    DamagedRecord {
        /// The segment's path.
        path: String,
        /// Where they begin.
        offset: u64,
        /// Where they end.
        end: u64,
        /// What is wrong.
        why: segment::BadRecord,
    },
    /// Bytes at a segment's end that are no good record and that nothing refers to: a write that
    /// never finished, or is going on.
    TornTail {
        /// The segment's path.
        path: String,
        /// Where they begin.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
    /// A large blob whose file does not hold what its name says.
    DamagedLarge {
        /// Its path.
        path: String,
        /// What is wrong.
        damage: BlobDamage,
    },
    /// A temporary file of a write that never finished, or is going on.
    Leftover {
        /// Its path.
        path: String,
    },
    /// Something that has no business there.
    Unexpected {
        /// Its path; bytes that are not UTF-8 are replaced.
        path: String,
        /// What it is: `regular file`, `folder`, `symbolic link`, ...
        found: &'static str,
    },
    /// Something that could not be looked at.
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        error: String,
    },
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Segments read through.
    pub segments: u64,
    /// Sound records in them.
    pub records: u64,
    /// Sound large blobs.
    pub large: u64,
    /// Bytes of sound blobs.
    pub bytes: u64,
}

/// The digests of the sound records, as their tags, sorted.
#[derive(Debug, Clone)]
pub struct Sound {
    rows: Vec<Tag>,
    /// Where the rows that begin with each pair of bytes begin. Empty where there are none.
    starts: Vec<u32>,
    tags: TagKey,
}

impl Sound {
    fn of(mut rows: Vec<Tag>, tags: TagKey) -> Self {
        rows.sort_unstable();
        rows.dedup();
        // More rows than can be counted so are searched without the table.
        let starts = match u32::try_from(rows.len()) {
            Ok(1..) => (0..=1 << 16).map(|at| rows.partition_point(|row| pair(row) < at) as u32).collect(),
            _ => Vec::new(),
        };
        Self { rows, starts, tags }
    }

    /// Whether a sound record of these bytes was read.
    pub fn has(&self, digest: &Sha256) -> bool {
        self.has_tag(&self.tags.of(digest))
    }

    fn has_tag(&self, wanted: &Tag) -> bool {
        let at = pair(wanted);
        let near = match self.starts.is_empty() {
            true => &self.rows[..],
            false => &self.rows[self.starts[at] as usize..self.starts[at + 1] as usize],
        };
        near.binary_search(wanted).is_ok()
    }
}

/// The first two bytes as a number.
fn pair(tag: &Tag) -> usize {
    usize::from(u16::from_be_bytes([tag[0], tag[1]]))
}

/// A large blob's file, and what it is to hold.
struct Large {
    path: String,
    address: Blake3,
}

/// What a check has come to so far.
struct Tally {
    checked: Checked,
    sound: Vec<Tag>,
    tags: TagKey,
}

impl Tally {
    fn take(&mut self, id: BlobId) {
        self.checked.records += 1;
        self.checked.bytes += id.bytes;
        self.sound.push(self.tags.of(&id.sha256));
    }
}

type Visit<'a> = &'a mut dyn FnMut(BlobFinding);

impl LocalBlobs {
    /// Reads and hashes everything under `objects/`, gives all that is wrong with it and tells the sound
    /// records, under a fresh key. Changes nothing.
    ///
    /// # Errors
    /// Only if `objects/` itself cannot be listed.
    pub fn check_all(
        &self,
        tags: TagKey,
        visit: &mut dyn FnMut(BlobFinding),
    ) -> Result<(Checked, Sound), BlobError> {
        let mut checked = Tally { checked: Checked::default(), sound: Vec::new(), tags };
        let mut large = Vec::new();
        self.check_missing(visit)?;
        for entry in self.entries(FOLDER)? {
            let name = entry.name.to_string_lossy();
            let path = format!("{FOLDER}/{name}");
            if entry.kind == Kind::Dir && name == "segments" {
                self.each(&path, visit, &mut |entry, path, visit| {
                    self.check_in_segments(entry, path, &mut checked, visit)
                });
            } else if entry.kind == Kind::Dir && is_hex(&name, 2) {
                self.each(&path, visit, &mut |entry, path, visit| {
                    large.extend(large_blob(&name, entry, path, visit));
                    Ok(())
                });
            } else {
                unexpected(&entry, path, visit);
            }
        }
        self.check_large(&large, &mut checked, visit);
        Ok((checked.checked, Sound::of(checked.sound, tags)))
    }

    fn entries(&self, folder: &str) -> Result<Vec<Entry>, DiskError> {
        match self.disk().list(folder) {
            Err(DiskError::NotFound { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    fn each(
        &self,
        folder: &str,
        visit: Visit<'_>,
        check: &mut dyn FnMut(&Entry, &str, Visit<'_>) -> Result<(), BlobError>,
    ) {
        let unreadable = |path: &str, error: &dyn std::error::Error| BlobFinding::Unreadable {
            path: path.to_owned(),
            error: error.to_string(),
        };
        match self.entries(folder) {
            Ok(entries) => {
                for entry in &entries {
                    let path = format!("{folder}/{}", entry.name.to_string_lossy());
                    if let Err(error) = check(entry, &path, visit) {
                        visit(unreadable(&path, &error));
                    }
                }
            }
            Err(error) => visit(unreadable(folder, &error)),
        }
    }

    /// Committed segments that are not there at all.
    fn check_missing(&self, visit: Visit<'_>) -> Result<(), BlobError> {
        let there: BTreeSet<u32> = segments::list(self.disk())?.into_iter().map(|mark| mark.number).collect();
        for (number, committed) in self.segments().all_committed() {
            if committed > 0 && !there.contains(&number) {
                visit(BlobFinding::Shorter { path: segment_path(number), committed, found: 0 });
            }
        }
        Ok(())
    }

    fn check_in_segments(
        &self,
        entry: &Entry,
        path: &str,
        tally: &mut Tally,
        visit: Visit<'_>,
    ) -> Result<(), BlobError> {
        match segment_number(&entry.name) {
            Some(number) if entry.kind == Kind::File => self.check_segment(number, path, tally, visit),
            _ => {
                if !(path == INDEX && entry.kind == Kind::File) {
                    unexpected(entry, path.to_owned(), visit);
                }
                Ok(())
            }
        }
    }

    fn check_segment(
        &self,
        number: u32,
        path: &str,
        tally: &mut Tally,
        visit: Visit<'_>,
    ) -> Result<(), BlobError> {
        let file = self.disk().open_file(path)?;
        let len = self.disk().stat(path)?.map_or(0, |stat| stat.len);
        let meant = self.segments().meant(number);
        let path = path.to_owned();
        if let Some(committed) = meant.filter(|committed| *committed > len) {
            visit(BlobFinding::Shorter { path: path.clone(), committed, found: len });
        }
        if let Some(why) = self.segments().bad_header(&file, number)? {
            visit(if self.never_finished(&file, &path, number, len, &why)? {
                BlobFinding::TornTail { path, offset: 0, bytes: len }
            } else {
                BlobFinding::BadSegment { path, why }
            });
            return Ok(());
        }
        tally.checked.segments += 1;
        let place = Place { store_id: self.options().store_id, number, offset: HEADER_LEN };
        let failed = |source| SegmentsError::Read { path: path.clone(), source };
        if let Some(ids) = segment::all_sound(&file, place, len).map_err(failed)? {
            ids.into_iter().for_each(|id| tally.take(id));
            return Ok(());
        }
        let mut good = |_, header: segment::RecordHeader| tally.take(header.id);
        let scanned = segment::scan(&file, place, len, Depth::Digests, &mut good).map_err(failed)?;
        for bad in scanned.bad {
            // What was committed must be good. Where that is not known, good records behind bad bytes tell.
            visit(if meant.map_or(bad.followed, |committed| bad.offset < committed) {
                let (offset, end, why) = (bad.offset, bad.end, bad.why);
                BlobFinding::DamagedRecord { path: path.clone(), offset, end, why }
            } else {
                let bytes = bad.end - bad.offset;
                BlobFinding::TornTail { path: path.clone(), offset: bad.offset, bytes }
            });
        }
        Ok(())
    }

    /// Hashes large blobs' files, side by side.
    fn check_large(&self, files: &[Large], tally: &mut Tally, visit: Visit<'_>) {
        let hashed: Vec<_> = files.par_iter().map(|large| self.blake3_of(large)).collect();
        for (large, hashed) in files.iter().zip(hashed) {
            let path = large.path.clone();
            match hashed {
                Ok((found, bytes)) if found == large.address => {
                    tally.checked.large += 1;
                    tally.checked.bytes += bytes;
                }
                Ok(_) => visit(BlobFinding::DamagedLarge { path, damage: BlobDamage::Digest }),
                Err(error) => visit(BlobFinding::Unreadable { path, error: error.to_string() }),
            }
        }
    }

    fn blake3_of(&self, large: &Large) -> Result<(Blake3, u64), BlobError> {
        let (mut file, stat) = self.disk().open_with_stat(&large.path)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(BlobError::Read { path: large.path.clone(), source }),
            }
        }
        let found = Blake3::from_bytes(*hasher.finalize().as_bytes());
        if found == large.address && hasher.count() == stat.len {
            self.remember(&found, &stat);
        }
        Ok((found, hasher.count()))
    }

    /// Gives the address and length of every blob once.
    pub(super) fn list_all(&self, visit: &mut dyn FnMut(Blake3, u64)) -> Result<(), BlobError> {
        let mut seen = BTreeSet::new();
        for SegmentMark { number, len } in segments::list(self.disk())? {
            let path = segment_path(number);
            let file = self.disk().open_file(&path)?;
            if self.segments().bad_header(&file, number)?.is_some() {
                continue;
            }
            let place = Place { store_id: self.options().store_id, number, offset: HEADER_LEN };
            let mut add = |_, header: segment::RecordHeader| {
                seen.insert((header.id.blake3, header.id.bytes));
            };
            segment::scan(&file, place, len, Depth::Headers, &mut add)
                .map_err(|source| SegmentsError::Read { path, source })?;
        }
        for folder in self.entries(FOLDER)? {
            let name = folder.name.to_string_lossy();
            if folder.kind != Kind::Dir || !is_hex(&name, 2) {
                continue;
            }
            for file in self.entries(&format!("{FOLDER}/{name}"))? {
                let rest = file.name.to_string_lossy();
                let address = parse_hex32(&format!("{name}{rest}")).filter(|_| file.kind == Kind::File);
                let stat = self.disk().stat(&format!("{FOLDER}/{name}/{rest}"))?;
                if let (Some(address), Some(stat)) = (address, stat) {
                    seen.insert((Blake3::from_bytes(address), stat.len));
                }
            }
        }
        seen.into_iter().for_each(|(b3, bytes)| visit(b3, bytes));
        Ok(())
    }
}

/// The large blob that a file is to hold, unless it is none.
fn large_blob(folder: &str, entry: &Entry, path: &str, visit: Visit<'_>) -> Option<Large> {
    let rest = entry.name.to_string_lossy();
    let Some(address) = parse_hex32(&format!("{folder}{rest}")).filter(|_| is_hex(&rest, 62)) else {
        unexpected(entry, path.to_owned(), visit);
        return None;
    };
    if entry.kind != Kind::File {
        let damage = BlobDamage::NotRegular { found: entry.kind.word() };
        visit(BlobFinding::DamagedLarge { path: path.to_owned(), damage });
        return None;
    }
    Some(Large { path: path.to_owned(), address: Blake3::from_bytes(address) })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn unexpected(entry: &Entry, path: String, visit: Visit<'_>) {
    visit(if is_temp_name(&entry.name) && entry.kind == Kind::File {
        BlobFinding::Leftover { path }
    } else {
        BlobFinding::Unexpected { path, found: entry.kind.word() }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_has_exactly_what_was_seen_however_tags_begin() {
        let key = TagKey::new([[3; 16]; 2]);
        assert!(!Sound::of(Vec::new(), key).has(&Sha256::of(b"x")));
        let near = |first: u8, last: u8| {
            let mut tag = [first; 12];
            tag[11] = last;
            tag
        };
        let seen = [near(0, 1), near(0, 3), near(7, 1), near(255, 1), near(255, 9)];
        let digest = Sha256::of(b"seen");
        let rows = seen.iter().chain(&seen[..2]).copied().chain([key.of(&digest)]).collect();
        let sound = Sound::of(rows, key);
        for tag in seen {
            assert!(sound.has_tag(&tag));
        }
        for tag in [near(0, 2), near(0, 0), near(6, 1), near(8, 1), near(255, 2), near(255, 255)] {
            assert!(!sound.has_tag(&tag));
        }
        assert!(sound.has(&digest) && !sound.has(&Sha256::of(b"unseen")));
    }
}
