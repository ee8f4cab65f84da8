//! The journal: batches committed and not yet settled.
//!
//! A port, [`Journal`], the local driver [`Wal`] (lock, append, fsync) and [`MemoryJournal`].
//!
//! Files `audit/wal/<generation, 16 decimal digits>`. A generation is a header and frames; it is only
//! appended to, never cut or rewritten. All numbers are little-endian.
//!
//! | offset | bytes | generation header |
//! |---|---|---|
//! | 0 | 8 | `SRMWAL` CR LF |
//! | 8 | 4 | format, 1 |
//! | 12 | 4 | zero |
//! | 16 | 16 | store id |
//! | 32 | 8 | generation, as in the file's name |
//! | 40 | 8 | base: sequence number of the frame before the first |
//! | 48 | 32 | base: its hash, zeros before the first of all |
//! | 80 | 32 | check over bytes 0 to 80, BLAKE3 derive-key under [`HEADER_CONTEXT`] |
//!
//! | offset | bytes | frame |
//! |---|---|---|
//! | 0 | 8 | sequence number |
//! | 8 | 32 | hash of the frame before it |
//! | 40 | 8 | body length, n |
//! | 48 | n | body |
//! | 48 + n | 32 | checksum over bytes 0 to 48 + n, BLAKE3 derive-key under [`FRAME_CONTEXT`] |
//!
//! A frame's hash is its checksum: it covers the hash of the frame before it, so the frames are a
//! chain from the first.
//!
//! One frame is one write and one fsync, and the next frame is not written before that fsync returned.
//! So only the last frame can be torn, whatever order its blocks reached the disk in: it is judged by
//! its checksum alone. A bad frame with a good one after it is damage, and reading stops.
//!
//! A frame that can be read is not yet durable: its writer may have died, or been told no, between
//! write and fsync. Hence [`Wal::open`] copies what is pending to a new generation and makes that
//! durable before anybody acts on it; the old generations go before anything is appended, so that two
//! generations never disagree.

pub mod frame;
mod memory;
#[cfg(test)]
mod tests;

use super::durable::{Appender, Disk, DiskError};
use super::lock::FileLock;
use crate::base::limits;
pub use frame::{FRAME_CONTEXT, HEADER_CONTEXT};
use frame::{Generation, HEADER_LEN, encode_frame, encode_header};
pub use memory::MemoryJournal;

/// Where the generations lie.
pub const FOLDER: &str = "audit/wal";

/// A place in the chain: a frame's sequence number and hash. Before the first frame: 0 and zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base {
    /// The sequence number.
    pub seq: u64,
    /// The hash.
    pub hash: [u8; 32],
}

/// One committed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its sequence number, one more than that of the frame before it.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// What was committed.
    pub body: Vec<u8>,
}

impl Frame {
    /// The place after this frame.
    pub fn base(&self) -> Base {
        Base { seq: self.seq, hash: self.hash }
    }
}

/// Bytes at the end of a generation that are no whole frame: the last write never finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The generation's file, relative to the root.
    pub file: String,
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
}

/// What a reader finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pending {
    /// The frames after the base, in order.
    pub frames: Vec<Frame>,
    /// A write that never finished; nobody was told that it had.
    pub torn: Option<Torn>,
}

/// How a journal is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The header does not fit its check, and frames follow.
    #[error("its header is damaged")]
    Header,
    /// A format this program does not know.
    #[error("it has format {found}, and this program knows format {known}", known = frame::FORMAT)]
    Format {
        /// The format it states.
        found: u32,
    },
    /// It belongs to another store.
    #[error("it belongs to the store {}", crate::base::digest::hex(found))]
    ForeignStore {
        /// The store id it states.
        found: [u8; 16],
    },
    /// Its header states another generation than its name.
    #[error("its header says it is generation {found}")]
    Generation {
        /// The generation it states.
        found: u64,
    },
    /// A bad frame has a good one after it.
    #[error("the frame at byte {offset} is damaged and a good one follows it")]
    Frame {
        /// Where the bad frame begins.
        offset: u64,
    },
    /// The frames do not follow on each other, or on what was retired.
    #[error("frame {seq} does not follow on the frame before it")]
    Chain {
        /// The sequence number of the frame that does not fit.
        seq: u64,
    },
    /// The file is longer than a journal can be.
    #[error("it has {len} bytes")]
    TooLong {
        /// Its length.
        len: u64,
    },
}

