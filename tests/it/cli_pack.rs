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

/// A pack whose shapes are given as version, properties and required members.
fn write_pack(bench: &Bench, below: &str, head: &str, shapes: &[(&str, &str, &str)], rest: &str) {
    let mut text = format!(
        "[pack]\nname = \"p\"\nversion = \"1\"\nversion_at = \"/v\"\nhead = \"{head}\"\norder = \"graph\"\n\n"
    );
    for (version, properties, required) in shapes {
        text.push_str(&format!("[[shape]]\nversion = \"{version}\"\nschema = \"{version}.json\"\n\n"));
        let schema = format!(
            r#"{{"type": "object", "required": ["v"{required}], "properties": {{"v": {{"const": "{version}"}}{properties}}}}}"#
        );
        bench.write(&format!("{below}/{version}.json"), schema);
    }
    bench.write(&format!("{below}/pack.toml"), text + rest);
}

const N: &str = r#", "n": {"type": "integer"}"#;
const RENAME: &str = "[[migration]]\nfrom = \"1\"\nto = \"2\"\n\n    [[migration.step]]\n    op = \"rename\"\n    \
                      path = \"/n\"\n    to = \"m\"\n";

/// Checks a pack and gives its one finding.
#[track_caller]
fn finding(bench: &Bench, below: &str, code: &str) -> Value {
    let report = bench.json(&["pack", "check", below, "--documents", "60"], 3);
    let all = report["packs"][0]["findings"].as_array().unwrap().clone();
    let failures: Vec<&Value> = all.iter().filter(|finding| finding["warning"] == false).collect();
    assert_eq!(failures.len(), 1, "{all:#?}");
    assert_eq!(failures[0]["code"], code, "{all:#?}");
    failures[0].clone()
}

#[test]
fn sound_pack_passes_with_counts_and_the_same_seed_makes_the_same_documents() {
    let bench = Bench::new();
    small_pack(&bench, "mine");
    bench.write("mine/examples/1--plain.json", "{\"v\": \"1\", \"n\": 7, \"who\": \"me\"}\n");
    let report = bench.json(&["pack", "check", "./mine", "--documents", "200"], 0);
    let pack = &report["packs"][0];
    assert_eq!((&pack["ok"], &pack["findings"]), (&true.into(), &serde_json::json!([])));
    let counts = ["shapes", "generated", "examples", "respelled"].map(|name| pack[name].as_u64().unwrap());
    assert_eq!(counts, [2, 400, 1, 401]);
    assert_eq!(pack["migrations"][0]["migrated"], 201);
    assert_eq!(bench.json(&["pack", "check", "mine", "--documents", "200"], 0), report);
    bench.run(&["pack", "check", "mine"]).exits(0).says("0 findings").says("2000 documents made");
    bench.run(&["pack", "check", "mine", "sigilzero", "--documents", "30"]).exits(0).says("routes compared");
    assert!(bench.error(&["pack", "check", "nowhere"], 4)["hint"].is_string());
    bench.write("mine/2.schema.json", "{\"type\": 1}");
    let message = bench.error(&["pack", "check", "mine"], 6)["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("mine/2.schema.json:1:10: not a JSON Schema"), "{message}");
}

#[test]
fn dead_end_without_a_reason_is_found_and_one_with_a_reason_is_not() {
    let bench = Bench::new();
    let m = r#", "m": {"type": "integer"}"#;
    write_pack(&bench, "p", "2", &[("0", "", ""), ("1", N, ""), ("2", m, "")], RENAME);
    let found = finding(&bench, "p", "dead-end");
    assert_eq!((found["about"].as_str(), found["line"].as_u64()), (Some("0"), Some(8)));
    let text =
        bench.read("p/pack.toml") + "\n[[end]]\nversion = \"0\"\nreason = \"nobody has it\"\nstuck = true\n";
    bench.write("p/pack.toml", text);
    bench.json(&["pack", "check", "p", "--documents", "60"], 0);
}

#[test]
fn result_that_does_not_fit_its_target_is_shrunk_to_the_smallest_document() {
    let bench = Bench::new();
    let m = r#", "m": {"type": "integer", "maximum": 1000}"#;
    write_pack(&bench, "p", "2", &[("1", N, ""), ("2", m, "")], RENAME);
    let found = finding(&bench, "p", "misfit");
    assert_eq!((found["about"].as_str(), found["line"].as_u64()), (Some("1 -> 2"), Some(20)));
    let document: Value = serde_json::from_str(found["document"].as_str().unwrap()).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 2, "{document}");
    let n = document["n"].as_i64().unwrap();
    assert!(n > 1000);
    assert_eq!(found["step"], 1);
    let difference =
        [format!("/n: {n} -> absent"), "/v: \"1\" -> \"2\"".to_owned(), format!("/m: absent -> {n}")];
    assert_eq!(found["difference"], serde_json::json!(difference));
    bench
        .run(&["pack", "check", "p"])
        .exits(3)
        .says("p/pack.toml:20:5")
        .says("step: 1")
        .says("document: {")
        .says("greater than");
}

