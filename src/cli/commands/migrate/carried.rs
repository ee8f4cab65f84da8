//! `strongroom migrate --pack`: documents outside the store.

use std::collections::BTreeMap;

use serde_json::json;

use crate::base::digest::Sha256;
use crate::carrier::Verdict;
use crate::cli::documents::{Left, counts_json, pack_of, passed_over, place_json, progress, some};
use crate::cli::error::{CliError, exit};
use crate::cli::output::{count, safe, shown_diff, unified};
use crate::cli::session::Session;
use crate::schema::Pack;
use crate::store::carry::{self, CarryOptions, CarryReport, DocumentRow};

/// What is to be told, and whether anything is to be done.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub dry_run: bool,
    pub diff: bool,
}

pub(super) fn run(pack: &str, options: &CarryOptions, told: Told, session: &Session) -> Result<u8, CliError> {
    some(&options.paths)?;
    let mut teller = Teller { told, session, left: Left::default(), routes: BTreeMap::new() };
    let (pack, report) = if told.dry_run {
        let pack = pack_of(pack, session)?;
        let documents =
            carry::preview(&pack, &options.paths, options.to.as_deref(), &*progress(session), &mut |row| {
                teller.row(row);
            })
            .map_err(|error| session.failure(error))?;
        (pack, CarryReport { documents, ..CarryReport::default() })
    } else {
        // Without a store nothing is even read: what is replaced must be kept somewhere.
        let store = session.store()?;
        let pack = pack_of(pack, session)?;
        let report = store
            .carry(&pack, options, &mut |row| teller.row(row))
            .map_err(|error| session.failure(error))?;
        (pack, report)
    };
    session.end();
    if report.documents.files == 0 && report.settled.is_empty() {
        let given: Vec<String> = options.paths.iter().map(|path| path.display().to_string()).collect();
        let hint = match report.documents.not_looked_at {
            0 => "the folder is empty".to_owned(),
            passed => format!("{} of other kinds, or links, not looked at", count(passed, "file", "files")),
        };
        return Err(CliError::refused(format!("no document found in {}", given.join(", ")), Some(hint)));
    }
    teller.summary(&report, options.to.as_deref(), &pack);
    let counts = report.documents.counts;
    Ok(if counts.refused + counts.unreadable > 0 { exit::FOUND } else { exit::OK })
}

struct Teller<'a> {
    told: Told,
    session: &'a Session,
    left: Left,
    routes: BTreeMap<String, u64>,
}

impl Teller<'_> {
    fn row(&mut self, row: &DocumentRow) {
        let out = &self.session.out;
        let done = if self.told.dry_run { "would migrate" } else { "migrated" };
        if !out.json {
            self.left.take(row, self.session);
        }
        let Verdict::Rewrite(rewrite) = &row.verdict else {
            if out.json {
                let mut value = place_json(row);
                value["type"] = json!("document");
                value["verdict"] = json!(row.verdict.word());
                value["reason"] = json!(row.verdict.reason());
                value["warnings"] = json!(row.warnings);
                out.json(&value);
            }
            return;
        };
        let before = row.before.as_deref().unwrap_or_default();
        let at = row.at();
        let diff =
            self.told.diff.then(|| unified(before, &rewrite.bytes, &format!("a/{at}"), &format!("b/{at}")));
        if out.json {
            let mut value = place_json(row);
            let more = json!({
                "type": "document", "verdict": done.replace(' ', "-"), "path": rewrite.route(),
                "changes": rewrite.changes, "warnings": row.warnings, "absent": row.absent, "before": Sha256::of(before),
                "after": Sha256::of(&rewrite.bytes), "entry": row.entry, "diff": diff,
                "preserved": rewrite.preserved.iter()
                    .map(|(at, text)| json!({"at": at, "text": text})).collect::<Vec<_>>(),
            });
            if let (Some(value), Some(more)) = (value.as_object_mut(), more.as_object()) {
                value.extend(more.clone());
            }
            out.json(&value);
            return;
        }
        let route = rewrite.route().join(" -> ");
        if self.told.dry_run || self.told.diff {
            self.session.end();
            out.line(format!("{done} {}  {}", safe(&at), safe(&route)));
            for change in &rewrite.changes {
                out.line(format!("    {}", safe(change)));
            }
            if let Some(diff) = diff {
                out.bytes(shown_diff(&diff, out.paint).as_bytes());
            }
        }
        *self.routes.entry(route).or_insert(0) += 1;
    }

    fn summary(&self, report: &CarryReport, to: Option<&str>, pack: &Pack) {
        let out = &self.session.out;
        let target = to.unwrap_or(pack.head());
        let documents = &report.documents;
        if out.json {
            let mut value = counts_json(documents);
            value["type"] = json!("summary");
            value["pack"] = json!(pack.name());
            value["target"] = json!(target);
            value["dry_run"] = json!(self.told.dry_run);
            value["operation"] = json!(report.operation);
            value["changed_files"] = json!(report.changed);
            value["settled"] = report
                .settled
                .iter()
                .map(|settled| json!({"path": settled.path, "outcome": settled.outcome}))
                .collect();
            out.json(&value);
            return;
        }
        for settled in &report.settled {
            out.line(format!("an interrupted command had left {}: {}", safe(&settled.path), settled.outcome));
        }
        self.left.tell_warnings(self.session);
        for (route, documents) in &self.routes {
            out.note(format!("{}  {}", safe(route), count(*documents, "document", "documents")));
        }
        let done = if self.told.dry_run { "would migrate" } else { "migrated" };
        let counts = documents.counts;
        // Some kinds of document end on a line of their own, which is not where the pack's head is.
        let there = |route: &String| {
            let last = route.rsplit(" -> ").next().unwrap_or_default();
            last == target || pack.version_of_shape(target) == Some(last)
        };
        let to = match self.routes.keys().all(there) {
            true => format!(" to {}", safe(target)),
            false => String::new(),
        };
        out.line(format!(
            "{} found in {}: {} {done}{to}, {} current, {} refused, {} unreadable{}{}",
            count(counts.found, "document", "documents"),
            count(documents.files, "file", "files"),
            counts.migrated,
            counts.current,
            counts.refused,
            counts.unreadable,
            passed_over(documents),
            if self.told.dry_run { "; nothing was written" } else { "" },
        ));
        if let Some(operation) = report.operation {
            out.note(format!("operation {operation}"));
            out.note(format!("undo with: strongroom rollback --operation {operation}"));
        }
    }
}
