//! Imports point downwards only: every top-level module of `src` is held to its row of the table in
//! `ARCHITECTURE.md`, "Layers". A module without a row fails.

use std::path::Path;

use crate::source;

/// Each module and what it may name. `main.rs` and `lib.rs` tie the crate together and are exempt.
const ROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("merkle", &["base"]),
    ("note", &["base"]),
    ("schema", &["base"]),
    ("format", &["base", "merkle", "note", "schema"]),
    ("plan", &["base", "merkle", "note", "schema", "format"]),
    ("backend", &["base"]),
    ("index", &["base", "format"]),
    ("carrier", &["base", "schema"]),
    ("store", &["base", "merkle", "note", "schema", "format", "plan", "backend", "index", "carrier"]),
    ("http", &["base", "format", "store"]),
    (
        "cli",
        &[
            "base", "merkle", "note", "schema", "format", "plan", "backend", "index", "carrier", "store",
            "http",
        ],
    ),
];

/// The module that a file of `src` belongs to and how deep its own module lies: `store/commit.rs`
/// is `store` at depth 2. `None` for the crate's roots.
fn place(relative: &str) -> Option<(&str, usize)> {
    let stem = relative.strip_suffix(".rs")?;
    if matches!(stem, "main" | "lib") {
        return None;
    }
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    Some((stem.split('/').next()?, stem.split('/').count()))
}

/// What is wrong with the imports of one file, `relative` to `src`.
fn violations(relative: &str, text: &str) -> Vec<String> {
    let Some((module, depth)) = place(relative) else { return Vec::new() };
    let Some((_, allowed)) = ROWS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{relative}: module `{module}` has no row in the table of layers")];
    };
    let mut found = Vec::new();
    for named in source::named_paths(text) {
        let mut here = depth + named.inline_depth;
        for segment in &named.segments {
            match segment.as_str() {
                "crate" => here = 0,
                "super" => here = here.saturating_sub(1),
                "self" => {}
                target => {
                    // Only a path that climbed to the crate's root names a top-level module.
                    let climbed = matches!(named.segments[0].as_str(), "crate" | "super" | "self");
                    if climbed && here == 0 && target != module && !allowed.contains(&target) {
                        found.push(format!(
                            "{relative}:{}: `{module}` names `{target}`, which its layer may not use",
                            named.line
                        ));
                    }
                    break;
                }
            }
        }
    }
    found
}

#[test]
fn layers_every_module_keeps_to_its_row() {
    let src = source::root().join("src");
    let mut found = Vec::new();
    for (path, text) in source::rust_files(&src) {
        let relative = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        found.extend(violations(&relative, &text));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn layers_no_module_is_declared_at_another_path() {
    // A `#[path]` attribute would let a file sit in one folder and belong to another module.
    for (path, text) in source::rust_files(&source::root().join("src")) {
        let tokens = source::tokens(&text);
        let planted = tokens.windows(3).any(|t| t[0].text == "[" && t[1].text == "path" && t[2].text == "=");
        assert!(!planted, "{}: #[path = ..]", source::shown(&path));
    }
}

#[test]
fn layers_table_points_downwards_only() {
    for (at, (module, allowed)) in ROWS.iter().enumerate() {
        for name in *allowed {
            let below = ROWS[..at].iter().any(|(row, _)| row == name);
            assert!(below, "`{module}` may use `{name}`, which is not above it in the table");
        }
    }
}

#[test]
fn layers_planted_upward_imports_are_caught() {
    for (relative, text) in [
        ("base/mod.rs", "use crate::store;"),
        ("base/digest.rs", "use crate::{base::id, store::commit as c};"),
        ("merkle/tree.rs", "fn f() { let x = crate::format::audit::Entry; }"),
        ("backend/local.rs", "pub(crate) use crate::{\n    base::{name, id},\n    format,\n};"),
        ("http/mod.rs", "use crate::plan::Plan;"),
        ("plan/mod.rs", "use super::store;"),
        ("plan/migrate.rs", "use super::super::store::Store;"),
        ("plan/migrate.rs", "mod tests { use super::super::super::store::Store; }"),
        ("plan/migrate.rs", "use super::{super::{store}};"),
        ("plan.rs", "use super::cli;"),
        ("format/mod.rs", "use crate::*;"),
        ("format/mod.rs", "macro_rules! m { () => { $crate::cli::run() } }"),
        ("helpers/mod.rs", "//! A module nobody planned."),
    ] {
        assert_eq!(violations(relative, text).len(), 1, "{relative}: {text}");
    }
}

#[test]
fn layers_downward_imports_comments_and_strings_pass() {
    for (relative, text) in [
        ("plan/mod.rs", "use crate::{base::digest::Sha256, format::paths, plan::migrate};"),
        ("plan/migrate.rs", "use super::{record, store};"),
        ("plan/migrate.rs", "mod tests { use super::super::record; }"),
        ("base/mod.rs", "//! Used by `crate::store`.\n/* crate::cli */ const X: &str = \"crate::cli\";"),
        ("base/mod.rs", "use std::store; use ::other::cli;"),
        ("main.rs", "use crate::cli;"),
        ("lib.rs", "pub use crate::store::Store;"),
    ] {
        assert_eq!(violations(relative, text), Vec::<String>::new(), "{relative}: {text}");
    }
}

#[test]
fn layers_every_declared_module_has_files() {
    // `lib.rs` declares modules; each must be found by the walk above, or it was never checked.
    let lib = std::fs::read_to_string(source::root().join("src/lib.rs")).unwrap();
    let tokens = source::tokens(&lib);
    let mut declared = 0;
    for pair in tokens.windows(2).filter(|pair| pair[0].text == "mod") {
        let name = &pair[1].text;
        let src = source::root().join("src");
        let exists = src.join(format!("{name}.rs")).is_file() || src.join(name).join("mod.rs").is_file();
        assert!(exists && Path::new(name).components().count() == 1, "module `{name}` has no file");
        declared += 1;
    }
    assert!(declared > 0, "src/lib.rs declares no module");
}
