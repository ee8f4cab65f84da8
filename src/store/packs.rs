//! Packs in a store: installing one, finding the one that a name means, comparing the files under
//! `packs/` with the log (`store-layout.md`, "Packs").
//!
//! What is installed is what the log says, and a pack is read from the objects: the files under
//! `packs/` are the same bytes for readers and tools, and decide nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::commit::{Change, Operation};
use super::source::{self, Given, Reading};
use super::{LogView, Store, StoreError};
use crate::backend::{DiskError, Kind, is_temp_name};
use crate::base::canonical;
use crate::base::digest::{BlobId, Sha256};
use crate::base::id::JobId;
use crate::base::name::{LogicalPath, fold_key};
use crate::format::entry::{Entry, EntryKind, PackRef};
use crate::format::file_list::FileEntry;
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::index::Index;
use crate::schema::{self, PACK_FILE, Pack};

/// The files of a pack, by their paths within its folder.
pub type PackFiles = BTreeMap<String, Vec<u8>>;

/// The most that the files of one pack come to, in bytes.
const PACK_BYTES: u64 = 32 << 20;

/// A pack that was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPack {
    /// Its name, version and digest.
    pub pack: PackRef,
    /// The digest of its file list.
    pub files: Sha256,
    /// The log entry that tells of it.
    pub entry: u64,
}

impl InstalledPack {
    /// Where its files lie in the store.
    pub fn folder(&self) -> String {
        paths::pack_dir(&self.pack.name, &self.files)
    }
}

/// Which pack is to govern the manifests of a new store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestPack {
    /// A built-in one, as `NAME` or `NAME@VERSION`.
    BuiltIn(String),
    /// One that is installed at once.
    Files(PackFiles),
}

/// The pack of the manifests as it was found, and how many entries of the log were looked at for it.
#[derive(Default)]
pub(super) struct Governing(Mutex<Option<(u64, Arc<Pack>)>>);

/// Where the installed packs are looked up.
type Lookup<'l> = dyn Fn(&LogView) -> Result<Vec<InstalledPack>, StoreError> + 'l;

/// What installing a pack came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The pack as installed.
    pub installed: InstalledPack,
    /// Whether the store had it, with the very same files in place: then nothing was written.
    pub unchanged: bool,
    /// How many files it has.
    pub count: usize,
    /// Files under `packs/` that had other bytes, which were kept and replaced.
    pub replaced: Vec<String>,
}

/// Reads the files of a pack's folder; names that begin with a dot are left out.
pub fn read_pack_folder(dir: &Path) -> Result<PackFiles, StoreError> {
    let shown = dir.display().to_string();
    let Given::Folder(disk) = source::given(dir)? else {
        let why = "it is a file; a pack is a folder with a pack.toml".to_owned();
        return Err(StoreError::Input { path: shown, why });
    };
    let tree = source::tree(disk, &shown, &|name| name.starts_with('.'))?;
    let mut files = PackFiles::new();
    let mut total = 0;
    for path in &tree.files {
        let reading = Reading::open(&tree.disk, path.as_str())?;
        total += reading.len();
        if total > PACK_BYTES {
            let why = format!("its files come to more than {PACK_BYTES} bytes");
            return Err(StoreError::Input { path: shown, why });
        }
        files.insert(path.to_string(), reading.bytes()?);
    }
    Ok(files)
}

impl Store {
    /// The pack that a name means: the one installed last under it, else the built-in one.
    /// `name@version` asks for that version of it.
    pub fn pack(&self, name: &str) -> Result<Arc<Pack>, StoreError> {
        Ok(Arc::new(Pack::parse(&self.pack_files(name)?)?))
    }

    /// The files of the pack that a name means, as [`Store::pack`] finds it.
    pub fn pack_files(&self, name: &str) -> Result<PackFiles, StoreError> {
        self.files_of(name, &self.installed_packs()?)
    }

    fn files_of(&self, name: &str, installed: &[InstalledPack]) -> Result<PackFiles, StoreError> {
        match installed.iter().rev().find(|installed| means(name, &installed.pack)) {
            Some(installed) => self.installed_files(installed),
            None => builtin_files(name).ok_or_else(|| StoreError::NoPack(name.to_owned())),
        }
    }

    /// The pack that governs the store's manifests: the one that `strongroom.toml` names.
    ///
    /// Which one was installed last under the name is looked up in the index and confirmed against
    /// the entry's bytes; only what the index has not taken in yet is read from the log.
    pub fn manifest_pack(&self) -> Result<Arc<Pack>, StoreError> {
        self.governing_pack(&|view| match self.installed_by_index(view) {
            Some(installed) => Ok(installed),
            None => self.installed_since(view, 0),
        })
    }

