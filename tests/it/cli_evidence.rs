//! Evidence bundles: made, checked without the store, and each attack on one found by its code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use strongroom::base::digest::{BlobId, Sha256};
use strongroom::format::bundle::bag::{self, Manifest};
use strongroom::format::bundle::dsse::{Envelope, IN_TOTO};
use strongroom::format::bundle::statement::Statement;
use strongroom::note::{SignedNote, SigningKey, VerifyingKey};
use strongroom::plan::bundle::{self, Facts};

use crate::cli_policy::{cosign, cosigner, policy};
use crate::common::{Bench, copy_tree, old_run, overwrite, skipped, tree};

/// The run that most tests bundle.
pub const RUN: &str = "label-001/0a1b2c3d-0000-4000-8000-000000000001";

/// A signed store with a migrated run that was reviewed, a second run, and a bundle of the first in
/// `ev`; gives the public key.
pub fn bench() -> (Bench, String) {
    let bench = Bench::with_store();
    let old = bench.top().join("old/artifacts");
    (1..=2).for_each(|n| drop(old_run(&old, "label-001", n)));
    let key = bench.json(&["audit", "key", "new"], 0)["key"].as_str().unwrap().to_owned();
    bench.run(&["adopt", "../old/artifacts", "--reason", "moved <b>in</b>\u{202e}"]).exits(0);
    bench.run(&["migrate", "--reason", "the new form"]).exits(0);
    bench.run(&["review", RUN, "--outcome", "accepted", "--reason", "read it"]).exits(0);
    bench.run(&["evidence", RUN, "-o", "../ev"]).exits(0);
    (bench, key)
}

pub fn check(bench: &Bench, dir: &str, key: &str, code: i32) -> Value {
    bench.json(&["check-evidence", dir, "--key", key], code)
}

