//! Merkle tiles on the disk (C2SP tlog-tiles, `store-layout.md`, "Entry bundles, tiles and head"):
//! going on from the partial ones, reading them for proofs, checking them against the entries.

use super::bundles::{Settling, tree_of};
use super::{LogView, Store, StoreError};
use crate::base::digest::Sha256;
use crate::base::limits::TILE_WIDTH;
use crate::format::finding::{Code, Finding};
use crate::format::head::Head;
use crate::format::paths;
use crate::merkle::{self, Hash, HashReader, Tile, TileEdge, TileReader};

/// Where a tile lies.
pub(super) fn tile_path(tile: Tile) -> String {
    format!("{}/{}", paths::AUDIT, tile.path())
}

impl Store {
    /// A tile's bytes; `None` if it is missing or of another length.
    pub(super) fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        // A full tile may stand in for a partial one, which is removed once the full one is there.
        let full = Tile::new(tile.level(), tile.index(), TILE_WIDTH as u16).unwrap_or(tile);
        for candidate in [tile, full] {
            let path = tile_path(candidate);
            let bytes = match self.disk.read_opt(&path, candidate.len_bytes() as u64) {
                Ok(bytes) => bytes,
                Err(error) if error.is_too_large() || error.is_not_regular() => None,
                Err(error) => return Err(error.into()),
            };
            if let Some(mut bytes) = bytes.filter(|bytes| bytes.len() == candidate.len_bytes()) {
                bytes.truncate(tile.len_bytes());
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The right edge from which tiles are written on. Partial tiles are taken up only if they give
    /// the head's hashes; otherwise every tile is made anew from the entries.
    pub(super) fn tile_edge(&self, head: &Head, files: &mut Settling<'_>) -> Result<TileEdge, StoreError> {
        let tree = tree_of(head)?;
        let partial: Option<Vec<Vec<u8>>> = merkle::partial_tiles(head.size)
            .into_iter()
            .map(|tile| self.tile(tile))
            .collect::<Result<_, _>>()?;
        if let Some(edge) = partial.and_then(|bytes| TileEdge::from_tiles(tree, &bytes)) {
            return Ok(edge);
        }
        Ok(self.remake_tiles(head, files)?.0)
    }

    /// Makes every full tile anew from the entries where it is missing or differs; gives the right edge
    /// and the tiles that were made.
    fn remake_tiles(
        &self,
        head: &Head,
        files: &mut Settling<'_>,
    ) -> Result<(TileEdge, Vec<Tile>), StoreError> {
        let mut edge = TileEdge::new();
        let (mut full, mut differ, mut made) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..head.size.div_ceil(TILE_WIDTH) {
            for entry in self.bundle(number, head.size)? {
                edge.append(merkle::leaf_hash(&entry), |tile, bytes| full.push((tile, bytes)));
            }
            // What is as it should be is not held any longer.
            for (tile, bytes) in full.drain(..) {
                if self.tile(tile)?.as_ref() != Some(&bytes) {
                    differ.push((tile, bytes));
                }
            }
        }
        if edge.range().root().as_bytes() != head.root.as_bytes() {
            let why = "neither its tiles nor its entries give its root".to_owned();
            return Err(StoreError::LogDamaged { place: paths::HEAD.to_owned(), why });
        }
        for (tile, bytes) in differ {
            files.put(tile_path(tile), bytes)?;
            made.push(tile);
        }
        Ok((edge, made))
    }

    /// Makes every tile anew that is missing or does not follow from the entries; gives their paths. Only
    /// called under the store lock.
    pub(super) fn mend_tiles(&self, head: &Head) -> Result<Vec<String>, StoreError> {
        let mut files = Settling::begin(self);
        let (edge, mut made) = self.remake_tiles(head, &mut files)?;
        for (tile, bytes) in edge.partial() {
            if self.tile(tile)?.as_ref() != Some(&bytes) {
                files.put(tile_path(tile), bytes)?;
                made.push(tile);
            }
        }
        files.finish()?;
        Ok(made.into_iter().map(tile_path).collect())
    }

    /// Reads the settled tree's hashes from its tiles, for proofs.
    pub fn hash_reader(&self, view: &LogView) -> impl HashReader + '_ {
        TileReader::new(view.head.size, |tiles: &[Tile]| {
            let read = |tile: &Tile| {
                let why = "the tile is missing or too short".to_owned();
                let place = tile_path(*tile);
                self.tile(*tile)?.ok_or(StoreError::LogDamaged { place, why })
            };
            tiles.iter().map(read).collect::<Result<Vec<_>, StoreError>>()
        })
    }
}

/// Holds the tiles on the disk against the entries as they are read.
pub(super) struct TileCheck {
    edge: TileEdge,
    expected: Vec<(Tile, Vec<u8>)>,
    bad: Vec<Tile>,
}

impl TileCheck {
    /// Begins at the first entry.
    pub fn begin() -> Self {
        Self { edge: TileEdge::new(), expected: Vec::new(), bad: Vec::new() }
    }

    /// Takes in the next entry's leaf hash.
    pub fn append(&mut self, store: &Store, leaf: Hash) -> Result<(), StoreError> {
        let expected = &mut self.expected;
        self.edge.append(leaf, |tile, bytes| expected.push((tile, bytes)));
        let full = std::mem::take(&mut self.expected);
        self.compare(store, full)
    }

    fn compare(&mut self, store: &Store, tiles: Vec<(Tile, Vec<u8>)>) -> Result<(), StoreError> {
        for (tile, bytes) in tiles {
            if store.tile(tile)?.as_ref() != Some(&bytes) {
                self.bad.push(tile);
            }
        }
        Ok(())
    }

    /// The root of the entries so far.
    pub fn root(&self) -> Sha256 {
        Sha256::from_bytes(*self.edge.range().root().as_bytes())
    }

    /// After the last settled entry: what is wrong with the tiles. Partial ones are not reported
    /// where the log grew meanwhile, since the writer has then removed them.
    pub fn finish(&mut self, store: &Store, head: &Head) -> Result<Vec<Finding>, StoreError> {
        let partial = self.edge.partial().collect();
        self.compare(store, partial)?;
        let moved = !self.bad.is_empty() && store.head()?.size != head.size;
        let bad = self.bad.drain(..).filter(|tile| tile.is_full() || !moved);
        Ok(bad.map(|tile| Finding::of_store(Code::TileBad, tile_path(tile))).collect())
    }
}
