//! The limits of `docs/limits.md`: each is that of the source, and going beyond it is refused by its number.

use std::fs::{self, File};
use std::path::Path;

use crate::common::{Bench, put};
use crate::fixture;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The value of a constant of the source: a number, shifted or not, or a count of seconds.
fn value(constant: &str, file: &str) -> u64 {
    let source = text(&format!("src/{file}"));
    let line = source.lines().find(|line| line.contains(&format!("const {constant}: ")));
    let line = line.unwrap_or_else(|| panic!("src/{file} has no {constant}"));
    let (_, value) = line.split_once(" = ").unwrap();
    let value = value.trim_end_matches(';').trim_start_matches("Duration::from_secs(").trim_end_matches(')');
    let number =
        |text: &str| text.trim().replace('_', "").parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
    match value.split_once("<<") {
        Some((number_part, shift)) => number(number_part) << number(shift),
        None => number(value),
    }
}

/// What a cell of the table says: a number and its unit.
fn stated(cell: &str) -> u64 {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let number: u64 = number.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell}"));
    match unit {
        "KiB" => number << 10,
        "MiB" => number << 20,
        "GiB" => number << 30,
        "" | "bytes" | "bits" | "levels" | "s" => number,
        other => panic!("{other:?} is no unit"),
    }
}

/// The rows of both tables: what, limit, file of the constant, its name, the tests.
fn rows() -> Vec<[String; 5]> {
    let page = text("docs/limits.md");
    let mut rows = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs` ")) {
        let cells: Vec<&str> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let (file, constant) = cells[2].trim_start_matches('`').split_once("` ").unwrap();
        let tests = cells.get(3).copied().unwrap_or_default();
        rows.push([cells[0], cells[1], file, constant, tests].map(str::to_owned));
    }
    rows
}

#[test]
fn limits_of_the_page_are_those_of_the_source_and_have_tests() {
    let rows = rows();
    assert!(rows.len() > 30, "{}", rows.len());
    let mut tests = String::new();
    for folder in ["src", "tests/it"] {
        for (path, bytes) in fixture::snapshot(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            if path.ends_with(".rs") {
                tests += &String::from_utf8(bytes).unwrap();
            }
        }
    }
    for [what, limit, file, constant, named] in &rows {
        assert_eq!(stated(limit), value(constant, file), "{what}");
        for name in named.split('`').skip(1).step_by(2) {
            assert!(tests.contains(&format!("fn {name}(")), "{name} is no test: {what}");
        }
    }
    let limits = text("src/base/limits.rs");
    for constant in limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()) {
        assert!(rows.iter().any(|row| row[3] == constant), "{constant} has no row in docs/limits.md");
    }
}

fn sparse(path: &Path, bytes: u64) {
    put(path, "");
    File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

/// Insists that a command is refused, with the limit's number in its message.
#[track_caller]
fn refused(bench: &Bench, args: &[&str], exit: i32, limit: u64) {
    let error = bench.error(args, exit);
    assert!(error["message"].as_str().unwrap().contains(&limit.to_string()), "{args:?}: {error}");
}

#[test]
fn small_files_over_their_limits_are_refused_by_their_numbers() {
    let bench = Bench::with_store();
    let key = bench.json(&["audit", "key", "new"], 0)["key"].as_str().unwrap().to_owned();
    put(&bench.path("../in.txt"), "x");
    let run = bench.json(&["record", "--job", "j", "--input", "a=../in.txt"], 0);
    let run = format!("j/{}", run["run_id"].as_str().unwrap());
    bench.run(&["evidence", &run, "-o", "../ev"]).exits(0);

    let proof = value("PROOF_BYTES", "cli/commands/audit/check.rs");
    sparse(&bench.path("../proof"), proof + 1);
    refused(&bench, &["audit", "check", "../proof", "--key", &key], 6, proof);

    let text_bytes = value("BUNDLE_TEXT_BYTES", "base/limits.rs");
    sparse(&bench.path("../ev/statement.dsse.json"), text_bytes + 1);
    let ran = bench.run(&["check-evidence", "../ev", "--key", &key]);
    let told = format!("{}{}", ran.out, ran.err);
    assert!(told.contains(&text_bytes.to_string()) && matches!(ran.code, Some(3 | 6)), "{told}");

    let key_bytes = value("KEY_BYTES", "store/keys.rs");
    sparse(&bench.path("../big.key"), key_bytes + 1);
    fs::set_permissions(bench.path("../big.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let ran = bench.run(&["--signing-key", "../big.key", "audit", "checkpoint"]);
    assert!(ran.err.contains(&key_bytes.to_string()) && ran.code != Some(0), "{:?} {}", ran.code, ran.err);

    let settings = value("ENTRY_BYTES", "base/limits.rs");
    File::options().write(true).open(bench.path("strongroom.toml")).unwrap().set_len(settings + 1).unwrap();
    let ran = bench.run(&["list"]);
    assert!(ran.err.contains(&settings.to_string()) && ran.code != Some(0), "{:?} {}", ran.code, ran.err);
}

#[test]
fn documents_over_their_limits_are_refused_before_they_are_read() {
    let bench = Bench::with_store();
    for (name, limit) in [
        ("x.json", value("JSON_BYTES", "base/limits.rs")),
        ("x.jsonl", value("LINES_BYTES", "store/carry/sources.rs")),
    ] {
        // Its zeros are no JSON either, which nobody comes to see.
        sparse(&bench.path("../docs").join(name), limit + 1);
        let path = format!("../docs/{name}");
        let ran = bench.run(&["validate", "--pack", "mlx-knife", &path]);
        let told = format!("{}{}", ran.out, ran.err);
        assert!(
            told.contains(&format!("over the limit of {limit}")) && ran.code == Some(3),
            "{:?} {told}",
            ran.code
        );
    }
}

#[test]
fn pack_over_the_limit_is_refused_by_its_number() {
    let bench = Bench::with_store();
    put(&bench.path("../mine/pack.toml"), "");
    let limit = value("PACK_BYTES", "store/packs.rs");
    sparse(&bench.path("../mine/large.schema.json"), limit + 1);
    refused(&bench, &["pack", "install", "../mine"], 6, limit);
}
