//! The one place that changes something outside the store: a file is replaced as a whole, a table
//! changed in one transaction. What the target holds is looked at right before and told right after.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sources::Source;
use crate::backend::{Disk, DiskError, Hook, Kind as FileKind, Unnamed};
use crate::base::digest::Sha256;
use crate::base::json;
use crate::carrier::table::{State, TableChange, Writer};
use crate::carrier::{Cell, Kind};
use crate::format::carried::{PlanRecord, TableRecord, TargetRecord, TargetState};
use crate::schema::{Pack, SqliteCarrier};
use crate::store::StoreError;

/// A change of a target.
pub enum Change {
    /// Its bytes are replaced.
    File {
        /// The bytes that it has.
        before: Vec<u8>,
        /// The bytes that it gets.
        after: Vec<u8>,
    },
    /// Its table is changed.
    Table(TableChange),
}

/// What lies outside the store, ready to be looked at or changed.
pub struct Target {
    disk: Disk,
    name: String,
    path: PathBuf,
    kind: Kind,
    table: Option<SqliteCarrier>,
}

/// What a target was before and is to be after.
pub struct Ends<'a> {
    /// The file's digests, for files.
    pub file: Option<(Sha256, Sha256)>,
    /// The plan, for tables.
    pub plan: &'a PlanRecord,
}

impl Target {
    /// The target that a carrier is.
    pub fn of_source(source: &Source, pack: &Pack, hook: Option<&Arc<dyn Hook>>) -> Self {
        let disk = match hook {
            Some(hook) => source.disk.clone().with_hook(Arc::clone(hook)),
            None => source.disk.clone(),
        };
        let table = pack.sqlite_carrier().filter(|_| source.kind == Kind::Sqlite).cloned();
        Self { disk, name: source.name.clone(), path: source.path.clone(), kind: source.kind, table }
    }

    /// The target that an intent names.
    pub fn of_record(record: &TargetRecord, hook: Option<&Arc<dyn Hook>>) -> Result<Self, StoreError> {
        let path = Path::new(&record.path);
        let no_file = || StoreError::Input {
            path: record.path.clone(),
            why: "the log names it, and it is no path of a file".to_owned(),
        };
        let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(no_file)?;
        let name = name.to_str().ok_or_else(no_file)?.to_owned();
        let disk = Disk::open(folder)?;
        let disk = match hook {
            Some(hook) => disk.with_hook(Arc::clone(hook)),
            None => disk,
        };
        let table = record.table.as_ref().map(|table| SqliteCarrier {
            table: table.name.clone(),
            key: table.key.clone(),
            columns: Vec::new(),
        });
        Ok(Self { disk, name, path: path.to_owned(), kind: record.kind, table })
    }

