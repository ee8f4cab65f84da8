//! A folder held open: what lies in it is opened by its name alone, without going its path again.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use super::resolve::{folder_flags, stays_below};
use super::{Disk, DiskError, Errno, NEVER_WAIT, Names, Stat};

/// A folder below a [`Disk`], held by descriptor. As there, no link is followed.
pub struct Folder<'d> {
    disk: &'d Disk,
    path: String,
    fd: OwnedFd,
}

impl Disk {
    /// Opens a folder and reads its names, sorted by their bytes.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such folder.
    pub fn folder(&self, path: &str) -> Result<(Folder<'_>, Names), DiskError> {
        let op = "list";
        let fd = self.open_fd(op, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let names = Names::read(fd.as_fd()).map_err(|errno| self.error(op, path, errno))?;
        Ok((Folder { disk: self, path: path.to_owned(), fd }, names))
    }

    /// Opens a folder without reading its names.
    ///
    /// # Errors
    /// [`DiskError::NotFound`] if there is no such folder.
    pub fn hold(&self, path: &str) -> Result<Folder<'_>, DiskError> {
        let fd = self.open_fd("open", path, folder_flags())?;
        Ok(Folder { disk: self, path: path.to_owned(), fd })
    }
}

impl Folder<'_> {
    /// What a name in it names, never following a link; `None` if it names nothing.
    pub fn stat(&self, name: &str) -> Result<Option<Stat>, DiskError> {
        let op = "stat";
        self.must_be_one_name(op, name)?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.disk.error(op, &self.below(name), errno)),
        }
    }

    /// Opens a regular file in it for reading, with what the kernel tells of it.
    ///
    /// # Errors
    /// [`DiskError::NotRegular`] for everything else.
    pub fn open_file(&self, name: &str) -> Result<(File, Stat), DiskError> {
        self.open("open", name)
    }

    /// Reads a whole regular file of at most `limit` bytes, with what the kernel told of it before.
    pub fn read(&self, name: &str, limit: u64) -> Result<(Vec<u8>, Stat), DiskError> {
        let (file, stat) = self.open("read", name)?;
        let bytes = self.disk.read_open(&self.below(name), &file, &stat, limit)?;
        Ok((bytes, stat))
    }

    /// As [`Disk::exchange`], of a name in it and one in another folder.
    pub fn exchange(&self, name: &str, other: &Self, other_name: &str) -> Result<bool, DiskError> {
        let op = "exchange";
        self.must_be_one_name(op, name)?;
        other.must_be_one_name(op, other_name)?;
        let exchanged = self.disk.call(op, &self.below(name), Some(&other.below(other_name)), 0, || {
            rustix::io::retry_on_intr(|| {
                rustix::fs::renameat_with(&self.fd, name, &other.fd, other_name, RenameFlags::EXCHANGE)
            })
        });
        super::change::unless_unsupported(exchanged)
    }

    fn open(&self, op: &'static str, name: &str) -> Result<(File, Stat), DiskError> {
        self.must_be_one_name(op, name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | NEVER_WAIT | OFlags::CLOEXEC;
        let opened = rustix::io::retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, Mode::empty()));
        self.disk.regular(op, &|| self.below(name), opened)
    }

    fn must_be_one_name(&self, op: &'static str, name: &str) -> Result<(), DiskError> {
        if name.is_empty() || name.contains('/') || !stays_below(name) {
            return Err(DiskError::LeavesRoot { op, path: self.below(name) });
        }
        Ok(())
    }

    fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }
}
