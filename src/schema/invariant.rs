//! The invariants that no rewrite may break, as named predicates over two documents.
//!
//! They are checked on every rewrite whatever its pack declares: a pack can say what it changes,
//! it cannot give itself leave to change an id, a recorded digest or an input snapshot.
//! `store-layout.md`, "Invariants".

use std::collections::BTreeMap;
use std::fmt;

use super::apply::preview;
use super::diff::{Difference, differences};
use super::fact::FileFact;
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::escape::Escaped;
use crate::base::id::{JobId, RunId};
use crate::base::json::{Doc, Kind, Node, Pointer, PointerPattern};

/// An invariant, by number and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// 1: input snapshots are byte-identical, their digests unchanged.
    InputSnapshots,
    /// 2: `run_id` is unchanged, and derivable from `inputs_hash` wherever that is present.
    RunId,
    /// 3: `job_id` is unchanged, or backfilled once where it was absent.
    JobId,
    /// 4: doctrine and other recorded digests are unchanged.
    RecordedDigests,
    /// 5: the filesystem decides, the index follows. Its predicate compares the store's state with
    /// the index and is decided where both are known, above this layer.
    FilesystemDecides,
    /// 6: every change is in the log, and the file's history is an ordered part of the run's log.
    /// Its predicate needs the log and is decided above this layer.
    EveryChangeLogged,
    /// 7: each member of the source keeps its text, unless the migration declares that path.
    KeepsText,
}

impl Invariant {
    /// All seven, in order.
    pub const ALL: [Self; 7] = [
        Self::InputSnapshots,
        Self::RunId,
        Self::JobId,
        Self::RecordedDigests,
        Self::FilesystemDecides,
        Self::EveryChangeLogged,
        Self::KeepsText,
    ];

    /// The number, from 1 to 7.
    pub fn number(self) -> u8 {
        match self {
            Self::InputSnapshots => 1,
            Self::RunId => 2,
            Self::JobId => 3,
            Self::RecordedDigests => 4,
            Self::FilesystemDecides => 5,
            Self::EveryChangeLogged => 6,
            Self::KeepsText => 7,
        }
    }

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::InputSnapshots => "input-snapshots",
            Self::RunId => "run-id",
            Self::JobId => "job-id",
            Self::RecordedDigests => "recorded-digests",
            Self::FilesystemDecides => "filesystem-decides",
            Self::EveryChangeLogged => "every-change-logged",
            Self::KeepsText => "keeps-text",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invariant {} ({})", self.number(), self.name())
    }
}

/// One breach of an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: Invariant,
    /// The place in the document; the root where a file is concerned.
    pub at: Pointer,
    /// What is wrong.
    pub problem: &'static str,
    /// The text before, or the file's digest; `None` where there was nothing.
    pub before: Option<String>,
    /// The text after, or the file's digest; `None` where there is nothing.
    pub after: Option<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| match value {
            Some(value) => Escaped(&preview(value)).to_string(),
            None => "absent".to_owned(),
        };
        write!(
            f,
            "{}: {:?} {} (before: {}; after: {})",
            self.invariant,
            self.at,
            self.problem,
            text(&self.before),
            text(&self.after)
        )
    }
}

/// What a rewrite says of itself; only invariant 7 listens to it.
pub struct Allowed<'w> {
    /// The places it declares to change.
    pub declared: &'w [PointerPattern],
    /// Values that it took to another place unchanged.
    pub moved: &'w [(Pointer, Pointer)],
    /// Whether the source's schema describes a place: a member that it does not describe is never
    /// dropped or overwritten, declared or not.
    pub described: &'w dyn Fn(&Pointer) -> bool,
}

impl Allowed<'_> {
    /// A rewrite that may change nothing.
    pub const NOTHING: Allowed<'static> = Allowed { declared: &[], moved: &[], described: &|_| true };
}

/// The run's files around a rewrite.
#[derive(Debug, Clone, Copy)]
pub struct Files<'f> {
    /// Those before.
    pub before: &'f [FileFact],
    /// Those after.
    pub after: &'f [FileFact],
}

/// The members by which a run is known; no pack can use their places for its own ends.
pub(super) const IDENTITY: [&str; 5] = ["run_id", "job_id", "inputs_hash", "input_snapshots", "doctrine"];

/// Checks invariants 1 to 4 and 7 on a rewrite and answers every violation, in the order of the
/// invariants. Without `files`, newly listed input snapshots cannot be confirmed and are violations.
pub fn check(
    before: &Doc<'_>,
    after: &Doc<'_>,
    files: Option<Files<'_>>,
    allowed: &Allowed<'_>,
) -> Vec<Violation> {
    check_all(before, after, files, allowed).1
}

