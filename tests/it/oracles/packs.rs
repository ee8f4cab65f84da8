//! Oracles of `schema`: packs as they are read, and the built-in pack at work.

use std::collections::BTreeMap;

use strongroom::base::clock::Moment;
use strongroom::base::digest::Sha256;
use strongroom::base::json::{self, Doc, Node};
use strongroom::format::manifest::Manifest;
use strongroom::schema::history::{self, ChecksumForm, HistoryState};
use strongroom::schema::{Detection, Facts, FileFact, Outcome, PACK_FILE, Pack, Rewrite, Stamp};

/// A document of a kind that small packs describe.
const DOCUMENT: &[u8] = br#"{"v":"1","a":{"b":[1,"x",null]},"list":[{"k":1.10},{}],"s":"succeeded"}"#;

/// A pack taken has one digest, whatever its files look like; a pack refused is refused again in the
/// same words. The input is `pack.toml`, then further files, each after a line `=== <name>`.
pub fn pack_parse(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut sections = text.split("\n=== ");
    files.insert(PACK_FILE.to_owned(), sections.next().unwrap_or_default().as_bytes().to_vec());
    for section in sections {
        let (name, body) = section.split_once('\n').unwrap_or((section, ""));
        files.insert(name.to_owned(), body.as_bytes().to_vec());
    }
    let pack = match Pack::parse(&files) {
        Ok(pack) => pack,
        Err(error) => {
            let again = Pack::parse(&files).expect_err("it was refused");
            assert_eq!(again.to_string(), error.to_string());
            return;
        }
    };
    let mut looks = files.clone();
    for (name, body) in &mut looks {
        body.extend_from_slice(if name == PACK_FILE { b"\n# a comment\n" } else { b"\n" });
    }
    looks.insert("unused".to_owned(), Vec::new());
    let other = Pack::parse(&looks).expect("comments and space decide nothing");
    assert_eq!(other.digest(), pack.digest());
    assert!(pack.versions().contains(&pack.head()));
    // Another schema is another pack, where it is read at all.
    for name in files.keys().filter(|name| *name != PACK_FILE) {
        let mut changed = files.clone();
        changed.insert(name.clone(), br#"{"title":"another"}"#.to_vec());
        if changed[name] != files[name]
            && let Ok(other) = Pack::parse(&changed)
        {
            let same = json::scan(&files[name]).is_ok_and(|doc| is_another(doc.root()));
            let read = Pack::parse(&without(&files, name)).is_err();
            assert_eq!(other.digest() != pack.digest(), read && !same, "{name}");
        }
    }

    for document in [DOCUMENT, b"{}"] {
        let doc = json::scan(document).expect("valid");
        assert!(!pack.detect(&doc).to_string().is_empty());
        for stamp in [None, Some(&stamp())] {
            match pack.migrate(document, None, &Facts::default(), stamp) {
                Outcome::Rewrite(rewrite) => {
                    route_fits(&rewrite);
                    assert!(json::scan(&rewrite.bytes).is_ok());
                }
                Outcome::Refused(why) => assert!(!why.to_string().is_empty()),
                Outcome::Current { version } => assert!(pack.versions().contains(&version.as_str())),
            }
        }
    }
}

fn without(files: &BTreeMap<String, Vec<u8>>, name: &str) -> BTreeMap<String, Vec<u8>> {
    files.iter().filter(|(other, _)| *other != name).map(|(n, b)| (n.clone(), b.clone())).collect()
}

/// Whether a schema is the one that another is replaced with, spaced differently perhaps.
fn is_another(root: Node<'_>) -> bool {
    root.len() == 1 && root.get("title").and_then(|title| title.as_str()).as_deref() == Some("another")
}

fn stamp() -> Stamp {
    Stamp { applied_at: Moment::from_millis(1_772_300_000_123) }
}

fn route_fits(rewrite: &Rewrite) {
    assert_eq!((rewrite.path.first(), rewrite.path.last()), (Some(&rewrite.from), Some(&rewrite.to)));
}

/// A manifest is current, refused, or rewritten so that everything it said is there still. The input
/// is a manifest and two files of the run that hold facts, with zero bytes between them.
pub fn migrate(data: &[u8]) {
    let mut parts = data.splitn(3, |b| *b == 0);
    let text = parts.next().unwrap_or_default();
    let mut facts = Facts::default();
    for path in ["inputs/brief.yaml", "inputs/brief.resolved.json"] {
        let Some(bytes) = parts.next() else { continue };
        let fact = FileFact { path: path.to_owned(), sha256: Sha256::of(bytes), bytes: bytes.len() as u64 };
        facts.files.push(fact);
        facts.contents.insert(path.to_owned(), bytes.to_vec());
    }
    let pack = Pack::builtin("sigilzero").expect("built in");
    if let Ok(manifest) = Manifest::parse(text) {
        let _ = manifest.recomputed_inputs_hash();
        history::check(&strongroom::base::json::scan(text).expect("it is JSON"), pack);
    }
    let outcome = pack.migrate(text, None, &facts, Some(&stamp()));
    assert_eq!(pack.migrate(text, None, &facts, Some(&stamp())), outcome);
    match outcome {
        Outcome::Refused(why) => assert!(!why.to_string().is_empty()),
        Outcome::Current { version } => assert_eq!(version, pack.head()),
        Outcome::Rewrite(rewrite) => rewrite_is_sound(pack, text, &facts, &rewrite),
    }
}

/// Members that a migration may add where they are absent, or, for the first two, change.
const WRITABLE: [&str; 6] =
    ["schema_version", "migration_history", "job_id", "input_snapshots", "inputs_hash", "chain_metadata"];

fn rewrite_is_sound(pack: &Pack, text: &[u8], facts: &Facts, rewrite: &Rewrite) {
    route_fits(rewrite);
    let (before, after) = (json::scan(text).expect("valid"), json::scan(&rewrite.bytes).expect("valid"));
    for member in before.root().members() {
        let key = member.key();
        let kept = after.root().get(&key).unwrap_or_else(|| panic!("{key} is gone"));
        match key.as_ref() {
            "schema_version" => {}
            "migration_history" => {
                let old: Vec<_> = member.value().elements().map(|record| record.raw()).collect();
                let new: Vec<_> = kept.elements().map(|record| record.raw()).collect();
                assert_eq!(new.len(), old.len() + 1);
                assert_eq!(new[..old.len()], old);
            }
            _ => assert_eq!(kept.raw(), member.value().raw(), "{key}"),
        }
    }
    for member in after.root().members() {
        let key = member.key();
        assert!(before.root().get(&key).is_some() || WRITABLE.contains(&key.as_ref()), "{key} is new");
    }
    // Whatever stands around the document stands there still.
    let around = |doc: &Doc<'_>| {
        let span = doc.root().span();
        (doc.text()[..span.start].to_owned(), doc.text()[span.end..].to_owned())
    };
    assert_eq!(around(&before), around(&after));

    let head = Detection::Known { version: pack.head().to_owned(), variant: None };
    assert_eq!(pack.detect(&after), head);
    identity_holds(&after);
    let checks = history::check(&strongroom::base::json::scan(&rewrite.bytes).expect("it is JSON"), pack);
    let last = checks.last().expect("a record was added");
    assert_eq!(last.state, HistoryState::Verified { form: ChecksumForm::Sha256Zeroed });
    assert!(checks[..checks.len() - 1].iter().all(|check| check.state != last.state));
    let again = pack.migrate(&rewrite.bytes, None, facts, Some(&stamp()));
    assert_eq!(again, Outcome::Current { version: pack.head().to_owned() });

    // Reading an old document as new gives the same but for the record.
    let Outcome::Rewrite(read) = pack.migrate(text, None, facts, None) else {
        panic!("what can be kept can be read")
    };
    assert_eq!((&read.from, &read.to, &read.changes), (&rewrite.from, &rewrite.to, &rewrite.changes));
    both_routes_agree(pack, text, facts, &read);
    let read = json::scan(&read.bytes).expect("valid");
    for member in read.root().members().filter(|member| member.key() != "migration_history") {
        let kept = after.root().get(&member.key()).map(|node| node.raw());
        assert_eq!(kept, Some(member.value().raw()));
    }
}

/// A document that goes by 1.1.0 comes to the same text as one that goes straight on.
fn both_routes_agree(pack: &Pack, text: &[u8], facts: &Facts, direct: &Rewrite) {
    if direct.path != ["1.0.0", "1.2.0"] {
        return;
    }
    let Outcome::Rewrite(half) = pack.migrate(text, Some("1.1.0"), facts, None) else {
        panic!("the first half of the way is as good as the whole")
    };
    let Outcome::Rewrite(whole) = pack.migrate(&half.bytes, None, facts, None) else {
        panic!("the second half of the way is as good as the whole")
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&whole.bytes), text(&direct.bytes), "the two routes differ");
}

/// Invariant 2: the run id follows from the inputs' hash wherever that is a string.
fn identity_holds(doc: &Doc<'_>) {
    let text = |key: &str| doc.root().get(key).and_then(|node: Node<'_>| node.as_str());
    if let (Some(hash), Some(run)) = (text("inputs_hash"), text("run_id")) {
        let digits = hash.strip_prefix(Sha256::PREFIX).expect("a digest");
        assert!(run.starts_with(&digits[..32]), "{run} does not follow from {hash}");
    }
}
