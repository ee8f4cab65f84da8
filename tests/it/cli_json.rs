//! The JSON answers of the commands about packs, documents outside the store and the log: each has
//! exactly the members that `docs/json.md` lists, and the page lists each of them.

use serde_json::Value;

use crate::common::{Bench, members};

const PACK: &str = r#"[pack]
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

[fields]
measured = ["/watts"]

[[deprecated]]
path = "/old"
since = "1"
use = "/new"

[[migration]]
from = "1"
to = "2"
summary = "n is called count"

    [[migration.step]]
    op = "rename"
    path = "/n"
    to = "count"

    [[migration.step]]
    op = "preserve"
    path = "/gone"
    record = true
"#;

fn schema(version: &str, member: &str) -> String {
    format!(
        r#"{{"type": "object", "required": ["v", "{member}"], "additionalProperties": false, "properties":
        {{"v": {{"const": "{version}"}}, "{member}": {{"type": "integer"}}, "old": {{}}, "gone": {{}}, "watts": {{}}}}}}"#
    )
}

/// The part of the page that is about a command: from its name to the next command's.
fn part_of(page: &str, command: &str) -> String {
    let own = format!("**{command}**");
    let mut told = String::new();
    let mut about = false;
    for line in page.lines() {
        let begins = line.starts_with("**") || line.contains(". **");
        about = line.contains(&own) || (about && !begins);
        if about {
            told.push_str(line);
            told.push('\n');
        }
    }
    told
}

/// Holds an answer, or a part of one, to its members, and the page to naming them.
#[track_caller]
fn shape(command: &str, value: &Value, names: &[&str]) {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(members(value), sorted, "{command}: {value}");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let told = part_of(&page, command);
    for name in names {
        assert!(
            told.contains(&format!("`{name}`")),
            "docs/json.md does not name {name} of {command}: {told}"
        );
    }
}

const COUNTS: [&str; 8] =
    ["current", "files", "foreign", "found", "migrated", "not_looked_at", "refused", "unreadable"];
const LEFT: [&str; 6] = ["at", "file", "line", "reason", "row", "verdict"];

fn bench() -> Bench {
    let bench = Bench::with_store();
    bench.write("../notes/pack.toml", PACK);
    bench.write("../notes/1.schema.json", schema("1", "n"));
    bench.write("../notes/2.schema.json", schema("2", "count"));
    let lines = [
        r#"{"v": "1", "n": 3, "old": 1, "gone": [1.50]}"#,
        r#"{"v": "2", "count": 4, "watts": 1.5}"#,
        r#"{"v": "1", "n": "x"}"#,
        "{",
        r#"{"v": "1", "n": 5}"#,
    ];
    bench.write("../notes.jsonl", lines.join("\n") + "\n");
    bench
}

#[test]
fn json_of_the_pack_commands_has_the_documented_members() {
    let bench = bench();
    let installed = bench.json(&["pack", "install", "../notes"], 0);
    let names = ["count", "digest", "entry", "files", "folder", "name", "replaced", "unchanged", "version"];
    shape("pack install", &installed, &names);
    let listed = bench.json(&["pack", "list"], 0);
    shape("pack list", &listed, &["packs"]);
    let names = ["current", "digest", "entry", "name", "source", "version"];
    shape("pack list", &listed["packs"][0], &names);
    let shown = bench.json(&["pack", "show", "notes"], 0);
    let names = ["digest", "files", "head", "migrations", "name", "version", "versions"];
    shape("pack show", &shown, &names);
    shape("pack show", &shown["files"][0], &["bytes", "path", "sha256"]);
    shape("pack show", &shown["migrations"][0], &["digest", "from", "summary", "to"]);
    let graph = bench.json(&["pack", "graph", "notes"], 0);
    shape("pack graph", &graph, &["head", "migrations", "name", "svg", "text"]);
    shape("pack graph", &graph["migrations"][0], &["from", "summary", "to"]);
    shape("pack docs", &bench.json(&["pack", "docs", "notes"], 0), &["file", "name", "page"]);

    let drafted = bench.json(&["pack", "new", "drafted", "--from", "../notes.jsonl"], 3);
    let names = ["documents", "files", "folder", "left_out", "name", "shapes", "version_at"];
    shape("pack new", &drafted, &names);
    shape("pack new", &drafted["left_out"][0], &["place", "reason"]);
    shape("pack new", &drafted["shapes"][0], &["documents", "shape"]);

    bench.write("../notes/2.schema.json", schema("2", "n"));
    let checked = bench.json(&["pack", "check", "../notes", "--documents", "20"], 3);
    shape("pack check", &checked, &["packs"]);
    let names = [
        "digest",
        "examples",
        "findings",
        "generated",
        "migrations",
        "name",
        "not_heeded",
        "ok",
        "respelled",
        "route_pairs",
        "routes_compared",
        "seed",
        "shapes",
        "version",
    ];
    shape("pack check", &checked["packs"][0], &names);
    let names =
        ["about", "code", "column", "difference", "document", "file", "line", "message", "step", "warning"];
    shape("pack check", &checked["packs"][0]["findings"][0], &names);
    let names =
        ["from", "migrated", "new_reads_old", "old_reads_new", "reasons", "refused", "round_trips", "to"];
    shape("pack check", &checked["packs"][0]["migrations"][0], &names);
}

