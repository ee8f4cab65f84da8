//! Replaying the log gives the one state that the disk must show (`store-layout.md`, "Replay").

use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::base::tag::{Tag, TagKey};
use crate::format::RecordError;
use crate::format::entry::{Entry, EntryKind};
use crate::merkle::prefix::{MapKey, MapLeaf, RunTree};
use crate::merkle::{self, Hash};

/// What the log says of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    /// The number of its entries.
    pub seq: u64,
    /// The log index of the last one.
    pub entry: u64,
    /// The leaf hash of the last one.
    pub leaf: Sha256,
    /// The digest that its manifest must have.
    pub manifest: Sha256,
    /// The digest of its file list.
    pub files: Sha256,
    /// The findings that it came in with.
    pub exceptions: Option<Sha256>,
}

/// Why an entry does not continue the log.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The bytes are no entry.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The first entry of a run is not one that brings it in.
    #[error("the run's first entry is {kind:?}, which does not bring a run in")]
    NoBeginning {
        /// Its kind.
        kind: EntryKind,
    },
    /// A run is brought in twice.
    #[error("the run is brought in a second time")]
    SecondBeginning,
    /// The run's own numbering has a gap.
    #[error("run_seq is {found}, {expected} follows")]
    Sequence {
        /// The number in the entry.
        found: u64,
        /// The number that follows.
        expected: u64,
    },
    /// The entry names another predecessor.
    #[error("run_prev is {found:?}, the run's previous entry is {expected}")]
    Predecessor {
        /// The leaf hash in the entry.
        found: Option<Sha256>,
        /// The leaf hash of the previous entry.
        expected: Sha256,
    },
    /// The change starts from another manifest than the last one left.
    #[error("the entry changes {found:?}, the run's manifest is {expected}")]
    Before {
        /// The digest in the entry.
        found: Option<Sha256>,
        /// The run's manifest.
        expected: Sha256,
    },
    /// The file list changed, which no entry may do.
    #[error("the entry's file list is {found:?}, the run's is {expected}")]
    Files {
        /// The digest in the entry.
        found: Option<Sha256>,
        /// The run's file list.
        expected: Sha256,
    },
}

/// The leaf hash of an entry, as the log's tree has it.
pub fn leaf(entry: &[u8]) -> Sha256 {
    Sha256::from_bytes(*merkle::leaf_hash(entry).as_bytes())
}

/// Computes a run's state after an entry.
pub fn step(
    state: Option<&RunState>,
    index: u64,
    entry: &Entry,
    leaf: Sha256,
) -> Result<RunState, ChainError> {
    let seq = entry.run_seq.unwrap_or(0);
    let brings_in = matches!(entry.kind, EntryKind::Recorded | EntryKind::Adopted);
    let Some(state) = state else {
        if !brings_in {
            return Err(ChainError::NoBeginning { kind: entry.kind });
        }
        if seq != 1 {
            return Err(ChainError::Sequence { found: seq, expected: 1 });
        }
        return Ok(after(entry, index, leaf));
    };
    if brings_in {
        return Err(ChainError::SecondBeginning);
    }
    if seq != state.seq + 1 {
        return Err(ChainError::Sequence { found: seq, expected: state.seq + 1 });
    }
    if entry.run_prev != Some(state.leaf) {
        return Err(ChainError::Predecessor { found: entry.run_prev, expected: state.leaf });
    }
    if entry.before != Some(state.manifest) {
        return Err(ChainError::Before { found: entry.before, expected: state.manifest });
    }
    if entry.files != Some(state.files) {
        return Err(ChainError::Files { found: entry.files, expected: state.files });
    }
    Ok(RunState { exceptions: state.exceptions, ..after(entry, index, leaf) })
}

/// The run map's key of a run.
pub fn map_key(run: &RunKey) -> MapKey {
    MapKey::of(&run.to_string())
}

/// An index of the log in five bytes, which is more entries than the bytes of them could be held of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place([u8; 5]);