/// Why a journal was not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The journal is damaged; reading stops. A reader without the lock loads its base again and looks
    /// once more before it believes this: the generation may have been retired in between.
    #[error("journal {file:?} is damaged: {damage}")]
    Damaged {
        /// The generation's file, relative to the root; empty in memory.
        file: String,
        /// How.
        damage: Damage,
    },
    /// The frame was written and the disk did not say that it is durable. It may be committed or not;
    /// the next holder of the lock finds out. This journal takes nothing more.
    #[error("whether the batch is committed is not known: {source}")]
    OutcomeUnknown {
        /// What failed.
        source: DiskError,
    },
    /// An earlier commit ended with an unknown outcome, or failed half way.
    #[error("the journal takes no more batches after a failed write")]
    Poisoned,
    /// The journal's head is not the one that was expected.
    #[error("the journal is at frame {found}, not at {expected}", found = found.seq, expected = expected.seq)]
    Conflict {
        /// What the caller went by.
        expected: Base,
        /// The head.
        found: Base,
    },
    /// The body is too long for one frame.
    #[error("a batch of {len} bytes is over the limit of {limit}", limit = limits::FRAME_BYTES)]
    TooLarge {
        /// Its length.
        len: usize,
    },
    /// The lock that was shown guards nothing: its file is gone or another.
    #[error("the lock that guards the journal is not held")]
    NotLocked,
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl WalError {
    /// Whether the journal is damaged: reading stops, and nothing tried again would help.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// The port: an ordered log of committed batches that are not yet settled.
///
/// Contract, which every driver's tests run:
/// - `commit` succeeds only on the head it expects and is durable when it returns; the new frame's
///   sequence number is one more, and its hash covers the frame before it;
/// - `pending` gives every committed frame since the last `retire`, in order, also to whoever opens
///   the journal next;
/// - `retire` forgets them all and keeps the head, on which the next commit follows;
/// - after `OutcomeUnknown` every later `commit` fails.
pub trait Journal {
    /// The last committed frame's place, retired or not.
    fn head(&self) -> Base;
    /// The frames that are not retired.
    fn pending(&self) -> Result<Vec<Frame>, WalError>;
    /// Commits one batch on the expected head.
    fn commit(&mut self, expected: &Base, body: &[u8]) -> Result<Frame, WalError>;
    /// Forgets all frames: everything they name is settled.
    fn retire(&mut self) -> Result<Base, WalError>;
}

fn generation_path(generation: u64) -> String {
    format!("{FOLDER}/{generation:016}")
}

/// The generations there are, in order, with anything else in the folder left alone.
fn generations(disk: &Disk) -> Result<Vec<u64>, DiskError> {
    let entries = match disk.list(FOLDER) {
        Ok(entries) => entries,
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let number = |name: &std::ffi::OsStr| {
        let name = name.to_str().filter(|name| name.len() == 16)?;
        name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok())?
    };
    Ok(entries.iter().filter_map(|entry| number(&entry.name)).collect())
}

/// Reads what is pending after `base`, without a lock and without changing anything.
///
/// Frames up to `base` are passed over: their retirement was cut short.
pub fn read_pending(disk: &Disk, store_id: &[u8; 16], base: &Base) -> Result<Pending, WalError> {
    // A generation may be retired between the listing and the reading of it, and a new one begun.
    for _ in 0..16 {
        let found = generations(disk)?;
        let mut pending = Pending::default();
        let mut complete = true;
        for number in &found {
            match disk.read_opt(&generation_path(*number), MOST_BYTES) {
                Ok(Some(bytes)) => add_generation(&mut pending, store_id, base, *number, &bytes)?,
                Ok(None) => complete = false,
                Err(DiskError::TooLarge { len, .. }) => {
                    let damage = Damage::TooLong { len };
                    return Err(WalError::Damaged { file: generation_path(*number), damage });
                }
                Err(error) => return Err(error.into()),
            }
        }
        if complete {
            return Ok(pending);
        }
    }
    let path = disk.full_path(FOLDER);
    Err(DiskError::NotFound { op: "read the generations in", path }.into())
}

/// No generation grows beyond this: it is retired long before.
const MOST_BYTES: u64 = 4 << 30;

fn add_generation(
    pending: &mut Pending,
    store_id: &[u8; 16],
    base: &Base,
    number: u64,
    bytes: &[u8],
) -> Result<(), WalError> {
    let file = generation_path(number);
    let damaged = |damage| WalError::Damaged { file: file.clone(), damage };
    let Generation { frames, torn } = frame::read_generation(bytes, store_id, number).map_err(damaged)?;
    if let Some(offset) = torn {
        pending.torn = Some(Torn { file: file.clone(), offset, bytes: bytes.len() as u64 - offset });
    }
    for frame in frames {
        let head = pending.frames.last().map_or(*base, Frame::base);
        // A copy of an earlier generation, or a frame that is retired: it must be the same one.
        let same = if frame.seq > head.seq {
            frame.seq == head.seq + 1 && frame.prev == head.hash
        } else if frame.seq == base.seq {
            frame.hash == base.hash
        } else {
            let known = pending.frames.iter().find(|known| known.seq == frame.seq);
            known.is_none_or(|known| known.hash == frame.hash)
        };
        if !same {
            return Err(damaged(Damage::Chain { seq: frame.seq }));
        }
        if frame.seq > head.seq {
            pending.frames.push(Frame { seq: frame.seq, hash: frame.hash, body: frame.body });
        }
    }
    Ok(())
}

/// The local driver. One at a time: whoever makes it holds the store's lock, and keeps it for as long
/// as the value is used.
#[derive(Debug)]
pub struct Wal {
    disk: Disk,
    store_id: [u8; 16],
    head: Base,
    /// The highest generation there ever was, as far as is known.
    generation: u64,
    file: Option<Appender>,
    pending: Vec<Frame>,
    torn: Option<Torn>,
    poisoned: bool,
}

impl Wal {
    /// Opens the journal and gives what is pending, which is durable when this returns.
    ///
    /// With nothing pending no file is made. What a torn write left is removed with its generation;
    /// [`Wal::torn`] says what it was.
    ///
    /// # Errors
    /// [`WalError::Damaged`], with nothing changed. [`WalError::OutcomeUnknown`] if the copy of what
    /// is pending could not be made durable; nothing of it may be acted on.
    pub fn open(
        disk: &Disk,
        lock: &FileLock,
        store_id: [u8; 16],
        base: Base,
    ) -> Result<(Self, Vec<Frame>), WalError> {
        if !lock.still_named()? {
            return Err(WalError::NotLocked);
        }
        let old = generations(disk)?;
        let Pending { frames, torn } = read_pending(disk, &store_id, &base)?;
        let mut wal = Self {
            disk: disk.clone(),
            store_id,
            head: base,
            // Names rise with the sequence numbers, so that a reader that meets a new generation
            // under an old base is not led to think it is the one it listed.
            generation: old.last().copied().unwrap_or(0).max(base.seq),
            file: None,
            pending: Vec::new(),
            torn,
            poisoned: false,
        };
        if !frames.is_empty() {
            let bodies: Vec<&[u8]> = frames.iter().map(|frame| frame.body.as_slice()).collect();
            wal.write(&bodies)?;
        }
        // Only now: until the copy is durable the old generations are the only ones there are.
        wal.remove(&old)?;
        Ok((wal, frames))
    }

    /// What a write that never finished had left when this was opened.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// The last committed frame's place.
    pub fn head(&self) -> Base {
        self.head
    }

    /// Commits one batch: one write and one fsync, which is the commit point.
    ///
    /// # Errors
    /// [`WalError::OutcomeUnknown`] if any of it failed; then everything later is refused.
    pub fn append(&mut self, body: &[u8]) -> Result<Frame, WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        if body.len() > limits::FRAME_BYTES {
            return Err(WalError::TooLarge { len: body.len() });
        }
        self.write(&[body])?;
        Ok(self.pending.last().expect("a write that succeeded has added its frame").clone())
    }

    /// Forgets everything pending: it is settled. The caller has made the new base, [`Wal::head`],
    /// durable before; a crash in between then finds frames up to its base and passes over them.
    pub fn retire(&mut self) -> Result<Base, WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        self.file = None;
        let found = generations(&self.disk)?;
        if let Err(error) = self.remove(&found) {
            self.poisoned = true;
            return Err(error);
        }
        self.pending.clear();
        Ok(self.head)
    }

    /// Writes frames in one write, with a header before them in a new generation, and syncs.
    fn write(&mut self, bodies: &[&[u8]]) -> Result<(), WalError> {
        let mut bytes = Vec::new();
        let fresh = self.file.is_none();
        if fresh {
            bytes.extend_from_slice(&encode_header(&self.store_id, self.generation + 1, &self.head));
        }
        let mut head = self.head;
        let mut frames = Vec::with_capacity(bodies.len());
        for body in bodies {
            let hash = encode_frame(&mut bytes, &head, body);
            head = Base { seq: head.seq + 1, hash };
            frames.push(Frame { seq: head.seq, hash, body: body.to_vec() });
        }
        if let Err(source) = self.put(&bytes) {
            self.poisoned = true;
            return Err(WalError::OutcomeUnknown { source });
        }
        self.head = head;
        self.pending.append(&mut frames);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let folders = self.disk.mkdir_all(FOLDER)?;
                self.generation += 1;
                let mut file = self.disk.append_new(&generation_path(self.generation))?;
                file.write_at_end(bytes)?;
                file.sync()?;
                self.disk.sync_dir(FOLDER)?;
                // The folders' own names, from the innermost outwards.
                for folder in folders.iter().rev() {
                    self.disk.sync_dir(folder.rsplit_once('/').map_or("", |(parent, _)| parent))?;
                }
                self.file = Some(file);
                return Ok(());
            }
        };
        file.write_at_end(bytes)?;
        file.sync()
    }

    fn remove(&self, generations: &[u64]) -> Result<(), WalError> {
        for generation in generations {
            self.disk.unlink(&generation_path(*generation))?;
        }
        if !generations.is_empty() {
            self.disk.sync_dir(FOLDER)?;
        }
        Ok(())
    }
}

impl Journal for Wal {
    fn head(&self) -> Base {
        self.head
    }

    fn pending(&self) -> Result<Vec<Frame>, WalError> {
        Ok(self.pending.clone())
    }

    fn commit(&mut self, expected: &Base, body: &[u8]) -> Result<Frame, WalError> {
        if *expected != self.head {
            return Err(WalError::Conflict { expected: *expected, found: self.head });
        }
        self.append(body)
    }

    fn retire(&mut self) -> Result<Base, WalError> {
        Self::retire(self)
    }
}

const _: () = assert!(HEADER_LEN == 112, "the table above states it");