#[test]
fn json_of_documents_outside_the_store_has_the_documented_members() {
    let bench = bench();
    bench.run(&["pack", "install", "../notes"]).exits(0);
    let file = ["--pack", "notes", "../notes.jsonl"];
    let with = |command: &'static str| [&[command][..], &file].concat();
    let versions = bench.json(&with("versions"), 0);
    let names = [
        "ending",
        "files",
        "head",
        "migratable",
        "not_looked_at",
        "pack",
        "rows",
        "total",
        "unreadable",
        "untrue",
    ];
    shape("versions", &versions, &names);
    shape("versions", &versions["untrue"][0], &["at", "reason", "what"]);
    shape("versions", &versions["unreadable"][0], &["reason", "run"]);
    let valid = bench.json(&with("validate"), 3);
    let names = [&COUNTS[..], &["documents_per_second", "left", "pack", "valid", "warnings"]].concat();
    shape("validate", &valid, &names);
    shape("validate", &valid["left"][0], &LEFT);
    shape("validate", &valid["warnings"][0], &["count", "first", "warning"]);
    let numbers = bench.json(&with("aggregate"), 3);
    // The page says of the counts that they are those of `validate`.
    let mut names = [&COUNTS[..], &["formulas", "left", "pack", "rows", "ungrouped", "warnings"]].concat();
    names.sort_unstable();
    assert_eq!(members(&numbers), names);
    let names = ["field", "formulas", "group", "max", "mean", "min", "missing", "n", "versions"];
    shape("aggregate", &numbers["rows"][0], &names);

    let rows = bench.run(&[&with("migrate")[..], &["--json", "--diff"]].concat()).exits(3).json_lines();
    let place = ["at", "file", "line", "row", "type", "verdict", "warnings"];
    let rewritten = ["absent", "after", "before", "changes", "diff", "entry", "path", "preserved"];
    shape("migrate", &rows[0], &[&place[..], &rewritten].concat());
    assert_eq!((&rows[0]["verdict"], &rows[1]["verdict"]), (&"migrated".into(), &"current".into()));
    assert!(rows[0]["entry"].is_u64() && rows[0]["warnings"][0].is_string() && rows[0]["diff"].is_string());
    shape("migrate", &rows[0]["preserved"][0], &["at", "text"]);
    for row in &rows[1..4] {
        shape("migrate", row, &[&place[..], &["reason"]].concat());
    }
    let more = ["changed_files", "dry_run", "operation", "pack", "settled", "target", "type"];
    shape("migrate", rows.last().unwrap(), &[&COUNTS[..], &more].concat());
    let operation = rows.last().unwrap()["operation"].as_str().unwrap().to_owned();

    let log = bench.run(&["log", "--json", "-n", "1"]).exits(0).json_lines();
    let names = ["actor", "entry", "index", "leaf", "reason", "settled", "target"];
    shape("log", &log[0], &names);
    let back = bench.json(&["rollback", "--operation", &operation], 0);
    shape("rollback", &back, &["operation", "runs", "targets"]);
    shape("rollback", &back["targets"][0], &["after", "at", "before", "entry", "result"]);
}