impl Place {
    const NONE: Self = Self([0xff; 5]);

    fn of(index: u64) -> Self {
        let [a, b, c, d, e, ..] = index.to_le_bytes();
        Self([a, b, c, d, e])
    }

    fn index(self) -> Option<u64> {
        let [a, b, c, d, e] = self.0;
        (self != Self::NONE).then_some(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

/// What is held of each entry.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The same run's entry before.
    before: Place,
    role: Role,
}

/// What an entry is to its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing: it is of no run, or does not follow.
    None,
    /// The run's newest.
    Newest,
    /// The run's newest, and a migration.
    NewestMigrated,
    /// One that others followed.
    Older,
    /// A migration that others followed.
    OlderMigrated,
}

/// What is held of each run beside its leaf in the run map.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Its last entry.
    entry: Place,
    /// Its manifest and its file list.
    tag: Tag,
}

/// The log replayed entry by entry. Little is held of each run and each entry, so that a log of millions
/// fits into memory: the rest is read again from the entry itself.
#[derive(Debug)]
pub struct Replay {
    map: RunTree,
    /// By the number of the run's leaf.
    rows: Vec<Row>,
    /// By index.
    steps: Vec<Step>,
    tags: TagKey,
}

/// An entry that does not continue the log: its run, where it names one, and why.
pub type Broken = (Option<RunKey>, ChainError);

impl Replay {
    /// Before the first entry.
    pub fn new(tags: TagKey) -> Self {
        Self { map: RunTree::new(), rows: Vec::new(), steps: Vec::new(), tags }
    }

    /// Takes in the next entry's bytes and leaf hash. After an error the run keeps its state and the
    /// replay can go on, so that one broken entry does not hide the rest. `again` reads the entry of an
    /// index and a leaf hash once more: one that others do not follow must say what should follow it.
    ///
    /// # Errors
    /// Those of `again`.
    pub fn take<E>(
        &mut self,
        bytes: &[u8],
        leaf: Sha256,
        again: impl FnOnce(u64, &Sha256) -> Result<Entry, E>,
    ) -> Result<Result<Entry, Broken>, E> {
        let index = self.steps.len() as u64;
        self.steps.push(Step { before: Place::NONE, role: Role::None });
        let entry = match Entry::parse(bytes) {
            Ok(entry) => entry,
            Err(error) => return Ok(Err((None, error.into()))),
        };
        let (Some(job), Some(run)) = (&entry.job_id, &entry.run_id) else { return Ok(Ok(entry)) };
        let key = MapKey::of(&format!("{job}/{run}"));
        let known = self.map.find(&key);
        let state = match known {
            Some(number) => Some(self.state(number, &entry, again)?),
            None => None,
        };
        let next = match step(state.as_ref(), index, &entry, leaf) {
            Ok(next) => next,
            Err(error) => return Ok(Err((entry.run(), error))),
        };
        let last = Hash::from_bytes(*leaf.as_bytes());
        self.map.set(MapLeaf { key, last, count: next.seq });
        let row = Row { entry: Place::of(index), tag: self.tags.of_two(&next.manifest, &next.files) };
        let before = known.map(|number| std::mem::replace(&mut self.rows[number], row).entry);
        match before.and_then(Place::index) {
            None => self.rows.push(row),
            Some(before) => self.steps[before as usize].role.follow(),
        }
        let migrated = entry.kind == EntryKind::Migrated;
        let role = if migrated { Role::NewestMigrated } else { Role::Newest };
        self.steps[index as usize] = Step { before: before.unwrap_or(Place::NONE), role };
        Ok(Ok(entry))
    }

