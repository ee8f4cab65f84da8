//! The run map's nodes on the disk (`store-layout.md`, "The run map").
//!
//! Order: the nodes are durable before `audit/head` says where the top one lies. Nothing else refers to
//! them, so what an interrupted command left is never read. Each record is checked against the hash that
//! leads to it; what does not fit is made anew from the log.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::log::LogView;
use super::{Store, StoreError};
use crate::backend::durable::{Appender, Disk, DiskError};
use crate::base::digest::Sha256;
use crate::base::id::RunKey;
use crate::format::entry::{Entry, EntryKind, MapRef};
use crate::format::finding::{Code, Finding};
use crate::format::head::{Head, RunMapRef};
use crate::format::paths;
use crate::merkle::Hash;
use crate::merkle::prefix::{
    LEAF_BYTES, Link, MapKey, MapLeaf, MapNode, MapPath, NODE_BYTES, NodeStore, RECORD_BYTES, build_map,
    lookup, map_root, update_map,
};
use crate::plan::replay::{self, Replay, map_key};

/// A file is written anew when it is larger than this and than [`DEAD`] times what the tree needs.
const SMALL: u64 = 1 << 20;
const DEAD: u64 = 3;
/// The most bytes that a copy of the whole tree holds. Few in unoptimized builds, so that tests come to that too.
const COPY_HOLDS: usize = if cfg!(debug_assertions) { 100 } else { 64 << 10 };
/// How much is read at once: records of one batch lie together, the sides before their node.
const WINDOW: u64 = 1024;

/// What the map says of a run whose newest entry this is; `None` for entries of no run.
pub(super) fn map_leaf(entry: &Entry, leaf: &Sha256) -> Option<MapLeaf> {
    let (run, count) = (entry.run()?, entry.run_seq?);
    Some(MapLeaf { key: map_key(&run), last: Hash::from_bytes(*leaf.as_bytes()), count })
}

/// The records of one file and those that are to be added to it.
struct Nodes {
    path: String,
    /// The file as it was opened; none for one that is still to be made.
    file: Option<File>,
    /// The file while records are added to it.
    out: Option<Appender>,
    end: u64,
    new: Vec<u8>,
    window: (u64, Vec<u8>),
}

impl Nodes {
    fn fresh(number: u64) -> Self {
        let path = paths::run_map(number);
        Self { path, file: None, out: None, end: 0, new: Vec::new(), window: (0, Vec::new()) }
    }

    /// The file that a head names; `None` where there is none.
    fn open(store: &Store, number: u64) -> Result<Option<Self>, StoreError> {
        let path = paths::run_map(number);
        let file = match store.disk.open_file(&path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() || error.is_not_regular() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Ok(end) = file.metadata().map(|meta| meta.len()) else { return Ok(None) };
        Ok(Some(Self { path, file: Some(file), out: None, end, new: Vec::new(), window: (0, Vec::new()) }))
    }

    /// Adds to the file what is held, which is not durable by that.
    fn spill(&mut self, disk: &Disk) -> Result<(), DiskError> {
        let out = match &mut self.out {
            Some(out) => out,
            none if self.file.is_some() => none.insert(disk.append_existing(&self.path)?),
            none => {
                for made in disk.mkdir_all(paths::RUN_MAP)? {
                    disk.sync_dir(made.rsplit_once('/').map_or("", |(parent, _)| parent))?;
                }
                disk.discard(&self.path)?;
                none.insert(disk.append_new(&self.path)?)
            }
        };
        out.write_at_end(&self.new)?;
        self.end += self.new.len() as u64;
        self.new.clear();
        Ok(())
    }

    /// Makes durable what was put in since it was opened; says whether that was anything.
    fn make_durable(&mut self, disk: &Disk) -> Result<bool, DiskError> {
        if !self.new.is_empty() {
            self.spill(disk)?;
        }
        let Some(mut out) = self.out.take() else { return Ok(false) };
        out.sync()?;
        if self.file.is_none() {
            disk.sync_dir(paths::RUN_MAP)?;
        }
        Ok(true)
    }

    fn record(&mut self, at: u64) -> Option<MapNode> {
        if at >= self.end {
            return MapNode::read(self.new.get(usize::try_from(at - self.end).ok()?..)?);
        }
        let wanted = (self.end - at).min(RECORD_BYTES as u64);
        let inside =
            |(start, bytes): &(u64, Vec<u8>)| *start <= at && at + wanted <= *start + bytes.len() as u64;
        if !inside(&self.window) {
            let start = at.saturating_sub(WINDOW);
            let mut bytes = vec![0; usize::try_from(at + wanted - start).ok()?];
            let file = self.out.as_ref().map(Appender::file).or(self.file.as_ref())?;
            file.read_exact_at(&mut bytes, start).ok()?;
            self.window = (start, bytes);
        }
        MapNode::read(&self.window.1[usize::try_from(at - self.window.0).ok()?..])
    }
}

impl NodeStore for Nodes {
    type Error = StoreError;

