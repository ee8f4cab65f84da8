//! Undoing an operation's changes outside the store: the exact bytes of a file, the exact rows of a
//! table and its columns. It is a change like any other, with its own intent and outcome. What changed
//! since the operation is left alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::plan::Planned;
use super::settle::{Intent, outcome};
use super::target::{Change as TargetChange, Ends, Target, key_of};
use crate::base::digest::Sha256;
use crate::base::id::OperationId;
use crate::carrier::Row;
use crate::carrier::table::{RowChange, Snapshot, TableChange};
use crate::format::carried::{KeptBlob, PlanRecord, PlannedDocument, TargetState};
use crate::format::entry::EntryKind;
use crate::store::commit::{Change, Operation};
use crate::store::{RolledBack, Store, StoreError};

/// A file outside the store, or rows of one, and what became of it.
pub type TargetUndone = (String, RolledBack);

/// What undoing one intent comes to.
struct Undo {
    planned: Option<Planned>,
    /// Rows, or the file, that are left, with the reason.
    left: Vec<TargetUndone>,
}

fn left(path: &str, why: impl Into<String>) -> Undo {
    Undo { planned: None, left: vec![(path.to_owned(), RolledBack::Left(why.into()))] }
}

impl Store {
    /// Undoes what an operation changed outside the store.
    pub(in crate::store) fn undo_carried(
        &self,
        undone: &OperationId,
        operation: &mut Operation,
    ) -> Result<Vec<TargetUndone>, StoreError> {
        let intents = self.intents_of(undone)?;
        if intents.is_empty() {
            return Ok(Vec::new());
        }
        let _lock = self.lock_carriers()?;
        self.settle_open(operation)?;
        let outcomes: HashMap<u64, String> = self.outcomes()?.into_iter().collect();
        let mut report = Vec::new();
        for index in intents {
            let intent = self.intent(index)?;
            let applied = outcomes.get(&index).is_some_and(|word| word == TargetState::Applied.as_str());
            if applied {
                self.undo_intent(&intent, operation, &mut report)?;
            } else {
                let why = "the operation did not change it".to_owned();
                report.push((intent.target.path, RolledBack::Left(why)));
            }
        }
        Ok(report)
    }

    fn undo_intent(
        &self,
        intent: &Intent,
        operation: &mut Operation,
        report: &mut Vec<TargetUndone>,
    ) -> Result<(), StoreError> {
        let path = &intent.target.path;
        let target = match Target::of_record(&intent.target, self.context.hook.as_ref()) {
            Ok(target) => target,
            Err(error) => {
                report.push((path.clone(), RolledBack::Left(error.to_string())));
                return Ok(());
            }
        };
        let mut undo = match target.table() {
            None => self.plan_undo_file(intent, &target)?,
            Some(_) => self.plan_undo_table(intent, &target)?,
        };
        report.append(&mut undo.left);
        let Some(mut planned) = undo.planned else { return Ok(()) };
        planned.record.undoes = Some(intent.index);
        let mut stage = operation.stage()?;
        let mut entry = operation.entry(EntryKind::Intent);
        entry.pack = intent.entry.pack.clone();
        self.stage_intent(&mut stage, &mut entry, &target, &mut planned)?;
        let file = entry.before.zip(entry.after);
        let committed = operation.commit(stage, vec![Change::Store(entry)])?;
        let Some(Ok(committed)) = committed.into_iter().next() else { return Ok(()) };
        let ends = Ends { file, plan: &planned.record };
        let (state, why) = target.apply(&planned.change, &ends)?;
        let stage = operation.stage()?;
        operation.commit(stage, vec![outcome(operation, committed.entry, state)])?;
        report.push((
            path.clone(),
            match why {
                Some(why) => RolledBack::Left(why),
                None => {
                    let both = |documents: &[PlannedDocument]| {
                        let list = |digest: fn(&PlannedDocument) -> Sha256| -> String {
                            documents.iter().map(|document| digest(document).to_string() + "\n").collect()
                        };
                        (Sha256::of(list(|d| d.before).as_bytes()), Sha256::of(list(|d| d.after).as_bytes()))
                    };
                    let (before, after) = file.unwrap_or_else(|| both(&planned.record.documents));
                    RolledBack::Done { before, after, entry: committed.entry }
                }
            },
        ));
        Ok(())
    }

