//! Files open for writing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::hook::{Call, Errno, Verdict};
use super::{Disk, DiskError, Stat};

/// Writes all bytes at an offset through the hook.
pub(super) fn write_all_at(
    disk: &Disk,
    file: &File,
    path: &str,
    bytes: &[u8],
    offset: u64,
) -> Result<(), DiskError> {
    let op = "write";
    let write = |bytes: &[u8]| {
        // `write_all_at` makes interrupted calls again and goes on after short ones.
        file.write_all_at(bytes, offset)
            .map_err(|source| DiskError::from_io(op, disk.full_path(path), source))
    };
    match disk.ask(&Call { name: op, path, to: None, offset, bytes }) {
        Verdict::Go => write(bytes),
        Verdict::Fail(errno) => Err(disk.error(op, path, errno)),
        Verdict::FailAfter(errno) => {
            write(bytes)?;
            Err(disk.error(op, path, errno))
        }
        Verdict::FailShort(len, errno) => {
            write(&bytes[..len.min(bytes.len())])?;
            Err(disk.error(op, path, errno))
        }
    }
}

/// What an open file has come to: where its end is, and whether it may still be written.
#[derive(Debug)]
struct Open {
    disk: Disk,
    path: String,
    file: File,
    len: u64,
    dead: bool,
}

impl Open {
    fn alive(&self, op: &'static str) -> Result<(), DiskError> {
        if self.dead {
            return Err(DiskError::Dead { op, path: self.disk.full_path(&self.path) });
        }
        Ok(())
    }

    /// Writes at the end; a failure leaves an unknown tail, so it kills the file.
    fn write(&mut self, bytes: &[u8]) -> Result<u64, DiskError> {
        self.alive("write")?;
        let at = self.len;
        let done = write_all_at(&self.disk, &self.file, &self.path, bytes, at);
        self.dead = done.is_err();
        done?;
        self.len += bytes.len() as u64;
        Ok(at)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.alive("fsync")?;
        let done = self.disk.call("fsync", &self.path, None, 0, || rustix::fs::fsync(&self.file));
        self.dead = done.is_err();
        done
    }
}

/// A file that did not exist before, open for writing from its start.
#[derive(Debug)]
pub struct NewFile(Open);

impl NewFile {
    pub(super) fn new(disk: Disk, path: String, file: File) -> Self {
        Self(Open { disk, path, file, len: 0, dead: false })
    }

    /// Its path, relative to the root.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The open file, for the calls of this module.
    pub(super) fn file(&self) -> &File {
        &self.0.file
    }

    /// The bytes written so far.
    pub fn written(&self) -> u64 {
        self.0.len
    }

    /// Writes the next bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.0.write(bytes).map(|_| ())
    }

    /// Gives the file to a user and a group, as far as whoever runs this may.
    pub fn give_to(&mut self, uid: u32, gid: u32) -> Result<(), DiskError> {
        self.0.alive("chown")?;
        let file = &self.0.file;
        let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        self.0.disk.call("chown", &self.0.path, None, 0, || {
            match rustix::fs::fchown(file, Some(user), Some(group)) {
                Err(Errno::PERM) => Ok(()),
                other => other,
            }
        })
    }

    /// Reserves room for `len` bytes without changing the file's length, so that a full disk shows
    /// before the work is done. A filesystem that cannot is left to find out later.
    pub fn preallocate(&mut self, len: u64) -> Result<(), DiskError> {
        self.0.alive("preallocate")?;
        if len == 0 {
            return Ok(());
        }
        let file = &self.0.file;
        let reserve = || match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => other,
        };
        self.0.disk.call("preallocate", &self.0.path, None, len, reserve)
    }

    /// Makes the bytes durable (the name only with its folder). After a failure the file is dead.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        self.0.sync()
    }

    /// Ends the writing without making anything durable, and says what the file came to.
    pub fn finish(self) -> Result<Stat, DiskError> {
        let stat = rustix::fs::fstat(&self.0.file)
            .map_err(|errno| self.0.disk.error("stat", &self.0.path, errno))?;
        Ok(Stat::of(&stat))
    }
}

impl io::Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A regular file open for reading anywhere and for writing at its end.
///
/// It takes the end from the file's length when it was opened: who appends must hold a lock that
/// keeps others from doing so.
#[derive(Debug)]
pub struct Appender(Open);

impl Appender {
    /// Its path, relative to the root.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Where the next bytes go.
    pub fn end(&self) -> u64 {
        self.0.len
    }

    /// The open file, for reading and for locking.
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Whether a write or an fsync failed.
    pub fn is_dead(&self) -> bool {
        self.0.dead
    }

