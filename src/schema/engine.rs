//! Migrating one document: a pure function of its text, the pack, the facts and the stamp.
//!
//! Per migration of the route: the steps are resolved to edits on the text and spliced; then the
//! result is scanned, compared with the source (what changed lies within what the steps declare,
//! frozen members are equal, the invariants hold) and validated against the migration's own target
//! shape. Whatever fails refuses the document as a whole; nothing half-migrated is ever answered.

use super::apply::{self, Ground, Log, StepProblem};
use super::detect::Detection;
use super::diff::differences;
use super::end::Way;
use super::fact::Facts;
use super::graph::NoRoute;
use super::history::{self, HistoryError, Record};
use super::invariant::{self, Allowed, Files, Violation};
use super::pack::{Migration, Pack};
use crate::base::canonical;
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::escape::Escaped;
use crate::base::json::{
    self, Doc, EditError, Edits, Json, JsonError, Place, Pointer, PointerPattern, Scanned, outside_is_equal,
    quote,
};

/// What a migration that is to be kept leaves in the document's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it was done.
    pub applied_at: Moment,
}

/// What migrating a document comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The document is at the target: no change.
    Current {
        /// Its version.
        version: String,
    },
    /// The document with its migrations done.
    Rewrite(Rewrite),
    /// The document stays as it is.
    Refused(Refusal),
}

/// A migrated document, and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The new text.
    pub bytes: Vec<u8>,
    /// The version it had.
    pub from: String,
    /// The version it has.
    pub to: String,
    /// The versions along the route, first and last included.
    pub path: Vec<String>,
    /// The shapes along the route, written `version` or `version/variant`.
    pub shapes: Vec<String>,
    /// What was done, in words.
    pub changes: Vec<String>,
    /// The places that differ.
    pub touched: Vec<Pointer>,
    /// Values that were removed and are to be kept in the record of the migration: the place that
    /// each had when it was removed, and its exact JSON text. Whoever writes the document keeps them.
    pub preserved: Vec<(Pointer, String)>,
    /// The digest of the text before.
    pub before: Sha256,
    /// The digest of the text after.
    pub after: Sha256,
    /// The checksum in the new history record, where one was written.
    pub checksum_after: Option<Sha256>,
}

impl Rewrite {
    /// The route in words: its versions, or its shapes where a step leads from one shape of a
    /// version to another.
    pub fn route(&self) -> &[String] {
        match self.path.windows(2).any(|pair| pair[0] == pair[1]) {
            true => &self.shapes,
            false => &self.path,
        }
    }

    /// The bytes of the record of the values that left the document, in canonical JSON; `None` when
    /// there are none. `store-layout.md`, "Audit entries".
    pub fn preserved_record(&self) -> Option<Vec<u8>> {
        if self.preserved.is_empty() {
            return None;
        }
        let one = |(at, text): &(Pointer, String)| serde_json::json!({"at": at, "text": text});
        let values: Vec<_> = self.preserved.iter().map(one).collect();
        let record = serde_json::json!({"v": 1, "what": "preserved-values", "values": values});
        Some(canonical::rfc8785(&record).expect("places and texts are canonical"))
    }
}

/// Why a document is not migrated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is not JSON as the store reads it.
    #[error("not a JSON document: {0}")]
    NotJson(#[from] JsonError),
    /// Its version is not established, or it does not fit the one it claims.
    #[error("{0}")]
    Detection(Detection),
    /// There is no declared way to the target.
    #[error(transparent)]
    NoRoute(#[from] NoRoute),
    /// It is where no way leads on, and the pack says why.
    #[error("{shape} goes no further: {}", Escaped(reason))]
    Stuck {
        /// Its shape.
        shape: String,
        /// The pack's reason.
        reason: String,
    },
    /// A step cannot be done.
    #[error("migration {migration}, step {step}: {problem}")]
    Step {
        /// The migration, as `from -> to`.
        migration: String,
        /// The step's number within it, from 1.
        step: usize,
        /// Why not.
        problem: StepProblem,
    },
    /// The steps' edits exclude each other.
    #[error("migration {migration}: {problem}")]
    Edits {
        /// The migration, as `from -> to`.
        migration: String,
        /// How.
        problem: EditError,
    },
    /// The result does not fit the migration's target shape.
    #[error("migration {migration} gives a document that does not fit: {detection}")]
    TargetMisfit {
        /// The migration, as `from -> to`.
        migration: String,
        /// What the result is instead.
        detection: Detection,
    },
    /// A member that the pack calls frozen would change.
    #[error("migration {migration} changes {at:?}, which is frozen")]
    Frozen {
        /// The migration, as `from -> to`.
        migration: String,
        /// The member.
        at: Pointer,
    },
    /// An invariant would be broken.
    #[error("{stage} breaks {}", violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invariant {
        /// What would break it: a migration, the label, the history record.
        stage: String,
        /// Every violation.
        violations: Vec<Violation>,
    },
    /// The history record cannot be written.
    #[error("the history record cannot be written: {0}")]
    History(#[from] HistoryError),
}

/// What is done to a document on its way.
struct Work<'p> {
    pack: &'p Pack,
    facts: &'p Facts,
    changes: Vec<String>,
    preserved: Vec<(Pointer, String)>,
}

