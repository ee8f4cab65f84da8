//! Going through a segment's records, and on past bad ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

use super::{
    BadRecord, Place, RECORD_HEADER_LEN, RECORD_MAGIC, RecordHeader, check_record, decode_record,
    decode_record_header,
};
use crate::base::digest::BlobId;

/// Bytes that are read at a position.
pub trait ReadAt {
    /// Fills the buffer from `offset` on, or as much of it as there is.
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl ReadAt for [u8] {
    fn read_at_most(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// How much of each record a scan looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its header: enough to find it, and the next.
    Headers,
    /// All its stored bytes.
    Bodies,
    /// The raw bytes, hashed.
    Digests,
}

/// Bytes that are no good record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRegion {
    /// Where they begin.
    pub offset: u64,
    /// Where they end: at the next good header, or at the end of the file.
    pub end: u64,
    /// What is wrong with the first of them.
    pub why: BadRecord,
    /// Whether a good record follows; if not, and nothing was promised about these bytes, they are a
    /// tail that was being written.
    pub followed: bool,
}

/// What a scan came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// Everything before it, from where the scan began, is good records without a gap.
    pub prefix: u64,
    /// Everything that is not, in order. Two that touch were two records.
    pub bad: Vec<BadRegion>,
}

impl Scanned {
    /// Whether a good record follows a bad one.
    pub fn bad_in_the_middle(&self) -> bool {
        self.bad.iter().any(|bad| bad.followed)
    }

    /// Where the bad bytes that run to the end of the file begin.
    pub fn torn_tail(&self) -> Option<u64> {
        self.bad.iter().find(|bad| !bad.followed).map(|bad| bad.offset)
    }
}

/// Goes through the records from `place.offset` to `len`, giving each good one to `visit` (its offset
/// and header), and on past bad ones.
pub fn scan<R: ReadAt + ?Sized>(
    source: &R,
    place: Place,
    len: u64,
    depth: Depth,
    visit: &mut dyn FnMut(u64, RecordHeader),
) -> io::Result<Scanned> {
    let mut window = Window { source, len, start: 0, bytes: Vec::new() };
    let mut result = Scanned { prefix: place.offset, bad: Vec::new() };
    let mut at = place.offset;
    while at < len {
        let (why, end) = match look(&mut window, &place.at(at), depth)? {
            Ok(header) => {
                for bad in &mut result.bad {
                    bad.followed = true;
                }
                visit(at, header);
                at += header.extent();
                if result.bad.is_empty() {
                    result.prefix = at;
                }
                continue;
            }
            Err((why, Some(end))) => (why, end),
            Err((why, None)) => (why, next_header(&mut window, &place, at + 1)?),
        };
        result.bad.push(BadRegion { offset: at, end, why, followed: false });
        at = end;
    }
    Ok(result)
}

