//! The pack that governs a store's own manifests: chosen at `init`, resolved by name, never guessed.

use serde_json::{Value, json};
use strongroom::base::digest::Sha256;

use crate::common::{Bench, old_run, overwrite, put, tamper, tree};

const SHAPES: &str = r#"
[[shape]]
version = "1"
schema = "1.schema.json"

[[shape]]
version = "2"
schema = "2.schema.json"

[history]
at = "/trail"

[[fact]]
name = "job in the cover"
file = "cover.json"
format = "json"
pointer = "/folder"
must_be = "id"

[[migration]]
from = "1"
to = "2"
summary = "n is called count, the job is named"

    [[migration.step]]
    op = "rename"
    path = "/n"
    to = "count"

    [[migration.step]]
    op = "default"
    path = "/job_id"
    fact = ["job in the cover"]
    otherwise = "fail"
"#;

const THIRD: &str = r#"
[[shape]]
version = "3"
schema = "3.schema.json"

[[migration]]
from = "2"
to = "3"
summary = "count is called pages"

    [[migration.step]]
    op = "rename"
    path = "/count"
    to = "pages"
"#;

fn letters(bench: &Bench, below: &str, version: &str, head: &str, rest: &str) {
    let text = format!(
        "[pack]\nname = \"letters\"\nversion = \"{version}\"\nversion_at = \"/v\"\nhead = \"{head}\"\norder = \"graph\"\n"
    );
    bench.write(&format!("{below}/pack.toml"), text + SHAPES + rest);
    for (version, member) in [("1", "n"), ("2", "count"), ("3", "pages")] {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "required": ["v", member], "properties": {"v": {"const": version}, member: {"type": "integer"}},
        });
        if rest.contains(&format!("{version}.schema")) || SHAPES.contains(&format!("{version}.schema")) {
            bench.write(&format!("{below}/{version}.schema.json"), schema.to_string());
        }
    }
}

/// A letter in `old/`, which says nowhere in its manifest to which job it belongs.
fn letter(bench: &Bench, run: &str) {
    put(&bench.top().join(format!("old/{run}/cover.json")), "{\"folder\": \"may\"}");
    put(
        &bench.top().join(format!("old/{run}/manifest.json")),
        format!("{{\"v\": \"1\", \"run_id\": \"{run}\", \"n\": 3.0, \"odd\": 1.10}}\n"),
    );
}

fn letter_store(bench: &mut Bench) -> Value {
    letters(bench, "letters", "1.0.0", "2", "");
    letter(bench, "first");
    let made = bench.json(&["init", "store", "--pack", "./letters"], 0);
    bench.go("store");
    made
}

/// The codes of everything that `verify` finds, warnings included.
fn found(bench: &Bench, exit: i32) -> Vec<String> {
    let report = bench.json(&["verify"], exit);
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn store_under_another_pack_adopts_tells_migrates_and_checks_its_manifests_by_it() {
    let mut bench = Bench::new();
    assert_eq!(letter_store(&mut bench)["pack"], "letters");
    assert!(bench.read("strongroom.toml").contains("pack = \"letters\"\n"));

    let adopted = bench.json(&["adopt", "../old"], 0);
    assert_eq!((&adopted["adopted"], &adopted["refused"]), (&json!(1), &json!(0)), "{adopted}");
    assert_eq!(bench.json(&["list"], 0)["runs"][0]["job_id"], "may");
    assert_eq!(found(&bench, 0), [""; 0]);
    let versions = bench.json(&["versions"], 0);
    assert_eq!((&versions["pack"], &versions["head"]), (&json!("letters"), &json!("2")), "{versions}");
    bench.run(&["show", "first", "--as", "2"]).exits(0).says("\"count\": 3.0");

    bench.run(&["migrate"]).exits(0);
    let text = bench.read("artifacts/may/first/manifest.json");
    let after: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&after["v"], &after["job_id"]), (&json!("2"), &json!("may")), "{text}");
    assert!(text.contains("\"count\": 3.0, \"odd\": 1.10"), "{text}");
    assert_eq!(after["trail"][0]["pack"]["name"], "letters", "{text}");
    assert_eq!(found(&bench, 0), [""; 0]);
    // The records of this pack are checked where this pack keeps them.
    tamper(&bench.path("artifacts/may/first/manifest.json"), "1.10", "1.11");
    assert!(found(&bench, 3).contains(&"E150".to_owned()), "{:?}", found(&bench, 3));
    bench.run(&["restore", "first"]).exits(0);
    let first = bench.read("../old/first/manifest.json");
    let digest = Sha256::of(first.as_bytes()).to_string();
    bench.run(&["rollback", "first", "--to", &digest]).exits(0);
    assert_eq!(bench.read("artifacts/may/first/manifest.json"), first);
}

