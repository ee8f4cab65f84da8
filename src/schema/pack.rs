//! A pack in memory: shapes, migrations, what is frozen and measured, read from its folder.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use toml::de::DeTable;

use super::condition::Condition;
use super::deprecated::{Deprecated, Goes, read_deprecated};
use super::end::{End, read_ends};
use super::error::{PackError, PackErrorKind};
use super::fact::{FactSource, FactSpec};
use super::foreign::Foreign;
use super::formula::{Derived, read_derived};
use super::graph::Graph;
use super::invariant::IDENTITY;
use super::reader::{Placed, Source, Table};
use super::shape::{Schema, Shape, read_shapes};
use super::step::{Around, Step};
use crate::base::canonical;
use crate::base::digest::Sha256;
use crate::base::json::{Pointer, PointerPattern};

/// The description of one kind of document: its shapes, and the migrations between them.
#[derive(Debug)]
pub struct Pack {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) version_at: Option<Pointer>,
    /// Labels that count as none, besides an absent one.
    pub(super) unlabelled: Vec<Unlabelled>,
    pub(super) head: String,
    pub(super) order: Order,
    pub(super) schemas: Vec<Schema>,
    pub(super) shapes: Vec<Shape>,
    pub(super) legacy: Vec<LegacyRule>,
    pub(super) foreign: Vec<Foreign>,
    pub(super) frozen: Vec<PointerPattern>,
    pub(super) measured: Vec<PointerPattern>,
    pub(super) history_at: Option<Pointer>,
    pub(super) facts: Vec<FactSpec>,
    pub(super) migrations: Vec<Migration>,
    pub(super) graph: Graph,
    pub(super) sqlite: Option<super::carried::SqliteCarrier>,
    pub(super) ends: Vec<End>,
    pub(super) derived: Vec<Derived>,
    pub(super) deprecated: Vec<Deprecated>,
    pub(super) digest: Sha256,
    /// The shortest routes to the head, by the names of the shapes that they start from.
    pub(super) to_head: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Only the graph orders versions: an unknown label is unknown.
    Graph,
    /// Labels are semantic versions: an unknown one above all known is newer.
    Semver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unlabelled {
    Null,
    Empty,
}

/// A rule that tells the version of a document without a label.
#[derive(Debug, Clone)]
pub(super) struct LegacyRule {
    pub rule: String,
    pub version: String,
    pub when: Vec<Condition>,
}

#[derive(Debug, Clone)]
pub(super) struct Migration {
    pub from: String,
    pub to: String,
    pub summary: String,
    /// Whether the migration the other way is said to undo it.
    pub inverse: bool,
    pub steps: Vec<Step>,
    /// Steps that can be resolved against one scan, in order; at least one group.
    pub groups: Vec<std::ops::Range<usize>>,
    /// What the steps declare, and the label.
    pub allowed: Vec<PointerPattern>,
    /// Those of them that the source's schemas surely describe.
    pub described: Vec<PointerPattern>,
    pub digest: Sha256,
}

impl Migration {
    /// The places that the migration may change, besides the label.
    pub fn declared(&self) -> Vec<PointerPattern> {
        self.steps.iter().flat_map(Step::writes).collect()
    }

    /// The migration with one step fewer.
    pub fn without(&self, at: usize) -> Self {
        let mut less = self.clone();
        less.steps.remove(at);
        less.groups = group(&less.steps);
        less
    }

    /// The migration in words.
    pub fn name(&self) -> String {
        format!("{} -> {}", self.from, self.to)
    }
}

/// Cuts the steps where one reads or writes what an earlier one of its group touches: that one needs
/// the earlier one's result, and so another scan.
fn group(steps: &[Step]) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut busy) = (0, Vec::<PointerPattern>::new());
    for (i, step) in steps.iter().enumerate() {
        let touches = step.touches();
        if busy.iter().any(|place| touches.iter().any(|own| own.touches(place))) {
            groups.push(start..i);
            start = i;
            busy.clear();
        }
        busy.extend(touches);
    }
    groups.push(start..steps.len());
    groups
}

/// The file of a pack that says everything but the schemas.
pub const PACK_FILE: &str = "pack.toml";

