//! Reading the log: the settled part from its bundles, the rest from the journal.
//!
//! Readers need no lock. They take the head, then the journal; a batch that is settled in between
//! shows up as a journal that has lost frames the head does not have yet, so both are read again
//! until they fit together.

use super::{Store, StoreError};
use crate::backend::{Base, Pending};
use crate::base::digest::Sha256;
use crate::base::limits;
use crate::format::batch::Batch;
use crate::format::entry::Entry;
use crate::format::head::Head;
use crate::format::paths;
use crate::plan::replay;

/// The log at one moment.
#[derive(Debug, Clone)]
pub struct LogView {
    /// The settled part.
    pub head: Head,
    /// Batches committed and not yet settled, in order.
    pub pending: Vec<Batch>,
    /// Bytes of an unfinished frame at the journal's end, which was never committed.
    pub torn: Option<String>,
}

impl LogView {
    /// The number of entries.
    pub fn size(&self) -> u64 {
        self.pending.last().map_or(self.head.size, Batch::end)
    }
}

/// Takes in one entry: its index and its bytes.
pub(super) type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<(), StoreError> + 'a;

/// Where the journal begins to count, as the head has it.
pub(super) fn base_of(head: &Head) -> Base {
    Base { seq: head.frame_seq, hash: *head.frame_hash.as_bytes() }
}

/// The batches of pending frames; each must begin where the one before ends.
pub(super) fn batches_of(head: &Head, bodies: &[&[u8]]) -> Result<Vec<Batch>, StoreError> {
    let mut size = head.size;
    let mut batches = Vec::with_capacity(bodies.len());
    for body in bodies {
        let batch = Batch::parse(body).map_err(StoreError::record(paths::WAL))?;
        if batch.first != size {
            let why = format!("a batch begins at entry {}, {size} follows", batch.first);
            return Err(StoreError::LogDamaged { place: paths::WAL.to_owned(), why });
        }
        size = batch.end();
        batches.push(batch);
    }
    Ok(batches)
}

impl Store {
    /// Reads `audit/head`. Every store has one from its making: without it the log's length is not
    /// known, and a writer would begin it anew over what is there.
    pub(super) fn head(&self) -> Result<Head, StoreError> {
        let damaged = |why: String| StoreError::LogDamaged { place: paths::HEAD.to_owned(), why };
        match self.disk.read_opt(paths::HEAD, 1 << 20) {
            Ok(Some(bytes)) => Head::parse(&bytes).map_err(StoreError::record(paths::HEAD)),
            Ok(None) => Err(damaged("it is missing; put audit/ back from a backup".to_owned())),
            Err(error) if error.is_not_regular() || error.is_not_folder() || error.is_too_large() => {
                Err(damaged(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a view of the log.
    pub fn log(&self) -> Result<LogView, StoreError> {
        let mut tries = 0;
        loop {
            let head = self.head()?;
            let pending = crate::backend::read_pending(&self.disk, &self.config.store_id, &base_of(&head));
            // A head that moved while the journal was being read explains any misfit; a generation that
            // is being replaced explains one that goes away by itself.
            let moved = self.head()? != head;
            tries += 1;
            if (moved && tries < 1000) || (pending.is_err() && tries < 5) {
                continue;
            }
            let Pending { frames, torn } = pending?;
            let bodies: Vec<&[u8]> = frames.iter().map(|frame| frame.body.as_slice()).collect();
            let pending = batches_of(&head, &bodies)?;
            let torn =
                torn.map(|torn| format!("{}: {} bytes from byte {}", torn.file, torn.bytes, torn.offset));
            return Ok(LogView { head, pending, torn });
        }
    }

    /// Hands over the entries from `from` on, in order, as they were written.
    pub fn each_entry(&self, view: &LogView, from: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.entries_between(view, from, view.size(), visit)
    }

    /// Hands over the entries from `from` to before `end`, in order, as they were written.
    pub(super) fn entries_between(
        &self,
        view: &LogView,
        from: u64,
        end: u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let mut index = from;
        while index < view.head.size.min(end) {
            let bundle = self.bundle(index / limits::TILE_WIDTH, view.head.size)?;
            let skip = index % limits::TILE_WIDTH;
            for entry in bundle.iter().skip(skip as usize).take((end - index) as usize) {
                visit(index, entry)?;
                index += 1;
            }
        }
        for batch in &view.pending {
            for entry in batch.entries.iter().skip(index.saturating_sub(batch.first) as usize) {
                if index >= end {
                    return Ok(());
                }
                visit(index, entry)?;
                index += 1;
            }
        }
        Ok(())
    }

    /// One entry's bytes.
    pub fn entry_bytes(&self, view: &LogView, index: u64) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::LogDamaged {
            place: format!("entry {index}"),
            why: format!("the log has {} entries", view.size()),
        };
        if index < view.head.size {
            let bundle = self.bundle(index / limits::TILE_WIDTH, view.head.size)?;
            let at = (index % limits::TILE_WIDTH) as usize;
            return bundle.into_iter().nth(at).ok_or_else(missing);
        }
        let batch = view.pending.iter().find(|batch| (batch.first..batch.end()).contains(&index));
        batch.map(|batch| batch.entries[(index - batch.first) as usize].clone()).ok_or_else(missing)
    }

    /// An entry that was read before, with the leaf hash that it had.
    pub(super) fn entry_again(&self, view: &LogView, index: u64, leaf: &Sha256) -> Result<Entry, StoreError> {
        same_entry(&self.entry_bytes(view, index)?, index, leaf)
    }

    /// One entry.
    pub fn entry(&self, view: &LogView, index: u64) -> Result<Entry, StoreError> {
        let bytes = self.entry_bytes(view, index)?;
        Entry::parse(&bytes).map_err(StoreError::record(format!("log entry {index}")))
    }
}

/// An entry that is read a second time.
pub(super) fn same_entry(bytes: &[u8], index: u64, leaf: &Sha256) -> Result<Entry, StoreError> {
    let place = format!("log entry {index}");
    if replay::leaf(bytes) != *leaf {
        let why = "it is another than a moment ago".to_owned();
        return Err(StoreError::LogDamaged { place, why });
    }
    Entry::parse(bytes).map_err(StoreError::record(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;
    use crate::base::id::OperationId;
    use crate::format::entry::EntryKind;

    #[test]
    fn entry_that_is_another_than_before_is_damage() {
        let entry = |batch| {
            let (now, operation) = (Moment::from_millis(0), OperationId::new(1, [2; 10]));
            let mut entry = Entry::new(EntryKind::Noted, now, Sha256::of(b"actor"), operation, batch);
            entry.detail = Some(Sha256::of(b"detail"));
            entry
        };
        let [one, other] = [entry(1), entry(2)].map(|entry| entry.to_bytes().unwrap());
        let same = |bytes: &[u8]| same_entry(bytes, 7, &replay::leaf(&one));
        assert_eq!(same(&one).unwrap(), entry(1));
        let error = same(&other).unwrap_err();
        assert_eq!(error.to_string().matches("log entry 7").count(), 1, "{error}");
        assert!(matches!(error, StoreError::LogDamaged { .. }));
    }
}
