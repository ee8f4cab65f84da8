//! Hashes read from tiles: first which tiles, then the hashes out of their bytes.

use std::collections::BTreeMap;

use super::hash::Hash;
use super::tile::{Tile, TileError};
use super::tree::{HashReader, Node};

/// Why hashes could not be read from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E: std::error::Error + 'static> {
    /// The tree has no such node.
    #[error("a tree of {size} entries has no node {index} of level {level}", level = node.level, index = node.index)]
    NoSuchNode {
        /// The node.
        node: Node,
        /// The size of the tree.
        size: u64,
    },
    /// The tiles were not fetched.
    #[error("cannot fetch tiles")]
    Fetch(#[source] E),
    /// Another number of tiles came than was asked for.
    #[error("asked for {asked} tiles and got {got}")]
    Count {
        /// How many tiles were asked for.
        asked: usize,
        /// How many came.
        got: usize,
    },
    /// A tile's bytes are not a tile.
    #[error(transparent)]
    Tile(#[from] TileError),
}

/// The tiles that hold these nodes in a tree of `size` entries, each once and in order; the first
/// node that the tree does not have is the error.
pub fn tiles_for(nodes: &[Node], size: u64) -> Result<Vec<Tile>, Node> {
    let mut tiles =
        nodes.iter().map(|node| Tile::holding(*node, size).ok_or(*node)).collect::<Result<Vec<_>, _>>()?;
    tiles.sort_unstable();
    tiles.dedup();
    Ok(tiles)
}

/// Reads the hashes of a tree of `size` entries from its tiles.
///
/// `fetch` gives the bytes of the tiles asked for, in their order. The bytes are not checked against
/// a root: a wrong hash shows when the root or proof made from it does not verify. For a proof about
/// an older size give the size whose tiles are at hand, since every node of the older tree is in them.
pub struct TileReader<F> {
    size: u64,
    fetch: F,
}

impl<F, E> TileReader<F>
where
    F: Fn(&[Tile]) -> Result<Vec<Vec<u8>>, E>,
    E: std::error::Error + 'static,
{
    /// A reader of the tiles of the tree of `size` entries.
    pub fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<F, E> HashReader for TileReader<F>
where
    F: Fn(&[Tile]) -> Result<Vec<Vec<u8>>, E>,
    E: std::error::Error + 'static,
{
    type Error = TileReadError<E>;

    fn read(&self, nodes: &[Node]) -> Result<Vec<Hash>, TileReadError<E>> {
        let missing = |node| TileReadError::NoSuchNode { node, size: self.size };
        let tiles = tiles_for(nodes, self.size).map_err(missing)?;
        if tiles.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = (self.fetch)(&tiles).map_err(TileReadError::Fetch)?;
        if bytes.len() != tiles.len() {
            return Err(TileReadError::Count { asked: tiles.len(), got: bytes.len() });
        }
        let bytes: BTreeMap<Tile, Vec<u8>> = tiles.into_iter().zip(bytes).collect();
        let hash = |node: &Node| {
            let (tile, bytes) = Tile::holding(*node, self.size)
                .and_then(|tile| bytes.get_key_value(&tile))
                .ok_or_else(|| missing(*node))?;
            Ok(tile.hash_of(*node, bytes)?)
        };
        nodes.iter().map(hash).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_for_nodes_are_each_given_once_and_in_order() {
        let node = |level, index| Node { level, index };
        let nodes = [node(8, 0), node(0, 600), node(0, 3), node(0, 601), node(3, 1), node(0, 300)];
        let paths: Vec<String> = tiles_for(&nodes, 700).unwrap().into_iter().map(Tile::path).collect();
        assert_eq!(paths, ["tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"]);
        assert_eq!(tiles_for(&[node(0, 3), node(0, 700)], 700), Err(node(0, 700)));
    }
}
