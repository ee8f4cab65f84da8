//! Migrating one document: a pure function of its text, the pack, the facts and the stamp.
//!
//! Per migration of the route: the steps are resolved to edits on the text and spliced; then the
//! result is scanned, compared with the source (what changed lies within what the steps declare,
//! frozen members are equal, the invariants hold) and validated against the migration's own target
//! shape. Whatever fails refuses the document as a whole; nothing half-migrated is ever answered.
//!
//! What an edit leaves alone is neither read nor walked again: its nodes are copied, and so is what
//! they are known to meet. That both come to what reading all anew comes to is held by tests.

use super::apply::{self, Ground, Log};
use super::detect::Detection;
use super::diff::differences;
use super::end::Way;
use super::fact::Facts;
use super::fit::Met;
use super::history::{self, Record};
use super::invariant::{self, Allowed, Files, Violation};
use super::outcome::{Outcome, Refusal, Rewrite, Stamp};
use super::pack::{Migration, Pack};
use crate::base::digest::Sha256;
use crate::base::json::{
    self, Doc, Edited, Edits, Json, Kept, Kind, Place, Pointer, PointerPattern, Scanned, outside_is_equal,
    quote,
};

/// What is done to a document on its way.
struct Work<'p> {
    pack: &'p Pack,
    facts: &'p Facts,
    changes: Vec<String>,
    preserved: Vec<(Pointer, String)>,
    /// How many stages were gone through, and the places that differ after the last of them.
    stages: usize,
    touched: Vec<Pointer>,
}

/// A stage's result: its scan, and what its parts are known to meet.
#[derive(Debug)]
struct Held {
    text: Scanned,
    met: Met,
}

/// Takes the document one stage further. Each stage's result is scanned once, and that scan is the
/// next stage's source; `held` is the last result, if there is one yet.
fn advance(
    held: &mut Option<Held>,
    source: At<'_, '_>,
    stage: impl FnOnce(At<'_, '_>) -> Result<Held, Refusal>,
) -> Result<(), Refusal> {
    *held = Some(match held {
        None => stage(source)?,
        Some(Held { text, met }) => text.with(|doc| stage(At { doc, met }))?,
    });
    Ok(())
}

/// A document before a stage, and what its parts are known to meet.
#[derive(Clone, Copy)]
struct At<'s, 't> {
    doc: &'s Doc<'t>,
    met: &'s Met,
}

/// A document and what its pack says about it, found out once for all who ask.
pub struct Told<'d, 't> {
    doc: &'d Doc<'t>,
    met: Met,
    detection: Detection,
}

impl Told<'_, '_> {
    /// What the pack says.
    pub fn detection(&self) -> &Detection {
        &self.detection
    }
}