    /// The state of a run as an entry must find it.
    fn state<E>(
        &self,
        number: usize,
        entry: &Entry,
        again: impl FnOnce(u64, &Sha256) -> Result<Entry, E>,
    ) -> Result<RunState, E> {
        let (leaf, row) = (&self.map.leaves()[number], &self.rows[number]);
        let at = row.entry.index().unwrap_or_default();
        let last = Sha256::from_bytes(*leaf.last.as_bytes());
        let fits = |(before, files): &(Sha256, Sha256)| self.tags.of_two(before, files) == row.tag;
        match entry.before.zip(entry.files).filter(fits) {
            Some((manifest, files)) => {
                Ok(RunState { seq: leaf.count, entry: at, leaf: last, manifest, files, exceptions: None })
            }
            None => Ok(after(&again(at, &last)?, at, last)),
        }
    }

    /// The run map's root and number of runs.
    pub fn map_root(&mut self) -> (Sha256, u64) {
        (Sha256::from_bytes(*self.map.root().as_bytes()), self.map.runs())
    }

    /// The run map's leaves, in order of their keys.
    pub fn into_leaves(self) -> Vec<MapLeaf> {
        let mut leaves = self.map.into_leaves();
        leaves.sort_unstable_by_key(|leaf| leaf.key);
        leaves
    }

    /// How many runs there are.
    pub fn runs(&self) -> u64 {
        self.map.runs()
    }

    /// The index and leaf hash of a run's last entry.
    pub fn newest(&self, run: &RunKey) -> Option<(u64, Sha256)> {
        let number = self.map.find(&map_key(run))?;
        let leaf = &self.map.leaves()[number];
        Some((self.rows[number].entry.index()?, Sha256::from_bytes(*leaf.last.as_bytes())))
    }

    /// Whether an entry is the last one of its run.
    pub fn is_newest(&self, index: u64) -> bool {
        self.role(index).is_some_and(|role| matches!(role, Role::Newest | Role::NewestMigrated))
    }

    /// Whether an entry is a migration of its run.
    pub fn is_migrated(&self, index: u64) -> bool {
        self.role(index).is_some_and(|role| matches!(role, Role::OlderMigrated | Role::NewestMigrated))
    }

    fn role(&self, index: u64) -> Option<Role> {
        self.steps.get(usize::try_from(index).ok()?).map(|step| step.role)
    }

    /// An entry's index and those of its run before it, back to the first.
    pub fn back_from(&self, index: u64) -> impl Iterator<Item = u64> + '_ {
        let before = |at: &u64| self.steps.get(usize::try_from(*at).ok()?)?.before.index();
        std::iter::successors(Some(index), before)
    }
}

impl Role {
    fn follow(&mut self) {
        *self = match *self {
            Self::NewestMigrated => Self::OlderMigrated,
            Self::Newest => Self::Older,
            other => other,
        };
    }
}

