//! Audit entries: one event each, canonical JSON, hashed as the bytes written (`store-layout.md`,
//! "Audit entries"). An entry holds digests, ids and versions only: never content, free text or a
//! person's data. `job_id` is the one name in it, which is why names of persons do not belong there.

use super::{RecordError, from_canonical, to_canonical};
use crate::base::clock::Moment;
use crate::base::digest::Sha256;
use crate::base::id::{JobId, OperationId, RunId, RunKey};
use crate::base::limits;

const WHAT: &str = "audit entry";

/// What an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A run was recorded.
    Recorded,
    /// An existing run came under the store.
    Adopted,
    /// A manifest was rewritten by a pack's migrations.
    Migrated,
    /// A manifest went back to an earlier revision.
    RolledBack,
    /// Files of a run were put back from the objects; the run's state is what it was.
    Restored,
    /// Something the store found or did on its own: a torn tail cut, a foreign file kept.
    Noted,
    /// A run was put on hold: nothing of it may be redacted or collected.
    Held,
    /// A hold ended.
    Released,
    /// An attempt that a hold forbids was refused.
    Refused,
    /// Bytes of a run were removed for good; their digests stay.
    Redacted,
    /// The store was verified, with this result.
    Verified,
    /// A person looked at a run and said what they found.
    Reviewed,
    /// A pack came into the store.
    PackInstalled,
    /// A key signs the log from here on.
    KeyAdded,
    /// A key is trusted up to a size of the log, and no further.
    KeyRetired,
    /// Documents outside the store are about to be changed.
    Intent,
    /// What became of an intent.
    Outcome,
    /// The root over all runs' last entries, as of the batch that it ends.
    RunMap,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Recorded,
        Self::Adopted,
        Self::Migrated,
        Self::RolledBack,
        Self::Restored,
        Self::Noted,
        Self::Held,
        Self::Released,
        Self::Refused,
        Self::Redacted,
        Self::Verified,
        Self::Reviewed,
        Self::PackInstalled,
        Self::KeyAdded,
        Self::KeyRetired,
        Self::Intent,
        Self::Outcome,
        Self::RunMap,
    ];

    /// The kind with that text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// The kind as it stands in an entry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Adopted => "adopted",
            Self::Migrated => "migrated",
            Self::RolledBack => "rolled-back",
            Self::Restored => "restored",
            Self::Noted => "noted",
            Self::Held => "held",
            Self::Released => "released",
            Self::Refused => "refused",
            Self::Redacted => "redacted",
            Self::Verified => "verified",
            Self::Reviewed => "reviewed",
            Self::PackInstalled => "pack-installed",
            Self::KeyAdded => "key-added",
            Self::KeyRetired => "key-retired",
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::RunMap => "run-map",
        }
    }
}

impl EntryKind {
    /// Whether an entry of this kind belongs to a run and tells of it without changing its manifest.
    fn leaves_the_manifest(self) -> bool {
        use EntryKind::{Held, Redacted, Refused, Released, Restored, Reviewed};
        matches!(self, Restored | Held | Released | Refused | Redacted | Reviewed)
    }
}

/// Which code decided a migration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackRef {
    /// The digest of its compiled steps.
    pub digest: Sha256,
    /// The pack's name.
    pub name: String,
    /// The pack's version.
    pub version: String,
}

/// The tree over all runs: each run's last entry and how many entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapRef {
    /// Its root.
    pub root: Sha256,
    /// How many runs it holds.
    pub runs: u64,
}

/// One event of the log. Members that do not belong to a kind are absent. They are declared in canonical
/// order, in which they are printed without a detour.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Digest of the salted actor record.
    pub actor: Sha256,
    /// Digest of the manifest's exact bytes after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Sha256>,
    /// For a further attempt: the run id of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_of: Option<RunId>,
    /// The batch within the operation, from 1.
    pub batch: u64,
    /// Digest of the manifest's exact bytes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Sha256>,
    /// Digest of what the entry tells in full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Sha256>,
    /// Digest of the list of findings that the run came in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<Sha256>,
    /// Digest of the run's file list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Sha256>,
    /// The schema version migrated from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The run's job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// Digest of the text of a verifier key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Sha256>,
    /// What happened.
    pub kind: EntryKind,
    /// The tree over all runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<MapRef>,
    /// The index of the `intent` entry that an outcome belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// The command's operation.
    pub operation: OperationId,
    /// How the recorded command ended: `succeeded` or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The pack that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackRef>,
    /// The schema versions passed, both ends included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Vec<String>>,
    /// Digest of a salted reason text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Sha256>,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The leaf hash of the run's previous entry; absent in its first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_prev: Option<Sha256>,
    /// The entry's place in the run's own chain, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_seq: Option<u64>,
    /// Digest of the salted record of what lies outside the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Sha256>,
    /// When, by the writer's clock. Order is by position, never by this.
    pub time: Moment,
    /// The schema version migrated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The log's size up to which a retired key's signatures count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_to: Option<u64>,
    v: u64,
}

