//! The names in a folder, close together: a folder may hold a million of them.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, RawDir};

use super::{Entry, Errno, Kind};

/// The kinds, by the number that a name is kept with.
const KINDS: [FileType; 8] = [
    FileType::RegularFile,
    FileType::Directory,
    FileType::Symlink,
    FileType::Fifo,
    FileType::Socket,
    FileType::CharacterDevice,
    FileType::BlockDevice,
    FileType::Unknown,
];

/// What the kernel gives at once, in bytes.
const AT_ONCE: usize = 16 << 10;

/// One name, among the bytes of all.
struct Slot {
    at: u32,
    len: u16,
    kind: u8,
}

/// A folder's names, sorted by their bytes, without `.` and `..`: gives one entry after the other.
#[derive(Default)]
pub struct Names {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    next: usize,
}

impl Names {
    /// Reads the names from a folder's descriptor, from where it stands.
    pub(super) fn read(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut names = Self::default();
        let mut buffer = [MaybeUninit::uninit(); AT_ONCE];
        let mut dir = RawDir::new(fd, &mut buffer);
        while let Some(item) = dir.next() {
            let item = match item {
                Ok(item) => item,
                Err(Errno::INTR) => continue,
                // The folder itself was removed: it has no names.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(errno),
            };
            let kind = match item.file_type() {
                // Some filesystems do not say; then it is asked for, and a name gone since is left out.
                FileType::Unknown => {
                    match rustix::fs::statat(fd, item.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                        Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno),
                    }
                }
                known => known,
            };
            names.put(item.file_name(), kind)?;
        }
        let Self { bytes, slots, .. } = &mut names;
        slots.sort_unstable_by(|a, b| name(bytes, a).cmp(name(bytes, b)));
        Ok(names)
    }

    fn put(&mut self, name: &CStr, kind: FileType) -> Result<(), Errno> {
        let name = name.to_bytes();
        if name == b"." || name == b".." {
            return Ok(());
        }
        let at = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
        let len = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len() - 1) as u8;
        self.bytes.extend_from_slice(name);
        self.slots.push(Slot { at, len, kind });
        Ok(())
    }

    /// How many are still to come.
    pub fn len(&self) -> usize {
        self.slots.len() - self.next
    }

    /// Whether none is to come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a name still to come names.
    pub fn kind_of(&self, wanted: &str) -> Option<Kind> {
        let slots = &self.slots[self.next..];
        let at = slots.binary_search_by(|slot| name(&self.bytes, slot).cmp(wanted.as_bytes())).ok()?;
        Some(kind(&slots[at]))
    }
}

impl Iterator for Names {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let slot = self.slots.get(self.next)?;
        self.next += 1;
        Some(Entry { name: OsStr::from_bytes(name(&self.bytes, slot)).to_owned(), kind: kind(slot) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

fn name<'n>(bytes: &'n [u8], slot: &Slot) -> &'n [u8] {
    &bytes[slot.at as usize..][..usize::from(slot.len)]
}

fn kind(slot: &Slot) -> Kind {
    Kind::of(KINDS[usize::from(slot.kind)])
}
