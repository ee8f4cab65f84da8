//! Showing a manifest, as it is or as a version would have it. Writes nothing.

use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::schema::{Outcome, Pack};

impl Store {
    /// The committed manifest, migrated on reading to a version. No history record is added,
    /// because nothing is rewritten.
    pub fn show_as(&self, key: &RunKey, version: &str) -> Result<Vec<u8>, StoreError> {
        let pack = Pack::builtin("sigilzero").expect("the pack is built in");
        if !pack.versions().any(|known| known == version) {
            let known: Vec<&str> = pack.versions().collect();
            let why = format!("pack {} has no version {version:?}; it has {}", pack.name(), known.join(", "));
            return Err(StoreError::NoVersion(why));
        }
        let bytes = self.manifest_bytes(key)?;
        let facts = self.migration_facts(key, pack)?;
        match pack.migrate(&bytes, Some(version), &facts, None) {
            Outcome::Current { .. } => Ok(bytes),
            Outcome::Rewrite(rewrite) => Ok(rewrite.bytes),
            Outcome::Refused(why) => Err(StoreError::NoVersion(format!("{key}: {why}"))),
        }
    }

    /// A revision of a run, by its digest.
    pub fn show_revision(&self, digest: &Sha256) -> Result<Vec<u8>, StoreError> {
        self.revision(digest)
    }
}