    fn read(&mut self, link: &Link) -> Result<MapNode, StoreError> {
        let node = self.record(link.at).filter(|node| node.hash() == link.hash);
        node.ok_or_else(|| self.misplaced(link))
    }

    fn misplaced(&self, link: &Link) -> StoreError {
        StoreError::LogDamaged {
            place: format!("{} byte {}", self.path, link.at),
            why: "no node of the run map lies there, or another".to_owned(),
        }
    }

    fn put(&mut self, node: &MapNode) -> u64 {
        let at = self.end + self.new.len() as u64;
        node.write(&mut self.new);
        at
    }
}

/// The run map as the holder of the store lock carries it on.
pub(super) struct RunMap {
    nodes: Nodes,
    number: u64,
    top: Option<Link>,
    runs: u64,
    /// The index of the newest `run-map` entry, if the map is as that says.
    entry: Option<u64>,
    /// How many entries it is of.
    pub size: u64,
    /// Everything put in since it was opened.
    changes: BTreeMap<MapKey, MapLeaf>,
    base: Head,
}

impl RunMap {
    /// The map of a settled log.
    pub fn open(store: &Store, head: &Head) -> Result<Self, StoreError> {
        let empty = |number| Self {
            nodes: Nodes::fresh(number),
            number,
            top: None,
            runs: 0,
            entry: None,
            size: head.size,
            changes: BTreeMap::new(),
            base: head.clone(),
        };
        let Some(known) = head.runs else {
            let mut map = empty(0);
            map.rebuild(store)?;
            return Ok(map);
        };
        let mut map = Self { runs: known.runs, entry: Some(known.entry), ..empty(known.file) };
        match Nodes::open(store, known.file)? {
            Some(nodes) => {
                map.nodes = nodes;
                let hash = Hash::from_bytes(*known.root.as_bytes());
                map.top = (known.runs > 0).then_some(Link { hash, at: known.at });
            }
            None => map.rebuild(store)?,
        }
        Ok(map)
    }

    /// The map of a settled log, without a look at what is kept of it.
    pub fn from_log(store: &Store, head: &Head) -> Result<Self, StoreError> {
        let mut head = head.clone();
        head.runs = None;
        let mut map = Self::open(store, &head)?;
        map.entry = store
            .newest_run_map(&LogView { head: head.clone(), pending: Vec::new(), torn: None }, head.size)?;
        Ok(map)
    }

    /// Makes it anew from the log, in a file of its own.
    fn rebuild(&mut self, store: &Store) -> Result<(), StoreError> {
        let view = LogView { head: self.base.clone(), pending: Vec::new(), torn: None };
        let mut leaves: BTreeMap<MapKey, MapLeaf> = BTreeMap::new();
        store.each_entry(&view, 0, &mut |_, bytes| {
            // An entry that cannot be read is for verify to report; it stops nobody from writing.
            let leaf = Entry::parse(bytes).ok().and_then(|entry| map_leaf(&entry, &replay::leaf(bytes)));
            leaves.extend(leaf.map(|leaf| (leaf.key, leaf)));
            Ok(())
        })?;
        leaves.extend(&self.changes);
        let leaves: Vec<MapLeaf> = leaves.into_values().collect();
        self.number = store.next_run_map_file(self.number)?;
        self.nodes = Nodes::fresh(self.number);
        self.runs = leaves.len() as u64;
        self.top = build_map(&mut self.nodes, &leaves);
        Ok(())
    }

    /// Takes in the next entries of the log; gives what their `run-map` entry is to say, if they change
    /// any run.
    pub fn apply<'a>(
        &mut self,
        store: &Store,
        entries: impl IntoIterator<Item = (&'a Entry, &'a [u8])>,
    ) -> Result<Option<MapRef>, StoreError> {
        let mut changes = BTreeMap::new();
        for (entry, bytes) in entries {
            if entry.kind == EntryKind::RunMap {
                self.entry = Some(self.size);
            } else if let Some(leaf) = map_leaf(entry, &replay::leaf(bytes)) {
                self.entry = None;
                self.runs += u64::from(leaf.count == 1);
                changes.insert(leaf.key, leaf);
            }
            self.size += 1;
        }
        if changes.is_empty() {
            return Ok(None);
        }
        self.changes.extend(&changes);
        let changes: Vec<MapLeaf> = changes.into_values().collect();
        match update_map(&mut self.nodes, self.top, &changes) {
            Ok(top) => self.top = top,
            Err(StoreError::LogDamaged { .. }) => self.rebuild(store)?,
            Err(error) => return Err(error),
        }
        Ok(Some(self.reference()))
    }

