//! The run map in memory, changed in place: for recomputing every root that the log holds. Hashes are
//! made when a root is asked for, and only those above a change; a leaf's own is made again each time, which
//! costs less than the room for it.

use super::{MapKey, MapLeaf, map_node_hash};
use crate::merkle::hash::{EMPTY_ROOT, Hash};

/// A side of a node: the number of a leaf or of an inner node, in four bytes because there are two of them
/// for each run.
#[derive(Debug, Clone, Copy)]
struct Side(u32);

impl Side {
    const LEAF: u32 = 1 << 31;

    fn leaf(number: usize) -> Self {
        Self(number as u32 | Self::LEAF)
    }

    fn inner(number: usize) -> Self {
        Self(number as u32)
    }

    fn as_leaf(self) -> Option<usize> {
        (self.0 & Self::LEAF != 0).then_some((self.0 & !Self::LEAF) as usize)
    }
}

#[derive(Debug)]
struct Inner {
    hash: Hash,
    sides: [Side; 2],
    bit: u8,
    /// Nothing below changed since `hash` was made.
    fresh: bool,
}

/// A map that holds no history of itself. Its leaves are numbered in the order in which they came in.
#[derive(Debug, Default)]
pub struct RunTree {
    leaves: Vec<MapLeaf>,
    inner: Vec<Inner>,
    top: Option<Side>,
    /// The inner nodes that the last change passed, from the top.
    way: Vec<u32>,
}

impl RunTree {
    /// The map without runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many runs it holds.
    pub fn runs(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// All leaves, by number.
    pub fn leaves(&self) -> &[MapLeaf] {
        &self.leaves
    }

    /// All leaves, by number.
    pub fn into_leaves(self) -> Vec<MapLeaf> {
        self.leaves
    }

    /// The number of a run's leaf.
    pub fn find(&self, key: &MapKey) -> Option<usize> {
        let mut at = self.top?;
        loop {
            match at.as_leaf() {
                Some(leaf) => return (self.leaves[leaf].key == *key).then_some(leaf),
                None => at = self.next(at, key),
            }
        }
    }

    /// The side of an inner node that a key leads to.
    fn next(&self, at: Side, key: &MapKey) -> Side {
        let inner = &self.inner[at.0 as usize];
        inner.sides[usize::from(key.bit(inner.bit))]
    }

    /// Puts a run in, or replaces what is there of it; gives the leaf's number.
    pub fn set(&mut self, leaf: MapLeaf) -> usize {
        let new = self.leaves.len();
        let Some(mut at) = self.top else {
            self.leaves.push(leaf);
            self.top = Some(Side::leaf(new));
            return new;
        };
        self.way.clear();
        let nearest = loop {
            match at.as_leaf() {
                Some(nearest) => break nearest,
                None => {
                    self.way.push(at.0);
                    at = self.next(at, &leaf.key);
                }
            }
        };
        let differs = self.leaves[nearest].key.first_difference(&leaf.key);
        let above = match differs {
            None => self.way.len(),
            Some(bit) => self.way.partition_point(|node| self.inner[*node as usize].bit < bit),
        };
        for node in &self.way[..above] {
            self.inner[*node as usize].fresh = false;
        }
        let Some(bit) = differs else {
            self.leaves[nearest] = leaf;
            return nearest;
        };
        let below = self.way.get(above).map_or(Side::leaf(nearest), |node| Side(*node));
        let (one, key) = (leaf.key.bit(bit), leaf.key);
        self.leaves.push(leaf);
        let sides = if one { [below, Side::leaf(new)] } else { [Side::leaf(new), below] };
        let node = Side::inner(self.inner.len());
        self.inner.push(Inner { bit, fresh: false, hash: EMPTY_ROOT, sides });
        match above.checked_sub(1) {
            None => self.top = Some(node),
            Some(last) => {
                let above = &mut self.inner[self.way[last] as usize];
                above.sides[usize::from(key.bit(above.bit))] = node;
            }
        }
        new
    }

    /// The root.
    pub fn root(&mut self) -> Hash {
        self.top.map_or(EMPTY_ROOT, |top| self.hash(top))
    }

    fn hash(&mut self, side: Side) -> Hash {
        if let Some(leaf) = side.as_leaf() {
            return self.leaves[leaf].hash();
        }
        let node = side.0 as usize;
        if !self.inner[node].fresh {
            let (bit, [zero, one]) = (self.inner[node].bit, self.inner[node].sides);
            let hash = map_node_hash(bit, &self.hash(zero), &self.hash(one));
            let inner = &mut self.inner[node];
            (inner.hash, inner.fresh) = (hash, true);
        }
        self.inner[node].hash
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::leaf;
    use super::*;

    #[test]
    fn run_is_found_by_the_number_that_it_came_in_with() {
        let mut tree = RunTree::new();
        assert_eq!(tree.find(&leaf(0, 1).key), None);
        for count in 1..3 {
            for n in 0..200 {
                assert_eq!(tree.set(leaf(n, count)), n as usize);
            }
        }
        for n in 0..220 {
            let found = tree.find(&leaf(n, 1).key);
            assert_eq!(found, (n < 200).then_some(n as usize));
            assert!(found.is_none_or(|found| tree.leaves()[found] == leaf(n, 2)));
        }
    }

    #[test]
    fn run_takes_few_bytes() {
        assert_eq!((size_of::<MapLeaf>(), size_of::<Inner>()), (72, 44));
    }
}