/// The same; answers the places that differ, too.
pub(super) fn check_all(
    before: &Doc<'_>,
    after: &Doc<'_>,
    files: Option<Files<'_>>,
    allowed: &Allowed<'_>,
) -> (Vec<Pointer>, Vec<Violation>) {
    let rewrite = Rewrite { before, after, differences: differences(before, after), allowed };
    let mut out = Vec::new();
    rewrite.input_snapshots(files, &mut out);
    rewrite.run_id(&mut out);
    rewrite.job_id(&mut out);
    rewrite.recorded_digests(&mut out);
    rewrite.keeps_text(&mut out);
    (rewrite.differences.into_iter().map(|difference| difference.at).collect(), out)
}

struct Rewrite<'b, 'a, 'w> {
    before: &'b Doc<'b>,
    after: &'a Doc<'a>,
    differences: Vec<Difference<'b, 'a>>,
    allowed: &'w Allowed<'w>,
}

fn pointer(name: &str) -> Pointer {
    Pointer::from_tokens([name])
}

fn text(node: Option<Node<'_>>) -> Option<String> {
    node.map(|node| node.raw().to_owned())
}

impl<'b, 'a> Rewrite<'b, 'a, '_> {
    fn at_or_below(&self, name: &'static str) -> impl Iterator<Item = &Difference<'b, 'a>> {
        self.differences.iter().filter(move |d| d.at.tokens().next() == Some(name))
    }

    fn violation(invariant: Invariant, d: &Difference<'_, '_>, problem: &'static str) -> Violation {
        Violation { invariant, at: d.at.clone(), problem, before: text(d.before), after: text(d.after) }
    }

    fn input_snapshots(&self, files: Option<Files<'_>>, out: &mut Vec<Violation>) {
        use Invariant::InputSnapshots as One;
        let recorded = self.before.root().get("input_snapshots");
        for d in self.at_or_below("input_snapshots") {
            match (recorded, d.after) {
                (None, Some(added)) => backfilled_snapshots(added, files, out),
                _ => out.push(Self::violation(One, d, "is a recorded input snapshot and changed")),
            }
        }
        let Some(files) = files else { return };
        let named: Vec<String> = recorded
            .iter()
            .flat_map(Node::members)
            .filter_map(|entry| entry.value().get("path")?.as_str().map(|path| path.into_owned()))
            .collect();
        let now: BTreeMap<&str, &FileFact> = files.after.iter().map(|f| (f.path.as_str(), f)).collect();
        for file in files.before {
            if !file.path.starts_with("inputs/") && !named.contains(&file.path) {
                continue;
            }
            let other = now.get(file.path.as_str()).copied();
            if other != Some(file) {
                out.push(Violation {
                    invariant: One,
                    at: Pointer::root(),
                    problem: "has an input file that changed",
                    before: Some(format!("{} {}", file.path, file.sha256)),
                    after: other.map(|f| format!("{} {}", f.path, f.sha256)),
                });
            }
        }
    }

    fn run_id(&self, out: &mut Vec<Violation>) {
        use Invariant::RunId as Two;
        for d in self.at_or_below("run_id") {
            out.push(Self::violation(Two, d, "changed"));
        }
        let root = self.after.root();
        let Some(hash) = root.get("inputs_hash").filter(|node| node.kind() == Kind::String) else { return };
        let derived = || -> Option<bool> {
            let hash: Sha256 = hash.as_str()?.parse().ok()?;
            let run: RunId = root.get("run_id")?.as_str()?.parse().ok()?;
            let (stem, attempt) = run.stem_and_attempt();
            Some(stem == &hash.hex()[..32] && RunId::derive(&hash, attempt) == run)
        };
        if derived() != Some(true) {
            out.push(Violation {
                invariant: Two,
                at: pointer("run_id"),
                problem: "is not derived from inputs_hash",
                before: text(self.before.root().get("run_id")),
                after: text(root.get("run_id")),
            });
        }
    }

    fn job_id(&self, out: &mut Vec<Violation>) {
        use Invariant::JobId as Three;
        for d in self.at_or_below("job_id") {
            match (d.before, d.after.and_then(|node| node.as_str())) {
                (None, Some(id)) if d.at.tokens().len() == 1 && id.parse::<JobId>().is_ok() => {}
                (None, _) => out.push(Self::violation(Three, d, "was backfilled with what is no job id")),
                (Some(_), _) => out.push(Self::violation(Three, d, "changed")),
            }
        }
    }

    fn recorded_digests(&self, out: &mut Vec<Violation>) {
        use Invariant::RecordedDigests as Four;
        for d in self.at_or_below("doctrine") {
            if d.before.is_some() || d.at.tokens().len() > 1 || d.after.is_some_and(|node| !node.is_null()) {
                out.push(Self::violation(Four, d, "is recorded doctrine and changed"));
            }
        }
        for d in self.at_or_below("inputs_hash") {
            let null = d.after.is_some_and(|node| node.is_null());
            if d.before.is_none() && null {
                continue;
            }
            let was_recorded = d.before.is_some_and(|node| !node.is_null());
            if was_recorded || d.at.tokens().len() > 1 || !self.inputs_hash_is_computed() {
                out.push(Self::violation(Four, d, "changed, and is not the hash of the input snapshots"));
            }
        }
        for d in &self.differences {
            let top = d.at.tokens().next();
            let told = matches!(top, Some("doctrine" | "inputs_hash" | "input_snapshots"));
            let Some(before) = d.before.filter(|_| !told && !self.was_moved(d)) else { continue };
            if let Some(at) = find_digest(before, d.at.clone()) {
                let before = text(self.before.at(&at));
                let after = text(self.after.at(&at));
                let problem = "is a recorded digest and changed";
                out.push(Violation { invariant: Four, at, problem, before, after });
            }
        }
    }

    /// Whether `inputs_hash` is what the document's own snapshots hash to.
    fn inputs_hash_is_computed(&self) -> bool {
        let root = self.after.root();
        let computed = || -> Option<bool> {
            let snapshots = root.get("input_snapshots").filter(|node| node.kind() == Kind::Object)?;
            let digests = snapshots.members().map(|entry| {
                let digest: Sha256 = entry.value().get("sha256")?.as_str()?.parse().ok()?;
                Some((entry.key(), digest))
            });
            let digests: Vec<_> = digests.collect::<Option<_>>()?;
            let hash = canonical::inputs_hash(digests.iter().map(|(name, digest)| (name.as_ref(), digest)));
            Some(root.get("inputs_hash")?.as_str()? == hash.to_string())
        };
        computed() == Some(true)
    }

    /// Whether what was removed at the place stands unchanged at the place it was moved to. A place
    /// that has another value now is not excused: its name would say something else.
    fn was_moved(&self, d: &Difference<'_, '_>) -> bool {
        let removed = d.after.is_none();
        self.allowed.moved.iter().any(|(from, to)| {
            removed
                && d.at.starts_with(from)
                && match (self.before.at(from), self.after.at(to)) {
                    (Some(old), Some(new)) => old.same_value(&new),
                    _ => false,
                }
        })
    }

    fn keeps_text(&self, out: &mut Vec<Violation>) {
        use Invariant::KeepsText as Seven;
        for d in &self.differences {
            let declared = match d.after {
                Some(after) if d.before.is_none() => self.is_declared_addition(&d.at, after),
                _ => self.allowed.declared.iter().any(|pattern| pattern.covers(&d.at)),
            };
            if !declared {
                out.push(Self::violation(Seven, d, "changed, and no step declares it"));
            } else if d.before.is_some() && !(self.allowed.described)(&d.at) && !self.was_moved(d) {
                let problem = "is unknown to the source's schema, and was dropped or overwritten";
                out.push(Self::violation(Seven, d, problem));
            }
        }
    }

    /// Whether an added value is declared: itself, or, where it is an object made to hold declared
    /// members, each of its members.
    fn is_declared_addition(&self, at: &Pointer, node: Node<'_>) -> bool {
        self.allowed.declared.iter().any(|pattern| pattern.covers(at))
            || (node.kind() == Kind::Object
                && !node.is_empty()
                && node.members().all(|m| self.is_declared_addition(&at.child(m.key()), m.value())))
    }
}

