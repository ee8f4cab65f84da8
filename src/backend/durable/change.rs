//! Changes to names, and the durable-write helper.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use super::hook::{Call, Errno, Verdict};
use super::{Disk, DiskError, Kind, Names, Unnamed, stays_below};

/// How a copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// The two files share their blocks until one of them is written.
    Reflink,
    /// Byte by byte.
    Bytes,
}

/// What the temporary names of [`Disk::replace_durably`] begin with.
const TEMP: &str = ".tmp-";

/// Whether a file name is one that [`Disk::replace_durably`] uses while it writes, so that a crash can
/// have left it; nothing ever reads such a file.
pub fn is_temp_name(name: &OsStr) -> bool {
    name.as_bytes().starts_with(TEMP.as_bytes())
}

impl Disk {
    /// Asks the hook about a call.
    pub(super) fn ask(&self, call: &Call<'_>) -> Verdict {
        self.hook.as_ref().map_or(Verdict::Go, |hook| hook.call(call))
    }

    /// Makes one file-changing call, unless the hook says otherwise.
    pub(super) fn call(
        &self,
        op: &'static str,
        path: &str,
        to: Option<&str>,
        offset: u64,
        make: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), DiskError> {
        match self.ask(&Call { name: op, path, to, offset, bytes: &[] }) {
            Verdict::Go => make().map_err(|errno| self.error(op, path, errno)),
            Verdict::Fail(errno) | Verdict::FailShort(_, errno) => Err(self.error(op, path, errno)),
            Verdict::FailAfter(errno) => {
                make().map_err(|errno| self.error(op, path, errno))?;
                Err(self.error(op, path, errno))
            }
        }
    }

    /// As [`Disk::call`] where the call itself needs more than a closure: only the question.
    pub(super) fn gate(&self, op: &'static str, path: &str) -> Result<(), DiskError> {
        self.call(op, path, None, 0, || Ok(()))
    }

