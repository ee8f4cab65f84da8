//! Findings: what `verify` can say, each with a code that never changes its meaning
//! (`store-layout.md`, "Findings"). E is a finding, W a warning that leaves the exit code alone.

use std::fmt;

use super::{RecordError, from_canonical, known_version, to_canonical};
use crate::base::id::RunKey;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $title:literal, $advice:literal;)*) => {
        /// The code of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as printed: a letter and three digits.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $code,)* }
            }

            /// What is the case, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Code::$name => $advice,)* }
            }
        }
    };
}

codes! {
    ManifestMissing = "E101", "the run's manifest is missing", "strongroom restore puts it back";
    ManifestChanged = "E102", "the manifest differs from what the log holds",
        "strongroom restore puts the logged revision back and keeps the found bytes";
    ManifestUnreadable = "E103", "the manifest is not a strict JSON object",
        "strongroom restore puts the logged revision back";
    FileMissing = "E104", "a file or folder of the run is missing", "strongroom restore puts it back";
    FileChanged = "E105", "a file's bytes differ from the run's file list",
        "strongroom restore puts the recorded bytes back";
    FileExtra = "E106", "a file or folder that the run's file list does not have",
        "move it out of the run";
    NotRegular = "E107", "a link, device or other special file where a file or folder belongs",
        "remove it; strongroom restore puts the recorded file back";
    RunMissing = "E108", "the log has the run, the disk does not",
        "strongroom restore puts the whole run back";
    RunUnknown = "E109", "a run's folder that the log does not have",
        "strongroom adopt takes runs in; a folder put here by hand was never recorded";
    Stray = "E110", "something under artifacts/ that is neither a job nor a run", "move it out of the store";
    SnapshotMismatch = "E120", "an input snapshot is not the file that the manifest declares",
        "compare the file with its declaration; the log's file list says which bytes were recorded";
    OutputMismatch = "E121", "an output is not the file that the manifest declares",
        "compare the file with its declaration; the log's file list says which bytes were recorded";
    DeclaredMissing = "E122", "the manifest declares a file that is not there",
        "strongroom restore puts recorded files back";
    DeclaredPathBad = "E123", "the manifest declares a path that is not a path inside the run",
        "nothing is read or written there";
    InputsHashMismatch = "E130", "inputs_hash does not follow from the declared snapshots",
        "the snapshots or the hash were changed before the run came in";
    RunIdMismatch = "E131", "the manifest's run_id is not the folder's name",
        "the manifest belongs to another run";
    RunIdNotDerived = "E132", "run_id does not follow from inputs_hash",
        "the id or the hash was changed before the run came in";
    JobIdMismatch = "E133", "the manifest's job_id is not the folder's name",
        "the manifest belongs to another job";
    DoctrineMismatch = "E140", "the doctrine's content is not what the manifest records of it",
        "the doctrine snapshot or its digest is not the original";
    DoctrineUnproved = "E141", "the doctrine snapshot holds no content that its digest could be checked against",
        "nothing can be done afterwards; record doctrine with its content";
    PriorRunMissing = "E142", "the run builds on a run that is not in this store",
        "adopt the earlier run too";
    PriorOutputMismatch = "E143", "an output that the run builds on is not the earlier run's output",
        "the earlier run was produced anew, or changed";
    HistoryMismatch = "E150", "the last migration record's checksum does not recompute from the file",
        "the manifest was edited after its migration";
    HistoryNotInLog = "E151", "a migration record of the manifest is not in the log",
        "the record was written by hand";
    InvariantBroken = "E152", "a logged rewrite of the manifest breaks an invariant",
        "strongroom rollback puts the revision before it back";
    BlobMissing = "E160", "a digest that the log names resolves to nothing",
        "put the objects/ folder back from a backup";
    BlobDamaged = "E161", "a stored blob is not its digest",
        "put the objects/ folder back from a backup, or record or adopt the same bytes again";
    SegmentDamaged = "E162", "a segment has bytes that are no record",
        "put the segment back from a backup";
    EntryBad = "E170", "a log entry is not a canonical entry", "put audit/ back from a backup";
    ChainBroken = "E171", "a run's entries do not follow one another", "put audit/ back from a backup";
    BundleBad = "E172", "an entry bundle is missing or damaged", "put audit/ back from a backup";
    RootMismatch = "E173", "the log's entries do not give the recorded root",
        "an entry was changed, or audit/head was; compare with a backup";
    TileBad = "E174", "a tile is missing or does not follow from the entries",
        "strongroom reindex makes it anew from the entries";
    CheckpointBad = "E175", "a checkpoint is not this log's, or not signed as it must be",
        "compare the key with where it was pinned; somebody may have replaced key or checkpoint";
    CheckpointMismatch = "E176", "the log's entries do not give the root that its checkpoint signs",
        "the log was rewritten or cut after it was signed; put audit/ back from a backup";
    SinceMismatch = "E177", "the log does not begin with the tree of the checkpoint given",
        "the log was cut, rewritten or put back from an older copy; keep both checkpoints, they are the proof";
    NotAnchored = "E178", "no pinned key or checkpoint kept elsewhere vouches for a part of the log",
        "strongroom audit checkpoint publishes; --key and --since say what to trust";
    PackChanged = "E180", "a file of an installed pack is missing or not as installed",
        "strongroom pack install puts it back; migrations read the pack from the objects";
    PackStray = "E181", "something under packs/ that no installed pack has", "move it out of the store";
    KeyUnknown = "E182", "a file in audit/keys that is no key of the log",
        "nothing trusts it for lying there; find out who put it there, then remove it";
    KeyUnvouched = "E183", "a key entry that no key of the log vouches for",
        "somebody slipped it in, or took a key; trust no checkpoint that rests on it";
    KeyRetired = "E184", "a retired key signed a tree larger than it is trusted for",
        "whoever has that key signs with it still; trust no checkpoint that rests on it";
    PolicyUnmet = "E185", "no checkpoint of the log is cosigned as the policy asks",
        "strongroom audit anchor request asks the witnesses; without their word the log may have been rewritten";
    NotFresh = "E186", "what the policy's witnesses cosigned last is older than asked",
        "ask them again; a store put back from an older copy looks like this too";
    EntryTime = "E187", "an entry says a time at which, by its anchors, it was not written",
        "the entry was backdated or its clock was wrong; compare it with what was going on then";
    AnchorMismatch = "E188", "a kept anchor is not of this log's tree, or not what it says it is",
        "the log was cut, rewritten or put back from an older copy, or the anchor was changed; keep it, it may be the proof";
    BagForm = "E190", "the bundle is not a whole BagIt bag",
        "ask for the bundle anew; what is missing or unreadable here proves nothing";
    BagFile = "E191", "a file of the bundle is missing, or not what the bag's manifest says",
        "the file was changed, lost or cut on the way; ask for the bundle anew";
    BagExtra = "E192", "the bundle has something that nothing in it names",
        "it was put there afterwards, or hides something; look at it apart from the bundle";
    BundleCheckpoint = "E193", "the bundle's checkpoint is not signed by the key that was expected",
        "compare the key with where it was pinned; without a good checkpoint no entry is proved";
    NotProved = "E194", "an entry of the bundle is not proved to be in the log of its checkpoint",
        "the entry, its place or its proof was changed or is missing";
    RunNotWhole = "E195", "a run's entries in the bundle are not the whole row from the first on",
        "an entry was left out, added or moved; ask for the bundle anew";
    RevisionWrong = "E196", "a manifest in the bundle is not the one that the run's entries name",
        "the manifest was changed after it was logged, or is missing";
    FilesWrong = "E197", "a file of a run in the bundle is not the one that the logged file list names",
        "the file or the list was changed after it was logged, or is missing";
    StatementBad = "E198", "the bundle's statement is not signed, or not of these files",
        "files were changed, added or left out after it was signed, or somebody else signed";
    RecordWrong = "E199", "a record that an entry names (actor, reason, exceptions) is missing or changed",
        "the record was changed after it was logged, or is missing";
    RunMapMismatch = "E200", "a run-map entry is not the map of the runs in the log before it",
        "entries were changed, or a writer lied; compare with a backup and with checkpoints kept elsewhere";
    RunMapNodeBad = "E201", "the run map's nodes are missing or damaged",
        "strongroom reindex makes them anew from the log";
    IntentBad = "E205", "the record of a change outside the store cannot be read",
        "it was written by another program, or damaged; rollback cannot use it";
    OutcomeStray = "E206", "an outcome that ends no open change outside the store",
        "entries were changed, or a writer lied; compare with a backup";
    Unsettled = "W201", "a batch is committed and not yet settled",
        "any writing command finishes it";
    ShapeUnfit = "W202", "the manifest does not fit the shape that its version names",
        "strongroom versions tells what is missing";
    VersionUnknown = "W203", "the manifest's schema version is not one that the pack knows",
        "strongroom versions lists them";
    ModeChanged = "W204", "the file's execute permission differs from the file list", "chmod it back";
    Leftover = "W205", "a leftover of an interrupted command in tmp/", "the next writing command removes it";
    TornTail = "W206", "bytes of a segment or of the journal that were never committed",
        "nothing was lost; it was never committed";
    IntentOpen = "W207", "a change outside the store without an outcome: its command was interrupted",
        "the next writing command looks at the file and settles it";
    SignerUnknown = "W209", "who signed is not established",
        "--key names the public key that was pinned elsewhere";
    ClockBack = "W210", "an entry's time lies before that of the entry before it",
        "order in the log is by position; see to the clock of the machine that wrote it";
}

