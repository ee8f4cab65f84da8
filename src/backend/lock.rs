//! Locks that the kernel drops when their holder dies.
//!
//! `flock` on a file that is never unlinked. Each open file description has its own lock, so threads
//! of one process exclude each other like processes do; the descriptor is close-on-exec, so a child
//! does not keep it. A stopped holder keeps its lock: waiting ends in an error that names it, never
//! in a takeover.
//!
//! The holder writes into the file who it is. That text serves the waiter's message alone; who holds
//! the lock is for the kernel to say.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::durable::{Disk, DiskError};

/// Longest holder text that is written or shown, in bytes.
const HOLDER_BYTES: usize = 256;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else has it and kept it for as long as was waited.
    #[error("{path:?} is locked by {holder:?} (waited {waited:?})")]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, in the holder's own words; empty if not known.
        holder: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock file could not be opened or made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The filesystem has no locks, or the call failed.
    #[error("cannot lock {path:?}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A lock that is held until this value is dropped or its process dies.
#[derive(Debug)]
pub struct FileLock {
    disk: Disk,
    path: String,
    file: File,
    ino: u64,
}

impl FileLock {
    /// Takes the lock, waiting for at most `timeout`. `holder` is what others are told while it is
    /// held, such as `pid 123 (strongroom migrate)`.
    ///
    /// # Errors
    /// [`LockError::Held`] when the time is up.
    pub fn acquire(disk: &Disk, path: &str, holder: &str, timeout: Duration) -> Result<Self, LockError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(lock) = Self::try_acquire(disk, path, holder)? {
                return Ok(lock);
            }
            let waited = start.elapsed();
            if waited >= timeout {
                let holder = read_holder(disk, path);
                return Err(LockError::Held { path: disk.full_path(path), holder, waited });
            }
            // flock has no time limit, and interrupting it needs signals: so it is asked again, at
            // most 50 ms after it became free.
            std::thread::sleep(pause.min(timeout - waited));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Takes the lock if nobody holds it; `None` if somebody does.
    pub fn try_acquire(disk: &Disk, path: &str, holder: &str) -> Result<Option<Self>, LockError> {
        loop {
            let (file, stat) = disk.open_lock(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => {
                    return Err(LockError::Io { path: disk.full_path(path), source });
                }
            }
            let lock = Self { disk: disk.clone(), path: path.to_owned(), file, ino: stat.ino };
            // Between open and lock a sweeper may have removed the file: then this locks nothing.
            if !lock.still_named()? {
                continue;
            }
            let mut end = holder.len().min(HOLDER_BYTES);
            while !holder.is_char_boundary(end) {
                end -= 1;
            }
            // On a full disk the lock is as good without the text.
            let _ = disk.write_holder(&lock.file, path, &holder.as_bytes()[..end]);
            return Ok(Some(lock));
        }
    }

    /// Whether the path still leads to the file that is locked.
    pub fn still_named(&self) -> Result<bool, DiskError> {
        Ok(self.disk.stat(&self.path)?.is_some_and(|stat| stat.ino == self.ino))
    }

    /// The lock file's path, relative to the root.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// What the holder of a lock says it is; empty if it says nothing. The text is another process's and
/// may hold anything.
pub fn read_holder(disk: &Disk, path: &str) -> String {
    let mut text = [0u8; HOLDER_BYTES];
    let read = disk.open_file(path).ok().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
    String::from_utf8_lossy(&text[..read]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn lock_held_by_another_thread_is_refused_and_names_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let first = FileLock::acquire(&disk, "lock", "pid 1 (a)\n\u{1b}[31m", NOW).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(FileLock::try_acquire(&disk, "lock", "b").unwrap().is_none());
                let wait = Duration::from_millis(30);
                let error = FileLock::acquire(&disk, "lock", "b", wait).unwrap_err();
                let text = error.to_string();
                assert!(text.contains("pid 1 (a)\\n\\u{1b}"), "{text}");
                assert!(matches!(error, LockError::Held { waited, .. } if waited >= wait));
            });
        });
        drop(first);
        FileLock::acquire(&disk, "lock", "c", NOW).unwrap();
        assert_eq!(read_holder(&disk, "lock"), "c");
    }

    #[test]
    fn lock_released_while_waiting_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let first = FileLock::acquire(&disk, "lock", "a", NOW).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| FileLock::acquire(&disk, "lock", "b", Duration::from_secs(20)));
            std::thread::sleep(Duration::from_millis(20));
            drop(first);
            assert!(waiter.join().unwrap().is_ok());
        });
    }

    #[test]
    fn lock_on_a_file_removed_since_locks_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let old = FileLock::acquire(&disk, "lock", "a", NOW).unwrap();
        assert!(old.still_named().unwrap());
        disk.unlink("lock").unwrap();
        assert!(!old.still_named().unwrap());
        let new = FileLock::acquire(&disk, "lock", "b", NOW).unwrap();
        assert!(new.still_named().unwrap());
        assert!(FileLock::try_acquire(&disk, "lock", "c").unwrap().is_none());
    }
}
