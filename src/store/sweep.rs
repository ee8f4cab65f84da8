//! Removing what interrupted commands left in `tmp/`.

use super::Store;
use crate::backend::FileLock;
use crate::format::paths;

impl Store {
    /// Names of the staging folders in `tmp/`, with or without a live owner.
    pub(super) fn staging_folders(&self) -> Vec<String> {
        let Ok(entries) = self.disk.list(paths::TMP) else { return Vec::new() };
        entries
            .iter()
            .filter_map(|entry| entry.name.to_str())
            .filter_map(|name| name.strip_suffix(".lock"))
            .filter(|name| is_batch_name(name))
            .map(str::to_owned)
            .collect()
    }

    /// Removes the staging folders of batches whose process is gone. Only the holder of the store
    /// lock calls this, after recovery, so no frame names them any more. Folder first, lock file
    /// last; what cannot be removed stays for the next time.
    pub(super) fn sweep(&self) {
        for name in self.staging_folders() {
            let (dir, lock) = (format!("{}/{name}", paths::TMP), format!("{}/{name}.lock", paths::TMP));
            let Ok(Some(held)) = FileLock::try_acquire(&self.disk, &lock, &self.context.holder) else {
                continue;
            };
            if held.still_named().unwrap_or(false) && self.disk.remove_tree(&dir).is_ok() {
                let _ = self.disk.unlink(&lock);
            }
        }
        let _ = self.disk.remove_tree("tmp/redo");
    }
}

/// Whether a name in `tmp/` is that of a batch: an operation id, a dash, a number.
pub(super) fn is_batch_name(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(operation, batch)| {
        operation.parse::<crate::base::id::OperationId>().is_ok() && batch.parse::<u64>().is_ok()
    })
}