/// What an entry that follows the ones before leaves of its run. Of the findings that the run came in with
/// only its first entry tells.
pub fn after(entry: &Entry, index: u64, leaf: Sha256) -> RunState {
    RunState {
        seq: entry.run_seq.expect("parsing insists on it for entries of runs"),
        entry: index,
        leaf,
        manifest: entry.after.expect("parsing insists on it for entries of runs"),
        files: entry.files.expect("parsing insists on it for entries of runs"),
        exceptions: entry.exceptions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;
    use crate::base::id::OperationId;
    use crate::format::entry::PackRef;

    /// The second entry of a run, which puts revision `b` in place of `a`.
    fn second() -> Entry {
        let operation = OperationId::new(1, [2; 10]);
        let mut entry =
            Entry::new(EntryKind::RolledBack, Moment::from_millis(0), Sha256::of(b"actor"), operation, 1);
        entry.job_id = Some("job".parse().unwrap());
        entry.run_id = Some("run".parse().unwrap());
        entry.run_seq = Some(2);
        entry.run_prev = Some(Sha256::of(b"leaf"));
        entry.before = Some(Sha256::of(b"a"));
        entry.after = Some(Sha256::of(b"b"));
        entry.files = Some(Sha256::of(b"files"));
        entry
    }

    fn changed(mut entry: Entry, change: impl FnOnce(&mut Entry)) -> Entry {
        change(&mut entry);
        entry
    }

    fn first(kind: EntryKind) -> Entry {
        changed(second(), |entry| {
            (entry.kind, entry.run_seq, entry.run_prev) = (kind, Some(1), None);
            (entry.before, entry.after) = (None, Some(Sha256::of(b"a")));
        })
    }

    fn state() -> RunState {
        let manifest = Sha256::of(b"a");
        let (leaf, files, exceptions) = (Sha256::of(b"leaf"), Sha256::of(b"files"), None);
        RunState { seq: 1, entry: 7, leaf, manifest, files, exceptions }
    }

    #[test]
    fn step_that_follows_gives_the_next_state() {
        let leaf = Sha256::of(b"next");
        let known = RunState { exceptions: Some(Sha256::of(b"x")), ..state() };
        let next = RunState { seq: 2, entry: 9, leaf, manifest: Sha256::of(b"b"), ..known.clone() };
        assert_eq!(step(Some(&known), 9, &second(), leaf).unwrap(), next);
        for kind in [EntryKind::Recorded, EntryKind::Adopted] {
            let next = step(None, 7, &first(kind), Sha256::of(b"leaf")).unwrap();
            assert_eq!(next, state());
        }
    }

    #[test]
    fn step_that_does_not_follow_is_refused_for_its_reason() {
        let leaf = Sha256::of(b"next");
        let on = |change: &dyn Fn(&mut Entry)| {
            let mut entry = second();
            change(&mut entry);
            step(Some(&state()), 9, &entry, leaf).unwrap_err()
        };
        for seq in [None, Some(0), Some(1), Some(3)] {
            let error = on(&|entry| entry.run_seq = seq);
            let ChainError::Sequence { found, expected: 2 } = error else { panic!("{error}") };
            assert_eq!(found, seq.unwrap_or(0));
        }
        for other in [None, Some(Sha256::of(b"other"))] {
            assert!(matches!(on(&|entry| entry.run_prev = other), ChainError::Predecessor { .. }));
            assert!(matches!(on(&|entry| entry.before = other), ChainError::Before { .. }));
            assert!(matches!(on(&|entry| entry.files = other), ChainError::Files { .. }));
        }
        for kind in [EntryKind::Recorded, EntryKind::Adopted] {
            assert!(matches!(on(&|entry| entry.kind = kind), ChainError::SecondBeginning));
        }
        let begins = |entry: &Entry| step(None, 9, entry, leaf).unwrap_err();
        assert!(matches!(begins(&second()), ChainError::NoBeginning { kind: EntryKind::RolledBack }));
        for seq in [None, Some(0), Some(2)] {
            let error = begins(&changed(first(EntryKind::Adopted), |entry| entry.run_seq = seq));
            assert!(matches!(error, ChainError::Sequence { expected: 1, .. }), "{error}");
        }
    }

    /// A log in memory, and a replay of it.
    struct Log(Vec<Vec<u8>>, Replay);

    impl Log {
        fn new() -> Self {
            Self(Vec::new(), Replay::new(TagKey::new([[7; 16]; 2])))
        }

        fn take(&mut self, bytes: &[u8]) -> Result<Entry, Broken> {
            self.0.push(bytes.to_vec());
            let again = |at: u64, known: &Sha256| {
                let bytes = &self.0[at as usize];
                assert_eq!(leaf(bytes), *known);
                Entry::parse(bytes)
            };
            self.1.take(bytes, leaf(bytes), again).unwrap()
        }
    }

    #[test]
    fn replay_keeps_a_run_s_state_when_an_entry_does_not_follow() {
        let mut log = Log::new();
        let bytes = first(EntryKind::Adopted).to_bytes().unwrap();
        let key = log.take(&bytes).unwrap().run().unwrap();
        let (of, error) = log.take(&second().to_bytes().unwrap()).unwrap_err();
        assert!(of == Some(key.clone()) && matches!(error, ChainError::Predecessor { .. }), "{error}");
        let next = changed(second(), |entry| entry.run_prev = Some(leaf(&bytes)));
        // Each is told of with what was there, which is read again for it.
        let other = changed(next.clone(), |entry| entry.before = Some(Sha256::of(b"other")));
        let (_, error) = log.take(&other.to_bytes().unwrap()).unwrap_err();
        let ChainError::Before { expected, .. } = error else { panic!("{error}") };
        assert_eq!(expected, Sha256::of(b"a"));
        let other = changed(next.clone(), |entry| entry.files = Some(Sha256::of(b"other")));
        let (_, error) = log.take(&other.to_bytes().unwrap()).unwrap_err();
        let ChainError::Files { expected, .. } = error else { panic!("{error}") };
        assert_eq!(expected, Sha256::of(b"files"));
        let next = next.to_bytes().unwrap();
        log.take(&next).unwrap();
        assert!(matches!(log.take(b"{}"), Err((None, ChainError::Record(_)))));
        let Log(_, replay) = log;
        assert_eq!((replay.runs(), replay.newest(&key)), (1, Some((4, leaf(&next)))));
        assert_eq!(replay.back_from(4).collect::<Vec<_>>(), [4, 0]);
        let newest: Vec<u64> = (0..9).filter(|at| replay.is_newest(*at)).collect();
        assert_eq!(newest, [4]);
        let leaves = replay.into_leaves();
        assert_eq!((leaves.len(), leaves[0].count), (1, 2));
    }

    #[test]
    fn replay_tells_migrations_whether_others_followed_or_not() {
        let mut log = Log::new();
        let mut bytes = first(EntryKind::Recorded).to_bytes().unwrap();
        log.take(&bytes).unwrap();
        for (seq, kind) in [(2, EntryKind::Migrated), (3, EntryKind::RolledBack), (4, EntryKind::Migrated)] {
            let (before, after) = if seq % 2 == 0 { (b"a", b"b") } else { (b"b", b"a") };
            let next = changed(second(), |entry| {
                (entry.kind, entry.run_seq, entry.run_prev) = (kind, Some(seq), Some(leaf(&bytes)));
                (entry.before, entry.after) = (Some(Sha256::of(before)), Some(Sha256::of(after)));
                (entry.from, entry.to) = (Some("1".to_owned()), Some("2".to_owned()));
                entry.path = Some(Vec::new());
                let (name, version) = ("pack".to_owned(), "1.0.0".to_owned());
                entry.pack = Some(PackRef { digest: Sha256::of(b"pack"), name, version });
            });
            bytes = next.to_bytes().unwrap();
            log.take(&bytes).unwrap();
        }
        let replay = &log.1;
        assert_eq!(replay.back_from(3).collect::<Vec<_>>(), [3, 2, 1, 0]);
        assert_eq!([0, 1, 2, 3].map(|at| replay.is_migrated(at)), [false, true, false, true]);
        assert_eq!([0, 1, 2, 3].map(|at| replay.is_newest(at)), [false, false, false, true]);
    }

    #[test]
    fn replay_ends_with_the_runs_in_the_order_of_the_map() {
        let mut log = Log::new();
        for number in 0..20 {
            let entry = changed(first(EntryKind::Adopted), |entry| {
                entry.run_id = Some(format!("run-{number}").parse().unwrap());
            });
            log.take(&entry.to_bytes().unwrap()).unwrap();
        }
        let leaves = log.1.into_leaves();
        assert_eq!(leaves.len(), 20);
        assert!(leaves.is_sorted_by(|a, b| a.key < b.key));
    }

    #[test]
    fn run_and_entry_take_few_bytes() {
        assert_eq!((size_of::<Row>(), size_of::<Step>()), (17, 6));
        for index in [0, 1, 255, 256, (1 << 40) - 2] {
            assert_eq!(Place::of(index).index(), Some(index));
        }
        assert_eq!(Place::NONE.index(), None);
    }
}