#[test]
fn pack_installed_later_governs_from_then_on_and_a_pinned_version_stays() {
    let mut bench = Bench::new();
    letter_store(&mut bench);
    bench.run(&["adopt", "../old"]).exits(0);
    letters(&bench, "../later", "1.1.0", "3", THIRD);
    bench.run(&["pack", "install", "../later"]).exits(0);
    assert_eq!(bench.json(&["versions"], 0)["head"], "3");
    tamper(&bench.path("strongroom.toml"), "\"letters\"", "\"letters@1.0.0\"");
    assert_eq!(bench.json(&["versions"], 0)["head"], "2");
    tamper(&bench.path("strongroom.toml"), "letters@1.0.0", "letters@9");
    assert_eq!(bench.error(&["versions"], 4)["kind"], "not-found");
}

#[test]
fn pack_of_the_manifests_is_found_where_the_log_cannot_be_read_through() {
    let mut bench = Bench::new();
    letter_store(&mut bench);
    bench.run(&["adopt", "../old"]).exits(0);
    // An installation that the index has not taken in is found in the log.
    letters(&bench, "../later", "1.1.0", "3", THIRD);
    bench.run(&["list"]).exits(0);
    bench.run(&["pack", "install", "../later"]).exits(0);
    assert_eq!(bench.json(&["versions"], 0)["head"], "3");
    bench.run(&["list"]).exits(0);
    assert_eq!(bench.json(&["versions"], 0)["head"], "3");
    // A pack that is built in needs nothing of the log that the index knows already.
    let bench = Bench::with_store();
    old_run(&bench.top().join("old"), "label-001", 1);
    bench.run(&["adopt", "../old"]).exits(0);
    bench.run(&["list"]).exits(0);
    let entries: Vec<String> = tree(&bench.path("audit"))
        .into_keys()
        .filter(|name| name.contains("entries") && !name.ends_with('/'))
        .collect();
    assert!(!entries.is_empty());
    for name in entries {
        overwrite(&bench.path(&format!("audit/{name}")), "damaged");
    }
    bench.run(&["versions"]).exits(0).says("1.0.0");
    bench.run(&["migrate", "--dry-run", "--to", "1.0.0"]).exits(0).says("1 current");
    bench.run(&["verify"]).exits(3);
    std::fs::remove_file(bench.path("index.sqlite")).unwrap();
    bench.run(&["versions"]).exits(7);
}

#[test]
fn head_that_is_one_of_several_shapes_of_a_version_is_reached_and_shown() {
    let mut bench = Bench::new();
    let variant = "variant = \"new\"\nwhen = [{ present = \"/count\" }]\n";
    let older = "\n[[shape]]\nversion = \"2\"\nvariant = \"old\"\nschema = \"1.schema.json\"\nwhen = [{ absent = \"/count\" }]\n";
    letters(&bench, "letters", "1.0.0", "2/new", older);
    let text = bench.read("letters/pack.toml").replace("to = \"2\"", "to = \"2/new\"");
    let named = "version = \"2\"\nschema = \"2.schema.json\"\n";
    bench.write("letters/pack.toml", text.replace(named, &format!("{named}{variant}")));
    letter(&bench, "first");
    bench.run(&["init", "store", "--pack", "./letters"]).exits(0);
    bench.go("store");
    bench.run(&["adopt", "../old"]).exits(0);
    bench.run(&["show", "first", "--as", "2"]).exits(0).says("\"count\": 3.0");
    let migrated = bench.run(&["migrate", "--json"]).exits(0).json_lines();
    assert_eq!(migrated.last().unwrap()["migrated"], 1, "{migrated:?}");
    let again = bench.run(&["migrate", "--json", "--to", "2"]).exits(0).json_lines();
    assert_eq!(again.last().unwrap()["current"], 1, "{again:?}");
    assert_eq!(found(&bench, 0), [""; 0]);
}

