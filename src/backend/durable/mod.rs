//! The one place with file-changing system calls.
//!
//! A [`Disk`] is a folder, held by descriptor. Paths are text relative to it, with `/`; none leads out
//! of it and no link is ever followed, at any component (`resolve`). Modes are set at creation and
//! made exact whatever the umask. No mmap, no `O_TMPFILE`, no asynchronous I/O, so that what a crash
//! can leave is what the order of these calls allows.
//!
//! Rules that the callers may rely on:
//!
//! - a call that was interrupted is made again, a short write is continued;
//! - after a failed write or fsync that open file is dead: nothing more is written to it, and no
//!   second fsync is tried, since it may say yes with the data gone;
//! - renaming makes names change, never durable: only `sync_dir` of the folder (or `sync_all`) does.
//!
//! Every file-changing call passes the [`Hook`] first.

mod change;
mod error;
mod file;
mod filesystem;
mod folder;
mod hook;
mod names;
mod resolve;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

pub use change::{Copied, is_temp_name};
pub use error::{DiskError, DiskErrorKind, Unnamed};
pub use file::{Appender, NewFile};
pub use filesystem::Filesystem;
pub use folder::Folder;
pub use hook::{Call, Errno, Hook, Verdict};
pub use names::Names;
use resolve::{Resolver, folder_flags, stays_below};

/// Keeps a FIFO or a device from making an open wait; it means nothing for the regular file that passes.
const NEVER_WAIT: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Link,
    /// Something else, by name: `FIFO`, `socket`, `block device`, `character device`.
    Other(&'static str),
}

impl Kind {
    fn of(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Link,
            FileType::Fifo => Self::Other("FIFO"),
            FileType::Socket => Self::Other("socket"),
            FileType::CharacterDevice => Self::Other("character device"),
            FileType::BlockDevice => Self::Other("block device"),
            FileType::Unknown => Self::Other("file of unknown type"),
        }
    }

    /// The kind in words.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Dir => "folder",
            Self::Link => "symbolic link",
            Self::Other(word) => word,
        }
    }
}

/// What the kernel tells of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub len: u64,
    /// Its permission bits, with set-uid, set-gid and sticky (`0o7777`).
    pub mode: u32,
    /// When its bytes last changed, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// When it last changed in any way, in nanoseconds since 1970.
    pub ctime_ns: i128,
    /// The device it lies on.
    pub dev: u64,
    /// Its inode number there.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
    /// The user who owns it.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
}

impl Stat {
    /// What the kernel tells of an open file.
    pub fn of_file(file: &File) -> std::io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// Whether the kernel tells of the same file, with the same length and times.
    pub fn is_unchanged_since(&self, before: &Self) -> bool {
        let told = |stat: &Self| (stat.dev, stat.ino, stat.len, stat.mtime_ns, stat.ctime_ns);
        told(self) == told(before)
    }

    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // field types differ by platform
    fn of(stat: &rustix::fs::Stat) -> Self {
        let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            kind: Kind::of(FileType::from_raw_mode(stat.st_mode)),
            len: stat.st_size as u64,
            mode: stat.st_mode as u32 & 0o7777,
            mtime_ns: nanos(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            ctime_ns: nanos(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            nlink: stat.st_nlink as u64,
            uid: stat.st_uid as u32,
            gid: stat.st_gid as u32,
        }
    }
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, any bytes.
    pub name: OsString,
    /// What it names.
    pub kind: Kind,
}

/// A folder and everything below it. Clones share the descriptor.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
    hook: Option<Arc<dyn Hook>>,
}