pub fn codes(report: &Value) -> BTreeSet<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// Makes all checksums of a bag right again, as whoever changed it would.
pub fn rebag(dir: &Path) {
    let files: Vec<(String, Vec<u8>)> =
        tree(dir).into_iter().filter(|(path, _)| !path.ends_with('/')).collect();
    let payload = |path: &str| path.starts_with("data/");
    let manifest: Manifest =
        files.iter().filter(|(path, _)| payload(path)).map(|(p, b)| (p.clone(), Sha256::of(b))).collect();
    std::fs::write(dir.join("manifest-sha256.txt"), bag::print(&manifest)).unwrap();
    let bytes: usize = files.iter().filter(|(path, _)| payload(path)).map(|(_, bytes)| bytes.len()).sum();
    let info = std::fs::read_to_string(dir.join("bag-info.txt")).unwrap();
    let kept: String = info
        .lines()
        .filter(|line| !line.starts_with("Payload-Oxum"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(dir.join("bag-info.txt"), format!("{kept}Payload-Oxum: {bytes}.{}\n", manifest.len()))
        .unwrap();
    let tags: Manifest = tree(dir)
        .into_iter()
        .filter(|(path, _)| !path.ends_with('/') && !payload(path) && path != "tagmanifest-sha256.txt")
        .map(|(path, bytes)| (path, Sha256::of(&bytes)))
        .collect();
    std::fs::write(dir.join("tagmanifest-sha256.txt"), bag::print(&tags)).unwrap();
}

fn run_path(dir: &Path, inner: &str) -> PathBuf {
    dir.join("data/runs").join(RUN).join(inner)
}

/// A copy of the bundle with something done to it.
pub fn changed(bench: &Bench, change: impl FnOnce(&Path)) -> String {
    let copy = bench.top().join("changed");
    let _ = std::fs::remove_dir_all(&copy);
    copy_tree(&bench.top().join("ev"), &copy);
    change(&copy);
    copy.display().to_string()
}

#[test]
fn cli_evidence_is_checked_without_the_store_and_the_same_store_gives_the_same_bundle() {
    let (bench, key) = bench();
    bench.run(&["evidence", RUN, "-o", "../again", "--zip", "../ev.zip"]).exits(0).says("is signed by");
    bench.run(&["evidence", RUN, "--zip", "../ev2.zip"]).exits(0);
    let at = |name: &str| bench.top().join(name);
    assert!(tree(&at("ev")) == tree(&at("again")));
    assert!(std::fs::read(at("ev.zip")).unwrap() == std::fs::read(at("ev2.zip")).unwrap());
    let left = std::fs::read_dir(bench.top()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("strongroom-evidence")));
    bench.run(&["evidence", RUN, "-o", "../ev"]).exits(6).says("there already");
    bench.run(&["evidence", RUN, "--zip", "../ev.zip"]).exits(6).says("there already");
    bench.run(&["evidence", RUN, "-o", "inside"]).exits(6).says("inside the store");
    bench.run(&["evidence", RUN, "-o", "../gone/x"]).exits(6).says("not there");
    bench.run(&["evidence", RUN]).exits(2);
    bench.run(&["evidence", "ffff", "-o", "../y"]).exits(4);

    std::fs::rename(at("store"), at("store-gone")).unwrap();
    let mut away = bench;
    away.go("");
    for place in ["ev", "ev.zip"] {
        let report = check(&away, place, &key, 0);
        assert_eq!((codes(&report).len(), &report["established"]), (0, &Value::Bool(true)));
        assert_eq!(report["runs"][0]["entries"], 3);
        assert_eq!(report["runs"][0]["revisions"], 2);
        assert_eq!(report["runs"][0]["covers"], report["log"]["size"]);
        let name: Vec<&str> = key.splitn(3, '+').take(2).collect();
        assert_eq!(report["stated_by"][0], name.join("+"));
        let open = away.json(&["check-evidence", place], 0);
        assert_eq!((codes(&open), &open["established"]), (["W209"].into(), &Value::Bool(false)));
    }
    away.run(&["check-evidence", "ev"]).exits(0).says("signature consistent, signer not established");
    away.run(&["check-evidence", "nothing", "--key", &key]).exits(6);
    away.run(&["check-evidence", "ev", "--key", "x"]).exits(2);
}

#[test]
fn cli_evidence_report_tells_people_what_happened_and_runs_nothing() {
    let (bench, _) = bench();
    let page = std::fs::read_to_string(bench.top().join("ev/report.html")).unwrap();
    for said in [
        "moved &lt;b&gt;in&lt;/b&gt;\\u{202e}",
        "the new form",
        "tester@bench",
        "A person reviewed the run: accepted.",
        "The form of its record was changed from version 1.0.0 to 1.2.0.",
        "outputs/result.md",
        "<h2>In short</h2>",
        "Anything after place 8 of the log",
        "<span class=\"del\">-",
        "<span class=\"add\">+",
        "nothing wrong was found",
        "That what was recorded was true.",
    ] {
        assert!(page.contains(said), "{said}");
    }
    for never in ["<script", "http://", "https://", "src=", "href=", "<b>in", "\u{202e}"] {
        assert!(!page.contains(never), "{never}");
    }
    // The store's run is edited: the bundle has the recorded bytes and says so.
    overwrite(&bench.path(&format!("artifacts/{RUN}/outputs/result.md")), "other\n");
    bench.run(&["evidence", RUN, "-o", "../found"]).exits(3).says("the bundle has the recorded bytes");
    let page = std::fs::read_to_string(bench.top().join("found/report.html")).unwrap();
    assert!(page.contains("differed from what was recorded") && page.contains("E105"));
    // What was put back is told by name once it is restored.
    bench.run(&["restore", RUN]).exits(0);
    bench.run(&["evidence", RUN, "-o", "../mended"]).exits(0);
    let page = std::fs::read_to_string(bench.top().join("mended/report.html")).unwrap();
    assert!(page.contains("<li>outputs/result.md: what lay there had the fingerprint sha256:"), "{page}");
    assert!(page.contains("nothing wrong found"));
    let same =
        |dir: &str| std::fs::read(run_path(&bench.top().join(dir), "files/outputs/result.md")).unwrap();
    assert_eq!(same("found"), same("ev"));
}

#[test]
fn cli_evidence_without_a_key_says_that_its_statement_is_not_signed() {
    let (bench, key) = bench();
    let hidden = bench.top().join("hidden");
    std::fs::rename(bench.top().join(".config"), &hidden).unwrap();
    bench.run(&["evidence", RUN, "-o", "../unsigned"]).exits(0).says("not signed");
    assert_eq!(codes(&check(&bench, "../unsigned", &key, 3)), ["E198"].into());
    bench.json(&["check-evidence", "../unsigned"], 0);
    bench.run(&["review", RUN, "--outcome", "rejected", "--reason", "later"]).exits(0);
    bench.run(&["evidence", RUN, "-o", "../late"]).exits(4).says("not among them");
    assert!(!bench.top().join("late").exists());
}

#[test]
fn cli_evidence_attacks_are_found_by_their_codes() {
    let (bench, key) = bench();
    let found = |change: &dyn Fn(&Path)| -> BTreeSet<String> {
        let dir = changed(&bench, change);
        codes(&check(&bench, &dir, &key, 3)).into_iter().map(str::to_owned).collect()
    };
    let want = |codes: &[&str]| -> BTreeSet<String> { codes.iter().map(|code| (*code).to_owned()).collect() };
    let remove = |dir: &Path, inner: &str| std::fs::remove_file(run_path(dir, inner)).unwrap();
    let entry = |dir: &Path, seq: u64| {
        for end in ["json", "tlog-proof"] {
            remove(dir, &format!("entries/{seq:06}.{end}"));
        }
    };
    // An entry left out: in the middle, the newest, and all checksums made right.
    assert_eq!(found(&|dir| entry(dir, 2)), want(&["E190", "E191", "E192", "E195", "E196", "E198"]));
    let newest = |dir: &Path| {
        entry(dir, 3);
        rebag(dir);
    };
    assert!(found(&newest).is_superset(&want(&["E195", "E198"])));
    // A file edited; with its checksums; with the file list too.
    let file = |dir: &Path| overwrite(&run_path(dir, "files/outputs/result.md"), "other\n");
    assert!(found(&file).is_superset(&want(&["E191", "E197", "E198"])));
    let with_sums = |dir: &Path| {
        file(dir);
        rebag(dir);
    };
    assert_eq!(found(&with_sums), want(&["E197", "E198"]));
    // The manifest with its checksums.
    let manifest = |dir: &Path| {
        let path = run_path(dir, "files/manifest.json");
        let text = std::fs::read_to_string(&path).unwrap();
        overwrite(&path, text.replace("succeeded", "failed"));
        rebag(dir);
    };
    assert_eq!(found(&manifest), want(&["E196", "E198"]));
    // A reason rewritten.
    let reason = |dir: &Path| {
        for (name, bytes) in tree(&dir.join("data/records")) {
            let text = String::from_utf8(bytes).unwrap();
            overwrite(&dir.join("data/records").join(name), text.replace("the new form", "no reason"));
        }
        rebag(dir);
    };
    assert_eq!(found(&reason), want(&["E198", "E199"]));
    // Extra files: beside, in a run, listed or not, and a link.
    assert_eq!(found(&|dir| std::fs::write(dir.join("more.txt"), "x").unwrap()), want(&["E192", "E198"]));
    let listed = |dir: &Path| {
        std::fs::write(run_path(dir, "files/more.txt"), "x").unwrap();
        rebag(dir);
    };
    assert_eq!(found(&listed), want(&["E192", "E198"]));
    let link = |dir: &Path| std::os::unix::fs::symlink("report.html", dir.join("link")).unwrap();
    assert_eq!(found(&link), want(&["E192"]));
    // The statement: by another key of the same name, for other files, and taken away.
    let origin = key.split('+').next().unwrap().to_owned();
    let other = SigningKey::from_seed(origin.parse().unwrap(), &[9; 32]);
    let statement =
        |dir: &Path| Envelope::parse(&std::fs::read(dir.join("statement.dsse.json")).unwrap()).unwrap();
    let resigned = |dir: &Path| {
        let payload = statement(dir).payload;
        overwrite(&dir.join("statement.dsse.json"), Envelope::sign(IN_TOTO, payload, &[&other]).to_bytes());
        rebag(dir);
    };
    assert_eq!(found(&resigned), want(&["E198"]));
    let unsigned = |dir: &Path| {
        std::fs::write(dir.join("statement.json"), statement(dir).payload).unwrap();
        std::fs::remove_file(dir.join("statement.dsse.json")).unwrap();
        rebag(dir);
    };
    assert_eq!(found(&unsigned), want(&["E198"]));
    // The checkpoint: another one of the same log, and one by another key.
    bench.run(&["audit", "checkpoint", "--out", "../now"]).exits(0);
    bench.run(&["verify", "--record"]).exits(0);
    let newer = bench.read("audit/checkpoint");
    let swapped = |dir: &Path| {
        overwrite(&dir.join("data/log/checkpoint"), &newer);
        rebag(dir);
    };
    assert_eq!(found(&swapped), want(&["E194", "E198"]));
    let forged = |dir: &Path| {
        let path = dir.join("data/log/checkpoint");
        let note = SignedNote::parse(&std::fs::read(&path).unwrap()).unwrap();
        let by_other = SignedNote::sign(note.text().to_owned(), &[&other]).unwrap();
        overwrite(&path, by_other.to_string());
        rebag(dir);
    };
    assert_eq!(found(&forged), want(&["E193", "E194", "E198"]));
    // The bag itself.
    assert!(found(&|dir| overwrite(&dir.join("bagit.txt"), "BagIt-Version: 0.97\n")).contains("E190"));
    assert!(found(&|dir| std::fs::remove_file(dir.join("tagmanifest-sha256.txt")).unwrap()).contains("E190"));
    // Nothing of this is found when nothing was done.
    check(&bench, &changed(&bench, rebag), &key, 0);
}

#[test]
fn cli_evidence_without_a_run_s_newest_entry_is_found_even_if_the_key_s_holder_signed_it() {
    let (bench, key) = bench();
    let keys = bench.top().join(".config/strongroom/keys");
    let path = std::fs::read_dir(keys).unwrap().next().unwrap().unwrap().path();
    let secret: SigningKey = std::fs::read_to_string(path).unwrap().trim_end().parse().unwrap();
    let restate = |dir: &Path, entries: u64| {
        let old = Envelope::parse(&std::fs::read(dir.join("statement.dsse.json")).unwrap()).unwrap();
        let mut claims = Statement::parse(&old.payload).unwrap().predicate;
        let last =
            std::fs::read_to_string(run_path(dir, &format!("entries/{entries:06}.tlog-proof"))).unwrap();
        let index = last.lines().find_map(|line| line.strip_prefix("index ")).unwrap();
        (claims.runs[0].entries, claims.runs[0].last) = (entries, index.parse().unwrap());
        rebag(dir);
        let left_out = ["statement.dsse.json", "tagmanifest-sha256.txt"];
        let files = tree(dir).into_iter().filter(|(path, _)| !path.ends_with('/'));
        let digests: Manifest = files
            .filter(|(path, _)| !left_out.contains(&path.as_str()))
            .map(|(path, bytes)| (path, Sha256::of(&bytes)))
            .collect();
        let statement = Statement::new(digests.iter().map(|(path, digest)| (path, *digest)), claims);
        let envelope = Envelope::sign(IN_TOTO, statement.to_bytes(), &[&secret]);
        overwrite(&dir.join("statement.dsse.json"), envelope.to_bytes());
        rebag(dir);
    };
    let shortened = |dir: &Path| {
        let records = |dir: &Path, seq: u64| -> BTreeSet<String> {
            let text = std::fs::read_to_string(run_path(dir, &format!("entries/{seq:06}.json"))).unwrap();
            let entry: Value = serde_json::from_str(&text).unwrap();
            let digest = |member: &str| entry[member].as_str().map(|digest| digest[7..].to_owned());
            ["actor", "reason"].into_iter().filter_map(digest).collect()
        };
        for name in records(dir, 3).difference(&records(dir, 2)) {
            std::fs::remove_file(dir.join(format!("data/records/{name}.json"))).unwrap();
        }
        for end in ["json", "tlog-proof"] {
            std::fs::remove_file(run_path(dir, &format!("entries/000003.{end}"))).unwrap();
        }
        restate(dir, 2);
    };
    check(&bench, &changed(&bench, |dir| restate(dir, 3)), &key, 0);
    assert_eq!(codes(&check(&bench, &changed(&bench, shortened), &key, 3)), ["E195"].into());
    let without_proof = |dir: &Path| {
        shortened(dir);
        std::fs::remove_file(run_path(dir, "whole.run-proof")).unwrap();
        restate(dir, 2);
    };
    assert_eq!(codes(&check(&bench, &changed(&bench, without_proof), &key, 3)), ["E195"].into());
}

#[test]
fn cli_evidence_with_anchors_is_held_against_a_policy() {
    let (bench, key) = bench();
    policy(&bench, &key, 2, "any");
    let asked = |dir: &str, code: i32| bench.json(&["check-evidence", dir, "--policy", "../policy"], code);
    assert_eq!(codes(&asked("../ev", 3)), ["E185"].into());
    cosign(&bench, &cosigner(1), 1_700_000_000, &[]);
    bench.run(&["review", RUN, "--outcome", "rejected", "--reason", "again"]).exits(0);
    cosign(&bench, &cosigner(2), 1_700_000_500, &[]);
    bench.run(&["verify", "--record"]).exits(0);
    cosign(&bench, &cosigner(2), 1_700_000_900, &[]);
    bench.run(&["evidence", RUN, "-o", "../anchored"]).exits(0);
    let top = bench.top().join("anchored");
    let names: Vec<String> = tree(&top.join("data/log/anchors")).into_keys().collect();
    // Of three kept checkpoints the two that are the first beyond some entry.
    assert_eq!(names.len(), 4, "{names:?}");
    let report = asked("../anchored", 0);
    let largest = names.iter().filter_map(|name| name.split('.').next()?.parse::<u64>().ok()).max();
    assert_eq!(report["anchored"]["size"].as_u64(), largest);
    assert_eq!(report["anchored"]["by"], "w2.example at 2023-11-14T22:21:40.000Z");
    assert_eq!(check(&bench, "../anchored", &key, 0)["anchored"], Value::Null);
    bench
        .run(&["check-evidence", "../anchored", "--policy", "../policy"])
        .exits(0)
        .says("entries anchored by w2");
    let page = std::fs::read_to_string(top.join("report.html")).unwrap();
    assert!(page.contains("Others who saw the log") && page.contains("w1.example, 2023-11-14T22:13:20.000Z"));
    // A kept checkpoint of another tree, a proof of another, and a cosignature that is none.
    let attacks: [(&str, &str, &[u8], &str); 3] = [
        (&names[0], "\n", b"\nQ", "E188"),
        (&names[1], "\n", b"\n\n", "E188"),
        (&names[0], "w2.example ", b"w2.example A", "E188"),
    ];
    for (name, from, to, code) in attacks {
        copy_tree(&top, &bench.top().join("bad"));
        let path = bench.top().join("bad/data/log/anchors").join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        overwrite(&path, text.replacen(from, std::str::from_utf8(to).unwrap(), 1));
        rebag(&bench.top().join("bad"));
        let found = asked("../bad", 3);
        assert!(codes(&found).contains(code), "{name}: {found}");
        std::fs::remove_dir_all(bench.top().join("bad")).unwrap();
    }
    policy(&bench, &key, 2, "all");
    assert_eq!(codes(&asked("../anchored", 3)), ["E185"].into());
}

/// Reads a bundle's files as the rules want them.
fn facts(dir: &Path) -> Facts {
    let mut facts = Facts::default();
    for (path, bytes) in tree(dir).into_iter().filter(|(path, _)| !path.ends_with('/')) {
        facts.files.insert(path.clone(), BlobId::of(&bytes));
        facts.texts.insert(path, bytes);
    }
    facts
}

#[test]
fn evidence_with_any_byte_changed_is_found() {
    let (bench, key) = bench();
    let keys: [VerifyingKey; 1] = [key.parse().unwrap()];
    let good = facts(&bench.top().join("ev"));
    assert!(bundle::check(&good, &keys, None, None).findings.is_empty());
    let work: Vec<(&String, &Vec<u8>)> = good.texts.iter().collect();
    let sweep = |part: usize| {
        let mut facts = good.clone();
        for (path, bytes) in work.iter().skip(part).step_by(2) {
            // Every byte of what is read into; of what is only hashed a part of the bytes tells as much.
            let step = if bundle::is_read(path) { 3 } else { 97 };
            for at in (0..bytes.len()).step_by(step) {
                let mut bad = (*bytes).clone();
                bad[at] ^= 1 << (at / step % 8);
                facts.files.insert((*path).clone(), BlobId::of(&bad));
                facts.texts.insert((*path).clone(), bad);
                let found = bundle::check(&facts, &keys, None, None).findings;
                assert!(found.iter().any(|finding| finding.is_failure()), "{path} byte {at}");
            }
            facts.files.insert((*path).clone(), BlobId::of(bytes));
            facts.texts.insert((*path).clone(), (*bytes).clone());
        }
    };
    std::thread::scope(|scope| {
        [0, 1].map(|part| scope.spawn(move || sweep(part))).map(|t| t.join().unwrap())
    });
}

/// Runs the commands of a bundle's guide in a folder, for a reader who pinned a key; further lines are
/// settings. `None` without the programs that it needs.
pub fn guide_of(bench: &Bench) -> Option<impl Fn(&Path, &str) -> String + use<>> {
    let have = |tool: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        found.is_ok_and(|found| found.status.success())
    };
    let missing: Vec<_> =
        ["bash", "jq", "openssl", "python3", "sha256sum"].into_iter().filter(|t| !have(t)).collect();
    if !missing.is_empty() {
        skipped(&format!("the commands of VERIFY.md need {}", missing.join(", ")));
        return None;
    }
    let guide = std::fs::read_to_string(bench.top().join("ev/VERIFY.md")).unwrap();
    let mut script = String::new();
    for block in guide.split("```sh\n").skip(1) {
        script.push_str(block.split("```").next().unwrap());
    }
    Some(move |dir: &Path, key: &str| {
        let mut lines = key.lines();
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(dir).env("KEY", lines.next().unwrap());
        command.envs(lines.filter_map(|line| line.split_once('=')));
        let out = command.output().unwrap();
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    })
}

