//! `strongroom review`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::count;
use crate::cli::session::Session;
use crate::store::Review;

/// Say in the log that you looked at runs, and what you found
///
/// One entry for each run; the runs stay as they are. --reason TEXT is needed: it says what was
/// looked at. Who says it is as declared (--actor), and nothing proves that the runs were read.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    #[arg(required = true)]
    runs: Vec<String>,
    /// What you found
    #[arg(long, value_enum, value_name = "OUTCOME")]
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Outcome {
    /// As it should be
    Accepted,
    /// Not as it should be
    Rejected,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let reason = session.context().reason;
    if reason.is_none_or(|reason| reason.trim().is_empty()) {
        let hint = "strongroom review RUN --outcome accepted --reason \"read the outputs against the brief\"";
        return Err(CliError::usage("--reason must say what was looked at", Some(hint.to_owned())));
    }
    let store = session.store()?;
    let mut runs = args.runs.iter().map(|name| store.find_run(name)).collect::<Result<Vec<_>, _>>()?;
    runs.sort();
    runs.dedup();
    let review = match args.outcome {
        Outcome::Accepted => Review::Accepted,
        Outcome::Rejected => Review::Rejected,
    };
    let entries = store.review(&runs, review).map_err(|error| session.failure(error))?;
    session.end();
    let out = &session.out;
    if out.json {
        let row = |(key, entry): (&crate::base::id::RunKey, &u64)| json!({"job_id": key.job, "run_id": key.run, "entry": entry});
        let reviewed: Vec<serde_json::Value> = runs.iter().zip(&entries).map(row).collect();
        out.json(&json!({"outcome": review.as_str(), "runs": reviewed}));
        return Ok(exit::OK);
    }
    for (key, entry) in runs.iter().zip(&entries) {
        out.note(format!("{}  {key}  log entry {entry}", review.as_str()));
    }
    out.line(format!("{} {}", count(runs.len() as u64, "run", "runs"), review.as_str()));
    Ok(exit::OK)
}
