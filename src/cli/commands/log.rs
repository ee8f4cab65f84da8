//! `strongroom log`

use serde_json::json;

use crate::base::clock::Moment;
use crate::base::id::OperationId;
use crate::cli::error::{CliError, exit};
use crate::cli::output::safe;
use crate::cli::session::Session;
use crate::format::entry::{Entry, EntryKind};
use crate::store::{LogFilter, LogRow, Unfinished};

/// List the log: what happened in the store, in order
///
/// Entries are read from the log itself, not from the index. Order is by position; times are those of
/// the writers' clocks. A committed batch that is not settled yet is marked, and what interrupted
/// commands left is told at the end. With --json: JSON Lines, one entry a line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of this run: job/run, a run id, or a unique beginning of one
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Of runs of this job
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Of this kind, such as migrated; repeat it for more
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// At this time or later: 2026-02-28, or 2026-02-28T17:40:08Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// By an actor whose declared name has this in it (--actor says who acts now)
    #[arg(long, value_name = "TEXT")]
    by: Option<String>,
    /// Of this operation
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
    /// The newest first
    #[arg(long)]
    reverse: bool,
    /// Only the newest so many of them
    #[arg(short = 'n', value_name = "N")]
    limit: Option<u64>,
}

fn moment(flag: &str, text: &str) -> Result<Moment, CliError> {
    let day = || Moment::parse(&format!("{text}T00:00:00Z"));
    Moment::parse(text).or_else(day).ok_or_else(|| {
        let hint = "2026-02-28, or 2026-02-28T17:40:08Z, or with an offset 2026-02-28T18:40:08+01:00";
        CliError::usage(format!("{flag}: {text:?} is not a time"), Some(hint.to_owned()))
    })
}

fn kind(text: &String) -> Result<EntryKind, CliError> {
    EntryKind::parse(text).ok_or_else(|| {
        let all: Vec<&str> = EntryKind::ALL.iter().map(|kind| kind.as_str()).collect();
        CliError::usage(format!("--kind: no kind of entry {text:?}"), Some(all.join(", ")))
    })
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let kinds = args.kind.iter().map(kind).collect::<Result<_, _>>()?;
    let since = args.since.as_deref().map(|text| moment("--since", text)).transpose()?;
    let until = args.until.as_deref().map(|text| moment("--until", text)).transpose()?;
    let operation = args.operation.as_deref().map(str::parse::<OperationId>).transpose()?;
    let job = args.job.as_deref().map(str::parse).transpose()?;
    let store = session.store()?;
    let run = args.run.as_deref().map(|name| store.find_run(name)).transpose()?;
    // The newest are found from the end, and told in order all the same.
    let turned = args.limit.is_some() && !args.reverse;
    let (reverse, limit) = (args.reverse || turned, args.limit);
    let filter = LogFilter { run, job, kinds, since, until, actor: args.by, operation, reverse, limit };
    let out = &session.out;
    let mut last = None;
    let mut show = |row: &LogRow| {
        if out.json {
            return out.json(&as_json(row));
        }
        if last != Some(row.entry.operation) {
            last = Some(row.entry.operation);
            tell_operation(row, session);
        }
        tell(row, session);
    };
    let mut newest = Vec::new();
    let unfinished = store.list_log(&filter, &mut |row| {
        if turned {
            newest.push(row)
        } else {
            show(&row)
        }
        Ok(!out.closed())
    })?;
    newest.iter().rev().for_each(show);
    for batch in &unfinished {
        tell_unfinished(batch, session);
    }
    Ok(exit::OK)
}

fn as_json(row: &LogRow) -> serde_json::Value {
    json!({
        "index": row.index, "leaf": row.leaf, "settled": row.settled, "actor": row.actor,
        "reason": row.reason, "target": row.target, "entry": row.entry,
    })
}

/// What one command did stands together, under who and why.
fn tell_operation(row: &LogRow, session: &Session) {
    let out = &session.out;
    let actor = row.actor.as_deref().map_or("(removed)".to_owned(), safe);
    out.line(out.paint.bold(&format!("operation {}  {actor}", row.entry.operation)));
    if row.entry.reason.is_some() {
        out.line(format!("  reason  {}", row.reason.as_deref().map_or("(removed)".to_owned(), safe)));
    }
}

/// What an entry says beyond its kind, in few words.
pub(super) fn gist(entry: &Entry) -> String {
    let mut what = entry.kind.as_str().to_owned();
    if let Some(outcome) = &entry.outcome {
        what.push_str(&format!(" {}", safe(outcome)));
    }
    match (&entry.path, &entry.from, &entry.to) {
        (Some(path), _, _) => what.push_str(&format!(" {}", safe(path.join(" -> ")))),
        (None, Some(from), Some(to)) => what.push_str(&format!(" {} -> {}", safe(from), safe(to))),
        _ => {}
    }
    if let Some(intent) = entry.of {
        what.push_str(&format!(" of #{intent}"));
    }
    if let Some(first) = &entry.attempt_of {
        what.push_str(&format!(", a further attempt of {first}"));
    }
    what
}

fn tell(row: &LogRow, session: &Session) {
    let out = &session.out;
    let mut line = format!("  #{}  {}  {}", row.index, row.entry.time, gist(&row.entry));
    if let Some(run) = row.entry.run() {
        line.push_str(&format!("  {run}"));
    }
    if row.entry.target.is_some() {
        let target = row.target.as_deref().map_or("(removed)".to_owned(), safe);
        line.push_str(&format!("  {target}"));
    }
    if !row.settled {
        line.push_str(&format!("  {}", out.paint.yellow("(not settled yet)")));
    }
    out.line(line);
}

fn tell_unfinished(batch: &Unfinished, session: &Session) {
    let out = &session.out;
    if out.json {
        out.json(&json!({"unfinished": {"batch": batch.batch, "committed": batch.committed}}));
        return;
    }
    let what = match batch.committed {
        true => "is committed and not settled; any writing command finishes it",
        false => "was never committed: its command ended while preparing it; run that command again",
    };
    out.line(format!("{} {} {what}", out.paint.yellow("unfinished"), safe(&batch.batch)));
}
