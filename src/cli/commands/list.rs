//! `strongroom list`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::table;
use crate::cli::session::Session;
use crate::index::ListFilter;

/// List runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of this job
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// With this status, such as succeeded or failed
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// At this schema version
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let filter = ListFilter { job: args.job, status: args.status, version: args.version, limit: args.limit };
    let listed = store.list(&filter)?;
    if session.out.json {
        let runs: Vec<serde_json::Value> = listed
            .iter()
            .map(|run| {
                json!({
                    "job_id": run.job, "run_id": run.run, "status": run.status, "schema_version": run.version,
                    "job_type": run.job_type, "recorded_at": run.recorded_at, "problem": run.problem,
                })
            })
            .collect();
        session.out.json(&json!({ "runs": runs }));
        return Ok(exit::OK);
    }
    if listed.is_empty() {
        session.out.note("no runs");
        return Ok(exit::OK);
    }
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|run| {
            let status = match &run.problem {
                Some(problem) => format!("unreadable: {problem}"),
                None => word(&run.status),
            };
            let (version, kind) = (word(&run.version), word(&run.job_type));
            vec![run.job.clone(), run.run.clone(), version, kind, run.recorded_at.clone(), status]
        })
        .collect();
    let headings = ["JOB", "RUN", "VERSION", "TYPE", "CAME IN", "STATUS"];
    session.out.bytes(table(&headings, &[], &rows).as_bytes());
    Ok(exit::OK)
}
