//! Putting back what the log says and the objects hold (`store-layout.md`, "Restore").
//!
//! The run's state in the log does not change: files that differ are replaced by the recorded
//! bytes, missing ones are made anew, and the bytes found in their place are kept as blobs, named by
//! the `restored` entry. Extra files are left alone: removing evidence is not repair.

use std::collections::BTreeMap;

use super::commit::{Change, Operation, What};
use super::facts;
use super::source::Reading;
use super::stage::{Stage, mode};
use super::{Store, StoreError};
use crate::backend::Kind;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::entry::EntryKind;
use crate::format::file_list::FileEntry;
use crate::format::paths;
use crate::plan::verify::Found;

/// One file that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where in the run.
    pub path: String,
    /// The recorded digest; `None` for a folder.
    pub sha256: Option<Sha256>,
    /// What lay there: a digest, a word, or nothing.
    pub found: Option<String>,
}

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// What was put back.
    pub restored: Vec<Restored>,
    /// What was wrong and is left: extra files, blobs that are gone.
    pub left: Vec<(String, String)>,
    /// The log entry that tells of it.
    pub entry: Option<u64>,
}

/// One file about to be put back.
struct Repair {
    restored: Restored,
    /// Where the recorded bytes lie ready; `None` for a folder.
    ready: Option<String>,
}