    /// Bytes that an intent kept, of any size.
    fn kept(&self, blob: Option<KeptBlob>) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(blob) = blob else { return Ok(None) };
        let mut bytes = Vec::new();
        Ok(self.blobs.copy_to(&blob.into(), &mut bytes)?.then_some(bytes))
    }

    fn plan_undo_file(&self, intent: &Intent, target: &Target) -> Result<Undo, StoreError> {
        let path = &intent.target.path;
        let (Some(old), Some(new)) = (intent.entry.before, intent.entry.after) else {
            return Ok(left(path, "the log does not say what it was"));
        };
        let found = match target.read() {
            None => return Ok(left(path, "it is gone")),
            Some(found) => found,
        };
        let digest = Sha256::of(&found);
        if digest == old {
            return Ok(Undo { planned: None, left: vec![(path.clone(), RolledBack::Already)] });
        }
        if digest != new {
            return Ok(left(path, "it changed since"));
        }
        let Some(bytes) = self.kept(intent.plan.kept)?.filter(|bytes| Sha256::of(bytes) == old) else {
            return Ok(left(path, format!("its bytes before, {old}, are not in the objects")));
        };
        let record = PlanRecord::new(intent.plan.documents.iter().map(reversed).collect());
        let change = TargetChange::File { before: found, after: bytes };
        Ok(Undo {
            planned: Some(Planned { record, preserved: Vec::new(), change, snapshot: None }),
            left: Vec::new(),
        })
    }

    fn plan_undo_table(&self, intent: &Intent, target: &Target) -> Result<Undo, StoreError> {
        let path = &intent.target.path;
        let Some(carrier) = target.table() else { return Ok(left(path, "the log names no table")) };
        let snapshot = match Snapshot::read(target.path(), carrier) {
            Ok(snapshot) => snapshot,
            Err(error) => return Ok(left(path, error.to_string())),
        };
        let Some(images) = self.kept(intent.plan.images)?.and_then(|bytes| String::from_utf8(bytes).ok())
        else {
            return Ok(left(path, "the rows before are not in the objects"));
        };
        match plan_rows(intent, &snapshot, &images) {
            Err(why) => Ok(left(path, why)),
            Ok((record, change, left)) => {
                if change.rows.is_empty() {
                    return Ok(Undo { planned: None, left });
                }
                let change = TargetChange::Table(change);
                let planned = Planned { record, preserved: Vec::new(), change, snapshot: Some(snapshot) };
                Ok(Undo { planned: Some(planned), left })
            }
        }
    }
}

fn reversed(document: &PlannedDocument) -> PlannedDocument {
    let (before, after) = (document.after, document.before);
    PlannedDocument { before, after, path: Vec::new(), preserved: None, ..document.clone() }
}

/// The rows that go back, in the table's order, and those that are left.
fn plan_rows(
    intent: &Intent,
    snapshot: &Snapshot,
    images: &str,
) -> Result<(PlanRecord, TableChange, Vec<TargetUndone>), String> {
    let now: HashMap<String, &Row> = snapshot.rows.iter().map(|row| (snapshot.key(row), row)).collect();
    let mut left = Vec::new();
    let mut back: Vec<(PlannedDocument, Row)> = Vec::new();
    for (document, image) in intent.plan.documents.iter().zip(images.lines()) {
        let key = document.row.clone().unwrap_or_default();
        let found = now.get(&key).map(|row| Sha256::of(row.to_json().as_bytes()));
        let at = format!("{}[{key}]", intent.target.path);
        if found == Some(document.before) {
            left.push((at, RolledBack::Already));
        } else if found == Some(document.after) {
            let row = Row::of_json(image).filter(|_| Sha256::of(image.as_bytes()) == document.before);
            back.push((reversed(document), row.ok_or("a row before cannot be read from the objects")?));
        } else {
            let why = if found.is_some() { "it changed since" } else { "it is gone" };
            left.push((at, RolledBack::Left(why.to_owned())));
        }
    }
    if back.is_empty() {
        // The columns may be gone with the rows that went back.
        let nothing = TableChange { add: Vec::new(), drop: Vec::new(), rows: Vec::new() };
        return Ok((PlanRecord::new(Vec::new()), nothing, left));
    }
    let keys: HashSet<String> = back.iter().filter_map(|(document, _)| document.row.clone()).collect();
    let mut drop = Vec::new();
    let mut kept = Vec::new();
    for column in &intent.plan.added {
        if snapshot.can_drop(&column.name, &keys).map_err(|error| error.to_string())? {
            drop.push(column.clone());
        } else {
            // Rows that came in since need it; those that go back hold its default, as a row does that
            // says nothing of it.
            kept.push((column, snapshot.default(&column.name).map_err(|error| error.to_string())?));
        }
    }
    let mut documents = Vec::with_capacity(back.len());
    let mut rows = Vec::with_capacity(back.len());
    for (mut document, mut row) in back {
        if !kept.is_empty() {
            let names = row.columns.iter().cloned().chain(kept.iter().map(|(column, _)| column.name.clone()));
            row.columns = names.collect::<Arc<[String]>>();
            row.cells.extend(kept.iter().map(|(_, cell)| cell.clone()));
        }
        let key = document.row.as_deref().and_then(key_of).ok_or("a row's key cannot be read")?;
        let change = RowChange { key, before: document.before, after: row };
        document.after = change.after_digest();
        documents.push(document);
        rows.push(change);
    }
    let mut record = PlanRecord::new(documents);
    record.dropped.clone_from(&drop);
    record.added.clone_from(&intent.plan.dropped);
    Ok((record, TableChange { add: intent.plan.dropped.clone(), drop, rows }, left))
}