#[test]
fn cli_evidence_guide_runs_as_it_stands_and_its_commands_reject_a_changed_bundle() {
    let (bench, key) = bench();
    let Some(guide) = guide_of(&bench) else { return };
    let run = |dir: &str| guide(Path::new(dir), &key);
    let bad = ["FAILED", "NOT", "No such", "Failure", "rror", "Traceback", "> "];
    let said = run(&bench.top().join("ev").display().to_string());
    assert_eq!(said.matches("Signature Verified Successfully").count(), 2, "{said}");
    assert!(said.contains("3 entries proved in") && said.contains("{\"reason\":\"the new form\"}"), "{said}");
    assert!(!bad.iter().any(|word| said.contains(word)), "{said}");
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("FAILED", |dir| overwrite(&run_path(dir, "files/outputs/result.md"), "other\n")),
        ("NOT PROVED", |dir| {
            for end in ["json", "tlog-proof"] {
                std::fs::remove_file(run_path(dir, &format!("entries/000002.{end}"))).unwrap();
            }
        }),
        ("Failure", |dir| {
            let path = dir.join("data/log/checkpoint");
            let text = std::fs::read_to_string(&path).unwrap();
            overwrite(&path, text.replacen("\n9\n", "\n8\n", 1));
        }),
        ("is not whole", |dir| {
            for end in ["json", "tlog-proof"] {
                std::fs::remove_file(run_path(dir, &format!("entries/000003.{end}"))).unwrap();
            }
        }),
        ("data/more", |dir| std::fs::write(dir.join("data/more"), "x").unwrap()),
    ];
    for (word, change) in changes {
        let said = run(&changed(&bench, change));
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// Makes a zip file of these members with a program that shares nothing with ours.
const ZIPPED: &str = r#"
import sys, warnings, zipfile
warnings.simplefilter("ignore")
kind, source, target = sys.argv[1:]
old = zipfile.ZipFile(source)
packing = zipfile.ZIP_DEFLATED if kind in ("deflated", "bomb") else zipfile.ZIP_STORED
with zipfile.ZipFile(target, "w", packing) as new:
    for name in old.namelist():
        new.writestr(name[len("evidence/"):] if kind == "flat" else name, old.read(name))
    if kind == "above": new.writestr("evidence/../../x", b"x")
    if kind == "root": new.writestr("/x", b"x")
    if kind == "twice": new.writestr("evidence/report.html", b"<p>another")
    if kind == "bomb": new.writestr("evidence/data/zeros", bytes(1 << 26))
    if kind == "extra": new.writestr("evidence/data/extra", b"x")
    if kind == "beside": new.writestr("beside", b"x")
    if kind == "link":
        link = zipfile.ZipInfo("evidence/link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        new.writestr(link, "/etc/passwd")
"#;

#[test]
fn cli_zipped_evidence_that_is_hostile_is_refused_or_found() {
    let (bench, key) = bench();
    bench.run(&["evidence", RUN, "--zip", "../ev.zip"]).exits(0);
    let zip = |kind: &str| -> Option<String> {
        let (from, to) = (bench.top().join("ev.zip"), bench.top().join(format!("{kind}.zip")));
        let out =
            Command::new("python3").args(["-c", ZIPPED, kind]).args([from, to.clone()]).output().ok()?;
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Some(to.display().to_string())
    };
    for kind in ["same", "deflated", "flat"] {
        let Some(path) = zip(kind) else { return skipped("hostile zip files need python3") };
        check(&bench, &path, &key, 0);
    }
    for (kind, why) in [
        ("above", "leads out of the bundle"),
        ("root", "leads out of the bundle"),
        ("twice", "several members of one name"),
        ("link", "is a link"),
        ("bomb", "times as large as itself"),
    ] {
        let error = bench.error(&["check-evidence", &zip(kind).unwrap(), "--key", &key], 6);
        assert!(error["message"].as_str().unwrap().contains(why), "{kind}: {error}");
    }
    let extra = ["E190", "E192", "E198"].into();
    assert_eq!(codes(&check(&bench, &zip("extra").unwrap(), &key, 3)), extra);
    assert!(codes(&check(&bench, &zip("beside").unwrap(), &key, 3)).contains("E190"));
    let bytes = std::fs::read(bench.top().join("ev.zip")).unwrap();
    for (at, name) in [(bytes.len() / 2, "half"), (bytes.len() - 10, "tail"), (0, "empty")] {
        std::fs::write(bench.top().join(name), &bytes[..at]).unwrap();
        bench.error(&["check-evidence", &format!("../{name}"), "--key", &key], 6);
    }
    // A file changed within: found by its bytes, or not read because the zip's own sum does not fit.
    let mut flipped = bytes.clone();
    let at = flipped.windows(7).position(|window| window == b"<h1>Evi").unwrap();
    flipped[at + 4] ^= 1;
    std::fs::write(bench.top().join("flipped"), flipped).unwrap();
    let ran = bench.run(&["check-evidence", "../flipped", "--key", &key]);
    assert!(matches!(ran.code, Some(3 | 6)), "{:?}", ran.code);
}