    /// The same by the log alone, read from its first entry.
    pub(super) fn manifest_pack_by_log(&self) -> Result<Arc<Pack>, StoreError> {
        *self.governing.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.governing_pack(&|view| self.installed_since(view, 0))
    }

    fn governing_pack(&self, installed: &Lookup<'_>) -> Result<Arc<Pack>, StoreError> {
        let name = &self.config.pack;
        let view = self.log()?;
        let mut known = self.governing.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((size, pack)) = known.as_mut()
            && *size <= view.size()
            && !self.installed_since(&view, *size)?.iter().any(|new| means(name, &new.pack))
        {
            *size = view.size();
            return Ok(Arc::clone(pack));
        }
        let files = self.files_of(name, &installed(&view)?).map_err(|error| match error {
            StoreError::NoPack(name) => StoreError::NoManifestPack(name),
            other => other,
        })?;
        let pack = Arc::new(Pack::parse(&files)?);
        *known = Some((view.size(), Arc::clone(&pack)));
        Ok(pack)
    }

    /// Every pack that was installed, oldest first; the last of a name is the one that it means.
    pub fn installed_packs(&self) -> Result<Vec<InstalledPack>, StoreError> {
        self.installed_since(&self.log()?, 0)
    }

    /// The same with the index as a guide; `None` where there is no index of this log, or where it says
    /// what the log does not.
    fn installed_by_index(&self, view: &LogView) -> Option<Vec<InstalledPack>> {
        let index = Index::open_read_only(&self.disk.full_path(paths::INDEX)).ok()?;
        let known = index.log_size().ok().filter(|size| index.is_at(&view.head) || *size < view.head.size)?;
        let mut found = Vec::new();
        for at in index.entries_without_run(EntryKind::PackInstalled.as_str(), None).ok()? {
            found.push(installed(at, self.entry(view, at).ok()?)?);
        }
        found.extend(self.installed_since(view, known).ok()?);
        Some(found)
    }

    fn installed_since(&self, view: &LogView, from: u64) -> Result<Vec<InstalledPack>, StoreError> {
        const MARK: &str = "\"kind\":\"pack-installed\"";
        let mut found = Vec::new();
        self.each_entry(view, from, &mut |index, bytes| {
            // Entries are canonical, so the mark is there letter for letter.
            if !std::str::from_utf8(bytes).is_ok_and(|text| text.contains(MARK)) {
                return Ok(());
            }
            let entry = Entry::parse(bytes).map_err(StoreError::record(format!("log entry {index}")))?;
            found.extend(installed(index, entry));
            Ok(())
        })?;
        Ok(found)
    }

    /// The files of an installed pack, from the objects.
    pub fn installed_files(&self, installed: &InstalledPack) -> Result<PackFiles, StoreError> {
        let mut files = PackFiles::new();
        for file in self.file_list(&installed.files)? {
            let Some(blob) = file.blob() else { continue };
            let missing = StoreError::BlobMissing { what: "pack file", digest: blob.sha256 };
            files.insert(file.path.to_string(), self.blobs.get_id(&blob)?.ok_or(missing)?);
        }
        Ok(files)
    }

