//! Writing rows: the same functions for bringing an index up to date and for building one anew.

use rusqlite::params;

use super::{Index, IndexError};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::name::fold_key;
use crate::format::entry::{Entry, EntryKind};
use crate::format::file_list::FileEntry;
use crate::format::head::Head;
use crate::format::manifest::Manifest;
use crate::format::paths;

/// One log entry on its way into the index.
pub struct LogRow<'a> {
    /// Its log index.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Sha256,
    /// The entry.
    pub entry: &'a Entry,
}

/// One file of a run.
pub type FileRow = FileEntry;

/// What the kernel told of a manifest, made short.
pub type Mark = [u8; 16];

/// A run's manifest as it lies on the disk.
pub enum ManifestRow<'a> {
    /// It reads.
    Good {
        /// What the store reads in it.
        manifest: &'a Manifest,
        /// Its exact text.
        text: &'a str,
        /// Its digest.
        sha256: Sha256,
    },
    /// It does not, for this reason.
    Bad {
        /// The finding's code.
        code: &'a str,
        /// What is wrong.
        detail: &'a str,
    },
}

fn int(n: u64) -> i64 {
    i64::try_from(n).expect("log indexes, lengths and counts stay far below 2^63")
}

impl Index {
    /// Begins a transaction.
    pub fn begin_changes(&self) -> Result<(), IndexError> {
        self.batch("BEGIN IMMEDIATE")
    }

    /// Ends the transaction: all entries that the head counts are in.
    pub fn commit_changes(&self, head: &Head) -> Result<(), IndexError> {
        self.set_meta("log_size", int(head.size))?;
        self.set_meta("log_root", head.root.to_string())?;
        self.batch("COMMIT")
    }

    /// Gives up the transaction.
    pub fn abandon_changes(&self) {
        // Nothing to do about a failure: the connection is about to be dropped, which rolls back.
        let _ = self.db.execute_batch("ROLLBACK");
    }

    /// Makes the lookup indexes of an index built from nothing, once its rows are in.
    pub fn finish_tables(&self) -> Result<(), IndexError> {
        // They are written from one end to the other, out of what was sorted.
        self.hold(16)?;
        self.batch(include_str!("lookups.sql"))
    }

