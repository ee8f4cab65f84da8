//! Blobs in memory, for tests of what stands on the port.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::{BlobError, Blobs};
use crate::base::digest::{Blake3, BlobId};

/// The memory driver.
#[derive(Debug, Default)]
pub struct MemoryBlobs(Mutex<HashMap<Blake3, (BlobId, Vec<u8>)>>);

impl MemoryBlobs {
    /// No blobs.
    pub fn new() -> Self {
        Self::default()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<Blake3, (BlobId, Vec<u8>)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Blobs for MemoryBlobs {
    fn put(&self, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let id = BlobId::of(bytes);
        self.map().insert(id.blake3, (id, bytes.to_vec()));
        Ok(id)
    }

    fn get(&self, id: &BlobId) -> Result<Option<Vec<u8>>, BlobError> {
        let map = self.map();
        Ok(map.get(&id.blake3).filter(|(found, _)| found == id).map(|(_, bytes)| bytes.clone()))
    }

    fn contains(&self, id: &BlobId) -> Result<bool, BlobError> {
        Ok(self.map().get(&id.blake3).is_some_and(|(found, _)| found == id))
    }

    fn list(&self, visit: &mut dyn FnMut(Blake3, u64)) -> Result<(), BlobError> {
        self.map().values().for_each(|(id, _)| visit(id.blake3, id.bytes));
        Ok(())
    }

    fn delete(&self, id: &BlobId) -> Result<bool, BlobError> {
        Ok(self.map().remove(&id.blake3).is_some())
    }
}
