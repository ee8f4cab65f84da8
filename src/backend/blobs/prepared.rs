//! Bytes made ready for a writer on other threads: hashed, and packed as their record will have them.

use std::cell::RefCell;

use crate::backend::segment::Encoder;
use crate::base::digest::BlobId;

/// Bytes and their digests, computed from them, with what a record needs of them as far as it was made.
pub struct Prepared {
    pub(super) id: BlobId,
    pub(super) bytes: Vec<u8>,
    pub(super) packed: Option<Packed>,
}

/// What a record holds of some bytes: them packed, or them as they are.
pub(super) struct Packed(pub Option<Vec<u8>>);

thread_local! {
    /// Making one costs more than packing a small file with it.
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

impl Prepared {
    /// Hashes bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { id: BlobId::of(&bytes), bytes, packed: None }
    }

    /// Packs them, which the writer otherwise does when it comes to them.
    pub fn pack(&mut self) {
        self.packed = Some(Packed(ENCODER.with_borrow_mut(|encoder| encoder.pack(&self.bytes))));
    }

    /// Their digests.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, without what was made of them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