    /// Takes the end from the file again; for a lock that was taken after the file was opened.
    pub fn reread_end(&mut self) -> Result<u64, DiskError> {
        let stat = rustix::fs::fstat(&self.0.file)
            .map_err(|errno| self.0.disk.error("stat", &self.0.path, errno))?;
        self.0.len = Stat::of(&stat).len;
        Ok(self.0.len)
    }

    /// Whether its path still leads to this file, and not to none or to another.
    pub fn still_named(&self) -> Result<bool, DiskError> {
        let stat = rustix::fs::fstat(&self.0.file)
            .map_err(|errno| self.0.disk.error("stat", &self.0.path, errno))?;
        let named = self.0.disk.stat(&self.0.path)?;
        Ok(named.is_some_and(|named| named.ino == Stat::of(&stat).ino))
    }

    /// Writes bytes at the end and gives the offset of the first. After a failure the file is dead.
    pub fn write_at_end(&mut self, bytes: &[u8]) -> Result<u64, DiskError> {
        self.0.write(bytes)
    }

    /// Makes everything written durable (the name only with its folder). After a failure the file is
    /// dead.
    pub fn sync(&mut self) -> Result<(), DiskError> {
        self.0.sync()
    }
}

impl Disk {
    /// Creates a file with exactly this mode. It must not exist; a planted link there is no way out.
    ///
    /// # Errors
    /// [`DiskError::Exists`] if anything lies at the path, a dangling link included.
    pub fn create(&self, path: &str, mode: u32) -> Result<NewFile, DiskError> {
        let file = self.create_file(path, OFlags::WRONLY, mode)?;
        Ok(NewFile::new(self.clone(), path.to_owned(), file))
    }

    /// Creates a file of these bytes, without making it durable.
    pub fn write_new(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        self.create(path, mode)?.write_all(bytes)
    }

    /// Opens an existing regular file for appending, or creates it (mode 0644, less the umask).
    pub fn append(&self, path: &str) -> Result<Appender, DiskError> {
        match self.append_existing(path) {
            Err(DiskError::NotFound { .. }) => {}
            other => return other,
        }
        match self.append_new(path) {
            // Someone else was faster.
            Err(DiskError::Exists { .. }) => self.append_existing(path),
            other => other,
        }
    }

    /// Creates a file for appending (mode 0644, less the umask); it must not exist.
    pub fn append_new(&self, path: &str) -> Result<Appender, DiskError> {
        let file = self.create_raw(path, OFlags::RDWR, 0o644)?;
        Ok(Appender(Open { disk: self.clone(), path: path.to_owned(), file, len: 0, dead: false }))
    }

    /// Opens an existing regular file for appending.
    pub fn append_existing(&self, path: &str) -> Result<Appender, DiskError> {
        let (file, stat) = self.open_regular("open for appending", path, OFlags::RDWR, Mode::empty())?;
        Ok(Appender(Open { disk: self.clone(), path: path.to_owned(), file, len: stat.len, dead: false }))
    }

    /// Opens a lock file, creating it where it is missing (mode 0644, less the umask).
    pub(in crate::backend) fn open_lock(&self, path: &str) -> Result<(File, Stat), DiskError> {
        let op = "open the lock";
        let open = |flags| self.open_regular(op, path, flags, Mode::from_raw_mode(0o644));
        match open(OFlags::RDWR) {
            Err(DiskError::NotFound { .. }) => {}
            other => return other,
        }
        self.gate("create", path)?;
        open(OFlags::RDWR | OFlags::CREATE)
    }

    /// Replaces the text in a lock file.
    pub(in crate::backend) fn write_holder(
        &self,
        file: &File,
        path: &str,
        text: &[u8],
    ) -> Result<(), DiskError> {
        self.call("holder", path, None, 0, || {
            let write = || {
                file.write_all_at(text, 0)?;
                file.set_len(text.len() as u64)
            };
            write().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        })
    }

    /// Creates a file whose mode is exact: the umask can only take bits away from what the kernel
    /// sets at creation, and `fchmod` puts them back on the descriptor, not on the name.
    pub(super) fn create_file(&self, path: &str, access: OFlags, mode: u32) -> Result<File, DiskError> {
        let file = self.create_raw(path, access, mode)?;
        self.call("chmod", path, None, u64::from(mode), || {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
        })?;
        Ok(file)
    }

    fn create_raw(&self, path: &str, access: OFlags, mode: u32) -> Result<File, DiskError> {
        let op = "create";
        if path.is_empty() || !super::stays_below(path) {
            return Err(DiskError::LeavesRoot { op, path: path.to_owned() });
        }
        let mode = Mode::from_raw_mode(mode & 0o777);
        let flags = access | OFlags::CREATE | OFlags::EXCL;
        let mut made = None;
        self.call(op, path, None, 0, || {
            made = Some(self.shared.resolver.open(path, flags, mode)?);
            Ok(())
        })?;
        Ok(File::from(made.expect("a call that succeeded has opened the file")))
    }
}