impl Store {
    /// Restores a run, or one path of it.
    pub fn restore(&self, key: &RunKey, path: Option<&str>) -> Result<RestoreReport, StoreError> {
        let mut operation = Operation::begin(self)?;
        let state =
            operation.states()?.get(key)?.ok_or_else(|| StoreError::NoRun { name: key.to_string() })?;
        let files = self.file_list(&state.files)?;
        let known =
            |wanted: &str| wanted == paths::MANIFEST || files.iter().any(|f| f.path.as_str() == wanted);
        if let Some(wanted) = path
            && !known(wanted)
        {
            return Err(StoreError::NoPath { run: key.clone(), path: wanted.to_owned() });
        }
        // A path that is asked for brings the folders it lies in with it.
        let wanted = |candidate: &str| {
            path.is_none_or(|path| path == candidate || path.starts_with(&format!("{candidate}/")))
        };
        let dir = paths::run_dir(key);
        let found = match facts::folder(&self.disk, &dir, None) {
            Ok(folder) => folder.found,
            Err(error) if error.is_not_found() => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        let mut report = RestoreReport::default();
        let mut repairs = Vec::new();
        let mut stage = operation.stage()?;
        for file in files.iter().filter(|file| wanted(file.path.as_str())) {
            match self.prepare(file, &dir, found.get(file.path.as_str()), &mut stage)? {
                Prepared::Right => {}
                Prepared::Repair(repair) => repairs.push(repair),
                Prepared::Left(why) => report.left.push((file.path.to_string(), why)),
            }
        }
        if wanted(paths::MANIFEST) {
            match self.prepare_manifest(key, &state.manifest, &mut stage)? {
                Prepared::Right => {}
                Prepared::Repair(repair) => repairs.push(repair),
                Prepared::Left(why) => report.left.push((paths::MANIFEST.to_owned(), why)),
            }
        }
        list_left(&files, &found, path, &mut report);
        if repairs.is_empty() {
            stage.end();
            return Ok(report);
        }
        // What was found is durable among the objects before anything takes its place.
        stage.flush()?;
        self.put_back(&dir, &repairs)?;
        report.restored = repairs.into_iter().map(|repair| repair.restored).collect();
        let detail = stage.keep(&detail(&report))?.sha256;
        let what = What::Tell { kind: EntryKind::Restored, detail: Some(detail), outcome: None };
        for answer in operation.commit(stage, vec![Change::run(key.clone(), what)])? {
            report.entry = Some(answer.map_err(StoreError::Conflict)?.entry);
        }
        operation.end();
        Ok(report)
    }

    fn prepare(
        &self,
        file: &FileEntry,
        dir: &str,
        found: Option<&Found>,
        stage: &mut Stage,
    ) -> Result<Prepared, StoreError> {
        let left = |why: String| Ok(Prepared::Left(why));
        match (file.blob(), found) {
            (None, Some(Found::Dir)) => return Ok(Prepared::Right),
            (Some(blob), Some(Found::File { blob: there, .. })) if blob == *there => {
                return Ok(Prepared::Right);
            }
            (_, Some(Found::Dir)) => {
                return left("a folder lies in its place; move it away and restore again".to_owned());
            }
            (_, Some(Found::Unreadable(why))) => {
                return left(format!("what lies in its place cannot be kept: {why}"));
            }
            _ => {}
        }
        let ready = match file.blob() {
            None => None,
            Some(blob) => {
                let ready = stage.next_path();
                match self.blobs.place(&blob, &ready, mode(file.exec())) {
                    Ok(_) => {}
                    Err(error) if error.is_damage() => return left(error.to_string()),
                    Err(error) => return Err(error.into()),
                }
                stage.staged(&ready);
                Some(ready)
            }
        };
        let aside = match found {
            None | Some(Found::Dir | Found::Unreadable(_)) => None,
            Some(Found::Special(what)) => Some((*what).to_owned()),
            Some(Found::File { .. }) => {
                let reading = Reading::open(&self.disk, &format!("{dir}/{}", file.path))?;
                Some(stage.keep_file(reading)?.sha256.to_string())
            }
        };
        let sha256 = file.blob().map(|blob| blob.sha256);
        let restored = Restored { path: file.path.to_string(), sha256, found: aside };
        Ok(Prepared::Repair(Repair { restored, ready }))
    }

    fn prepare_manifest(
        &self,
        key: &RunKey,
        digest: &Sha256,
        stage: &mut Stage,
    ) -> Result<Prepared, StoreError> {
        let path = paths::manifest(key);
        let there = self.disk.stat(&path)?.map(|stat| stat.kind);
        if self.manifest_digest(key)? == Some(*digest) {
            return Ok(Prepared::Right);
        }
        let bytes = match self.revision(digest) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Prepared::Left(error.to_string())),
        };
        let found = match there {
            None => None,
            Some(Kind::Dir) => {
                let why = "a folder lies in its place; move it away and restore again";
                return Ok(Prepared::Left(why.to_owned()));
            }
            Some(Kind::File) => Some(stage.keep_file(Reading::open(&self.disk, &path)?)?.sha256.to_string()),
            Some(other) => Some(other.word().to_owned()),
        };
        let ready = stage.revision(bytes)?;
        let path = paths::MANIFEST.to_owned();
        let restored = Restored { path, sha256: Some(*digest), found };
        Ok(Prepared::Repair(Repair { restored, ready: Some(ready) }))
    }

    /// Puts prepared files in their places, folders first, durably.
    fn put_back(&self, dir: &str, repairs: &[Repair]) -> Result<(), StoreError> {
        let parent = |path: &str| path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        for made in self.disk.mkdir_all(dir)? {
            self.disk.sync_dir(&parent(&made))?;
        }
        for repair in repairs {
            let full = format!("{dir}/{}", repair.restored.path);
            // A link or FIFO gives way to a folder; a file is replaced by the rename itself.
            if repair.ready.is_none() && repair.restored.found.is_some() {
                self.disk.unlink(&full)?;
            }
            match &repair.ready {
                None => self.disk.mkdir(&full)?,
                Some(ready) => self.disk.replace(ready, &full)?,
            }
            self.disk.sync_dir(&parent(&full))?;
        }
        Ok(())
    }
}

/// What is to be done about one file.
enum Prepared {
    /// It is as recorded.
    Right,
    /// It is to be put back.
    Repair(Repair),
    /// It cannot be, for this reason.
    Left(String),
}

fn list_left(
    files: &[FileEntry],
    found: &BTreeMap<String, Found>,
    path: Option<&str>,
    report: &mut RestoreReport,
) {
    if path.is_some() {
        return;
    }
    for extra in found.keys() {
        if !files.iter().any(|file| file.path.as_str() == extra) {
            report.left.push((extra.clone(), "not part of the run; left where it is".to_owned()));
        }
    }
}

fn detail(report: &RestoreReport) -> Vec<u8> {
    let files: Vec<serde_json::Value> = report
        .restored
        .iter()
        .map(|file| serde_json::json!({"path": file.path, "sha256": file.sha256, "found": file.found}))
        .collect();
    let value = serde_json::json!({"v": 1, "what": "restored-files", "files": files});
    canonical::rfc8785(&value).expect("paths and digests are canonical")
}
