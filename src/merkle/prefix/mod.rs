//! The run map: a Merkle prefix tree over all runs, so that "this is the whole history of this run"
//! and "there is no such run" can be proved (`store-layout.md`, "The run map").
//!
//! The idea is that of CONIKS (Melara and others, USENIX Security 2015, section 3.1): a leaf's place in
//! the tree follows from its key alone. Here the tree is compact, as in a Patricia trie: an inner node
//! says at which bit of the key its two sides differ, and bits on which all keys below agree have no
//! node.
//!
//! ```text
//! key          = SHA-256(job_id "/" run_id)
//! leaf         = SHA-256(0x02 || key || leaf hash of the run's last entry || number of its entries)
//! node         = SHA-256(0x03 || bit || hash of the side with 0 || hash of the side with 1)
//! empty tree   = SHA-256()
//! ```
//!
//! The number is 8 bytes, big-endian; `bit` is one byte, 0 being the most significant bit of the key's
//! first byte. 0x02 and 0x03 tell these hashes from the leaves and nodes of RFC 6962.
//!
//! Why a path proves absence: to look a key up is to go from node to node by the key's own bits, and
//! each node's hash fixes its bit and both its sides. So under one root a key leads to exactly one
//! leaf, however the tree was made: it is the key's own, or the key is not there. Nobody can show both.

mod file;
mod path;
mod tree;
mod update;

pub use file::{LEAF_BYTES, NODE_BYTES, RECORD_BYTES};
pub use path::{MapPath, MapPathError};
pub use tree::RunTree;
pub use update::{NodeStore, build_map, lookup, update_map};

use super::hash::{EMPTY_ROOT, Hash};
use crate::base::sha256::sha256;

const LEAF: u8 = 0x02;
const NODE: u8 = 0x03;

/// A place in the tree: SHA-256 of the run's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapKey([u8; 32]);

impl MapKey {
    /// The key of a run, from `job_id/run_id`. Neither id can hold a slash, so no two runs share a text.
    pub fn of(name: &str) -> Self {
        Self(sha256(name.as_bytes()))
    }

    /// Wraps a raw value.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether that bit is 1.
    pub fn bit(&self, bit: u8) -> bool {
        self.0[usize::from(bit / 8)] >> (7 - bit % 8) & 1 == 1
    }

    /// The first bit at which two keys differ; `None` for equal ones.
    pub fn first_difference(&self, other: &Self) -> Option<u8> {
        let at = self.0.iter().zip(&other.0).position(|(a, b)| a != b)?;
        Some(at as u8 * 8 + (self.0[at] ^ other.0[at]).leading_zeros() as u8)
    }
}

/// What the tree says of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapLeaf {
    /// The run's key.
    pub key: MapKey,
    /// The leaf hash, in the log, of its last entry.
    pub last: Hash,
    /// How many entries it has.
    pub count: u64,
}

impl MapLeaf {
    fn preimage(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [LEAF; LEAF_BYTES];
        bytes[1..33].copy_from_slice(&self.key.0);
        bytes[33..65].copy_from_slice(self.last.as_bytes());
        bytes[65..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// Its hash.
    pub fn hash(&self) -> Hash {
        Hash::from_bytes(sha256(&self.preimage()))
    }
}

/// Where a node's record lies and what it must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The node's hash.
    pub hash: Hash,
    /// Where its record begins.
    pub at: u64,
}

/// A node of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapNode {
    /// One run.
    Leaf(MapLeaf),
    /// Runs whose keys differ first at `bit`.
    Inner {
        /// The bit.
        bit: u8,
        /// The runs whose key has a 0 there.
        zero: Link,
        /// The runs whose key has a 1 there.
        one: Link,
    },
}

/// The hash of an inner node.
pub fn map_node_hash(bit: u8, zero: &Hash, one: &Hash) -> Hash {
    let mut bytes = [NODE; 2 + 2 * Hash::LEN];
    bytes[1] = bit;
    bytes[2..34].copy_from_slice(zero.as_bytes());
    bytes[34..].copy_from_slice(one.as_bytes());
    Hash::from_bytes(sha256(&bytes))
}

impl MapNode {
    /// Its hash.
    pub fn hash(&self) -> Hash {
        match self {
            Self::Leaf(leaf) => leaf.hash(),
            Self::Inner { bit, zero, one } => map_node_hash(*bit, &zero.hash, &one.hash),
        }
    }
}