impl Code {
    /// Whether it leaves the exit code alone.
    pub fn is_warning(self) -> bool {
        self.as_str().starts_with('W')
    }

    /// The code with that text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown code {text:?}")))
    }
}

/// One result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// The run that it is about.
    pub run: Option<RunKey>,
    /// Where in the run, or in the store when there is no run.
    pub path: Option<String>,
    /// What should be there.
    pub expected: Option<String>,
    /// What is there.
    pub found: Option<String>,
    /// Whether the run came in with it: listed in its adoption entry.
    pub known: bool,
}

impl Finding {
    /// A finding about a run.
    pub fn of_run(code: Code, run: &RunKey) -> Self {
        Self { code, run: Some(run.clone()), path: None, expected: None, found: None, known: false }
    }

    /// A finding about the store.
    pub fn of_store(code: Code, path: impl Into<String>) -> Self {
        Self { code, run: None, path: Some(path.into()), expected: None, found: None, known: false }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Says what should be there.
    #[must_use]
    pub fn expected(mut self, what: impl ToString) -> Self {
        self.expected = Some(what.to_string());
        self
    }

    /// Says what is there.
    #[must_use]
    pub fn found(mut self, what: impl ToString) -> Self {
        self.found = Some(what.to_string());
        self
    }

    /// Whether it makes a check fail.
    pub fn is_failure(&self) -> bool {
        !self.known && !self.code.is_warning()
    }
}

/// A finding as an adoption entry's blob lists it: without the run, which the entry names.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The finding's code.
    pub code: Code,
    /// Where in the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What should be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl Exception {
    /// The exception that lists this finding.
    pub fn of(finding: &Finding) -> Self {
        Self {
            code: finding.code,
            path: finding.path.clone(),
            expected: finding.expected.clone(),
            found: finding.found.clone(),
        }
    }

