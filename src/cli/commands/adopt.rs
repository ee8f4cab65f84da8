//! `strongroom adopt`

use std::path::PathBuf;

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe};
use crate::cli::session::Session;
use crate::store::{AdoptOptions, AdoptReport, Adopted};

/// Bring an existing tree of runs under the store, every byte as it is
///
/// Every folder with a manifest.json is a run, wherever in the tree it lies. The source is only read;
/// links in it are not followed. What is inconsistent already comes in as it is and is listed, so that
/// verify knows it and a later change is told apart. Adopting the same tree again changes nothing.
///
/// Exit code 3 when a run was refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tree
    dir: PathBuf,
    /// The job of runs that name none, neither in their manifest nor in their brief
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Read every file again, also of folders that did not change since they were adopted, going by
    /// their times, sizes and inodes
    #[arg(long)]
    rehash: bool,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let job = args.job.map(|job| job.parse()).transpose()?;
    let store = session.store()?;
    let report = store
        .adopt(&args.dir, &AdoptOptions { job, rehash: args.rehash })
        .map_err(|error| session.failure(error))?;
    session.end();
    let (_, _, refused, _) = report.counts();
    if session.out.json {
        tell_json(&report, session)
    } else {
        tell(&report, session)
    }
    Ok(if refused > 0 { exit::FOUND } else { exit::OK })
}

fn tell_json(report: &AdoptReport, session: &Session) {
    let (adopted, already, refused, skipped) = report.counts();
    let seen: Vec<serde_json::Value> = report
        .seen
        .iter()
        .map(|seen| match &seen.result {
            Adopted::New { key, exceptions } => json!({
                "place": seen.place, "result": "adopted", "job_id": key.job, "run_id": key.run,
                "exceptions": exceptions,
            }),
            Adopted::Already { key } => {
                json!({"place": seen.place, "result": "already", "job_id": key.job, "run_id": key.run})
            }
            Adopted::Refused(why) => json!({"place": seen.place, "result": "refused", "reason": why}),
            Adopted::Skipped(why) => json!({"place": seen.place, "result": "skipped", "reason": why}),
        })
        .collect();
    let operation = report.operation.filter(|_| adopted > 0);
    session.out.json(&json!({
        "operation": operation, "found": adopted + already + refused, "adopted": adopted, "already": already,
        "refused": refused, "skipped": skipped, "seen": seen, "bits_dropped": session.bits_dropped(),
    }));
}

fn tell(report: &AdoptReport, session: &Session) {
    let out = &session.out;
    let (adopted, already, refused, skipped) = report.counts();
    let mut inconsistent = 0;
    for seen in &report.seen {
        let place = safe(&seen.place);
        match &seen.result {
            Adopted::New { key, exceptions } => {
                inconsistent += u64::from(*exceptions > 0);
                let known = match exceptions {
                    0 => String::new(),
                    n => format!(
                        " ({} as found, listed in the log)",
                        count(*n as u64, "exception", "exceptions")
                    ),
                };
                out.note(format!("adopted  {place} as {key}{known}"));
            }
            Adopted::Already { key } => out.note(format!("already  {place} as {key}")),
            Adopted::Refused(why) => {
                out.line(format!("{}  {place}: {}", out.paint.red("refused"), safe(why)));
            }
            Adopted::Skipped(why) => out.note(format!("skipped  {place}: {}", safe(why))),
        }
    }
    let found = count((adopted + already + refused) as u64, "run", "runs");
    out.line(format!(
        "{found} found: {adopted} adopted, {already} already here, {refused} refused; {skipped} skipped, no runs"
    ));
    if inconsistent > 0 {
        let runs = count(inconsistent, "run", "runs");
        out.note(format!("{runs} came in with exceptions; strongroom verify shows them as known"));
    }
    if let Some(operation) = report.operation.filter(|_| adopted > 0) {
        out.note(format!("operation {operation}"));
    }
}
