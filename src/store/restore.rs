//! Putting back what the log says and the objects hold (`store-layout.md`, "Restore").
//!
//! The run's state in the log does not change: files that differ are replaced by the recorded
//! bytes, missing ones are made anew, and the bytes found in their place are kept as blobs, named by
//! the `restored` entry. Extra files are left alone: removing evidence is not repair.

use std::collections::BTreeMap;

use super::commit::{Change, Operation, What};
use super::facts;
use super::stage::{MANIFEST_MODE, mode};
use super::{Store, StoreError};
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::limits;
use crate::format::entry::EntryKind;
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

impl Store {
    /// Restores a run, or one path of it.
    pub fn restore(&self, key: &RunKey, path: Option<&str>) -> Result<RestoreReport, StoreError> {
        let mut operation = Operation::begin(self)?;
        let state = operation.states().get(key)?.ok_or_else(|| StoreError::NoRun { name: key.to_string() })?;
        let files = self.file_list(&state.files)?;
        let known = |wanted: &str| wanted == paths::MANIFEST || files.iter().any(|f| f.path.as_str() == wanted);
        if let Some(wanted) = path
            && !known(wanted)
        {
            return Err(StoreError::NoPath { run: key.clone(), path: wanted.to_owned() });
        }
        let wanted = |candidate: &str| {
            path.is_none_or(|path| path == candidate || path.starts_with(&format!("{candidate}/")))
        };
        let mut report = RestoreReport::default();
        let dir = paths::run_dir(key);
        let mut stage = operation.stage()?;
        for made in self.disk.mkdir_all(&dir)? {
            let parent = made.rsplit_once('/').map_or("", |(parent, _)| parent);
            self.disk.sync_dir(parent)?;
        }
        let folder = facts::folder(&self.disk, &dir)?;
        for file in &files {
            let place = file.path.as_str();
            if !wanted(place) {
                continue;
            }
            let full = format!("{dir}/{place}");
            let found = folder.found.get(place);
            match (file.blob(), found) {
                (None, Some(Found::Dir)) => continue,
                (Some(blob), Some(Found::File { blob: there, .. })) if blob == *there => continue,
                _ => {}
            }
            let aside = match found {
                None => None,
                Some(Found::Dir) => {
                    let why = "a folder lies in its place; move it away and restore again";
                    report.left.push((place.to_owned(), why.to_owned()));
                    continue;
                }
                Some(Found::Unreadable(why)) => {
                    report.left.push((place.to_owned(), format!("what lies in its place cannot be kept: {why}")));
                    continue;
                }
                Some(Found::File { blob, .. }) => {
                    let reading = super::source::Reading::open(&self.disk, &full)?;
                    stage.keep_file(reading)?;
                    self.disk.remove_tree(&full)?;
                    Some(blob.sha256.to_string())
                }
                Some(Found::Special(what)) => {
                    self.disk.remove_tree(&full)?;
                    Some((*what).to_owned())
                }
            };
            match file.blob() {
                None => self.disk.mkdir(&full)?,
                Some(blob) => {
                    let fresh = format!("{}.restore", stage.path());
                    self.disk.remove_tree(&fresh)?;
                    if self.blobs.place(&blob, &fresh, mode(file.exec()))?.is_missing() {
                        report.left.push((place.to_owned(), "its bytes are not in the objects".to_owned()));
                        continue;
                    }
                    self.disk.sync_file(&fresh)?;
                    self.disk.rename_new(&fresh, &full)?;
                }
            }
            let parent = full.rsplit_once('/').map_or("", |(parent, _)| parent);
            self.disk.sync_dir(parent)?;
            let sha256 = file.blob().map(|blob| blob.sha256);
            report.restored.push(Restored { path: place.to_owned(), sha256, found: aside });
        }
        if wanted(paths::MANIFEST) {
            self.restore_manifest(key, &state.manifest, &mut stage, &mut report)?;
        }
        self.list_left(&files, &folder.found, path, &mut report);
        if report.restored.is_empty() {
            stage.end();
            return Ok(report);
        }
        let detail = stage.keep(&detail(&report))?.sha256;
        let what = What::Tell { kind: EntryKind::Restored, detail };
        let answers = operation.commit(stage, vec![Change { key: key.clone(), what }])?;
        for answer in answers {
            report.entry = Some(answer.map_err(StoreError::Conflict)?.entry);
        }
        operation.end();
        Ok(report)
    }

    fn restore_manifest(
        &self,
        key: &RunKey,
        digest: &Sha256,
        stage: &mut super::stage::Stage,
        report: &mut RestoreReport,
    ) -> Result<(), StoreError> {
        let path = paths::manifest(key);
        let there = self.disk.stat(&path)?;
        let found = self.manifest_digest(key)?;
        if found == Some(*digest) {
            return Ok(());
        }
        let bytes = self.revision(digest)?;
        let aside = match there {
            None => None,
            Some(_) => {
                let found = match self.disk.read_opt(&path, limits::JSON_BYTES as u64) {
                    Ok(Some(bytes)) => Some(stage.keep(&bytes)?.sha256.to_string()),
                    _ => Some("something unreadable".to_owned()),
                };
                if !self.disk.is_regular(&path)? {
                    self.disk.remove_tree(&path)?;
                }
                found
            }
        };
        self.disk.replace_durably(&path, &bytes, MANIFEST_MODE)?;
        let path = paths::MANIFEST.to_owned();
        report.restored.push(Restored { path, sha256: Some(*digest), found: aside });
        Ok(())
    }

    fn list_left(
        &self,
        files: &[crate::format::file_list::FileEntry],
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
