//! Gathering the facts that the rules of verification look at: what lies in a run's folder.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use super::{Store, StoreError};
use crate::backend::{Disk, Kind};
use crate::base::digest::{BlobId, Hasher, Sha256};
use crate::base::escape;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::file_list::FileEntry;
use crate::format::finding::Finding;
use crate::format::manifest::Manifest;
use crate::format::paths;
use crate::plan::verify::{self, Found, ManifestFact, RunFacts};

/// Digests of an earlier run's files by path; `None` for a run that is not there.
pub(super) type PriorFiles = Option<HashMap<String, Sha256>>;

/// A run's folder as found: everything in it hashed but the manifest, whose bytes are kept.
pub(super) struct FolderFacts {
    /// The manifest.
    pub manifest: ManifestBytes,
    /// Everything else, by path.
    pub found: BTreeMap<String, Found>,
}

/// What lies where the manifest belongs.
pub(super) enum ManifestBytes {
    /// Nothing.
    Missing,
    /// Something unusable.
    Unusable(String),
    /// A file.
    Bytes(Vec<u8>),
}

impl ManifestBytes {
    /// As the rules take it.
    pub fn fact(&self) -> ManifestFact<'_> {
        match self {
            Self::Missing => ManifestFact::Missing,
            Self::Unusable(why) => ManifestFact::Unusable(why),
            Self::Bytes(bytes) => ManifestFact::Bytes(bytes),
        }
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Option<Sha256> {
        match self {
            Self::Bytes(bytes) => Some(Sha256::of(bytes)),
            Self::Missing | Self::Unusable(_) => None,
        }
    }
}

/// Reads a run's folder on any disk: in the store, or a tree about to be adopted.
pub(super) fn folder(disk: &Disk, dir: &str) -> Result<FolderFacts, StoreError> {
    let manifest_path = join(dir, paths::MANIFEST);
    let manifest = match disk.read_opt(&manifest_path, limits::JSON_BYTES as u64) {
        Ok(Some(bytes)) => ManifestBytes::Bytes(bytes),
        Ok(None) => ManifestBytes::Missing,
        Err(error) => ManifestBytes::Unusable(error.to_string()),
    };
    let mut found = BTreeMap::new();
    let mut buffer = Vec::new();
    walk(disk, dir, "", &mut buffer, &mut found)?;
    Ok(FolderFacts { manifest, found })
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Files are read in pieces of at most this size.
const LARGEST_BUFFER: usize = 256 << 10;

fn walk(
    disk: &Disk,
    dir: &str,
    below: &str,
    buffer: &mut Vec<u8>,
    found: &mut BTreeMap<String, Found>,
) -> Result<(), StoreError> {
    let entries = match disk.list(join(dir, below).trim_end_matches('/')) {
        Ok(entries) => entries,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let Some(name) = entry.name.to_str() else {
            let bytes = std::os::unix::ffi::OsStrExt::as_bytes(entry.name.as_os_str());
            found.insert(join(below, &escape::bytes(bytes)), Found::Special("name that is not UTF-8"));
            continue;
        };
        let path = join(below, name);
        if below.is_empty() && name == paths::MANIFEST {
            continue;
        }
        let what = match entry.kind {
            Kind::Dir => {
                walk(disk, dir, &path, buffer, found)?;
                Found::Dir
            }
            Kind::File => hash(disk, &join(dir, &path), buffer),
            other => Found::Special(other.word()),
        };
        found.insert(path, what);
    }
    Ok(())
}

/// Hashes a file. One that the buffer holds takes one read: it comes back short at the file's end.
fn hash(disk: &Disk, path: &str, buffer: &mut Vec<u8>) -> Found {
    let mut read = || -> Result<Found, String> {
        let (mut file, stat) = disk.open_with_stat(path).map_err(|error| error.to_string())?;
        let len = usize::try_from(stat.len).unwrap_or(usize::MAX).saturating_add(1);
        if buffer.len() < len.min(LARGEST_BUFFER) {
            buffer.resize(len.min(LARGEST_BUFFER), 0);
        }
        let exec = stat.mode & 0o100 != 0;
        let mut hasher = Hasher::new();
        loop {
            match file.read(buffer) {
                Ok(n) if n < buffer.len() && n as u64 == stat.len && hasher.is_empty() => {
                    return Ok(Found::File { blob: BlobId::of(&buffer[..n]), exec });
                }
                Ok(0) => return Ok(Found::File { blob: hasher.finish(), exec }),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("{path}: {error}")),
            }
        }
    };
    read().unwrap_or_else(Found::Unreadable)
}

/// What the log says of a run that is being checked.
pub(super) struct Logged<'a> {
    /// The digests that its manifest may have.
    pub manifests: &'a [Sha256],
    /// Its file list.
    pub files: &'a [FileEntry],
}

/// Checks a folder by the rules of verification. `prior` finds the files of an earlier run.
pub(super) fn check(
    disk: &Disk,
    dir: &str,
    key: &RunKey,
    facts: &FolderFacts,
    logged: Option<&Logged<'_>>,
    prior: &dyn Fn(&str, &str) -> PriorFiles,
) -> Vec<Finding> {
    let manifest = match &facts.manifest {
        ManifestBytes::Bytes(bytes) => Manifest::parse(bytes).ok(),
        _ => None,
    };
    let needs = manifest.as_ref().map(verify::needs).unwrap_or_default();
    let contents = needs
        .contents
        .into_iter()
        .filter_map(|path| {
            let path: crate::base::name::LogicalPath = path.parse().ok()?;
            let bytes = disk.read_opt(&join(dir, path.as_str()), limits::JSON_BYTES as u64).ok()??;
            Some((path.to_string(), bytes))
        })
        .collect();
    let priors = needs
        .priors
        .into_iter()
        .map(|(job, run)| {
            let files = prior(&job, &run);
            ((job, run), files)
        })
        .collect();
    verify::run(&RunFacts {
        key,
        manifest: facts.manifest.fact(),
        logged: logged.map_or(&[], |logged| logged.manifests),
        files: logged.map(|logged| logged.files),
        found: &facts.found,
        contents: &contents,
        priors: &priors,
    })
}

impl Store {
    /// Digests of a run's files by path, from its logged file list.
    pub(super) fn digests_of(&self, files: &Sha256) -> Result<HashMap<String, Sha256>, StoreError> {
        let list = self.file_list(files)?;
        Ok(list.iter().filter_map(|f| Some((f.path.to_string(), f.blob()?.sha256))).collect())
    }
}
