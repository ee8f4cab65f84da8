//! The Merkle tree against published vectors, its own laws, and an independent implementation.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use strongroom::merkle::{
    Bundle, CompactRange, EMPTY_ROOT, Hash, HashReader, MAX_SIZE, Node, ProofError, ProveError, ReadError,
    Tile, TileError, TileReadError, TileReader, consistency_nodes, decode_entries, encode_entries,
    inclusion_nodes, leaf_hash, node_hash, prove_consistency, prove_inclusion, root_of, tree_root,
    verify_consistency, verify_inclusion,
};

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i}").into_bytes()).collect()
}

fn leaves(count: usize) -> Vec<Hash> {
    entries(count).iter().map(|entry| leaf_hash(entry)).collect()
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

fn hex(text: &str) -> Hash {
    Hash::from_hex(text).unwrap()
}

/// The eight entries with which implementations of Certificate Transparency test themselves.
fn published_leaves() -> Vec<Hash> {
    let hex =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let byte = |at: usize, text: &str| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    hex.iter()
        .map(|text| (0..text.len()).step_by(2).map(|at| byte(at, text)).collect::<Vec<u8>>())
        .map(|entry| leaf_hash(&entry))
        .collect()
}

const PUBLISHED_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn merkle_roots_are_the_published_ones() {
    let leaves = published_leaves();
    for (at, root) in PUBLISHED_ROOTS.iter().enumerate() {
        assert_eq!(root_of(&leaves[..=at]), hex(root), "size {}", at + 1);
    }
}

#[test]
fn merkle_proofs_are_the_published_ones() {
    let leaves = published_leaves();
    let (leaf0, leaf4) = (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    );
    let (pair1, pair2) = (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    );
    let (pair3, right) = (
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    );
    let left = PUBLISHED_ROOTS[3];
    let inclusion: [(u64, u64, &[&str]); 5] = [
        (0, 1, &[]),
        (0, 8, &[leaf0, pair1, right]),
        (5, 8, &[leaf4, pair3, left]),
        (2, 3, &[PUBLISHED_ROOTS[1]]),
        (1, 5, &[PUBLISHED_ROOTS[0], pair1, leaf4]),
    ];
    for (index, size, proof) in inclusion {
        let expected: Vec<Hash> = proof.iter().map(|text| hex(text)).collect();
        assert_eq!(prove_inclusion(index, size, &leaves[..]), Ok(expected), "leaf {index} of {size}");
    }
    let consistency: [(u64, u64, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[leaf0, pair1, right]), (6, 8, &[pair2, pair3, left]), (2, 5, &[pair1, leaf4])];
    for (old, new, proof) in consistency {
        let expected: Vec<Hash> = proof.iter().map(|text| hex(text)).collect();
        assert_eq!(prove_consistency(old, new, &leaves[..]), Ok(expected), "{old} to {new}");
    }
}

/// Which bits of a hash to flip: every one in small trees, one that moves about in larger ones.
fn bits(size: usize, salt: usize) -> impl Iterator<Item = usize> {
    let (first, step) = if size <= 32 { (0, 1) } else { (salt % 256, 256) };
    (first..256).step_by(step)
}

/// Proofs with one hash changed, left out or added.
fn forgeries(proof: &[Hash], size: usize, salt: usize) -> Vec<Vec<Hash>> {
    let mut out = Vec::new();
    for at in 0..proof.len() {
        for bit in bits(size, salt * 31 + at * 7) {
            let mut forged = proof.to_vec();
            forged[at] = flipped(forged[at], bit);
            out.push(forged);
        }
        let mut shorter = proof.to_vec();
        shorter.remove(at);
        out.push(shorter);
    }
    let mut longer = proof.to_vec();
    longer.push(EMPTY_ROOT);
    out.push(longer);
    out
}

/// Sizes up to 64, and from there a sample that has each power of two with its neighbours.
fn sizes() -> impl Iterator<Item = usize> {
    (1..=256).filter(|size| *size <= 64 || [0, 1, 127].contains(&(size % 128)) || size % 23 == 0)
}

#[test]
fn inclusion_proofs_of_all_leaves_verify_up_to_256() {
    let leaves = leaves(256);
    for size in 1..=leaves.len() {
        let root = root_of(&leaves[..size]);
        for index in 0..size {
            let proof = prove_inclusion(index as u64, size as u64, &leaves[..]).unwrap();
            let result = verify_inclusion(index as u64, size as u64, &leaves[index], &proof, &root);
            assert_eq!(result, Ok(()), "leaf {index} of {size}");
        }
    }
}

/// Whoever chooses the root can make a proof with one hash too many lead to it; its length gives it away.
#[test]
fn inclusion_proof_with_a_hash_too_many_that_leads_to_the_root_fails() {
    let leaves = leaves(8);
    for size in 1..=8 {
        for index in 0..size {
            let (at, of) = (index as u64, size as u64);
            let mut proof = prove_inclusion(at, of, &leaves[..]).unwrap();
            let root = root_of(&leaves[..size]);
            proof.push(leaves[7]);
            for root in [node_hash(&leaves[7], &root), node_hash(&root, &leaves[7])] {
                let refused = verify_inclusion(at, of, &leaves[index], &proof, &root);
                assert_eq!(refused, Err(ProofError::Length { found: proof.len() }));
            }
        }
    }
}

#[test]
fn inclusion_proof_with_anything_changed_fails() {
    let leaves = leaves(256);
    for size in sizes() {
        let root = root_of(&leaves[..size]);
        for index in 0..size {
            let (at, of) = (index as u64, size as u64);
            let leaf = &leaves[index];
            let proof = prove_inclusion(at, of, &leaves[..]).unwrap();
            for bit in bits(size, index) {
                assert!(verify_inclusion(at, of, leaf, &proof, &flipped(root, bit)).is_err());
                assert!(verify_inclusion(at, of, &flipped(*leaf, bit), &proof, &root).is_err());
            }
            for forged in forgeries(&proof, size, index) {
                assert!(verify_inclusion(at, of, leaf, &forged, &root).is_err(), "leaf {index} of {size}");
            }
            for other in [at.wrapping_sub(1), at + 1, at ^ 2] {
                assert!(
                    verify_inclusion(other, of, leaf, &proof, &root).is_err(),
                    "{at} as {other} of {size}"
                );
            }
        }
    }
}

#[test]
fn consistency_proofs_of_all_sizes_verify_up_to_256() {
    let leaves = leaves(256);
    let roots: Vec<Hash> = (0..=leaves.len()).map(|size| root_of(&leaves[..size])).collect();
    for new in 0..=leaves.len() {
        for old in 0..=new {
            let proof = prove_consistency(old as u64, new as u64, &leaves[..]).unwrap();
            let result = verify_consistency(old as u64, new as u64, &roots[old], &roots[new], &proof);
            assert_eq!(result, Ok(()), "{old} to {new}");
        }
    }
}

#[test]
fn consistency_proof_with_anything_changed_fails() {
    let leaves = leaves(256);
    let roots: Vec<Hash> = (0..=leaves.len()).map(|size| root_of(&leaves[..size])).collect();
    for new in sizes() {
        for old in 0..=new {
            let (old_root, new_root) = (roots[old], roots[new]);
            let (m, n) = (old as u64, new as u64);
            let proof = prove_consistency(m, n, &leaves[..]).unwrap();
            for bit in bits(new, old) {
                assert!(verify_consistency(m, n, &flipped(old_root, bit), &new_root, &proof).is_err());
                // The empty tree is the beginning of any tree, so there the new root is free.
                let forged = verify_consistency(m, n, &old_root, &flipped(new_root, bit), &proof);
                assert_eq!(forged.is_err(), old > 0, "{old} to {new}");
            }
            for forged in forgeries(&proof, new, old) {
                assert!(verify_consistency(m, n, &old_root, &new_root, &forged).is_err(), "{old} to {new}");
            }
        }
    }
}

#[test]
fn consistency_proof_for_a_rewritten_tree_fails() {
    let honest = leaves(40);
    let mut rewritten = honest.clone();
    rewritten[3] = leaf_hash(b"something else");
    for old in 4..40 {
        let proof = prove_consistency(old, 40, &rewritten[..]).unwrap();
        let (before, after) = (root_of(&honest[..old as usize]), root_of(&rewritten));
        assert!(verify_consistency(old, 40, &before, &after, &proof).is_err(), "{old}");
    }
}

#[test]
fn proofs_about_impossible_sizes_are_errors_and_never_panic() {
    let leaves = leaves(4);
    let hash = leaves[0];
    let no_such = ProofError::NoSuchLeaf { index: 4, size: 4 };
    assert_eq!(prove_inclusion(4, 4, &leaves[..]), Err(ProveError::Impossible(no_such)));
    let shrunk = ProofError::Shrunk { old: 3, new: 2 };
    assert_eq!(prove_consistency(3, 2, &leaves[..]), Err(ProveError::Impossible(shrunk)));
    let short = ReadError::Count { asked: 3, got: 2 };
    assert_eq!(prove_inclusion(0, 8, &leaves[..]), Err(ProveError::Read(short)));
    let extremes = [0, 1, 2, 3, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX];
    for a in extremes {
        for b in extremes {
            for len in [0, 1, 63, 64, 65, 200] {
                let proof = vec![hash; len];
                let included = verify_inclusion(a, b, &hash, &proof, &hash).is_ok();
                assert_eq!(included, (a, b, len) == (0, 1, 0), "{a} {b} {len}");
                let consistent = verify_consistency(a, b, &hash, &hash, &proof).is_ok();
                assert_eq!(consistent, a == b && a > 0 && len == 0, "{a} {b} {len}");
            }
            assert!(inclusion_nodes(a, b).is_err() == (a >= b));
            assert!(consistency_nodes(a, b).is_err() == (a > b));
        }
    }
}

/// Tiles held in memory, made as a log makes them: from the nodes that each leaf completes.
#[derive(Default)]
struct Log {
    range: CompactRange,
    nodes: BTreeMap<Node, Hash>,
    tiles: BTreeMap<Tile, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing(Tile);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is missing", self.0)
    }
}

