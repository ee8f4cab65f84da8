//! In whose name a batch is written: the actor, the reason, the operation's id.

use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::digest::Sha256;
use crate::base::id::OperationId;
use crate::format::actor::{Actor, Reason};
use crate::format::entry::{Entry, EntryKind};

use crate::store::stage::Stage;
use crate::store::{Context, Store, StoreError};

/// What all entries of one batch of an operation have in common.
#[derive(Clone)]
pub(in crate::store) struct Author {
    id: OperationId,
    batch: u64,
    actor: Kept,
    reason: Option<Kept>,
}

/// A blob and its digest.
#[derive(Clone)]
struct Kept {
    bytes: Arc<[u8]>,
    digest: Sha256,
}

impl Kept {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Sha256::of(&bytes), bytes: bytes.into() }
    }
}

impl Author {
    /// The declared actor of a new operation, before its first batch.
    pub fn new(context: &Context) -> Self {
        let clock = &context.clock;
        let random = clock.random();
        let mut tail = [0u8; 10];
        tail.copy_from_slice(&random[..10]);
        let millis = u64::try_from(clock.now().millis()).unwrap_or(0);
        let actor = Actor::declared(&context.actor, clock.random());
        let reason = context.reason.as_deref().map(|text| Reason::new(text, clock.random()));
        Self {
            id: OperationId::new(millis, tail),
            batch: 0,
            actor: Kept::new(actor.to_bytes()),
            reason: reason.map(|reason| Kept::new(reason.to_bytes())),
        }
    }

    /// The operation.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// The batch of the operation that its entries are of.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// Its entries are of the next batch from now on.
    pub fn next_batch(&mut self) {
        self.goes_on(self.batch + 1);
    }

    /// Its entries are of that batch from now on.
    pub fn goes_on(&mut self, batch: u64) {
        self.batch = batch;
    }

    /// Begins the next batch; the blobs that its entries name are in it.
    pub fn stage(&mut self, store: &Store) -> Result<Stage, StoreError> {
        self.next_batch();
        let mut stage = Stage::begin(store, &self.id, self.batch)?;
        for blob in self.blobs() {
            stage.keep(blob)?;
        }
        Ok(stage)
    }

    /// An entry with nothing but its head.
    pub fn entry(&self, kind: EntryKind, clock: &dyn Clock) -> Entry {
        let mut entry = Entry::new(kind, clock.now(), self.actor.digest, self.id, self.batch);
        entry.reason = self.reason.as_ref().map(|reason| reason.digest);
        entry
    }

    /// The blobs that its entries name.
    pub fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        [Some(&self.actor), self.reason.as_ref()].into_iter().flatten().map(|kept| &*kept.bytes)
    }

    #[cfg(test)]
    pub fn sample() -> Self {
        let actor = Kept::new(Actor::declared("a@b", [1; 16]).to_bytes());
        Self { id: OperationId::new(1, [2; 10]), batch: 1, actor, reason: None }
    }

    #[cfg(test)]
    pub fn sample_entry(&self, kind: EntryKind) -> Entry {
        let time = crate::base::clock::Moment::from_millis(0);
        Entry::new(kind, time, self.actor.digest, self.id, self.batch)
    }
}

/// Begins the batches of an operation on a thread of its own, while the operation commits them.
pub(in crate::store) struct Stager {
    store: Store,
    author: Author,
}

impl Stager {
    /// Goes on after the last batch of that author.
    pub fn new(store: &Store, author: &Author) -> Self {
        Self { store: store.clone(), author: author.clone() }
    }

    /// Begins the next batch.
    pub fn stage(&mut self) -> Result<Stage, StoreError> {
        self.author.stage(&self.store)
    }
}
