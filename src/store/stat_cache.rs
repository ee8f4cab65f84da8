//! What `adopt` remembers of folders that it looked into: a cache, outside the index, that only `adopt`
//! asks and that can be deleted at any time (`store-layout.md`, "Index").
//!
//! A folder's fingerprint is over what the kernel tells of everything in it (device, inode, size, times,
//! mode) and over what else decides which run it is. A folder with a known fingerprint need not be read
//! again: its row says where the log has the run that it was, and what its manifest and file list must be.
//!
//! Rows are of one size and sorted, so that the file is searched where it lies, whatever its length.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;

use super::fingerprint::{Fingerprint, Mark, began_ns, mark};
use super::{Store, StoreError};
use crate::backend::durable::NewFile;
use crate::base::digest::{Sha256, hex};
use crate::format::paths;

/// Where it is written.
const ASIDE: &str = "tmp/index.adopted";
/// Its first line, before the store's id.
const HEAD: &str = "strongroom adopted 2";
/// Key derivation context of the check at its end.
const CHECK_CONTEXT: &str = "strongroom 2026 adopted folders v2";
const CHECK: usize = 32;
/// A larger one is begun anew.
const MOST_BYTES: u64 = 1 << 30;

const ROW: usize = 40;
/// Rows read at once.
const PAGE: usize = 256;
/// What is written at once.
const PIECE: usize = 256 << 10;

/// What ties a fingerprint to a manifest and a file list.
fn tie(print: &Mark, manifest: &Sha256, files: &Sha256) -> Mark {
    let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 adopted run v1");
    hasher.update(print).update(manifest.as_bytes()).update(files.as_bytes());
    mark(&hasher)
}

/// A folder known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Known {
    print: Mark,
    tie: Mark,
    /// The log index of the run's first entry.
    pub entry: u64,
}

impl Known {
    /// Whether a manifest and a file list are those that the folder had.
    pub fn holds(&self, manifest: &Sha256, files: &Sha256) -> bool {
        self.tie == tie(&self.print, manifest, files)
    }

    fn encode(&self) -> [u8; ROW] {
        let mut row = [0; ROW];
        row[..16].copy_from_slice(&self.print);
        row[16..32].copy_from_slice(&self.tie);
        row[32..].copy_from_slice(&self.entry.to_le_bytes());
        row
    }

    fn decode(row: &[u8]) -> Self {
        let part = |at: usize| -> Mark { row[at..at + 16].try_into().expect("a row has two marks") };
        let entry = row[32..ROW].try_into().expect("a row ends with eight bytes");
        Self { print: part(0), tie: part(16), entry: u64::from_le_bytes(entry) }
    }
}

/// A set of numbers below a known one.
struct Bits(Vec<u64>);

impl Bits {
    fn below(end: u64) -> Self {
        Self(vec![0; end.div_ceil(64) as usize])
    }

    fn put(&mut self, number: u64) {
        if let Some(word) = self.0.get_mut((number / 64) as usize) {
            *word |= 1 << (number % 64);
        }
    }

    fn has(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}

/// The rows as they were when the command began.
struct Rows {
    file: File,
    begin: u64,
    count: u64,
    /// The first fingerprint of each page.
    pages: Vec<Mark>,
    /// Which of them this command met.
    met: Bits,
}

impl Rows {
    /// Opens the file; `None` where it is not this store's, or not whole.
    fn open(store: &Store) -> Option<Self> {
        let file = store.disk.open_file(paths::ADOPTED).ok()?;
        let head = head(store);
        let len = file.metadata().ok()?.len();
        let bytes = len.checked_sub((head.len() + CHECK) as u64)?;
        let (begin, count) = (head.len() as u64, bytes / ROW as u64);
        if bytes % ROW as u64 != 0 || len > MOST_BYTES {
            return None;
        }
        let mut reader = BufReader::with_capacity(PIECE, &file);
        let mut hasher = blake3::Hasher::new_derive_key(CHECK_CONTEXT);
        let mut found = vec![0; head.len()];
        reader.read_exact(&mut found).ok()?;
        if found != head {
            return None;
        }
        hasher.update(&head);
        let mut pages = Vec::with_capacity((count as usize).div_ceil(PAGE));
        let mut page = vec![0; PAGE * ROW];
        for first in (0..count).step_by(PAGE) {
            let page = &mut page[..ROW * PAGE.min((count - first) as usize)];
            reader.read_exact(page).ok()?;
            hasher.update(page);
            pages.push(Known::decode(page).print);
        }
        let mut check = [0; CHECK];
        reader.read_exact(&mut check).ok()?;
        drop(reader);
        let whole = check == *hasher.finalize().as_bytes();
        whole.then_some(Self { file, begin, count, pages, met: Bits::below(count) })
    }

