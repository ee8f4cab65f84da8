//! Tiles: the tree's hashes in pieces of eight levels, as C2SP tlog-tiles lays them out.
//!
//! Tile n of level l holds, for i from 0 to 255, the hashes of the complete subtrees over the leaves
//! from (256 n + i) 256^l up to (256 n + i + 1) 256^l. The seven levels between are recomputed. Only
//! the last tile of a level may be partial, and no partial tile is hashed into the level above.

use std::fmt;

use super::MAX_SIZE;
use super::hash::Hash;
use super::tree::{Node, root_of};

/// How many hashes a full tile holds, and how many entries a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// How many levels of the tree a tile spans.
const HEIGHT: u8 = 8;
/// How many levels of tiles there are: 256^8 leaves are more than any tree has.
const LEVELS: u8 = 8;

/// What is wrong with a tile or its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The path is not in the one form that tlog-tiles allows.
    #[error("{0:?} is not the path of a tile or bundle")]
    Path(String),
    /// No tree of a permitted size has this tile.
    #[error("{0:?} names a tile beyond every tree")]
    Beyond(String),
    /// The bytes are not the hashes of a tile of this width.
    #[error("{tile} has {found} bytes instead of {expected}", expected = tile.len_bytes())]
    Length {
        /// The tile.
        tile: Tile,
        /// The number of bytes.
        found: usize,
    },
    /// The tile does not hold the node that was looked for.
    #[error("{tile} does not hold node {index} of level {level}", level = node.level, index = node.index)]
    NotHere {
        /// The tile.
        tile: Tile,
        /// The node.
        node: Node,
    },
}

