//! `strongroom verify`

use std::path::PathBuf;

use serde_json::json;

use super::policy::{PolicyArgs, read_signers, read_small};
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::format::finding::Finding;
use crate::note::VerifyingKey;
use crate::store::{Checkpoint, StoreError, VerifyOptions, VerifyReport};

/// Check everything: re-hash every file and revision, replay the log, recompute ids and checksums
///
/// Writes nothing, unless --record is given. Exit code 3 when something was found; warnings and exceptions that a run came in
/// with (shown as known) leave it at 0.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these runs, and neither the objects nor the rest of the log
    #[arg(conflicts_with_all = ["policy", "fresh"])]
    runs: Vec<String>,
    /// Trust the signature of this public key; repeat it for more [default: none: keys that lie in the
    /// store establish nothing]
    #[arg(long, value_name = "VKEY", conflicts_with = "runs")]
    key: Vec<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Whose SSH signatures of checkpoints count: a file as for ssh-keygen -Y verify
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    allowed_signers: Option<PathBuf>,
    /// A checkpoint kept elsewhere, that the log must begin with
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    since: Option<PathBuf>,
    /// Make a part of the log that no pinned key or kept checkpoint vouches for a finding
    #[arg(long, conflicts_with = "runs")]
    strict: bool,
    /// Compute the SHA-256 of large files too, and not their BLAKE3 alone
    #[arg(long)]
    sha256: bool,
    /// Put the result into the log: one entry, with the root, the counts and the codes
    #[arg(long, conflicts_with = "runs")]
    record: bool,
}

impl Args {
    /// Whether the store's log is written to.
    pub fn records(&self) -> bool {
        self.record
    }
}

/// Public keys given as arguments.
pub(super) fn pinned(keys: &[String]) -> Result<Vec<VerifyingKey>, CliError> {
    let parse =
        |text: &String| text.trim().parse().map_err(|error| CliError::usage(format!("--key: {error}"), None));
    keys.iter().map(parse).collect()
}

/// What this version of the program cannot know, however clean the check.
const UNPROVED: &str = "that what was recorded was true";
/// What remains open without a pinned key's signature over the log.
const UNSIGNED: &str = "the log is not signed by a key pinned here (--key): whoever can write the whole store could \
    have rewritten its log with it";
/// What remains open without a checkpoint kept elsewhere.
const UNANCHORED: &str = "neither a checkpoint kept elsewhere (--since) nor a witness asked lately (--policy with --fresh) vouches for the log: one \
    cut at its end, or a whole older copy of the store put back in its place, cannot be seen here";
/// What remains open where large files were hashed one way only.
const BLAKE3_ALONE: &str = "that large files have the SHA-256 that their lists say: their BLAKE3 is the listed one, which \
    tells of any change since it was listed (--sha256 computes both)";
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
    let keys = pinned(&args.key)?;
    let since = match &args.since {
        None => None,
        Some(path) => {
            let refused = |error: StoreError| CliError::refused(error.to_string(), None);
            Some(Checkpoint::parse(&read_small(path)?, &path.display().to_string()).map_err(refused)?)
        }
    };
    let policy = args.policy.policy()?;
    if keys.is_empty() && policy.as_ref().is_some_and(|policy| policy.logs.is_empty()) {
        return Err(CliError::usage("the policy names no log; --key says which key signs it", None));
    }
    let fresh = args.policy.fresh;
    let allowed_signers = args.allowed_signers.as_deref().map(read_signers).transpose()?;
    let Args { strict, sha256, .. } = args;
    let options = VerifyOptions { runs, keys, since, policy, allowed_signers, fresh, strict, sha256 };
    let report = store.verify(&options).map_err(|error| session.failure(error))?;
    let recorded = match args.record {
        true => Some(store.record_verification(&report).map_err(|error| session.failure(error))?),
        false => None,
    };
    session.end();
    if session.out.json {
        tell_json(&report, partial, recorded, session)
    } else {
        tell(&report, partial, session);
        if let Some(entry) = recorded {
            session.out.note(format!("the result is log entry {entry}"));
        }
    }
    Ok(if report.failures().next().is_some() { exit::FOUND } else { exit::OK })
}

/// What was not proved, however clean the check.
fn unproved(report: &VerifyReport) -> Vec<&'static str> {
    let mut open = vec![UNPROVED];
    if !report.signed {
        open.push(UNSIGNED);
    }
    if report.since_holds != Some(true) && !report.fresh {
        open.push(UNANCHORED);
    }
    if report.by_blake3 > 0 {
        open.push(BLAKE3_ALONE);
    }
    open
}

fn severity(finding: &Finding) -> &'static str {
    match finding {
        finding if finding.is_failure() => "finding",
        finding if finding.code.is_warning() => "warning",
        _ => "known",
    }
}

fn tell_json(report: &VerifyReport, partial: bool, recorded: Option<u64>, session: &Session) {
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
    let mut not_checked = unproved(report);
    if partial {
        not_checked.push(PARTIAL);
    }
    let intervals: Vec<serde_json::Value> = report
        .intervals
        .iter()
        .map(|part| json!({"from": part.from, "to": part.to, "anchored": part.anchored, "by": part.by}))
        .collect();
    let stamps = report.stamps.iter();
    let stamps: Vec<serde_json::Value> =
        stamps.map(|(size, time, path)| json!({"size": size, "time": time, "path": path})).collect();
    session.out.json(&json!({
        "ok": report.failures().next().is_none(), "findings": findings,
        "checked": {
            "runs": report.runs, "files": report.files, "bytes": report.bytes,
            "entries": report.entries, "blobs": report.blobs,
        },
        "root": report.root, "signed": report.signed, "policy": report.policy_holds,
        "intervals": intervals, "stamps": stamps, "not_checked": not_checked,
        "recorded": recorded,
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
    for part in &report.intervals {
        out.note(format!("log entries [{}, {}) {}", part.from, part.to, safe(&part.by)));
    }
    for (size, time, place) in &report.stamps {
        out.note(format!(
            "[0, {size}) stamped {time}, as {place} says; openssl ts -verify checks its signature"
        ));
    }
    for open in unproved(report) {
        out.note(format!("not proved: {open}"));
    }
    let verdict = match failures {
        0 => out.paint.green("nothing wrong found"),
        n => out.paint.red(&count(n, "finding", "findings")),
    };
    let warnings = count(warnings, "warning", "warnings");
    let known = count(known, "known exception", "known exceptions");
    out.line(format!("{verdict}; {warnings}, {known}"));
}
