//! From a path below the root to a descriptor, following no link.
//!
//! `lstat` and then `open` lets a link swapped in between through; `O_NOFOLLOW` guards the last
//! component alone. So the kernel resolves each path in one call that refuses links everywhere and
//! never leaves the root (`openat2`, Linux 5.6). Where there is no such call, the components are
//! opened one by one, each with `O_NOFOLLOW`: every step starts from a descriptor, so a swapped name
//! changes at most which folder of the tree is reached, never that it lies in the tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How much of a path goes to the kernel at once; it takes less than 4,096 bytes (`PATH_MAX`).
const PIECE: usize = 3000;

/// The root's descriptor and the way paths are resolved.
#[derive(Debug)]
pub(super) struct Resolver {
    root: OwnedFd,
    walk: AtomicBool,
}

/// Whether a path stays below the root: relative, no empty, `.` or `..` component, no NUL. The empty
/// path is the root itself.
pub(super) fn stays_below(path: &str) -> bool {
    path.is_empty()
        || (!path.contains('\0')
            && path.split('/').all(|part| !part.is_empty() && part != "." && part != ".."))
}

impl Resolver {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, walk: AtomicBool::new(false) }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Resolves component by component from now on, as on a kernel without `openat2`.
    pub(super) fn walk_components(&self) {
        self.walk.store(true, Ordering::Relaxed);
    }

    /// Opens a path that [`stays_below`] the root. `ELOOP` means a link somewhere in it.
    pub(super) fn open(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut rest = if path.is_empty() { "." } else { path };
        let mut base: Option<OwnedFd> = None;
        while rest.len() > PIECE {
            // Cut on bytes: a slash is never inside a character.
            let Some(cut) = rest.as_bytes()[..PIECE].iter().rposition(|byte| *byte == b'/') else {
                return Err(Errno::NAMETOOLONG);
            };
            let (head, tail) = (&rest[..cut], &rest[cut + 1..]);
            let next = self.open_piece(fd_or(&base, &self.root), head, folder_flags(), Mode::empty())?;
            base = Some(next);
            rest = tail;
        }
        self.open_piece(fd_or(&base, &self.root), rest, flags, mode)
    }

    fn open_piece(
        &self,
        base: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        // openat2 refuses a mode where nothing can be created (EINVAL).
        let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
        if !self.walk.load(Ordering::Relaxed) {
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            loop {
                match rustix::fs::openat2(base, path, flags, mode, how) {
                    // EAGAIN: something was renamed during the resolution (openat2(2)).
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    // A filter that knows no openat2 answers EPERM; the walk then says what is so.
                    Err(Errno::NOSYS | Errno::PERM) => break,
                    other => return other,
                }
            }
            let probe = rustix::fs::openat2(base, ".", folder_flags() | OFlags::CLOEXEC, Mode::empty(), how);
            if matches!(probe, Err(Errno::NOSYS | Errno::PERM)) {
                self.walk_components();
            }
        }
        open_by_walking(base, path, flags | OFlags::NOFOLLOW, mode)
    }
}

fn fd_or<'a>(base: &'a Option<OwnedFd>, root: &'a OwnedFd) -> BorrowedFd<'a> {
    base.as_ref().unwrap_or(root).as_fd()
}

/// Opens a folder only to start from it.
pub(super) fn folder_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY
}

fn open_by_walking(base: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let (folders, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut current: Option<OwnedFd> = None;
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        let from = current.as_ref().map_or(base, |fd| fd.as_fd());
        let next = open_part(from, part, folder_flags() | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        current = Some(next);
    }
    open_part(current.as_ref().map_or(base, |fd| fd.as_fd()), last, flags, mode)
}

/// Opens one component. A link that had to be a folder is told apart from a file that had to be one.
fn open_part(from: BorrowedFd<'_>, part: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::openat(from, part, flags, mode)) {
        Err(Errno::NOTDIR) => match rustix::fs::statat(from, part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Err(Errno::LOOP),
            _ => Err(Errno::NOTDIR),
        },
        other => other,
    }
}
