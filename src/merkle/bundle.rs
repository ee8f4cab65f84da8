//! Entry bundles of C2SP tlog-tiles: up to 256 entries, each after its length as a big-endian
//! 16-bit number. Bundle n holds the entries whose hashes are in tile n of level 0.

use std::fmt;

use super::MAX_SIZE;
use super::tile::{Place, TILE_WIDTH, TileError};

/// Why entries are no bundle or bytes hold no entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A bundle holds 1 to 256 entries.
    #[error("a bundle holds 1 to 256 entries, not {0}")]
    Count(usize),
    /// The length of an entry does not fit into 16 bits.
    #[error("entry {at} of the bundle has {len} bytes, more than 65535")]
    TooLong {
        /// The entry's position in the bundle, from 0.
        at: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// The bytes end within an entry or before the last one.
    #[error("the bundle ends at byte {len}, within entry {at} of {count}")]
    Truncated {
        /// The entry's position in the bundle, from 0.
        at: usize,
        /// How many entries there should be.
        count: usize,
        /// The number of bytes.
        len: usize,
    },
    /// Bytes follow the last entry.
    #[error("{extra} bytes follow the {count} entries of the bundle")]
    Trailing {
        /// How many entries there should be.
        count: usize,
        /// How many bytes follow them.
        extra: usize,
    },
}

/// A bundle's coordinates. Every value is a bundle that some tree of at most [`MAX_SIZE`] entries has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// The bundle of these coordinates; `None` where no tree has it.
    pub fn new(index: u64, width: u16) -> Option<Self> {
        let end = index.checked_mul(u64::from(TILE_WIDTH))?.checked_add(u64::from(width))?;
        ((1..=TILE_WIDTH).contains(&width) && end <= MAX_SIZE).then_some(Self { index, width })
    }

    /// The bundle in which a tree of `size` entries keeps this entry, and the entry's position in it.
    pub fn holding(entry: u64, size: u64) -> Option<(Self, u16)> {
        let last = size.checked_sub(1).filter(|last| entry <= *last)?;
        let width = u64::from(TILE_WIDTH);
        let index = entry / width;
        let here = if index == last / width { last % width + 1 } else { width };
        Some((Self::new(index, here as u16)?, (entry % width) as u16))
    }

    /// How many bundles stand before it.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many entries it holds: 1 to 256.
    pub fn width(self) -> u16 {
        self.width
    }

    /// Whether it is full and will never change.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The position in the log of its first entry.
    pub fn first(self) -> u64 {
        self.index * u64::from(TILE_WIDTH)
    }

    /// The bundles that a log has at `new` entries and did not have, in that form, at `old`. Lazy,
    /// since there may be very many.
    pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let width = u64::from(TILE_WIDTH);
        let end = if new > old { new.div_ceil(width) } else { 0 };
        (old / width..end).filter_map(move |index| Some(Self::holding(index * width, new)?.0))
    }

    /// The path below the log's prefix: `tile/entries/<N>[.p/<W>]`.
    pub fn path(self) -> String {
        format!("tile/entries/{}", Place { index: self.index, width: self.width })
    }

    /// Parses a path, strictly: one bundle has one path.
    pub fn parse_path(path: &str) -> Result<Self, TileError> {
        let place = path.strip_prefix("tile/entries/").ok_or_else(|| TileError::Path(path.to_owned()))?;
        let Place { index, width } = Place::parse(place, path)?;
        Self::new(index, width).ok_or_else(|| TileError::Beyond(path.to_owned()))
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Writes the bytes of a bundle.
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    if !(1..=usize::from(TILE_WIDTH)).contains(&entries.len()) {
        return Err(BundleError::Count(entries.len()));
    }
    let mut out = Vec::with_capacity(entries.iter().map(|entry| entry.as_ref().len() + 2).sum());
    for (at, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let len = u16::try_from(entry.len()).map_err(|_| BundleError::TooLong { at, len: entry.len() })?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(entry);
    }
    Ok(out)
}

