//! Oracles of `merkle` and `note`.

use strongroom::format::run_proof::RunProof;
use strongroom::merkle::prefix::{MapKey, MapLeaf, MapNode, MapPath, MapPathError};
use strongroom::merkle::{
    Bundle, CompactRange, Hash, MAX_SIZE, Node, ProofError, Tile, consistency_nodes, decode_entries,
    encode_entries, inclusion_nodes, leaf_hash, node_hash, prove_consistency, prove_inclusion, root_of,
    verify_consistency, verify_inclusion,
};
use strongroom::note::{CheckpointBody, SignedNote, SigningKey, VerifyingKey};

use super::input::Input;

/// One tile has one path and one bundle has one text.
pub fn bundle_tile_paths(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for prefix in ["", "tile/", "tile/entries/"] {
        let path = format!("{prefix}{text}");
        if let Ok(tile) = Tile::parse_path(&path) {
            assert_eq!(tile.path(), path);
        }
        if let Ok(bundle) = Bundle::parse_path(&path) {
            assert_eq!(bundle.path(), path);
        }
    }
    let mut input = Input::new(data);
    let (level, index, width) = (input.byte(), input.u64(), u16::from_le_bytes(input.array()));
    let (shift, size) = (input.byte() % 64, input.u64());
    if let Some(tile) = Tile::new(level, index >> shift, width) {
        assert_eq!(Tile::parse_path(&tile.path()), Ok(tile));
        assert_eq!(tile.nodes().count(), usize::from(width));
        let end = (u128::from(tile.index()) * 256 + u128::from(width)) << (8 * u32::from(level));
        assert!(end <= u128::from(MAX_SIZE), "no log has {tile}");
        let _ = tile.hash_of(Node { level, index }, data);
    }
    if let Some(bundle) = Bundle::new(index >> shift, width) {
        assert!(bundle.first() + u64::from(width) <= MAX_SIZE, "no log has {bundle}");
        assert_eq!(Bundle::parse_path(&bundle.path()), Ok(bundle));
    }
    if let Some(tile) = Tile::holding(Node { level, index: index >> shift }, size) {
        assert_eq!(Tile::parse_path(&tile.path()), Ok(tile));
    }
    if let Some((bundle, at)) = Bundle::holding(index, size) {
        assert_eq!(bundle.first() + u64::from(at), index);
        assert!(index < size && at < bundle.width());
    }
    let bytes = input.rest();
    for width in [width, width % 8] {
        if let Ok(entries) = decode_entries(bytes, width) {
            assert_eq!(entries.len(), usize::from(width));
            assert_eq!(encode_entries(&entries).as_deref(), Ok(bytes));
        }
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed("example.com/log".parse().expect("a name"), &[7; 32])
}

/// A note prints as it was read, and verifies only as it was signed.
pub fn note_checkpoint(data: &[u8]) {
    let key = key();
    let keys = [key.verifying_key().clone()];
    if let Ok(note) = SignedNote::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        if note.verify(&keys).is_ok() {
            assert!(note.signatures().iter().any(|one| one.id == keys[0].id()));
        }
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(body) = text.parse::<CheckpointBody>() {
        assert_eq!(body.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifyingKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = text.parse::<SigningKey>() {
        assert_eq!(key.secret_text(), text);
    }

    let mut input = Input::new(data);
    let (byte, bit) = (input.below(usize::MAX), input.byte() % 8);
    let text = String::from_utf8_lossy(input.rest());
    let Ok(note) = SignedNote::sign(text.clone().into_owned(), &[&key]) else { return };
    let mut bytes = note.to_string().into_bytes();
    let back = SignedNote::parse(&bytes).expect("a note that was made can be read");
    assert_eq!(back, note);
    assert_eq!(back.text(), text);
    assert_eq!(back.verify(&keys).map(|keys| keys.len()), Ok(1));
    let at = byte % bytes.len();
    bytes[at] ^= 1 << bit;
    let taken = SignedNote::parse(&bytes).is_ok_and(|note| note.verify(&keys).is_ok());
    assert!(!taken, "a flipped bit was not noticed");
}

/// A run proof prints as it was read and proves nothing to who trusts no key; a node of the run map has
/// one record; a path that some root follows from proves of its key what it shows, and nothing else.
pub fn run_proof(data: &[u8]) {
    if let Ok(proof) = RunProof::parse(data) {
        assert_eq!(proof.to_string().as_bytes(), data);
        assert!(RunProof::is_one(data) && proof.check(&[]).is_err());
        let _ = proof.check_content();
    }
    if let Some(node) = MapNode::read(data) {
        let mut record = Vec::new();
        node.write(&mut record);
        assert!(data.starts_with(&record));
    }
    let mut input = Input::new(data);
    let key = MapKey::from_bytes(input.array());
    let leaf = MapLeaf {
        key: if input.byte().is_multiple_of(2) { key } else { MapKey::from_bytes(input.array()) },
        last: Hash::from_bytes(input.array()),
        count: input.u64(),
    };
    let mut path = MapPath { steps: Vec::new(), leaf: Some(leaf) };
    while !input.is_empty() && path.steps.len() < 256 {
        path.steps.push((input.byte(), Hash::from_bytes(input.array())));
    }
    // The root that the path leads to is in the error for any other.
    let root = match path.check(&key, &leaf_hash(b"another root")) {
        Err(MapPathError::Root { computed, .. }) => computed,
        Err(_) => return,
        Ok(_) => panic!("a path leads to a root that nobody made"),
    };
    let answer = path.check(&key, &root);
    assert_eq!(answer, Ok((leaf.key == key).then_some(leaf)));
    // Under one root nothing else can be shown of this key.
    let mut other = path.clone();
    other.leaf = Some(MapLeaf { count: leaf.count ^ 1, ..leaf });
    assert!(other.check(&key, &root).is_err());
    other.leaf = None;
    assert!(other.check(&key, &root).is_err());
}

/// The root that an inclusion proof leads to, as RFC 6962, section 2.1.1, reads backwards: the last
/// hash is the other half of the whole tree. `None` where the proof has another length than that.
fn root_by_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash]) -> Option<Hash> {
    if size == 1 {
        return proof.is_empty().then_some(*leaf);
    }
    let (other, rest) = proof.split_last()?;
    let left = 1u64 << (size - 1).ilog2();
    if index < left {
        Some(node_hash(&root_by_inclusion(index, left, leaf, rest)?, other))
    } else {
        Some(node_hash(other, &root_by_inclusion(index - left, size - left, leaf, rest)?))
    }
}

/// The older and the newer root that a consistency proof leads to, as section 2.1.2 reads backwards;
/// `whole` says that the subtree of the old tree is the old tree itself, whose root the verifier has.
fn roots_by_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    proof: &[Hash],
    whole: bool,
) -> Option<(Hash, Hash)> {
    if old == new {
        return match proof {
            [] if whole => Some((*old_root, *old_root)),
            [one] if !whole => Some((*one, *one)),
            _ => None,
        };
    }
    let (other, rest) = proof.split_last()?;
    let left = 1u64 << (new - 1).ilog2();
    if old <= left {
        let (older, newer) = roots_by_consistency(old, left, old_root, rest, whole)?;
        Some((older, node_hash(&newer, other)))
    } else {
        let (older, newer) = roots_by_consistency(old - left, new - left, old_root, rest, false)?;
        Some((node_hash(other, &older), node_hash(other, &newer)))
    }
}