struct Shared {
    path: PathBuf,
    resolver: Resolver,
    /// Whether a `syncfs` through the root's descriptor ever failed. The kernel tells each
    /// descriptor once, so a second caller would hear yes about bytes that the first one lost; the
    /// lock makes them take turns and the flag makes all later ones fail.
    syncfs_failed: Mutex<bool>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("root", &self.shared.path).finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens a folder. The path to it may hold links; nothing below it may.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        // For reading, not O_PATH: syncfs and fstatfs need it, and syncfs reports only the errors
        // since the descriptor was opened, so it is opened before the first write.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::io::retry_on_intr(|| rustix::fs::open(root, flags, Mode::empty()))
            .map_err(|errno| DiskError::from_errno("open", root.to_owned(), errno))?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: root.to_owned(),
                resolver: Resolver::new(fd),
                syncfs_failed: Mutex::new(false),
            }),
            hook: None,
        })
    }

    /// The same folder with a hook before every file-changing call made through this value and its
    /// clones.
    pub fn with_hook(self, hook: Arc<dyn Hook>) -> Self {
        Self { hook: Some(hook), ..self }
    }

    /// Resolves paths component by component from now on, as it is done on a kernel without
    /// `openat2`; for tests of that way.
    pub fn walk_components(self) -> Self {
        self.shared.resolver.walk_components();
        self
    }

    /// A folder below this one as a disk of its own: nothing opened through it leads out of it.
    pub fn below(&self, path: &str) -> Result<Self, DiskError> {
        if path.is_empty() {
            return Ok(self.clone());
        }
        let fd = self.open_fd("open", path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: self.full_path(path),
                resolver: Resolver::new(fd),
                syncfs_failed: Mutex::new(false),
            }),
            hook: self.hook.clone(),
        })
    }

    /// Makes a folder that is to become a root, and the folders above it, durably.
    pub fn make_root(path: &Path) -> Result<(), DiskError> {
        let mut missing = Vec::new();
        let mut at = path;
        while std::fs::symlink_metadata(at).is_err() {
            missing.push(at);
            match at.parent() {
                Some(parent) => at = parent,
                None => break,
            }
        }
        for folder in missing.iter().rev() {
            let failed = |op| move |source| DiskError::from_io(op, folder.to_path_buf(), source);
            match std::fs::create_dir(folder) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => made.map_err(failed("make"))?,
            }
            if let Some(parent) = folder.parent() {
                let opened = File::open(parent).map_err(failed("open"))?;
                opened.sync_all().map_err(failed("fsync"))?;
            }
        }
        Ok(())
    }

    /// Where a link leads, as text; for telling people, never for following it.
    pub fn read_link(&self, path: &str) -> Result<String, DiskError> {
        let op = "read link";
        let (parent, name) = self.parent(op, path)?;
        let target =
            rustix::fs::readlinkat(&parent, name, Vec::new()).map_err(|errno| self.error(op, path, errno))?;
        Ok(String::from_utf8_lossy(target.as_bytes()).into_owned())
    }

    /// The folder as it was given to [`Disk::open`].
    pub fn root(&self) -> &Path {
        &self.shared.path
    }

    /// A path below the root as people would write it.
    pub fn full_path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.shared.path.clone() } else { self.shared.path.join(path) }
    }

    /// What lies at a path, never following a link at its end; `None` if nothing does, or if a
    /// folder on the way is missing.
    ///
    /// # Errors
    /// [`DiskError::Link`] and [`DiskError::NotFolder`] for the folders on the way.
    pub fn stat(&self, path: &str) -> Result<Option<Stat>, DiskError> {
        let op = "stat";
        if path.is_empty() {
            let stat = rustix::fs::fstat(self.shared.resolver.root());
            return stat.map(|stat| Some(Stat::of(&stat))).map_err(|errno| self.error(op, path, errno));
        }
        let (parent, name) = match self.parent(op, path) {
            Ok(found) => found,
            Err(DiskError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error(op, path, errno)),
        }
    }

    /// The names in a folder, sorted by their bytes.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, DiskError> {
        Ok(self.names(path)?.collect())
    }

    /// As [`Disk::list`], for a folder that may hold a great many names.
    pub fn names(&self, path: &str) -> Result<Names, DiskError> {
        Ok(self.folder(path)?.1)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`DiskError::NotRegular`] for everything else; a FIFO or device never makes it wait.
    pub fn open_file(&self, path: &str) -> Result<File, DiskError> {
        self.open_with_stat(path).map(|(file, _)| file)
    }

    /// As [`Disk::open_file`], with what the kernel tells of it.
    pub fn open_with_stat(&self, path: &str) -> Result<(File, Stat), DiskError> {
        self.open_regular("open", path, OFlags::RDONLY, Mode::empty())
    }

    /// Reads a whole regular file of at most `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, DiskError> {
        self.read_with_stat(path, limit).map(|(bytes, _)| bytes)
    }

    /// As [`Disk::read`], with what the kernel told of the file before it was read.
    pub fn read_with_stat(&self, path: &str, limit: u64) -> Result<(Vec<u8>, Stat), DiskError> {
        let (file, stat) = self.open_regular("read", path, OFlags::RDONLY, Mode::empty())?;
        let bytes = self.read_open(path, &file, &stat, limit)?;
        Ok((bytes, stat))
    }

    /// As [`Disk::read`], of a file that is open already and was not read from yet.
    pub fn read_open(&self, path: &str, file: &File, stat: &Stat, limit: u64) -> Result<Vec<u8>, DiskError> {
        let op = "read";
        let too_large = |len| DiskError::TooLarge { op, path: self.full_path(path), len, limit };
        if stat.len > limit {
            return Err(too_large(stat.len));
        }
        let len = usize::try_from(stat.len).unwrap_or(0);
        // One byte more than the file has: a read that comes back short at its length was the last.
        let mut bytes = Vec::with_capacity(len + 1);
        loop {
            let room = bytes.capacity() - bytes.len();
            match rustix::io::read(file, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => break,
                Ok(read) if read < room && bytes.len() == len => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error(op, path, errno)),
            }
            // It may grow while it is read.
            if bytes.len() as u64 > limit {
                return Err(too_large(bytes.len() as u64));
            }
            bytes.reserve(1);
        }
        Ok(bytes)
    }

    /// As [`Disk::read`]; `None` if there is no such file.
    pub fn read_opt(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
        match self.read(path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(DiskError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn error(&self, op: &'static str, path: &str, errno: Errno) -> DiskError {
        DiskError::from_errno(op, self.full_path(path), errno)
    }

    /// Opens anything below the root.
    fn open_fd(&self, op: &'static str, path: &str, flags: OFlags) -> Result<OwnedFd, DiskError> {
        if !stays_below(path) {
            return Err(DiskError::LeavesRoot { op, path: path.to_owned() });
        }
        self.shared.resolver.open(path, flags, Mode::empty()).map_err(|errno| self.error(op, path, errno))
    }

    /// The folder that holds a path, and the path's last component.
    fn parent<'p>(&self, op: &'static str, path: &'p str) -> Result<(OwnedFd, &'p str), DiskError> {
        if path.is_empty() || !stays_below(path) {
            return Err(DiskError::LeavesRoot { op, path: path.to_owned() });
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let fd = self
            .shared
            .resolver
            .open(folder, folder_flags(), Mode::empty())
            .map_err(|errno| self.error(op, path, errno))?;
        Ok((fd, name))
    }

    /// Opens a regular file and nothing else.
    fn open_regular(
        &self,
        op: &'static str,
        path: &str,
        flags: OFlags,
        mode: Mode,
    ) -> Result<(File, Stat), DiskError> {
        if path.is_empty() || !stays_below(path) {
            return Err(DiskError::LeavesRoot { op, path: path.to_owned() });
        }
        let opened = self.shared.resolver.open(path, flags | NEVER_WAIT, mode);
        self.regular(op, &|| path.to_owned(), opened)
    }

    /// What was opened, if it is a regular file.
    fn regular(
        &self,
        op: &'static str,
        path: &dyn Fn() -> String,
        opened: Result<OwnedFd, Errno>,
    ) -> Result<(File, Stat), DiskError> {
        let not_regular =
            |found: Kind| DiskError::NotRegular { op, path: self.full_path(&path()), found: found.word() };
        let fd = match opened {
            Ok(fd) => fd,
            // ENXIO: a socket, or a device without a driver, or a FIFO opened for writing only.
            Err(errno @ (Errno::NXIO | Errno::LOOP | Errno::NODEV)) => {
                return Err(match self.stat(&path()) {
                    Ok(Some(Stat { kind, .. })) if kind != Kind::File => not_regular(kind),
                    _ => self.error(op, &path(), errno),
                });
            }
            Err(errno) => return Err(self.error(op, &path(), errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.error(op, &path(), errno))?;
        let stat = Stat::of(&stat);
        if stat.kind != Kind::File {
            return Err(not_regular(stat.kind));
        }
        Ok((File::from(fd), stat))
    }
}
