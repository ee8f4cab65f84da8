//! What can be said of documents outside a store without changing them: whether they are what they
//! say, which versions there are, what a version would make of one, and numbers over all of them.
//! None of it needs a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::sources::{Source, gather};
use crate::base::json::{self, Doc, Pointer};
use crate::carrier::{self, Counts, Loaded, Part, Place, Tally, Told, Verdict};
use crate::schema::{Detection, Facts, Outcome, Pack, Rewrite};
use crate::store::migrate::{has_version, target_of};
use crate::store::versions::{VersionRow, VersionsReport, row_of};
use crate::store::{Progress, StoreError};

/// Carriers read side by side.
const CHUNK: usize = 64;

/// One document and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// The file.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What became of it; a rewrite that was carried out has its log entry beside it.
    pub verdict: Verdict,
    /// The text before, where it is rewritten.
    pub before: Option<Vec<u8>>,
    /// The log entry of the intent that rewrote it.
    pub entry: Option<u64>,
    /// What is worth knowing of it all the same.
    pub warnings: Vec<String>,
    /// Measured members that a rewritten document does not have: no migration makes them up.
    pub absent: Vec<Pointer>,
}

impl DocumentRow {
    /// The file and the place in it: `a.jsonl:7`.
    pub fn at(&self) -> String {
        self.place.in_file(&self.file)
    }
}

/// What became of all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DocumentsReport {
    /// The documents.
    pub counts: Counts,
    /// Files looked at.
    pub files: u64,
    /// Files of other kinds, and links, in the folders given.
    pub not_looked_at: u64,
    /// How many warnings there are.
    pub warnings: u64,
}

/// Hears of every document, in order.
pub type Each<'a> = dyn FnMut(&DocumentRow) + 'a;

/// What was read of one carrier, with an answer for each document; or why it was not read.
pub(super) type Looked<R> = Result<(Loaded, Vec<R>), String>;

/// Reads a carrier and asks about each of its documents, side by side.
pub(super) fn look<R: Send>(
    source: &Source,
    pack: &Pack,
    ask: &(impl Fn(&Part, &[u8]) -> R + Sync),
) -> Looked<R> {
    let loaded = source.load(pack)?;
    let answers = loaded.parts.par_iter().map(|part| ask(part, loaded.text(part))).collect();
    Ok((loaded, answers))
}

/// Does so with all carriers, in order.
fn over<R: Send>(
    sources: &[Source],
    pack: &Pack,
    progress: &dyn Progress,
    ask: impl Fn(&Part, &[u8]) -> R + Sync,
    mut take: impl FnMut(&Source, Looked<R>),
) -> Result<(), StoreError> {
    let total = sources.len() as u64;
    for (at, chunk) in sources.chunks(CHUNK).enumerate() {
        let done = (at * CHUNK) as u64;
        if progress.interrupted() {
            return Err(StoreError::Interrupted { done, total });
        }
        let looked: Vec<Looked<R>> = chunk.par_iter().map(|source| look(source, pack, &ask)).collect();
        for (source, looked) in chunk.iter().zip(looked) {
            take(source, looked);
        }
        progress.at(done + chunk.len() as u64, total);
    }
    Ok(())
}

impl DocumentsReport {
    /// Counts the documents of a carrier that was not read as one.
    pub(super) fn unread(&mut self, source: &Source, why: String, each: &mut Each<'_>) {
        let verdict = Verdict::Unreadable(why);
        self.take(row(source, Place::Whole, verdict), each);
    }

    pub(super) fn take(&mut self, row: DocumentRow, each: &mut Each<'_>) {
        self.counts.take(&row.verdict);
        self.warnings += row.warnings.len() as u64;
        each(&row);
    }
}

pub(super) fn row(source: &Source, place: Place, verdict: Verdict) -> DocumentRow {
    let file = source.shown.clone();
    DocumentRow { file, place, verdict, before: None, entry: None, warnings: Vec::new(), absent: Vec::new() }
}

/// Checks that documents are what they say, or all of one version.
pub fn validate(
    pack: &Pack,
    paths: &[PathBuf],
    version: Option<&str>,
    progress: &dyn Progress,
    each: &mut Each<'_>,
) -> Result<DocumentsReport, StoreError> {
    if let Some(version) = version
        && pack.version_of_shape(version).is_none()
    {
        has_version(pack, version)?;
    }
    let sources = gather(paths, pack)?;
    let mut report = DocumentsReport {
        files: sources.list.len() as u64,
        not_looked_at: sources.not_looked_at,
        ..DocumentsReport::default()
    };
    let ask = |_: &Part, text: &[u8]| match json::scan(text) {
        Err(error) => (Verdict::Unreadable(carrier::unreadable(&error)), Vec::new()),
        Ok(doc) => {
            let (verdict, shape) = carrier::looks_at(pack, &doc, version);
            (verdict, shape.map_or_else(Vec::new, |shape| warnings(pack, &doc, &shape)))
        }
    };
    over(&sources.list, pack, progress, ask, |source, looked| match looked {
        Err(why) => report.unread(source, why, each),
        Ok((loaded, answers)) => {
            for (part, (verdict, warnings)) in loaded.parts.into_iter().zip(answers) {
                report.take(DocumentRow { warnings, ..row(source, part.place, verdict) }, each);
            }
        }
    })?;
    Ok(report)
}