/// Reads the bytes of a bundle of exactly `width` entries.
pub fn decode_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let count = usize::from(width);
    if !(1..=TILE_WIDTH).contains(&width) {
        return Err(BundleError::Count(count));
    }
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(count);
    for at in 0..count {
        let truncated = BundleError::Truncated { at, count, len: bytes.len() };
        let Some((len, after)) = rest.split_first_chunk::<2>() else { return Err(truncated) };
        let Some((entry, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*len))) else {
            return Err(truncated);
        };
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(BundleError::Trailing { count, extra: rest.len() });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundle_round_trips_and_every_cut_is_refused() {
        let entries: [&[u8]; 4] = [b"one", b"", &[0xff; 300], b"\0\0"];
        let bytes = encode_entries(&entries).unwrap();
        assert_eq!(bytes[..5], *b"\0\x03one");
        assert_eq!(decode_entries(&bytes, 4), Ok(entries.to_vec()));
        for cut in 0..bytes.len() {
            let error = decode_entries(&bytes[..cut], 4);
            assert!(matches!(error, Err(BundleError::Truncated { .. })), "cut at {cut}");
        }
        assert_eq!(decode_entries(&bytes, 3), Err(BundleError::Trailing { count: 3, extra: 4 }));
        assert_eq!(
            decode_entries(&bytes, 5),
            Err(BundleError::Truncated { at: 4, count: 5, len: bytes.len() })
        );
    }

    #[test]
    fn bundle_of_too_much_is_refused() {
        assert_eq!(encode_entries::<&[u8]>(&[]), Err(BundleError::Count(0)));
        assert_eq!(encode_entries(&[b""; 257]), Err(BundleError::Count(257)));
        assert_eq!(decode_entries(&[], 0), Err(BundleError::Count(0)));
        assert_eq!(decode_entries(&[0; 514], 257), Err(BundleError::Count(257)));
        assert_eq!(decode_entries(&[0; 2], 1), Ok(vec![&b""[..]]));
        assert_eq!(decode_entries(&[0; 512], 256), Ok(vec![&b""[..]; 256]));
        assert_eq!(encode_entries(&[b""; 256]), Ok(vec![0; 512]));
        assert!(encode_entries(&[vec![0; 65_535]]).is_ok());
        let error = encode_entries(&[vec![], vec![0; 65_536]]);
        assert_eq!(error, Err(BundleError::TooLong { at: 1, len: 65_536 }));
    }

    #[test]
    fn bundle_paths_round_trip_and_others_are_refused() {
        for (index, width, path) in
            [(0, 256, "tile/entries/000"), (1_234_067, 5, "tile/entries/x001/x234/067.p/5")]
        {
            let bundle = Bundle::new(index, width).unwrap();
            assert_eq!(bundle.path(), path);
            assert_eq!(Bundle::parse_path(path), Ok(bundle));
        }
        for bad in ["tile/0/000", "tile/entries/", "tile/entries/0", "tile/entries/000.p/256"] {
            assert_eq!(Bundle::parse_path(bad), Err(TileError::Path(bad.to_owned())));
        }
        let beyond = "tile/entries/x099/x999/x999/x999/x999/999";
        assert_eq!(Bundle::parse_path(beyond), Err(TileError::Beyond(beyond.to_owned())));
    }

    #[test]
    fn bundle_that_ends_at_the_largest_size_is_the_last() {
        let last = MAX_SIZE / 256;
        assert_eq!(Bundle::new(last, 255).map(|bundle| bundle.width), Some(255));
        assert_eq!([Bundle::new(last, 256), Bundle::new(last + 1, 1)], [None; 2]);
    }

    #[test]
    fn bundle_holding_an_entry_follows_the_size() {
        let held = |entry, size| Bundle::holding(entry, size).map(|(b, at)| (b.index, b.width, at));
        assert_eq!(held(0, 1), Some((0, 1, 0)));
        assert_eq!(held(255, 256), Some((0, 256, 255)));
        assert_eq!(held(256, 300), Some((1, 44, 0)));
        assert_eq!(held(3, 300), Some((0, 256, 3)));
        assert_eq!([held(0, 0), held(5, 5), held(u64::MAX, u64::MAX)], [None; 3]);
        let grown: Vec<String> = Bundle::grown(250, 513).map(Bundle::path).collect();
        assert_eq!(grown, ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/1"]);
        for (old, new) in [(256, 256), (250, 250), (0, 0), (300, 10)] {
            assert_eq!(Bundle::grown(old, new).count(), 0, "{old} {new}");
        }
        let of = |index, width| Bundle::new(index, width).unwrap();
        assert_eq!([of(3, 256).first(), of(3, 1).first()], [768, 768]);
        assert_eq!([of(3, 256).is_full(), of(3, 255).is_full()], [true, false]);
    }
}