impl Entry {
    /// An entry with nothing but its head.
    pub fn new(kind: EntryKind, time: Moment, actor: Sha256, operation: OperationId, batch: u64) -> Self {
        Self {
            v: 1,
            kind,
            time,
            actor,
            operation,
            batch,
            job_id: None,
            run_id: None,
            run_seq: None,
            run_prev: None,
            before: None,
            after: None,
            files: None,
            from: None,
            to: None,
            path: None,
            pack: None,
            reason: None,
            outcome: None,
            attempt_of: None,
            exceptions: None,
            detail: None,
            key: None,
            trusted_to: None,
            target: None,
            of: None,
            map: None,
        }
    }

    /// The run that the entry is about.
    pub fn run(&self) -> Option<RunKey> {
        Some(RunKey { job: self.job_id.clone()?, run: self.run_id.clone()? })
    }

    /// Digests of the blobs that the entry names; each must resolve.
    pub fn blobs(&self) -> impl Iterator<Item = Sha256> {
        // What an intent and its outcome say of the target's bytes is of bytes outside; those that are
        // replaced are kept all the same, and the plan in `detail` names them.
        let outside = matches!(self.kind, EntryKind::Intent | EntryKind::Outcome);
        let states = if outside { [None, None] } else { [self.before, self.after] };
        let rest =
            [Some(self.actor), self.files, self.reason, self.exceptions, self.detail, self.key, self.target];
        states.into_iter().chain(rest).flatten()
    }

