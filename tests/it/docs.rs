//! The documents say what is so: their shell examples run, their tables are the program's.

use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::format::finding::Code;
use strongroom::index::Value;
use strongroom::store::Store;

use crate::fixture;

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced blocks of one kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        match &mut current {
            Some(block) if line == "```" => {
                found.push(std::mem::take(block));
                current = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == format!("```{kind}") => current = Some(String::new()),
            None => {}
        }
    }
    found
}

/// Commands and the output that the document shows for each.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for block in blocks(text, "console") {
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push((command.to_owned(), String::new())),
                None => {
                    let (_, output) = commands.last_mut().expect("a block begins with a command");
                    output.push_str(line);
                    output.push('\n');
                }
            }
        }
    }
    commands
}

fn have(tool: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().is_ok_and(|o| o.status.success())
}

/// Runs a document's examples in one shell in an empty folder; every command must succeed, and print
/// what the document shows where it shows something.
fn run_examples(name: &str) {
    run_examples_in(name, tempfile::tempdir().unwrap().path(), 0);
}

/// As [`run_examples`], in a folder; a check that found something may exit with `also`.
fn run_examples_in(name: &str, folder: &Path, also: u8) {
    let missing: Vec<&str> =
        ["bash", "jq", "sqlite3", "sha256sum"].into_iter().filter(|tool| !have(tool)).collect();
    if !missing.is_empty() {
        println!("skipped: the examples of {name} need {}", missing.join(", "));
        return;
    }
    let commands = commands(&document(name));
    assert!(!commands.is_empty(), "{name} has no examples");
    let mut script = "set -u -o pipefail\n".to_owned();
    for (at, (command, _)) in commands.iter().enumerate() {
        script.push_str(&format!(
            "{command}\ncode=$?; [ $code = 0 ] || [ $code = {also} ] || {{ echo \"@failed {at}\"; exit 1; }}\necho \"@@{at}\"\n"
        ));
    }
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_strongroom"));
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let out = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .output()
        .unwrap();
    let printed = String::from_utf8(out.stdout).unwrap();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    let mut rest = printed.as_str();
    for (at, (command, expected)) in commands.iter().enumerate() {
        let mark = format!("@@{at}\n");
        let Some(end) = rest.find(&mark) else {
            panic!("{name}: `{command}` failed\n{rest}\n{errors}");
        };
        let shown = &rest[..end];
        if !expected.is_empty() {
            assert_eq!(shown, expected, "{name}: `{command}`\n{errors}");
        }
        rest = &rest[end + mark.len()..];
    }
    println!("{name}: {} commands run as shown", commands.len());
}

#[test]
fn store_layout_examples_run_as_shown() {
    run_examples("store-layout.md");
}

#[test]
fn pack_authors_session_runs_as_shown() {
    run_examples("docs/pack-authors.md");
}

#[test]
fn readme_session_runs_in_an_empty_folder() {
    run_examples("README.md");
}

/// The page for the people who run a system, on that system's real files: what lies where its examples
/// look for it.
fn page_runs_on_real_data(system: &str, files: &[(&str, &str)]) {
    let Some(data) = std::env::var_os("STRONGROOM_REAL_DATA") else {
        println!("skipped: the examples of docs/{system}.md need STRONGROOM_REAL_DATA");
        return;
    };
    let data = PathBuf::from(data).join(system);
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in files {
        let to = folder.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        match data.join(from) {
            dir if dir.is_dir() => fixture::copy(&dir, &to),
            file => drop(std::fs::copy(&file, &to).unwrap()),
        }
    }
    run_examples_in(&format!("docs/{system}.md"), folder.path(), 3);
}

#[test]
fn page_for_mlx_knife_runs_on_its_real_reports() {
    let files = [
        ("reports/example-2025-11-16-v2.0.2.jsonl", "reports/example.jsonl"),
        ("generated/hooks-head-linux-with-Infinity.jsonl", "reports/hooks.jsonl"),
        ("generated/memtail.jsonl", "reports/memtail.jsonl"),
    ];
    page_runs_on_real_data("mlx-knife", &files);
}

#[test]
fn page_for_palimpsest_runs_on_its_real_traces() {
    page_runs_on_real_data("palimpsest", &[("stored", "traces")]);
}

#[test]
fn page_for_llenergymeasure_runs_on_its_real_results() {
    let files = [("history/2025-03-23-17e4c53", "results/march"), ("generated", "results/later")];
    page_runs_on_real_data("llenergymeasure", &files);
}

#[test]
fn page_for_llm_metrics_proxy_runs_on_its_real_database() {
    page_runs_on_real_data("llm-metrics-proxy", &[("v1-app-1.0.0-schema2-1000rows.db", "metrics.db")]);
}

#[test]
fn page_for_sigilzero_runs_on_its_real_runs() {
    page_runs_on_real_data("sigilzero", &[("git-a0debc6/artifacts", "sigilzero-ai/artifacts")]);
}

#[test]
fn store_layout_lists_every_finding_as_the_program_has_it() {
    let text = document("store-layout.md");
    for code in Code::ALL {
        let row = format!("| {code} | {} | {} |", code.title(), code.advice());
        assert!(text.contains(&row), "store-layout.md lacks the line\n{row}");
    }
    let rows = text.lines().filter(|line| {
        let mut cell = line.trim_start_matches("| ").chars();
        line.starts_with("| ")
            && matches!(cell.next(), Some('E' | 'W'))
            && cell.next().is_some_and(|c| c.is_ascii_digit())
    });
    assert_eq!(rows.count(), Code::ALL.len(), "store-layout.md lists a code that is not there");
}

#[test]
fn questions_to_the_index_are_answered_through_an_index_each() {
    let root = tempfile::tempdir().unwrap();
    let source = fixture::source(&root.path().join("old"));
    let store = fixture::init(&root.path().join("store"));
    fixture::adopt(&store, &source);
    fixture::migrate(&store).unwrap();
    let questions = blocks(&document("docs/queries.md"), "sql");
    assert!(questions.len() >= 6);
    for question in questions {
        store.query(&question).unwrap();
        let plan = plan_of(&store, &question);
        assert!(plan.iter().all(|line| line.starts_with("SEARCH ")), "not one lookup: {question}\n{plan:?}");
    }
}

/// How SQLite means to answer a question.
fn plan_of(store: &Store, question: &str) -> Vec<String> {
    let answer = store.query(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
    let detail = |row: &Vec<Value>| match row.last() {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("no plan: {other:?}"),
    };
    answer.rows.iter().map(detail).collect()
}