#[test]
fn deprecated_member_is_told_on_reading_and_migrating_and_the_document_stays_exact() {
    let mut bench = Bench::new();
    let going = "\n[[deprecated]]\npath = \"/odd\"\nsince = \"1\"\nuse = \"/even\"\n";
    letter_store(&mut bench);
    letters(&bench, "../later", "1.0.1", "2", going);
    bench.run(&["pack", "install", "../later"]).exits(0);
    bench.run(&["adopt", "../old"]).exits(0);
    let told = "/odd is deprecated since 1";
    let document = "{\"v\": \"2\", \"count\": 3, \"odd\": 1.10}\n";
    bench.write("../new.json", document);
    let shows: [(&[&str], bool); 4] = [
        (&["show", "../new.json", "--pack", "letters", "--as", "2"], true),
        (&["show", "../new.json", "--pack", "sigilzero"], false),
        (&["show", "first", "--as", "2"], true),
        (&["show", "../new.json", "--pack", "letters", "--as", "2", "--quiet"], false),
    ];
    for (args, warns) in shows {
        let ran = bench.run(args).exits(0);
        assert_eq!(ran.err.contains(told), warns, "{args:?}: {}", ran.err);
        assert!(!ran.out.contains("deprecated"), "{}", ran.out);
        assert!(args.contains(&"first") || ran.out == document, "{}", ran.out);
    }
    bench.run(&["migrate", "../new.json", "--pack", "letters", "--dry-run"]).exits(0).says(told);
    // The store's own manifests are told of alike, before, while and after they migrate.
    for (args, done) in [
        (&["migrate", "--dry-run"][..], "1 would migrate"),
        (&["migrate"], "1 migrated"),
        (&["migrate"], "1 current"),
    ] {
        let ran = bench.run(args).exits(0).says(told);
        assert!(ran.out.contains(done), "{args:?}: {}", ran.out);
    }
    let rows = bench.run(&["migrate", "--json"]).exits(0).json_lines();
    assert!(rows[0]["warnings"][0].as_str().is_some_and(|warning| warning.contains(told)), "{rows:?}");
    // A folder without documents is no success.
    bench.write("../none/readme.txt", "no document");
    for more in [&["--dry-run"][..], &[]] {
        let error = bench.error(&[&["migrate", "--pack", "letters", "../none"][..], more].concat(), 6);
        assert_eq!(error["message"], "no document found in ../none", "{error}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("1 file of other kinds")), "{error}");
    }
    bench.write("../new.json", document.replace("odd", "even"));
    assert!(
        !bench.run(&["migrate", "../new.json", "--pack", "letters", "--dry-run"]).out.contains("deprecated")
    );
}

#[test]
fn record_is_refused_where_the_pack_does_not_know_what_it_writes() {
    let mut bench = Bench::new();
    letter_store(&mut bench);
    bench.write("../in.txt", "in\n");
    let before = tree(&bench.path("."));
    let error = bench.error(&["record", "--job", "j", "--input", "a=../in.txt", "--", "touch", "ran"], 6);
    assert!(error["message"].as_str().unwrap().contains("letters does not know"), "{error}");
    assert_eq!(tree(&bench.path(".")), before);
}

#[test]
fn store_without_a_named_pack_is_one_of_sigilzero() {
    let bench = Bench::with_store();
    assert!(bench.read("strongroom.toml").contains("pack = \"sigilzero\"\n"));
    tamper(&bench.path("strongroom.toml"), "pack = \"sigilzero\"\n", "");
    old_run(&bench.top().join("old"), "label-001", 1);
    bench.run(&["adopt", "../old"]).exits(0);
    assert_eq!(bench.json(&["versions"], 0)["pack"], "sigilzero");
    bench.run(&["migrate"]).exits(0);
    bench.run(&["verify"]).exits(0);
    let named = Bench::new();
    assert_eq!(named.json(&["init", "store", "--pack", "palimpsest"], 0)["pack"], "palimpsest");
    assert_eq!(named.json(&["--store", "store", "versions"], 0)["pack"], "palimpsest");
}

#[test]
fn unknown_pack_is_refused_and_nothing_is_written() {
    let mut bench = Bench::new();
    for (given, exit) in
        [("nope", 4), ("sigilzero@9.9.9", 4), ("../letters", 6), ("./broken", 6), ("./slash", 6)]
    {
        bench.write("broken/pack.toml", "[pack]\nname = \"broken\"\n");
        letters(&bench, "slash", "1", "2", "");
        let text = bench.read("slash/pack.toml").replace("\"letters\"", "\"a/b\"");
        bench.write("slash/pack.toml", text);
        bench.error(&["init", "store", "--pack", given], exit);
        assert!(!bench.path("store").exists(), "{given}");
    }
    letter_store(&mut bench);
    bench.run(&["adopt", "../old"]).exits(0);
    letter(&bench, "second");
    tamper(&bench.path("strongroom.toml"), "\"letters\"", "\"ltters\"");
    let before = tree(&bench.path("."));
    for args in
        [&["adopt", "../old"][..], &["migrate"], &["versions"], &["show", "first", "--as", "2"], &["verify"]]
    {
        let error = bench.error(args, 4);
        assert_eq!(error["kind"], "not-found");
        assert!(error["message"].as_str().unwrap().contains("\"ltters\""), "{error}");
    }
    assert_eq!(tree(&bench.path(".")), before);
}

#[test]
fn pack_that_is_lost_with_the_objects_is_a_finding_and_the_rest_is_still_checked() {
    let mut bench = Bench::new();
    letter_store(&mut bench);
    bench.run(&["adopt", "../old"]).exits(0);
    std::fs::remove_dir_all(bench.path("objects/segments")).unwrap();
    let codes = found(&bench, 3);
    assert!(codes.contains(&"E180".to_owned()) && codes.contains(&"E160".to_owned()), "{codes:?}");
}