    /// Its record.
    pub fn record(&self, salt: [u8; 16]) -> Result<TargetRecord, StoreError> {
        let path = self.path.to_str().ok_or_else(|| StoreError::Input {
            path: self.path.display().to_string(),
            why: "its path is not UTF-8, so the log could not name it".to_owned(),
        })?;
        let table = self.table.as_ref().map(|t| TableRecord { name: t.table.clone(), key: t.key.clone() });
        Ok(TargetRecord::new(path.to_owned(), self.kind, table, salt))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a file; `None` if there is no regular file.
    pub fn read(&self) -> Option<Vec<u8>> {
        self.disk.read(&self.name, u64::MAX).ok()
    }

    /// The table, for databases.
    pub fn table(&self) -> Option<&SqliteCarrier> {
        self.table.as_ref()
    }

    /// Makes a change, if the target is what the change was planned from. Why it was not made is told
    /// beside the state.
    ///
    /// # Errors
    /// When it cannot be told what the target holds, or not made durable: then the intent stays open.
    pub fn apply(
        &self,
        change: &Change,
        ends: &Ends<'_>,
    ) -> Result<(TargetState, Option<String>), StoreError> {
        let failed = match change {
            Change::File { before, after } => match self.replace(&Sha256::of(before), after) {
                Ok(()) => {
                    // A flush that failed is not asked again: what it lost may look written until the power goes.
                    self.disk.sync_dir(self.folder())?;
                    None
                }
                Err(error) => Some(error.to_string()),
            },
            Change::Table(change) => self.change_table(change)?,
        };
        let state = self.state(ends)?;
        let why = match state {
            TargetState::Applied => None,
            TargetState::NotApplied => Some(failed.unwrap_or_else(|| "it could not be changed".to_owned())),
            TargetState::Foreign => {
                let why = failed.map(|why| format!(": {why}")).unwrap_or_default();
                Some(format!("it changed meanwhile, and was left as it is{why}"))
            }
        };
        Ok((state, why))
    }

    /// Changes a table; says why, if it was not changed. Where the disk failed it cannot be told: a journal that
    /// was removed may be there again when the power comes back.
    fn change_table(&self, change: &TableChange) -> Result<Option<String>, DiskError> {
        let Some(carrier) = &self.table else { return Ok(Some("the pack names no table".to_owned())) };
        let mut unnamed = None;
        let changed = Writer::open(&self.path, carrier).and_then(|mut writer| {
            writer.change(change, || {
                unnamed = self.name_journal().err();
                unnamed.is_none()
            })
        });
        match unnamed {
            // Nothing was written yet.
            Some(Unnamed::NotMade(error)) => return Ok(Some(error.to_string())),
            Some(Unnamed::NotFlushed(error)) => return Err(error),
            None => {}
        }
        match changed {
            Err(error) if error.is_io() => {
                let source = std::io::Error::other(error.to_string());
                Err(DiskError::Io { op: "change", path: self.path.clone(), source })
            }
            changed => Ok(changed.err().map(|error| error.to_string())),
        }
    }

    /// Makes the name of a database's rollback journal durable before it is needed. Only under the database's
    /// own lock.
    fn name_journal(&self) -> Result<(), Unnamed> {
        let stat = self.disk.stat(&self.name).map_err(Unnamed::NotMade)?;
        let mode = stat.map_or(0o600, |stat| stat.mode & 0o777);
        self.disk.name_durably(&format!("{}-journal", self.name), mode)
    }

    /// What an interrupted change came to. A file that has its new bytes gets them once more: a flush that failed
    /// before may have lost what still looks written, and no later one would tell.
    pub fn settle(&self, ends: &Ends<'_>) -> Result<TargetState, StoreError> {
        let state = self.state(ends)?;
        if let (TargetState::Applied, Some((_, after)), Some(bytes)) = (state, ends.file, self.read()) {
            self.replace(&after, &bytes)?;
            self.disk.sync_dir(self.folder())?;
            return self.state(ends);
        }
        Ok(state)
    }

    /// Compares the target with what it was and what it is to be. A leftover of an interrupted change
    /// is taken away, and a change that is there is made durable.
    pub fn state(&self, ends: &Ends<'_>) -> Result<TargetState, StoreError> {
        match (ends.file, &self.table) {
            (Some((before, after)), _) => Ok(self.file_state(&before, &after)?),
            (None, Some(carrier)) => {
                let state = table_state(&self.path, carrier, ends.plan).unwrap_or(TargetState::Foreign);
                // A process that was stopped may have removed its journal and not made that durable.
                self.disk.sync_dir(self.folder())?;
                Ok(state)
            }
            (None, None) => Ok(TargetState::Foreign),
        }
    }

    /// The name under which the new bytes are written: nobody else's, and the same each time.
    fn staged(&self, after: &Sha256) -> String {
        let (folder, file) = match self.name.rsplit_once('/') {
            Some((folder, file)) => (format!("{folder}/"), file),
            None => (String::new(), self.name.as_str()),
        };
        let own = Sha256::of(format!("{file}\n{after}").as_bytes());
        format!("{folder}.tmp-strongroom-{}", &own.hex()[..24])
    }

    fn folder(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn digest(&self, name: &str) -> Option<Sha256> {
        self.disk.read(name, u64::MAX).ok().map(|bytes| Sha256::of(&bytes))
    }

    /// Puts new bytes in the place of a file's, and only if they are those expected: the two names are
    /// exchanged in one step, so that what lay there is looked at before it goes. The bytes are flushed, the
    /// folder is for the caller to flush.
    fn replace(&self, before: &Sha256, after: &[u8]) -> Result<(), DiskError> {
        let Some(stat) = self.disk.stat(&self.name)?.filter(|stat| stat.kind == FileKind::File) else {
            return Ok(());
        };
        if self.digest(&self.name) != Some(*before) {
            return Ok(());
        }
        let staged = self.staged(&Sha256::of(after));
        self.disk.discard(&staged)?;
        let mut file = self.disk.create(&staged, stat.mode)?;
        let written =
            file.write_all(after).and_then(|()| file.give_to(stat.uid, stat.gid)).and_then(|()| file.sync());
        drop(file);
        if let Err(error) = written {
            let _ = self.disk.unlink(&staged);
            return Err(error);
        }
        if self.disk.exchange(&staged, &self.name)? {
            if self.digest(&staged) != Some(*before) {
                // Somebody wrote between the look and the exchange: that is what belongs there.
                self.disk.exchange(&staged, &self.name)?;
            }
            self.disk.unlink(&staged)?;
        } else if self.digest(&self.name) == Some(*before) {
            self.disk.replace(&staged, &self.name)?;
        } else {
            self.disk.unlink(&staged)?;
        }
        Ok(())
    }

    fn file_state(&self, before: &Sha256, after: &Sha256) -> Result<TargetState, DiskError> {
        let staged = self.staged(after);
        let mut found = self.digest(&self.name);
        if found == Some(*after)
            && let Some(displaced) = self.digest(&staged)
            && displaced != *before
        {
            // The exchange was made and what it displaced never looked at: it was somebody's edit.
            self.disk.exchange(&staged, &self.name)?;
            found = self.digest(&self.name);
        }
        // Either the new bytes that never went in, or the old ones, which the store keeps.
        self.disk.discard(&staged)?;
        self.disk.sync_dir(self.folder())?;
        Ok(match found {
            Some(found) if found == *after => TargetState::Applied,
            Some(found) if found == *before => TargetState::NotApplied,
            _ => TargetState::Foreign,
        })
    }
}

fn table_state(path: &Path, carrier: &SqliteCarrier, plan: &PlanRecord) -> Option<TargetState> {
    let writer = Writer::open(path, carrier).ok()?;
    let rows: Vec<(Cell, Sha256, Sha256)> = plan
        .documents
        .iter()
        .map(|document| Some((key_of(document.row.as_deref()?)?, document.before, document.after)))
        .collect::<Option<_>>()?;
    Some(match writer.state(&rows).ok()? {
        State::Before => TargetState::NotApplied,
        State::After => TargetState::Applied,
        State::Foreign => TargetState::Foreign,
    })
}

/// A row's key from its JSON text.
pub fn key_of(text: &str) -> Option<Cell> {
    Cell::of_json(&json::scan(text.as_bytes()).ok()?.root())
}
