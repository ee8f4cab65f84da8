//! `strongroom history`

use serde_json::json;

use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::store::{HistoryRow, RunHistory};

/// Show what happened to a run: every entry of the log about it
///
/// Digests of revisions are printed in full: they are what rollback and diff take.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// job/run, a run id, or a unique beginning of one
    run: String,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let store = session.store()?;
    let history = store.history(&store.find_run(&args.run)?)?;
    if session.out.json {
        tell_json(&history, session)
    } else {
        tell(&history, session)
    }
    Ok(exit::OK)
}

fn tell_json(history: &RunHistory, session: &Session) {
    let current = history.rows.last().and_then(|row| row.entry.after);
    let entries: Vec<serde_json::Value> = history
        .rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let entry = &row.entry;
            json!({
                "index": row.index, "time": entry.time, "kind": entry.kind, "from": entry.from, "to": entry.to,
                "path": entry.path, "before": entry.before, "after": entry.after, "actor": row.actor,
                "reason": row.reason, "operation": entry.operation, "outcome": entry.outcome,
                "attempt_of": entry.attempt_of, "exceptions": entry.exceptions,
                "current": at + 1 == history.rows.len(),
            })
        })
        .collect();
    session.out.json(&json!({
        "job_id": history.key.job, "run_id": history.key.run, "current": current,
        "on_disk": history.on_disk, "matches": history.on_disk == current, "entries": entries,
    }));
}

fn tell(history: &RunHistory, session: &Session) {
    let out = &session.out;
    let current = history.rows.last().and_then(|row| row.entry.after);
    out.line(out.paint.bold(&history.key.to_string()));
    for (at, row) in history.rows.iter().enumerate() {
        tell_row(row, at + 1 == history.rows.len(), session);
    }
    out.line(match (history.on_disk, current) {
        (Some(found), Some(current)) if found == current => {
            "the manifest on the disk is the current revision".to_owned()
        }
        (Some(found), _) => {
            let warning = out.paint.red("the manifest on the disk differs from the current revision:");
            format!("{warning} it is {found}; strongroom restore {} puts it back", history.key)
        }
        (None, _) => {
            let warning = out.paint.red("the manifest on the disk cannot be read;");
            format!("{warning} strongroom restore {} puts it back", history.key)
        }
    });
}

fn tell_row(row: &HistoryRow, current: bool, session: &Session) {
    let out = &session.out;
    let entry = &row.entry;
    let what = super::log::gist(entry);
    let mark = if current { out.paint.green("  (current)") } else { String::new() };
    out.line(format!("#{}  {}  {what}", row.index, entry.time));
    if let Some(after) = &entry.after {
        out.line(format!("    revision   {after}{mark}"));
    }
    if let Some(exceptions) = &entry.exceptions {
        out.line(format!("    exceptions {exceptions}"));
    }
    out.line(format!("    actor      {}", row.actor.as_deref().map_or("(removed)".to_owned(), safe)));
    if entry.reason.is_some() {
        out.line(format!("    reason     {}", row.reason.as_deref().map_or("(removed)".to_owned(), safe)));
    }
    out.line(format!("    operation  {}", entry.operation));
}
