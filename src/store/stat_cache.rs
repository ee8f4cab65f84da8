//! What `adopt` remembers of folders that it looked into: a cache, outside the index, that only `adopt`
//! asks and that can be deleted at any time.
//!
//! A folder's fingerprint is over what the kernel tells of everything in it (device, inode, size, times,
//! mode) and over what else decides which run it is. A folder with a known fingerprint need not be read
//! again: the line says which run it was, and what its manifest and file list must be.
//!
//! The rule for folders that are racily clean is git's: what changed so shortly before it was read that a
//! later change need not show in its times is not remembered.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::facts::join;
use super::{Store, StoreError};
use crate::backend::{Disk, Kind, Stat};
use crate::base::digest::{Sha256, hex, parse_hex};
use crate::base::id::RunKey;
use crate::format::paths;

/// Where it is written.
const ASIDE: &str = "tmp/index.adopted";
/// Its first line, before the store's id.
const HEAD: &str = "strongroom adopted 1";
/// Above this size it is begun anew.
const MOST_BYTES: u64 = 1 << 30;
/// Times of files are as coarse as this on some filesystems.
const COARSE_NS: i128 = 2_000_000_000;

type Half = [u8; 16];

/// What the kernel tells of a folder, and when anything in it last changed.
#[derive(Clone, Copy)]
pub(super) struct Fingerprint {
    of: Half,
    newest_ns: i128,
}

impl Fingerprint {
    /// Takes it of a folder. `what` is what else decides how the folder is taken; a folder that cannot be
    /// looked through has none.
    pub fn take(disk: &Disk, folder: &str, what: &[&str]) -> Option<Self> {
        let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 adopted folder v1");
        for part in what {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let mut newest_ns = i128::MIN;
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for (entry, stat) in disk.list_with_stats(&folder).ok()? {
                let name = entry.name.to_str()?;
                hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
                take_in(&mut hasher, &stat);
                newest_ns = newest_ns.max(stat.mtime_ns).max(stat.ctime_ns);
                match stat.kind {
                    Kind::Dir => folders.push(join(&folder, name)),
                    Kind::File => {}
                    // It is no run; the reason is told by who reads it.
                    Kind::Link | Kind::Other(_) => return None,
                }
            }
            // The end of a folder, which no name can look like.
            hasher.update(&u64::MAX.to_le_bytes());
        }
        Some(Self { of: half(&hasher), newest_ns })
    }

    /// What ties the fingerprint to a manifest and a file list.
    fn tie(&self, manifest: &Sha256, files: &Sha256) -> Half {
        let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 adopted run v1");
        hasher.update(&self.of).update(manifest.as_bytes()).update(files.as_bytes());
        half(&hasher)
    }
}

fn take_in(hasher: &mut blake3::Hasher, stat: &Stat) {
    let kind = u8::from(stat.kind == Kind::Dir);
    for number in [stat.dev, stat.ino, stat.len, u64::from(stat.mode) << 8 | u64::from(kind)] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&stat.mtime_ns.to_le_bytes()).update(&stat.ctime_ns.to_le_bytes());
}

fn half(hasher: &blake3::Hasher) -> Half {
    let mut half = Half::default();
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    half
}

/// A folder known.
struct Known {
    tie: Half,
    key: RunKey,
    /// Whether this command met it.
    met: bool,
}

/// The folders known.
pub(super) struct StatCache {
    known: HashMap<Half, Known>,
    /// When this command began to read.
    began_ns: i128,
    changed: bool,
}

impl StatCache {
    /// Reads the cache; without one that can be read nothing is known. `forget` begins anew.
    pub fn open(store: &Store, forget: bool) -> Self {
        let began_ns = i128::from(store.context.clock.now().millis()) * 1_000_000;
        let known = match store.disk.read(paths::ADOPTED, MOST_BYTES) {
            Ok(bytes) if !forget => std::str::from_utf8(&bytes).ok().and_then(|text| parse(store, text)),
            _ => None,
        };
        Self { known: known.unwrap_or_default(), began_ns, changed: forget }
    }

    /// The run that a folder was, if it is known.
    pub fn get(&mut self, print: &Fingerprint) -> Option<RunKey> {
        let known = self.known.get_mut(&print.of)?;
        known.met = true;
        Some(known.key.clone())
    }

    /// Whether a manifest and a file list are those that a known folder had.
    pub fn holds(&self, print: &Fingerprint, manifest: &Sha256, files: &Sha256) -> bool {
        self.known.get(&print.of).is_some_and(|known| known.tie == print.tie(manifest, files))
    }

    /// Remembers which run a folder is.
    pub fn put(&mut self, print: &Fingerprint, key: &RunKey, manifest: &Sha256, files: &Sha256) {
        if print.newest_ns + COARSE_NS < self.began_ns {
            let tie = print.tie(manifest, files);
            self.known.insert(print.of, Known { tie, key: key.clone(), met: true });
            self.changed = true;
        }
    }

    /// Writes it. Nothing depends on it, so nothing is made durable and a failure is none.
    pub fn close(self, store: &Store) {
        if self.changed {
            let _ = self.write(store);
        }
    }

    fn write(&self, store: &Store) -> Result<(), StoreError> {
        let mut text = format!("{HEAD} {}\n", hex(&store.config.store_id));
        // Of a run whose folder was met only that folder: the others are copies that are gone, as likely
        // as not.
        let met: HashSet<&RunKey> = self.known.values().filter(|one| one.met).map(|one| &one.key).collect();
        let mut lines: Vec<(&RunKey, &Half, &Half)> = self
            .known
            .iter()
            .filter(|(_, one)| one.met || !met.contains(&one.key))
            .map(|(print, one)| (&one.key, print, &one.tie))
            .collect();
        lines.sort();
        for (key, print, tie) in lines {
            let _ = writeln!(text, "{} {} {key}", hex(print), hex(tie));
        }
        store.disk.discard(ASIDE)?;
        store.disk.write_new(ASIDE, text.as_bytes(), 0o644)?;
        Ok(store.disk.replace(ASIDE, paths::ADOPTED)?)
    }
}

fn parse(store: &Store, text: &str) -> Option<HashMap<Half, Known>> {
    let mut lines = text.lines();
    if lines.next()? != format!("{HEAD} {}", hex(&store.config.store_id)) {
        return None;
    }
    let line = |line: &str| -> Option<(Half, Known)> {
        let mut parts = line.split(' ');
        let (print, tie) = (parse_hex(parts.next()?)?, parse_hex(parts.next()?)?);
        let (job, run) = parts.next()?.split_once('/')?;
        let key = RunKey { job: job.parse().ok()?, run: run.parse().ok()? };
        Some((print, Known { tie, key, met: false }))
    };
    // A line that says nothing is left out, like one that was never written.
    Some(lines.filter_map(line).collect())
}

#[cfg(test)]
mod tests {
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
        let take = |what: &[&str]| Fingerprint::take(&disk, "run", what).map(|print| print.of);
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
        assert!(Fingerprint::take(&disk, "gone", &[]).is_none());
    }
}