#[test]
fn step_that_cannot_be_done_is_found_with_its_place() {
    let bench = Bench::new();
    let step = "[[migration]]\nfrom = \"1\"\nto = \"2\"\n\n    [[migration.step]]\n    op = \"default\"\n    path = \
                \"/c/tags\"\n    value = []\n";
    let c = r#", "c": {"type": "object"}"#;
    write_pack(&bench, "p", "2", &[("1", c, ""), ("2", c, "")], step);
    let found = finding(&bench, "p", "step-fails");
    assert_eq!((found["line"].as_u64(), found["document"].as_str()), (Some(20), Some(r#"{"v":"1"}"#)));
}

#[test]
fn migration_that_depends_on_the_spelling_of_a_number_is_found() {
    let bench = Bench::new();
    let n = r#", "n": {"enum": [1.5, 2.5]}, "big": {"type": "boolean"}"#;
    let step = "[[migration]]\nfrom = \"1\"\nto = \"2\"\n\n    [[migration.step]]\n    op = \"set\"\n    path = \
                \"/big\"\n    value = true\n    when = [{ at = \"/n\", equals = 1.5 }]\n";
    write_pack(&bench, "p", "2", &[("1", n, r#", "n""#), ("2", n, r#", "n""#)], step);
    let found = finding(&bench, "p", "spelling");
    assert_eq!(found["document"], r#"{"n":1.5,"v":"1"}"#);
}

#[test]
fn routes_that_give_different_documents_are_found() {
    let bench = Bench::new();
    let set = |from: &str, to: &str, value: &str| {
        format!(
            "[[migration]]\nfrom = \"{from}\"\nto = \"{to}\"\n\n    [[migration.step]]\n    op = \"default\"\n    \
             path = \"/by\"\n    value = \"{value}\"\n\n"
        )
    };
    let by = r#", "by": {"type": "string"}"#;
    let rest = set("1", "2", "step") + &set("2", "3", "step") + &set("1", "3", "leap");
    write_pack(&bench, "p", "3", &[("1", by, ""), ("2", by, ""), ("3", by, "")], &rest);
    let found = finding(&bench, "p", "routes-differ");
    assert_eq!(found["document"], r#"{"v":"1"}"#);
    assert_eq!(found["difference"], serde_json::json!([r#"/by: "leap" -> "step""#]));
    assert!(found["message"].as_str().unwrap().contains("1 -> 3 and 1 -> 2 -> 3"));
    bench.write("p/pack.toml", bench.read("p/pack.toml").replace("leap", "step"));
    let report = bench.json(&["pack", "check", "p", "--documents", "60"], 0);
    assert_eq!(report["packs"][0]["routes_compared"], 60);
}

/// A migration of one step that counts.
fn leads(from: &str, to: &str) -> String {
    format!(
        "[[migration]]\nfrom = \"{from}\"\nto = \"{to}\"\n\n    [[migration.step]]\n    op = \"default\"\n    \
         path = \"/by{to}\"\n    value = \"x\"\n\n"
    )
}

#[test]
fn pack_whose_migrations_go_in_circles_leads_to_its_head_by_the_shortest_way() {
    let bench = Bench::new();
    let ways =
        [("1", "1"), ("1", "2"), ("2", "1"), ("2", "3"), ("3", "1"), ("3", "4"), ("4", "4"), ("4", "2")];
    let rest: String = ways.iter().map(|(from, to)| leads(from, to)).collect();
    write_pack(&bench, "p", "4", &[("1", "", ""), ("2", "", ""), ("3", "", ""), ("4", "", "")], &rest);
    bench.write("doc.json", r#"{"v":"1"}"#);
    let shown = bench.run(&["show", "--pack", "p", "--as", "4", "doc.json"]).exits(0);
    assert_eq!(shown.out, r#"{"v":"4","by2":"x","by3":"x","by4":"x"}"#);
}

#[test]
fn pack_of_five_hundred_versions_leads_through_them_all() {
    let bench = Bench::new();
    let versions: Vec<String> = (1..=500).map(|n| n.to_string()).collect();
    let shapes: Vec<(&str, &str, &str)> = versions.iter().map(|version| (version.as_str(), "", "")).collect();
    let rest: String = versions.windows(2).map(|two| leads(&two[0], &two[1])).collect();
    write_pack(&bench, "p", "500", &shapes, &rest);
    bench.write("doc.json", r#"{"v":"1"}"#);
    let shown = bench.run(&["show", "--pack", "p", "--as", "500", "doc.json"]).exits(0);
    assert!(
        shown.out.starts_with(r#"{"v":"500","by2":"x","by3":"x""#) && shown.out.ends_with(r#""by500":"x"}"#)
    );
}

#[test]
fn inverse_that_does_not_come_back_or_is_not_there_is_found() {
    let bench = Bench::new();
    let m = r#", "m": {"type": "integer"}"#;
    let there = RENAME.replace("to = \"2\"\n", "to = \"2\"\ninverse = true\n");
    write_pack(&bench, "p", "2", &[("1", N, ""), ("2", m, "")], &there);
    finding(&bench, "p", "inverse");
    let back = "\n[[migration]]\nfrom = \"2\"\nto = \"1\"\n\n    [[migration.step]]\n    op = \"remove\"\n    path = \
                \"/m\"\n    reason = \"lost\"\n";
    let text = bench.read("p/pack.toml");
    bench.write("p/pack.toml", format!("{text}{back}"));
    let found = finding(&bench, "p", "inverse");
    assert_eq!(found["difference"].as_array().unwrap().len(), 1);
    let renamed = RENAME.replace("\"1\"", "\"x\"").replace("\"2\"", "\"1\"").replace("\"x\"", "\"2\"");
    let renamed = renamed.replace("\"/n\"", "\"/m\"").replace("to = \"m\"", "to = \"n\"");
    bench.write("p/pack.toml", format!("{text}\n{renamed}"));
    let report = bench.json(&["pack", "check", "p", "--documents", "60"], 0);
    assert_eq!(report["packs"][0]["migrations"][0]["round_trips"], 60);
}

#[test]
fn migration_that_refuses_everything_or_could_not_be_tried_is_found() {
    let bench = Bench::new();
    let require = "[[migration]]\nfrom = \"1\"\nto = \"2\"\n\n    [[migration.step]]\n    op = \"require\"\n    that = \
                   [{ at = \"/n\", type = \"string\" }]\n    text = \"n has to be a text\"\n";
    write_pack(&bench, "p", "2", &[("1", N, ""), ("2", N, "")], require);
    let found = finding(&bench, "p", "all-refused");
    assert!(found["message"].as_str().unwrap().contains("n has to be a text"), "{found}");
    let odd = r#", "n": {"type": "string", "pattern": "^[^ab]{3}q$"}"#;
    write_pack(&bench, "q", "2", &[("1", odd, r#", "n""#), ("2", "", "")], &RENAME.replace("\"m\"", "\"k\""));
    finding(&bench, "q", "untested");
    bench.write("q/examples/1--one.json", r#"{"v": "1", "n": "xyzq"}"#);
    bench.json(&["pack", "check", "q", "--documents", "20"], 0);
}

#[test]
fn example_that_is_not_what_its_name_says_is_found() {
    let bench = Bench::new();
    small_pack(&bench, "mine");
    bench.write("mine/examples/2--plain.json", r#"{"v": "1", "n": 7}"#);
    assert_eq!(finding(&bench, "mine", "example")["file"], "examples/2--plain.json");
    std::fs::rename(bench.path("mine/examples/2--plain.json"), bench.path("mine/examples/3--plain.json"))
        .unwrap();
    finding(&bench, "mine", "example");
    std::fs::rename(bench.path("mine/examples/3--plain.json"), bench.path("mine/examples/1--plain.json"))
        .unwrap();
    bench.json(&["pack", "check", "mine", "--documents", "20"], 0);
}

#[test]
fn destructive_steps_and_overlapping_shapes_are_warned_of() {
    let bench = Bench::new();
    let old = r#", "n": {"type": ["integer", "null"]}, "gone": {"type": "string"}, "k": {"type": "integer"}"#;
    let new = r#", "n": {"type": "integer"}, "k": {"type": "integer"}"#;
    let rest = "[[migration]]\nfrom = \"1\"\nto = \"2\"\n\n    [[migration.step]]\n    op = \"remove\"\n    path = \
                \"/gone\"\n    reason = \"unused\"\n\n    [[migration.step]]\n    op = \"require\"\n    that = [{ at = \
                \"/n\", type = \"integer\" }, { present = \"/k\" }]\n    text = \"n and k are needed\"\n";
    write_pack(&bench, "p", "2", &[("1", old, ""), ("2", new, r#", "k""#)], rest);
    let report = bench.json(&["pack", "check", "p", "--documents", "60"], 0);
    let warnings = &report["packs"][0];
    let mut found = codes(warnings);
    found.sort_unstable();
    assert_eq!(found, ["loses", "narrows", "requires"]);
    let migration = &warnings["migrations"][0];
    assert_eq!((&migration["old_reads_new"], &migration["new_reads_old"]), (&false.into(), &false.into()));

    let shape = |variant: &str| {
        format!("[[shape]]\nversion = \"2\"\nvariant = \"{variant}\"\nschema = \"2.json\"\n\n")
    };
    let one = "[[shape]]\nversion = \"2\"\nschema = \"2.json\"\n\n";
    let text = bench.read("p/pack.toml").replace(one, &(shape("a") + &shape("b")));
    bench.write("p/pack.toml", text);
    let report = bench.json(&["pack", "check", "p", "--documents", "20"], 3);
    assert!(codes(&report["packs"][0]).contains(&"ambiguous"), "{report:#}");
}

#[test]
fn drafted_pack_tells_every_document_it_was_drafted_from() {
    let bench = Bench::new();
    bench.write("one.json", r#"{"schema_version": "1.0.0", "id": "a", "score": 0.5}"#);
    bench.write(
        "more.jsonl",
        "{\"schema_version\": \"1.0.0\", \"id\": \"b\", \"result\": {\"score\": 1}}\r\n\n{\"schema_version\": \
         \"1.1.0\", \"id\": \"c\", \"result\": {\"score\": 1, \"unit\": \"ms\"}}\n",
    );
    let made = bench.json(&["pack", "new", "scores", "--from", "one.json", "more.jsonl"], 0);
    assert_eq!((made["documents"].as_u64(), made["version_at"].as_str()), (Some(3), Some("/schema_version")));
    let shapes: Vec<&str> =
        made["shapes"].as_array().unwrap().iter().map(|shape| shape["shape"].as_str().unwrap()).collect();
    assert_eq!(shapes, ["1.0.0/a", "1.0.0/b", "1.1.0"]);
    assert!(bench.read("scores/pack.toml").contains("{ present = \"/score\" }"));
    // What is missing is what only the author knows: the migrations.
    let report = bench.json(&["pack", "check", "scores", "--documents", "40"], 3);
    assert_eq!(codes(&report["packs"][0]), ["dead-end", "dead-end"]);
    assert_eq!(report["packs"][0]["examples"], 3);
    assert!(bench.error(&["pack", "new", "scores", "--from", "one.json"], 6)["hint"].is_string());
    bench
        .run(&["pack", "new", "other", "--from", "one.json", "-o", "x/y"])
        .exits(0)
        .says("1.0.0  1 document");
    bench.write("bad.jsonl", "{\n[]\n");
    let message = bench.error(&["pack", "new", "z", "--from", "bad.jsonl"], 6)["message"].to_string();
    assert!(message.contains("bad.jsonl:1"), "{message}");
    bench.write("all/a/bad.jsonl", "{\"schema_version\": \"1\"}\n{\n");
    bench.write("all/b.json", "{\"schema_version\": 1}");
    bench.write("all/notes.txt", "no document");
    let made = bench.json(&["pack", "new", "y", "--from", "all"], 3);
    let left: Vec<&str> =
        made["left_out"].as_array().unwrap().iter().map(|left| left["place"].as_str().unwrap()).collect();
    assert_eq!((made["documents"].as_u64(), left), (Some(3), vec!["all/a/bad.jsonl:2", "all/b.json"]));
    bench.error(&["pack", "new", "z", "--from", "one.json", "--version-at", "x"], 2);
    assert!(!bench.path("z").exists());
}

#[test]
fn graph_and_page_are_drawn_for_terminals_and_files() {
    let bench = Bench::new();
    small_pack(&bench, "mine");
    bench.run(&["pack", "graph", "mine"]).exits(0).says("1\n│   n is called count\n└─> 2 (head)\n");
    bench.run(&["pack", "graph", "mine", "-o", "g.svg"]).exits(0).says("wrote g.svg");
    let svg = bench.read("g.svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains(">2</text>"), "{svg}");
    assert_eq!(bench.json(&["pack", "graph", "sigilzero"], 0)["migrations"].as_array().unwrap().len(), 3);
    bench.run(&["pack", "docs", "mine"]).exits(0).says("# notes 1.0.0").says("| `/count` | integer | yes |");
    bench.run(&["pack", "docs", "mine", "-o", "page.md"]).exits(0);
    assert_eq!(bench.json(&["pack", "docs", "mine"], 0)["page"], bench.read("page.md"));
}

#[test]
fn built_in_packs_pass_their_check_with_counts() {
    const DOCUMENTS: u64 = 40;
    let bench = Bench::new();
    let documents = DOCUMENTS.to_string();
    let all: Vec<&str> = strongroom::schema::builtin_names().collect();
    assert_eq!(all.len(), 5);
    let args = [&["pack", "check", "--documents", &documents], all.as_slice()].concat();
    let report = bench.json(&args, 0);
    for (name, pack) in all.iter().zip(report["packs"].as_array().unwrap()) {
        let count = |key: &str| pack[key].as_u64().unwrap();
        assert_eq!(pack["name"], *name);
        // Warnings are for authors whose shapes are still open; these are not.
        assert_eq!(pack["findings"], serde_json::json!([]), "{name}");
        assert_eq!(count("generated"), DOCUMENTS * count("shapes"), "{name}");
        assert_eq!(count("respelled"), count("generated") + count("examples"), "{name}");
        assert!(count("examples") > 0, "{name}");
        let mut refused = 0;
        for migration in pack["migrations"].as_array().unwrap() {
            let migrated = migration["migrated"].as_u64().unwrap();
            refused += migration["refused"].as_u64().unwrap();
            assert!(migrated >= DOCUMENTS / 3, "{name}: {migration}");
        }
        // Only sigilzero has several routes between two versions.
        assert_eq!(count("routes_compared") >= DOCUMENTS, *name == "sigilzero", "{name}");
        println!(
            "{name}: {} documents, {refused} refused, {} routes compared",
            count("generated"),
            count("routes_compared")
        );
    }
}

#[test]
fn draft_from_real_documents_reads_checks_and_tells_every_one() {
    let bench = Bench::new();
    let cases: [(&str, &[&str], usize); 3] = [
        ("mlx-knife", &["reports", "generated"], 2),
        ("llenergymeasure", &["history", "generated"], 20),
        ("palimpsest", &["stored", "tests", "docs"], 0),
    ];
    for (name, folders, left_out) in cases {
        let Some(data) = crate::packs_real::data(name) else { return };
        let from: Vec<String> =
            folders.iter().map(|folder| data.join(folder).display().to_string()).collect();
        let mut args = vec!["pack", "new", name, "--from"];
        args.extend(from.iter().map(String::as_str));
        // A draft is answered only if it tells each document; what is no document is named.
        let made = bench.json(&args, if left_out == 0 { 0 } else { 3 });
        let told: u64 =
            made["shapes"].as_array().unwrap().iter().map(|s| s["documents"].as_u64().unwrap()).sum();
        let left = made["left_out"].as_array().unwrap().len();
        assert!(left >= left_out, "{name}: {left}");
        assert_eq!(made["documents"].as_u64(), Some(told + left as u64), "{name}");
        let folder = format!("./{name}");
        let report = bench.json(&["pack", "check", &folder, "--documents", "10"], 3);
        let pack = &report["packs"][0];
        assert!(codes(pack).iter().all(|code| *code == "dead-end"), "{name}: {:?}", codes(pack));
        assert_eq!(pack["examples"].as_u64(), pack["shapes"].as_u64(), "{name}");
        println!("{name}: {told} documents in {} shapes, {left} left out", pack["shapes"]);
    }
}
