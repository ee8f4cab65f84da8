//! Outputs of a recording that are given, not produced by a command.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{hash, refused};
use crate::backend::Disk;
use crate::base::digest::BlobId;
use crate::base::name::LogicalPath;
use crate::store::StoreError;
use crate::store::source::{self, Reading};
use crate::store::stage::{RunFolder, Stage};

/// Outputs that are given, not produced.
#[derive(Default)]
pub(super) struct Outputs {
    files: Vec<(LogicalPath, Disk, String)>,
    dirs: Vec<LogicalPath>,
}

impl Outputs {
    pub fn given(paths: &[PathBuf]) -> Result<Self, StoreError> {
        let mut outputs = Self::default();
        for path in paths {
            outputs.take(path)?;
        }
        let mut places = BTreeSet::new();
        for (place, _, _) in &outputs.files {
            if !places.insert(place.as_str()) {
                return Err(refused(Path::new(place.as_str()), "two outputs would lie there"));
            }
        }
        Ok(outputs)
    }

    pub fn take(&mut self, path: &Path) -> Result<(), StoreError> {
        let parse =
            |text: String| text.parse::<LogicalPath>().map_err(|error| refused(path, error.to_string()));
        match source::given(path)? {
            source::Given::File(disk, name) => {
                self.files.push((parse(format!("outputs/{name}"))?, disk, name));
            }
            source::Given::Folder(disk) => {
                let real = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                let name = real.file_name().and_then(|name| name.to_str()).unwrap_or("outputs");
                let below = if name == "outputs" { name.to_owned() } else { format!("outputs/{name}") };
                let tree = source::tree(disk, &path.display().to_string(), &|_| false)?;
                self.dirs.push(parse(below.clone())?);
                for dir in &tree.dirs {
                    self.dirs.push(parse(format!("{below}/{dir}"))?);
                }
                for file in &tree.files {
                    let place = parse(format!("{below}/{file}"))?;
                    self.files.push((place, tree.disk.clone(), file.to_string()));
                }
            }
        }
        Ok(())
    }

    pub fn digests(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.files
            .iter()
            .map(|(place, disk, name)| {
                let blob = hash(&mut Reading::open(disk, name)?)?;
                Ok((place.to_string(), blob.sha256.to_string()))
            })
            .collect()
    }

    pub fn stage(
        &self,
        stage: &mut Stage,
        folder: &mut RunFolder,
    ) -> Result<Vec<(LogicalPath, BlobId)>, StoreError> {
        stage.add_dir(folder, "outputs".parse().expect("a fixed path"))?;
        for dir in &self.dirs {
            stage.add_dir(folder, dir.clone())?;
        }
        self.files
            .iter()
            .map(|(place, disk, name)| {
                let blob = stage.add_file(folder, place.clone(), Reading::open(disk, name)?)?;
                Ok((place.clone(), blob))
            })
            .collect()
    }
}
