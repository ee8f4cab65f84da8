//! Gathering the facts that the rules of verification look at: what lies in a run's folder.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;

use super::fingerprint::{Fingerprint, Taking};
use super::{Store, StoreError};
use crate::backend::durable::{DiskError, Folder};
use crate::backend::{Disk, Kind, LocalBlobs, Stat};
use crate::base::digest::{BlobId, Hasher, Sha256};
use crate::base::escape;
use crate::base::id::RunKey;
use crate::base::json::{self, Doc};
use crate::base::limits;
use crate::format::file_list::FileEntry;
use crate::format::finding::Finding;
use crate::format::manifest::{Manifest, ManifestError};
use crate::format::paths;
use crate::plan::verify::{self, Found, ManifestFact, ReadManifest, RunFacts};

/// Digests of an earlier run's files by path; `None` for a run that is not there.
pub(super) type PriorFiles = Option<HashMap<String, Sha256>>;

/// A run's folder as found: everything in it hashed but the manifest, whose bytes are kept.
pub(super) struct FolderFacts {
    /// The manifest.
    pub manifest: ManifestBytes,
    /// Everything else, by path.
    pub found: BTreeMap<String, Found>,
    /// How many large files were hashed with BLAKE3 alone.
    pub trusted: u64,
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
    /// Looks into it, once for all who want to.
    pub fn look(&self) -> Look<'_> {
        let Self::Bytes(bytes) = self else { return Look { found: self, doc: None, read: None } };
        let (doc, manifest) = match json::scan(bytes) {
            Ok(doc) => {
                let manifest = Manifest::of(&doc);
                (Some(doc), manifest)
            }
            Err(error) => (None, Err(ManifestError::Json(error))),
        };
        Look { found: self, doc, read: Some(ReadManifest { sha256: Sha256::of(bytes), manifest }) }
    }
}

/// What lies where the manifest belongs, looked into.
pub(super) struct Look<'b> {
    found: &'b ManifestBytes,
    /// Its document, if it is one.
    pub doc: Option<Doc<'b>>,
    read: Option<ReadManifest>,
}

impl Look<'_> {
    /// The digest of its bytes.
    pub fn sha256(&self) -> Option<Sha256> {
        self.read.as_ref().map(|read| read.sha256)
    }

    fn fact(&self) -> ManifestFact<'_> {
        match (self.found, &self.read) {
            (_, Some(read)) => ManifestFact::Read(read),
            (ManifestBytes::Unusable(why), None) => ManifestFact::Unusable(why),
            _ => ManifestFact::Missing,
        }
    }
}

/// What is known of a run's files before they are read: spares hashing large ones with SHA-256 where
/// their BLAKE3 is the listed one, and at all where their bytes were hashed under another name.
pub(super) struct Known<'a> {
    /// The run's file list, sorted.
    pub files: &'a [FileEntry],
    /// Where the same bytes may lie under another name.
    pub blobs: &'a LocalBlobs,
    /// Files above this size are large.
    pub small_limit: u64,
}

impl Known<'_> {
    /// What a large file is to hold.
    fn large(&self, path: &str, stat: &Stat) -> Option<BlobId> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files[at].blob().filter(|blob| blob.bytes == stat.len && stat.len > self.small_limit)
    }
}

/// Reads a run's folder on any disk: in the store, or a tree about to be adopted.
///
/// # Errors
/// Of the disk, where nothing lies there or no folder does.
pub(super) fn folder(disk: &Disk, dir: &str, known: Option<&Known<'_>>) -> Result<FolderFacts, DiskError> {
    let mut reader = Reader::new(disk, dir, known);
    reader.walk()?;
    let Reader { manifest, found, trusted, .. } = reader;
    Ok(FolderFacts { manifest, found, trusted })
}

/// Reads all of a run's folder but the manifest, which was read already, and ends the folder's fingerprint
/// with it. `manifest` is what the kernel told of it before it was read.
pub(super) fn beside_manifest(
    disk: &Disk,
    dir: &str,
    manifest: Stat,
    print: Taking,
) -> Result<(BTreeMap<String, Found>, Fingerprint), DiskError> {
    let mut print = Print { taking: print, manifest };
    let mut reader = Reader { print: Some(&mut print), ..Reader::new(disk, dir, None) };
    reader.walk()?;
    Ok((reader.found, print.taking.done()))
}

