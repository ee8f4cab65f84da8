//! Packs as their author and the owner of a store meet them: checked, drawn, drafted, installed.

use serde_json::Value;

use crate::common::{Bench, overwrite, put};

/// A pack of two versions in `below`, in which `n` becomes `count`.
fn small_pack(bench: &Bench, below: &str) {
    bench.write(
        &format!("{below}/pack.toml"),
        r#"[pack]
name = "notes"
version = "1.0.0"
version_at = "/v"
head = "2"
order = "graph"

[[shape]]
version = "1"
schema = "1.schema.json"

[[shape]]
version = "2"
schema = "2.schema.json"

[[migration]]
from = "1"
to = "2"
summary = "n is called count"

    [[migration.step]]
    op = "rename"
    path = "/n"
    to = "count"
"#,
    );
    bench.write(&format!("{below}/1.schema.json"), schema("1", "n"));
    bench.write(&format!("{below}/2.schema.json"), schema("2", "count"));
}

fn schema(version: &str, member: &str) -> String {
    format!(
        r#"{{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
 "required": ["v", "{member}"],
 "properties": {{"v": {{"const": "{version}"}}, "{member}": {{"type": "integer"}},
                "who": {{"type": "string"}}}}}}
"#
    )
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[test]
fn installed_pack_is_files_and_a_log_entry_and_stays_so() {
    let bench = Bench::with_store();
    small_pack(&bench, "../mine");
    bench.write("../mine/.hidden", "not part of it");
    let done = bench.json(&["pack", "install", "../mine"], 0);
    assert_eq!((done["name"].as_str(), done["count"].as_u64()), (Some("notes"), Some(3)));
    assert_eq!((&done["unchanged"], &done["entry"]), (&false.into(), &0.into()));
    let folder = done["folder"].as_str().unwrap().to_owned();
    let digest = done["files"].as_str().unwrap();
    assert_eq!(folder, format!("packs/notes/{}", &digest["sha256:".len()..][..16]));
    assert_eq!(bench.read(&format!("{folder}/1.schema.json")), schema("1", "n"));
    assert_eq!(bench.json(&["verify"], 0)["ok"], true);

    // The same again writes nothing; with another comment it is another set of files, the same pack.
    assert_eq!(bench.json(&["pack", "install", "../mine"], 0)["unchanged"], true);
    assert_eq!(bench.json(&["verify"], 0)["checked"]["entries"], 1);
    let text = bench.read("../mine/pack.toml");
    bench.write("../mine/pack.toml", format!("# Notes\n{text}"));
    let again = bench.json(&["pack", "install", "../mine"], 0);
    assert_eq!((&again["digest"], &again["entry"]), (&done["digest"], &1.into()));
    assert_ne!(again["folder"], done["folder"]);

    let listed = bench.json(&["pack", "list"], 0);
    let rows: Vec<_> = listed["packs"].as_array().unwrap().iter().filter(|p| p["name"] == "notes").collect();
    assert_eq!(rows.iter().map(|row| row["current"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true]);
    bench.run(&["pack", "list"]).exits(0).says("notes").says("installed before").says("built in");
    bench.run(&["pack", "show", "notes"]).exits(0).says("1 -> 2").says("n is called count");
    let shown = bench.json(&["pack", "show", "notes@1.0.0"], 0);
    assert_eq!(shown["files"].as_array().unwrap().len(), 3);
    assert_eq!(bench.json(&["verify"], 0)["ok"], true);
}

#[test]
fn pack_file_changed_or_added_in_the_store_is_found_and_decides_nothing() {
    let bench = Bench::with_store();
    small_pack(&bench, "../mine");
    let folder = bench.json(&["pack", "install", "../mine"], 0)["folder"].as_str().unwrap().to_owned();
    let before = bench.json(&["pack", "show", "notes"], 0);
    overwrite(&bench.path(&format!("{folder}/pack.toml")), "[pack]\n");
    std::fs::remove_file(bench.path(&format!("{folder}/1.schema.json"))).unwrap();
    put(&bench.path("packs/notes/extra.md"), "by hand");
    std::os::unix::fs::symlink("/dev/null", bench.path("packs/link")).unwrap();
    let report = bench.json(&["verify"], 3);
    assert_eq!(codes(&report), ["E180", "E180", "E181", "E181"]);
    assert_eq!(bench.json(&["pack", "show", "notes"], 0), before);

    std::fs::remove_file(bench.path("packs/link")).unwrap();
    std::fs::remove_file(bench.path("packs/notes/extra.md")).unwrap();
    let done = bench.json(&["pack", "install", "../mine"], 0);
    assert_eq!(done["replaced"], serde_json::json!(["pack.toml"]));
    assert_eq!(bench.json(&["verify"], 0)["ok"], true);
}

#[test]
fn pack_that_cannot_be_read_is_refused_with_its_place() {
    let bench = Bench::with_store();
    bench.error(&["pack", "show", "nothing"], 4);
    bench.error(&["pack", "show", "sigilzero@9.9.9"], 4);
    bench.error(&["pack", "install", "./nowhere"], 6);
    small_pack(&bench, "mine");
    let text = bench.read("mine/pack.toml").replace("op = \"rename\"", "op = \"renam\"");
    bench.write("mine/pack.toml", text);
    let error = bench.error(&["pack", "install", "mine"], 6);
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("mine/pack.toml:22:") && message.contains("unknown op"), "{message}");
    let text = bench.read("mine/pack.toml").replace("renam\"", "rename\"").replace("\"notes\"", "\"a/b\"");
    bench.write("mine/pack.toml", text);
    assert!(bench.error(&["pack", "install", "mine"], 6)["message"].as_str().unwrap().contains("a/b"));
    assert_eq!(bench.json(&["verify"], 0)["checked"]["entries"], 0);
}