/// The first text within a value that is a whole digest, as recorded ones are written.
fn find_digest(node: Node<'_>, at: Pointer) -> Option<Pointer> {
    match node.kind() {
        Kind::String => node.as_str().filter(|text| text.parse::<Sha256>().is_ok()).map(|_| at),
        Kind::Object => node.members().find_map(|m| find_digest(m.value(), at.child(m.key()))),
        Kind::Array => {
            node.elements().enumerate().find_map(|(i, element)| find_digest(element, at.child(i.to_string())))
        }
        _ => None,
    }
}

/// Snapshots listed where none were recorded have to be files that are there.
fn backfilled_snapshots(added: Node<'_>, files: Option<Files<'_>>, out: &mut Vec<Violation>) {
    let known = files.map_or(&[][..], |files| files.after);
    if added.kind() != Kind::Object {
        return;
    }
    for entry in added.members() {
        let (path, digest) = (entry.value().get("path"), entry.value().get("sha256"));
        let size = entry.value().get("bytes").and_then(|node| node.as_u64());
        let confirmed = known.iter().any(|file| {
            path.and_then(|node| node.as_str()).as_deref() == Some(file.path.as_str())
                && digest.and_then(|node| node.as_str()).as_deref() == Some(&file.sha256.to_string())
                && size == Some(file.bytes)
        });
        if !confirmed {
            out.push(Violation {
                invariant: Invariant::InputSnapshots,
                at: pointer("input_snapshots").child(entry.key()),
                problem: "was backfilled with what is no file of the run",
                before: None,
                after: Some(entry.value().raw().to_owned()),
            });
        }
    }
}
