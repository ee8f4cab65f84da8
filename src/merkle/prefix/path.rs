//! A path through the run map: the proof of what it says of one run, or that it says nothing.

use super::{MapKey, MapLeaf, map_node_hash};
use crate::merkle::hash::{EMPTY_ROOT, Hash};

/// Why a path proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapPathError {
    /// The bits do not rise, so no tree has such a path.
    #[error("step {at} of the path goes back to bit {bit}")]
    Order {
        /// The step, from 0.
        at: usize,
        /// Its bit.
        bit: u8,
    },
    /// The leaf at the end does not lie on the way of the key that was looked up.
    #[error("the path ends at a run that bit {bit} leads away from")]
    Astray {
        /// The bit.
        bit: u8,
    },
    /// The path leads to another root.
    #[error("the path leads to {computed}, not to the map's root {expected}")]
    Root {
        /// Where it leads.
        computed: Hash,
        /// The root.
        expected: Hash,
    },
}

/// The way of a key through the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapPath {
    /// From the top: the bit at which a node's sides differ, and the hash of the side not taken.
    pub steps: Vec<(u8, Hash)>,
    /// The leaf at its end; `None` only in the empty map.
    pub leaf: Option<MapLeaf>,
}

impl MapPath {
    /// What the map with this root says of a key: its leaf, or that there is none.
    pub fn check(&self, key: &MapKey, root: &Hash) -> Result<Option<MapLeaf>, MapPathError> {
        for (at, pair) in self.steps.windows(2).enumerate() {
            if pair[1].0 <= pair[0].0 {
                return Err(MapPathError::Order { at: at + 1, bit: pair[1].0 });
            }
        }
        let astray = |leaf: &MapLeaf| self.steps.iter().find(|(bit, _)| leaf.key.bit(*bit) != key.bit(*bit));
        if let Some((bit, _)) = self.leaf.as_ref().and_then(astray) {
            return Err(MapPathError::Astray { bit: *bit });
        }
        let end = self.leaf.as_ref().map_or(EMPTY_ROOT, MapLeaf::hash);
        let computed = self.steps.iter().rev().fold(end, |below, (bit, other)| {
            if key.bit(*bit) {
                map_node_hash(*bit, other, &below)
            } else {
                map_node_hash(*bit, &below, other)
            }
        });
        if computed != *root {
            return Err(MapPathError::Root { computed, expected: *root });
        }
        Ok(self.leaf.filter(|leaf| leaf.key == *key))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Nodes, leaf};
    use super::super::{build_map, lookup, map_root};
    use super::*;

    #[test]
    fn path_whose_bits_do_not_rise_proves_nothing_though_it_leads_to_the_root() {
        let leaf = leaf(1, 1);
        let step = |below: Hash, bit: u8| match leaf.key.bit(bit) {
            true => map_node_hash(bit, &EMPTY_ROOT, &below),
            false => map_node_hash(bit, &below, &EMPTY_ROOT),
        };
        for (bits, order) in [
            (&[3u8, 9, 40][..], None),
            (&[3, 3], Some((1, 3))),
            (&[3, 2], Some((1, 2))),
            (&[3, 9, 9], Some((2, 9))),
            (&[0, 200, 7, 8], Some((2, 7))),
        ] {
            let root = bits.iter().rev().fold(leaf.hash(), |below, bit| step(below, *bit));
            let steps = bits.iter().map(|bit| (*bit, EMPTY_ROOT)).collect();
            let expected = match order {
                Some((at, bit)) => Err(MapPathError::Order { at, bit }),
                None => Ok(Some(leaf)),
            };
            assert_eq!(MapPath { steps, leaf: Some(leaf) }.check(&leaf.key, &root), expected);
        }
    }

    #[test]
    fn path_with_anything_changed_proves_nothing() {
        let mut nodes = Nodes::default();
        let mut leaves: Vec<MapLeaf> = (0..60).map(|n| leaf(n, 2)).collect();
        leaves.sort_by_key(|leaf| leaf.key);
        let top = build_map(&mut nodes, &leaves);
        let root = map_root(top.as_ref());
        for key in [leaves[9].key, leaves[31].key, MapKey::of("job/unknown")] {
            let path = lookup(&mut nodes, top, &key).unwrap();
            assert!(path.check(&key, &root).is_ok() && path.steps.len() >= 3);
            for at in 0..path.steps.len() {
                let refused = |change: &dyn Fn(&mut MapPath)| {
                    let mut bad = path.clone();
                    change(&mut bad);
                    assert!(bad.check(&key, &root).is_err(), "step {at}");
                };
                refused(&|bad| bad.steps[at].0 ^= 1);
                refused(&|bad| bad.steps[at].1 = EMPTY_ROOT);
                refused(&|bad| {
                    bad.steps.remove(at);
                });
                refused(&|bad| bad.steps.insert(at, bad.steps[at]));
            }
            for change in [
                |leaf: &mut MapLeaf| leaf.count += 1,
                |leaf: &mut MapLeaf| leaf.last = EMPTY_ROOT,
                |leaf: &mut MapLeaf| leaf.key = MapKey::of("job/other"),
            ] {
                let mut bad = path.clone();
                change(bad.leaf.as_mut().unwrap());
                assert!(bad.check(&key, &root).is_err());
            }
            // Another run's path does not show that this one is absent.
            let other = lookup(&mut nodes, top, &leaves[0].key).unwrap();
            assert!(other.check(&key, &root).is_err());
            let nothing = MapPath { steps: Vec::new(), leaf: None };
            assert!(nothing.check(&key, &root).is_err());
        }
    }
}
