//! `strongroom verify`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::format::finding::Finding;
use crate::store::{VerifyOptions, VerifyReport};

/// Check everything: re-hash every file and revision, replay the log, recompute ids and checksums
///
/// Writes nothing. Exit code 3 when something was found; warnings and exceptions that a run came in
/// with (shown as known) leave it at 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these runs, and neither the objects nor the rest of the log
    runs: Vec<String>,
}

/// What this version of the program cannot know, however clean the check.
const UNPROVED: &str = "the log is not signed in this version: it shows what was recorded and in which order \
    since its beginning on this disk, not that what was recorded was true, and a whole older copy of the \
    store put back in its place cannot be seen here";
/// What a check of single runs leaves out.
const PARTIAL: &str =
    "only the runs named: not the objects, not other runs, not what else lies under artifacts/";

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let mut runs = Vec::new();
    for name in &args.runs {
        runs.push(store.find_run(name)?);
    }
    runs.sort();
    runs.dedup();
    let partial = !runs.is_empty();
    let report = store.verify(&VerifyOptions { runs }).map_err(|error| session.failure(error))?;
    session.end();
    if session.out.json {
        tell_json(&report, partial, session)
    } else {
        tell(&report, partial, session)
    }
    Ok(if report.failures().next().is_some() { exit::FOUND } else { exit::OK })
}

fn severity(finding: &Finding) -> &'static str {
    match finding {
        finding if finding.is_failure() => "finding",
        finding if finding.code.is_warning() => "warning",
        _ => "known",
    }
}

fn tell_json(report: &VerifyReport, partial: bool, session: &Session) {
    let findings: Vec<serde_json::Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": severity(finding), "code": finding.code, "title": finding.code.title(),
                "run": finding.run.as_ref().map(ToString::to_string), "path": finding.path,
                "expected": finding.expected, "found": finding.found, "advice": finding.code.advice(),
            })
        })
        .collect();
    let mut not_checked = vec![UNPROVED];
    if partial {
        not_checked.push(PARTIAL);
    }
    session.out.json(&json!({
        "ok": report.failures().next().is_none(), "findings": findings,
        "checked": {
            "runs": report.runs, "files": report.files, "bytes": report.bytes,
            "entries": report.entries, "blobs": report.blobs,
        },
        "root": report.root, "signed": false, "not_checked": not_checked,
    }));
}

/// A finding on as few lines as it takes.
pub(crate) fn lines_of(finding: &Finding) -> Vec<String> {
    let mut place = finding.run.as_ref().map(ToString::to_string).unwrap_or_default();
    if let Some(path) = &finding.path {
        if !place.is_empty() {
            place.push_str("  ");
        }
        place.push_str(&safe(path));
    }
    let mut lines = vec![place, format!("    {}", finding.code.title())];
    for (label, value) in [("expected", &finding.expected), ("found   ", &finding.found)] {
        if let Some(value) = value {
            lines.push(format!("    {label}  {}", safe(value)));
        }
    }
    lines
}

fn tell(report: &VerifyReport, partial: bool, session: &Session) {
    let out = &session.out;
    let (mut failures, mut warnings, mut known) = (0, 0, 0);
    for finding in &report.findings {
        let word = severity(finding);
        let code = finding.code.as_str();
        let (code, advice) = match word {
            "finding" => {
                failures += 1;
                (out.paint.red(code), Some(finding.code.advice()))
            }
            "warning" => {
                warnings += 1;
                (out.paint.yellow(&format!("{code} warning")), None)
            }
            _ => {
                known += 1;
                (format!("{code} known"), None)
            }
        };
        if word != "finding" && out.quiet {
            continue;
        }
        let lines = lines_of(finding);
        out.line(format!("{code}  {}", lines[0]));
        for line in &lines[1..] {
            out.line(line);
        }
        if let Some(advice) = advice {
            out.line(format!("    do        {advice}"));
        }
    }
    let objects = if partial {
        String::new()
    } else {
        format!(", {}", count(report.blobs, "stored blob", "stored blobs"))
    };
    out.note(format!(
        "checked {}, {} ({}), {}{objects}",
        count(report.runs, "run", "runs"),
        count(report.files, "file", "files"),
        count(report.bytes, "byte", "bytes"),
        count(report.entries, "log entry", "log entries"),
    ));
    if let Some(root) = &report.root {
        out.note(format!("root of the log, recomputed: {root}"));
    }
    if partial {
        out.note(format!("not checked: {PARTIAL}"));
    }
    out.note(format!("not proved: {UNPROVED}"));
    let verdict = match failures {
        0 => out.paint.green("nothing wrong found"),
        n => out.paint.red(&count(n, "finding", "findings")),
    };
    let warnings = count(warnings, "warning", "warnings");
    let known = count(known, "known exception", "known exceptions");
    out.line(format!("{verdict}; {warnings}, {known}"));
}
