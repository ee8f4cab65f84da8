//! Records of the run map's nodes: the bytes that are hashed, then where the sides' records lie.

use super::{LEAF, Link, MapKey, MapLeaf, MapNode, NODE};
use crate::merkle::hash::Hash;

/// The length of a leaf's record, which is what its hash is of.
pub const LEAF_BYTES: usize = 1 + 32 + Hash::LEN + 8;
/// The length of an inner node's record: 66 bytes that its hash is of, then two places.
pub const NODE_BYTES: usize = 2 + 2 * Hash::LEN + 2 * 8;
/// The length of the longest record.
pub const RECORD_BYTES: usize = NODE_BYTES;

impl MapNode {
    /// Appends the record.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leaf(leaf) => out.extend_from_slice(&leaf.preimage()),
            Self::Inner { bit, zero, one } => {
                out.extend_from_slice(&[NODE, *bit]);
                out.extend_from_slice(zero.hash.as_bytes());
                out.extend_from_slice(one.hash.as_bytes());
                out.extend_from_slice(&zero.at.to_le_bytes());
                out.extend_from_slice(&one.at.to_le_bytes());
            }
        }
    }

    /// Reads the record at the beginning of these bytes; what follows it is not looked at.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let hash = |at: usize| Some(Hash::from_bytes(*bytes.get(at..)?.first_chunk()?));
        let place = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        match *bytes.first()? {
            LEAF => Some(Self::Leaf(MapLeaf {
                key: MapKey::from_bytes(*bytes.get(1..)?.first_chunk()?),
                last: hash(33)?,
                count: u64::from_be_bytes(*bytes.get(65..)?.first_chunk()?),
            })),
            NODE => Some(Self::Inner {
                bit: *bytes.get(1)?,
                zero: Link { hash: hash(2)?, at: place(66)? },
                one: Link { hash: hash(34)?, at: place(74)? },
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::EMPTY_ROOT;

    #[test]
    fn record_round_trips_and_every_cut_is_refused() {
        let leaf = MapNode::Leaf(MapLeaf { key: MapKey::of("a/b"), last: EMPTY_ROOT, count: 3 });
        let link = |at| Link { hash: leaf.hash(), at };
        let inner = MapNode::Inner { bit: 200, zero: link(0x0102_0304_0506_0708), one: link(1 << 40) };
        for (node, len) in [(leaf, LEAF_BYTES), (inner, NODE_BYTES)] {
            let mut bytes = Vec::new();
            node.write(&mut bytes);
            assert_eq!(bytes.len(), len);
            assert_eq!(MapNode::read(&bytes), Some(node));
            assert!((0..len).all(|cut| MapNode::read(&bytes[..cut]).is_none()));
        }
        assert_eq!(MapNode::read(&[7; 100]), None);
    }
}