impl std::error::Error for Missing {}

impl Log {
    fn grow(&mut self, leaves: &[Hash]) {
        let old = self.range.size();
        for leaf in leaves {
            self.range.append_with(*leaf, |node, hash| {
                self.nodes.insert(node, hash);
            });
        }
        for tile in Tile::grown(old, self.range.size()) {
            let bytes = tile.nodes().flat_map(|node| *self.nodes[&node].as_bytes()).collect();
            self.tiles.insert(tile, bytes);
        }
    }

    fn fetch(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Missing> {
        tiles.iter().map(|tile| self.tiles.get(tile).cloned().ok_or(Missing(*tile))).collect()
    }
}

#[test]
fn proofs_from_tiles_equal_proofs_from_leaves() {
    let all = leaves(70_000);
    let mut log = Log::default();
    for size in [1, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000] {
        log.grow(&all[log.range.size() as usize..size]);
        let root = log.range.root();
        let fetched = Cell::new(0);
        let reader = TileReader::new(size as u64, |tiles: &[Tile]| {
            fetched.set(fetched.get() + 1);
            log.fetch(tiles)
        });
        assert_eq!(tree_root(size as u64, &reader), Ok(root));
        for index in [0, size / 3, size / 2, size - 1] {
            fetched.set(0);
            let proof = prove_inclusion(index as u64, size as u64, &reader).unwrap();
            assert!(fetched.get() <= 1, "one computation fetches once");
            assert_eq!(verify_inclusion(index as u64, size as u64, &all[index], &proof, &root), Ok(()));
            let old = index as u64 + 1;
            let old_root = tree_root(old, &reader).unwrap();
            let proof = prove_consistency(old, size as u64, &reader).unwrap();
            assert_eq!(verify_consistency(old, size as u64, &old_root, &root, &proof), Ok(()));
        }
    }
    assert_eq!(log.range.root(), root_of(&all));
}

#[test]
fn tile_reader_with_bad_tiles_is_an_error() {
    let none = |_: &[Tile]| Ok::<_, Infallible>(Vec::new());
    let node = Node { level: 0, index: 3 };
    let reader = TileReader::new(3, none);
    assert_eq!(reader.read(&[node]), Err(TileReadError::NoSuchNode { node, size: 3 }));
    assert_eq!(reader.read(&[]), Ok(Vec::new()));
    let reader = TileReader::new(4, none);
    assert_eq!(reader.read(&[node]), Err(TileReadError::Count { asked: 1, got: 0 }));
    let reader = TileReader::new(4, |_: &[Tile]| Ok::<_, Infallible>(vec![vec![0; 127]]));
    let tile = Tile::new(0, 0, 4).unwrap();
    assert_eq!(reader.read(&[node]), Err(TileReadError::Tile(TileError::Length { tile, found: 127 })));
    let reader = TileReader::new(4, |tiles: &[Tile]| Err::<Vec<Vec<u8>>, _>(Missing(tiles[0])));
    assert_eq!(reader.read(&[node]), Err(TileReadError::Fetch(Missing(tile))));
    for (level, index) in [(0, 4), (1, 2), (3, 0), (8, 0), (255, 255), (0, u64::MAX)] {
        let node = Node { level, index };
        assert_eq!(tile.hash_of(node, &[0; 128]), Err(TileError::NotHere { tile, node }));
    }
}

#[test]
fn ct_merkle_makes_the_same_roots_and_proofs() {
    let entries = entries(130);
    let leaves = leaves(130);
    let mut theirs = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let joined = |proof: Vec<Hash>| proof.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>();
    for (at, entry) in entries.iter().enumerate() {
        theirs.push(entry.clone());
        let size = at + 1;
        assert_eq!(theirs.root().as_bytes()[..], root_of(&leaves[..size]).as_bytes()[..]);
        for index in 0..size {
            let ours = prove_inclusion(index as u64, size as u64, &leaves[..]).unwrap();
            assert_eq!(theirs.prove_inclusion(index).as_bytes(), joined(ours), "leaf {index} of {size}");
            let old = index + 1;
            if old < size {
                let ours = prove_consistency(old as u64, size as u64, &leaves[..]).unwrap();
                assert_eq!(theirs.prove_consistency(size - old).as_bytes(), joined(ours), "{old} to {size}");
            }
        }
    }
}

proptest! {
    #[test]
    fn prop_tile_path_round_trips(level in 0u8..8, index: u64, shift in 0u32..64, width in 1u16..=256) {
        if let Some(tile) = Tile::new(level, index >> shift, width) {
            prop_assert_eq!(Tile::parse_path(&tile.path()), Ok(tile));
        }
        if let Some(bundle) = Bundle::new(index >> shift, width) {
            prop_assert_eq!(Bundle::parse_path(&bundle.path()), Ok(bundle));
        }
    }

    #[test]
    fn prop_parsed_tile_path_is_the_only_one(path in "tile/(entries|[0-9]{1,2})/(x?[0-9]{1,4}/){0,3}x?[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = Tile::parse_path(&path) {
            prop_assert_eq!(tile.path(), path.clone());
        }
        if let Ok(bundle) = Bundle::parse_path(&path) {
            prop_assert_eq!(bundle.path(), path);
        }
    }

