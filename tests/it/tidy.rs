//! What the compiler and clippy do not check: pure layers are pure, everything below the command
//! line is silent, files have headers and stay readable, and the repository names no machine.
//!
//! Each checker is a function from text to findings, and each has a test that plants what it must
//! catch.

use std::path::PathBuf;
use std::process::Command;

use crate::source;

/// Layers 0 and 1: values computed from values.
const PURE: &[&str] = &["base", "merkle", "note", "schema", "format", "plan"];

/// What reaches out of the process or differs from one call to the next.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "fs_err",
    "tokio",
    "rusqlite",
    "rand",
    "getrandom",
    "rustix",
    "tempfile",
    "SystemTime",
    "Instant::now",
];

/// What speaks to a terminal or listens to the environment.
const LOUD: &[&str] = &[
    "std::env",
    "io::stdin",
    "io::stdout",
    "io::stderr",
    "Stdin",
    "Stdout",
    "Stderr",
    "IsTerminal",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
    "clap",
    "indicatif",
];

const FILE_LINES: usize = 800;

/// The module that a file of `src` belongs to; for `lib.rs` and `main.rs` that is their own name.
fn module(relative: &str) -> &str {
    let first = relative.split('/').next().unwrap_or(relative);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Where the code names any of `forbidden`: a run of path segments, or a macro with its `!`.
fn named(relative: &str, text: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for named in source::named_paths(text) {
        let mut segments = named.segments.clone();
        if let Some(last) = segments.last_mut()
            && named.bang
        {
            last.push('!');
        }
        for word in forbidden {
            let wanted: Vec<&str> = word.split("::").collect();
            if segments.windows(wanted.len()).any(|run| run == wanted) {
                found.push(format!("{relative}:{}: names `{word}`", named.line));
            }
        }
    }
    found
}

fn impure(relative: &str, text: &str) -> Vec<String> {
    if PURE.contains(&module(relative)) { named(relative, text, IMPURE) } else { Vec::new() }
}

fn loud(relative: &str, text: &str) -> Vec<String> {
    if matches!(module(relative), "cli" | "main") { Vec::new() } else { named(relative, text, LOUD) }
}

fn unfinished(relative: &str, text: &str) -> Vec<String> {
    let mut found = named(relative, text, &["todo!", "unimplemented!"]);
    for pair in source::tokens(text).windows(2) {
        if matches!(pair[0].text.as_str(), "[" | ",") && pair[1].text == "ignore" {
            found.push(format!("{relative}:{}: an ignored test", pair[1].line));
        }
    }
    found
}

/// Notes to oneself, in comments as well as in code.
fn leftover_notes(relative: &str, text: &str) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    lines_with(relative, text, &marks)
}

fn lines_with(relative: &str, text: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(**word)) {
            found.push(format!("{relative}:{}: says `{word}`", at + 1));
        }
    }
    found
}

/// A file opens with `//!`, after inner attributes and a shebang at most.
fn headless(relative: &str, text: &str) -> Vec<String> {
    let first = text.lines().find(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("#!")
    });
    if first.is_some_and(|line| line.starts_with("//! ")) {
        Vec::new()
    } else {
        vec![format!("{relative}: does not open with `//!` and what it is for")]
    }
}

fn too_long(relative: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= FILE_LINES {
        Vec::new()
    } else {
        vec![format!("{relative}: {lines} lines, more than {FILE_LINES}; split it by what it decides")]
    }
}

/// Words that belong to one machine or one way of working on it. Each is put together here so that
/// this file does not hold it.
fn local_words(relative: &str) -> Vec<&'static str> {
    let mut words = vec![
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("fa", "rm-"),
        concat!(".lib", "rary"),
        concat!("bash", "_jobs"),
    ];
    // A lock file names the registry of each package, which is its purpose.
    if !relative.ends_with("Cargo.lock") {
        words.push(concat!("crates", ".io"));
    }
    words
}

fn local(relative: &str, text: &str) -> Vec<String> {
    lines_with(relative, text, &local_words(relative))
}

/// Test files beside `main.rs` that it does not declare.
fn forgotten(main: &str, files: &[String]) -> Vec<String> {
    let tokens = source::tokens(main);
    let declared =
        |stem: &str| tokens.windows(3).any(|t| t[0].text == "mod" && t[1].text == stem && t[2].text == ";");
    files
        .iter()
        .filter_map(|file| file.strip_suffix(".rs"))
        .filter(|stem| *stem != "main" && !declared(stem))
        .map(|stem| format!("tests/it/{stem}.rs is not declared in tests/it/main.rs"))
        .collect()
}

/// What git tracks or would add; the whole folder where there is no git, as in a packaged crate.
fn repository_files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(source::root())
        .output();
    match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let names = String::from_utf8(output.stdout).unwrap();
            names.split_terminator('\0').map(|name| source::root().join(name)).collect()
        }
        _ => source::walk(source::root()),
    }
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Runs a checker over every Rust file of `src`, naming files relative to it.
fn over_src(check: fn(&str, &str) -> Vec<String>) {
    let src = source::root().join("src");
    let mut found = Vec::new();
    for (path, text) in source::rust_files(&src) {
        let relative = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        found.extend(check(&relative, &text));
    }
    none(found);
}

/// Runs a checker over every Rust file of the repository.
fn over_rust(check: fn(&str, &str) -> Vec<String>) {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        let folder = source::root().join(folder);
        if folder.is_dir() {
            for (path, text) in source::rust_files(&folder) {
                found.extend(check(&source::shown(&path), &text));
            }
        }
    }
    none(found);
}

#[test]
fn tidy_pure_layers_reach_for_nothing() {
    over_src(impure);
}

