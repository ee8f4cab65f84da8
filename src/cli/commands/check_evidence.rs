//! `strongroom check-evidence`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::store::{EvidenceCheck, check_evidence};

/// Check an evidence bundle, without any store
///
/// A folder, or a zip file of one, as `evidence` makes it. Needed is only the log's public key, as it was
/// given to you on another way; without it the bundle is checked to fit together, and a warning says
/// that nobody vouches for it. Exit code 3 when something was found, 6 when it is not read at all.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder or zip file
    bundle: PathBuf,
    /// Trust the signature of this public key; repeat it for more
    #[arg(long, value_name = "VKEY")]
    key: Vec<String>,
    /// Whose cosignatures the log must have: log keys, witnesses and their quorum, as C2SP tlog-policy has it
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Whose SSH signatures count, in the form that ssh-keygen takes
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let mut keys = super::verify::pinned(&args.key)?;
    let policy = args.policy.as_deref().map(super::policy::read_policy).transpose()?;
    keys.extend(policy.iter().flat_map(|policy| policy.logs.iter().cloned()));
    let signers = args.allowed_signers.as_deref().map(super::policy::read_signers).transpose()?;
    let check = check_evidence(&args.bundle, &keys, policy.as_ref(), signers.as_ref())?;
    session.end();
    if session.out.json {
        tell_json(&check, session);
    } else {
        tell(&check, session);
    }
    let wrong = check.checked.findings.iter().any(|finding| finding.is_failure());
    Ok(if wrong { exit::FOUND } else { exit::OK })
}

/// What a clean check leaves open.
fn unproved(check: &EvidenceCheck) -> Vec<&'static str> {
    let mut open = vec![
        "that what was recorded was true, and that people were who they said",
        "anything that happened after the bundle's checkpoint",
        "that the key's holder did not sign another log as well: compare the root with one kept elsewhere",
    ];
    if !check.checked.established {
        open.push("who made this: without --key anybody could have made all of it, whole runs included");
    }
    open
}

fn tell_json(check: &EvidenceCheck, session: &Session) {
    let checked = &check.checked;
    let findings: Vec<serde_json::Value> = checked
        .findings
        .iter()
        .map(|finding| {
            json!({
                "severity": if finding.is_failure() { "finding" } else { "warning" }, "code": finding.code,
                "title": finding.code.title(), "run": finding.run.as_ref().map(ToString::to_string),
                "path": finding.path, "expected": finding.expected, "found": finding.found,
                "advice": finding.code.advice(),
            })
        })
        .collect();
    let runs: Vec<serde_json::Value> = checked
        .runs
        .iter()
        .map(|run| {
            json!({
                "job_id": run.key.job, "run_id": run.key.run, "entries": run.entries,
                "revisions": run.revisions, "files": run.files, "first": run.first, "last": run.last,
                "covers": run.covers,
            })
        })
        .collect();
    session.out.json(&json!({
        "ok": !checked.findings.iter().any(|finding| finding.is_failure()), "findings": findings,
        "log": checked.log, "signers": checked.signers, "stated_by": checked.stated_by,
        "anchored": checked.anchored.as_ref().map(|(size, by)| json!({"size": size, "by": by})),
        "words": checked.words.iter().map(|(size, by)| json!({"size": size, "by": by})).collect::<Vec<_>>(),
        "established": checked.established, "runs": runs,
        "checked": {"files": check.files, "bytes": check.bytes}, "not_proved": unproved(check),
    }));
}

fn tell(check: &EvidenceCheck, session: &Session) {
    let out = &session.out;
    let checked = &check.checked;
    let (mut failures, mut warnings) = (0, 0);
    for finding in &checked.findings {
        let code = finding.code.as_str();
        let code = if finding.is_failure() {
            failures += 1;
            out.paint.red(code)
        } else {
            warnings += 1;
            out.paint.yellow(&format!("{code} warning"))
        };
        let lines = super::verify::lines_of(finding);
        out.line(format!("{code}  {}", lines[0]));
        lines[1..].iter().for_each(|line| out.line(line));
        out.line(format!("    do        {}", finding.code.advice()));
    }
    for run in &checked.runs {
        out.note(format!(
            "{}: {} from {} to {}, all that the log's first {} entries have of it; {}, {}",
            run.key,
            count(run.entries, "log entry", "log entries"),
            run.first,
            run.last,
            run.covers,
            count(run.revisions, "revision of the manifest", "revisions of the manifest"),
            count(run.files, "file", "files"),
        ));
    }
    if let Some(log) = &checked.log {
        out.note(format!("log {} at {} entries, root {}", safe(&log.origin), log.size, log.root));
    }
    let who =
        |names: &[String]| if names.is_empty() { "nobody known".to_owned() } else { safe(names.join(", ")) };
    out.note(format!("checkpoint signed by {}", who(&checked.signers)));
    if let Some((size, by)) = &checked.anchored {
        out.note(format!("the log's first {size} entries anchored by {}", safe(by)));
    }
    for (size, by) in &checked.words {
        out.note(format!("of the log's first {size} entries: {}", safe(by)));
    }
    out.note(format!("statement signed by {}", who(&checked.stated_by)));
    out.note(format!(
        "checked {}, {}",
        count(check.files, "file", "files"),
        count(check.bytes, "byte", "bytes")
    ));
    for open in unproved(check) {
        out.note(format!("not proved: {open}"));
    }
    let verdict = match failures {
        0 => out.paint.green("nothing wrong found"),
        n => out.paint.red(&count(n, "finding", "findings")),
    };
    out.line(format!("{verdict}; {}", count(warnings, "warning", "warnings")));
}
