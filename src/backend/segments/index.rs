//! The index over the segments: a cache file that can be deleted at any moment.
//!
//! Numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SRMIDX` CR LF |
//! | 4 | format, 1 |
//! | 4 | number of segments covered, s |
//! | 16 | store id |
//! | 8 | rows in each table, n |
//! | s x 28 | number (4), length covered (8), the 16 bytes before that length |
//! | 2048 | SHA-256 fanout: for each first byte, rows whose first byte is not above it |
//! | 2048 | BLAKE3 fanout |
//! | 32 | check over everything before it, BLAKE3 derive-key under [`HEAD_CONTEXT`] |
//! | n x 28 | SHA-256 rows: first half of the digest (16), segment (4), offset (8), sorted |
//! | n x 28 | BLAKE3 rows |
//! | 32 | check over everything before it, BLAKE3 derive-key under [`WHOLE_CONTEXT`] |
//!
//! Opening reads up to the first check. A row that is found is confirmed by its record; that none is
//! found is believed once the second check was computed, which is done once and only when needed.
//! Rows are read with positioned reads; rewriting merges the old file with the new rows as a stream.

use std::fs::File;
use std::io;
use std::sync::OnceLock;

use super::{INDEX, Location, Row, SegmentsError, read_some, segment_path};
use crate::backend::durable::{Disk, DiskError, NewFile};
use crate::backend::segment::{HEADER_LEN, ReadAt as _};

/// Key derivation context of the first check.
pub(super) const HEAD_CONTEXT: &str = "strongroom 2026 segment index head v1";
/// Key derivation context of the second check.
pub(super) const WHOLE_CONTEXT: &str = "strongroom 2026 segment index v1";

const MAGIC: &[u8; 8] = b"SRMIDX\r\n";
const FORMAT: u32 = 1;
const FIXED: usize = 40;
const SEGMENT: usize = 28;
const FANOUT: usize = 256 * 8;
const ROW: usize = 28;
/// More segments than any store has; keeps a hostile count from taking memory.
const MOST_SEGMENTS: usize = 1 << 20;

/// Which digest a table is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// By SHA-256.
    Sha256,
    /// By BLAKE3.
    Blake3,
}

/// How much of a segment the index knows, and the bytes just before that, which tell whether it is
/// still that segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) number: u32,
    pub(super) len: u64,
    pub(super) check: [u8; 16],
}

/// An open index that fits the segments.
pub(super) struct Index {
    file: File,
    covered: Vec<Covered>,
    records: u64,
    fanout: [Vec<u64>; 2],
    /// Where the rows begin.
    rows: u64,
    whole: OnceLock<bool>,
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller cut exactly N bytes")
}

fn encode_row(row: &Row) -> [u8; ROW] {
    let mut out = [0; ROW];
    out[..16].copy_from_slice(&row.key);
    out[16..20].copy_from_slice(&row.location.segment.to_le_bytes());
    out[20..].copy_from_slice(&row.location.offset.to_le_bytes());
    out
}

fn decode_row(bytes: &[u8]) -> Row {
    let segment = u32::from_le_bytes(array(&bytes[16..20]));
    let offset = u64::from_le_bytes(array(&bytes[20..28]));
    Row { key: array(&bytes[..16]), location: Location { segment, offset } }
}

impl Index {
    /// Opens the index; `None` if there is none, or none that fits the segments.
    pub(super) fn open(disk: &Disk, store_id: &[u8; 16]) -> Option<Self> {
        let file = disk.open_file(INDEX).ok()?;
        let index = Self::parse(file, store_id)?;
        for covered in &index.covered {
            let file = disk.open_file(&segment_path(covered.number)).ok()?;
            let at = Location { segment: covered.number, offset: covered.len - 16 };
            if read_some(&file, at, 16).ok()? != covered.check {
                return None;
            }
        }
        Some(index)
    }