/// Notes what is worth knowing of the document that a migration gives: what it uses that is going,
/// and what was not measured and so stays absent.
pub(super) fn note(row: &mut DocumentRow, pack: &Pack, rewrite: &Rewrite) {
    if let (Some(shape), Ok(doc)) = (rewrite.shapes.last(), json::scan(&rewrite.bytes)) {
        row.warnings = deprecations(pack, &doc, shape);
        row.absent = pack.unmeasured(&doc, shape);
    }
}

/// What is worth knowing of a document of a known shape.
pub(super) fn warnings(pack: &Pack, doc: &Doc<'_>, shape: &str) -> Vec<String> {
    let mut found = deprecations(pack, doc, shape);
    let undescribed = pack.undescribed(doc, shape).into_iter();
    found.extend(undescribed.map(|at| format!("{at} is not described by the schema of {shape}")));
    found
}

/// What a document uses that is going, in words; nothing where its shape is not known.
pub fn deprecated(pack: &Pack, text: &[u8]) -> Vec<String> {
    if !pack.deprecates() {
        return Vec::new();
    }
    let Ok(doc) = json::scan(text) else { return Vec::new() };
    let (_, shape) = carrier::looks_at(pack, &doc, None);
    shape.map_or_else(Vec::new, |shape| deprecations(pack, &doc, &shape))
}

fn deprecations(pack: &Pack, doc: &Doc<'_>, shape: &str) -> Vec<String> {
    let mut found = Vec::new();
    for old in pack.deprecations(doc, shape) {
        let left = match old.remaining {
            0 => "goes with the next release".to_owned(),
            1 => "stays for 1 more release".to_owned(),
            more => format!("stays for {more} more releases"),
        };
        let (at, since, instead) = (old.place, old.since, old.instead);
        found.push(format!("{at} is deprecated since {since} and {left}; use {instead}"));
    }
    found
}

/// How documents are spread over versions and shapes.
pub fn versions(
    pack: &Pack,
    paths: &[PathBuf],
    progress: &dyn Progress,
) -> Result<DocumentVersions, StoreError> {
    let sources = gather(paths, pack)?;
    let mut report = DocumentVersions {
        not_looked_at: sources.not_looked_at,
        files: Some(sources.list.len() as u64),
        ..DocumentVersions::default()
    };
    report.spread.pack = pack.name().to_owned();
    report.spread.head = pack.head().to_owned();
    let mut rows: BTreeMap<VersionRow, u64> = BTreeMap::new();
    let ask = |_: &Part, text: &[u8]| {
        let doc = json::scan(text).map_err(|error| carrier::unreadable(&error))?;
        let detection = pack.detect(&doc);
        let mut row = row_of(&detection, pack);
        // What does not fit is listed one by one; here it is one line however it does not.
        let untrue = carrier::shape_of(&detection).is_none() && !is_foreign(&detection);
        let why = untrue.then(|| row.note.take()).flatten();
        let untrue = why.map(|why| (row.shape.clone(), why));
        Ok((row, untrue))
    };
    over(&sources.list, pack, progress, ask, |source, looked| match looked {
        Err(why) => {
            report.spread.total += 1;
            report.spread.unreadable.push((source.shown.clone(), why));
        }
        Ok((loaded, answers)) => {
            for (part, answer) in loaded.parts.iter().zip(answers) {
                report.spread.total += 1;
                let at = part.place.in_file(&source.shown);
                match answer {
                    Err::<_, String>(why) => report.spread.unreadable.push((at, why)),
                    Ok((row, untrue)) => {
                        *rows.entry(row).or_insert(0) += 1;
                        report.untrue.extend(untrue.map(|(what, why)| Untrue { at, what, why }));
                    }
                }
            }
        }
    })?;
    report.spread.rows = rows.into_iter().map(|(row, count)| VersionRow { count, ..row }).collect();
    Ok(report)
}

fn is_foreign(detection: &Detection) -> bool {
    matches!(detection, Detection::NotThisKind { kind: Some(_), .. })
}