    /// Makes a folder (mode 0755, less the umask) in one that exists.
    pub fn mkdir(&self, path: &str) -> Result<(), DiskError> {
        let (parent, name) = self.parent("mkdir", path)?;
        self.call("mkdir", path, None, 0, || rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)))
    }

    /// Makes a folder and those above it, and says which ones it made, from the top. Each of their
    /// parents must be synced before they are durable.
    pub fn mkdir_all(&self, path: &str) -> Result<Vec<String>, DiskError> {
        if !stays_below(path) {
            return Err(DiskError::LeavesRoot { op: "mkdir", path: path.to_owned() });
        }
        let mut made = Vec::new();
        if path.is_empty() || self.is_folder(path)? {
            return Ok(made);
        }
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            let folder = &path[..end];
            if self.is_folder(folder)? {
                continue;
            }
            match self.mkdir(folder) {
                Ok(()) => made.push(folder.to_owned()),
                // Made by someone else in between; a link or a file there is refused at the next step.
                Err(DiskError::Exists { .. }) if self.is_folder(folder)? => made.push(folder.to_owned()),
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    fn is_folder(&self, path: &str) -> Result<bool, DiskError> {
        match self.stat(path)? {
            None => Ok(false),
            Some(stat) => match stat.kind {
                Kind::Dir => Ok(true),
                Kind::Link => Err(self.error("mkdir", path, Errno::LOOP)),
                Kind::File | Kind::Other(_) => Err(self.error("mkdir", path, Errno::NOTDIR)),
            },
        }
    }

    /// Makes a file's bytes durable.
    pub fn sync_file(&self, path: &str) -> Result<(), DiskError> {
        let (file, _) = self.open_regular("fsync", path, OFlags::RDONLY, Mode::empty())?;
        self.call("fsync", path, None, 0, || rustix::fs::fsync(&file))
    }

    /// Makes a folder's names durable; the empty path is the root.
    pub fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        let fd = self.open_fd("fsync_dir", path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.call("fsync_dir", path, None, 0, || rustix::fs::fsync(&fd))
    }

    /// Makes a file's name durable, with an empty file if there is none. One that was made and whose name could not
    /// be made durable is taken away again, so that nobody takes it for safe.
    pub fn name_durably(&self, path: &str, mode: u32) -> Result<(), Unnamed> {
        let is_new = self.stat(path).map_err(Unnamed::NotMade)?.is_none();
        if is_new {
            self.write_new(path, b"", mode).map_err(Unnamed::NotMade)?;
        }
        self.sync_dir(path.rsplit_once('/').map_or("", |(folder, _)| folder)).map_err(|error| {
            if is_new {
                let _ = self.discard(path);
            }
            Unnamed::NotFlushed(error)
        })
    }

    /// Makes everything written so far to the root's filesystem durable, by anyone. Reports lost
    /// writes since Linux 5.8, of anyone too; once it has failed it fails for ever.
    pub fn sync_all(&self) -> Result<(), DiskError> {
        let mut failed = match self.shared.syncfs_failed.lock() {
            Ok(failed) => failed,
            Err(poisoned) => poisoned.into_inner(),
        };
        if *failed {
            return Err(DiskError::Dead { op: "syncfs", path: self.full_path("") });
        }
        let done = self.call("syncfs", "", None, 0, || rustix::fs::syncfs(self.shared.resolver.root()));
        *failed = done.is_err();
        done
    }

    fn rename(&self, op: &'static str, from: &str, to: &str, flags: RenameFlags) -> Result<(), DiskError> {
        let (from_folder, from_name) = self.parent(op, from)?;
        let (to_folder, to_name) = self.parent(op, to)?;
        self.call(op, from, Some(to), 0, || {
            rustix::io::retry_on_intr(|| {
                rustix::fs::renameat_with(&from_folder, from_name, &to_folder, to_name, flags)
            })
        })
    }

    /// Renames onto a free name.
    ///
    /// # Errors
    /// [`DiskError::Exists`] naming the target if something lies there; then nothing changed.
    pub fn rename_new(&self, from: &str, to: &str) -> Result<(), DiskError> {
        match self.rename("rename_new", from, to, RenameFlags::NOREPLACE) {
            Err(DiskError::Exists { op, .. }) => Err(DiskError::Exists { op, path: self.full_path(to) }),
            other => other,
        }
    }

    /// Exchanges two names in one step; `false` if the filesystem cannot, and nothing changed.
    pub fn exchange(&self, a: &str, b: &str) -> Result<bool, DiskError> {
        unless_unsupported(self.rename("exchange", a, b, RenameFlags::EXCHANGE))
    }

    /// Renames over whatever file lies at the target.
    pub fn replace(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.rename("rename", from, to, RenameFlags::empty())
    }

    /// Removes a name that is no folder; a link is removed, not what it leads to.
    pub fn unlink(&self, path: &str) -> Result<(), DiskError> {
        let (parent, name) = self.parent("unlink", path)?;
        self.call("unlink", path, None, 0, || rustix::fs::unlinkat(&parent, name, AtFlags::empty()))
    }

    /// Removes an empty folder.
    pub fn rmdir(&self, path: &str) -> Result<(), DiskError> {
        let (parent, name) = self.parent("rmdir", path)?;
        self.call("rmdir", path, None, 0, || rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR))
    }

    /// Removes a folder with everything in it. Links in it are removed, never followed.
    pub fn remove_tree(&self, path: &str) -> Result<(), DiskError> {
        let (parent, name) = self.parent("remove", path)?;
        self.remove_below(parent.as_fd(), name.as_ref(), path)
    }

    /// Removes whatever lies at a path, a folder with everything in it; fine if nothing does.
    pub fn discard(&self, path: &str) -> Result<(), DiskError> {
        let removed = match self.stat(path)?.map(|stat| stat.kind) {
            None => return Ok(()),
            Some(Kind::Dir) => self.remove_tree(path),
            Some(_) => self.unlink(path),
        };
        match removed {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed,
        }
    }

    fn remove_below(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &str) -> Result<(), DiskError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|errno| self.error("remove", path, errno))?;
        for entry in Names::read(fd.as_fd()).map_err(|errno| self.error("list", path, errno))? {
            let below = format!("{path}/{}", entry.name.to_string_lossy());
            if entry.kind == Kind::Dir {
                self.remove_below(fd.as_fd(), &entry.name, &below)?;
            } else {
                self.call("unlink", &below, None, 0, || {
                    rustix::fs::unlinkat(&fd, &entry.name, AtFlags::empty())
                })?;
            }
        }
        self.call("rmdir", path, None, 0, || rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
    }

    /// The durable write: when it returns, the path holds these bytes and keeps them through a power
    /// cut; when it fails, or never returns, the path holds the old file or the new one, whole.
    ///
    /// A temporary file beside it (a name nobody has, never through a link), write, fsync, rename,
    /// fsync of the folder. The bytes must be durable before the name leads to them.
    pub fn replace_durably(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
        let (folder, _) = path.rsplit_once('/').unwrap_or(("", path));
        let mut temp = self.create_temp(folder, mode)?;
        let name = temp.path().to_owned();
        let written = temp.write_all(bytes).and_then(|()| temp.sync());
        drop(temp);
        let renamed = written.and_then(|()| self.replace(&name, path));
        if let Err(error) = renamed {
            // A leftover is harmless, and what matters is why the write failed.
            let _ = self.unlink(&name);
            return Err(error);
        }
        self.sync_dir(folder)
    }

    /// Creates a file under a temporary name ([`is_temp_name`]) in a folder.
    pub fn create_temp(&self, folder: &str, mode: u32) -> Result<super::NewFile, DiskError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let slash = if folder.is_empty() { "" } else { "/" };
        let mut tries = 0;
        loop {
            // Distinct among threads and running processes; a name left by a dead process of the same
            // id, or planted, is passed over.
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{folder}{slash}{TEMP}{}-{number}", std::process::id());
            match self.create(&name, mode) {
                Err(DiskError::Exists { .. }) if tries < 1000 => tries += 1,
                other => return other,
            }
        }
    }

    /// Cuts a file to a length; only for tails that were never committed.
    pub fn set_len(&self, path: &str, len: u64) -> Result<(), DiskError> {
        let (file, _) = self.open_regular("set_len", path, OFlags::WRONLY, Mode::empty())?;
        self.set_len_of(&file, path, len)
    }

    /// As [`Disk::set_len`], on a file already open (and locked) for writing.
    pub(in crate::backend) fn set_len_of(&self, file: &File, path: &str, len: u64) -> Result<(), DiskError> {
        self.call("set_len", path, None, len, || {
            rustix::io::retry_on_intr(|| rustix::fs::ftruncate(file, len))
        })
    }

    /// Copies a regular file to a new name with exactly this mode, sharing its blocks where the
    /// filesystem can. Nothing is made durable.
    pub fn clone_or_copy(&self, from: &str, to: &str, mode: u32) -> Result<Copied, DiskError> {
        let (mut source, _) = self.open_regular("copy", from, OFlags::RDONLY, Mode::empty())?;
        let mut target = self.create(to, mode)?;
        if self.share_blocks(&source, target.file(), from, to)? {
            return Ok(Copied::Reflink);
        }
        let mut buffer = vec![0u8; 256 << 10];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => return Ok(Copied::Bytes),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(DiskError::from_io("copy", self.full_path(from), error)),
            };
            target.write_all(&buffer[..read])?;
        }
    }

    /// As [`Disk::clone_or_copy`] where only sharing will do: `false`, and no new name, if the
    /// filesystem cannot.
    pub fn reflink(&self, from: &str, to: &str, mode: u32) -> Result<bool, DiskError> {
        let (source, _) = self.open_regular("copy", from, OFlags::RDONLY, Mode::empty())?;
        let target = self.create(to, mode)?;
        let shared = self.share_blocks(&source, target.file(), from, to)?;
        if !shared {
            self.unlink(to)?;
        }
        Ok(shared)
    }

    fn share_blocks(&self, source: &File, target: &File, from: &str, to: &str) -> Result<bool, DiskError> {
        let mut shared = false;
        self.call("reflink", from, Some(to), 0, || {
            // Any refusal (EOPNOTSUPP, EXDEV, EINVAL, ENOTTY, EPERM) means: by bytes.
            shared = rustix::fs::ioctl_ficlone(target, source).is_ok();
            Ok(())
        })?;
        Ok(shared)
    }

    /// Gives a regular file a second name.
    pub fn hard_link(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let op = "link";
        let (from_folder, from_name) = self.parent(op, from)?;
        let (to_folder, to_name) = self.parent(op, to)?;
        match self.stat(from)? {
            None => return Err(self.error(op, from, Errno::NOENT)),
            Some(stat) if stat.kind != Kind::File => {
                return Err(DiskError::NotRegular {
                    op,
                    path: self.full_path(from),
                    found: stat.kind.word(),
                });
            }
            Some(_) => {}
        }
        // Without AT_SYMLINK_FOLLOW the link itself would be linked, never what it leads to.
        self.call(op, from, Some(to), 0, || {
            rustix::fs::linkat(&from_folder, from_name, &to_folder, to_name, AtFlags::empty())
        })
        .map_err(|error| match error {
            DiskError::Exists { op, .. } => DiskError::Exists { op, path: self.full_path(to) },
            other => other,
        })
    }
}

/// Whether a filesystem carried out a call that it need not know.
pub(super) fn unless_unsupported(done: Result<(), DiskError>) -> Result<bool, DiskError> {
    match done {
        Ok(()) => Ok(true),
        Err(DiskError::Unsupported { .. }) => Ok(false),
        Err(DiskError::Io { source, .. })
            if Errno::from_io_error(&source).is_some_and(|errno| errno == Errno::INVAL) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