    fn parse(file: File, store_id: &[u8; 16]) -> Option<Self> {
        let mut fixed = [0; FIXED];
        let got = file.read_at_most(0, &mut fixed).ok()?;
        let segments = u32::from_le_bytes(array(&fixed[12..16])) as usize;
        let known = &fixed[..8] == MAGIC
            && fixed[8..12] == FORMAT.to_le_bytes()
            && fixed[16..32] == store_id[..]
            && got == FIXED
            && segments <= MOST_SEGMENTS;
        if !known {
            return None;
        }
        let head = FIXED + segments * SEGMENT + 2 * FANOUT;
        let mut bytes = vec![0; head + 32];
        if file.read_at_most(0, &mut bytes).ok()? != bytes.len()
            || bytes[head..] != blake3::derive_key(HEAD_CONTEXT, &bytes[..head])
        {
            return None;
        }
        let records = u64::from_le_bytes(array(&bytes[32..40]));
        let covered: Vec<Covered> = bytes[FIXED..FIXED + segments * SEGMENT]
            .chunks_exact(SEGMENT)
            .map(|part| Covered {
                number: u32::from_le_bytes(array(&part[..4])),
                len: u64::from_le_bytes(array(&part[4..12])),
                check: array(&part[12..]),
            })
            .collect();
        let fanout = |at: usize| -> Vec<u64> {
            bytes[at..at + FANOUT].chunks_exact(8).map(|part| u64::from_le_bytes(array(part))).collect()
        };
        let fanout = [fanout(head - 2 * FANOUT), fanout(head - FANOUT)];
        let rows = (head + 32) as u64;
        let end = records.checked_mul(2 * ROW as u64)?.checked_add(rows + 32)?;
        let sound = fanout.iter().all(|table| table.is_sorted() && table.last() == Some(&records))
            && covered.iter().all(|covered| covered.len > HEADER_LEN)
            && file.metadata().ok()?.len() == end;
        sound.then_some(Self { file, covered, records, fanout, rows, whole: OnceLock::new() })
    }

    pub(super) fn covered(&self) -> &[Covered] {
        &self.covered
    }

    pub(super) fn covers(&self, number: u32) -> Option<u64> {
        self.covered.iter().find(|covered| covered.number == number).map(|covered| covered.len)
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Whether the second check fits; computed once.
    pub(super) fn is_whole(&self) -> bool {
        *self.whole.get_or_init(|| self.check_whole().unwrap_or(false))
    }

    fn check_whole(&self) -> io::Result<bool> {
        let end = self.rows + self.records * 2 * ROW as u64;
        let mut hasher = blake3::Hasher::new_derive_key(WHOLE_CONTEXT);
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        while at < end {
            let want = buffer.len().min((end - at) as usize);
            let read = self.file.read_at_most(at, &mut buffer[..want])?;
            if read < want {
                return Ok(false);
            }
            hasher.update(&buffer[..read]);
            at += read as u64;
        }
        let mut check = [0; 32];
        let read = self.file.read_at_most(end, &mut check)?;
        Ok(read == 32 && check == *hasher.finalize().as_bytes())
    }

    fn table_start(&self, table: Table) -> u64 {
        match table {
            Table::Sha256 => self.rows,
            Table::Blake3 => self.rows + self.records * ROW as u64,
        }
    }

    /// Rows of a table from a number on.
    fn read_rows(&self, table: Table, from: u64, count: usize) -> io::Result<Vec<Row>> {
        let mut bytes = vec![0; count * ROW];
        let at = self.table_start(table) + from * ROW as u64;
        if self.file.read_at_most(at, &mut bytes)? < bytes.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.chunks_exact(ROW).map(decode_row).collect())
    }

    /// Where the rows with a key lead. Digests lie evenly, so one read about where the key should be
    /// nearly always holds it; where it does not, what is left is halved.
    pub(super) fn find(&self, table: Table, key: &[u8; 16]) -> io::Result<Vec<Location>> {
        let fanout = &self.fanout[usize::from(table == Table::Blake3)];
        let first = usize::from(key[0]);
        let mut low = if first == 0 { 0 } else { fanout[first - 1] };
        let end = fanout[first];
        let mut high = end;
        let mut guess = interpolate(low, high, key);
        loop {
            let from = guess.saturating_sub(PIECE as u64 / 2).clamp(low, high.max(low));
            let rows = self.read_rows(table, from, PIECE.min((end - from) as usize))?;
            let before = rows.partition_point(|row| row.key < *key);
            if before == 0 && from > low {
                high = from;
            } else if before == rows.len() && from + (before as u64) < high {
                low = from + before as u64;
            } else {
                return self.run_of(table, key, &rows[before..], from + rows.len() as u64, end);
            }
            guess = low + (high - low) / 2;
        }
    }

    /// The leading rows with a key, and those that go on behind what was read.
    fn run_of(
        &self,
        table: Table,
        key: &[u8; 16],
        read: &[Row],
        mut next: u64,
        end: u64,
    ) -> io::Result<Vec<Location>> {
        let same = |rows: &[Row]| -> Vec<Location> {
            rows.iter().take_while(|row| row.key == *key).map(|row| row.location).collect()
        };
        let mut found = same(read);
        let mut all = found.len() == read.len();
        while all && next < end {
            let rows = self.read_rows(table, next, PIECE.min((end - next) as usize))?;
            let more = same(&rows);
            all = more.len() == rows.len();
            next += rows.len() as u64;
            found.extend(more);
        }
        Ok(found)
    }
}

