//! `strongroom list`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::Columns;
use crate::cli::session::Session;
use crate::index::{ListFilter, Listed};

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
    // The rows may be many more than should be held: they go out as they come.
    let out = &session.out;
    if out.json {
        // An index that cannot be read to its end says so before there is half a document.
        store.each_listed(&filter, &mut |_| {})?;
        let mut first = true;
        out.bytes(b"{\"runs\":[");
        store.each_listed(&filter, &mut |run| {
            if !std::mem::take(&mut first) {
                out.bytes(b",");
            }
            out.bytes(as_json(&run).to_string().as_bytes());
        })?;
        out.line("]}");
        return Ok(exit::OK);
    }
    let headings = ["JOB", "RUN", "VERSION", "TYPE", "CAME IN", "STATUS"];
    let (mut columns, mut found) = (Columns::new(&headings, &[]), false);
    store.each_listed(&filter, &mut |run| {
        found = true;
        columns.widen(&cells(run));
    })?;
    if !found {
        out.note("no runs");
        return Ok(exit::OK);
    }
    out.bytes(columns.line(&headings).as_bytes());
    store.each_listed(&filter, &mut |run| out.bytes(columns.line(&cells(run)).as_bytes()))?;
    Ok(exit::OK)
}

fn as_json(run: &Listed) -> serde_json::Value {
    json!({
        "job_id": run.job, "run_id": run.run, "status": run.status, "schema_version": run.version,
        "job_type": run.job_type, "recorded_at": run.recorded_at, "problem": run.problem,
    })
}

fn cells(run: Listed) -> [String; 6] {
    let word = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let status = match run.problem {
        Some(problem) => format!("unreadable: {problem}"),
        None => word(run.status),
    };
    [run.job, run.run, word(run.version), word(run.job_type), run.recorded_at, status]
}
