//! What a pack says of a manifest.

use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::json::{Doc, Kind};
use crate::format::finding::{Code, Finding};
use crate::format::paths;
use crate::schema::history::{self, HistoryState};
use crate::schema::{Detection, Pack};

/// What the pack says of a manifest: whether it fits its version, whether its history recomputes and
/// is the log's. `logged` are the revisions that the run's migrations started from.
pub(in crate::store) fn schema_findings(
    key: &RunKey,
    doc: &Doc<'_>,
    pack: &Pack,
    logged: &[Sha256],
    findings: &mut Vec<Finding>,
) {
    let finding = |code| Finding::of_run(code, key).at(paths::MANIFEST);
    match pack.detect(doc) {
        Detection::Known { .. } | Detection::Legacy { .. } => {}
        Detection::Misfit { version, reasons } => {
            findings.push(finding(Code::ShapeUnfit).expected(version).found(reasons.join("; ")));
        }
        other => findings.push(finding(Code::VersionUnknown).found(other)),
    }
    for check in history::check(doc, pack) {
        let finding = finding(Code::HistoryMismatch);
        match check.state {
            HistoryState::Verified { .. } | HistoryState::NeedsRevision => {}
            HistoryState::Differs { stated, computed } => {
                findings.push(finding.expected(stated).found(computed));
            }
            HistoryState::Malformed { why } => {
                findings.push(finding.expected("a migration record").found(format!("{}: {why}", check.at)));
            }
        }
    }
    // Records of other programs have no checksum form and were never in this log.
    let list = pack.history_at().and_then(|at| doc.at(at)).filter(|list| list.kind() == Kind::Array);
    let own: Vec<String> = list
        .iter()
        .flat_map(|list| list.elements())
        .filter(|record| record.get("checksum_form").is_some())
        .filter_map(|record| Some(record.get("checksum_before")?.as_str()?.into_owned()))
        .collect();
    for record in crate::plan::verify::records_not_in_log(&own, logged) {
        let finding = finding(Code::HistoryNotInLog);
        findings.push(
            finding.expected("a migration in the log").found(format!("one that started from {record}")),
        );
    }
}
