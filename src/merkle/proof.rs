//! Inclusion and consistency proofs: made as RFC 6962, sections 2.1.1 and 2.1.2, defines them,
//! checked as RFC 9162, sections 2.1.3.2 and 2.1.4.2, prescribes.

use super::hash::{EMPTY_ROOT, Hash, node_hash};
use super::tree::{HashReader, Leaves, Node, ReadError, read, split};

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("leaf {index} is not in a tree of {size} entries")]
    NoSuchLeaf {
        /// The leaf's position, from 0.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The tree that should be the older one is larger.
    #[error("a tree of {old} entries cannot be the beginning of one of {new}")]
    Shrunk {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer tree.
        new: u64,
    },
    /// The proof has more or fewer hashes than these sizes call for.
    #[error("a proof of {found} hashes does not fit the sizes it is about")]
    Length {
        /// How many hashes the proof has.
        found: usize,
    },
    /// The proof leads to another root than the one given for the (newer) tree.
    #[error("the proof leads to root {computed}, not to {expected}")]
    Root {
        /// What the proof comes to.
        computed: Hash,
        /// The root that was to be proven.
        expected: Hash,
    },
    /// The proof leads to another root than the one given for the older tree.
    #[error("the proof leads to the older root {computed}, not to {expected}")]
    OldRoot {
        /// What the proof comes to.
        computed: Hash,
        /// The root that was to be proven.
        expected: Hash,
    },
}

/// Why no proof could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E: std::error::Error + 'static> {
    /// What was to be proven cannot be true.
    #[error(transparent)]
    Impossible(ProofError),
    /// The hashes that it needs were not there.
    #[error(transparent)]
    Read(#[from] ReadError<E>),
}

/// `PATH(m, D[n])`: the parts of the tree whose roots are the proof, the one beside the leaf first.
fn inclusion_parts(index: u64, size: u64) -> Result<Vec<Leaves>, ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let mut parts = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            parts.push(Leaves { start: middle, end });
            end = middle;
        } else {
            parts.push(Leaves { start, end: middle });
            start = middle;
        }
    }
    parts.reverse();
    Ok(parts)
}

/// `PROOF(m, D[n])`: the parts of the newer tree whose roots are the proof, the lowest first.
fn consistency_parts(old: u64, new: u64) -> Result<Vec<Leaves>, ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    // RFC 6962 leaves out the empty tree; it is the beginning of every tree, which needs no proof.
    if old == 0 {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let (mut start, mut end) = (0, new);
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            parts.push(Leaves { start: middle, end });
            end = middle;
        } else {
            parts.push(Leaves { start, end: middle });
            start = middle;
        }
    }
    // The subtree that ends where the old tree ended. While it begins at 0 it is the old tree
    // itself, whose root the verifier has.
    if start > 0 {
        parts.push(Leaves { start, end });
    }
    parts.reverse();
    Ok(parts)
}

fn nodes(parts: &[Leaves]) -> Vec<Node> {
    parts.iter().flat_map(|part| part.nodes()).collect()
}

fn prove<R: HashReader + ?Sized>(
    parts: Result<Vec<Leaves>, ProofError>,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    let parts = parts.map_err(ProveError::Impossible)?;
    let mut hashes = read(reader, &nodes(&parts))?.into_iter();
    Ok(parts.iter().map(|part| part.root(&mut hashes)).collect())
}

/// The nodes from which the inclusion proof of leaf `index` in the tree of `size` is computed.
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<Node>, ProofError> {
    Ok(nodes(&inclusion_parts(index, size)?))
}

/// The nodes from which the proof that the tree of `old` entries is the beginning of the tree of
/// `new` is computed.
pub fn consistency_nodes(old: u64, new: u64) -> Result<Vec<Node>, ProofError> {
    Ok(nodes(&consistency_parts(old, new)?))
}

/// Makes the inclusion proof of leaf `index` in the tree of `size` entries.
pub fn prove_inclusion<R: HashReader + ?Sized>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    prove(inclusion_parts(index, size), reader)
}

/// Makes the proof that the tree of `old` entries is the beginning of the tree of `new`. It has no
/// hashes where `old` is 0 or equals `new`.
pub fn prove_consistency<R: HashReader + ?Sized>(
    old: u64,
    new: u64,
    reader: &R,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    prove(consistency_parts(old, new), reader)
}

/// Checks that `leaf` is the hash of leaf `index` in the tree of `size` entries with this root.
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Hash,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    // RFC 9162, section 2.1.3.2; `at` and `last` are its fn and sn.
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length { found: proof.len() });
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            skip_lone_levels(&mut at, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length { found: proof.len() });
    }
    if hash != *root {
        return Err(ProofError::Root { computed: hash, expected: *root });
    }
    Ok(())
}

/// On the right edge a node without a sibling rises unchanged: "if LSB(fn) is not set, right-shift
/// both fn and sn equally until either LSB(fn) is set or fn is 0".
fn skip_lone_levels(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        *at >>= 1;
        *last >>= 1;
    }
}

/// Checks that the tree of `old` entries with `old_root` is the beginning of the tree of `new`
/// entries with `new_root`.
///
/// Every tree begins with the empty one and with itself; the proof of either has no hashes.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    let wrong_length = ProofError::Length { found: proof.len() };
    if old == 0 || old == new {
        if !proof.is_empty() {
            return Err(wrong_length);
        }
        if old == 0 && *old_root != EMPTY_ROOT {
            return Err(ProofError::OldRoot { computed: EMPTY_ROOT, expected: *old_root });
        }
        if old == new && new_root != old_root {
            return Err(ProofError::Root { computed: *old_root, expected: *new_root });
        }
        return Ok(());
    }
    // RFC 9162, section 2.1.4.2; `at` and `last` are its fn and sn.
    let (seed, rest) = match proof.split_first() {
        None => return Err(wrong_length),
        Some(_) if old.is_power_of_two() => (old_root, proof),
        Some(parts) => parts,
    };
    let (mut at, mut last) = (old - 1, new - 1);
    let ones = at.trailing_ones();
    at = at.checked_shr(ones).unwrap_or(0);
    last = last.checked_shr(ones).unwrap_or(0);
    let (mut old_hash, mut new_hash) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            skip_lone_levels(&mut at, &mut last);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if old_hash != *old_root {
        return Err(ProofError::OldRoot { computed: old_hash, expected: *old_root });
    }
    if new_hash != *new_root {
        return Err(ProofError::Root { computed: new_hash, expected: *new_root });
    }
    Ok(())
}
