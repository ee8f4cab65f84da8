//! The folder in which a bundle is made, and how it takes its place.

use std::io::{self, Write};
use std::path::Path;

use super::EvidenceOptions;
use crate::backend::{Disk, DiskError, LocalBlobs};
use crate::base::digest::{BlobId, Hasher, hex};
use crate::format::bundle::bag::Manifest;
use crate::store::{Store, StoreError};

/// Where something is to be made: its folder and its name there.
struct Place {
    disk: Disk,
    name: String,
}

/// A bundle's folder in the making.
pub(super) struct Target {
    work: Place,
    folder: Option<Place>,
    zip: Option<Place>,
    digests: Manifest,
    sizes: Vec<(String, u64, String)>,
    bytes: u64,
    dirs: std::collections::BTreeSet<String>,
}

/// Hashes what passes.
struct Hashing<'w> {
    to: &'w mut dyn Write,
    hasher: Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn refused(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Input { path: path.display().to_string(), why: why.into() }
}

/// Finds the place of a new file or folder, which must be free and outside the store.
fn place(store: &Store, path: &Path) -> Result<Place, StoreError> {
    let whole = std::path::absolute(path).map_err(|error| refused(path, error.to_string()))?;
    let name = whole.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| refused(path, "it is not a name for a new file or folder"))?.to_owned();
    let parent = whole.parent().unwrap_or(&whole);
    let root = std::fs::canonicalize(store.root()).unwrap_or_else(|_| store.root().to_owned());
    if std::fs::canonicalize(parent).is_ok_and(|parent| parent.starts_with(&root)) {
        return Err(refused(path, "it would lie inside the store"));
    }
    let disk = match Disk::open(parent) {
        Err(error) if error.is_not_found() => {
            return Err(refused(path, "the folder that it would lie in is not there"));
        }
        disk => disk?,
    };
    let disk = match &store.context.hook {
        Some(hook) => disk.with_hook(hook.clone()),
        None => disk,
    };
    match disk.stat(&name)? {
        Some(_) => Err(refused(path, "it is there already; nothing was overwritten")),
        None => Ok(Place { disk, name }),
    }
}

impl Target {
    /// Begins an empty bundle under a temporary name beside its target.
    pub fn begin(store: &Store, options: &EvidenceOptions) -> Result<Self, StoreError> {
        let folder = options.dir.as_deref().map(|path| place(store, path)).transpose()?;
        let zip = options.zip.as_deref().map(|path| place(store, path)).transpose()?;
        let Some(beside) = folder.as_ref().or(zip.as_ref()) else {
            return Err(refused(Path::new("evidence"), "neither a folder nor a zip file was named"));
        };
        let name = format!(".strongroom-evidence-{}", hex(&store.context.clock.random()));
        let work = Place { disk: beside.disk.clone(), name };
        work.disk.mkdir(&work.name)?;
        let (digests, sizes, dirs) = (Manifest::new(), Vec::new(), std::collections::BTreeSet::new());
        Ok(Self { work, folder, zip, digests, sizes, bytes: 0, dirs })
    }

    /// Whether a file is in the bundle already.
    pub fn has(&self, path: &str) -> bool {
        self.digests.contains_key(path)
    }

    /// The digests of all files.
    pub fn digests(&self) -> &Manifest {
        &self.digests
    }

    /// All files, sorted: path, bytes, hex digits of the digest.
    pub fn listed(&self) -> impl Iterator<Item = (String, u64, String)> + use<> {
        let mut sizes = self.sizes.clone();
        sizes.sort();
        sizes.into_iter()
    }

    /// How many files there are.
    pub fn count(&self) -> u64 {
        self.digests.len() as u64
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a file of these bytes.
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.stream(path, |to| {
            to.write_all(bytes).map_err(|error| refused(Path::new(path), error.to_string()))
        })
        .map(|_| ())
    }

    /// Adds a file of a blob, whose digests are both computed anew.
    pub fn put_blob(&mut self, path: &str, id: &BlobId, blobs: &LocalBlobs) -> Result<(), StoreError> {
        let missing = StoreError::BlobMissing { what: "file", digest: id.sha256 };
        let found = self.stream(path, |to| if blobs.copy_to(id, to)? { Ok(()) } else { Err(missing) })?;
        if found == *id {
            return Ok(());
        }
        let why = format!("the objects hold {} in its place", found.sha256);
        Err(StoreError::LogDamaged { place: path.to_owned(), why })
    }

    fn stream(
        &mut self,
        path: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<BlobId, StoreError> {
        let full = format!("{}/{path}", self.work.name);
        let (parent, _) = full.rsplit_once('/').expect("it lies in the bundle's folder");
        if !self.dirs.contains(parent) {
            self.work.disk.mkdir_all(parent)?;
            self.dirs.insert(parent.to_owned());
        }
        let mut file = self.work.disk.create(&full, 0o644)?;
        let mut hashing = Hashing { to: &mut file, hasher: Hasher::new() };
        write(&mut hashing)?;
        let blob = hashing.hasher.finish();
        self.digests.insert(path.to_owned(), blob.sha256);
        self.sizes.push((path.to_owned(), blob.bytes, blob.sha256.hex()));
        self.bytes += blob.bytes;
        Ok(blob)
    }

    /// Makes the bundle durable and puts it in its place.
    pub fn publish(&mut self) -> Result<(), StoreError> {
        let work = &self.work;
        if let Some(zip) = &self.zip {
            let mut file = zip.disk.create_temp("", 0o644)?;
            let temp = file.path().to_owned();
            let made = super::pack::zip(&work.disk.below(&work.name)?, self.digests.keys(), &mut file)
                .and_then(|()| Ok(file.sync()?))
                .and_then(|()| named(zip, &temp));
            if let Err(error) = made {
                // A leftover is harmless, and what matters is why it failed.
                let _ = zip.disk.unlink(&temp);
                return Err(error);
            }
        }
        match &self.folder {
            Some(folder) => {
                work.disk.sync_all()?;
                named(folder, &work.name)
            }
            None => Ok(work.disk.remove_tree(&work.name)?),
        }
    }

    /// Removes what was made.
    pub fn abandon(&mut self) {
        let _ = self.work.disk.discard(&self.work.name);
    }
}

/// Gives a finished file or folder its name, which must be free still.
fn named(place: &Place, from: &str) -> Result<(), StoreError> {
    match place.disk.rename_new(from, &place.name) {
        Err(DiskError::Exists { path, .. }) => {
            return Err(refused(&path, "it is there already; nothing was overwritten"));
        }
        renamed => renamed?,
    }
    Ok(place.disk.sync_dir("")?)
}
