//! Locks that the kernel drops when their holder dies.
//!
//! `flock` on a file that is never unlinked. Each open file description has its own lock, so threads
//! of one process exclude each other like processes do; the descriptor is close-on-exec, so a child
//! does not keep it. A stopped holder keeps its lock: waiting ends in an error that names it, never
//! in a takeover.
//!
//! flock has no time limit, and interrupting it needs signals: so whoever waits asks again and again. Who
//! lets go of a lock and wants it again at once would mostly have it before those that wait ask the next time.
//! Where many take turns there is a second lock for whoever is next: it alone asks often, and nobody passes it.
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

/// How often a lock is asked for: at first, and at last, after a while in proportion to it.
struct Pace {
    first: Duration,
    last: Duration,
}

/// For one of many, or of few that come by chance.
const STEADY: Pace = Pace { first: Duration::from_millis(1), last: Duration::from_millis(20) };
/// For the one that is next.
const NEXT: Pace = Pace { first: Duration::from_micros(300), last: Duration::from_millis(5) };

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
        let lock = Self::ask(disk, path, holder, timeout, &STEADY)?;
        lock.ok_or_else(|| held(disk, path, start))
    }

    /// As [`acquire`](Self::acquire), for a lock that many take again and again: whoever waits has it before
    /// one that comes later. `queue` is the file of the one that is next; it is made when somebody has to wait.
    pub fn acquire_in_turn(
        disk: &Disk,
        path: &str,
        queue: &str,
        holder: &str,
        timeout: Duration,
    ) -> Result<Self, LockError> {
        let start = Instant::now();
        // Nobody waits where nobody ever did.
        if disk.stat(queue)?.is_none()
            && let Some(lock) = Self::try_acquire(disk, path, holder)?
        {
            return Ok(lock);
        }
        let Some(_next) = Self::ask(disk, queue, holder, timeout, &STEADY)? else {
            return Err(held(disk, path, start));
        };
        let left = timeout.saturating_sub(start.elapsed());
        Self::ask(disk, path, holder, left, &NEXT)?.ok_or_else(|| held(disk, path, start))
    }

    /// Asks for the lock until it is there or the time is up.
    fn ask(
        disk: &Disk,
        path: &str,
        holder: &str,
        timeout: Duration,
        pace: &Pace,
    ) -> Result<Option<Self>, LockError> {
        let start = Instant::now();
        loop {
            if let Some(lock) = Self::try_acquire(disk, path, holder)? {
                return Ok(Some(lock));
            }
            let waited = start.elapsed();
            if waited >= timeout {
                return Ok(None);
            }
            // Nobody waits much longer than it must, and a long wait costs little.
            std::thread::sleep((waited / 16).clamp(pace.first, pace.last).min(timeout - waited));
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

    /// Whether anybody holds a lock on the file; takes and writes nothing.
    pub fn is_held(disk: &Disk, path: &str) -> Result<bool, LockError> {
        let file = match disk.open_file(path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path: disk.full_path(path), source }),
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

/// The error of a wait that took too long.
fn held(disk: &Disk, path: &str, since: Instant) -> LockError {
    let (path, holder) = (disk.full_path(path), read_holder(disk, path));
    LockError::Held { path, holder, waited: since.elapsed() }
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
    fn lock_in_turn_goes_to_whoever_waits_and_not_back_to_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let long = Duration::from_secs(20);
        let take = &|name: &str| FileLock::acquire_in_turn(&disk, "lock", "queue", name, long).unwrap();
        drop(take("a"));
        assert!(disk.stat("queue").unwrap().is_none(), "nobody waited");
        let first = take("a");
        let use_it = &|name: &str| {
            let _lock = take(name);
            std::thread::sleep(Duration::from_millis(6));
        };
        std::thread::scope(|scope| {
            // Three that use the lock ten times each, beside one that lets go and takes it again at once.
            let done: Vec<_> =
                (0..3).map(|_| scope.spawn(move || (0..10).for_each(|_| use_it("b")))).collect();
            while !FileLock::is_held(&disk, "queue").unwrap() {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(first);
            let mut ours = 0;
            while done.iter().any(|thread| !thread.is_finished()) {
                use_it("a");
                ours += 1;
            }
            // Without turns nearly all would be ours until the others happened to ask in between.
            assert!(ours <= 60, "{ours} times between 30 of the others");
        });
    }

    #[test]
    fn lock_in_turn_that_nobody_lets_go_is_refused_in_time_to_all_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let _held = FileLock::acquire(&disk, "lock", "the holder", NOW).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let wait = Duration::from_millis(60);
                    let error = FileLock::acquire_in_turn(&disk, "lock", "queue", "b", wait).unwrap_err();
                    assert!(matches!(&error, LockError::Held { waited, .. } if *waited >= wait), "{error}");
                    assert!(error.to_string().contains("the holder"), "{error}");
                });
            }
        });
        assert!(!FileLock::is_held(&disk, "queue").unwrap());
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