/// A tile's coordinates. Every value is a tile that some tree of at most [`MAX_SIZE`] entries has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tile of these coordinates; `None` where no tree has it.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        let last = u64::from(width.checked_sub(1)?);
        if width > TILE_WIDTH {
            return None;
        }
        let index_of_last = index.checked_mul(u64::from(TILE_WIDTH))?.checked_add(last)?;
        let needed = Node { level: level.checked_mul(HEIGHT)?, index: index_of_last }.size_needed()?;
        (needed <= MAX_SIZE).then_some(Self { level, index, width })
    }

    /// Which of the tree's tile levels: 0 holds leaf hashes.
    pub fn level(self) -> u8 {
        self.level
    }

    /// How many tiles of this level stand to its left.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes it holds: 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it is full and will never change.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The length of its bytes.
    pub fn len_bytes(self) -> usize {
        usize::from(self.width) * Hash::LEN
    }

    /// The nodes whose hashes it holds, in order.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        let first = self.index * u64::from(TILE_WIDTH);
        (first..first + u64::from(self.width)).map(move |index| Node { level: self.level * HEIGHT, index })
    }

    /// The tile in which a tree of `size` entries keeps this node; `None` if it has no such node.
    pub fn holding(node: Node, size: u64) -> Option<Self> {
        if node.size_needed()? > size {
            return None;
        }
        let level = node.level / HEIGHT;
        // Below the tile's own level the node stands for several of its hashes.
        let index = (node.index << (node.level % HEIGHT)) / u64::from(TILE_WIDTH);
        Self::at(level, index, size)
    }

    /// The tile at this place in the form that a tree of `size` entries gives it.
    fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let nodes = size.checked_shr(u32::from(level) * u32::from(HEIGHT))?;
        let here = nodes.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        Self::new(level, index, u16::try_from(here).map_or(TILE_WIDTH, |width| width.min(TILE_WIDTH)))
    }

    /// The tiles that a tree has at `new` entries and did not have, in that form, at `old`: full
    /// ones, and on each level at most one partial one. Lazy, since there may be very many.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let width = u64::from(TILE_WIDTH);
        (0..LEVELS).flat_map(move |level| {
            let shift = level * HEIGHT;
            let (before, after) = (old >> shift, new >> shift);
            let end = if after > before { after.div_ceil(width) } else { 0 };
            (before / width..end).filter_map(move |index| Self::at(level, index, new))
        })
    }

    /// The hash of a node, from the tile's bytes.
    pub fn hash_of(self, node: Node, bytes: &[u8]) -> Result<Hash, TileError> {
        if bytes.len() != self.len_bytes() {
            return Err(TileError::Length { tile: self, found: bytes.len() });
        }
        let position = |node: Node| {
            if node.level / HEIGHT != self.level || node.size_needed().is_none() {
                return None;
            }
            let below = node.level % HEIGHT;
            let first = (node.index << below).checked_sub(self.index * u64::from(TILE_WIDTH))?;
            let first = usize::try_from(first).ok()?;
            bytes.get(first.checked_mul(Hash::LEN)?..first.checked_add(1 << below)?.checked_mul(Hash::LEN)?)
        };
        let part = position(node).ok_or(TileError::NotHere { tile: self, node })?;
        let (hashes, _) = part.as_chunks::<{ Hash::LEN }>();
        let hashes: Vec<Hash> = hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect();
        Ok(root_of(&hashes))
    }

    /// The path below the log's prefix: `tile/<L>/<N>[.p/<W>]`.
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, Place { index: self.index, width: self.width })
    }

    /// Parses a path, strictly: one tile has one path.
    pub fn parse_path(path: &str) -> Result<Self, TileError> {
        let bad = || TileError::Path(path.to_owned());
        let (level, place) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
        let level = decimal(level).filter(|level| *level <= 63).ok_or_else(bad)?;
        let Place { index, width } = Place::parse(place, path)?;
        Self::new(level as u8, index, width).ok_or_else(|| TileError::Beyond(path.to_owned()))
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Where a tile or bundle stands in its level: `<N>[.p/<W>]`, N in groups of three digits of which
/// all but the last begin with an x.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub index: u64,
    pub width: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At most 20 digits: seven groups.
        let groups = self.index.checked_ilog(1000).unwrap_or(0);
        for group in (1..=groups).rev() {
            write!(f, "x{:03}/", self.index / 1000u64.pow(group) % 1000)?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width != TILE_WIDTH { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl Place {
    /// Parses what [`Display`](fmt::Display) writes and nothing else; `path` is the whole path, for
    /// messages.
    pub fn parse(text: &str, path: &str) -> Result<Self, TileError> {
        let bad = || TileError::Path(path.to_owned());
        let (digits, width) = match text.split_once(".p/") {
            None => (text, TILE_WIDTH),
            Some((digits, width)) => {
                let width = decimal(width).filter(|width| (1..=255).contains(width)).ok_or_else(bad)?;
                (digits, width)
            }
        };
        let (first, last) = digits.rsplit_once('/').map_or((None, digits), |(a, b)| (Some(a), b));
        let mut groups: Vec<&str> = Vec::new();
        for group in first.into_iter().flat_map(|first| first.split('/')) {
            groups.push(group.strip_prefix('x').ok_or_else(bad)?);
        }
        groups.push(last);
        if groups.iter().any(|group| group.len() != 3 || !group.bytes().all(|b| b.is_ascii_digit())) {
            return Err(bad());
        }
        // A leading group of zeros would be a second path for the same tile.
        if groups.len() > 1 && groups[0] == "000" {
            return Err(bad());
        }
        let index = groups.concat().parse().map_err(|_| TileError::Beyond(path.to_owned()))?;
        Ok(Self { index, width })
    }
}

/// A decimal number without sign or leading zeros.
fn decimal(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_paths_are_those_of_the_specification() {
        for (level, index, width, path) in [
            (0, 0, 256, "tile/0/000"),
            (0, 0, 1, "tile/0/000.p/1"),
            (1, 999, 255, "tile/1/999.p/255"),
            (2, 1000, 256, "tile/2/x001/000"),
            (0, 1_234_067, 256, "tile/0/x001/x234/067"),
            (0, 1_234_067, 5, "tile/0/x001/x234/067.p/5"),
            (0, MAX_SIZE / 256 - 1, 256, "tile/0/x036/x028/x797/x018/x963/966"),
            (7, 0, 127, "tile/7/000.p/127"),
        ] {
            let tile = Tile::new(level, index, width).unwrap();
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse_path(path), Ok(tile));
        }
    }

    #[test]
    fn tile_path_in_any_other_form_is_refused() {
        for bad in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile//000",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/70000/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/a/000",
            "tile/0/x000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001/x002",
            "tile/0/X001/002",
            "tile/0/x01/002",
            "tile/0/x001//002",
            "tile/0/+01",
            "tile/0/٠٠٠",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/0001",
            "tile/0/000.p/",
            "tile/0/000.p/1/",
            "tile/0/000.p/1.p/1",
            "tile/0/x001.p/1",
            "tile/0/000.p",
            "tile/0/000.P/1",
            "tile/0/000 ",
            "tile/0/000\n",
            "tile/entries/000",
            "tile/0/../000",
        ] {
            assert_eq!(Tile::parse_path(bad), Err(TileError::Path(bad.to_owned())));
        }
        for beyond in
            ["tile/8/000.p/1", "tile/63/000", "tile/7/000", "tile/0/x999/x999/x999/x999/x999/x999/999"]
        {
            assert_eq!(Tile::parse_path(beyond), Err(TileError::Beyond(beyond.to_owned())));
        }
    }

    #[test]
    fn tiles_of_a_tree_are_those_of_the_specification() {
        // The specification's own example, and its note on a tree of 256 entries.
        let count = |size, level, full| {
            Tile::grown(0, size).filter(|t| t.level == level && t.is_full() == full).count()
        };
        assert_eq!([count(70_000, 0, true), count(70_000, 1, true), count(70_000, 2, true)], [273, 1, 0]);
        let partial: Vec<String> = Tile::grown(0, 70_000).filter(|t| !t.is_full()).map(Tile::path).collect();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        let paths: Vec<String> = Tile::grown(0, 256).map(Tile::path).collect();
        assert_eq!(paths, ["tile/0/000", "tile/1/000.p/1"]);
    }

    #[test]
    fn tiles_grown_are_those_that_differ() {
        let all = |size| Tile::grown(0, size).collect::<Vec<_>>();
        for (old, new) in
            [(0, 0), (0, 1), (5, 5), (9, 5), (255, 256), (256, 257), (250, 600), (65_530, 65_540), (512, 513)]
        {
            let before = all(old);
            let expected: Vec<Tile> = if old > new {
                vec![]
            } else {
                all(new).into_iter().filter(|t| !before.contains(t)).collect()
            };
            assert_eq!(Tile::grown(old, new).collect::<Vec<_>>(), expected, "{old} to {new}");
        }
        assert!(Tile::grown(u64::MAX - 1, u64::MAX).count() <= 8);
    }

    #[test]
    fn tile_that_ends_at_the_largest_size_is_the_last() {
        let last = MAX_SIZE / 256;
        assert_eq!(Tile::new(0, last, 255).map(|tile| tile.width), Some(255));
        assert_eq!([Tile::new(0, last, 256), Tile::new(0, last + 1, 1)], [None; 2]);
    }

    #[test]
    fn tile_of_hostile_coordinates_does_not_exist() {
        for (level, index, width) in [
            (0, 0, 0),
            (0, 0, 257),
            (8, 0, 1),
            (255, 0, 1),
            (0, u64::MAX, 1),
            (0, u64::MAX / 256, 256),
            (7, 1, 1),
        ] {
            assert_eq!(Tile::new(level, index, width), None);
        }
        for (level, index) in [(64, 0), (255, 1), (0, u64::MAX), (63, 1), (3, u64::MAX >> 3)] {
            assert_eq!(Tile::holding(Node { level, index }, u64::MAX), None);
        }
    }
}