    /// The rows from a number on, at most a page of them.
    fn read<'b>(&self, first: u64, buffer: &'b mut Vec<u8>) -> std::io::Result<&'b [u8]> {
        buffer.resize(ROW * PAGE.min((self.count - first) as usize), 0);
        self.file.read_exact_at(buffer, self.begin + first * ROW as u64)?;
        Ok(buffer)
    }

    fn find(&mut self, print: &Mark, buffer: &mut Vec<u8>) -> Option<Known> {
        let page = self.pages.partition_point(|first| first <= print).checked_sub(1)?;
        let first = (page * PAGE) as u64;
        let (rows, _) = self.read(first, buffer).ok()?.as_chunks::<ROW>();
        let at = rows.binary_search_by(|row| row[..16].cmp(print)).ok()?;
        self.met.put(first + at as u64);
        Some(Known::decode(&rows[at]))
    }

    /// Gives every row, in order, and whether it was met.
    fn each(&self, visit: &mut dyn FnMut(Known, bool) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut buffer = Vec::new();
        for first in (0..self.count).step_by(PAGE) {
            let read = self.read(first, &mut buffer);
            let rows = read.map_err(|error| StoreError::Input {
                path: paths::ADOPTED.to_owned(),
                why: error.to_string(),
            })?;
            for (at, row) in rows.chunks_exact(ROW).enumerate() {
                visit(Known::decode(row), self.met.has(first + at as u64))?;
            }
        }
        Ok(())
    }
}

fn head(store: &Store) -> Vec<u8> {
    format!("{HEAD} {}\n", hex(&store.config.store_id)).into_bytes()
}

/// The folders known.
pub(super) struct StatCache {
    rows: Option<Rows>,
    /// Those that came to be known since.
    new: Vec<Known>,
    buffer: Vec<u8>,
    /// When this command began to read.
    began_ns: i128,
    changed: bool,
}

impl StatCache {
    /// Opens the cache; without one that can be read nothing is known. `forget` begins anew.
    pub fn open(store: &Store, forget: bool) -> Self {
        let began_ns = began_ns(store.context.clock.now());
        let rows = if forget { None } else { Rows::open(store) };
        Self { rows, new: Vec::new(), buffer: Vec::new(), began_ns, changed: forget }
    }

    /// What is known of a folder.
    pub fn get(&mut self, print: &Fingerprint) -> Option<Known> {
        self.rows.as_mut()?.find(&print.mark, &mut self.buffer)
    }

    /// Remembers which run a folder is, by the run's first log entry.
    pub fn put(&mut self, print: &Fingerprint, entry: u64, manifest: &Sha256, files: &Sha256) {
        if print.is_settled(self.began_ns) {
            let tie = tie(&print.mark, manifest, files);
            self.new.push(Known { print: print.mark, tie, entry });
            self.changed = true;
        }
    }

    /// Writes it. Nothing depends on it, so nothing is made durable and a failure is none.
    pub fn close(self, store: &Store) {
        if self.changed {
            let _ = self.write(store);
        }
    }

    fn write(mut self, store: &Store) -> Result<(), StoreError> {
        self.new.sort_unstable();
        self.new.dedup_by_key(|known| known.print);
        // Of a run whose folder was met only that folder: the others are copies that are gone, as likely
        // as not.
        let size = store.head()?.size;
        let mut runs = Bits::below(size);
        self.new.iter().for_each(|known| runs.put(known.entry));
        if let Some(rows) = &self.rows {
            rows.each(&mut |known, met| {
                if met {
                    runs.put(known.entry);
                }
                Ok(())
            })?;
        }
        store.disk.discard(ASIDE)?;
        let mut sink = Sink::begin(store)?;
        let mut new = self.new.iter().peekable();
        if let Some(rows) = &self.rows {
            rows.each(&mut |known, met| {
                while let Some(earlier) = new.next_if(|new| new.print < known.print) {
                    sink.put(&earlier.encode())?;
                }
                let again = new.peek().is_some_and(|new| new.print == known.print);
                if !again && known.entry < size && (met || !runs.has(known.entry)) {
                    sink.put(&known.encode())?;
                }
                Ok(())
            })?;
        }
        new.try_for_each(|known| sink.put(&known.encode()))?;
        sink.end()?;
        Ok(store.disk.replace(ASIDE, paths::ADOPTED)?)
    }
}

/// Writes the file from its start and hashes it on the way.
struct Sink {
    file: NewFile,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Sink {
    fn begin(store: &Store) -> Result<Self, StoreError> {
        let file = store.disk.create(ASIDE, 0o644)?;
        let hasher = blake3::Hasher::new_derive_key(CHECK_CONTEXT);
        Ok(Self { file, hasher, buffer: head(store) })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE { self.drain() } else { Ok(()) }
    }

    fn drain(&mut self) -> Result<(), StoreError> {
        self.hasher.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self) -> Result<(), StoreError> {
        self.hasher.update(&self.buffer);
        self.buffer.extend_from_slice(self.hasher.finalize().as_bytes());
        self.file.write_all(&self.buffer)?;
        self.file.finish()?;
        Ok(())
    }
}
