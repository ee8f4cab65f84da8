//! The objects: every stored blob is its digest, and every digest that something names resolves.

use super::super::session::segment_marks;
use super::super::{Store, StoreError};
use super::log::LogFacts;
use super::{Missing, VerifyReport};
use crate::backend::{BlobFinding, Sound};
use crate::base::digest::Sha256;
use crate::format::file_list::FileEntry;
use crate::format::finding::{Code, Finding};

impl Store {
    /// Reads and hashes all stored blobs; gives those that are sound.
    pub(super) fn check_objects(&self, report: &mut VerifyReport) -> Result<Sound, StoreError> {
        // Bad bytes below a committed length are damage; only beyond it a write was never finished. What
        // cannot be read of head and journal is told when the log is.
        if let Ok(marks) = self.committed_marks().or_else(|_| self.head().map(|head| segment_marks(&head))) {
            self.blobs.set_committed(&marks);
        }
        let (checked, sound) =
            self.blobs.check_all(&mut |found| report.findings.push(object_finding(found)))?;
        report.blobs = checked.records + checked.large;
        Ok(sound)
    }

    /// Every digest that the log and the packs' file lists name resolves.
    pub(super) fn check_named(
        &self,
        log: &LogFacts,
        sound: &Sound,
        findings: &mut Vec<Finding>,
    ) -> Result<(), StoreError> {
        for (digest, entry) in &log.unseen {
            if self.blobs.find(digest)?.is_none() {
                let place = format!("log entry {entry}");
                let finding = Finding::of_store(Code::BlobMissing, place).expected(digest);
                findings.push(finding.found("nothing"));
            }
        }
        // A log that cannot be read has findings of its own.
        for pack in self.installed_packs().unwrap_or_default() {
            findings.append(&mut self.missing_of_list(&pack.files, None, sound)?);
        }
        Ok(())
    }

    /// The findings of a file list: itself, and what it names, where there is nothing.
    pub(super) fn missing_of_list(
        &self,
        list: &Sha256,
        files: Option<&[FileEntry]>,
        sound: &Sound,
    ) -> Result<Missing, StoreError> {
        let read;
        let files = match files {
            Some(files) => files,
            None => match self.file_list(list) {
                Ok(files) => {
                    read = files;
                    &read
                }
                Err(_) => {
                    return Ok(vec![Finding::of_store(Code::BlobMissing, format!("file list {list}"))]);
                }
            },
        };
        let mut missing = Missing::new();
        for file in files {
            if let Some(blob) = file.blob()
                && !sound.has(&blob.sha256)
                && !self.blobs.contains(&blob)?
            {
                let place = format!("file list {list}, {}", file.path);
                let finding = Finding::of_store(Code::BlobMissing, place).expected(blob.sha256);
                missing.push(finding.found("nothing"));
            }
        }
        Ok(missing)
    }
}

fn object_finding(found: BlobFinding) -> Finding {
    let at = |code, path: String| Finding::of_store(code, path);
    match found {
        BlobFinding::BadSegment { path, why } => at(Code::SegmentDamaged, path).found(why),
        BlobFinding::Shorter { path, committed, found } => {
            let bytes = |n: u64| format!("{n} bytes");
            at(Code::SegmentDamaged, path).expected(bytes(committed)).found(bytes(found))
        }
        BlobFinding::DamagedRecord { path, offset, end, why } => {
            at(Code::SegmentDamaged, format!("{path} bytes {offset} to {end}"))
                .expected("a record")
                .found(why)
        }
        BlobFinding::TornTail { path, offset, bytes } => {
            at(Code::TornTail, path).found(format!("{bytes} bytes from byte {offset}"))
        }
        BlobFinding::DamagedLarge { path, damage } => {
            at(Code::BlobDamaged, path).expected("the bytes its name says").found(damage)
        }
        BlobFinding::Leftover { path } => at(Code::Leftover, path),
        BlobFinding::Unexpected { path, found } => at(Code::Stray, path).expected("a blob").found(found),
        BlobFinding::Unreadable { path, error } => {
            at(Code::BlobDamaged, path).expected("a readable file").found(error)
        }
    }
}