#[test]
fn tidy_layers_below_the_command_line_are_silent() {
    over_src(loud);
}

#[test]
fn tidy_every_file_says_what_it_is_for() {
    over_rust(headless);
}

#[test]
fn tidy_no_source_file_is_too_long() {
    over_src(too_long);
}

#[test]
fn tidy_nothing_is_left_unfinished() {
    over_rust(unfinished);
    let mut found = Vec::new();
    for path in repository_files() {
        let ours = path.extension().is_none_or(|e| ["rs", "sh", "toml", "md"].iter().any(|o| e == *o));
        if let (true, Ok(text)) = (ours, std::fs::read_to_string(&path)) {
            found.extend(leftover_notes(&source::shown(&path), &text));
        }
    }
    none(found);
}

#[test]
fn tidy_repository_names_no_machine() {
    let mut found = Vec::new();
    let mut read = 0;
    for path in repository_files() {
        let name = source::shown(&path);
        found.extend(local(&name, &name));
        // Binary files, links to nowhere and files deleted but not yet committed have no text.
        if let Ok(text) = std::fs::read_to_string(&path) {
            read += 1;
            found.extend(local(&name, &text));
        }
    }
    assert!(read > 10, "only {read} files were read");
    none(found);
}

#[test]
fn tidy_no_test_file_is_forgotten() {
    let folder = source::root().join("tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().join("mod.rs").is_file() {
            names.push(format!("{name}.rs"));
        } else if name.ends_with(".rs") {
            names.push(name);
        }
    }
    none(forgotten(&main, &names));
    // A further file in `tests` would be a second binary.
    for entry in std::fs::read_dir(source::root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.extension().is_none_or(|e| e != "rs"), "{} is a test binary of its own", path.display());
    }
}

#[test]
fn tidy_planted_impurity_is_caught() {
    for text in [
        "use std::fs;",
        "use std::{fmt, fs::File};",
        "use std::{io, net::{TcpStream}};",
        "let x = std::env::var(\"X\");",
        "let t = time::SystemTime::now();",
        "use std::time::Instant; let t = Instant::now();",
        "use ::rand::random;",
        "fs_err::read(p)",
        "#[tokio::main] fn f() {}",
        "use rusqlite::Connection;",
        "rustix::fs::fsync(f)",
    ] {
        assert_eq!(impure("plan/record.rs", text).len(), 1, "{text}");
        assert_eq!(impure("backend/local.rs", text), Vec::<String>::new(), "{text}");
    }
    let fine =
        "//! No std::fs here.\nuse std::fmt; const X: &str = \"std::env\"; let rand_like = operand::fs;";
    assert_eq!(impure("plan.rs", fine), Vec::<String>::new());
}

#[test]
fn tidy_planted_noise_is_caught() {
    for text in [
        "println!(\"x\");",
        "std::eprintln!()",
        "use std::env;",
        "use std::io::{self, stderr};",
        "io::stdout().lock()",
        "use std::io::IsTerminal as _;",
        "use clap::Parser;",
        "dbg!(x)",
    ] {
        assert_eq!(loud("store/commit.rs", text).len(), 1, "{text}");
        assert_eq!(loud("cli/mod.rs", text), Vec::<String>::new(), "{text}");
    }
    let fine =
        "writeln!(out)?; let v = env!(\"CARGO_PKG_VERSION\"); self.print(); let dbg = 1; x.println != y;";
    assert_eq!(loud("store/mod.rs", fine), Vec::<String>::new());
}

#[test]
fn tidy_planted_unfinished_work_is_caught() {
    for text in ["fn f() { todo!() }", "std::unimplemented!()", "#[test] #[ignore] fn f() {}"] {
        assert_eq!(unfinished("src/x.rs", text).len(), 1, "{text}");
    }
    assert_eq!(unfinished("src/x.rs", "#[ignore = \"slow\"]").len(), 1);
    assert_eq!(unfinished("src/x.rs", "use ignore::WalkBuilder; // todo!()"), Vec::<String>::new());
    let note = format!("// {}: later", ["TO", "DO"].concat());
    assert_eq!(leftover_notes("src/x.rs", &note).len(), 1);
    assert_eq!(leftover_notes("src/x.rs", "// to do"), Vec::<String>::new());
}

#[test]
fn tidy_planted_headless_or_long_file_is_caught() {
    for text in ["", "use std::fmt;", "//!\n", "// A file.", "/// A file."] {
        assert_eq!(headless("src/x.rs", text).len(), 1, "{text:?}");
    }
    for text in ["//! A file.", "#!/bin/x\n//! A file.", "#![allow(x)]\n\n//! A file."] {
        assert_eq!(headless("src/x.rs", text), Vec::<String>::new(), "{text:?}");
    }
    assert_eq!(too_long("x.rs", &"\n".repeat(FILE_LINES + 1)).len(), 1);
    assert_eq!(too_long("x.rs", &"\n".repeat(FILE_LINES)), Vec::<String>::new());
}

#[test]
fn tidy_planted_local_word_is_caught() {
    for word in local_words("README.md") {
        assert_eq!(local("README.md", &format!("see\n<{word}x>")).len(), 1, "{word}");
    }
    let registry = ["crates", ".io"].concat();
    assert_eq!(local("Cargo.lock", &registry), Vec::<String>::new());
    assert_eq!(local("README.md", "how we work / a library"), Vec::<String>::new());
}

#[test]
fn tidy_planted_forgotten_test_is_caught() {
    let files = ["main.rs", "a.rs", "b.rs", "c.rs"].map(str::to_owned);
    assert_eq!(forgotten("mod a;\n// mod b;\nmod c { }", &files).len(), 2);
    assert_eq!(forgotten("mod a; mod b; mod c;", &files), Vec::<String>::new());
}
