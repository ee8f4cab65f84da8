//! The open right edge of a tree in tiles: what is needed to go on writing tiles without reading
//! the log again.
//!
//! Invariant: level l holds the last `(size / 256^l) % 256` hashes of that level, the content of its
//! partial tile; a full tile is handed out when its last hash comes and then forgotten.

use super::hash::Hash;
use super::range::CompactRange;
use super::tile::{TILE_WIDTH, Tile};
use super::tree::{Node, root_nodes};

/// A tree's right edge together with its partial tiles.
#[derive(Debug, Clone, Default)]
pub struct TileEdge {
    range: CompactRange,
    open: Vec<Vec<Hash>>,
}

/// The partial tiles of a tree of `size` entries, from level 0 up. A tree that is not empty has at
/// least one.
pub fn partial_tiles(size: u64) -> Vec<Tile> {
    let width = u64::from(TILE_WIDTH);
    let of_level = |level: u8| {
        let nodes = size >> (8 * u32::from(level));
        Tile::new(level, nodes / width, u16::try_from(nodes % width).ok()?)
    };
    (0..8).filter_map(of_level).collect()
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

impl TileEdge {
    /// The edge of the tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree from its compact form and the bytes of its [`partial_tiles`], in their order;
    /// `None` where the tiles are not those of this tree. The hashes of the compact form decide: each
    /// is recomputed from the tile that holds it.
    pub fn from_tiles(range: CompactRange, bytes: &[Vec<u8>]) -> Option<Self> {
        let tiles = partial_tiles(range.size());
        if tiles.len() != bytes.len() {
            return None;
        }
        for (node, hash) in root_nodes(range.size()).into_iter().zip(range.hashes()) {
            let at = tiles.iter().position(|tile| tile.level() == node.level / 8)?;
            if tiles[at].hash_of(node, &bytes[at]).ok()? != *hash {
                return None;
            }
        }
        let mut open = Vec::new();
        for (tile, bytes) in tiles.iter().zip(bytes) {
            let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
            if bytes.len() != tile.len_bytes() || !rest.is_empty() {
                return None;
            }
            open.resize(usize::from(tile.level()) + 1, Vec::new());
            open[usize::from(tile.level())] = hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect();
        }
        Some(Self { range, open })
    }

    /// The tree in its compact form.
    pub fn range(&self) -> &CompactRange {
        &self.range
    }

    /// Appends a leaf and hands out each tile that it fills.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(Tile, Vec<u8>)) {
        let open = &mut self.open;
        self.range.append_with(leaf, |Node { level, index }, hash| {
            if level % 8 != 0 {
                return;
            }
            let at = usize::from(level / 8);
            if open.len() <= at {
                open.resize(at + 1, Vec::new());
            }
            open[at].push(hash);
            if open[at].len() == usize::from(TILE_WIDTH)
                && let Some(tile) = Tile::new(level / 8, index / u64::from(TILE_WIDTH), TILE_WIDTH)
            {
                full(tile, bytes_of(&open[at]));
                open[at].clear();
            }
        });
    }

    /// The partial tiles as they are now, from level 0 up.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, Vec<u8>)> + '_ {
        partial_tiles(self.range.size())
            .into_iter()
            .map(|tile| (tile, bytes_of(&self.open[usize::from(tile.level())])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;
    use std::collections::BTreeMap;

    fn leaf(n: u64) -> Hash {
        leaf_hash(&n.to_be_bytes())
    }

    #[test]
    fn edge_hands_out_the_tiles_of_the_tree_at_every_size() {
        let (mut edge, mut all) = (TileEdge::new(), BTreeMap::new());
        for n in 0..66_000u64 {
            edge.append(leaf(n), |tile, bytes| assert!(all.insert(tile, bytes).is_none()));
            if n % 641 == 0 || (65_530..65_540).contains(&n) || n < 600 {
                let size = n + 1;
                let mut now: Vec<Tile> = all.keys().copied().chain(edge.partial().map(|p| p.0)).collect();
                now.sort_unstable();
                let mut expected: Vec<Tile> = Tile::grown(0, size).collect();
                expected.sort_unstable();
                assert_eq!(now, expected, "size {size}");
                assert!(!partial_tiles(size).is_empty());
            }
        }
        for (tile, bytes) in all.iter().map(|(t, b)| (*t, b.clone())).chain(edge.partial()) {
            assert_eq!(bytes.len(), tile.len_bytes());
            if tile.level() == 0 {
                let first = tile.index() * 256;
                let leaves: Vec<Hash> = (first..first + u64::from(tile.width())).map(leaf).collect();
                assert_eq!(bytes, bytes_of(&leaves));
            }
        }
    }

    #[test]
    fn edge_is_taken_up_from_its_own_tiles_and_from_no_others() {
        for size in [0u64, 1, 2, 7, 255, 256, 257, 300, 511, 513, 65_536, 65_900] {
            let mut edge = TileEdge::new();
            (0..size).for_each(|n| edge.append(leaf(n), |_, _| {}));
            let bytes: Vec<Vec<u8>> = edge.partial().map(|(_, bytes)| bytes).collect();
            let mut again = TileEdge::from_tiles(edge.range().clone(), &bytes).unwrap();
            edge.append(leaf(size), |_, _| {});
            again.append(leaf(size), |_, _| {});
            assert!(again.partial().eq(edge.partial()), "size {size}");
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at][0] ^= 1;
                assert!(TileEdge::from_tiles(range_of(size), &bad).is_none(), "size {size}");
                bad[at].clear();
                assert!(TileEdge::from_tiles(range_of(size), &bad).is_none());
            }
        }
    }

    fn range_of(size: u64) -> CompactRange {
        let mut range = CompactRange::new();
        range.extend((0..size).map(leaf));
        range
    }
}
