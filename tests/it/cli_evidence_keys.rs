//! Evidence bundles of logs whose keys changed, and with anchors made by stock tools.

use std::path::Path;

use serde_json::Value;
use strongroom::note::{SignedNote, SigningKey};

use crate::cli_evidence::{RUN, bench, changed, check, codes, guide_of, rebag};
use crate::cli_keys::key_files;
use crate::cli_words::{SIGN, authority, have, ssh_key, works};
use crate::common::{Bench, overwrite};

fn id_of(key: &str) -> &str {
    key.split('+').nth(1).unwrap()
}

/// A bundle in `ev`, made after the key was rotated twice and the first one retired; gives the three keys.
fn rotated() -> (Bench, [String; 3], String) {
    let (bench, first) = bench();
    let secret = std::fs::read_to_string(&key_files(&bench)[0]).unwrap();
    let rotate = || bench.json(&["audit", "key", "rotate"], 0)["key"].as_str().unwrap().to_owned();
    let (second, third) = (rotate(), rotate());
    bench.run(&["audit", "key", "retire", id_of(&first)]).exits(0);
    bench.run(&["review", RUN, "--outcome", "rejected", "--reason", "read it again"]).exits(0);
    std::fs::remove_dir_all(bench.top().join("ev")).unwrap();
    bench.run(&["evidence", RUN, "-o", "../ev"]).exits(0);
    (bench, [first, second, third], secret)
}

