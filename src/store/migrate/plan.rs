//! What is to become of each manifest: read and decided by the pack, on all cores.

use std::collections::HashMap;

use rayon::prelude::*;

use super::write::Ready;
use super::{Verdict, is_at};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::json;
use crate::base::limits;
use crate::format::manifest::{Manifest, ManifestError};
use crate::format::paths;
use crate::index::Index;
use crate::schema::{Facts, FileFact, Outcome, Pack, Rewrite, Stamp};
use crate::store::adopt::read_facts;
use crate::store::carry::deprecated;
use crate::store::{Store, StoreError};

/// By what manifests are planned.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a> {
    pub store: &'a Store,
    pub pack: &'a Pack,
    pub target: &'a str,
    /// Whether nothing is to be written.
    pub dry_run: bool,
}

/// A manifest's plan, with its bytes.
enum Plan {
    Rewrite(Box<Rewrite>, Vec<u8>),
    Current(Vec<u8>),
    Leave(Verdict),
}

impl Planner<'_> {
    /// Plans these manifests side by side.
    pub fn piece(&self, index: &Index, keys: Vec<RunKey>) -> Result<Vec<Ready>, StoreError> {
        let stamp = Stamp { applied_at: self.store.context.clock.now() };
        let mut files = index.file_lists(&keys)?;
        // What came in since the index was opened is in one that is opened now.
        let missing: Vec<RunKey> = keys.iter().filter(|key| !files.contains_key(key)).cloned().collect();
        if !missing.is_empty() {
            files.extend(self.store.index()?.file_lists(&missing)?);
        }
        Ok(keys.into_par_iter().map(|key| self.ready(key, &files, &stamp)).collect())
    }

    fn ready(&self, key: RunKey, files: &HashMap<RunKey, Sha256>, stamp: &Stamp) -> Ready {
        match self.plan(&key, files, stamp) {
            Plan::Leave(verdict) => Ready::left(key, verdict, Vec::new()),
            Plan::Current(bytes) => Ready::left(key, Verdict::Current, deprecated(self.pack, &bytes)),
            Plan::Rewrite(rewrite, before) => {
                let warnings = deprecated(self.pack, &rewrite.bytes);
                if self.dry_run {
                    Ready::told(key, *rewrite, before, warnings)
                } else {
                    Ready::to_write(self.store, key, *rewrite, before, warnings)
                }
            }
        }
    }

    fn plan(&self, key: &RunKey, files: &HashMap<RunKey, Sha256>, stamp: &Stamp) -> Plan {
        let Self { store, pack, target, .. } = *self;
        let bytes = match store.disk.read(&paths::manifest(key), limits::JSON_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(error) => return Plan::Leave(Verdict::Unreadable(error.to_string())),
        };
        // It is scanned, and its shape told, once for all that follows.
        let doc = match json::scan(&bytes).map_err(ManifestError::from) {
            Ok(doc) => doc,
            Err(error) => return Plan::Leave(Verdict::Unreadable(error.to_string())),
        };
        if let Err(error) = Manifest::check(&doc) {
            return Plan::Leave(Verdict::Unreadable(error.to_string()));
        }
        let told = pack.tell(&doc);
        let facts = match files.get(key) {
            None => {
                let why = "the log does not have it; adopt takes runs in".to_owned();
                return Plan::Leave(Verdict::Refused(why));
            }
            // The facts are read only for a document that is on its way somewhere.
            Some(_) if is_at(told.detection(), target) => Facts::default(),
            Some(files) => match store.migration_facts(key, files, pack) {
                Ok(facts) => facts,
                Err(error) => return Plan::Leave(Verdict::Refused(error.to_string())),
            },
        };
        match pack.migrate_told(told, Some(target), &facts, Some(stamp)) {
            Outcome::Current { .. } => Plan::Current(bytes),
            Outcome::Refused(why) => Plan::Leave(Verdict::Refused(why.to_string())),
            Outcome::Rewrite(rewrite) => Plan::Rewrite(Box::new(rewrite), bytes),
        }
    }
}

impl Store {
    /// The side facts of a run: its files as the log has them, so that a file edited in place does
    /// not find its way into a manifest.
    pub(in crate::store) fn migration_facts(
        &self,
        key: &RunKey,
        files: &Sha256,
        pack: &Pack,
    ) -> Result<Facts, StoreError> {
        let files: Vec<FileFact> = self
            .file_list(files)?
            .iter()
            .filter_map(|file| {
                let blob = file.blob()?;
                Some(FileFact { path: file.path.to_string(), sha256: blob.sha256, bytes: blob.bytes })
            })
            .collect();
        // What the run does not have by the log is not looked for.
        let listed = |path: &str| files.iter().any(|file| file.path == path);
        let facts = read_facts(&self.disk, &paths::run_dir(key), pack, &files, listed);
        for (path, bytes) in &facts.contents {
            let logged = files.iter().find(|file| file.path == *path).map(|file| file.sha256);
            if logged != Some(Sha256::of(bytes)) {
                let why = format!("{path} is not what was recorded; strongroom restore {key} {path}");
                return Err(StoreError::BadRun { run: key.to_string(), why });
            }
        }
        Ok(facts)
    }
}
