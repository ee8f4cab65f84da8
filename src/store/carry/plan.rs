//! What is to be done to one carrier: the verdict on each of its documents, and the change that the
//! rewrites among them come to.

use super::documents::{DocumentRow, deprecated, look, note, row};
use super::sources::Source;
use super::target::Change;
use crate::base::digest::Sha256;
use crate::carrier::table::{Snapshot, TableChange};
use crate::carrier::{self, Kind, Part, Place, Verdict};
use crate::format::carried::{PlanRecord, PlannedDocument};
use crate::schema::{Pack, Rewrite, Stamp};

/// A carrier with its verdicts and, where documents are rewritten, its change.
pub struct Plan {
    /// What becomes of each document.
    pub rows: Vec<DocumentRow>,
    /// The change; `None` if no document is rewritten.
    pub change: Option<Planned>,
}

/// A change of a carrier.
pub struct Planned {
    /// What the intent's plan says.
    pub record: PlanRecord,
    /// Records of values that leave documents.
    pub preserved: Vec<Vec<u8>>,
    /// The change.
    pub change: Change,
    /// The table as it was read, for the backup.
    pub snapshot: Option<Snapshot>,
}

/// Reads a carrier and decides about its documents.
pub fn plan(
    source: &Source,
    pack: &Pack,
    target: Option<&str>,
    stamp: Option<&Stamp>,
) -> Result<Plan, String> {
    if source.kind == Kind::Sqlite {
        return plan_table(source, pack, target, stamp);
    }
    let ask = |part: &Part, text: &[u8]| judge(pack, part, text, target, stamp);
    let (loaded, verdicts) = look(source, pack, &ask)?;
    let mut documents = Vec::new();
    let mut splices = Vec::new();
    let mut preserved = Vec::new();
    let mut rows = Vec::with_capacity(verdicts.len());
    for (part, verdict) in loaded.parts.iter().zip(verdicts) {
        let mut row = row(source, part.place.clone(), Verdict::Current);
        if let Verdict::Rewrite(rewrite) = &verdict {
            note(&mut row, pack, rewrite);
            documents.push(planned(&part.place, loaded.text(part), rewrite, &mut preserved));
            splices.push((part.span.clone(), rewrite.bytes.clone()));
            row.before = Some(loaded.text(part).to_vec());
        } else if matches!(verdict, Verdict::Current) {
            row.warnings = deprecated(pack, loaded.text(part));
        }
        row.verdict = verdict;
        rows.push(row);
    }
    let change = (!splices.is_empty()).then(|| {
        let after = carrier::splice(&loaded.bytes, &splices);
        let record = PlanRecord::new(documents);
        let change = Change::File { before: loaded.bytes, after };
        Planned { record, preserved, change, snapshot: None }
    });
    Ok(Plan { rows, change })
}

fn judge(pack: &Pack, part: &Part, text: &[u8], target: Option<&str>, stamp: Option<&Stamp>) -> Verdict {
    match carrier::judge(pack, text, target, stamp) {
        Verdict::Rewrite(rewrite)
            if matches!(part.place, Place::Line(_)) && rewrite.bytes.contains(&b'\n') =>
        {
            Verdict::Refused("the migration gives more than one line".to_owned())
        }
        verdict => verdict,
    }
}

fn planned(place: &Place, before: &[u8], rewrite: &Rewrite, preserved: &mut Vec<Vec<u8>>) -> PlannedDocument {
    let record = rewrite.preserved_record();
    let digest = record.as_ref().map(|record| Sha256::of(record));
    preserved.extend(record);
    PlannedDocument {
        line: match place {
            Place::Line(number) => Some(*number),
            _ => None,
        },
        row: match place {
            Place::Row(key) => Some(key.clone()),
            _ => None,
        },
        before: Sha256::of(before),
        after: rewrite.digest(),
        path: rewrite.route().to_vec(),
        preserved: digest,
    }
}

fn plan_table(
    source: &Source,
    pack: &Pack,
    target: Option<&str>,
    stamp: Option<&Stamp>,
) -> Result<Plan, String> {
    use rayon::prelude::*;
    let snapshot = source.snapshot(pack)?;
    let loaded = snapshot.load();
    let verdicts: Vec<Verdict> =
        loaded.parts.par_iter().map(|part| judge(pack, part, loaded.text(part), target, stamp)).collect();
    let mut rows = Vec::with_capacity(verdicts.len());
    let mut documents = Vec::new();
    let mut preserved = Vec::new();
    let mut changes = Vec::new();
    let changer = snapshot.changer().map_err(|error| error.to_string())?;
    for (at, (part, mut verdict)) in loaded.parts.iter().zip(verdicts).enumerate() {
        if let Verdict::Rewrite(rewrite) = &verdict {
            match changer.change(at, &rewrite.bytes) {
                Ok(change) => {
                    let mut document = planned(&part.place, loaded.text(part), rewrite, &mut preserved);
                    document.after = change.after_digest();
                    documents.push(document);
                    changes.push(change);
                }
                Err(error) => verdict = Verdict::Refused(error.to_string()),
            }
        }
        let mut row = row(source, part.place.clone(), Verdict::Current);
        if let Verdict::Rewrite(rewrite) = &verdict {
            note(&mut row, pack, rewrite);
            row.before = Some(loaded.text(part).to_vec());
        } else if matches!(verdict, Verdict::Current) {
            row.warnings = deprecated(pack, loaded.text(part));
        }
        row.verdict = verdict;
        rows.push(row);
    }
    drop(changer);
    let change = (!changes.is_empty()).then(|| {
        let columns = snapshot.missing();
        let mut record = PlanRecord::new(documents);
        record.added.clone_from(&columns);
        let change = Change::Table(TableChange { add: columns, drop: Vec::new(), rows: changes });
        Planned { record, preserved, change, snapshot: Some(snapshot) }
    });
    Ok(Plan { rows, change })
}