/// Proofs verify exactly when the definition leads to the roots given.
pub fn proofs(data: &[u8]) {
    let mut input = Input::new(data);
    let (mode, a, b) = (input.byte(), input.u64(), input.u64());
    if mode % 2 == 0 {
        any_proof(a >> (mode / 2 % 64), b, &mut input);
    } else {
        true_proof(a, b, &mut input);
    }
}

/// A proof of the input's own making, held against roots that it leads to and roots that it does not.
fn any_proof(index: u64, size: u64, input: &mut Input<'_>) {
    // A proof has at most two hashes for each level.
    let bits = input.byte() % 64;
    let size = size >> bits;
    let index = if input.byte().is_multiple_of(2) { index } else { index.checked_rem(size).unwrap_or(0) };
    let extra = input.byte();
    let wanted = match inclusion_nodes(index, size) {
        Ok(_) if extra.is_multiple_of(4) => proof_len(index, size),
        _ => usize::from(extra % 130),
    };
    let proof: Vec<Hash> = (0..wanted).map(|_| Hash::from_bytes([input.byte(); 32])).collect();
    let leaf = leaf_hash(input.take(4));
    let wrong = Hash::from_bytes([input.byte(); 32]);

    // Whatever root a proof leads to, the definition leads to the same, or there is none.
    let led = (index < size).then(|| root_by_inclusion(index, size, &leaf, &proof)).flatten();
    let found = match verify_inclusion(index, size, &leaf, &proof, &wrong) {
        Ok(()) => Some(wrong),
        Err(ProofError::Root { computed, .. }) => Some(computed),
        Err(_) => None,
    };
    assert_eq!(found, led, "leaf {index} of {size}");
    if let Some(root) = led {
        assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()));
    }

    let (old, new) = (index, size);
    if old == 0 || old >= new {
        let verified = verify_consistency(old, new, &leaf, &wrong, &proof).is_ok();
        assert!(!verified || (old == new && leaf == wrong && proof.is_empty()));
        return;
    }
    let led = roots_by_consistency(old, new, &leaf, &proof, true);
    match verify_consistency(old, new, &leaf, &wrong, &proof) {
        Ok(()) => assert_eq!(led, Some((leaf, wrong))),
        Err(ProofError::OldRoot { computed, .. }) => assert_eq!(led.map(|led| led.0), Some(computed)),
        Err(ProofError::Root { computed, .. }) => assert_eq!(led, Some((leaf, computed))),
        Err(_) => assert_eq!(led, None, "{old} to {new}"),
    }
    // A tree that is a subtree of the new one is itself the first hash, so only others can be led to.
    if let Some((older, newer)) = led.filter(|_| !old.is_power_of_two()) {
        assert_eq!(verify_consistency(old, new, &older, &newer, &proof), Ok(()));
    }
}

