//! What can go wrong between the store and the kernel, one variant per failure mode.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why a file operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Nothing lies at the path.
    #[error("cannot {op} {path:?}: it does not exist")]
    NotFound {
        /// The operation.
        op: &'static str,
        /// The path, below the root as it was opened.
        path: PathBuf,
    },
    /// Something lies at a path that had to be free.
    #[error("cannot {op} {path:?}: it already exists")]
    Exists {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The path holds something other than a regular file.
    #[error("cannot {op} {path:?}: it is a {found}, not a regular file")]
    NotRegular {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
        /// What it is: `folder`, `symbolic link`, `FIFO`, `socket`, `device`.
        found: &'static str,
    },
    /// A component of the path that had to be a folder is something else.
    #[error("cannot {op} {path:?}: it, or a part of it, is not a folder")]
    NotFolder {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A component of the path is a symbolic link; none is ever followed.
    #[error("cannot {op} {path:?}: it, or a part of it, is a symbolic link, which is never followed")]
    Link {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The path is absolute, has an empty, `.` or `..` component, or otherwise leads out of the root.
    #[error("cannot {op} {path:?}: the path leaves the root")]
    LeavesRoot {
        /// The operation.
        op: &'static str,
        /// The path as it was given.
        path: String,
    },
    /// The file is larger than the caller takes.
    #[error("cannot {op} {path:?}: {len} bytes are over the limit of {limit}")]
    TooLarge {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
        /// The file's length, or what was read before giving up.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The filesystem, a quota or the file size limit is exhausted.
    #[error("cannot {op} {path:?}: {source}")]
    NoSpace {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
        /// `ENOSPC`, `EDQUOT` or `EFBIG`.
        source: io::Error,
    },
    /// The process may not do this.
    #[error("cannot {op} {path:?}: {source}")]
    NoAccess {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
        /// `EACCES`, `EPERM` or `EROFS`.
        source: io::Error,
    },
    /// The filesystem has no such operation.
    #[error("cannot {op} {path:?}: the filesystem does not support it")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// An earlier write or fsync of this file failed. What reached the disk is not known, and a
    /// second fsync may say yes with the data gone, so nothing is tried again.
    #[error("cannot {op} {path:?}: an earlier write or fsync failed")]
    Dead {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot {op} {path:?}: {source}")]
    Io {
        /// The operation.
        op: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// [`DiskError`] without its data, for control flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskErrorKind {
    /// [`DiskError::NotFound`].
    NotFound,
    /// [`DiskError::Exists`].
    Exists,
    /// [`DiskError::NotRegular`].
    NotRegular,
    /// [`DiskError::NotFolder`].
    NotFolder,
    /// [`DiskError::Link`].
    Link,
    /// [`DiskError::LeavesRoot`].
    LeavesRoot,
    /// [`DiskError::TooLarge`].
    TooLarge,
    /// [`DiskError::NoSpace`].
    NoSpace,
    /// [`DiskError::NoAccess`].
    NoAccess,
    /// [`DiskError::Unsupported`].
    Unsupported,
    /// [`DiskError::Dead`].
    Dead,
    /// [`DiskError::Io`].
    Io,
}

/// Why a name is not one that power cannot take.
#[derive(Debug, thiserror::Error)]
pub enum Unnamed {
    /// It could not be made: nothing was changed.
    #[error(transparent)]
    NotMade(DiskError),
    /// Its folder could not be flushed, and a later flush that succeeds would say nothing of it.
    #[error(transparent)]
    NotFlushed(DiskError),
}

impl DiskError {
    /// The failure mode.
    pub fn kind(&self) -> DiskErrorKind {
        match self {
            Self::NotFound { .. } => DiskErrorKind::NotFound,
            Self::Exists { .. } => DiskErrorKind::Exists,
            Self::NotRegular { .. } => DiskErrorKind::NotRegular,
            Self::NotFolder { .. } => DiskErrorKind::NotFolder,
            Self::Link { .. } => DiskErrorKind::Link,
            Self::LeavesRoot { .. } => DiskErrorKind::LeavesRoot,
            Self::TooLarge { .. } => DiskErrorKind::TooLarge,
            Self::NoSpace { .. } => DiskErrorKind::NoSpace,
            Self::NoAccess { .. } => DiskErrorKind::NoAccess,
            Self::Unsupported { .. } => DiskErrorKind::Unsupported,
            Self::Dead { .. } => DiskErrorKind::Dead,
            Self::Io { .. } => DiskErrorKind::Io,
        }
    }

    /// Whether nothing lies at the path.
    pub fn is_not_found(&self) -> bool {
        self.kind() == DiskErrorKind::NotFound
    }

    /// Whether something lay at a path that had to be free.
    pub fn is_exists(&self) -> bool {
        self.kind() == DiskErrorKind::Exists
    }

    /// Whether something other than a regular file lies at the path.
    pub fn is_not_regular(&self) -> bool {
        matches!(self.kind(), DiskErrorKind::NotRegular | DiskErrorKind::Link)
    }

    /// Whether something other than a folder lies on the way.
    pub fn is_not_folder(&self) -> bool {
        matches!(self.kind(), DiskErrorKind::NotFolder | DiskErrorKind::Link)
    }

    /// Whether the file is larger than the caller takes.
    pub fn is_too_large(&self) -> bool {
        self.kind() == DiskErrorKind::TooLarge
    }

    /// Sorts a kernel error into its failure mode.
    pub(super) fn from_errno(op: &'static str, path: PathBuf, errno: Errno) -> Self {
        let source = io::Error::from(errno);
        match errno {
            Errno::NOENT => Self::NotFound { op, path },
            Errno::EXIST => Self::Exists { op, path },
            Errno::NOTDIR => Self::NotFolder { op, path },
            Errno::ISDIR => Self::NotRegular { op, path, found: "folder" },
            Errno::LOOP => Self::Link { op, path },
            Errno::XDEV if op == "open" => Self::LeavesRoot { op, path: path.display().to_string() },
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::NoSpace { op, path, source },
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::NoAccess { op, path, source },
            Errno::NOSYS | Errno::OPNOTSUPP => Self::Unsupported { op, path },
            _ => Self::Io { op, path, source },
        }
    }

    /// As [`DiskError::from_errno`], for calls made through the standard library.
    pub(super) fn from_io(op: &'static str, path: PathBuf, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(errno) => Self::from_errno(op, path, errno),
            None => Self::Io { op, path, source },
        }
    }
}