/// A path below a folder, which may be the root.
pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// Files are read in pieces of at most this size.
const LARGEST_BUFFER: usize = 256 << 10;

/// Goes through a folder and hashes what lies in it.
struct Reader<'a> {
    disk: &'a Disk,
    dir: &'a str,
    known: Option<&'a Known<'a>>,
    buffer: Vec<u8>,
    manifest: ManifestBytes,
    found: BTreeMap<String, Found>,
    trusted: u64,
    print: Option<&'a mut Print>,
}

/// A fingerprint that is being taken of a folder while it is read.
struct Print {
    taking: Taking,
    manifest: Stat,
}

impl<'a> Reader<'a> {
    fn new(disk: &'a Disk, dir: &'a str, known: Option<&'a Known<'a>>) -> Self {
        let (buffer, found, manifest) = (Vec::new(), BTreeMap::new(), ManifestBytes::Missing);
        Self { disk, dir, known, buffer, manifest, found, trusted: 0, print: None }
    }

    /// Goes through everything, in the order of a fingerprint.
    fn walk(&mut self) -> Result<(), DiskError> {
        let mut folders = vec![String::new()];
        while let Some(below) = folders.pop() {
            let (folder, names) = match self.disk.folder(join(self.dir, &below).trim_end_matches('/')) {
                Ok(found) => found,
                // It went meanwhile.
                Err(error) if error.is_not_found() && !below.is_empty() => continue,
                Err(error) => return Err(error),
            };
            if below.is_empty() && self.print.is_none() {
                self.manifest = manifest(&folder);
            }
            for entry in names {
                let Some(name) = entry.name.to_str() else {
                    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(entry.name.as_os_str());
                    let what = Found::Special("name that is not UTF-8");
                    self.found.insert(join(&below, &escape::bytes(bytes)), what);
                    continue;
                };
                if below.is_empty() && name == paths::MANIFEST {
                    if let Some(Print { taking, manifest }) = &mut self.print {
                        taking.entry(name, manifest);
                    }
                    continue;
                }
                let path = join(&below, name);
                let what = match entry.kind {
                    // No recorded file lies there, and there may be no end of folders in folders.
                    _ if path.len() > limits::PATH_BYTES => {
                        Found::Special("path over the limit of 4096 bytes")
                    }
                    Kind::Dir => {
                        if let Some(print) = &mut self.print {
                            // One that went meanwhile is not there.
                            let Some(stat) = folder.stat(name)? else { continue };
                            print.taking.entry(name, &stat);
                        }
                        folders.push(path.clone());
                        Found::Dir
                    }
                    Kind::File => self.file(&folder, name, &path).unwrap_or_else(Found::Unreadable),
                    other => Found::Special(other.word()),
                };
                self.found.insert(path, what);
            }
            if let Some(print) = &mut self.print {
                print.taking.end_of_folder();
            }
        }
        Ok(())
    }

    /// Reads the file of a name in a folder; `path` is the run's for it.
    fn file(&mut self, folder: &Folder<'_>, name: &str, path: &str) -> Result<Found, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", join(self.dir, path));
        let (mut file, stat) = folder.open_file(name).map_err(|error| error.to_string())?;
        if let Some(print) = &mut self.print {
            print.taking.entry(name, &stat);
        }
        let exec = stat.mode & 0o100 != 0;
        if let Some(known) = self.known
            && let Some(blob) = known.large(path, &stat)
        {
            let mut by_blake3 = || -> Result<bool, String> {
                let mut hasher = blake3::Hasher::new();
                read_all(&mut file, &mut self.buffer, &mut |bytes| {
                    hasher.update(bytes);
                })
                .map_err(failed)?;
                Ok(hasher.finalize().as_bytes() == blob.blake3.as_bytes() && hasher.count() == blob.bytes)
            };
            if known.blobs.is_verified(&blob, &stat) || by_blake3()? {
                self.trusted += 1;
                return Ok(Found::File { blob, exec });
            }
            (file, _) = folder.open_file(name).map_err(|error| error.to_string())?;
        }
        let len = usize::try_from(stat.len).unwrap_or(usize::MAX).saturating_add(1).min(LARGEST_BUFFER);
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        // One that the buffer holds takes one read: it comes back short at the file's end.
        let first = file.read(&mut self.buffer).map_err(failed)?;
        if first < self.buffer.len() && first as u64 == stat.len {
            return Ok(Found::File { blob: BlobId::of(&self.buffer[..first]), exec });
        }
        let mut hasher = Hasher::new();
        hasher.update(&self.buffer[..first]);
        read_all(&mut file, &mut self.buffer, &mut |bytes| hasher.update(bytes)).map_err(failed)?;
        Ok(Found::File { blob: hasher.finish(), exec })
    }
}