/// Takes the document one stage further. Each stage's result is scanned once, and that scan is the
/// next stage's source; `held` is the last result, if there is one yet.
fn advance(
    held: &mut Option<Scanned>,
    source: &Doc<'_>,
    stage: impl FnOnce(&Doc<'_>) -> Result<Scanned, Refusal>,
) -> Result<(), Refusal> {
    *held = Some(match held {
        None => stage(source)?,
        Some(now) => now.with(stage)?,
    });
    Ok(())
}

impl Pack {
    /// Migrates a document to a version, the head unless told otherwise.
    ///
    /// Without a stamp no history record is written: that is migrating on read. At the target
    /// nothing changes, so doing it twice is doing it once.
    pub fn migrate(
        &self,
        text: &[u8],
        target: Option<&str>,
        facts: &Facts,
        stamp: Option<&Stamp>,
    ) -> Outcome {
        match self.try_migrate(text, target.unwrap_or(&self.head), facts, stamp) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn try_migrate(
        &self,
        text: &[u8],
        target: &str,
        facts: &Facts,
        stamp: Option<&Stamp>,
    ) -> Result<Outcome, Refusal> {
        let doc = json::scan(text)?;
        let (version, variant, rule) = match self.detect(&doc) {
            Detection::Known { version, variant } => (version, variant, None),
            Detection::Legacy { rule, version, variant } => (version, variant, Some(rule)),
            other => return Err(Refusal::Detection(other)),
        };
        let shape = match variant {
            Some(variant) => format!("{version}/{variant}"),
            None => version.clone(),
        };
        let route = self.route_for(&shape, target)?;
        if route.is_empty() && rule.is_none() {
            return Ok(Outcome::Current { version });
        }

        let mut work = Work { pack: self, facts, changes: Vec::new(), preserved: Vec::new() };
        let (mut held, path) = work.along(&doc, &version, rule.as_deref(), &route)?;
        let to = path.last().cloned().unwrap_or_default();
        let stops = route.iter().map(|number| self.migrations[*number].to.clone());
        let shapes = std::iter::once(shape).chain(stops).collect();
        let before = Sha256::of(text);
        let mut checksum_after = None;
        if let (Some(stamp), Some(at)) = (stamp, &self.history_at) {
            let changes = work.changes.clone();
            let record = Record {
                from: &version,
                to: &to,
                path: &path,
                applied_at: stamp.applied_at,
                changes: &changes,
                before,
                pack: self,
            };
            advance(&mut held, &doc, |doc| {
                let (after, checksum) = work.add_record(doc, at, &record, &to)?;
                checksum_after = Some(checksum);
                Ok(after)
            })?;
        }
        let touched = held.as_mut().map_or_else(Vec::new, |held| {
            held.with(|after| differences(&doc, after).into_iter().map(|difference| difference.at).collect())
        });
        let bytes = held.map_or_else(|| text.to_vec(), Scanned::into_bytes);
        let after = Sha256::of(&bytes);
        let Work { changes, preserved, .. } = work;
        Ok(Outcome::Rewrite(Rewrite {
            bytes,
            from: version,
            to,
            path,
            shapes,
            changes,
            touched,
            preserved,
            before,
            after,
            checksum_after,
        }))
    }

    /// The migrations to do. To the head means: to the end of its own line for a document that
    /// has one.
    fn route_for(&self, shape: &str, target: &str) -> Result<Vec<usize>, Refusal> {
        if target != self.head {
            return Ok(self.route_numbers(shape, target)?);
        }
        match self.way(shape) {
            Way::Head(route) | Way::End(_, route) => Ok(route),
            Way::Stuck(end) => Err(Refusal::Stuck { shape: shape.to_owned(), reason: end.reason.clone() }),
            Way::Nowhere => Ok(self.route_numbers(shape, target)?),
        }
    }

    /// Migrates along the given migrations, whatever the shortest route is; the document has to have
    /// a shape that the first of them starts from.
    pub(super) fn migrate_along(
        &self,
        text: &[u8],
        route: &[usize],
        facts: &Facts,
    ) -> Result<Vec<u8>, Refusal> {
        let doc = json::scan(text)?;
        let (version, rule) = match self.detect(&doc) {
            Detection::Known { version, .. } => (version, None),
            Detection::Legacy { rule, version, .. } => (version, Some(rule)),
            other => return Err(Refusal::Detection(other)),
        };
        let mut work = Work { pack: self, facts, changes: Vec::new(), preserved: Vec::new() };
        let (held, _) = work.along(&doc, &version, rule.as_deref(), route)?;
        Ok(held.map_or_else(|| text.to_vec(), Scanned::into_bytes))
    }

    /// The version of a shape of this name, written `version` or `version/variant`.
    pub fn version_of_shape(&self, name: &str) -> Option<&str> {
        self.shapes.iter().find(|shape| shape.name() == name).map(|shape| shape.version.as_str())
    }

    /// The version of a shape named by version alone or with its variant.
    pub(super) fn version_of<'n>(&'n self, name: &'n str) -> &'n str {
        self.shapes.iter().find(|shape| shape.name() == name).map_or(name, |shape| &shape.version)
    }
}

impl Work<'_> {
    fn files(&self) -> Files<'_> {
        Files { before: &self.facts.files, after: &self.facts.files }
    }

    /// Takes a document of a version along migrations; answers the last result, if anything was done, and
    /// the versions on the way.
    fn along(
        &mut self,
        doc: &Doc<'_>,
        version: &str,
        rule: Option<&str>,
        route: &[usize],
    ) -> Result<(Option<Scanned>, Vec<String>), Refusal> {
        let pack = self.pack;
        let mut held = None;
        // The label goes in first, so that every route from here gives the same text.
        if let (Some(rule), Some(at)) = (rule, &pack.version_at) {
            advance(&mut held, doc, |doc| self.add_label(doc, at, version, rule))?;
        }
        let mut path = vec![version.to_owned()];
        for number in route {
            let migration = &pack.migrations[*number];
            let source = path.last().map_or(version, String::as_str);
            advance(&mut held, doc, |doc| self.run(doc, migration, source))?;
            path.push(pack.version_of(&migration.to).to_owned());
        }
        Ok((held, path))
    }

    /// Labels a document that has no label with the version that a rule told.
    fn add_label(
        &mut self,
        doc: &Doc<'_>,
        at: &Pointer,
        version: &str,
        rule: &str,
    ) -> Result<Scanned, Refusal> {
        let stage = || "labelling".to_owned();
        let mut edits = Edits::new(doc);
        label(doc, &mut edits, at, version);
        let mut after = splice(doc, &edits, stage)?;
        let declared = [PointerPattern::from(at)];
        let allowed = Allowed { declared: &declared, moved: &[], described: &|_| true };
        let files = Some(self.files());
        hold(after.with(|after| invariant::check(doc, after, files, &allowed)), stage)?;
        self.changes.push(format!("labelled {at} as {} by the rule {}", quote(version), quote(rule)));
        Ok(after)
    }

    /// Does one migration.
    fn run(
        &mut self,
        source: &Doc<'_>,
        migration: &Migration,
        source_version: &str,
    ) -> Result<Scanned, Refusal> {
        let mut log = Log::default();
        let mut after = self.splice_steps(source, migration, source_version, &mut log)?;
        after.with(|after| self.check(source, after, migration, source_version, &log))?;
        self.changes.append(&mut log.changes);
        self.preserved.append(&mut log.preserved);
        Ok(after)
    }

    /// Holds a migration's result against its source and its target shape.
    fn check(
        &self,
        source: &Doc<'_>,
        after: &Doc<'_>,
        migration: &Migration,
        source_version: &str,
        log: &Log,
    ) -> Result<(), Refusal> {
        let name = || migration.name();
        let to = self.pack.version_of(&migration.to);
        let label = self.pack.label_place(&migration.to);
        let allowed = Allowed {
            declared: &migration.allowed,
            moved: &log.moved,
            described: &|at| Some(at) == label || self.pack.describes(source_version, at),
        };
        hold(invariant::check(source, after, Some(self.files()), &allowed), name)?;
        for frozen in &self.pack.frozen {
            for node in frozen.nodes(source) {
                let at = node.pointer();
                if after.at(&at).is_none_or(|other| other.raw() != node.raw()) {
                    return Err(Refusal::Frozen { migration: name(), at });
                }
            }
        }
        match self.pack.shape_of(after, to, None) {
            Ok(shape) if migration.to == shape.version || migration.to == shape.name() => Ok(()),
            Ok(shape) => {
                let detection =
                    Detection::Known { version: shape.version.clone(), variant: shape.variant.clone() };
                Err(Refusal::TargetMisfit { migration: name(), detection })
            }
            Err(detection) => Err(Refusal::TargetMisfit { migration: name(), detection }),
        }
    }

    /// Resolves the steps to edits and splices them, as many steps at once as do not touch each
    /// other's places; the label goes with the last.
    fn splice_steps(
        &self,
        source: &Doc<'_>,
        migration: &Migration,
        version: &str,
        log: &mut Log,
    ) -> Result<Scanned, Refusal> {
        let mut held = None;
        let last = migration.groups.len().saturating_sub(1);
        for (i, group) in migration.groups.iter().enumerate() {
            advance(&mut held, source, |doc| {
                let mut edits = Edits::new(doc);
                for step in &migration.steps[group.clone()] {
                    let ground = Ground { doc, facts: self.facts, version };
                    apply::resolve(step, ground, &mut edits, log).map_err(|problem| Refusal::Step {
                        migration: migration.name(),
                        step: step.number,
                        problem,
                    })?;
                }
                if i == last
                    && let Some(at) = self.pack.label_place(&migration.to)
                    && let Some(change) = label(doc, &mut edits, at, self.pack.version_of(&migration.to))
                {
                    log.changes.push(change);
                }
                splice(doc, &edits, || migration.name())
            })?;
        }
        // There is always a group, an empty one for the label alone.
        held.map_or_else(|| Ok(Scanned::new(source.text().as_bytes().to_vec())?), Ok)
    }

    fn add_record(
        &self,
        doc: &Doc<'_>,
        at: &Pointer,
        record: &Record<'_>,
        to: &str,
    ) -> Result<(Scanned, Sha256), Refusal> {
        let stage = || "the history record".to_owned();
        let (bytes, checksum, place) = history::append(doc.text().as_bytes(), at, record)?;
        let mut after = Scanned::new(bytes)?;
        let declared = [PointerPattern::from(&place)];
        let allowed = Allowed { declared: &declared, moved: &[], described: &|_| true };
        let files = Some(self.files());
        after.with(|after| {
            hold(invariant::check(doc, after, files, &allowed), stage)?;
            let fits = self.pack.shape_of(after, to, None).map(|_| ());
            fits.map_err(|detection| Refusal::TargetMisfit { migration: stage(), detection })
        })?;
        Ok((after, checksum))
    }
}

