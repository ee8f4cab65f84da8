//! What commands on documents outside a store share: which pack, and how a document, its verdict and
//! the sum of all verdicts are told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::commands::pack;
use super::error::CliError;
use super::output::{count, safe};
use super::session::Session;
use crate::carrier::{Counts, Place};
use crate::schema::Pack;
use crate::store::Progress;
use crate::store::carry::{DocumentRow, DocumentsReport};

/// The pack that `--pack` names: a folder, one installed in the store, or a built-in one.
pub(super) fn pack_of(given: &str, session: &Session) -> Result<Pack, CliError> {
    pack::read(given, &pack::files_of(given, session)?)
}

/// Insists that files were named.
pub(super) fn some(paths: &[PathBuf]) -> Result<(), CliError> {
    if paths.is_empty() {
        let hint = Some("such as reports/*.jsonl, or a folder".to_owned());
        return Err(CliError::usage("name the files or folders whose documents are meant", hint));
    }
    Ok(())
}

/// Where progress is told.
pub(super) fn progress(session: &Session) -> Arc<dyn Progress + Send + Sync> {
    session.context().progress
}

/// A document's place as members of a JSON object.
pub(super) fn place_json(row: &DocumentRow) -> Value {
    let (line, key) = match &row.place {
        Place::Whole => (None, None),
        Place::Line(number) => (Some(*number), None),
        Place::Row(key) => (None, Some(key)),
    };
    json!({"at": row.at(), "file": row.file, "line": line, "row": key})
}

/// The sums as a JSON object.
pub(super) fn counts_json(report: &DocumentsReport) -> Value {
    let Counts { found, migrated, current, refused, unreadable, foreign } = report.counts;
    json!({
        "found": found, "migrated": migrated, "current": current, "refused": refused,
        "unreadable": unreadable, "foreign": foreign, "files": report.files,
        "not_looked_at": report.not_looked_at,
    })
}

/// What was passed over, as the end of a sentence; empty when nothing was.
pub(super) fn passed_over(report: &DocumentsReport) -> String {
    let mut text = String::new();
    if report.counts.foreign > 0 {
        text.push_str(&format!("; {} of another kind passed through", report.counts.foreign));
    }
    if report.not_looked_at > 0 {
        text.push_str(&format!("; {} not looked at", count(report.not_looked_at, "file", "files")));
    }
    text
}

/// What was left, with place and reason, told once and kept for JSON.
#[derive(Default)]
pub(super) struct Left {
    rows: Vec<Value>,
    warnings: BTreeMap<String, (u64, String)>,
    absent: BTreeMap<String, (u64, String)>,
}

impl Left {
    /// Takes in a document; one that is left is told.
    pub fn take(&mut self, row: &DocumentRow, session: &Session) {
        self.warn(&row.warnings, || row.at());
        for place in &row.absent {
            self.absent.entry(place.to_string()).or_insert_with(|| (0, row.at())).0 += 1;
        }
        let word = row.verdict.word();
        let Some(why) = row.verdict.reason().filter(|_| word != "foreign") else { return };
        let out = &session.out;
        if out.json {
            let mut value = place_json(row);
            value["verdict"] = word.into();
            value["reason"] = why.into();
            self.rows.push(value);
        } else {
            session.end();
            out.line(format!("{}  {}: {}", out.paint.red(word), safe(row.at()), safe(why)));
        }
    }

    /// Takes in the warnings of a document.
    pub fn warn(&mut self, warnings: &[String], at: impl Fn() -> String) {
        for warning in warnings {
            self.warnings.entry(warning.clone()).or_insert_with(|| (0, at())).0 += 1;
        }
    }

    /// The documents left, for JSON.
    pub fn rows(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.rows)
    }

    /// The warnings, each once with how often and where first.
    pub fn warnings_json(&self) -> Vec<Value> {
        let one = |(text, (times, first)): (&String, &(u64, String))| json!({"warning": text, "count": times, "first": first});
        self.warnings.iter().map(one).collect()
    }

    /// Tells the warnings, and which measured members stay absent.
    pub fn tell_warnings(&self, session: &Session) {
        let out = &session.out;
        let times = |(times, first): &(u64, String)| {
            format!("({}, first {})", count(*times, "document", "documents"), safe(first))
        };
        for (text, seen) in &self.warnings {
            out.line(format!("{}  {} {}", out.paint.yellow("warning"), safe(text), times(seen)));
        }
        for (place, seen) in &self.absent {
            let word = out.paint.yellow("stays absent");
            out.line(format!("{word}  {}: measured, and never made up {}", safe(place), times(seen)));
        }
    }
}