    /// What a `run-map` entry is to say.
    pub fn reference(&self) -> MapRef {
        let root = map_root(self.top.as_ref());
        MapRef { root: Sha256::from_bytes(*root.as_bytes()), runs: self.runs }
    }

    /// Makes its nodes durable; gives what the head is to say of it.
    pub fn write(&mut self, store: &Store) -> Result<Option<RunMapRef>, StoreError> {
        let (Some(entry), Some(mut top)) = (self.entry, self.top) else { return Ok(None) };
        let needed = self.runs * (LEAF_BYTES + NODE_BYTES) as u64;
        let len = self.nodes.end + self.nodes.new.len() as u64;
        if self.nodes.file.is_some() && len > SMALL.max(DEAD * needed) {
            let number = store.next_run_map_file(self.number)?;
            match copy_live(&store.disk, &mut self.nodes, top, Nodes::fresh(number)) {
                Ok(copied) => {
                    self.number = number;
                    (self.nodes, top) = copied;
                }
                Err(StoreError::LogDamaged { .. }) => {
                    self.rebuild(store)?;
                    top = self.top.unwrap_or(top);
                }
                Err(error) => return Err(error),
            }
            self.top = Some(top);
        }
        if self.nodes.make_durable(&store.disk)? {
            let opened = Nodes::open(store, self.number)?;
            self.nodes = opened.ok_or_else(|| StoreError::LogDamaged {
                place: paths::run_map(self.number),
                why: "it is gone as soon as it was written".to_owned(),
            })?;
        }
        let MapRef { root, runs } = self.reference();
        Ok(Some(RunMapRef { file: self.number, at: top.at, root, runs, entry }))
    }

    /// A run's way through the map.
    pub fn lookup(&mut self, run: &RunKey) -> Result<MapPath, StoreError> {
        lookup(&mut self.nodes, self.top, &map_key(run))
    }
}

/// Copies a tree into a new file, its sides before each node.
fn copy_live(disk: &Disk, from: &mut Nodes, top: Link, mut to: Nodes) -> Result<(Nodes, Link), StoreError> {
    fn copy(
        disk: &Disk,
        from: &mut Nodes,
        to: &mut Nodes,
        link: Link,
        above: u16,
    ) -> Result<Link, StoreError> {
        let node = match from.read(&link)? {
            MapNode::Inner { bit, .. } if u16::from(bit) < above => return Err(from.misplaced(&link)),
            MapNode::Inner { bit, zero, one } => {
                let below = u16::from(bit) + 1;
                let (zero, one) = (copy(disk, from, to, zero, below)?, copy(disk, from, to, one, below)?);
                MapNode::Inner { bit, zero, one }
            }
            leaf => leaf,
        };
        let at = to.put(&node);
        if to.new.len() >= COPY_HOLDS {
            to.spill(disk)?;
        }
        Ok(Link { hash: link.hash, at })
    }
    let top = copy(disk, from, &mut to, top, 0)?;
    Ok((to, top))
}

impl Store {
    /// A number that no file of nodes has, above this one.
    fn next_run_map_file(&self, number: u64) -> Result<u64, StoreError> {
        Ok(self.run_map_files()?.into_iter().max().unwrap_or(0).max(number) + 1)
    }

