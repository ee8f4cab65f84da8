//! The Merkle tree of the audit log: arithmetic only, no files and no signatures.
//!
//! The tree is that of RFC 6962, section 2.1, over SHA-256. For a list `D[n]` of n entries, and k the
//! largest power of two smaller than n:
//!
//! ```text
//! MTH({})   = SHA-256()
//! MTH({d})  = SHA-256(0x00 || d)
//! MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))
//! ```
//!
//! [`root_of`] is this definition and nothing else; everything faster is tested against it. The
//! hash of a complete subtree never changes once its last leaf is there: such a hash is a [`Node`],
//! and every root and every proof is computed from nodes alone. So each computation first lists the
//! nodes that it needs and then works on their hashes ([`HashReader`]); where these come from, and
//! whether they are fetched one by one or together, is somebody else's business.
//!
//! Nodes are stored in tiles and entries in bundles as C2SP tlog-tiles lays them out ([`Tile`],
//! [`Bundle`]), so that existing clients can read the log.
//!
//! Sizes, indexes, paths and bytes may come from an enemy: nothing here panics on any of them.

mod bundle;
mod edge;
mod hash;
pub mod prefix;
mod proof;
mod range;
mod reader;
mod tile;
mod tree;

pub use bundle::{Bundle, BundleError, decode_entries, encode_entries};
pub use edge::{TileEdge, partial_tiles};
pub use hash::{EMPTY_ROOT, Hash, HashError, leaf_hash, node_hash};
pub use proof::{
    ProofError, ProveError, consistency_nodes, inclusion_nodes, prove_consistency, prove_inclusion,
    verify_consistency, verify_inclusion,
};
pub use range::{CompactRange, RangeError};
pub use reader::{TileReadError, TileReader, tiles_for};
pub use tile::{TILE_WIDTH, Tile, TileError};
pub use tree::{HashReader, Node, ReadError, root_nodes, root_of, tree_root};

/// The largest number of entries a log may have: what other implementations hold in a signed 64-bit
/// integer.
pub const MAX_SIZE: u64 = i64::MAX as u64;