type Result<T> = std::result::Result<T, PackError>;

impl Pack {
    /// Reads a pack from the files of its folder, by their names within it.
    ///
    /// The first thing that is wrong is the error, with its file, line and column.
    pub fn parse(files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let fail = |kind| Err(PackError::at(PACK_FILE, "", 0, kind));
        let Some(bytes) = files.get(PACK_FILE) else { return fail(PackErrorKind::MissingFile) };
        let Ok(text) = std::str::from_utf8(bytes) else { return fail(PackErrorKind::NotUtf8) };
        let source = Source { file: PACK_FILE, text, files };
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.error(at, PackErrorKind::Toml { message: error.message().to_owned() })
        })?;
        Self::read(&Table::new(source, 0, table.get_ref()), files)
    }

    fn read(root: &Table<'_, '_>, files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let top = root.need_table("pack")?;
        let name = top.need_text("name")?.value;
        let version = top.need_text("version")?.value;
        // Read so that it may stand there; it says nothing to the engine.
        top.text("summary")?;
        let version_at = own_place(&top, "version_at")?;
        let head = top.need_text("head")?;
        let order = top.need_text("order")?;
        let unlabelled = top.texts("unlabelled")?.into_iter().map(|text| match text.value.as_str() {
            "null" => Ok(Unlabelled::Null),
            "empty" => Ok(Unlabelled::Empty),
            _ => Err(top.bad("unlabelled", &text, "labels that count as none are \"null\" and \"empty\"")),
        });
        let unlabelled = unlabelled.collect::<Result<_>>()?;
        let order_kind = match order.value.as_str() {
            "graph" => Order::Graph,
            "semver" => Order::Semver,
            _ => return Err(top.bad("order", &order, "orders are \"graph\" and \"semver\"")),
        };
        top.finish()?;

        let mut schemas = Vec::new();
        let shapes = read_shapes(root, files, &mut schemas)?;
        if order_kind == Order::Semver {
            for shape in &shapes {
                if semver::Version::parse(&shape.version).is_err() {
                    let kind = PackErrorKind::NotSemver { version: shape.version.clone() };
                    return Err(root.source.error(order.at, kind));
                }
            }
        }
        let known = |name: &Placed<String>, versions_only: bool| {
            let hit =
                |shape: &Shape| shape.version == name.value || (!versions_only && shape.name() == name.value);
            if shapes.iter().any(hit) {
                return Ok(());
            }
            let known = shapes.iter().map(Shape::name).collect();
            Err(root.source.error(name.at, PackErrorKind::UnknownShape { name: name.value.clone(), known }))
        };
        known(&head, false)?;

        let mut legacy = Vec::new();
        for table in root.tables("legacy")? {
            let version = table.need_text("version")?;
            known(&version, true)?;
            legacy.push(LegacyRule {
                rule: table.need_text("rule")?.value,
                version: version.value,
                when: Condition::read_all(&table.tables("when")?)?,
            });
            table.finish()?;
        }
        let (frozen, measured) = match root.table("fields")? {
            None => Default::default(),
            Some(table) => {
                let both = (table.patterns("frozen")?, table.patterns("measured")?);
                table.finish()?;
                both
            }
        };
        let history_at = match root.table("history")? {
            None => None,
            Some(table) => {
                table.need_pointer("at")?;
                let at = own_place(&table, "at")?;
                table.finish()?;
                at
            }
        };
        let facts = root.tables("fact")?.iter().map(FactSpec::read).collect::<Result<Vec<_>>>()?;
        let mut pack = Self {
            name,
            version,
            version_at,
            unlabelled,
            head: head.value.clone(),
            order: order_kind,
            schemas,
            shapes: Vec::new(),
            legacy,
            foreign: Foreign::read_all(root)?,
            frozen,
            measured,
            history_at,
            facts,
            migrations: Vec::new(),
            graph: Graph::default(),
            sqlite: super::carried::read(root)?,
            ends: Vec::new(),
            derived: read_derived(root)?,
            deprecated: read_deprecated(root)?,
            digest: Sha256::of(b""),
            to_head: BTreeMap::new(),
        };
        for table in root.tables("migration")? {
            let (from, to) = (table.need_text("from")?, table.need_text("to")?);
            known(&from, false)?;
            known(&to, false)?;
            pack.migrations.push(pack.read_migration(&table, from.value, to.value)?);
            table.finish()?;
        }
        let ends = read_ends(root)?;
        for (at, end) in &ends {
            known(&Placed { at: *at, value: end.version.clone() }, false)?;
        }
        for name in pack.derived.iter().flat_map(|derived| &derived.versions) {
            known(name, false)?;
        }
        for deprecated in &pack.deprecated {
            known(&deprecated.since, true)?;
        }
        root.finish()?;
        pack.graph = Graph::new(&shapes, &pack.migrations)
            .map_err(|twice| root.error(PackErrorKind::Twice { what: "migration", name: twice }))?;
        pack.shapes = shapes;
        for i in 0..pack.migrations.len() {
            let label = pack.label_place(&pack.migrations[i].to).map(PointerPattern::from);
            pack.migrations[i].allowed = pack.migrations[i].declared().into_iter().chain(label).collect();
            let version = pack.version_of(&pack.migrations[i].from);
            let known =
                pack.migrations[i].allowed.iter().filter(|path| pack.describes_elements(version, path));
            pack.migrations[i].described = known.cloned().collect();
        }
        for name in pack.shapes.iter().map(Shape::name) {
            if let Some(route) = pack.graph.route(&name, &[&pack.head]) {
                pack.to_head.insert(name, route);
            }
        }
        let (places, ends): (Vec<usize>, Vec<End>) = ends.into_iter().unzip();
        pack.ends = ends;
        pack.check_ends(root, &places)?;
        pack.check_formulas(root)?;
        pack.digest = digest_of(&pack.compiled());
        Ok(pack)
    }

    fn read_migration(&self, table: &Table<'_, '_>, from: String, to: String) -> Result<Migration> {
        let summary = table.text("summary")?.map(|text| text.value).unwrap_or_default();
        let inverse = table.flag("inverse")?;
        let mut steps = Vec::new();
        let around = Around { number: 0, path: PointerPattern::root(), when: Vec::new() };
        let check = |table: &Table<'_, '_>, step: &Step| self.check_step(table, step);
        around.read_steps(&table.tables("step")?, &self.facts, &check, &mut steps)?;
        let compiled = json!({
            "from": from,
            "to": to,
            "steps": steps.iter().map(Step::compiled).collect::<Vec<_>>(),
        });
        let (groups, digest) = (group(&steps), digest_of(&compiled));
        Ok(Migration {
            from,
            to,
            summary,
            inverse,
            steps,
            groups,
            allowed: Vec::new(),
            described: Vec::new(),
            digest,
        })
    }

    /// Refuses steps that could not but break what the pack promises elsewhere.
    fn check_step(&self, table: &Table<'_, '_>, step: &Step) -> Result<()> {
        for path in step.changes() {
            if let Some(frozen) = self.frozen.iter().find(|frozen| frozen.touches(&path)) {
                let kind = PackErrorKind::Frozen { path: path.to_string(), frozen: frozen.to_string() };
                return Err(table.error(kind));
            }
        }
        for path in step.invents() {
            let hit = |measured: &&PointerPattern| {
                // An empty object says nothing about the members that it may have.
                measured.touches(&path) && !(step.writes_empty_object() && measured.is_below(&path))
            };
            if let Some(measured) = self.measured.iter().find(hit) {
                let kind = PackErrorKind::Measured { path: path.to_string(), measured: measured.to_string() };
                return Err(table.error(kind));
            }
        }
        let owners = [(&self.version_at, "the version label"), (&self.history_at, "the history")];
        for (place, owner) in owners {
            let Some(place) = place.as_ref().map(PointerPattern::from) else { continue };
            if let Some(path) = step.writes().iter().find(|path| path.touches(&place)) {
                return Err(table.error(PackErrorKind::Reserved { path: path.to_string(), owner }));
            }
        }
        Ok(())
    }

    /// Everything that decides what the pack does; comments, formatting and summaries do not.
    fn compiled(&self) -> Value {
        let conditions = |list: &[Condition]| list.iter().map(Condition::compiled).collect::<Vec<_>>();
        let patterns = |list: &[PointerPattern]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut compiled = json!({
            "name": self.name,
            "version": self.version,
            "version_at": self.version_at,
            "unlabelled": self.unlabelled.iter().map(|u| *u == Unlabelled::Null).collect::<Vec<_>>(),
            "head": self.head,
            "semver": self.order == Order::Semver,
            "shapes": self.shapes.iter().map(|shape| json!({
                "name": shape.name(),
                "schema": self.schemas[shape.schema].compact,
                "labelled": shape.labelled,
                "when": conditions(&shape.when),
            })).collect::<Vec<_>>(),
            "foreign": self.foreign.iter().map(Foreign::compiled).collect::<Vec<_>>(),
            "legacy": self.legacy.iter().map(|rule| json!({
                "rule": rule.rule,
                "version": rule.version,
                "when": conditions(&rule.when),
            })).collect::<Vec<_>>(),
            "frozen": patterns(&self.frozen),
            "measured": patterns(&self.measured),
            "history_at": self.history_at,
            "migrations": self.migrations.iter().map(|m| m.digest.to_string()).collect::<Vec<_>>(),
        });
        // A table that a pack does not have is no part of its identity, so that packs keep theirs
        // when the grammar grows.
        let mut add = |key: &str, list: Vec<Value>| {
            if !list.is_empty() {
                compiled[key] = Value::Array(list);
            }
        };
        let kinds = self.shapes.iter().filter_map(|shape| Some(json!([shape.name(), shape.kind.as_ref()?])));
        add("kinds", kinds.collect());
        add("sqlite", self.sqlite.iter().map(super::carried::SqliteCarrier::compiled).collect());
        add("ends", self.ends.iter().map(|e| json!([e.version, e.reason, e.stuck])).collect());
        let names = |list: &[Placed<String>]| list.iter().map(|name| name.value.clone()).collect::<Vec<_>>();
        let derived = |d: &Derived| json!([d.path.to_string(), d.formula, names(&d.versions)]);
        add("derived", self.derived.iter().map(derived).collect());
        let deprecated = |d: &Deprecated| {
            let goes = match &d.goes {
                Goes::In(version) => json!(version),
                Goes::After(grace) => json!(grace),
            };
            json!([d.path.to_string(), d.since.value, d.instead, goes])
        };
        add("deprecated", self.deprecated.iter().map(deprecated).collect());
        compiled
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pack's own version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The pack's identity: the digest of what it does, whatever its files look like.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    /// The version that documents are migrated to unless told otherwise.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// Where documents say their version.
    pub fn version_at(&self) -> Option<&Pointer> {
        self.version_at.as_ref()
    }

    /// Where documents keep their migration records.
    pub fn history_at(&self) -> Option<&Pointer> {
        self.history_at.as_ref()
    }

    /// The versions, in the pack's order.
    pub fn versions(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.shapes.iter().map(|shape| shape.version.as_str()).filter(|v| seen.insert(*v)).collect()
    }

    /// The files of a run whose bytes the migrations want among the facts.
    pub fn wanted_files(&self) -> impl Iterator<Item = &str> {
        self.facts.iter().filter_map(|fact| match &fact.source {
            FactSource::File { path, .. } => Some(path.as_str()),
            _ => None,
        })
    }

    /// The side facts that the migrations want.
    pub fn facts(&self) -> &[FactSpec] {
        &self.facts
    }
}

/// A place that the engine writes for the pack, which must not be one of the run's identity.
fn own_place(table: &Table<'_, '_>, key: &'static str) -> Result<Option<Pointer>> {
    let (Some(place), Some(text)) = (table.pointer(key)?, table.text(key)?) else { return Ok(None) };
    if place.is_root() {
        return Err(table.bad(key, &text, "it has to be a member, not the whole document"));
    }
    if place.tokens().next().is_some_and(|top| IDENTITY.contains(&top)) {
        return Err(table.bad(key, &text, "that member belongs to the run's identity"));
    }
    Ok(Some(place))
}

fn digest_of(compiled: &Value) -> Sha256 {
    Sha256::of(&canonical::rfc8785(compiled).expect("a compiled pack holds texts and booleans only"))
}