    fn run_map_files(&self) -> Result<Vec<u64>, StoreError> {
        let entries = match self.disk.list(paths::RUN_MAP) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(entries.iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
    }

    /// Removes the files of nodes that the head no longer names. A failure leaves a file that nobody
    /// reads.
    pub(super) fn drop_run_maps(&self, head: &Head) {
        let current = head.runs.map(|runs| runs.file);
        for number in self.run_map_files().unwrap_or_default() {
            if Some(number) != current {
                let _ = self.disk.unlink(&paths::run_map(number));
            }
        }
    }

    /// Walks the whole map that the head names; says why it is not the tree with that root and number of
    /// runs.
    pub(super) fn walk_run_map(&self, known: &RunMapRef) -> Result<Option<String>, StoreError> {
        fn walk(nodes: &mut Nodes, link: &Link, from: u16) -> Result<u64, StoreError> {
            match nodes.read(link)? {
                MapNode::Leaf(_) => Ok(1),
                // A chain of any length would be more than the stack can take.
                MapNode::Inner { bit, .. } if u16::from(bit) < from => Err(nodes.misplaced(link)),
                MapNode::Inner { bit, zero, one } => {
                    let from = u16::from(bit) + 1;
                    Ok(walk(nodes, &one, from)? + walk(nodes, &zero, from)?)
                }
            }
        }
        let Some(mut nodes) = Nodes::open(self, known.file)? else {
            return Ok(Some("it is missing".to_owned()));
        };
        let top = Link { hash: Hash::from_bytes(*known.root.as_bytes()), at: known.at };
        match walk(&mut nodes, &top, 0) {
            Ok(runs) if runs == known.runs => Ok(None),
            Ok(runs) => Ok(Some(format!("it holds {runs} runs, and {} are recorded", known.runs))),
            Err(StoreError::LogDamaged { place, why }) => Ok(Some(format!("{place}: {why}"))),
            Err(error) => Err(error),
        }
    }

    /// A run's way through the map as the log's first `size` entries make it.
    pub(super) fn run_path_at(&self, view: &LogView, size: u64, run: &RunKey) -> Result<MapPath, StoreError> {
        let mut replayed = Replay::new(self.tag_key());
        let mut view = LogView { head: view.head.clone(), pending: Vec::new(), torn: None };
        view.head.size = size.min(view.head.size);
        self.each_entry(&view, 0, &mut |_, bytes| {
            // One that does not follow changes no run.
            let _ =
                replayed.take(bytes, replay::leaf(bytes), |at, leaf| self.entry_again(&view, at, leaf))?;
            Ok(())
        })?;
        let mut nodes = Nodes::fresh(0);
        let top = build_map(&mut nodes, &replayed.into_leaves());
        lookup(&mut nodes, top, &map_key(run))
    }
}

/// Holds every `run-map` entry of the log against the map that the entries before it make.
#[derive(Default)]
pub(super) struct MapCheck {
    /// The newest `run-map` entry.
    newest: Option<(u64, MapRef)>,
    /// The first entry of a run after it.
    uncovered: Option<u64>,
    findings: Vec<Finding>,
}

impl MapCheck {
    /// Takes in an entry that the replay took in.
    pub fn take(&mut self, index: u64, entry: &Entry, replayed: &mut Replay) {
        if let Some(stated) = entry.map.filter(|_| entry.kind == EntryKind::RunMap) {
            let (root, runs) = replayed.map_root();
            let computed = MapRef { root, runs };
            // One entry that was changed makes every later map another: the first is told.
            if computed != stated && self.findings.is_empty() {
                let text = |map: MapRef| format!("{} over {} runs", map.root, map.runs);
                let finding = Finding::of_store(Code::RunMapMismatch, format!("log entry {index}"));
                self.findings.push(finding.expected(text(computed)).found(text(stated)));
            }
            (self.newest, self.uncovered) = (Some((index, stated)), None);
        } else if entry.job_id.is_some() && entry.run_id.is_some() && entry.run_seq.is_some() {
            self.uncovered = self.uncovered.or(Some(index));
        }
    }

    /// After the last entry: what is wrong with the maps in the log and, if all of the log could be read,
    /// with the nodes on the disk.
    pub fn finish(mut self, store: &Store, head: &Head, whole: bool) -> Result<Vec<Finding>, StoreError> {
        if !whole {
            return Ok(self.findings);
        }
        if let (Some(index), Some(_)) = (self.uncovered.filter(|index| *index < head.size), self.newest) {
            let finding = Finding::of_store(Code::RunMapMismatch, format!("log entry {index}"));
            self.findings.push(finding.expected("a run-map entry after it").found("none"));
        }
        let Some(known) = &head.runs else { return Ok(self.findings) };
        let stated = self.newest.filter(|(index, _)| *index < head.size);
        let fits = stated
            .is_none_or(|(index, map)| (known.entry, known.root, known.runs) == (index, map.root, map.runs));
        let wrong = if fits {
            store.walk_run_map(known)?
        } else {
            Some("it is not the map of the newest run-map entry".to_owned())
        };
        // A writer may have made a new file meanwhile and removed this one.
        if let Some(why) = wrong.filter(|_| store.head().is_ok_and(|now| now.runs == head.runs)) {
            let finding = Finding::of_store(Code::RunMapNodeBad, paths::run_map(known.file));
            self.findings.push(finding.expected(known.root).found(why));
        }
        Ok(self.findings)
    }
}