impl Pack {
    /// Tells which shape a document has, for a migration that may follow.
    pub fn tell<'d, 't>(&self, doc: &'d Doc<'t>) -> Told<'d, 't> {
        let mut met = Met::of(doc);
        let detection = self.detect_met(doc, &mut met);
        Told { doc, met, detection }
    }

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
        match json::scan(text) {
            Ok(doc) => self.migrate_told(self.tell(&doc), target, facts, stamp),
            Err(error) => Outcome::Refused(error.into()),
        }
    }

    /// As [`migrate`](Self::migrate), of a document that was looked at.
    pub fn migrate_told(
        &self,
        told: Told<'_, '_>,
        target: Option<&str>,
        facts: &Facts,
        stamp: Option<&Stamp>,
    ) -> Outcome {
        match self.try_migrate(told, target.unwrap_or(&self.head), facts, stamp) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn try_migrate(
        &self,
        told: Told<'_, '_>,
        target: &str,
        facts: &Facts,
        stamp: Option<&Stamp>,
    ) -> Result<Outcome, Refusal> {
        let Told { doc, met, detection } = told;
        let text = doc.text().as_bytes();
        let (version, variant, rule) = match detection {
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

        let mut work = Work::new(self, facts);
        let source = At { doc, met: &met };
        let (mut held, path) = work.along(source, &version, rule.as_deref(), &route)?;
        let to = path.last().cloned().unwrap_or_default();
        let stops = route.iter().map(|number| self.migrations[*number].to.clone());
        let shapes = std::iter::once(shape).chain(stops).collect();
        let mut checksum_after = None;
        if let (Some(stamp), Some(at)) = (stamp, &self.history_at) {
            let changes = work.changes.clone();
            let record = Record {
                from: &version,
                to: &to,
                path: &path,
                applied_at: stamp.applied_at,
                changes: &changes,
                before: Sha256::of(text),
                pack: self,
            };
            advance(&mut held, source, |at_last| {
                let (after, checksum) = work.add_record(at_last, at, &record, &to)?;
                checksum_after = Some(checksum);
                Ok(after)
            })?;
        }
        let Work { changes, preserved, stages, mut touched, .. } = work;
        if let Some(held) = held.as_mut().filter(|_| stages > 1) {
            let places = |after: &Doc<'_>| differences(doc, after).into_iter().map(|one| one.at).collect();
            touched = held.text.with(|after| places(after));
        }
        let bytes = held.map_or_else(|| text.to_vec(), |held| held.text.into_bytes());
        Ok(Outcome::Rewrite(Rewrite {
            bytes,
            from: version,
            to,
            path,
            shapes,
            changes,
            touched,
            preserved,
            checksum_after,
        }))
    }

    /// The migrations to do. To the head means: to the end of its own line for a document that
    /// has one.
    fn route_for(&self, shape: &str, target: &str) -> Result<Vec<usize>, Refusal> {
        if target != self.head {
            return Ok(self.route_numbers(shape, target)?);
        }
        if let Some(route) = self.to_head.get(shape) {
            return Ok(route.clone());
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
        let mut met = Met::of(&doc);
        let (version, rule) = match self.detect_met(&doc, &mut met) {
            Detection::Known { version, .. } => (version, None),
            Detection::Legacy { rule, version, .. } => (version, Some(rule)),
            other => return Err(Refusal::Detection(other)),
        };
        let source = At { doc: &doc, met: &met };
        let (held, _) = Work::new(self, facts).along(source, &version, rule.as_deref(), route)?;
        Ok(held.map_or_else(|| text.to_vec(), |held| held.text.into_bytes()))
    }

    /// What the steps of a migration make of a text, whether it may be so or not; `None` where one of
    /// them cannot be done.
    pub(super) fn steps_alone(&self, migration: &Migration, text: &[u8], facts: &Facts) -> Option<Vec<u8>> {
        let doc = json::scan(text).ok()?;
        let source = At { doc: &doc, met: &Met::default() };
        let version = self.version_of(&migration.from);
        let made = Work::new(self, facts).splice_steps(source, migration, version, &mut Log::default());
        Some(made.ok()?.text.into_bytes())
    }

    /// Whether a document fits the target of a migration.
    pub(super) fn fits_target(&self, migration: &Migration, doc: &Doc<'_>) -> Result<(), Detection> {
        self.shape_of(doc, self.version_of(&migration.to), None, &mut Met::of(doc)).map(|_| ())
    }

    /// The version of a shape of this name, written `version` or `version/variant`.
    pub fn version_of_shape(&self, name: &str) -> Option<&str> {
        self.shapes.iter().find(|shape| shape.is_named(name)).map(|shape| shape.version.as_str())
    }

    /// The version of a shape named by version alone or with its variant.
    pub(super) fn version_of<'n>(&'n self, name: &'n str) -> &'n str {
        self.shapes.iter().find(|shape| shape.is_named(name)).map_or(name, |shape| &shape.version)
    }
}

impl<'p> Work<'p> {
    fn new(pack: &'p Pack, facts: &'p Facts) -> Self {
        let (changes, preserved, touched) = (Vec::new(), Vec::new(), Vec::new());
        Self { pack, facts, changes, preserved, stages: 0, touched }
    }

    fn files(&self) -> Files<'p> {
        Files { before: &self.facts.files, after: &self.facts.files }
    }

    /// Takes a document of a version along migrations; answers the last result, if anything was done, and
    /// the versions on the way.
    fn along(
        &mut self,
        source: At<'_, '_>,
        version: &str,
        rule: Option<&str>,
        route: &[usize],
    ) -> Result<(Option<Held>, Vec<String>), Refusal> {
        let pack = self.pack;
        let mut held = None;
        // The label goes in first, so that every route from here gives the same text.
        if let (Some(rule), Some(at)) = (rule, &pack.version_at) {
            advance(&mut held, source, |source| self.add_label(source, at, version, rule))?;
        }
        let mut path = vec![version.to_owned()];
        for number in route {
            let migration = &pack.migrations[*number];
            let source_version = path.last().map_or(version, String::as_str);
            advance(&mut held, source, |source| self.run(source, migration, source_version))?;
            path.push(pack.version_of(&migration.to).to_owned());
        }
        Ok((held, path))
    }

    /// Labels a document that has no label with the version that a rule told.
    fn add_label(
        &mut self,
        source: At<'_, '_>,
        at: &Pointer,
        version: &str,
        rule: &str,
    ) -> Result<Held, Refusal> {
        let stage = || "labelling".to_owned();
        let mut edits = Edits::new(source.doc);
        label(source.doc, &mut edits, at, version);
        let mut after = splice(source, &edits, stage)?;
        let declared = [PointerPattern::from(at)];
        let allowed = Allowed { declared: &declared, moved: &[], described: &|_| true };
        after.text.with(|after| self.hold(source.doc, after, &allowed, stage))?;
        self.changes.push(format!("labelled {at} as {} by the rule {}", quote(version), quote(rule)));
        Ok(after)
    }

    /// Does one migration.
    fn run(
        &mut self,
        source: At<'_, '_>,
        migration: &Migration,
        source_version: &str,
    ) -> Result<Held, Refusal> {
        let mut log = Log::default();
        let mut after = self.splice_steps(source, migration, source_version, &mut log)?;
        let Held { text, met } = &mut after;
        text.with(|after| self.check(source.doc, after, met, migration, source_version, &log))?;
        self.changes.append(&mut log.changes);
        self.preserved.append(&mut log.preserved);
        Ok(after)
    }

    /// Holds what a stage made against what it may do.
    fn hold(
        &mut self,
        before: &Doc<'_>,
        after: &Doc<'_>,
        allowed: &Allowed<'_>,
        stage: impl Fn() -> String,
    ) -> Result<(), Refusal> {
        let (touched, violations) = invariant::check_all(before, after, Some(self.files()), allowed);
        if !violations.is_empty() {
            return Err(Refusal::Invariant { stage: stage(), violations });
        }
        self.stages += 1;
        self.touched = touched;
        Ok(())
    }

    /// Holds a migration's result against its source and its target shape.
    fn check(
        &mut self,
        source: &Doc<'_>,
        after: &Doc<'_>,
        met: &mut Met,
        migration: &Migration,
        source_version: &str,
        log: &Log,
    ) -> Result<(), Refusal> {
        let (pack, name) = (self.pack, || migration.name());
        let to = pack.version_of(&migration.to);
        let label = pack.label_place(&migration.to);
        let allowed = Allowed {
            declared: &migration.allowed,
            moved: &log.moved,
            described: &|at| {
                Some(at) == label
                    || migration.described.iter().any(|known| known.matches_elements(at))
                    || pack.describes(source_version, at)
            },
        };
        self.hold(source, after, &allowed, name)?;
        for frozen in &pack.frozen {
            for node in frozen.nodes(source) {
                let other = match frozen.stars() {
                    0 => frozen.node(after),
                    _ => after.at(&node.pointer()),
                };
                if other.is_none_or(|other| other.raw() != node.raw()) {
                    return Err(Refusal::Frozen { migration: name(), at: node.pointer() });
                }
            }
        }
        match pack.shape_of(after, to, None, met) {
            Ok(shape) if migration.to == shape.version || shape.is_named(&migration.to) => Ok(()),
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
        source: At<'_, '_>,
        migration: &Migration,
        version: &str,
        log: &mut Log,
    ) -> Result<Held, Refusal> {
        let mut held = None;
        let last = migration.groups.len().saturating_sub(1);
        for (i, group) in migration.groups.iter().enumerate() {
            advance(&mut held, source, |source| {
                let doc = source.doc;
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
                splice(source, &edits, || migration.name())
            })?;
        }
        // There is always a group, an empty one for the label alone.
        held.map_or_else(|| splice(source, &Edits::new(source.doc), || migration.name()), Ok)
    }

    fn add_record(
        &mut self,
        source: At<'_, '_>,
        at: &Pointer,
        record: &Record<'_>,
        to: &str,
    ) -> Result<(Held, Sha256), Refusal> {
        let stage = || "the history record".to_owned();
        let (edited, place) = history::append(source.doc, at, record)?;
        let mut after = checked(source, edited, stage)?;
        let checksum = history::put_checksum(&mut after.text, at)?;
        let declared = [PointerPattern::from(&place)];
        let allowed = Allowed { declared: &declared, moved: &[], described: &|_| true };
        let Held { text, met } = &mut after;
        text.with(|after| {
            self.hold(source.doc, after, &allowed, stage)?;
            let fits = self.pack.shape_of(after, to, None, met).map(|_| ());
            fits.map_err(|detection| Refusal::TargetMisfit { migration: stage(), detection })
        })?;
        Ok((after, checksum))
    }
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

/// A document with a label in the place of none, and which of its nodes are the document's own; `None`
/// where there is no place for a label.
pub(super) fn labelled(doc: &Doc<'_>, at: &Pointer, version: &str) -> Option<(Scanned, Vec<Kept>)> {
    let (parent, _) = at.split_last()?;
    doc.at(&parent).filter(|node| node.kind() == Kind::Object)?;
    let mut edits = Edits::new(doc);
    label(doc, &mut edits, at, version);
    Scanned::edited(doc, edits.apply().ok()?).ok()
}

/// Splices edits and scans the result.
fn splice(source: At<'_, '_>, edits: &Edits<'_>, stage: impl Fn() -> String) -> Result<Held, Refusal> {
    let edited = edits.apply().map_err(|problem| Refusal::Edits { migration: stage(), problem })?;
    checked(source, edited, stage)
}

/// Compares the bytes around edits and scans the result.
fn checked(source: At<'_, '_>, edited: Edited, stage: impl Fn() -> String) -> Result<Held, Refusal> {
    if !outside_is_equal(source.doc.text().as_bytes(), &edited.bytes, &edited.splices) {
        let violation = Violation {
            invariant: invariant::Invariant::KeepsText,
            at: Pointer::root(),
            problem: "differs outside the edits",
            before: None,
            after: None,
        };
        return Err(Refusal::Invariant { stage: stage(), violations: vec![violation] });
    }
    let (mut text, kept) = Scanned::edited(source.doc, edited)?;
    let met = text.with(|after| source.met.carried(after, &kept));
    Ok(Held { text, met })
}
