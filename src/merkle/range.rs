//! A tree from which only the right edge is kept: enough to append and to know the root.
//!
//! Invariant: one hash for each binary one in the size, of the complete subtree that it stands for,
//! the largest first.

use super::hash::{Hash, node_hash};
use super::tree::{Node, fold};

/// Why a size and hashes are not the state of a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// There must be one hash for each binary one in the size.
    #[error("a tree of {size} entries is summed up in {expected} hashes, not {found}")]
    Count {
        /// The size.
        size: u64,
        /// How many hashes belong to it.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// The size is over [`MAX_SIZE`](super::MAX_SIZE).
    #[error("a tree of {0} entries is larger than any log may be")]
    TooLarge(u64),
}

/// The right edge of a tree: its size and the hashes of the complete subtrees it splits into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// The tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a state that was written down, [`hashes`](Self::hashes) and size. That the hashes
    /// are the right ones only the root can show.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, RangeError> {
        if size > super::MAX_SIZE {
            return Err(RangeError::TooLarge(size));
        }
        let expected = size.count_ones() as usize;
        if hashes.len() != expected {
            return Err(RangeError::Count { size, expected, found: hashes.len() });
        }
        Ok(Self { size, hashes })
    }

    /// The number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// One hash per complete subtree, the largest first: those of
    /// [`root_nodes`](super::root_nodes) of the size.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }

    /// Appends a leaf.
    pub fn append(&mut self, leaf: Hash) {
        self.append_with(leaf, |_, _| {});
    }

    /// Appends a leaf and shows every node that it completes, itself first, the largest last.
    pub fn append_with(&mut self, leaf: Hash, mut completed: impl FnMut(Node, Hash)) {
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        completed(node, hash);
        // As in adding one to a binary number: each one at the end carries. The edge holds a hash
        // for each of them, so `pop` ends no loop that the index would not end.
        while node.index & 1 == 1
            && let Some(left) = self.hashes.pop()
        {
            hash = node_hash(&left, &hash);
            node = Node { level: node.level + 1, index: node.index >> 1 };
            completed(node, hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }
}

impl Extend<Hash> for CompactRange {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.append(leaf));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{leaf_hash, root_nodes, root_of};

    #[test]
    fn compact_range_equals_the_definition_up_to_300() {
        let leaves: Vec<Hash> = (0..300u16).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let mut range = CompactRange::new();
        for size in 0..=leaves.len() {
            assert_eq!(range.root(), root_of(&leaves[..size]), "size {size}");
            assert_eq!(range.hashes().len(), root_nodes(size as u64).len());
            assert_eq!(CompactRange::from_parts(range.size(), range.hashes().to_vec()), Ok(range.clone()));
            if let Some(leaf) = leaves.get(size) {
                range.append_with(*leaf, |node, hash| {
                    let end = node.size_needed().unwrap() as usize;
                    assert_eq!(end, size + 1);
                    assert_eq!(hash, root_of(&leaves[end - (1 << node.level)..end]));
                });
            }
        }
    }

    #[test]
    fn compact_range_extended_is_the_one_appended_to() {
        let leaves: Vec<Hash> = (0..13u8).map(|i| leaf_hash(&[i])).collect();
        let (mut extended, mut appended) = (CompactRange::new(), CompactRange::new());
        extended.extend(leaves.iter().copied());
        leaves.iter().for_each(|leaf| appended.append(*leaf));
        assert_eq!((&extended, extended.size()), (&appended, 13));
    }

    #[test]
    fn compact_range_with_other_than_its_hashes_is_refused() {
        let hash = leaf_hash(b"");
        let error = CompactRange::from_parts(5, vec![hash; 3]);
        assert_eq!(error, Err(RangeError::Count { size: 5, expected: 2, found: 3 }));
        assert_eq!(CompactRange::from_parts(u64::MAX, vec![hash; 64]), Err(RangeError::TooLarge(u64::MAX)));
    }

    #[test]
    fn compact_range_at_the_largest_size_appends_without_a_panic() {
        let mut range = CompactRange::from_parts(crate::merkle::MAX_SIZE, vec![leaf_hash(b""); 63]).unwrap();
        range.append(leaf_hash(b"x"));
        assert_eq!((range.size(), range.hashes().len()), (1 << 63, 1));
    }
}
