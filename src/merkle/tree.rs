//! The shape of the tree: which complete subtrees a list of leaves splits into, and its root.

use std::convert::Infallible;

use super::hash::{EMPTY_ROOT, Hash, node_hash};

/// The definition: MTH of RFC 6962, section 2.1, from the hashes of all leaves.
pub fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two smaller than `n`, which is at least 2.
pub(super) fn split(n: u64) -> u64 {
    debug_assert!(n >= 2);
    1 << (n - 1).ilog2()
}

/// A complete subtree: the one over the `2^level` leaves from `index * 2^level` on. Its hash is
/// final as soon as its last leaf is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// The height; a leaf has 0.
    pub level: u8,
    /// How many nodes of this level stand to its left.
    pub index: u64,
}

impl Node {
    /// The number of entries a tree must have to hold this node; `None` if no tree can.
    pub fn size_needed(self) -> Option<u64> {
        let one = 1u64.checked_shl(u32::from(self.level))?;
        self.index.checked_add(1)?.checked_mul(one)
    }
}

/// Gives the hashes of nodes: the port through which proofs and roots read a log.
pub trait HashReader {
    /// What may go wrong underneath.
    type Error: std::error::Error + 'static;

    /// The hashes of exactly these nodes, in their order. Called once per computation, with every
    /// node that it needs, all of them in a tree of the size asked about.
    fn read(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error>;
}

/// Why the hashes of nodes were not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E: std::error::Error + 'static> {
    /// The reader failed.
    #[error("cannot read the tree's hashes")]
    Reader(#[source] E),
    /// The reader broke its contract.
    #[error("asked for {asked} tree hashes and got {got}")]
    Count {
        /// How many nodes were asked for.
        asked: usize,
        /// How many hashes came.
        got: usize,
    },
}

/// Reads hashes and holds the reader to one per node.
pub(super) fn read<R: HashReader + ?Sized>(
    reader: &R,
    nodes: &[Node],
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    let hashes = reader.read(nodes).map_err(ReadError::Reader)?;
    if hashes.len() != nodes.len() {
        return Err(ReadError::Count { asked: nodes.len(), got: hashes.len() });
    }
    Ok(hashes)
}

/// Hashes held in memory, all leaves of a tree, are a reader too; it serves tests and small trees.
impl HashReader for [Hash] {
    type Error = Infallible;

    fn read(&self, nodes: &[Node]) -> Result<Vec<Hash>, Infallible> {
        let leaves = |node: &Node| {
            let end = usize::try_from(node.size_needed()?).ok()?;
            self.get(end - (1 << node.level)..end)
        };
        // A node outside the tree has no hash, which the count then shows.
        Ok(nodes.iter().filter_map(leaves).map(root_of).collect())
    }
}

/// The leaves from `start` up to `end`, as the recursion of RFC 6962 cuts them: `start` is a
/// multiple of the largest power of two that fits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leaves {
    pub start: u64,
    pub end: u64,
}

impl Leaves {
    /// The complete subtrees that these leaves split into, from left to right, each smaller than
    /// the one before.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            let level = (self.end - at).checked_ilog2()?;
            let node = Node { level: level as u8, index: at >> level };
            at += 1 << level;
            Some(node)
        })
    }

    /// MTH of these leaves, from the hashes of [`nodes`](Self::nodes), which it takes off the front.
    pub fn root(self, hashes: &mut impl Iterator<Item = Hash>) -> Hash {
        let hashes: Vec<Hash> = hashes.take(self.nodes().count()).collect();
        fold(&hashes)
    }
}

/// The root over complete subtrees of falling size: the recursion always splits off the largest,
/// so the smallest are joined first.
pub(super) fn fold(hashes: &[Hash]) -> Hash {
    match hashes.split_last() {
        None => EMPTY_ROOT,
        Some((last, rest)) => rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)),
    }
}

/// The nodes from which the root of a tree of `size` entries is computed: at most 64.
pub fn root_nodes(size: u64) -> Vec<Node> {
    Leaves { start: 0, end: size }.nodes().collect()
}

/// The root of the tree of `size` entries.
pub fn tree_root<R: HashReader + ?Sized>(size: u64, reader: &R) -> Result<Hash, ReadError<R::Error>> {
    Ok(fold(&read(reader, &root_nodes(size))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn split_is_the_largest_power_of_two_below() {
        for (n, k) in [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8), (u64::MAX, 1 << 63)] {
            assert_eq!(split(n), k);
        }
    }

    #[test]
    fn node_beyond_every_tree_needs_no_size() {
        assert_eq!(Node { level: 3, index: 2 }.size_needed(), Some(24));
        assert_eq!(Node { level: 63, index: 0 }.size_needed(), Some(1 << 63));
        for (level, index) in [(64, 0), (255, 0), (63, 1), (0, u64::MAX), (1, u64::MAX / 2)] {
            assert_eq!(Node { level, index }.size_needed(), None);
        }
    }

    #[test]
    fn root_nodes_of_any_size_are_few() {
        assert_eq!(root_nodes(0), []);
        assert_eq!(root_nodes(6), [Node { level: 2, index: 0 }, Node { level: 1, index: 2 }]);
        assert_eq!(root_nodes(u64::MAX).len(), 64);
    }

    #[test]
    fn tree_root_equals_the_definition() {
        let leaves: Vec<Hash> = (0..70u8).map(|i| leaf_hash(&[i])).collect();
        for size in 0..=leaves.len() {
            assert_eq!(tree_root(size as u64, &leaves[..size]), Ok(root_of(&leaves[..size])));
        }
    }

    #[test]
    fn tree_root_with_missing_hashes_is_an_error() {
        let error = tree_root(3, &[leaf_hash(b""); 2][..]);
        assert_eq!(error, Err(ReadError::Count { asked: 2, got: 1 }));
    }
}
