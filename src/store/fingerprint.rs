//! What the kernel tells of files and folders, put into a mark: one that looks as it did when it was read
//! need not be read again. `adopt` and the index remember such marks; nothing that is checked rests on them.
//!
//! The rule for what is racily clean is git's: what changed so shortly before it was read that a later
//! change need not show in its times is not remembered.

use super::facts::join;
use crate::backend::{Disk, Kind, Stat};
use crate::base::clock::Moment;

/// Times of files are as coarse as this on some filesystems.
const COARSE_NS: i128 = 2_000_000_000;

/// Half a BLAKE3 digest: enough to tell what looks otherwise, and nobody gains by another that looks the same.
pub(super) type Mark = [u8; 16];

/// What the kernel tells of a file or of a folder and everything in it, and when it last changed.
#[derive(Clone, Copy)]
pub(super) struct Fingerprint {
    /// Device, inode, length, mode and times.
    pub mark: Mark,
    newest_ns: i128,
}

impl Fingerprint {
    /// Takes it of a folder. `what` is what else decides how the folder is taken; a folder that cannot be
    /// looked through has none.
    pub fn of_folder(disk: &Disk, folder: &str, what: &[&str]) -> Option<Self> {
        let mut taking = Taking::begin(what);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let (held, names) = disk.folder(&folder).ok()?;
            for entry in names {
                let name = entry.name.to_str()?;
                let stat = held.stat(name).ok()??;
                taking.entry(name, &stat);
                match stat.kind {
                    Kind::Dir => folders.push(join(&folder, name)),
                    Kind::File => {}
                    // It is no run; the reason is told by who reads it.
                    Kind::Link | Kind::Other(_) => return None,
                }
            }
            taking.end_of_folder();
        }
        Some(taking.done())
    }

    /// Takes it of a file.
    pub fn of_file(stat: &Stat) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 file v1");
        take_in(&mut hasher, stat);
        Self { mark: mark(&hasher), newest_ns: stat.mtime_ns.max(stat.ctime_ns) }
    }

    /// Whether whatever changes after the reading began will show: git's rule.
    pub fn is_settled(&self, began_ns: i128) -> bool {
        self.newest_ns + COARSE_NS < began_ns
    }
}

/// A fingerprint of a folder while it is being taken: of each folder all entries in the order of their names,
/// then its end; the folders in it follow, the last one first.
pub(super) struct Taking {
    hasher: blake3::Hasher,
    newest_ns: i128,
}

impl Taking {
    /// Begins with what else decides how the folder is taken.
    pub fn begin(what: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 adopted folder v1");
        for part in what {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        Self { hasher, newest_ns: i128::MIN }
    }

    /// Takes in a file or a folder.
    pub fn entry(&mut self, name: &str, stat: &Stat) {
        self.hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        take_in(&mut self.hasher, stat);
        self.newest_ns = self.newest_ns.max(stat.mtime_ns).max(stat.ctime_ns);
    }

    /// Takes in the end of a folder, which no name can look like.
    pub fn end_of_folder(&mut self) {
        self.hasher.update(&u64::MAX.to_le_bytes());
    }

    /// The fingerprint.
    pub fn done(self) -> Fingerprint {
        Fingerprint { mark: mark(&self.hasher), newest_ns: self.newest_ns }
    }
}

/// When a reading began, in the kernel's unit.
pub(super) fn began_ns(now: Moment) -> i128 {
    i128::from(now.millis()) * 1_000_000
}

fn take_in(hasher: &mut blake3::Hasher, stat: &Stat) {
    let kind = u8::from(stat.kind == Kind::Dir);
    for number in [stat.dev, stat.ino, stat.len, u64::from(stat.mode) << 8 | u64::from(kind)] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&stat.mtime_ns.to_le_bytes()).update(&stat.ctime_ns.to_le_bytes());
}

/// The mark of what was taken in.
pub(super) fn mark(hasher: &blake3::Hasher) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    mark
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;

    #[test]
    fn fingerprint_changes_with_anything_in_the_folder_and_with_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        let path = |name: &str| root.path().join("run").join(name);
        fs::create_dir_all(path("outputs/deep")).unwrap();
        for name in ["manifest.json", "outputs/a", "outputs/deep/b"] {
            fs::write(path(name), name).unwrap();
        }
        let take = |what: &[&str]| Fingerprint::of_folder(&disk, "run", what).map(|print| print.mark);
        let mut seen = HashSet::new();
        let mut new = |what: &[&str]| {
            let print = take(what).unwrap();
            assert_eq!(take(what), Some(print));
            seen.insert(print)
        };
        assert!(new(&["run", "job"]));
        assert!(new(&["runj", "ob"]));
        let changes: [(&str, &dyn Fn()); 6] = [
            ("bytes", &|| fs::write(path("outputs/a"), "OUTPUTS/A").unwrap()),
            ("length", &|| fs::write(path("outputs/deep/b"), "").unwrap()),
            ("name", &|| fs::rename(path("outputs/a"), path("outputs/c")).unwrap()),
            ("place", &|| fs::rename(path("outputs/c"), path("outputs/deep/c")).unwrap()),
            ("more", &|| fs::create_dir(path("outputs/empty")).unwrap()),
            ("less", &|| fs::remove_file(path("outputs/deep/b")).unwrap()),
        ];
        for (what, change) in changes {
            // Longer than the kernel's clock for files takes from one tick to the next.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            assert!(new(&["run", "job"]), "{what}");
        }
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        assert_eq!(take(&["run", "job"]), None);
        assert!(Fingerprint::of_folder(&disk, "gone", &[]).is_none());
    }

    #[test]
    fn file_is_settled_only_when_it_changed_well_before_the_reading_began() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "a").unwrap();
        let stat = Disk::open(root.path()).unwrap().stat("a").unwrap().unwrap();
        let print = Fingerprint::of_file(&stat);
        assert!(!print.is_settled(stat.ctime_ns));
        assert!(!print.is_settled(stat.ctime_ns + COARSE_NS));
        assert!(print.is_settled(stat.ctime_ns + COARSE_NS + 1));
        // The newer of the two times counts.
        let touched = Stat { mtime_ns: 0, ..stat };
        assert!(!Fingerprint::of_file(&touched).is_settled(stat.ctime_ns + COARSE_NS));
        for other in [
            Stat { dev: stat.dev + 1, ..stat },
            Stat { ino: stat.ino + 1, ..stat },
            Stat { len: stat.len + 1, ..stat },
            Stat { mtime_ns: stat.mtime_ns + 1, ..stat },
            Stat { ctime_ns: stat.ctime_ns + 1, ..stat },
        ] {
            assert_ne!(Fingerprint::of_file(&other).mark, print.mark);
        }
    }
}
