//! What `adopt` remembers of folders that it looked into: a cache, outside the index, that only `adopt`
//! asks and that can be deleted at any time.
//!
//! A folder's fingerprint is over what the kernel tells of everything in it (device, inode, size, times,
//! mode) and over what else decides which run it is. A folder with a known fingerprint need not be read
//! again: the line says which run it was, and what its manifest and file list must be.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::fingerprint::{Fingerprint, Mark, began_ns, mark};
use super::{Store, StoreError};
use crate::base::digest::{Sha256, hex, parse_hex};
use crate::base::id::RunKey;
use crate::format::paths;

/// Where it is written.
const ASIDE: &str = "tmp/index.adopted";
/// Its first line, before the store's id.
const HEAD: &str = "strongroom adopted 1";
/// Above this size it is begun anew.
const MOST_BYTES: u64 = 1 << 30;

/// What ties a fingerprint to a manifest and a file list.
fn tie(print: &Fingerprint, manifest: &Sha256, files: &Sha256) -> Mark {
    let mut hasher = blake3::Hasher::new_derive_key("strongroom 2026 adopted run v1");
    hasher.update(&print.mark).update(manifest.as_bytes()).update(files.as_bytes());
    mark(&hasher)
}

/// A folder known.
struct Known {
    tie: Mark,
    key: RunKey,
    /// Whether this command met it.
    met: bool,
}

/// The folders known.
pub(super) struct StatCache {
    known: HashMap<Mark, Known>,
    /// When this command began to read.
    began_ns: i128,
    changed: bool,
}

impl StatCache {
    /// Reads the cache; without one that can be read nothing is known. `forget` begins anew.
    pub fn open(store: &Store, forget: bool) -> Self {
        let began_ns = began_ns(store.context.clock.now());
        let known = match store.disk.read(paths::ADOPTED, MOST_BYTES) {
            Ok(bytes) if !forget => std::str::from_utf8(&bytes).ok().and_then(|text| parse(store, text)),
            _ => None,
        };
        Self { known: known.unwrap_or_default(), began_ns, changed: forget }
    }

    /// The run that a folder was, if it is known.
    pub fn get(&mut self, print: &Fingerprint) -> Option<RunKey> {
        let known = self.known.get_mut(&print.mark)?;
        known.met = true;
        Some(known.key.clone())
    }

    /// Whether a manifest and a file list are those that a known folder had.
    pub fn holds(&self, print: &Fingerprint, manifest: &Sha256, files: &Sha256) -> bool {
        self.known.get(&print.mark).is_some_and(|known| known.tie == tie(print, manifest, files))
    }

    /// Remembers which run a folder is.
    pub fn put(&mut self, print: &Fingerprint, key: &RunKey, manifest: &Sha256, files: &Sha256) {
        if print.is_settled(self.began_ns) {
            let tie = tie(print, manifest, files);
            self.known.insert(print.mark, Known { tie, key: key.clone(), met: true });
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
        let mut lines: Vec<(&RunKey, &Mark, &Mark)> = self
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

fn parse(store: &Store, text: &str) -> Option<HashMap<Mark, Known>> {
    let mut lines = text.lines();
    if lines.next()? != format!("{HEAD} {}", hex(&store.config.store_id)) {
        return None;
    }
    let line = |line: &str| -> Option<(Mark, Known)> {
        let mut parts = line.split(' ');
        let (print, tie) = (parse_hex(parts.next()?)?, parse_hex(parts.next()?)?);
        let (job, run) = parts.next()?.split_once('/')?;
        let key = RunKey { job: job.parse().ok()?, run: run.parse().ok()? };
        Some((print, Known { tie, key, met: false }))
    };
    // A line that says nothing is left out, like one that was never written.
    Some(lines.filter_map(line).collect())
}