/// Bytes of records that are unpacked and hashed side by side, and how many of them by one thread.
const TOGETHER: u64 = if cfg!(test) { 8 << 10 } else { 32 << 20 };
const PIECE: u64 = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// The digests of all records, hashed on all cores; `None` as soon as anything is no sound record: then
/// [`scan`] says what, and where.
pub fn all_sound(file: &File, place: Place, len: u64) -> io::Result<Option<Vec<BlobId>>> {
    let (mut ids, mut pieces, mut waiting) = (Vec::new(), vec![Vec::new()], 0);
    let (mut piece_len, mut sound, mut failed) = (0, true, None);
    let scanned = scan(file, place, len, Depth::Headers, &mut |offset, header| {
        if !sound || failed.is_some() {
            return;
        }
        if piece_len >= PIECE {
            pieces.push(Vec::new());
            piece_len = 0;
        }
        pieces.last_mut().expect("there is always one").push((offset, header));
        ids.push(header.id);
        piece_len += header.extent();
        waiting += header.extent();
        if waiting >= TOGETHER {
            match are_sound(file, place, &pieces) {
                Ok(good) => sound = good,
                Err(error) => failed = Some(error),
            }
            (pieces, piece_len, waiting) = (vec![Vec::new()], 0, 0);
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let sound = sound && scanned.bad.is_empty() && are_sound(file, place, &pieces)?;
    Ok(sound.then_some(ids))
}

fn are_sound(file: &File, place: Place, pieces: &[Vec<(u64, RecordHeader)>]) -> io::Result<bool> {
    let one = |piece: &Vec<(u64, RecordHeader)>| -> io::Result<bool> {
        let (Some((from, _)), Some((last, header))) = (piece.first(), piece.last()) else { return Ok(true) };
        let size = usize::try_from(last + header.extent() - from).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        if file.read_at_most(*from, &mut bytes)? < size {
            return Ok(false);
        }
        Ok(piece.iter().all(|(offset, header)| {
            let record = &bytes[(offset - from) as usize..];
            decode_record(&place.at(*offset), record).is_ok_and(|(read, _)| read == *header)
        }))
    };
    pieces.par_iter().map(one).try_reduce(|| true, |a, b| Ok(a && b))
}

type Look = Result<RecordHeader, (BadRecord, Option<u64>)>;

/// Looks at one record; a bad one comes with its end where the header can be believed.
fn look<R: ReadAt + ?Sized>(window: &mut Window<'_, R>, place: &Place, depth: Depth) -> io::Result<Look> {
    let header = match decode_record_header(place, window.get(place.offset, RECORD_HEADER_LEN)?) {
        Ok(header) => header,
        Err(why) => return Ok(Err((why, None))),
    };
    let end = place.offset + header.extent();
    if end > window.len {
        return Ok(Err((BadRecord::Short, Some(window.len))));
    }
    let checked = match depth {
        Depth::Headers => Ok(()),
        Depth::Bodies => check_record(place, window.get(place.offset, header.extent())?).map(drop),
        Depth::Digests => decode_record(place, window.get(place.offset, header.extent())?).map(drop),
    };
    Ok(checked.map(|()| header).map_err(|why| (why, Some(end))))
}

/// The next offset at which a header stands that belongs there; else the end.
fn next_header<R: ReadAt + ?Sized>(window: &mut Window<'_, R>, place: &Place, from: u64) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut at = from;
    while at < window.len {
        // Overlapping by less than a magic number, so that none is missed at a seam.
        let piece = window.get(at, STEP)?.to_vec();
        for (found, _) in piece.windows(4).enumerate().filter(|(_, bytes)| *bytes == RECORD_MAGIC) {
            let offset = at + found as u64;
            let header = decode_record_header(&place.at(offset), window.get(offset, RECORD_HEADER_LEN)?);
            if header.is_ok() {
                return Ok(offset);
            }
        }
        if piece.len() < 4 {
            break;
        }
        at += piece.len() as u64 - 3;
        if piece.len() < STEP as usize {
            break;
        }
    }
    Ok(window.len)
}

/// Reads ahead, so that small records cost no call each.
struct Window<'a, R: ReadAt + ?Sized> {
    source: &'a R,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<R: ReadAt + ?Sized> Window<'_, R> {
    /// The bytes from `offset` on: `count` of them, or as many as there are.
    fn get(&mut self, offset: u64, count: u64) -> io::Result<&[u8]> {
        const AHEAD: u64 = 64 << 10;
        let end = self.len.min(offset.saturating_add(count));
        let have = self.start + self.bytes.len() as u64;
        if offset < self.start || end > have {
            let want = self.len.min(offset.saturating_add(count.max(AHEAD))).saturating_sub(offset);
            // Bounded by the longest record, whose length was checked before it is asked for.
            self.bytes.resize(usize::try_from(want).map_err(io::Error::other)?, 0);
            let read = self.source.read_at_most(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let to = ((end.saturating_sub(self.start)) as usize).min(self.bytes.len());
        Ok(&self.bytes[from.min(to)..to])
    }
}
