//! A catalogue of bad stores: each a small store with one thing done to it, with exactly the codes that
//! `verify` gives, and whether a second program written from `store-layout.md` objects too.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use strongroom::base::canonical;
use strongroom::base::digest::Sha256;
use strongroom::format::finding::Code;
use strongroom::format::head::Head;
use strongroom::merkle;
use strongroom::store::{Checkpoint, Store, VerifyOptions};

use crate::common::{self, Bench, overwrite, put};
use crate::fixture;

/// How the check is asked.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    Plainly,
    /// With the key pinned.
    Pinned,
    /// With a checkpoint kept elsewhere.
    Since,
    /// With the key pinned, and nothing may stay unsigned.
    Strict,
}
use Ask::{Pinned, Plainly, Since, Strict};

/// What the second program says.
#[derive(Clone, Copy, PartialEq)]
enum Judge {
    Objects,
    /// It finds nothing: not what it looks at, as its head says.
    OutOfScope,
}
use Judge::{Objects, OutOfScope};

/// A name, what is done, how it is asked, the codes, and the second program's word.
type Row = (&'static str, fn(&Bad), Ask, &'static str, Judge);

/// A store that is about to go bad.
pub struct Bad {
    pub dir: PathBuf,
    pub label: String,
    pub tea: String,
    pub chain: String,
    pub recorded: String,
}

impl Bad {
    /// Adds an entry of nobody's: members that come before and after `operation`, in canonical order.
    fn add_entry(&self, before: &str, after: &str) {
        let member = |name: &str| self.member(0, name);
        let (actor, operation, time) = (member("actor"), member("operation"), member("time"));
        let entry = format!(
            "{{\"actor\":\"{actor}\",\"batch\":9,{before}\"operation\":\"{operation}\",{after}\"time\":\"{time}\",\"v\":1}}"
        );
        let mut entries = self.entries();
        entries.push(entry.into_bytes());
        self.rewrite_log(&entries);
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.dir.join(path)).unwrap()
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.dir.join(path);
        if path.exists() { overwrite(&path, bytes) } else { put(&path, bytes) }
    }

    pub fn replace(&self, path: &str, from: &str, to: &str) {
        common::tamper(&self.dir.join(path), from, to);
    }

    pub fn remove(&self, path: &str) {
        let path = self.dir.join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// Puts a link to something real in the place of a file or folder.
    fn link(&self, path: &str) {
        fs::rename(self.dir.join(path), self.dir.join("tmp/aside")).unwrap();
        symlink(self.dir.join("tmp/aside"), self.dir.join(path)).unwrap();
    }

    /// Flips a bit; a negative place counts from the end.
    pub fn flip(&self, path: &str, at: isize) {
        let mut bytes = self.read(path);
        let at = if at < 0 { bytes.len() - at.unsigned_abs() } else { at.unsigned_abs() };
        bytes[at] ^= 1;
        self.write(path, bytes);
    }

    fn cut(&self, path: &str, by: usize) {
        let bytes = self.read(path);
        self.write(path, &bytes[..bytes.len() - by]);
    }

    pub fn of(&self, run: &str, path: &str) -> String {
        format!("artifacts/{run}/{path}")
    }

    pub fn manifest(&self, run: &str) -> String {
        self.of(run, "manifest.json")
    }

    pub fn entries(&self) -> Vec<Vec<u8>> {
        let bytes = self.read(&self.bundle());
        let size = u16::try_from(self.head().size).unwrap();
        merkle::decode_entries(&bytes, size).unwrap().into_iter().map(<[u8]>::to_vec).collect()
    }

    fn head(&self) -> Head {
        Head::parse(&self.read("audit/head")).unwrap()
    }

    pub fn bundle(&self) -> String {
        format!("audit/tile/entries/000.p/{}", self.head().size)
    }

    fn tile(&self) -> String {
        format!("audit/tile/0/000.p/{}", self.head().size)
    }

    /// Writes a log that is whole in itself: bundle, tile and head follow from the entries.
    pub fn rewrite_log(&self, entries: &[Vec<u8>]) {
        self.remove("audit/tile");
        let leaves: Vec<merkle::Hash> = entries.iter().map(|entry| merkle::leaf_hash(entry)).collect();
        let size = entries.len();
        let mut range = merkle::CompactRange::new();
        leaves.iter().for_each(|leaf| range.append(*leaf));
        let mut head = self.head();
        let sha = |hash: &merkle::Hash| Sha256::from_bytes(*hash.as_bytes());
        head.size = size as u64;
        head.root = sha(&range.root());
        head.frontier = range.hashes().iter().map(sha).collect();
        self.write("audit/head", head.to_bytes());
        self.write(&format!("audit/tile/entries/000.p/{size}"), merkle::encode_entries(entries).unwrap());
        let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        self.write(&format!("audit/tile/0/000.p/{size}"), hashes);
    }

    /// Edits one entry's text and makes the log whole again; later entries of the run keep their links.
    pub fn edit_entry(&self, at: usize, from: &str, to: &str) {
        let mut entries = self.entries();
        let text = String::from_utf8(entries[at].clone()).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        entries[at] = text.replacen(from, to, 1).into_bytes();
        self.rewrite_log(&entries);
    }

    /// A member of an entry.
    fn member(&self, at: usize, name: &str) -> String {
        let entry: Value = serde_json::from_slice(&self.entries()[at]).unwrap();
        entry[name].as_str().unwrap().to_owned()
    }

    /// As an insider does it: a manifest is edited, and the run's last entry says so.
    fn forge(&self, run: &str, from: &str, to: &str) {
        let path = self.manifest(run);
        let before = Sha256::of(&self.read(&path)).to_string();
        self.replace(&path, from, to);
        let after = Sha256::of(&self.read(&path)).to_string();
        let last = self.entries().len() - 1;
        let of_run = |text: &[u8]| String::from_utf8_lossy(text).contains(&format!("\"after\":\"{before}\""));
        let at = (0..=last).rev().find(|at| of_run(&self.entries()[*at])).unwrap();
        self.edit_entry(at, &format!("\"after\":\"{before}\""), &format!("\"after\":\"{after}\""));
    }
}