/// The root of the tree: the hash of its top node, or of no bytes where there is none.
pub fn map_root(top: Option<&Link>) -> Hash {
    top.map_or(EMPTY_ROOT, |link| link.hash)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    /// Nodes in memory, by number.
    #[derive(Default)]
    pub(crate) struct Nodes(pub Vec<MapNode>);

    impl NodeStore for Nodes {
        type Error = Infallible;
        fn read(&mut self, link: &Link) -> Result<MapNode, Infallible> {
            assert_eq!(self.0[link.at as usize].hash(), link.hash);
            Ok(self.0[link.at as usize])
        }
        fn put(&mut self, node: &MapNode) -> u64 {
            self.0.push(*node);
            self.0.len() as u64 - 1
        }
        fn misplaced(&self, _: &Link) -> Infallible {
            unreachable!("no map has such a node")
        }
    }

    /// The definition, from all leaves: nothing is kept and nothing is clever.
    pub(crate) fn root_by_definition(leaves: &[MapLeaf]) -> Hash {
        match leaves {
            [] => Hash::from_bytes(sha256(b"")),
            [leaf] => {
                let parts = [&[2][..], &leaf.key.0, leaf.last.as_bytes(), &leaf.count.to_be_bytes()];
                Hash::from_bytes(sha256(&parts.concat()))
            }
            _ => {
                let bit =
                    (0..=255u8).find(|bit| leaves.iter().any(|l| l.key.bit(*bit) != leaves[0].key.bit(*bit)));
                let bit = bit.unwrap();
                let side = |one| leaves.iter().copied().filter(|l| l.key.bit(bit) == one).collect::<Vec<_>>();
                let (zero, one) = (root_by_definition(&side(false)), root_by_definition(&side(true)));
                Hash::from_bytes(sha256(&[&[3, bit][..], zero.as_bytes(), one.as_bytes()].concat()))
            }
        }
    }

    pub(crate) fn leaf(n: u64, count: u64) -> MapLeaf {
        let mut key = MapKey::of(&format!("job/{n}"));
        if n.is_multiple_of(5) {
            // Keys that agree for long, as an enemy who chooses names could look for.
            key.0 = [0x55; 32];
            key.0[31] = n as u8;
            key.0[16] ^= (n >> 8) as u8;
        }
        MapLeaf { key, last: crate::merkle::leaf_hash(&(n + 1000 * count).to_be_bytes()), count }
    }

    #[test]
    fn map_updated_in_any_batches_is_the_map_by_definition() {
        for step in [1usize, 2, 3, 7, 40, 300] {
            let (mut nodes, mut tree, mut top) = (Nodes::default(), RunTree::new(), None);
            let mut all = BTreeMap::new();
            let order: Vec<u64> = (0..300).map(|n| n * 37 % 300).collect();
            for (round, part) in order.chunks(step).enumerate() {
                // Some new runs, and some of the old ones once more.
                let mut changes: BTreeMap<MapKey, MapLeaf> = BTreeMap::new();
                for n in part.iter().copied().chain(part.iter().map(|n| n / 2)) {
                    let leaf = leaf(n, round as u64 + 1);
                    changes.insert(leaf.key, leaf);
                }
                let changes: Vec<MapLeaf> = changes.into_values().collect();
                top = update_map(&mut nodes, top, &changes).unwrap();
                for leaf in changes {
                    tree.set(leaf);
                    all.insert(leaf.key, leaf);
                }
                if step > 2 || round % 23 == 0 {
                    let leaves: Vec<MapLeaf> = all.values().copied().collect();
                    let expected = root_by_definition(&leaves);
                    assert_eq!(map_root(top.as_ref()), expected, "step {step}, round {round}");
                    assert_eq!(tree.root(), expected);
                    let mut fresh = Nodes::default();
                    assert_eq!(map_root(build_map(&mut fresh, &leaves).as_ref()), expected);
                    assert_eq!(fresh.0.len(), 2 * leaves.len() - 1);
                }
            }
            for n in 0..320 {
                let key = leaf(n, 1).key;
                let path = lookup(&mut nodes, top, &key).unwrap();
                assert_eq!(path.check(&key, &tree.root()), Ok(all.get(&key).copied()), "run {n}");
            }
        }
    }

    #[test]
    fn map_change_makes_few_new_nodes() {
        let mut nodes = Nodes::default();
        let mut leaves: Vec<MapLeaf> = (0..4096u64)
            .map(|n| MapLeaf { key: MapKey::of(&n.to_string()), last: EMPTY_ROOT, count: 1 })
            .collect();
        leaves.sort_by_key(|leaf| leaf.key);
        let top = build_map(&mut nodes, &leaves);
        let before = nodes.0.len();
        let changed = MapLeaf { count: 2, ..leaves[17] };
        update_map(&mut nodes, top, &[changed]).unwrap();
        let made = nodes.0.len() - before;
        assert!((8..=30).contains(&made), "{made} nodes");
    }

    /// Nodes that may lie where no map has them, which is an error.
    #[derive(Default)]
    struct Odd(Nodes);

    impl NodeStore for Odd {
        type Error = Link;
        fn read(&mut self, link: &Link) -> Result<MapNode, Link> {
            self.0.read(link).map_err(|never| match never {})
        }
        fn put(&mut self, node: &MapNode) -> u64 {
            self.0.put(node)
        }
        fn misplaced(&self, link: &Link) -> Link {
            *link
        }
    }

    #[test]
    fn node_below_one_of_its_own_bit_or_a_later_one_is_misplaced() {
        let one = leaf(1, 1);
        for (above, below) in [(3, 9), (3, 4), (3, 3), (9, 3), (0, 0), (255, 254)] {
            let mut nodes = Odd::default();
            let mut add = |node: MapNode| Link { hash: node.hash(), at: nodes.put(&node) };
            let end = add(MapNode::Leaf(one));
            let inner = add(MapNode::Inner { bit: below, zero: end, one: end });
            let top = add(MapNode::Inner { bit: above, zero: inner, one: inner });
            let looked_up = lookup(&mut nodes, Some(top), &one.key);
            let changed = update_map(&mut nodes, Some(top), &[MapLeaf { count: 2, ..one }]);
            if above < below {
                assert!(looked_up.is_ok() && changed.is_ok(), "{above} {below}");
            } else {
                assert_eq!((looked_up.err(), changed.err()), (Some(inner), Some(inner)), "{above} {below}");
            }
        }
    }

    #[test]
    fn empty_map_has_every_run_absent() {
        let key = MapKey::of("job/run");
        let path = lookup(&mut Nodes::default(), None, &key).unwrap();
        assert_eq!(path.check(&key, &EMPTY_ROOT), Ok(None));
        assert_eq!(RunTree::new().root(), EMPTY_ROOT);
        assert!(path.check(&key, &leaf(1, 1).hash()).is_err());
    }
}
