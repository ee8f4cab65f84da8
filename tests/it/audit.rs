//! The audit log as others read it: tiles that follow from the entries, judged by a second
//! implementation, and what each kind of tampering leaves to be found.

use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::merkle::{self, Hash};
use strongroom::store::Store;

use crate::fixture::{self, adopt, failures, init, migrate, open, snapshot};

/// A store with some entries in its log.
fn world(root: &Path) -> PathBuf {
    let source = fixture::source(&root.join("old"));
    let dir = root.join("store");
    let store = init(&dir);
    adopt(&store, &source);
    migrate(&store).unwrap();
    dir
}

fn overwrite(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The tiles and bundles of a store, as paths below `audit/tile`.
fn tile_files(dir: &Path) -> Vec<String> {
    snapshot(&dir.join("audit/tile")).into_keys().filter(|name| !name.ends_with('/')).collect()
}

fn codes(store: &Store) -> Vec<String> {
    failures(store).iter().map(|line| line[..4].to_owned()).collect()
}

/// The RFC 6962 root from the bundles, by a program that shares nothing with ours.
const JUDGE: &str = r#"
import hashlib, os, sys
def sha(b): return hashlib.sha256(b).digest()
def mth(d):
    if not d: return sha(b"")
    if len(d) == 1: return sha(b"\0" + d[0])
    k = 1
    while k * 2 < len(d): k *= 2
    return sha(b"\1" + mth(d[:k]) + mth(d[k:]))
tiles, size = sys.argv[1], int(sys.argv[2])
def path(level, n, w):
    name = "%03d" % (n % 1000)
    while n >= 1000:
        n //= 1000
        name = "x%03d/%s" % (n % 1000, name)
    return os.path.join(tiles, level, name + ("" if w == 256 else ".p/%d" % w))
def read(level, n, w):
    with open(path(level, n, w), "rb") as f: return f.read()
entries = []
for n in range((size + 255) // 256):
    w = min(256, size - n * 256)
    data = read("entries", n, w)
    for _ in range(w):
        length = int.from_bytes(data[:2], "big")
        entries.append(data[2:2 + length])
        data = data[2 + length:]
    assert not data
nodes, level = [sha(b"\0" + e) for e in entries], 0
while nodes:
    for n in range((len(nodes) + 255) // 256):
        part = nodes[n * 256:(n + 1) * 256]
        assert read(str(level), n, len(part)) == b"".join(part), (level, n)
    up = []
    for n in range(len(nodes) // 256):
        part = nodes[n * 256:(n + 1) * 256]
        while len(part) > 1: part = [sha(b"\1" + a + b) for a, b in zip(part[::2], part[1::2])]
        up += part
    nodes, level = up, level + 1
print(mth(entries).hex())
"#;

/// The root that the judge computes after checking every tile; `None` without Python.
fn judged(dir: &Path, size: u64) -> Option<String> {
    let tiles = dir.join("audit/tile");
    let out = Command::new("python3").args(["-c", JUDGE]).arg(tiles).arg(size.to_string()).output().ok()?;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8(out.stdout).unwrap().trim().to_owned())
}

fn check_by_judge(dir: &Path) {
    let head = open(dir).log().unwrap().head;
    match judged(dir, head.size) {
        Some(root) => assert_eq!(root, head.root.hex()),
        None => println!("skipped: no python3 to judge the tiles"),
    }
}

#[test]
fn tiles_follow_every_settle_and_a_second_implementation_agrees() {
    let root = tempfile::tempdir().unwrap();
    let dir = world(root.path());
    let store = open(&dir);
    assert_eq!(failures(&store), Vec::<String>::new());
    let size = store.log().unwrap().head.size;
    // Partial ones of earlier sizes are gone.
    assert_eq!(tile_files(&dir), [format!("0/000.p/{size}"), format!("entries/000.p/{size}")]);
    check_by_judge(&dir);
}

#[test]
fn tiles_of_a_log_past_one_full_tile_are_right_and_prove_every_entry() {
    let root = tempfile::tempdir().unwrap();
    let artifacts = root.path().join("old/artifacts");
    for n in 0..300 {
        fixture::run_with_snapshots(&artifacts, "job-m", "1.1.0", &format!("topic {n}"));
    }
    let dir = root.path().join("store");
    let store = init(&dir);
    adopt(&store, &artifacts);
    let (first, view) = (store.log().unwrap().head, store.log().unwrap());
    assert_eq!(first.size, 301);
    check_by_judge(&dir);
    migrate(&store).unwrap();
    let head = store.log().unwrap().head;
    assert_eq!(head.size, 602);
    assert_eq!(failures(&store), Vec::<String>::new());
    check_by_judge(&dir);
    let expected =
        ["0/000", "0/001", "0/002.p/90", "1/000.p/2", "entries/000", "entries/001", "entries/002.p/90"];
    assert_eq!(tile_files(&dir), expected);

    let now = store.log().unwrap();
    let (reader, root_hash) = (store.hash_reader(&now), Hash::from_bytes(*head.root.as_bytes()));
    for index in [0, 1, 255, 256, 299, 511, 512, 601] {
        let leaf = merkle::leaf_hash(&store.entry_bytes(&now, index).unwrap());
        let proof = merkle::prove_inclusion(index, head.size, &reader).unwrap();
        merkle::verify_inclusion(index, head.size, &leaf, &proof, &root_hash).unwrap();
    }
    let old_root = Hash::from_bytes(*view.head.root.as_bytes());
    let proof = merkle::prove_consistency(view.head.size, head.size, &reader).unwrap();
    merkle::verify_consistency(view.head.size, head.size, &old_root, &root_hash, &proof).unwrap();

    // A full tile that is cut, changed or gone is found, and reindex makes it anew; with no tile at all the
    // next command makes them all, the same as before.
    let before = snapshot(&dir.join("audit/tile"));
    let tile = dir.join("audit/tile/0/001");
    let bytes = std::fs::read(&tile).unwrap();
    overwrite(&tile, &bytes[32..]);
    assert_eq!(codes(&store), ["E174"]);
    std::fs::remove_file(&tile).unwrap();
    assert_eq!(codes(&store), ["E174"]);
    assert_eq!(store.reindex().unwrap().mended, ["audit/tile/0/001"]);
    assert_eq!(failures(&store), Vec::<String>::new());
    let partial = dir.join("audit/tile/0/002.p/90");
    overwrite(&partial, &[7; 90 * 32]);
    overwrite(&tile, &bytes[32..]);
    assert_eq!(store.reindex().unwrap().mended, ["audit/tile/0/001", "audit/tile/0/002.p/90"]);
    assert_eq!(store.reindex().unwrap().mended, Vec::<String>::new());
    assert_eq!(snapshot(&dir.join("audit/tile")), before);
    overwrite(&tile, &bytes[32..]);
    for level in ["0", "1"] {
        std::fs::remove_dir_all(dir.join("audit/tile").join(level)).unwrap();
    }
    assert_eq!(codes(&store), ["E174"; 4]);
    fixture::run_with_snapshots(&root.path().join("more"), "job-n", "1.1.0", "one");
    adopt(&store, &root.path().join("more"));
    assert_eq!(failures(&store), Vec::<String>::new());
    check_by_judge(&dir);
    let after = snapshot(&dir.join("audit/tile"));
    assert_eq!((&before["0/000"], &before["0/001"]), (&after["0/000"], &after["0/001"]));
}

#[test]
fn tile_or_entry_changed_by_hand_is_found() {
    let root = tempfile::tempdir().unwrap();
    let dir = world(root.path());
    let store = open(&dir);
    let size = store.log().unwrap().head.size;
    let (tile, bundle) = (
        dir.join(format!("audit/tile/0/000.p/{size}")),
        dir.join(format!("audit/tile/entries/000.p/{size}")),
    );
    let (good_tile, good_bundle) = (std::fs::read(&tile).unwrap(), std::fs::read(&bundle).unwrap());
    for at in (0..good_tile.len()).step_by(7) {
        let mut bad = good_tile.clone();
        bad[at] ^= 1;
        overwrite(&tile, &bad);
        assert_eq!(codes(&store), ["E174"], "byte {at}");
    }
    // An entry edited, and its tile recomputed to match: the head still holds the old root.
    let entries = merkle::decode_entries(&good_bundle, u16::try_from(size).unwrap()).unwrap();
    let mut entries: Vec<Vec<u8>> = entries.into_iter().map(<[u8]>::to_vec).collect();
    let text = String::from_utf8(entries[0].clone()).unwrap();
    entries[0] = text.replacen("adopted", "adoptee", 1).into_bytes();
    assert_ne!(entries[0], text.as_bytes());
    overwrite(&bundle, &merkle::encode_entries(&entries).unwrap());
    assert!(codes(&store).contains(&"E174".to_owned()));
    let hashes: Vec<u8> = entries.iter().flat_map(|entry| *merkle::leaf_hash(entry).as_bytes()).collect();
    overwrite(&tile, &hashes);
    let found = codes(&store);
    assert!(found.contains(&"E173".to_owned()) && !found.contains(&"E174".to_owned()), "{found:?}");
    overwrite(&bundle, &good_bundle);
    overwrite(&tile, &good_tile);
    assert_eq!(failures(&store), Vec::<String>::new());
}

/// The newest `run-map` entry as the log has it.
fn newest_map(store: &Store) -> (u64, strongroom::format::entry::MapRef) {
    let view = store.log().unwrap();
    let mut maps =
        (0..view.size()).filter_map(|index| Some((index, store.entry(&view, index).unwrap().map?)));
    maps.next_back().unwrap()
}

/// The root over all runs by a program that shares nothing with ours: every entry of a run makes its
/// leaf, and the tree is cut at the first bit that tells keys apart.
const MAP_JUDGE: &str = r#"
import hashlib, json, os, sys
def sha(b): return hashlib.sha256(b).digest()
def bit(k, i): return k[i // 8] >> (7 - i % 8) & 1
def root(d, i=0):
    if not d: return sha(b"")
    if len(d) == 1:
        (k, (last, n)), = d.items()
        return sha(b"\2" + k + last + n.to_bytes(8, "big"))
    while len({bit(k, i) for k in d}) == 1: i += 1
    side = [{k: v for k, v in d.items() if bit(k, i) == s} for s in (0, 1)]
    return sha(b"\3" + bytes([i]) + root(side[0], i + 1) + root(side[1], i + 1))
data, size, runs, said = open(sys.argv[1], "rb").read(), int(sys.argv[2]), {}, None
for _ in range(size):
    n = int.from_bytes(data[:2], "big")
    raw, data = data[2:2 + n], data[2 + n:]
    e = json.loads(raw)
    if e["kind"] == "run-map":
        assert "sha256:" + root(runs).hex() == e["map"]["root"] and len(runs) == e["map"]["runs"], e
        said = e["map"]["root"]
    elif "run_id" in e:
        runs[sha((e["job_id"] + "/" + e["run_id"]).encode())] = (sha(b"\0" + raw), e["run_seq"])
print(said)
"#;

#[test]
fn run_map_of_every_batch_is_judged_right_and_damage_to_its_nodes_is_found_and_mended() {
    let root = tempfile::tempdir().unwrap();
    let dir = world(root.path());
    let store = open(&dir);
    let (index, map) = newest_map(&store);
    let head = store.log().unwrap().head;
    assert_eq!((index, map.runs), (head.size - 1, 3));
    let bundle = dir.join(format!("audit/tile/entries/000.p/{}", head.size));
    match Command::new("python3").args(["-c", MAP_JUDGE]).arg(&bundle).arg(head.size.to_string()).output() {
        Ok(out) => {
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), map.root.to_string());
        }
        Err(_) => println!("skipped: no python3 to judge the run map"),
    }

    let nodes = dir.join("audit/runs/00000001");
    let good = std::fs::read(&nodes).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for damaged in [&bad[..], &good[..good.len() - 1], b""] {
        std::fs::write(&nodes, damaged).unwrap();
        assert_eq!(codes(&store), ["E201"]);
    }
    std::fs::remove_file(&nodes).unwrap();
    assert_eq!(codes(&store), ["E201"]);
    assert_eq!(store.reindex().unwrap().mended, ["audit/runs/00000001"]);
    assert_eq!(failures(&store), Vec::<String>::new());
    // A change of a run that needs what is damaged makes all of it anew, whatever was there.
    std::fs::write(&nodes, b"short").unwrap();
    fixture::run_with_snapshots(&root.path().join("more"), "job-m", "1.1.0", "one");
    adopt(&store, &root.path().join("more"));
    assert_eq!(failures(&store), Vec::<String>::new());
    assert_eq!(snapshot(&dir.join("audit/runs")).len(), 1, "older files are gone");
    assert_eq!(store.reindex().unwrap().mended, Vec::<String>::new());
}

#[test]
fn run_map_begins_with_the_next_batch_of_a_store_made_before_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = world(root.path());
    // As a program without run maps left it: nothing in the head, no nodes.
    let head = std::fs::read(dir.join("audit/head")).unwrap();
    let mut head = strongroom::format::head::Head::parse(&head).unwrap();
    head.runs = None;
    std::fs::write(dir.join("audit/head"), head.to_bytes()).unwrap();
    std::fs::remove_dir_all(dir.join("audit/runs")).unwrap();
    let store = open(&dir);
    assert_eq!(failures(&store), Vec::<String>::new());
    fixture::run_with_snapshots(&root.path().join("more"), "job-m", "1.1.0", "one");
    adopt(&store, &root.path().join("more"));
    assert_eq!(newest_map(&store).1.runs, 4);
    assert_eq!(failures(&store), Vec::<String>::new());
}

/// As many batches leave the file of nodes: far longer than the tree needs.
pub fn grow_run_map(dir: &Path) -> usize {
    let nodes = dir.join("audit/runs/00000001");
    let mut bytes = std::fs::read(&nodes).unwrap();
    let live = bytes.len();
    bytes.resize(2 << 20, 0);
    std::fs::write(&nodes, &bytes).unwrap();
    live
}

#[test]
fn run_map_file_is_written_anew_when_most_of_it_is_dead() {
    let root = tempfile::tempdir().unwrap();
    let dir = world(root.path());
    let live = grow_run_map(&dir);
    let store = open(&dir);
    assert_eq!(failures(&store), Vec::<String>::new());
    fixture::run_with_snapshots(&root.path().join("more"), "job-m", "1.1.0", "one");
    adopt(&store, &root.path().join("more"));
    assert_eq!(failures(&store), Vec::<String>::new());
    let files = snapshot(&dir.join("audit/runs"));
    assert_eq!(files.keys().collect::<Vec<_>>(), ["00000002"]);
    assert!(files["00000002"].len() < live + 200, "{} bytes", files["00000002"].len());
}