#[test]
fn cli_evidence_after_a_rotation_is_checked_by_the_key_pinned_before() {
    let (bench, keys, secret) = rotated();
    let note = std::fs::read_to_string(bench.top().join("ev/data/log/checkpoint")).unwrap();
    assert_eq!(note.matches('\u{2014}').count(), 2, "the retired key signs no more");
    for key in &keys {
        let report = check(&bench, "../ev", key, 0);
        assert_eq!((codes(&report).len(), &report["established"]), (0, &Value::Bool(true)));
        let signers = report["signers"].to_string();
        assert!(signers.contains(id_of(&keys[2])) && !signers.contains(id_of(&keys[0])), "{signers}");
        assert_eq!(report["stated_by"], report["signers"]);
    }
    let stranger = SigningKey::from_seed(keys[0].split('+').next().unwrap().parse().unwrap(), &[9; 32]);
    let report = check(&bench, "../ev", &stranger.verifying_key().to_string(), 3);
    assert!(codes(&report).is_superset(&["E193", "E198"].into()), "{report}");

    // Without the statements, or with others, nobody is led to the newer keys.
    let entry = |dir: &Path, at: usize, ending: &str| {
        let mut names: Vec<_> = std::fs::read_dir(dir.join("data/log/key-entries"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == ending))
            .collect();
        names.sort();
        names[at].clone()
    };
    type Change<'c> = &'c dyn Fn(&Path);
    let attacks: [(&str, Change<'_>); 5] = [
        ("E193", &|dir| std::fs::remove_dir_all(dir.join("data/log/key-entries")).unwrap()),
        ("E199", &|dir| {
            let path = entry(dir, 0, "note");
            let text = std::fs::read_to_string(&path).unwrap();
            overwrite(&path, text.replace(&keys[1], &stranger.verifying_key().to_string()));
        }),
        ("E194", &|dir| {
            let path = entry(dir, 1, "tlog-proof");
            let text = std::fs::read_to_string(&path).unwrap();
            let line = text.lines().nth(4).unwrap().to_owned();
            overwrite(&path, text.replace(&line, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        }),
        ("E183", &|dir| std::fs::remove_file(entry(dir, 0, "tlog-proof")).unwrap()),
        // Whoever has the retired key signs with it still.
        ("E193", &|dir| {
            let thief: SigningKey = secret.trim().parse().unwrap();
            let path = dir.join("data/log/checkpoint");
            let note = SignedNote::parse(&std::fs::read(&path).unwrap()).unwrap();
            let forged = SignedNote::sign(note.text().to_owned(), &[&thief]).unwrap();
            overwrite(&path, forged.to_string());
        }),
    ];
    for (code, attack) in attacks {
        let dir = changed(&bench, |dir| {
            attack(dir);
            rebag(dir);
        });
        let report = check(&bench, &dir, &keys[0], 3);
        assert!(codes(&report).contains(code), "{code}: {report}");
    }
}

#[test]
fn cli_evidence_guide_follows_a_rotation() {
    let (bench, keys, _) = rotated();
    let Some(run) = guide_of(&bench) else { return };
    for key in &keys {
        let said = run(&bench.top().join("ev"), key);
        assert_eq!(said.matches("Signature Verified Successfully").count(), 2, "{said}");
        assert!(said.contains("4 entries proved in") && !said.contains("NOT"), "{said}");
    }
    let stranger = SigningKey::from_seed(keys[0].split('+').next().unwrap().parse().unwrap(), &[9; 32]);
    let said = run(&bench.top().join("ev"), &stranger.verifying_key().to_string());
    assert!(said.contains("NOT SIGNED"), "{said}");
}

#[test]
fn cli_evidence_brings_the_words_of_stock_tools_along() {
    if !have("ssh-keygen") || !have("openssl") {
        return;
    }
    let (bench, key) = bench();
    ssh_key(&bench);
    authority(&bench);
    bench.run(&["audit", "anchor", "text", "-o", "../text"]).exits(0);
    works(&bench, SIGN);
    works(
        &bench,
        "openssl ts -query -data text -sha256 -no_nonce -cert -out q.tsq && \
         openssl ts -reply -config tsa.cnf -queryfile q.tsq -inkey tsa.key -signer tsa.pem -out r.tsr",
    );
    bench.run(&["audit", "anchor", "add", "../text.sig", "--allowed-signers", "../allowed"]).exits(0);
    bench.run(&["audit", "anchor", "add", "../r.tsr"]).exits(0);
    std::fs::remove_dir_all(bench.top().join("ev")).unwrap();
    bench.run(&["evidence", RUN, "-o", "../ev"]).exits(0);
    let report =
        bench.json(&["check-evidence", "../ev", "--key", &key, "--allowed-signers", "../allowed"], 0);
    let words = report["words"].to_string();
    assert!(words.contains("of auditor@example.org") && words.contains("time stamp at 20"), "{words}");
    let open = check(&bench, "../ev", &key, 0)["words"].to_string();
    assert!(open.contains("SSH signature by SHA256:") && !open.contains("auditor"), "{open}");
    let page = std::fs::read_to_string(bench.top().join("ev/report.html")).unwrap();
    assert!(page.contains("Others who saw the log") && page.contains("SSH signature by SHA256:"));
    // The stock commands of the guide, with what the reader has to bring.
    if let Some(run) = guide_of(&bench) {
        let top = bench.top().display().to_string();
        let said = run(
            &bench.top().join("ev"),
            &format!("{key}\nSIGNERS={top}/allowed\nSIGNER=auditor@example.org\nCA={top}/tsa.pem"),
        );
        assert!(said.contains("Good \"strongroom-checkpoint\" signature"), "{said}");
        assert!(said.contains("Verification: OK") && !said.contains("NOT"), "{said}");
    }
    // Changed words are found.
    for ending in ["sshsig", "tsr"] {
        let dir = changed(&bench, |dir| {
            let anchors = dir.join("data/log/anchors");
            let path = std::fs::read_dir(&anchors).unwrap().map(|entry| entry.unwrap().path());
            let path =
                path.into_iter().find(|path| path.extension().is_some_and(|end| end == ending)).unwrap();
            let other = anchors.join(path.file_name().unwrap()).with_extension("other");
            std::fs::rename(&path, &other).unwrap();
            let mut bytes = std::fs::read(&other).unwrap();
            std::fs::remove_file(&other).unwrap();
            let at = bytes.len() / 2;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let size = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
            let size: u64 = size.parse().unwrap();
            let name = strongroom::format::bundle::anchor_word(size, &bytes, ending);
            std::fs::write(dir.join(name), bytes).unwrap();
            rebag(dir);
        });
        let report = check(&bench, &dir, &key, 3);
        assert!(codes(&report).contains("E188") || ending == "tsr", "{ending}: {report}");
    }
}