const RUN_MAP: &str = "audit/runs/00000001";
const SEGMENT: &str = "objects/segments/00000001.seg";

#[rustfmt::skip]
const RUNS: &[Row] = &[
    ("manifest deleted", |b| b.remove(&b.manifest(&b.label)), Plainly, "E101", Objects),
    ("manifest edited", |b| b.replace(&b.manifest(&b.label), "1.10", "1.11"), Plainly, "E102 E150", Objects),
    ("manifest with a space more", |b| b.replace(&b.manifest(&b.tea), "}\n", "} \n"), Plainly, "E102 E150", Objects),
    ("manifest cut", |b| b.cut(&b.manifest(&b.label), 9), Plainly, "E102 E103", Objects),
    ("manifest with a member twice", |b| b.replace(&b.manifest(&b.tea), "{\n", "{\n  \"status\": 1,\n"), Plainly, "E102 E103", Objects),
    ("manifest with a byte order mark", |b| b.replace(&b.manifest(&b.tea), "{\n", "\u{feff}{\n"), Plainly, "E102 E103", Objects),
    ("manifest with NaN", |b| b.replace(&b.manifest(&b.label), "1.10", "NaN"), Plainly, "E102 E103", Objects),
    ("manifest with a number beyond binary64", |b| b.replace(&b.manifest(&b.label), "1.10", "1e999"), Plainly, "E102 E103", Objects),
    ("manifest that is a list", |b| b.write(&b.manifest(&b.label), "[]"), Plainly, "E102 E103 W203", Objects),
    ("manifest of another run", |b| b.write(&b.manifest(&b.label), b.read(&b.manifest(&b.tea))), Plainly, "E102 E122 E131 E132 E133 E151", Objects),
    ("manifest behind a link", |b| b.link(&b.manifest(&b.label)), Plainly, "E107", Objects),
    ("output edited", |b| b.replace(&b.of(&b.label, "outputs/result.md"), "result", "Result"), Plainly, "E105 E121", Objects),
    ("input edited", |b| b.replace(&b.of(&b.tea, "inputs/brief.resolved.json"), "tea", "ale"), Plainly, "E105 E120", Objects),
    ("output edited, and its digest in the manifest", |b| {
        let path = b.of(&b.label, "outputs/result.md");
        let old = Sha256::of(&b.read(&path)).to_string();
        b.replace(&path, "result", "Result");
        b.replace(&b.manifest(&b.label), &old, &Sha256::of(&b.read(&path)).to_string());
    }, Plainly, "E102 E105 E150", Objects),
    ("file deleted", |b| b.remove(&b.of(&b.label, "outputs/result.md")), Plainly, "E104", Objects),
    ("folder deleted", |b| b.remove(&b.of(&b.label, "outputs")), Plainly, "E104", Objects),
    ("file added", |b| b.write(&b.of(&b.label, "outputs/more.md"), "more"), Plainly, "E106", Objects),
    ("folder added", |b| fs::create_dir(b.dir.join(b.of(&b.label, "more"))).unwrap(), Plainly, "E106", Objects),
    ("file behind a link", |b| b.link(&b.of(&b.label, "outputs/result.md")), Plainly, "E107", Objects),
    ("folder behind a link", |b| b.link(&b.of(&b.label, "outputs")), Plainly, "E104 E107", Objects),
    ("folder in the place of a file", |b| {
        let path = b.of(&b.label, "outputs/result.md");
        b.remove(&path);
        fs::create_dir(b.dir.join(path)).unwrap();
    }, Plainly, "E107", Objects),
    ("executable made of a file", |b| {
        let path = b.dir.join(b.of(&b.label, "outputs/result.md"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }, Plainly, "W204", OutOfScope),
    ("run deleted", |b| b.remove(&format!("artifacts/{}", b.tea)), Plainly, "E108", Objects),
    ("job deleted", |b| b.remove("artifacts/tea"), Plainly, "E108", Objects),
    ("run added by hand", |b| drop(fixture::run_with_snapshots(&b.dir.join("artifacts"), "by-hand", "1.2.0", "x")), Plainly, "E109", Objects),
    ("run copied under another job", |b| common::copy_tree(&b.dir.join(format!("artifacts/{}", b.tea)), &b.dir.join(format!("artifacts/ale/{}", b.tea.split_once('/').unwrap().1))), Plainly, "E109", Objects),
    ("file beside the jobs", |b| b.write("artifacts/notes.md", "x"), Plainly, "E110", Objects),
    ("file beside the runs", |b| b.write("artifacts/tea/notes.md", "x"), Plainly, "E110", Objects),
    ("job behind a link", |b| b.link("artifacts/tea"), Plainly, "E107 E110", Objects),
    ("doctrine of other content", |b| b.replace(&b.of(&b.chain, "inputs/doctrine.json"), "Be kind.", "Be swift"), Plainly, "E105 E120 E140", Objects),
    ("doctrine without content", |b| b.replace(&b.of(&b.chain, "inputs/doctrine.json"), "\"content\"", "\"contend\""), Plainly, "E105 E120 E141", Objects),
    ("hash of an earlier output edited", |b| b.replace(&b.of(&b.chain, "inputs/prior_artifact.json"), "sha256:", "sha256:0"), Plainly, "E105 E120 E143", Objects),
];

/// The log made whole again after each edit, as an insider without the key does it.
#[rustfmt::skip]
const INSIDER: &[Row] = &[
    ("status forged, entry and all", |b| b.forge(&b.recorded, "succeeded", "failed"), Plainly, "E160 E176 E200", Objects),
    ("input snapshot's digest forged", |b| b.forge(&b.recorded, &Sha256::of(b"{}\n").hex(), &Sha256::of(b"x").hex()), Plainly, "E120 E130 E160 E176 E200", Objects),
    ("output's digest forged", |b| b.forge(&b.recorded, &Sha256::of(&large()).hex(), &Sha256::of(b"x").hex()), Plainly, "E121 E160 E176 E200", Objects),
    ("declared path out of the run forged", |b| b.forge(&b.recorded, "\"inputs/", "\"../inputs/"), Plainly, "E123 E160 E176 E200", Objects),
    ("inputs_hash forged", |b| b.forge(&b.recorded, "\"inputs_hash\": \"sha256:", "\"inputs_hash\": \"sha256:f"), Plainly, "E130 E132 E160 E176 E200", Objects),
    ("run_id forged", |b| b.forge(&b.recorded, "\"run_id\": \"", "\"run_id\": \"f"), Plainly, "E131 E160 E176 E200", Objects),
    ("job_id forged", |b| b.forge(&b.recorded, "\"job_id\": \"", "\"job_id\": \"f"), Plainly, "E133 E160 E176 E200", Objects),
    ("a file declared that is not there", |b| b.forge(&b.recorded, "outputs/large.bin", "outputs/larger.bin"), Plainly, "E122 E160 E176 E200", Objects),
    ("earlier run of a chain forged", |b| b.forge(&b.chain, "\"run_id\": \"", "\"run_id\": \"f"), Plainly, "E142 E160 E176 E200", Objects),
    ("migration record forged", |b| b.forge(&b.tea, "\"checksum_before\": \"sha256:", "\"checksum_before\": \"sha256:f"), Plainly, "E150 E151 E160 E176 E200", Objects),
    ("migration that changed an id, logged, its bytes kept", |b| b.forge(&b.tea, "\"job_id\": \"tea\"", "\"job_id\": \"ale\""), Plainly, "E133 E150 E152 E176 E200", Objects),
    ("entry of another kind", |b| b.edit_entry(1, "\"adopted\"", "\"adoptee\""), Plainly, "E170 E176 E200", Objects),
    ("entry with white space", |b| b.edit_entry(1, "{\"actor\"", "{ \"actor\""), Plainly, "E170 E176 E200", Objects),
    ("entry with a member more", |b| b.edit_entry(1, "\"batch\"", "\"bat\":1,\"batch\""), Plainly, "E170 E176 E200", Objects),
    ("entry of another time", |b| b.edit_entry(1, "\"time\":\"2", "\"time\":\"1"), Plainly, "E176 E200 W210", Objects),
    ("entry of another run", |b| b.edit_entry(8, "\"job_id\":\"", "\"job_id\":\"f"), Plainly, "E108 E109 E176 E200", Objects),
    ("entry with another number in its run", |b| b.edit_entry(6, "\"run_seq\":2", "\"run_seq\":3"), Plainly, "E102 E151 E171 E176 E200", Objects),
    ("entry that names an unknown actor", |b| b.edit_entry(8, &b.member(8, "actor"), &Sha256::of(b"x").to_string()), Plainly, "E160 E176 E200", Objects),
    ("entry doubled", |b| {
        let mut entries = b.entries();
        entries.push(entries[8].clone());
        b.rewrite_log(&entries);
    }, Plainly, "E171", Objects),
    ("run map of another root", |b| b.edit_entry(9, "\"root\":\"sha256:", "\"root\":\"sha256:f"), Plainly, "E170 E176 E200 E201", Objects),
    ("outcome of nothing", |b| b.add_entry("\"kind\":\"outcome\",\"of\":0,", "\"outcome\":\"applied\","), Plainly, "E206", OutOfScope),
    ("intent whose records are none", |b| {
        let actor = b.member(0, "actor");
        b.add_entry(&format!("\"detail\":\"{actor}\",\"kind\":\"intent\","), &format!("\"pack\":{{\"digest\":\"{actor}\",\"name\":\"p\",\"version\":\"1\"}},\"target\":\"{actor}\","));
    }, Plainly, "E205 W207", OutOfScope),
    ("run map of another root, its length kept", |b| {
        let root: Value = serde_json::from_slice(&b.entries()[9]).unwrap();
        b.edit_entry(9, root["map"]["root"].as_str().unwrap(), &Sha256::of(b"x").to_string());
    }, Plainly, "E176 E200 E201", Objects),
    ("run map of more runs", |b| b.edit_entry(4, "\"runs\":3", "\"runs\":4"), Plainly, "E176 E200", Objects),
    ("run map left out", |b| {
        let mut entries = b.entries();
        entries.pop();
        b.rewrite_log(&entries);
    }, Plainly, "E176 E200 E201", Objects),
    ("entries exchanged", |b| {
        let mut entries = b.entries();
        entries.swap(1, 2);
        b.rewrite_log(&entries);
    }, Plainly, "E176", Objects),
    ("first entry of a run removed", |b| {
        let mut entries = b.entries();
        entries.remove(1);
        b.rewrite_log(&entries);
    }, Plainly, "E109 E176 E200 E201", Objects),
    ("log's end cut, its run and checkpoint too", |b| {
        let mut entries = b.entries();
        entries.truncate(8);
        b.rewrite_log(&entries);
        b.remove(&format!("artifacts/{}", b.recorded));
        b.remove("audit/checkpoint");
    }, Since, "E177 E201", OutOfScope),
    ("log's end cut, its run and checkpoint too, asked of the key", |b| {
        let mut entries = b.entries();
        entries.truncate(8);
        b.rewrite_log(&entries);
        b.remove(&format!("artifacts/{}", b.recorded));
        b.remove("audit/checkpoint");
    }, Strict, "E178 E201", OutOfScope),
];

/// The log's files, one by one.
#[rustfmt::skip]
const LOG: &[Row] = &[
    ("entry edited in its bundle", |b| b.replace_bytes_of_bundle(), Plainly, "E173 E174 E176 W210", Objects),
    ("length in a bundle", |b| b.flip(&b.bundle(), 0), Plainly, "E172 E176", Objects),
    ("bundle cut", |b| b.cut(&b.bundle(), 1), Plainly, "E172 E176", Objects),
    ("bundle deleted", |b| b.remove(&b.bundle()), Plainly, "E172 E176", Objects),
    ("bundle behind a link", |b| b.link(&b.bundle()), Plainly, "E172 E176", Objects),
    ("tile edited", |b| b.flip(&b.tile(), 40), Plainly, "E174", Objects),
    ("tile cut", |b| b.cut(&b.tile(), 32), Plainly, "E174", Objects),
    ("tile deleted", |b| b.remove(&b.tile()), Plainly, "E174", Objects),
    ("run map's nodes edited", |b| b.flip(RUN_MAP, -1), Plainly, "E201", OutOfScope),
    ("run map's nodes deleted", |b| b.remove(RUN_MAP), Plainly, "E201", OutOfScope),
    ("head deleted", |b| b.remove("audit/head"), Plainly, "Damaged", Objects),
    ("head emptied", |b| b.write("audit/head", ""), Plainly, "Damaged", Objects),
    ("head's check", |b| b.replace("audit/head", "\"check\":\"sha256:", "\"check\":\"sha256:f"), Plainly, "Damaged", Objects),
    ("head of another root", |b| {
        let mut head = b.head();
        head.root = Sha256::of(b"another");
        b.write("audit/head", head.to_bytes());
    }, Plainly, "E173", Objects),
    ("head of another frontier", |b| {
        let mut head = b.head();
        head.frontier.reverse();
        b.write("audit/head", head.to_bytes());
    }, Plainly, "E173", Objects),
    ("head of a smaller size", |b| {
        let mut head = b.head();
        head.size = 8;
        head.frontier.truncate(1);
        head.root = head.frontier[0];
        b.write("audit/head", head.to_bytes());
    }, Plainly, "E172 E176", Objects),
    ("head that commits more of a segment", |b| {
        let mut head = b.head();
        head.segments[0].len += 200;
        b.write("audit/head", head.to_bytes());
    }, Plainly, "E162", Objects),
    ("head that commits a segment that is not there", |b| {
        let mut head = b.head();
        head.segments.push(head.segments[0]);
        head.segments[1].number = 7;
        b.write("audit/head", head.to_bytes());
    }, Plainly, "E162", Objects),
    ("checkpoint that is none", |b| b.write("audit/checkpoint", "signed\n"), Plainly, "E175", Objects),
    ("checkpoint of another root", |b| {
        let text = String::from_utf8(b.read("audit/checkpoint")).unwrap();
        let root = text.lines().nth(2).unwrap().to_owned();
        b.replace("audit/checkpoint", &root, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }, Plainly, "E175 E176", Objects),
    ("checkpoint of another log", |b| b.replace("audit/checkpoint", "strongroom.invalid", "strongroom.example"), Plainly, "E175", Objects),
    ("checkpoint's signature", |b| b.flip("audit/checkpoint", -20), Pinned, "E175", OutOfScope),
    ("key put in by hand", |b| b.write("audit/keys/00000000", "nobody+00000000+AQ==\n"), Plainly, "E182", OutOfScope),
    ("key's entry doubled", |b| {
        let mut entries = b.entries();
        entries.push(entries[0].clone());
        b.rewrite_log(&entries);
    }, Plainly, "E183", OutOfScope),
    ("kept checkpoint of another size", |b| b.write("audit/anchors/9/checkpoint", b.read("audit/checkpoint")), Plainly, "E188", OutOfScope),
    ("checkpoint deleted", |b| b.remove("audit/checkpoint"), Strict, "E178", OutOfScope),
];

/// Objects and settings.
#[rustfmt::skip]
const OBJECTS: &[Row] = &[
    ("segment's header", |b| b.flip(SEGMENT, 20), Plainly, "E160 E162", Objects),
    ("first record of a segment", |b| b.flip(SEGMENT, 160), Plainly, "E162", Objects),
    ("last record of a segment", |b| b.flip(SEGMENT, -20), Plainly, "E160 E162", Objects),
    ("check of a segment's last record", |b| b.flip(SEGMENT, -1), Plainly, "E160 E162", OutOfScope),
    ("segment cut", |b| b.cut(SEGMENT, 1), Plainly, "E160 E162", Objects),
    ("segment emptied", |b| b.write(SEGMENT, ""), Plainly, "E160 E162", Objects),
    ("segment deleted", |b| b.remove(SEGMENT), Plainly, "E160 E162", Objects),
    ("segment of another number", |b| fs::rename(b.dir.join(SEGMENT), b.dir.join("objects/segments/00000002.seg")).unwrap(), Plainly, "E160 E162", Objects),
    ("rubbish after a segment's end", |b| {
        let mut bytes = b.read(SEGMENT);
        bytes.extend(b"rubbish");
        b.write(SEGMENT, bytes);
    }, Plainly, "W206", OutOfScope),
    ("large blob edited", |b| b.flip(&b.large(), 1000), Plainly, "E161", Objects),
    ("large blob cut", |b| b.cut(&b.large(), 1), Plainly, "E160 E161", Objects),
    ("large blob deleted", |b| b.remove(&b.large()), Plainly, "E160", Objects),
    ("file among the objects", |b| b.write("objects/notes", "x"), Plainly, "E110", OutOfScope),
    ("store id of another store", |b| b.replace("strongroom.toml", "store_id = \"", "store_id = \"0"), Plainly, "Damaged", Objects),
    ("settings deleted", |b| b.remove("strongroom.toml"), Plainly, "NoStore", Objects),
    ("settings of a newer format", |b| b.replace("strongroom.toml", "read_version = 0", "read_version = 9"), Plainly, "Newer", Objects),
    ("settings with a pack that is none", |b| b.replace("strongroom.toml", "pack = \"", "pack = \"../"), Plainly, "Damaged", OutOfScope),
    ("settings with a pack that is not there", |b| b.replace("strongroom.toml", "pack = \"", "pack = \"x"), Plainly, "NotFound", OutOfScope),
    ("settings that are no TOML", |b| b.replace("strongroom.toml", "=", "=="), Plainly, "Damaged", Objects),
    ("leftover in tmp", |b| {
        b.write("tmp/00000000000000000000000000000000-1/x", "x");
        b.write("tmp/00000000000000000000000000000000-1.lock", "");
    }, Plainly, "W205", OutOfScope),
    ("file of an installed pack deleted", |b| {
        b.install_pack();
        let folder = fs::read_dir(b.dir.join("packs/sigilzero")).unwrap().next().unwrap().unwrap();
        fs::remove_file(folder.path().join("pack.toml")).unwrap();
    }, Plainly, "E180", OutOfScope),
    ("file among the packs", |b| b.write("packs/notes", "x"), Plainly, "E181", OutOfScope),
    ("rubbish in the journal", |b| b.write("audit/wal/0000000000000099", "rubbish"), Plainly, "W206", Objects),
];

impl Bad {
    fn large(&self) -> String {
        let hex = strongroom::base::digest::BlobId::of(&large()).blake3.hex();
        format!("objects/{}/{}", &hex[..2], &hex[2..])
    }

    /// Installs the built-in pack's files, as anyone may a copy of their own.
    fn install_pack(&self) {
        let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/packs/sigilzero");
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(["--actor", "tester", "--store"]).arg(&self.dir).args(["pack", "install"]).arg(pack);
        let ran = command.env_clear().output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    pub fn replace_bytes_of_bundle(&self) {
        let bytes = self.read(&self.bundle());
        let at = bytes.windows(9).position(|window| window == b"\"time\":\"2").unwrap();
        self.flip(&self.bundle(), at as isize + 9);
    }
}

/// Bytes that do not compress, the same each time.
fn large() -> Vec<u8> {
    (0..300 << 10).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

/// A run at 1.2.0 with a doctrine, built on another run; gives its id.
fn chained_run(artifacts: &Path, prior: &str) -> String {
    let content = "Be kind.";
    let doctrine = Sha256::of(content.as_bytes());
    let prior_output = format!("artifacts/{prior}/inputs/brief.resolved.json");
    let hash = Sha256::of(&fs::read(artifacts.parent().unwrap().join(&prior_output)).unwrap());
    let files = [
        ("brief", "inputs/brief.json", "{\"job_id\": \"chain\"}\n".to_owned()),
        (
            "doctrine",
            "inputs/doctrine.json",
            format!("{{\"content\": \"{content}\", \"sha256\": \"{doctrine}\"}}\n"),
        ),
        (
            "prior_artifact",
            "inputs/prior_artifact.json",
            format!("{{\"prior_output_hashes\": {{\"brief.resolved.json\": \"{hash}\"}}}}\n"),
        ),
    ];
    let digests: Vec<Sha256> = files.iter().map(|(_, _, text)| Sha256::of(text.as_bytes())).collect();
    let inputs_hash =
        canonical::inputs_hash(files.iter().zip(&digests).map(|((name, _, _), digest)| (*name, digest)));
    let id = inputs_hash.hex()[..32].to_owned();
    let run = artifacts.join("chain").join(&id);
    let (job, run_id) = prior.split_once('/').unwrap();
    let snapshots: serde_json::Map<String, Value> = files
        .iter()
        .zip(&digests)
        .map(|((name, path, text), digest)| {
            put(&run.join(path), text);
            (
                (*name).to_owned(),
                serde_json::json!({"bytes": text.len(), "path": path, "sha256": digest.to_string()}),
            )
        })
        .collect();
    let stage = serde_json::json!({
        "run_id": run_id, "job_id": job, "stage": "brief", "output_references": [prior_output],
    });
    let manifest = serde_json::json!({
        "artifacts": {}, "chain_metadata": {"is_chainable_stage": true, "prior_stages": [stage]},
        "doctrine": {"doctrine_id": "d", "sha256": doctrine.to_string(), "version": "1"}, "error": null,
        "input_snapshots": snapshots, "inputs_hash": inputs_hash.to_string(), "job_id": "chain",
        "job_ref": "jobs/chain/brief.yaml", "job_type": "sample", "meta": {}, "migration_history": [],
        "run_id": id, "schema_version": "1.2.0", "status": "succeeded",
    });
    put(&run.join("manifest.json"), serde_json::to_vec_pretty(&manifest).unwrap());
    id
}

struct Template {
    bench: Bench,
    good: Bad,
    options: [VerifyOptions; 4],
}

/// Three runs adopted, two of them migrated, one recorded with a large output, all of it signed: a
/// key's entry and nine more, with the run map after each command's.
fn template() -> Template {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    let tea = format!("tea/{}", common::snapshot_run(&old, "tea", "1.1.0", 1));
    let label = format!("label/{}", common::old_run(&old, "label", 1));
    let chain = format!("chain/{}", chained_run(&old, &tea));
    let key = bench.json(&["audit", "key", "new"], 0)["key"].as_str().unwrap().to_owned();
    bench.run(&["adopt", "../old/artifacts"]).exits(0);
    bench.run(&["migrate"]).exits(0);
    bench.write("in.json", "{}\n");
    bench.write("large.bin", large());
    // What a forger needs to have kept among the objects comes in as an input.
    let migrated = bench.read(&format!("artifacts/{tea}/manifest.json"));
    bench.write("forged.json", migrated.replace("\"job_id\": \"tea\"", "\"job_id\": \"ale\""));
    let args = ["record", "--job", "rec", "--input", "brief=in.json", "--input", "old=forged.json"];
    let recorded = bench.json(&[&args[..], &["--output", "large.bin"]].concat(), 0);
    for name in ["in.json", "forged.json", "large.bin"] {
        fs::remove_file(bench.path(name)).unwrap();
    }
    let recorded = format!("rec/{}", recorded["run_id"].as_str().unwrap());
    let kept = Checkpoint::parse(&fs::read(bench.path("audit/checkpoint")).unwrap(), "kept").unwrap();
    let pinned = VerifyOptions { keys: vec![key.parse().unwrap()], ..Default::default() };
    let options = [
        VerifyOptions::default(),
        pinned.clone(),
        VerifyOptions { since: Some(kept), ..Default::default() },
        VerifyOptions { strict: true, ..pinned },
    ];
    let good = Bad { dir: bench.path(""), label, tea, chain, recorded };
    Template { bench, good, options }
}

/// The codes that a store is given, each once; or the kind of the error that stopped the check.
fn codes(dir: &Path, options: &VerifyOptions) -> String {
    let report = match Store::open(dir, fixture::context(None)).and_then(|store| store.verify(options)) {
        Ok(report) => report,
        Err(error) => return format!("{:?}", error.kind()),
    };
    let codes: BTreeSet<String> = report.findings.iter().map(|finding| finding.code.to_string()).collect();
    codes.into_iter().collect::<Vec<_>>().join(" ")
}

/// Whether the second program objects; `None` where there is no Python that could run it.
fn judge(dir: &Path) -> Option<(bool, String)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/verify_store.py");
    let ran = Command::new("python3").arg(script).arg(dir).output().ok()?;
    let text = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if text.contains("No module named 'tomllib'") {
        return None;
    }
    match ran.status.code() {
        Some(code @ (0 | 3)) => Some((code == 3, text)),
        code => panic!("the second program broke on {}: {code:?}\n{text}", dir.display()),
    }
}

/// Makes each store of the table and holds both programs to their word.
fn hold(rows: &[Row]) -> usize {
    let Template { bench, good, options } = template();
    assert_eq!(codes(&good.dir, &options[0]), "");
    let judged = judge(&good.dir);
    match &judged {
        Some((objects, text)) => assert!(!objects, "the second program objects to a good store:\n{text}"),
        None => common::skipped("bad stores by the second program: no python3 with tomllib"),
    }
    let mut wrong = Vec::new();
    for (name, edit, ask, expected, word) in rows {
        let dir = bench.top().join("bad");
        fixture::copy(&good.dir, &dir);
        let (label, tea) = (good.label.clone(), good.tea.clone());
        let bad = Bad { dir, label, tea, chain: good.chain.clone(), recorded: good.recorded.clone() };
        edit(&bad);
        let found = codes(&bad.dir, &options[*ask as usize]);
        if found != *expected {
            wrong.push(format!("{name}: {found:?}, not {expected:?}"));
        }
        if judged.is_some() {
            let (objects, text) = judge(&bad.dir).expect("it judged the good store");
            if objects != (*word == Objects) {
                wrong.push(format!("{name}: the second program said {objects}:\n{text}"));
            }
        }
        fs::remove_dir_all(&bad.dir).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} bad stores, each with its codes", rows.len());
    rows.len()
}

#[test]
fn bad_stores_are_at_least_sixty_and_named_once() {
    let names: Vec<&str> = [RUNS, INSIDER, LOG, OBJECTS].concat().iter().map(|row| row.0).collect();
    let distinct: BTreeSet<&&str> = names.iter().collect();
    assert!(distinct.len() == names.len() && names.len() >= 60, "{}", names.len());
    // Between them they show every finding there is; warnings that are no defect have tests of their own.
    let shown: String =
        [RUNS, INSIDER, LOG, OBJECTS].concat().iter().map(|row| format!("{} ", row.3)).collect();
    let of_bundles = |code: &String| code.starts_with("E19") || code == "W209";
    let mut missing: Vec<String> =
        Code::ALL.iter().map(Code::to_string).filter(|code| !shown.contains(code)).collect();
    // What is found in an evidence bundle has its own attacks.
    missing.retain(|code| !of_bundles(code));
    // So has a retired key that signs on, which takes a rotation first, and what needs a policy.
    assert_eq!(missing, ["E184", "E185", "E186", "E187", "W201", "W202"]);
}

#[test]
fn bad_runs_are_each_given_their_codes() {
    hold(RUNS);
}

#[test]
fn bad_logs_made_whole_by_an_insider_are_each_given_their_codes() {
    hold(INSIDER);
}

#[test]
fn bad_logs_are_each_given_their_codes() {
    hold(LOG);
}

#[test]
fn bad_objects_and_settings_are_each_given_their_codes() {
    hold(OBJECTS);
}

/// What a check of large files by BLAKE3 alone leaves open is said, and `--sha256` leaves it not open.
#[test]
fn large_files_hashed_one_way_are_told_as_not_proved() {
    let bench = Bench::with_store();
    bench.write("large.bin", large());
    bench.run(&["record", "--job", "rec", "--input", "a=large.bin"]).exits(0);
    let open = |args: &[&str]| {
        let report = bench.json(args, 0);
        let open = report["not_checked"].as_array().unwrap().clone();
        open.iter().any(|open| open.as_str().unwrap().contains("--sha256"))
    };
    assert!(open(&["verify"]));
    assert!(!open(&["verify", "--sha256"]));
}