fn proof_len(index: u64, size: u64) -> usize {
    let (mut index, mut size, mut len) = (index, size, 0);
    while size > 1 {
        let left = 1u64 << (size - 1).ilog2();
        (index, size) = if index < left { (index, left) } else { (index - left, size - left) };
        len += 1;
    }
    len
}

/// Proofs from a real tree, whole and with one bit changed.
fn true_proof(a: u64, b: u64, input: &mut Input<'_>) {
    let size = (a % 300 + 1) as usize;
    let index = b % size as u64;
    let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&(n as u64 ^ a >> 32).to_le_bytes())).collect();
    let root = root_of(&leaves);
    let mut range = CompactRange::new();
    leaves.iter().for_each(|leaf| range.append(*leaf));
    assert_eq!(range.root(), root);
    let leaf = leaves[index as usize];
    let proof = prove_inclusion(index, size as u64, &leaves[..]).expect("the leaf is there");
    assert_eq!(verify_inclusion(index, size as u64, &leaf, &proof, &root), Ok(()));
    let old_root = root_of(&leaves[..index as usize]);
    let steps = prove_consistency(index, size as u64, &leaves[..]).expect("it grew");
    assert_eq!(verify_consistency(index, size as u64, &old_root, &root, &steps), Ok(()));
    assert!(consistency_nodes(index, size as u64).is_ok());

    let bit = input.below(256);
    let flip = |hash: &Hash| {
        let mut bytes = *hash.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash::from_bytes(bytes)
    };
    let at = input.below(proof.len().max(steps.len()));
    let changed = |proof: &[Hash]| {
        let mut proof = proof.to_vec();
        let hash = proof.get_mut(at)?;
        *hash = flip(hash);
        Some(proof)
    };
    if let Some(bad) = changed(&proof) {
        assert!(verify_inclusion(index, size as u64, &leaf, &bad, &root).is_err());
    }
    if let Some(bad) = changed(&steps) {
        assert!(verify_consistency(index, size as u64, &old_root, &root, &bad).is_err());
    }
    assert!(verify_inclusion(index, size as u64, &flip(&leaf), &proof, &root).is_err());
    assert!(verify_inclusion(index, size as u64, &leaf, &proof, &flip(&root)).is_err());
    assert!(verify_consistency(index, size as u64, &flip(&old_root), &root, &steps).is_err());
    // The empty tree is the beginning of every tree, whatever its root.
    if index > 0 {
        assert!(verify_consistency(index, size as u64, &old_root, &flip(&root), &steps).is_err());
    }
}
