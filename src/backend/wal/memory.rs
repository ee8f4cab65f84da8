//! A journal that lives in memory, for tests of what stands on the port.

use super::{Base, Frame, Journal, WalError, frame::encode_frame};
use crate::base::limits;

/// The memory driver.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    head: Base,
    frames: Vec<Frame>,
}

impl MemoryJournal {
    /// An empty journal whose next frame follows on `base`.
    pub fn new(base: Base) -> Self {
        Self { head: base, frames: Vec::new() }
    }
}

impl Journal for MemoryJournal {
    fn head(&self) -> Base {
        self.head
    }

    fn pending(&self) -> Result<Vec<Frame>, WalError> {
        Ok(self.frames.clone())
    }

    fn commit(&mut self, expected: &Base, body: &[u8]) -> Result<Frame, WalError> {
        if *expected != self.head {
            return Err(WalError::Conflict { expected: *expected, found: self.head });
        }
        if body.len() > limits::FRAME_BYTES {
            return Err(WalError::TooLarge { len: body.len() });
        }
        let hash = encode_frame(&mut Vec::new(), &self.head, body);
        let frame = Frame { seq: self.head.seq + 1, hash, body: body.to_vec() };
        self.head = frame.base();
        self.frames.push(frame.clone());
        Ok(frame)
    }

    fn retire(&mut self) -> Result<Base, WalError> {
        self.frames.clear();
        Ok(self.head)
    }
}