/// Rows that are read at once.
const PIECE: usize = 128;

/// Where among the rows of one first byte a key should be.
fn interpolate(low: u64, high: u64, key: &[u8; 16]) -> u64 {
    let part = u32::from_be_bytes(array(&key[1..5]));
    low + ((u128::from(high - low) * u128::from(part)) >> 32) as u64
}

/// The old table's rows, then the new ones, merged in order, each given to `visit`.
fn merge(
    old: Option<&Index>,
    table: Table,
    new: &[Row],
    visit: &mut dyn FnMut(&Row) -> Result<(), SegmentsError>,
) -> Result<(), SegmentsError> {
    const AT_ONCE: u64 = 8192;
    let mut new = new.iter().peekable();
    if let Some(index) = old {
        let mut buffer = Vec::new();
        let mut number = 0;
        while number < index.records {
            let count = AT_ONCE.min(index.records - number);
            buffer.resize(count as usize * ROW, 0);
            let at = index.table_start(table) + number * ROW as u64;
            let read = index.file.read_at_most(at, &mut buffer).map_err(SegmentsError::read(INDEX.into()))?;
            if read < buffer.len() {
                return Err(SegmentsError::read(INDEX.into())(io::ErrorKind::UnexpectedEof.into()));
            }
            for bytes in buffer.chunks_exact(ROW) {
                let row = decode_row(bytes);
                while let Some(earlier) = new.next_if(|new| **new < row) {
                    visit(earlier)?;
                }
                // A segment that was scanned again may have given a row twice.
                while new.next_if(|new| **new == row).is_some() {}
                visit(&row)?;
            }
            number += count;
        }
    }
    new.try_for_each(visit)
}

/// Writes bytes and hashes them on the way, in large pieces.
struct Sink {
    file: NewFile,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= 1 << 20 { self.drain() } else { Ok(()) }
    }

    fn drain(&mut self) -> Result<(), DiskError> {
        self.hasher.update(&self.buffer);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes the index anew from the old one and sorted new rows. Renamed into place whole; not synced,
/// since a file that a crash leaves half written fails its checks.
pub(super) fn write(
    disk: &Disk,
    store_id: &[u8; 16],
    covered: &[Covered],
    old: Option<&Index>,
    by_sha256: &[Row],
    by_blake3: &[Row],
) -> Result<(), SegmentsError> {
    let file = disk.create_temp(super::FOLDER, 0o644)?;
    let temp = file.path().to_owned();
    let hasher = blake3::Hasher::new_derive_key(WHOLE_CONTEXT);
    let sink = Sink { file, hasher, buffer: Vec::new() };
    let written = write_to(sink, store_id, covered, old, by_sha256, by_blake3);
    if let Err(error) = written.and_then(|()| Ok(disk.replace(&temp, INDEX)?)) {
        let _ = disk.unlink(&temp);
        return Err(error);
    }
    Ok(())
}

fn write_to(
    mut sink: Sink,
    store_id: &[u8; 16],
    covered: &[Covered],
    old: Option<&Index>,
    by_sha256: &[Row],
    by_blake3: &[Row],
) -> Result<(), SegmentsError> {
    let tables = [(Table::Sha256, by_sha256), (Table::Blake3, by_blake3)];
    let mut fanouts = Vec::with_capacity(2 * FANOUT);
    let mut records = 0;
    for (table, rows) in tables {
        let mut counts = [0u64; 256];
        merge(old, table, rows, &mut |row| {
            counts[usize::from(row.key[0])] += 1;
            Ok(())
        })?;
        let mut sum = 0;
        for count in counts {
            sum += count;
            fanouts.extend_from_slice(&sum.to_le_bytes());
        }
        records = sum;
    }
    let mut head = Vec::with_capacity(FIXED + covered.len() * SEGMENT + 2 * FANOUT + 32);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&(covered.len() as u32).to_le_bytes());
    head.extend_from_slice(store_id);
    head.extend_from_slice(&records.to_le_bytes());
    for covered in covered {
        head.extend_from_slice(&covered.number.to_le_bytes());
        head.extend_from_slice(&covered.len.to_le_bytes());
        head.extend_from_slice(&covered.check);
    }
    head.extend_from_slice(&fanouts);
    let check = blake3::derive_key(HEAD_CONTEXT, &head);
    head.extend_from_slice(&check);
    sink.put(&head)?;
    for (table, rows) in tables {
        merge(old, table, rows, &mut |row| Ok(sink.put(&encode_row(row))?))?;
    }
    sink.drain()?;
    let check = *sink.hasher.finalize().as_bytes();
    sink.file.write_all(&check)?;
    Ok(())
}
