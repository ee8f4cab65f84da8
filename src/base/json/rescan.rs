//! Scanning a text that edits made of a scanned one: what lies between the edits is taken over.
//!
//! The grammar is walked anew over the whole text, so what is accepted and what is refused are the
//! same as by [`scan`](super::scan()), which a property test holds. Only where a value begins at a
//! byte at which a value of the same bytes began before, and as deep as before, its nodes are
//! copied instead of its bytes being read.

use super::doc::{Doc, Scanned, Slot, Tag};
use super::edit::{Edited, Splice};
use super::error::JsonError;
use super::scan::{Known, as_text, scan_text};

/// Nodes that stand in the new document as they stood in the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The number of the topmost in the old document.
    pub before: u32,
    /// The number of the topmost in the new document.
    pub after: u32,
    /// How many nodes the subtree has.
    pub len: u32,
}

impl Scanned {
    /// Scans what edits made of a document; answers too which nodes were taken over.
    pub fn edited(before: &Doc<'_>, edited: Edited) -> Result<(Self, Vec<Kept>), JsonError> {
        let mut earlier =
            Earlier { slots: &before.slots, splices: &edited.splices, splice: 0, slot: 0, kept: Vec::new() };
        let text = as_text(edited.bytes)?;
        let slots = scan_text(&text, &mut earlier)?.slots;
        let kept = earlier.kept;
        Ok((Self { text, slots }, kept))
    }
}

/// The nodes of the old document, gone through as the new text is.
struct Earlier<'o> {
    slots: &'o [Slot],
    splices: &'o [Splice],
    /// The first splice that does not end before the place looked at last.
    splice: usize,
    /// The first node that does not begin before that place.
    slot: usize,
    kept: Vec<Kept>,
}

impl Earlier<'_> {
    /// Where the byte was in the old text, and where the stretch that was kept around it ends there.
    fn old_place(&mut self, at: usize) -> Option<(usize, usize)> {
        while self.splices.get(self.splice).is_some_and(|splice| at >= splice.after.end) {
            self.splice += 1;
        }
        let (from, to) = match self.splice.checked_sub(1) {
            Some(last) => (self.splices[last].before.end, self.splices[last].after.end),
            None => (0, 0),
        };
        let end = match self.splices.get(self.splice) {
            Some(next) if at >= next.after.start => return None,
            Some(next) => next.before.start,
            None => usize::MAX,
        };
        Some((at - to + from, end))
    }

    fn depth(&self, mut slot: usize) -> usize {
        let mut depth = 0;
        while slot != 0 {
            slot = self.slots[slot].parent as usize;
            depth += 1;
        }
        depth
    }
}

impl Known for Earlier<'_> {
    fn copy(&mut self, bytes: &[u8], at: usize, depth: usize, out: &mut Vec<Slot>) -> Option<usize> {
        let (old, stretch_end) = self.old_place(at)?;
        while let Some(slot) = self.slots.get(self.slot).filter(|slot| (slot.start as usize) < old) {
            self.slot = if slot.end as usize <= old { slot.next as usize } else { self.slot + 1 };
        }
        let found = self.slots.get(self.slot)?;
        let end = found.end as usize;
        if found.start as usize != old || end > stretch_end {
            return None;
        }
        let new_end = end - old + at;
        let goes_on = |next: &u8| matches!(next, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        match found.tag {
            // What was put behind a number can be more of it.
            Tag::Number if bytes.get(new_end).is_some_and(goes_on) => return None,
            // A container is as deep as the limit allows where it stood.
            Tag::Array | Tag::Object if self.depth(self.slot) != depth => return None,
            _ => {}
        }
        let (first, next, base) = (self.slot, found.next as usize, out.len());
        let moved = (at as u32).wrapping_sub(old as u32);
        let renumbered = (base as u32).wrapping_sub(first as u32);
        out.extend(self.slots[first..next].iter().map(|slot| {
            // An element's start of a name is its number within the array.
            let named = if slot.key_end == 0 { 0 } else { moved };
            Slot {
                start: slot.start.wrapping_add(moved),
                end: slot.end.wrapping_add(moved),
                next: slot.next.wrapping_add(renumbered),
                parent: slot.parent.wrapping_add(renumbered),
                key_start: slot.key_start.wrapping_add(named),
                key_end: slot.key_end.wrapping_add(named),
                ..*slot
            }
        }));
        self.kept.push(Kept { before: first as u32, after: base as u32, len: (next - first) as u32 });
        self.slot = next;
        Some(new_end)
    }
}