    #[test]
    fn prop_any_text_is_parsed_without_a_panic(path in "(tile/)?.{0,40}", bytes: Vec<u8>, width: u16) {
        let _ = Tile::parse_path(&path);
        let _ = Bundle::parse_path(&path);
        let _ = path.parse::<Hash>();
        let _ = decode_entries(&bytes, width);
    }

    #[test]
    fn prop_tile_holding_a_node_has_it(level in 0u8..63, index: u64, size in 1..=MAX_SIZE, shift in 0u32..63) {
        let node = Node { level, index: index >> shift >> level };
        match Tile::holding(node, size) {
            Some(tile) => {
                let below = u32::from(level % 8);
                let first = Node { level: level - level % 8, index: node.index << below };
                let last = Node { index: first.index + (1 << below) - 1, ..first };
                let held: Vec<Node> = tile.nodes().collect();
                prop_assert!(held.contains(&first) && held.contains(&last));
                prop_assert!(held.iter().all(|node| node.size_needed().is_some_and(|needed| needed <= size)));
            }
            None => prop_assert!(node.size_needed().is_none_or(|needed| needed > size)),
        }
    }

    #[test]
    fn prop_bundle_round_trips(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let bytes = encode_entries(&entries).unwrap();
        let back = decode_entries(&bytes, entries.len() as u16).unwrap();
        prop_assert_eq!(back, entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn prop_decoded_bundle_encodes_to_the_same_bytes(bytes in prop::collection::vec(0u8..4, 0..40), width in 0u16..12) {
        if let Ok(entries) = decode_entries(&bytes, width) {
            prop_assert_eq!(encode_entries(&entries), Ok(bytes.clone()));
        }
    }

    #[test]
    fn prop_proofs_need_few_hashes(index: u64, size: u64) {
        if let Ok(nodes) = inclusion_nodes(index, size) {
            prop_assert!(nodes.len() <= 128 && nodes.iter().all(|n| n.size_needed().is_some_and(|e| e <= size)));
        }
        if let Ok(nodes) = consistency_nodes(index, size) {
            prop_assert!(nodes.len() <= 128 && nodes.iter().all(|n| n.size_needed().is_some_and(|e| e <= size)));
        }
    }
}
