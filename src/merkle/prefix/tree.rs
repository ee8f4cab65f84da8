//! The run map in memory, changed in place: for recomputing every root that the log holds. Hashes are
//! made when a root is asked for, and only those above a change.

use super::{MapKey, MapLeaf, map_node_hash};
use crate::merkle::hash::{EMPTY_ROOT, Hash};

/// A side of a node.
#[derive(Debug, Clone, Copy)]
enum Side {
    Leaf(u32),
    Inner(u32),
}

#[derive(Debug)]
struct Inner {
    bit: u8,
    /// Nothing below changed since `hash` was made.
    fresh: bool,
    hash: Hash,
    sides: [Side; 2],
}

/// A map that holds no history of itself.
#[derive(Debug, Default)]
pub struct RunTree {
    leaves: Vec<(MapKey, Hash)>,
    inner: Vec<Inner>,
    top: Option<Side>,
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

    /// Puts a run in, or replaces what is there of it.
    pub fn set(&mut self, leaf: MapLeaf) {
        let Some(top) = self.top else {
            self.top = Some(self.add(&leaf));
            return;
        };
        let mut at = top;
        let nearest = loop {
            match at {
                Side::Leaf(nearest) => break nearest,
                Side::Inner(node) => {
                    let node = &self.inner[node as usize];
                    at = node.sides[usize::from(leaf.key.bit(node.bit))];
                }
            }
        };
        let differs = self.leaves[nearest as usize].0.first_difference(&leaf.key);
        let (mut above, mut at) = (None, top);
        while let Side::Inner(node) = at
            && differs.is_none_or(|bit| self.inner[node as usize].bit < bit)
        {
            let inner = &mut self.inner[node as usize];
            inner.fresh = false;
            above = Some(node);
            at = inner.sides[usize::from(leaf.key.bit(inner.bit))];
        }
        let Some(bit) = differs else {
            self.leaves[nearest as usize].1 = leaf.hash();
            return;
        };
        let new = self.add(&leaf);
        let sides = if leaf.key.bit(bit) { [at, new] } else { [new, at] };
        self.inner.push(Inner { bit, fresh: false, hash: EMPTY_ROOT, sides });
        let node = Side::Inner(self.inner.len() as u32 - 1);
        match above {
            None => self.top = Some(node),
            Some(above) => {
                let above = &mut self.inner[above as usize];
                above.sides[usize::from(leaf.key.bit(above.bit))] = node;
            }
        }
    }

    fn add(&mut self, leaf: &MapLeaf) -> Side {
        self.leaves.push((leaf.key, leaf.hash()));
        Side::Leaf(self.leaves.len() as u32 - 1)
    }

    /// The root.
    pub fn root(&mut self) -> Hash {
        self.top.map_or(EMPTY_ROOT, |top| self.hash(top))
    }

    fn hash(&mut self, side: Side) -> Hash {
        let node = match side {
            Side::Leaf(leaf) => return self.leaves[leaf as usize].1,
            Side::Inner(node) => node as usize,
        };
        if !self.inner[node].fresh {
            let (bit, [zero, one]) = (self.inner[node].bit, self.inner[node].sides);
            let hash = map_node_hash(bit, &self.hash(zero), &self.hash(one));
            let inner = &mut self.inner[node];
            (inner.hash, inner.fresh) = (hash, true);
        }
        self.inner[node].hash
    }
}
