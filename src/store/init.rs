//! Making a new, empty store.

use std::path::Path;

use super::{Context, ManifestPack, Store, StoreError};
use crate::backend::{Disk, Filesystem};
use crate::format::config::{DEFAULT_PACK, StoreConfig};
use crate::format::head::Head;
use crate::format::paths;

impl Store {
    /// Makes a store in a folder that is missing or empty. The configuration is written last, so
    /// that a folder is a store exactly when all of it is there; what an interrupted `init` left is
    /// taken up by the next.
    pub fn init(dir: &Path, origin: Option<String>, context: Context) -> Result<Self, StoreError> {
        Self::init_with(dir, origin, &ManifestPack::BuiltIn(DEFAULT_PACK.to_owned()), context)
    }

    /// As [`Store::init`], with the pack that is to govern the manifests. One that is given as files
    /// is installed when the store is there; where that is interrupted, the settings name a pack that
    /// the store does not have, and installing it by hand finishes what was begun.
    pub fn init_with(
        dir: &Path,
        origin: Option<String>,
        pack: &ManifestPack,
        context: Context,
    ) -> Result<Self, StoreError> {
        let pack_name = pack.name()?;
        let parents = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Disk::make_root(&parents)?;
        let disk = Disk::open(dir)?;
        if disk.stat(paths::CONFIG)?.is_some() {
            return Err(StoreError::AlreadyAStore { dir: dir.to_owned() });
        }
        let ours = [paths::ARTIFACTS, paths::OBJECTS, paths::AUDIT, paths::TMP, paths::PACKS, paths::LOCK];
        for entry in disk.list("")? {
            let leftover = crate::backend::is_temp_name(&entry.name);
            if !leftover && !ours.iter().any(|name| entry.name == *name) {
                return Err(StoreError::NotEmpty { dir: dir.to_owned() });
            }
        }
        if let Filesystem::Refused(name) = disk.filesystem()? {
            let why = format!("it lies on {name}, whose renames and flushes are not those of a local disk");
            return Err(StoreError::Filesystem { dir: dir.to_owned(), why });
        }
        let disk = context.watched(disk);
        let folders =
            [paths::ARTIFACTS, paths::SEGMENTS, paths::ENTRIES, paths::WAL, paths::PACKS, paths::TMP];
        for folder in folders {
            disk.mkdir_all(folder)?;
        }
        for folder in [paths::OBJECTS, paths::AUDIT, "audit/tile", ""] {
            disk.sync_dir(folder)?;
        }
        disk.replace_durably(paths::HEAD, &Head::empty().to_bytes(), 0o644)?;
        let mut config = StoreConfig::new(context.clock.random(), origin);
        config.pack = pack_name;
        disk.replace_durably(paths::CONFIG, config.print().as_bytes(), 0o644)?;
        let store = Self::open(dir, context)?;
        if let ManifestPack::Files(files) = pack {
            store.install_pack(files)?;
        }
        Ok(store)
    }
}
