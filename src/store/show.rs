//! Showing a manifest, as it is or as a version would have it. Writes nothing.

use super::migrate::target_of;
use super::{Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::schema::Outcome;

impl Store {
    /// The committed manifest, migrated on reading to a version. No history record is added,
    /// because nothing is rewritten.
    pub fn show_as(&self, key: &RunKey, version: &str) -> Result<Vec<u8>, StoreError> {
        let pack = self.manifest_pack()?;
        let version = target_of(&pack, version)?;
        let bytes = self.manifest_bytes(key)?;
        let row = self.index()?.run(key)?.ok_or_else(|| StoreError::NoRun { name: key.to_string() })?;
        let facts = self.migration_facts(key, &row.files, &pack)?;
        match pack.migrate(&bytes, Some(&version), &facts, None) {
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
