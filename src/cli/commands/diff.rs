//! `strongroom diff`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::{shown_diff, unified};
use crate::cli::session::Session;

/// Show what changed between two revisions of a run's manifest
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    run: String,
    /// The digest of the older revision, or a unique beginning of it
    from: String,
    /// The digest of the newer revision, or a unique beginning of it
    to: String,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let key = store.find_run(&args.run)?;
    let from = store.find_revision(&key, &args.from)?;
    let to = store.find_revision(&key, &args.to)?;
    let (before, after) = (store.show_revision(&from)?, store.show_revision(&to)?);
    let diff = unified(&before, &after, &format!("{key} {from}"), &format!("{key} {to}"));
    let out = &session.out;
    if out.json {
        out.json(&json!({"job_id": key.job, "run_id": key.run, "from": from, "to": to, "diff": diff}));
    } else {
        out.bytes(shown_diff(&diff, out.paint).as_bytes());
    }
    Ok(exit::OK)
}