fn manifest(folder: &Folder<'_>) -> ManifestBytes {
    match folder.read(paths::MANIFEST, limits::JSON_BYTES as u64) {
        Ok((bytes, _)) => ManifestBytes::Bytes(bytes),
        Err(error) if error.is_not_found() => ManifestBytes::Missing,
        Err(error) => ManifestBytes::Unusable(error.to_string()),
    }
}

fn read_all(file: &mut File, buffer: &mut Vec<u8>, take: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    buffer.resize(LARGEST_BUFFER, 0);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the log says of a run that is being checked.
pub(super) struct Logged<'a> {
    /// The digests that its manifest may have.
    pub manifests: &'a [Sha256],
    /// Its file list.
    pub files: &'a [FileEntry],
}

#[allow(clippy::too_many_arguments)] // Each is a fact of its own, and two callers give them all.
/// Checks a folder by the rules of verification. `prior` finds the files of an earlier run.
pub(super) fn check(
    disk: &Disk,
    dir: &str,
    key: &RunKey,
    facts: &FolderFacts,
    look: &Look<'_>,
    logged: Option<&Logged<'_>>,
    prior: &dyn Fn(&str, &str) -> PriorFiles,
) -> Vec<Finding> {
    let manifest = look.read.as_ref().and_then(|read| read.manifest.as_ref().ok());
    let needs = manifest.map(verify::needs).unwrap_or_default();
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
        manifest: look.fact(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BlobOptions;

    #[test]
    fn fingerprint_taken_while_a_folder_is_read_is_the_one_taken_of_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        for name in ["run/manifest.json", "run/inputs/a", "run/outputs/deep/b", "run/outputs/deep/c", "run/x"]
        {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let manifest = disk.stat("run/manifest.json").unwrap().unwrap();
        let (found, print) = beside_manifest(&disk, "run", manifest, Taking::begin(&["run", "job"])).unwrap();
        let alone = Fingerprint::of_folder(&disk, "run", &["run", "job"]).unwrap();
        assert_eq!(print.mark, alone.mark);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let all = ["inputs", "inputs/a", "outputs", "outputs/deep", "outputs/deep/b", "outputs/deep/c", "x"];
        assert_eq!(names, all);
    }

    /// Only a list that was made so can say a wrong SHA-256 beside a right BLAKE3.
    #[test]
    fn large_file_counts_as_listed_by_its_blake3_alone_unless_both_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let bytes = vec![7; 3000];
        for name in ["outputs/large", "outputs/small", "outputs/edited"] {
            std::fs::create_dir_all(folder.path().join("run/outputs")).unwrap();
            std::fs::write(folder.path().join("run").join(name), &bytes).unwrap();
        }
        let right = BlobId::of(&bytes);
        let forged = BlobId { sha256: Sha256::of(b"x"), ..right };
        let other = BlobId { blake3: BlobId::of(b"y").blake3, ..right };
        let file = |path: &str, blob| FileEntry::file(path.parse().unwrap(), blob, false);
        let files = [file("outputs/edited", other), file("outputs/large", forged)];
        let blobs = LocalBlobs::open(disk.clone(), BlobOptions::new([1; 16]));
        let of = |known: Option<&Known<'_>>| {
            let facts = super::folder(&disk, "run", known).unwrap();
            let blob = |path: &str| match &facts.found[path] {
                Found::File { blob, .. } => *blob,
                other => panic!("{other:?}"),
            };
            let blobs = [blob("outputs/edited"), blob("outputs/large"), blob("outputs/small")];
            (blobs, facts.trusted)
        };
        let known = Known { files: &files, blobs: &blobs, small_limit: 1000 };
        assert_eq!(of(Some(&known)), ([right, forged, right], 1));
        assert_eq!(of(Some(&Known { small_limit: 3000, ..known })), ([right; 3], 0));
        assert_eq!(of(None), ([right; 3], 0));
    }
}