    /// The bytes that are hashed and kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let bytes = to_canonical(self);
        if bytes.len() >= limits::ENTRY_BYTES {
            let why = format!("{} bytes, over the limit of {}", bytes.len(), limits::ENTRY_BYTES);
            return Err(RecordError::Inconsistent { what: WHAT, why });
        }
        Ok(bytes)
    }

    /// Reads an entry and checks that it says what its kind must say.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() >= limits::ENTRY_BYTES {
            let why = format!("{} bytes, over the limit of {}", bytes.len(), limits::ENTRY_BYTES);
            return Err(RecordError::Inconsistent { what: WHAT, why });
        }
        let entry: Self = from_canonical(WHAT, bytes)?;
        if entry.v != 1 {
            return Err(RecordError::Version { what: WHAT, found: entry.v, known: 1 });
        }
        let kind = entry.kind.as_str();
        if let Some(member) = entry.missing_member() {
            return Err(RecordError::Inconsistent {
                what: WHAT,
                why: format!("a {kind} entry without {member}"),
            });
        }
        if entry.kind.leaves_the_manifest() && entry.before != entry.after {
            let why = format!("a {kind} entry that changes the manifest");
            return Err(RecordError::Inconsistent { what: WHAT, why });
        }
        Ok(entry)
    }

    fn missing_member(&self) -> Option<&'static str> {
        let run = [
            ("job_id", self.job_id.is_some()),
            ("run_id", self.run_id.is_some()),
            ("run_seq", self.run_seq.is_some_and(|seq| seq >= 1)),
            ("run_prev", self.run_prev.is_some() || self.run_seq == Some(1)),
            ("after", self.after.is_some()),
            ("files", self.files.is_some()),
        ];
        let change = [("before", self.before.is_some())];
        let first = |lists: &[&[(&'static str, bool)]]| {
            let missing = lists.iter().flat_map(|list| list.iter()).find(|(_, there)| !there);
            missing.map(|(member, _)| *member)
        };
        match self.kind {
            EntryKind::Recorded | EntryKind::Adopted => first(&[&run]),
            EntryKind::Migrated => {
                let route = [
                    ("from", self.from.is_some()),
                    ("to", self.to.is_some()),
                    ("path", self.path.is_some()),
                    ("pack", self.pack.is_some()),
                ];
                first(&[&run, &change, &route])
            }
            EntryKind::RolledBack
            | EntryKind::Restored
            | EntryKind::Held
            | EntryKind::Released
            | EntryKind::Redacted => first(&[&run, &change]),
            EntryKind::Refused => first(&[&run, &change, &[("detail", self.detail.is_some())]]),
            EntryKind::Reviewed => first(&[&run, &change, &[("outcome", self.outcome.is_some())]]),
            EntryKind::Noted => first(&[&[("detail", self.detail.is_some())]]),
            EntryKind::Verified => {
                first(&[&[("detail", self.detail.is_some()), ("outcome", self.outcome.is_some())]])
            }
            EntryKind::PackInstalled => {
                first(&[&[("pack", self.pack.is_some()), ("files", self.files.is_some())]])
            }
            EntryKind::KeyAdded => first(&[&[("key", self.key.is_some())]]),
            EntryKind::KeyRetired => {
                first(&[&[("key", self.key.is_some()), ("trusted_to", self.trusted_to.is_some())]])
            }
            EntryKind::Intent => first(&[&[
                ("target", self.target.is_some()),
                ("detail", self.detail.is_some()),
                ("pack", self.pack.is_some()),
            ]]),
            EntryKind::Outcome => first(&[&[("of", self.of.is_some()), ("outcome", self.outcome.is_some())]]),
            EntryKind::RunMap => first(&[&[("map", self.map.is_some())]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let mut entry = Entry::new(
            EntryKind::Recorded,
            Moment::from_millis(0),
            Sha256::of(b"actor"),
            OperationId::new(1, [2; 10]),
            1,
        );
        entry.job_id = Some("job".parse().unwrap());
        entry.run_id = Some("run".parse().unwrap());
        entry.run_seq = Some(1);
        entry.after = Some(Sha256::of(b"m"));
        entry.files = Some(Sha256::of(b"f"));
        entry
    }

    #[test]
    fn entry_round_trips_in_canonical_form() {
        let bytes = entry().to_bytes().unwrap();
        assert_eq!(Entry::parse(&bytes).unwrap(), entry());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("{\"actor\":\"sha256:"), "{text}");
    }

    #[test]
    fn entry_with_every_member_is_declared_in_canonical_order() {
        let mut entry = entry();
        let digest = Some(Sha256::of(b"x"));
        (entry.run_prev, entry.before, entry.reason, entry.exceptions) = (digest, digest, digest, digest);
        (entry.detail, entry.key, entry.target) = (digest, digest, digest);
        (entry.trusted_to, entry.of, entry.attempt_of) = (Some(1), Some(2), entry.run_id.clone());
        (entry.from, entry.to, entry.outcome) = (Some("1".into()), Some("2\n".into()), Some("ok".into()));
        entry.path = Some(vec!["1".into(), "2".into()]);
        let digest = Sha256::of(b"x");
        entry.pack = Some(PackRef { name: "n".into(), version: "v".into(), digest });
        entry.map = Some(MapRef { root: digest, runs: 1 });
        let value = serde_json::to_value(&entry).unwrap();
        let members = value.as_object().unwrap();
        assert_eq!(members.len(), 27, "a member is not in this test");
        let tree = crate::base::canonical::rfc8785(&value).unwrap();
        assert_eq!(crate::base::canonical::rfc8785_direct(&entry), Some(tree));
    }

    #[test]
    fn entry_over_the_limit_is_refused_by_its_number() {
        let error = Entry::parse(&vec![b' '; limits::ENTRY_BYTES]).unwrap_err().to_string();
        assert!(error.contains("over the limit of 16384"), "{error}");
    }

    #[test]
    fn entry_with_other_spacing_or_members_is_refused() {
        let text = String::from_utf8(entry().to_bytes().unwrap()).unwrap();
        let spaced = text.replacen(':', ": ", 1);
        assert!(matches!(Entry::parse(spaced.as_bytes()), Err(RecordError::NotCanonical { .. })));
        let more = text.replacen("\"batch\":1", "\"batch\":1,\"bonus\":2", 1);
        assert!(matches!(Entry::parse(more.as_bytes()), Err(RecordError::Json { .. })));
        let newer = text.replacen("\"v\":1", "\"v\":2", 1);
        assert!(matches!(Entry::parse(newer.as_bytes()), Err(RecordError::Version { found: 2, .. })));
    }

    #[test]
    fn entry_without_what_its_kind_needs_is_refused() {
        let mut bare = entry();
        bare.files = None;
        assert!(Entry::parse(&to_canonical(&bare)).is_err());
        let mut migrated = entry();
        migrated.kind = EntryKind::Migrated;
        assert!(Entry::parse(&to_canonical(&migrated)).is_err());
        let mut second = entry();
        second.run_seq = Some(2);
        assert!(Entry::parse(&to_canonical(&second)).is_err());
    }

    #[test]
    fn entry_that_only_tells_of_a_run_cannot_change_its_manifest() {
        let mut held = entry();
        held.kind = EntryKind::Held;
        held.run_seq = Some(2);
        held.run_prev = Some(Sha256::of(b"leaf"));
        held.before = held.after;
        assert_eq!(Entry::parse(&held.to_bytes().unwrap()).unwrap(), held);
        held.before = Some(Sha256::of(b"other"));
        assert!(matches!(Entry::parse(&to_canonical(&held)), Err(RecordError::Inconsistent { .. })));
    }
}