    /// Installs a pack: its files become objects and lie under `packs/`, and the log tells of it.
    ///
    /// A pack that is there already is left alone; where its files under `packs/` are missing or
    /// changed, they are put back, and what lay in their place is kept.
    pub fn install_pack(&self, files: &PackFiles) -> Result<Installation, StoreError> {
        let pack = Pack::parse(files)?;
        let refused = |why: String| StoreError::Input { path: PACK_FILE.to_owned(), why };
        let name = folder_name(&pack)?;
        let known = self.installed_packs()?;
        let twin = |other: &&InstalledPack| {
            other.pack.name != name.as_str() && fold_key(&other.pack.name) == fold_key(name.as_str())
        };
        if let Some(twin) = known.iter().find(twin) {
            let why =
                format!("{name:?} is the same folder as {:?} where case does not count", twin.pack.name);
            return Err(refused(why));
        }
        let mut operation = Operation::begin(self)?;
        let mut stage = operation.stage()?;
        let mut list = Vec::with_capacity(files.len());
        for (path, bytes) in files {
            let path: LogicalPath = path.parse().map_err(|error| refused(format!("{error}")))?;
            list.push(FileEntry::file(path, stage.keep(bytes)?, false));
        }
        list.sort_by(|a, b| a.path.cmp(&b.path));
        let list = stage.keep_list(&list)?.sha256;
        let reference =
            PackRef { name: name.to_string(), version: pack.version().to_owned(), digest: pack.digest() };
        let mut installed = InstalledPack { pack: reference, files: list, entry: 0 };
        let folder = installed.folder();
        let mut found: BTreeMap<&str, BlobId> = BTreeMap::new();
        let mut missing = false;
        for (path, bytes) in files {
            match self.pack_file_bytes(&folder, path)? {
                Some(there) if there == *bytes => {}
                Some(there) => drop(found.insert(path, stage.keep(&there)?)),
                None => missing = true,
            }
        }
        let replaced: Vec<String> = found.keys().map(|path| (*path).to_owned()).collect();
        let last = known.iter().rev().find(|other| other.pack.name == installed.pack.name);
        let same = last.filter(|last| last.pack == installed.pack && last.files == installed.files);
        if let Some(last) = same
            && found.is_empty()
            && !missing
        {
            installed.entry = last.entry;
            stage.end();
            return Ok(Installation { installed, unchanged: true, count: files.len(), replaced });
        }
        let mut entry = operation.entry(EntryKind::PackInstalled);
        entry.pack = Some(installed.pack.clone());
        entry.files = Some(list);
        if !found.is_empty() {
            entry.detail = Some(stage.keep(&detail(&folder, &found))?.sha256);
        }
        for answer in operation.commit(stage, vec![Change::Store(entry)])? {
            installed.entry = answer.map_err(StoreError::Conflict)?.entry;
        }
        // What stood in the way of its files is an error for whoever installs it.
        self.place_pack(&folder, files)?;
        operation.end();
        Ok(Installation { installed, unchanged: false, count: files.len(), replaced })
    }

    fn pack_file_bytes(&self, folder: &str, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.disk.read_opt(&format!("{folder}/{path}"), PACK_BYTES) {
            Err(error) if error.is_not_found() || error.is_not_folder() => Ok(None),
            read => Ok(read?),
        }
    }

    /// Puts the files of a committed installation in their place, from the objects. What stands in the
    /// way there is a finding of `verify`, and stops no command that finishes the installation.
    pub(super) fn place_installed(&self, entry: &Entry) -> Result<(), StoreError> {
        let (EntryKind::PackInstalled, Some(pack), Some(files)) = (entry.kind, &entry.pack, entry.files)
        else {
            return Ok(());
        };
        let installed = InstalledPack { pack: pack.clone(), files, entry: 0 };
        self.drop_half_written(&installed.folder())?;
        match self.place_pack(&installed.folder(), &self.installed_files(&installed)?) {
            Err(StoreError::Disk(error))
                if error.is_not_folder() || error.is_not_regular() || error.is_exists() =>
            {
                Ok(())
            }
            placed => placed,
        }
    }