    /// Gives the number of rows that changed.
    fn put(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, IndexError> {
        let mut statement = self.db.prepare_cached(sql).map_err(|source| self.at(source))?;
        statement.execute(values).map_err(|source| self.at(source))
    }

    /// Takes in an entry: rows of `entries`, `runs`, `revisions`, `migrations`, `jobs`. Tells whether it
    /// brings in a run that was not there.
    pub fn put_entry(&self, row: &LogRow<'_>) -> Result<bool, IndexError> {
        let LogRow { index, entry, .. } = row;
        let text = |digest: &Option<Sha256>| digest.map(|digest| digest.to_string());
        let at = int(*index);
        // No row of an entry can be there that the index does not count: one that somebody put there fails this, and
        // the index is made anew.
        self.put(
            "INSERT INTO entries VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
            params![
                at,
                entry.kind.as_str(),
                entry.time.to_string(),
                entry.job_id.as_ref().map(|id| id.as_str()),
                entry.run_id.as_ref().map(|id| id.as_str()),
                entry.run_seq.map(int),
                entry.operation.to_string(),
                int(entry.batch),
                text(&entry.before),
                text(&entry.after),
                entry.actor.to_string(),
                text(&entry.reason),
            ],
        )?;
        let Some(key) = entry.run() else { return Ok(false) };
        let new = self.put_run(&key, row)?;
        let (job, run) = (key.job.as_str(), key.run.as_str());
        if entry.before != entry.after {
            let seq = entry.run_seq.map(int);
            // A log that contradicts itself may bring in a run twice, or count a revision twice: verify tells of it.
            // Not by `INSERT OR REPLACE`: of each page that this touches SQLite keeps a copy, on the disk, to take
            // the one statement back.
            if !(self.empty && new) {
                self.put(
                    "DELETE FROM revisions WHERE job_id = ?1 AND run_id = ?2 AND run_seq = ?3",
                    params![job, run, seq],
                )?;
            }
            self.put(
                "INSERT INTO revisions VALUES (?1,?2,?3,?4,?5)",
                params![job, run, seq, text(&entry.after), at],
            )?;
        }
        if let (EntryKind::Migrated, Some(pack)) = (entry.kind, &entry.pack) {
            self.put(
                "INSERT INTO migrations VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
                params![
                    at,
                    job,
                    run,
                    entry.time.to_string(),
                    entry.from,
                    entry.to,
                    entry.path.as_ref().map(|path| path.join(" -> ")),
                    pack.name,
                    pack.version,
                    pack.digest.to_string(),
                    text(&entry.before),
                    text(&entry.after),
                    entry.operation.to_string(),
                ],
            )?;
        }
        Ok(new)
    }

    fn put_run(&self, key: &RunKey, row: &LogRow<'_>) -> Result<bool, IndexError> {
        let LogRow { index, leaf, entry } = row;
        let (job, run) = (key.job.as_str(), key.run.as_str());
        let text = |digest: &Option<Sha256>| digest.map(|digest| digest.to_string());
        if matches!(entry.kind, EntryKind::Recorded | EntryKind::Adopted) {
            self.put("INSERT OR IGNORE INTO jobs VALUES (?1,?2)", params![job, fold_key(job)])?;
            // A log that brings a run in twice is for verify to report; its first entry stays the first.
            let rows = self.put(
                "INSERT INTO runs VALUES (?1,?2,?3,?4,?5,?5,?6,?7,?8,?9,?10,?10) \
                 ON CONFLICT (job_id, run_id) DO NOTHING",
                params![
                    job,
                    run,
                    fold_key(run),
                    entry.run_seq.map(int),
                    int(*index),
                    leaf.to_string(),
                    text(&entry.after),
                    text(&entry.files),
                    text(&entry.exceptions),
                    entry.time.to_string(),
                ],
            )?;
            if rows == 1 {
                return Ok(true);
            }
        }
        self.put(
            "UPDATE runs SET run_seq = ?3, last_entry = ?4, last_leaf = ?5, manifest_sha256 = ?6, changed_at = ?7 \
             WHERE job_id = ?1 AND run_id = ?2",
            params![
                job,
                run,
                entry.run_seq.map(int),
                int(*index),
                leaf.to_string(),
                text(&entry.after),
                entry.time.to_string(),
            ],
        )?;
        Ok(false)
    }

    /// Takes in the file list of a run that was not there.
    pub fn put_files(&self, key: &RunKey, files: &[FileRow]) -> Result<(), IndexError> {
        let (job, run) = (key.job.as_str(), key.run.as_str());
        if !self.empty {
            self.put("DELETE FROM files WHERE job_id = ?1 AND run_id = ?2", [job, run])?;
        }
        for file in files {
            let Some(blob) = file.blob() else { continue };
            let path = file.path.as_str();
            let role = match path.split('/').next() {
                Some("inputs") => "input",
                Some("outputs") => "output",
                _ => "other",
            };
            self.put(
                "INSERT INTO files VALUES (?1,?2,?3,?4,?5,?6,?7)",
                params![
                    job,
                    run,
                    path,
                    role,
                    int(blob.bytes),
                    blob.sha256.to_string(),
                    blob.blake3.to_string(),
                ],
            )?;
        }
        Ok(())
    }

    /// Takes in a run's manifest as it lies on the disk, in place of what was known of it. The mark, where
    /// there is one, says which manifest was read.
    pub fn put_manifest(
        &self,
        key: &RunKey,
        first_entry: u64,
        row: &ManifestRow<'_>,
        mark: Option<&Mark>,
    ) -> Result<(), IndexError> {
        let (job, run, at) = (key.job.as_str(), key.run.as_str(), int(first_entry));
        if !self.empty {
            self.put("DELETE FROM problems WHERE job_id = ?1 AND run_id = ?2", [job, run])?;
            self.put("DELETE FROM marks WHERE first_entry = ?1", [at])?;
            self.put("DELETE FROM run_index WHERE first_entry = ?1", [at])?;
        }
        match row {
            ManifestRow::Bad { code, detail } => return self.put_problem(key, code, detail),
            ManifestRow::Good { manifest, text, sha256 } => self.put(
                "INSERT INTO run_index VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
                params![
                    at,
                    job,
                    run,
                    manifest.job_ref,
                    manifest.job_type,
                    manifest.status,
                    manifest.inputs_hash,
                    paths::run_dir(key),
                    text,
                    manifest.schema_version,
                    sha256.to_string(),
                    manifest.started_at,
                    manifest.finished_at,
                ],
            )?,
        };
        if let Some(mark) = mark {
            self.put("INSERT INTO marks VALUES (?1,?2)", params![at, mark])?;
        }
        Ok(())
    }

    /// Says that something is wrong with what lies in a run's place.
    pub fn put_problem(&self, key: &RunKey, code: &str, detail: &str) -> Result<(), IndexError> {
        let (job, run) = (key.job.as_str(), key.run.as_str());
        self.put("INSERT OR REPLACE INTO problems VALUES (?1,?2,?3,?4)", [job, run, code, detail])?;
        Ok(())
    }

    /// Drops all problems of one kind, before those that there are now are put.
    pub fn drop_problems(&self, code: &str) -> Result<(), IndexError> {
        self.put("DELETE FROM problems WHERE code = ?1", [code])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;
    use crate::base::digest::BlobId;
    use crate::base::id::OperationId;

    /// Verify is there to tell what is wrong with such a log, and the rest of it is still to be found.
    #[test]
    fn log_that_brings_a_run_in_twice_or_counts_a_revision_twice_is_indexed() {
        let index = Index::in_memory().unwrap();
        let operation = OperationId::new(1, [2; 10]);
        let mut entry =
            Entry::new(EntryKind::Adopted, Moment::from_millis(0), Sha256::of(b"actor"), operation, 1);
        (entry.job_id, entry.run_id) = (Some("job".parse().unwrap()), Some("run".parse().unwrap()));
        (entry.run_seq, entry.after, entry.files) =
            (Some(1), Some(Sha256::of(b"a")), Some(Sha256::of(b"files")));
        let put = |at: u64, entry: &Entry| {
            index.put_entry(&LogRow { index: at, leaf: Sha256::of(b"leaf"), entry }).unwrap()
        };
        assert!(put(0, &entry));
        let file = FileEntry::file("outputs/a".parse().unwrap(), BlobId::of(b"x"), false);
        index.put_files(&entry.run().unwrap(), &[file]).unwrap();
        assert!(!put(1, &entry));
        (entry.kind, entry.before, entry.after) = (EntryKind::Restored, entry.after, Some(Sha256::of(b"b")));
        assert!(!put(2, &entry));
        let count = |table: &str| -> i64 {
            index.db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(["entries", "runs", "revisions", "files"].map(count), [3, 1, 1, 1]);
    }
}