fn hold(violations: Vec<Violation>, stage: impl Fn() -> String) -> Result<(), Refusal> {
    if violations.is_empty() { Ok(()) } else { Err(Refusal::Invariant { stage: stage(), violations }) }
}

/// Writes the label; answers how the change is told, if it is one.
fn label<'d>(doc: &'d Doc<'d>, edits: &mut Edits<'d>, at: &Pointer, version: &str) -> Option<String> {
    let new = Json::from(version);
    match doc.at(at) {
        Some(node) if new.is(&node) => None,
        Some(node) => {
            edits.replace(node, new);
            Some(format!("set {at} to {}, replacing {}", quote(version), apply::preview(node.raw())))
        }
        None => {
            let (parent, name) = at.split_last()?;
            edits.insert(doc.at(&parent)?, Place::End, name, new);
            Some(format!("added {at} as {}", quote(version)))
        }
    }
}

/// Splices edits, compares the bytes around them and scans the result.
fn splice(doc: &Doc<'_>, edits: &Edits<'_>, stage: impl Fn() -> String) -> Result<Scanned, Refusal> {
    let edited = edits.apply().map_err(|problem| Refusal::Edits { migration: stage(), problem })?;
    if !outside_is_equal(doc.text().as_bytes(), &edited.bytes, &edited.splices) {
        let violation = Violation {
            invariant: invariant::Invariant::KeepsText,
            at: Pointer::root(),
            problem: "differs outside the edits",
            before: None,
            after: None,
        };
        return Err(Refusal::Invariant { stage: stage(), violations: vec![violation] });
    }
    Ok(Scanned::new(edited.bytes)?)
}