    /// Takes away what an interrupted installation left half-written below a pack's folder. Only the
    /// holder of the store lock.
    fn drop_half_written(&self, folder: &str) -> Result<(), StoreError> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.disk.list(&folder).unwrap_or_default() {
                let path = format!("{folder}/{}", entry.name.to_string_lossy());
                if is_temp_name(&entry.name) {
                    self.disk.discard(&path)?;
                } else if entry.kind == Kind::Dir {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    fn place_pack(&self, folder: &str, files: &PackFiles) -> Result<(), StoreError> {
        let parent = |path: &str| path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        for (path, bytes) in files {
            if self.pack_file_bytes(folder, path)?.as_ref() == Some(bytes) {
                continue;
            }
            let full = format!("{folder}/{path}");
            for made in self.disk.mkdir_all(&parent(&full))? {
                self.disk.sync_dir(&parent(&made))?;
            }
            self.disk.replace_durably(&full, bytes, 0o444)?;
        }
        Ok(())
    }

    /// Compares the files under `packs/` with what the log says was installed (E180, E181). Files of an
    /// installation that is not settled may be missing or half-written: the next command places them.
    pub(super) fn check_packs(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        // The disk is listed before the log is read: what a writer puts there meanwhile is in the log.
        let (there, strays) = self.files_below_packs()?;
        let Ok(view) = self.log() else { return Ok(()) };
        let Ok(installed) = self.installed_since(&view, 0) else { return Ok(()) };
        findings.extend(strays);
        let unsettled: BTreeSet<String> =
            installed.iter().filter(|pack| pack.entry >= view.head.size).map(InstalledPack::folder).collect();
        let mut known = BTreeSet::new();
        let lists: BTreeMap<String, Sha256> =
            installed.iter().map(|pack| (pack.folder(), pack.files)).collect();
        for (folder, list) in &lists {
            // A list that is gone is a finding of the objects.
            let Ok(files) = self.file_list(list) else { continue };
            for file in files {
                let path = format!("{folder}/{}", file.path);
                let Some(BlobId { sha256: expected, .. }) = file.blob() else { continue };
                let found = match self.pack_file_bytes(folder, file.path.as_str()) {
                    Ok(Some(bytes)) => Sha256::of(&bytes).to_string(),
                    Ok(None) if unsettled.contains(folder) => continue,
                    Ok(None) => "nothing".to_owned(),
                    Err(error) => error.to_string(),
                };
                if found != expected.to_string() {
                    let finding = Finding::of_store(Code::PackChanged, path.clone());
                    findings.push(finding.expected(expected).found(found));
                }
                known.insert(path);
            }
        }
        for path in there.into_iter().filter(|path| !known.contains(path)) {
            let name = path.rsplit('/').next().unwrap_or_default();
            let own = |folder: &String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
            if is_temp_name(name.as_ref()) && unsettled.iter().any(own) {
                continue;
            }
            findings.push(Finding::of_store(Code::PackStray, path).expected("nothing").found("a file"));
        }
        Ok(())
    }

    /// Regular files below `packs/`, and a finding for whatever is neither file nor folder.
    fn files_below_packs(&self) -> Result<(Vec<String>, Vec<Finding>), StoreError> {
        let (mut files, mut strays) = (Vec::new(), Vec::new());
        let mut folders = vec![paths::PACKS.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match self.disk.list(&folder) {
                Err(DiskError::NotFound { .. }) => continue,
                entries => entries?,
            };
            for entry in entries {
                let path = format!("{folder}/{}", entry.name.to_string_lossy());
                match entry.kind {
                    Kind::Dir => folders.push(path),
                    // The place of an installed file is told as changed; a file's own look finds it.
                    Kind::File => files.push(path),
                    other => {
                        let finding = Finding::of_store(Code::PackStray, path).expected("nothing");
                        strays.push(finding.found(other.word()));
                    }
                }
            }
        }
        Ok((files, strays))
    }
}

/// What an entry says was installed.
fn installed(index: u64, entry: Entry) -> Option<InstalledPack> {
    match (entry.kind, entry.pack, entry.files) {
        (EntryKind::PackInstalled, Some(pack), Some(files)) => {
            Some(InstalledPack { pack, files, entry: index })
        }
        _ => None,
    }
}

/// Whether a name, as `NAME` or `NAME@VERSION`, means a pack.
fn means(name: &str, pack: &PackRef) -> bool {
    match name.rsplit_once('@') {
        Some((name, version)) => pack.name == name && pack.version == version,
        None => pack.name == name,
    }
}

/// The files of the built-in pack that a name means.
fn builtin_files(name: &str) -> Option<PackFiles> {
    let (wanted, version) = name.rsplit_once('@').map_or((name, None), |(name, v)| (name, Some(v)));
    // Asking for a version reads every built-in pack, which a small store's commands would feel.
    let own = || Pack::builtin(wanted).map(Pack::version);
    schema::pack_files(wanted).filter(|_| version.is_none() || version == own())
}

/// The built-in pack that a name means.
pub(super) fn builtin_pack(name: &str) -> Option<Arc<Pack>> {
    Some(Arc::new(Pack::parse(&builtin_files(name)?).ok()?))
}

/// The name of a pack as a folder of the store.
fn folder_name(pack: &Pack) -> Result<JobId, StoreError> {
    let why = || format!("{:?} is no name for a folder", pack.name());
    pack.name().parse().map_err(|_| StoreError::Input { path: PACK_FILE.to_owned(), why: why() })
}

impl ManifestPack {
    /// The name that the settings of the new store give; an error when there is no such pack, or it
    /// could not be installed.
    pub(super) fn name(&self) -> Result<String, StoreError> {
        match self {
            Self::BuiltIn(name) if builtin_files(name).is_none() => Err(StoreError::NoPack(name.clone())),
            Self::BuiltIn(name) => Ok(name.clone()),
            Self::Files(files) => Ok(folder_name(&Pack::parse(files)?)?.to_string()),
        }
    }
}

/// Which bytes lay in the place of a pack's files.
fn detail(folder: &str, found: &BTreeMap<&str, BlobId>) -> Vec<u8> {
    let files: Vec<serde_json::Value> = found
        .iter()
        .map(|(path, blob)| serde_json::json!({"path": format!("{folder}/{path}"), "found": blob.sha256}))
        .collect();
    let value = serde_json::json!({"v": 1, "what": "replaced-pack-files", "files": files});
    canonical::rfc8785(&value).expect("paths and digests are canonical")
}