/// A document that is not what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrue {
    /// The file and the place in it.
    pub at: String,
    /// What it is instead, in a word or two: `misfit`, `newer`, `not this kind`.
    pub what: String,
    /// Why.
    pub why: String,
}

/// The distribution over documents outside a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentVersions {
    /// By version and shape.
    pub spread: VersionsReport,
    /// Documents that are not what they say, or say nothing.
    pub untrue: Vec<Untrue>,
    /// Files looked at; `None` where it is the store's manifests.
    pub files: Option<u64>,
    /// Files of other kinds, and links, in the folders given.
    pub not_looked_at: u64,
}

/// What a migration would make of documents. Nothing is written.
pub fn preview(
    pack: &Pack,
    paths: &[PathBuf],
    target: Option<&str>,
    progress: &dyn Progress,
    each: &mut Each<'_>,
) -> Result<DocumentsReport, StoreError> {
    let target = target.map(|version| target_of(pack, version)).transpose()?;
    let sources = gather(paths, pack)?;
    let mut report = DocumentsReport {
        files: sources.list.len() as u64,
        not_looked_at: sources.not_looked_at,
        ..DocumentsReport::default()
    };
    for source in &sources.list {
        if progress.interrupted() {
            let (done, total) = (report.counts.found, report.files);
            return Err(StoreError::Interrupted { done, total });
        }
        match super::plan::plan(source, pack, target.as_deref(), None) {
            Err(why) => report.unread(source, why, each),
            Ok(plan) => {
                for row in plan.rows {
                    report.take(row, each);
                }
            }
        }
    }
    Ok(report)
}

/// A document, as it is or as a version would have it.
pub fn show(
    pack: &Pack,
    path: &Path,
    place: Option<&Place>,
    version: Option<&str>,
) -> Result<Vec<u8>, StoreError> {
    let version = version.map(|version| target_of(pack, version)).transpose()?;
    let shown = path.display().to_string();
    let refused = |why: String| StoreError::Input { path: shown.clone(), why };
    let sources = gather(&[path.to_owned()], pack)?;
    let [source] = sources.list.as_slice() else {
        return Err(refused("it is a folder; name one file".to_owned()));
    };
    let loaded = source.load(pack).map_err(refused)?;
    let part = match (place, loaded.parts.as_slice()) {
        (None, [only]) => only,
        (None, parts) => {
            let why = format!("it has {} documents; say which with --line or --row", parts.len());
            return Err(refused(why));
        }
        (Some(place), parts) => parts
            .iter()
            .find(|part| part.place == *place)
            .ok_or_else(|| refused(format!("it has no document at {place}")))?,
    };
    let text = loaded.text(part);
    let Some(version) = version else { return Ok(text.to_vec()) };
    match pack.migrate(text, Some(&version), &Facts::default(), None) {
        Outcome::Current { .. } => Ok(text.to_vec()),
        Outcome::Rewrite(rewrite) => Ok(rewrite.bytes),
        Outcome::Refused(why) => Err(StoreError::NoVersion(format!("{}: {why}", part.place.in_file(&shown)))),
    }
}

/// What an aggregate was made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AggregateReport {
    /// The numbers.
    pub numbers: carrier::Aggregate,
    /// The documents: those counted as current went in.
    pub documents: DocumentsReport,
}

/// Adds up the numbers of documents. Those that are not what they say stay out and are handed over.
pub fn aggregate(
    pack: &Pack,
    paths: &[PathBuf],
    options: carrier::AggregateOptions,
    progress: &dyn Progress,
    each: &mut Each<'_>,
) -> Result<AggregateReport, StoreError> {
    let sources = gather(paths, pack)?;
    let mut report = AggregateReport::default();
    report.documents.files = sources.list.len() as u64;
    report.documents.not_looked_at = sources.not_looked_at;
    let mut tally = Tally::new(options);
    let ask = |_: &Part, text: &[u8]| match json::scan(text) {
        Err(error) => (Verdict::Unreadable(carrier::unreadable(&error)), None),
        Ok(doc) => carrier::looks_at(pack, &doc, None),
    };
    over(&sources.list, pack, progress, ask, |source, looked| match looked {
        Err(why) => report.documents.unread(source, why, each),
        Ok((loaded, answers)) => {
            for (part, (verdict, shape)) in loaded.parts.iter().zip(answers) {
                if let (Some(shape), Ok(doc)) = (shape, json::scan(loaded.text(part))) {
                    let formula = |at: &Pointer| pack.formula_of(&shape, at).map(str::to_owned);
                    let kind = pack.kind_of(&shape);
                    tally.take(&doc, &Told { version: &shape, kind, formula: &formula });
                }
                report.documents.take(row(source, part.place.clone(), verdict), each);
            }
        }
    })?;
    report.numbers = tally.end();
    Ok(report)
}