    /// Whether it lists exactly this finding: same code, place, expectation and find. Anything that
    /// changed since is a finding of its own.
    pub fn covers(&self, finding: &Finding) -> bool {
        *self == Self::of(finding)
    }
}

const WHAT: &str = "list of exceptions";

/// The blob that an adoption entry's `exceptions` names.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    v: u64,
    /// What the run came in with.
    pub findings: Vec<Exception>,
}

impl Exceptions {
    /// The list of these findings.
    pub fn of(findings: &[Finding]) -> Self {
        Self { v: 1, findings: findings.iter().map(Exception::of).collect() }
    }

    /// The blob's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads the blob.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let list: Self = from_canonical(WHAT, bytes)?;
        known_version(WHAT, list.v).map(|()| list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_parse_back() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} is there twice");
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            assert!(!code.title().is_empty() && !code.advice().is_empty());
        }
    }

    #[test]
    fn exception_covers_only_the_very_finding_it_lists() {
        let key = RunKey { job: "j".parse().unwrap(), run: "r".parse().unwrap() };
        let finding = Finding::of_run(Code::FileChanged, &key).at("inputs/a").expected("x").found("y");
        let list = Exceptions::parse(&Exceptions::of(std::slice::from_ref(&finding)).to_bytes()).unwrap();
        assert!(list.findings[0].covers(&finding));
        assert!(!list.findings[0].covers(&finding.clone().found("z")));
        assert!(!list.findings[0].covers(&finding.at("inputs/b")));
    }
}
