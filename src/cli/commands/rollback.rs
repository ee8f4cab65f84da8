//! `strongroom rollback`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::store::{RollbackReport, RolledBack};

/// Put back the exact bytes of an earlier revision
///
/// Of one run by checksum, or of everything that one operation changed: runs of the store, and files
/// and tables outside it that it migrated with a pack. A rollback is one more entry of
/// the log and removes nothing: the revision that it replaces can be rolled forward to. Runs that
/// changed since the operation are left alone and listed, and the exit code is then 5.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    #[arg(required_unless_present = "operation", requires = "to")]
    run: Option<String>,
    /// The digest of the revision to put back, or a unique beginning of it
    #[arg(long, value_name = "DIGEST", requires = "run")]
    to: Option<String>,
    /// The operation to undo, for all the runs that it changed
    #[arg(long, value_name = "ID", conflicts_with_all = ["run", "to"])]
    operation: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let report = match (args.operation, args.run, args.to) {
        (Some(operation), _, _) => {
            let operation = operation.parse()?;
            session.store()?.rollback_operation(&operation).map_err(|error| session.failure(error))?
        }
        (None, Some(run), Some(to)) => {
            let store = session.store()?;
            let key = store.find_run(&run)?;
            let digest = store.find_revision(&key, &to)?;
            store.rollback(&key, &digest).map_err(|error| session.failure(error))?
        }
        _ => return Err(CliError::usage("give RUN --to DIGEST, or --operation ID", None)),
    };
    session.end();
    let results = report.runs.iter().map(|(_, result)| result);
    let results = results.chain(report.targets.iter().map(|(_, result)| result));
    let left = results.filter(|result| matches!(result, RolledBack::Left(_))).count();
    if session.out.json {
        tell_json(&report, session)
    } else {
        tell(&report, session)
    }
    Ok(if left > 0 { exit::CONFLICT } else { exit::OK })
}

/// The operation, when it changed something: one that wrote nothing cannot be undone by its id.
fn operation(report: &RollbackReport) -> Option<String> {
    let done = |result: &RolledBack| matches!(result, RolledBack::Done { .. });
    let wrote = report.runs.iter().any(|(_, result)| done(result))
        || report.targets.iter().any(|(_, result)| done(result));
    report.operation.filter(|_| wrote).map(|operation| operation.to_string())
}

fn tell_json(report: &RollbackReport, session: &Session) {
    let runs: Vec<serde_json::Value> = report
        .runs
        .iter()
        .map(|(key, result)| match result {
            RolledBack::Done { before, after, entry } => json!({
                "job_id": key.job, "run_id": key.run, "result": "rolled-back", "before": before,
                "after": after, "entry": entry,
            }),
            RolledBack::Already => json!({"job_id": key.job, "run_id": key.run, "result": "already"}),
            RolledBack::Left(why) => {
                json!({"job_id": key.job, "run_id": key.run, "result": "left", "reason": why})
            }
        })
        .collect();
    let targets: Vec<serde_json::Value> = report
        .targets
        .iter()
        .map(|(at, result)| match result {
            RolledBack::Done { before, after, entry } => {
                json!({"at": at, "result": "rolled-back", "before": before, "after": after, "entry": entry})
            }
            RolledBack::Already => json!({"at": at, "result": "already"}),
            RolledBack::Left(why) => json!({"at": at, "result": "left", "reason": why}),
        })
        .collect();
    session.out.json(&json!({"operation": operation(report), "runs": runs, "targets": targets}));
}

fn tell(report: &RollbackReport, session: &Session) {
    let out = &session.out;
    let (mut done, mut already, mut left) = (0, 0, 0);
    for (key, result) in &report.runs {
        match result {
            RolledBack::Done { before, after, .. } => {
                done += 1;
                out.note(format!("rolled back {key} to {after}"));
                out.note(format!("    forward again with: strongroom rollback {key} --to {before}"));
            }
            RolledBack::Already => {
                already += 1;
                out.note(format!("{key} has that revision already"));
            }
            RolledBack::Left(why) => {
                left += 1;
                out.line(format!("{}  {key}: {}", out.paint.yellow("left alone"), safe(why)));
            }
        }
    }
    if !report.runs.is_empty() || report.targets.is_empty() {
        let runs = count(report.runs.len() as u64, "run", "runs");
        out.line(format!("{runs}: {done} rolled back, {already} already there, {left} left alone"));
    }
    tell_targets(report, session);
    if let Some(operation) = operation(report) {
        out.note(format!("operation {operation}"));
    }
}

fn tell_targets(report: &RollbackReport, session: &Session) {
    let out = &session.out;
    let (mut done, mut already, mut left) = (0, 0, 0);
    for (at, result) in &report.targets {
        match result {
            RolledBack::Done { .. } => {
                done += 1;
                out.note(format!("rolled back {}", safe(at)));
            }
            RolledBack::Already => already += 1,
            RolledBack::Left(why) => {
                left += 1;
                out.line(format!("{}  {}: {}", out.paint.yellow("left alone"), safe(at), safe(why)));
            }
        }
    }
    if !report.targets.is_empty() {
        out.line(format!(
            "outside the store: {done} rolled back, {already} already as before, {left} left alone"
        ));
    }
}
