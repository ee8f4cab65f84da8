//! Operations on a store: read facts, ask `plan`, carry it out. One file per operation; one write
//! path for all of them (`commit`).
//!
//! Silent: nothing here prints, and clock, randomness, actor and interruption come in with the
//! [`Context`].

mod adopt;
mod ahead;
mod anchor;
mod anchors;
mod apply;
mod bundles;
pub mod carry;
mod catch_up;
mod check_evidence;
mod command;
mod commit;
mod error;
mod evidence;
mod facts;
mod fingerprint;
mod group;
mod history;
mod init;
mod judge;
mod keyring;
mod keys;
mod list;
mod listing;
mod log;
mod migrate;
mod packs;
mod policy;
mod prove;
mod publish;
mod record;
mod restore;
mod rollback;
mod rows;
mod run_map;
mod scan;
mod session;
mod show;
mod source;
mod stage;
mod stat_cache;
mod states;
mod sweep;
mod tiles;
mod verify;
mod versions;
mod witness;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use adopt::{AdoptOptions, AdoptReport, Adopted, Hear, Seen};
pub use anchor::Interval;
pub use anchors::Anchored;
pub use check_evidence::{EvidenceCheck, check_evidence};
pub use command::{CommandLine, Streams};
pub use error::{Conflict, ErrorKind, KeyTrouble, StoreError};
pub use evidence::{EvidenceOptions, EvidenceReport};
pub use history::{HistoryRow, RunHistory};
pub use judge::Review;
pub use keyring::{KeyKind, KeyListing};
pub use keys::{Signer, key_files_beside, origin_file_name};
pub use list::IndexReport;
pub use listing::{LogFilter, LogRow, Show, Unfinished};
pub use log::LogView;
pub use migrate::{MigrateOptions, MigrateReport, Migrated, Selection, Verdict};
pub use packs::{Installation, InstalledPack, ManifestPack, PackFiles, read_pack_folder};
pub use publish::Checkpoint;
pub use record::{Given, RecordOptions, Recorded, RecordedAs};
pub use restore::{RestoreReport, Restored};
pub use rollback::{RollbackReport, RolledBack};
pub use verify::{VerifyOptions, VerifyReport};
pub use versions::{Next, VersionRow, VersionsReport};
pub use witness::Witness;

use crate::backend::{BlobOptions, Disk, Hook, LocalBlobs};
use crate::base::clock::Clock;
use crate::base::limits;
use crate::base::tag::TagKey;
use crate::format::config::{LargeBlobs, StoreConfig};
use crate::format::paths;

/// Tells how far a long operation is; does nothing by default.
pub trait Progress: Sync {
    /// `done` of `total` so far (`total` is 0 while it is not known).
    fn at(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
    /// Whether a signal asked to stop.
    fn interrupted(&self) -> bool {
        false
    }
    /// A file of this path, outside the store, has permission bits that are not kept: set-uid, set-gid, sticky.
    fn bits_dropped(&self, path: &str) {
        let _ = path;
    }
    /// A batch of a long operation was committed, and no lock is held: the time to publish what there is
    /// to sign. Does nothing by default.
    fn committed(&self, store: &Store) -> Result<(), StoreError> {
        let _ = store;
        Ok(())
    }
}

/// No progress, no interruption.
pub struct Quietly;

impl Progress for Quietly {}

/// What an operation is handed from outside.
#[derive(Clone)]
pub struct Context {
    /// Time and randomness.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Who runs the command, as declared.
    pub actor: String,
    /// Why, if said.
    pub reason: Option<String>,
    /// How the holder of a lock is named to those who wait: `pid 12 (strongroom migrate)`.
    pub holder: String,
    /// How long to wait for a lock.
    pub lock_timeout: Duration,
    /// Where to tell progress and learn of interruption.
    pub progress: Arc<dyn Progress + Send + Sync>,
    /// Sees, and may fail, every file-changing call: for tests.
    pub hook: Option<Arc<dyn Hook>>,
}

impl Context {
    /// A folder whose file-changing calls the hook sees.
    fn watched(&self, disk: Disk) -> Disk {
        match &self.hook {
            Some(hook) => disk.with_hook(Arc::clone(hook)),
            None => disk,
        }
    }
}

/// An open store.
#[derive(Clone)]
pub struct Store {
    disk: Disk,
    config: StoreConfig,
    blobs: LocalBlobs,
    context: Context,
    /// Where the threads that share this store meet to commit.
    committer: Arc<group::Committer>,
    /// The pack of the manifests, and how much of the log was looked at for it.
    governing: Arc<packs::Governing>,
}

impl Store {
    /// A fresh key for tags.
    fn tag_key(&self) -> TagKey {
        TagKey::new([self.context.clock.random(), self.context.clock.random()])
    }

    /// Opens the store in a folder. Nothing is read but its configuration.
    pub fn open(dir: &Path, context: Context) -> Result<Self, StoreError> {
        let disk = match Disk::open(dir) {
            Ok(disk) => disk,
            Err(error) if error.is_not_found() => {
                return Err(StoreError::NoStore { dir: dir.to_owned() });
            }
            Err(error) => return Err(error.into()),
        };
        let disk = context.watched(disk);
        let Some(bytes) = disk.read_opt(paths::CONFIG, limits::ENTRY_BYTES as u64)? else {
            return Err(StoreError::NoStore { dir: dir.to_owned() });
        };
        let config = StoreConfig::parse(&bytes)?;
        let options = BlobOptions {
            small_limit: config.small_limit,
            segment_bytes: limits::SEGMENT_BYTES,
            share_large: config.large == LargeBlobs::Share,
            store_id: config.store_id,
        };
        let blobs = LocalBlobs::open(disk.clone(), options);
        Ok(Self { disk, config, blobs, context, committer: Arc::default(), governing: Arc::default() })
    }

    /// The nearest folder upwards from here that is a store, as git finds its repository.
    pub fn find(from: &Path) -> Option<PathBuf> {
        from.ancestors().find(|dir| dir.join(paths::CONFIG).is_file()).map(Path::to_owned)
    }

    /// Opens the nearest store upwards from here. One that belongs to another user (or whose settings do)
    /// was not made by whoever asks, who may not know of it: it is used only by its name. Root's is anybody's.
    pub fn open_nearest(from: &Path, context: Context) -> Result<Self, StoreError> {
        let dir = Self::find(from).ok_or_else(|| StoreError::NoStore { dir: from.to_owned() })?;
        // Before anything of it is read: what a stranger wrote there is no business of whoever asks.
        let disk = Disk::open(&dir)?;
        let own = [0, rustix::process::geteuid().as_raw()];
        for path in ["", paths::CONFIG] {
            if let Some(stat) = disk.stat(path)?
                && !own.contains(&stat.uid)
            {
                return Err(StoreError::Stranger { dir, uid: stat.uid });
            }
        }
        Self::open(&dir, context)
    }

    /// The store's root folder.
    pub fn root(&self) -> &Path {
        self.disk.root()
    }

    /// The store's configuration.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }
}
