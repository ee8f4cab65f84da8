//! Tree, tiles, notes and checkpoints against other people's vectors and programs: the proofs of
//! transparency-dev/merkle, and the crates `tlog_tiles` and `signed_note`.

use serde_json::Value;
use signed_note::{StandardSigner, StandardVerifier, VerifierList};
use strongroom::merkle::{
    CompactRange, Hash, Tile, leaf_hash, prove_consistency, prove_inclusion, root_of, verify_consistency,
    verify_inclusion,
};
use strongroom::note::{CheckpointBody, SignedNote, SigningKey, VerifyingKey};
use tlog_tiles::{HashReader, check_record, check_tree};

const STRICTER: &str =
    "consistency/additional/sizes-are-equal-and-proof-is-not-empty-where-both-sizes-are-zero";
const VECTORS: &str = include_str!("../golden/merkle/vectors.json");

fn number(vector: &Value, member: &str) -> u64 {
    vector[member].as_u64().unwrap()
}

/// A vector's hash. What is too short for one stands for any, the same text for the same; `None` for no text.
fn hash(text: &Value) -> Option<Hash> {
    let text = text.as_str().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| leaf_hash(text.as_bytes())))
}

fn hashes(proof: &Value) -> Option<Vec<Hash>> {
    proof.as_array().map_or(Some(Vec::new()), |proof| proof.iter().map(hash).collect())
}

/// Whether the proof of a vector holds here.
fn holds(kind: &str, vector: &Value) -> bool {
    let verified = |vector: &Value| {
        let proof = hashes(&vector["proof"])?;
        Some(match kind {
            "inclusion" => {
                let (index, size) = (number(vector, "leafIdx"), number(vector, "treeSize"));
                verify_inclusion(index, size, &hash(&vector["leafHash"])?, &proof, &hash(&vector["root"])?)
                    .is_ok()
            }
            _ => {
                let (old, new) = (number(vector, "size1"), number(vector, "size2"));
                verify_consistency(old, new, &hash(&vector["root1"])?, &hash(&vector["root2"])?, &proof)
                    .is_ok()
            }
        })
    };
    verified(vector).unwrap_or(false)
}

#[test]
fn merkle_proofs_of_transparency_dev_are_judged_as_they_say() {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let (mut good, mut bad) = (0, 0);
    for kind in ["inclusion", "consistency"] {
        for vector in all[kind].as_array().unwrap() {
            let mut must_fail = vector["wantErr"].as_bool().unwrap();
            // Two empty trees whose root is not that of the empty tree: refused here, which is stricter.
            must_fail |= vector["name"].as_str() == Some(STRICTER);
            assert_eq!(holds(kind, vector), !must_fail, "{}", vector["name"]);
            if must_fail { bad += 1 } else { good += 1 }
        }
    }
    assert_eq!(good + bad, 195);
    assert!(good >= 10 && bad >= 100, "{good} {bad}");
}

/// The hashes that `tlog_tiles` keeps of a tree.
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|at| self.0[*at as usize]).collect())
    }
}

fn theirs(hash: &Hash) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

#[test]
fn merkle_trees_and_proofs_are_those_of_tlog_tiles() {
    const SIZE: u64 = 70;
    let entries: Vec<Vec<u8>> = (0..SIZE).map(|i| format!("entry {i}").into_bytes()).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let mut stored = Stored(Vec::new());
    let mut tree = CompactRange::new();
    for (at, entry) in entries.iter().enumerate() {
        let more = tlog_tiles::stored_hashes(at as u64, entry, &stored).unwrap();
        stored.0.extend(more);
        tree.append(leaves[at]);
        let size = at as u64 + 1;
        let root = tlog_tiles::tree_hash(size, &stored).unwrap();
        assert_eq!((theirs(&root_of(&leaves[..=at])), theirs(&tree.root())), (root, root), "size {size}");
        for index in 0..size {
            let ours: Vec<tlog_tiles::Hash> =
                prove_inclusion(index, size, &leaves[..]).unwrap().iter().map(theirs).collect();
            assert_eq!(ours, tlog_tiles::prove_record(size, index, &stored).unwrap(), "{index} of {size}");
            let leaf = theirs(&leaves[index as usize]);
            assert!(check_record(&ours, size, root, index, leaf).is_ok());
            assert!(check_record(&ours, size, leaf, index, leaf).is_ok() == (size == 1));
        }
        for old in 1..=size {
            let ours: Vec<tlog_tiles::Hash> =
                prove_consistency(old, size, &leaves[..]).unwrap().iter().map(theirs).collect();
            assert_eq!(ours, tlog_tiles::prove_tree(size, old, &stored).unwrap(), "{old} to {size}");
            let before = theirs(&root_of(&leaves[..old as usize]));
            assert!(check_tree(&ours, size, root, old, before).is_ok());
        }
    }
}

#[test]
fn merkle_tile_paths_are_those_of_tlog_tiles() {
    for (level, index, width) in [
        (0, 0, 256),
        (0, 0, 1),
        (0, 999, 256),
        (1, 1000, 17),
        (3, 1_234_067, 255),
        (0, u64::from(u32::MAX), 256),
    ] {
        let ours = Tile::new(level, index, width).unwrap();
        let other = tlog_tiles::Tile::new(8, level, index, u32::from(width), false);
        // That crate has Go's paths, which begin with the tile's height; C2SP's do not.
        assert_eq!(other.path(), ours.path().replacen("tile/", "tile/8/", 1));
    }
}

#[test]
fn notes_and_checkpoints_are_those_of_signed_note_and_tlog_tiles() {
    let name = "example.com/log";
    let ours = SigningKey::from_seed(name.parse().unwrap(), &[7; 32]);
    let root = leaf_hash(b"entry");
    let body =
        CheckpointBody { origin: name.to_owned(), size: 1, root: *root.as_bytes(), extensions: Vec::new() };
    let text = body.to_string();
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.size(), *checkpoint.hash()), (name, 1, theirs(&root)));
    assert_eq!(checkpoint.to_bytes(), text.as_bytes());

    // Ours read by theirs.
    let note = SignedNote::sign(text.clone(), &[&ours]).unwrap();
    let read = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
    let known =
        VerifierList::new(vec![Box::new(StandardVerifier::new(&ours.verifying_key().to_string()).unwrap())]);
    let (signed, unknown) = read.verify(&known).unwrap();
    assert_eq!((signed.len(), unknown.len()), (1, 0));
    assert_eq!(read.to_bytes(), note.to_string().as_bytes());
    let mut bad = note.to_string().into_bytes();
    bad[0] ^= 1;
    let bad = signed_note::Note::from_bytes(&bad).unwrap();
    assert!(bad.verify(&known).is_err());

    // Theirs read by ours, and byte for byte the same.
    let signer = StandardSigner::new(&ours.secret_text()).unwrap();
    let mut made = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
    made.add_sigs(&[&signer]).unwrap();
    assert_eq!(made.to_bytes(), note.to_string().as_bytes());
    let keys: [VerifyingKey; 1] = [ours.verifying_key().clone()];
    assert!(SignedNote::parse(&made.to_bytes()).unwrap().verify(&keys).is_ok());
}
