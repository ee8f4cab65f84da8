//! Inputs of a recording: read once for their digests, and again only when they are too large to keep.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Given, hash, refused, relative};
use crate::backend::Disk;
use crate::base::canonical;
use crate::base::digest::{BlobId, Sha256};
use crate::base::name::LogicalPath;
use crate::store::source::{self, Reading};
use crate::store::stage::{self, RunFolder, Stage};
use crate::store::{Progress, StoreError};

/// Inputs up to this size in all are kept in memory between hashing and staging; above, they are
/// read a second time, and must then be the same.
const KEPT_BYTES: u64 = 64 << 20;

pub(super) struct Input {
    name: String,
    path: LogicalPath,
    /// The relative path that it was given by, if it was.
    given: Option<LogicalPath>,
    blob: BlobId,
    exec: bool,
    from: Source,
}

pub(super) enum Source {
    Memory(Vec<u8>),
    File(Disk, String),
}

#[derive(Default)]
pub(super) struct Inputs {
    files: Vec<Input>,
    dirs: Vec<LogicalPath>,
    kept: u64,
}

impl Inputs {
    pub fn take(
        &mut self,
        given: &Given,
        small_limit: u64,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let path = &given.path;
        if given.name.contains('/') {
            return Err(refused(
                path,
                format!("an input's name must not hold a slash, {:?} does", given.name),
            ));
        }
        let as_given = relative(path).ok();
        match source::given(path)? {
            source::Given::File(disk, name) => {
                let extension = Path::new(&name).extension().and_then(|e| e.to_str());
                let place = match extension {
                    Some(extension) if !given.name.ends_with(&format!(".{extension}")) => {
                        format!("inputs/{}.{extension}", given.name)
                    }
                    _ => format!("inputs/{}", given.name),
                };
                self.read(given.name.clone(), &place, as_given, (&disk, &name), small_limit, progress)
            }
            source::Given::Folder(disk) => {
                let below = format!("inputs/{}", given.name);
                let tree = source::tree(disk, &path.display().to_string(), &|_| false)?;
                let parse = |text: &str| {
                    text.parse::<LogicalPath>().map_err(|error| refused(path, error.to_string()))
                };
                self.dirs.push(parse(&below)?);
                for dir in &tree.dirs {
                    self.dirs.push(parse(&format!("{below}/{dir}"))?);
                }
                for file in &tree.files {
                    let name = format!("{}/{file}", given.name);
                    let beside = as_given.as_ref().and_then(|folder| folder.join(file.as_str()).ok());
                    let place = format!("{below}/{file}");
                    self.read(name, &place, beside, (&tree.disk, file.as_str()), small_limit, progress)?;
                }
                Ok(())
            }
        }
    }

    fn read(
        &mut self,
        name: String,
        place: &str,
        given: Option<LogicalPath>,
        (disk, file): (&Disk, &str),
        small_limit: u64,
        progress: &dyn Progress,
    ) -> Result<(), StoreError> {
        let mut reading = Reading::open(disk, file)?;
        let exec = reading.exec();
        if reading.len() <= small_limit && self.kept + reading.len() <= KEPT_BYTES {
            self.kept += reading.len();
            // Larger files tell it when they are staged.
            reading.tell_dropped(progress);
            let bytes = reading.bytes()?;
            return self.add(name, place, given, exec, Source::Memory(bytes));
        }
        let blob = hash(&mut reading)?;
        let from = Source::File(disk.clone(), file.to_owned());
        self.push(name, place, given, exec, from, blob)
    }

    pub fn add(
        &mut self,
        name: String,
        place: &str,
        given: Option<LogicalPath>,
        exec: bool,
        from: Source,
    ) -> Result<(), StoreError> {
        let blob = match &from {
            Source::Memory(bytes) => BlobId::of(bytes),
            Source::File(disk, path) => hash(&mut Reading::open(disk, path)?)?,
        };
        self.push(name, place, given, exec, from, blob)
    }

    fn push(
        &mut self,
        name: String,
        place: &str,
        given: Option<LogicalPath>,
        exec: bool,
        from: Source,
        blob: BlobId,
    ) -> Result<(), StoreError> {
        let path = place
            .parse()
            .map_err(|error: crate::base::name::PathError| refused(Path::new(&name), error.to_string()))?;
        self.files.push(Input { name, path, given, blob, exec, from });
        Ok(())
    }

    pub fn check_names(&self) -> Result<(), StoreError> {
        let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
        for input in &self.files {
            if !names.insert(&input.name) {
                return Err(refused(Path::new(&input.name), "two inputs have this name"));
            }
            if !places.insert(input.path.as_str()) {
                let why = format!("two inputs would lie at {}", input.path);
                return Err(refused(Path::new(&input.name), why));
            }
        }
        for dir in &self.dirs {
            if places.contains(dir.as_str()) {
                let why = "two inputs would lie there, one of them a folder";
                return Err(refused(Path::new(dir.as_str()), why));
            }
        }
        Ok(())
    }

    pub fn hash(&self) -> Sha256 {
        let mut digests: Vec<(&str, &Sha256)> =
            self.files.iter().map(|input| (input.name.as_str(), &input.blob.sha256)).collect();
        digests.sort();
        canonical::inputs_hash(digests)
    }

    pub fn stage(
        &self,
        stage: &mut Stage,
        folder: &mut RunFolder,
    ) -> Result<Vec<(String, LogicalPath, BlobId)>, StoreError> {
        let inputs: LogicalPath = "inputs".parse().expect("a fixed path");
        stage.add_dir(folder, inputs)?;
        for dir in &self.dirs {
            stage.add_dir(folder, dir.clone())?;
        }
        let mut snapshots = Vec::with_capacity(self.files.len());
        for input in &self.files {
            let blob = match &input.from {
                Source::Memory(bytes) => stage.add_bytes(folder, input.path.clone(), bytes, input.exec)?,
                Source::File(disk, path) => {
                    stage.add_file(folder, input.path.clone(), Reading::open(disk, path)?)?
                }
            };
            if blob != input.blob {
                return Err(refused(Path::new(&input.name), "it changed while it was being read"));
            }
            snapshots.push((input.name.clone(), input.path.clone(), blob));
        }
        Ok(snapshots)
    }

    /// Lays the inputs out for a command: read-only copies of what was staged, under `inputs/` and
    /// at the relative path each was given by.
    pub fn lay_out(&self, disk: &Disk, staged: &str, work: &str) -> Result<(), StoreError> {
        disk.mkdir_all(&format!("{work}/inputs"))?;
        let mut laid = BTreeSet::new();
        for dir in &self.dirs {
            disk.mkdir_all(&format!("{work}/{dir}"))?;
        }
        for input in &self.files {
            for place in [Some(&input.path), input.given.as_ref()].into_iter().flatten() {
                if !laid.insert(place.as_str().to_owned()) {
                    continue;
                }
                for parent in place.parents() {
                    disk.mkdir_all(&format!("{work}/{parent}"))?;
                }
                let mode = stage::mode(input.exec);
                disk.clone_or_copy(&format!("{staged}/{}", input.path), &format!("{work}/{place}"), mode)?;
            }
        }
        Ok(())
    }
}
