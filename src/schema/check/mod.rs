//! What is wrong with a pack, found before anything is touched.
//!
//! The graph is looked at as it is declared; every migration is tried on the pack's examples
//! (`examples/VERSION--name.json`, or `VERSION--VARIANT--name.json`) and on documents made from the
//! schemas of its source shapes, each also respelled as text. A failure is shrunk to a small document.
//! The same seed makes the same documents.
//!
//! | code | what |
//! |---|---|
//! | `dead-end` | no way leads from a shape to the head, and no `[[end]]` says why |
//! | `example` | an example is not a document of the shape that its name says |
//! | `misfit` | a migration's result is no document of its target |
//! | `step-fails` | a step cannot be done, and not because the pack says so |
//! | `undeclared` | something changes that no step declares |
//! | `frozen`, `measured` | a frozen member changes, a measured one gets a value of its own |
//! | `not-idempotent`, `not-deterministic` | doing it again changes the result, or gives another |
//! | `spelling` | the same document in another spelling comes to something else |
//! | `routes-differ` | two routes between the same versions give different documents |
//! | `inverse` | a migration with `inverse = true` does not come back, or has no way back |
//! | `all-refused` | a migration that refused every document tried |
//! | `untested` | a migration for which there was no document at all |
//!
//! Warnings: `ambiguous` (a document that fits several shapes), and what `schema::compat` says of
//! destructive steps: `loses`, `narrows`, `requires`.

mod blame;
mod examine;
mod generate;
mod judge;
mod pattern;
mod place;
mod propose;
mod random;
mod respell;
mod shrink;

use std::collections::{BTreeMap, BTreeSet};

use self::examine::{Counts, Plan, Routes, Subject};
use self::judge::Problem;
pub(super) use self::judge::shape_name as shape_of;
pub use self::place::Place;
use self::place::Places;
use self::random::Random;
use self::respell::Freedom;
use super::apply::preview;
use super::compat::{self, Compatibility};
use super::detect::Detection;
use super::end::Destination;
use super::error::PackError;
use super::fact::Facts;
use super::pack::{PACK_FILE, Pack};
use crate::base::json::{self, Json, print_compact};

/// What to try.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions {
    /// Where the choices begin.
    pub seed: u64,
    /// How many documents are made for each shape.
    pub documents: u64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { seed: 1, documents: 1000 }
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFinding {
    /// Its code, as in the table above.
    pub code: &'static str,
    /// Whether it is advice only.
    pub warning: bool,
    /// What it is about: a shape or a migration.
    pub about: String,
    /// The file of the pack.
    pub file: String,
    /// Where in the file, if known.
    pub place: Option<Place>,
    /// The step of the migration, from 1, where one is to blame.
    pub step: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// The smallest document found that shows it.
    pub document: Option<String>,
    /// What differs, a line each.
    pub difference: Vec<String>,
}

/// What was tried on one migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationCheck {
    /// The source version or shape.
    pub from: String,
    /// The target version or shape.
    pub to: String,
    /// Documents migrated.
    pub migrated: u64,
    /// Documents that it refused for a stated reason.
    pub refused: u64,
    /// The first few of these reasons.
    pub reasons: Vec<String>,
    /// Documents that went there and back.
    pub round_trips: u64,
    /// Who can read whose documents.
    pub compatibility: Compatibility,
}

/// What a check found, and how much it tried.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// What is wrong, and what is worth knowing.
    pub findings: Vec<CheckFinding>,
    /// Each migration, in the pack's order.
    pub migrations: Vec<MigrationCheck>,
    /// Shapes of the pack.
    pub shapes: u64,
    /// Documents made from schemas and tried.
    pub generated: u64,
    /// Of these and the examples, those tried in another spelling as well.
    pub respelled: u64,
    /// Examples tried.
    pub examples: u64,
    /// Pairs of versions with several routes.
    pub route_pairs: u64,
    /// Comparisons of routes, one document each.
    pub routes_compared: u64,
    /// Keywords of the schemas that no document was made by.
    pub not_heeded: Vec<&'static str>,
}

impl CheckReport {
    /// Findings that are not mere advice.
    pub fn failures(&self) -> impl Iterator<Item = &CheckFinding> {
        self.findings.iter().filter(|finding| !finding.warning)
    }
}

/// Checks the pack in these files; fails where it cannot be read at all.
pub fn check(files: &BTreeMap<String, Vec<u8>>, options: &CheckOptions) -> Result<CheckReport, PackError> {
    let pack = Pack::parse(files)?;
    let text = files.get(PACK_FILE).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let mut check = Check { pack: &pack, places: Places::of(text), options, report: CheckReport::default() };
    check.report.shapes = pack.shapes.len() as u64;
    check.graph();
    let examples = check.examples(files);
    let mut totals = vec![examine::Tally::default(); pack.migrations.len()];
    for shape in 0..pack.shapes.len() {
        check.shape(shape, &examples, &mut totals);
    }
    check.migrations(&totals);
    let mut keywords = BTreeSet::new();
    pack.schemas.iter().for_each(|schema| generate::not_heeded(&schema.value, &mut keywords));
    check.report.not_heeded = keywords.into_iter().collect();
    check.report.findings.sort_by(|a, b| (a.warning, &a.file, a.place).cmp(&(b.warning, &b.file, b.place)));
    Ok(check.report)
}

/// An example of a shape.
struct Example {
    shape: usize,
    value: Json,
}

struct Check<'p> {
    pack: &'p Pack,
    places: Places,
    options: &'p CheckOptions,
    report: CheckReport,
}

/// The most routes looked at between two versions.
const ROUTES: usize = 32;
/// Spellings in which a smaller document is tried.
const SPELLINGS: u64 = 16;
/// Proposals for each document wanted, before a shape is given up.
const PATIENCE: u64 = 20;

impl Check<'_> {
    fn find(&mut self, subject: Subject, problem: Problem, document: Option<&Json>) {
        let (about, place) = match subject {
            Subject::Shape(shape) => (self.pack.shapes[shape].name(), self.places.shapes.get(shape).copied()),
            Subject::Migration(number) => {
                let step = problem
                    .step
                    .and_then(|step| self.places.steps.get(number)?.get(step.checked_sub(1)?).copied());
                (self.pack.route_text(&[number]), step.or(self.places.migrations.get(number).copied()))
            }
        };
        self.report.findings.push(CheckFinding {
            code: problem.code,
            warning: matches!(problem.code, "ambiguous" | "loses" | "narrows" | "requires"),
            about,
            file: PACK_FILE.to_owned(),
            place,
            step: problem.step,
            message: problem.message,
            document: document.map(print_compact),
            difference: problem.difference,
        });
    }

    /// What the declared graph says by itself.
    fn graph(&mut self) {
        for shape in 0..self.pack.shapes.len() {
            let name = self.pack.shapes[shape].name();
            if self.pack.destination(&name) == Destination::Nowhere {
                let message = format!(
                    "no migrations lead from {name} to {}; an [[end]] would say why that is so",
                    self.pack.head()
                );
                self.find(Subject::Shape(shape), Problem::new("dead-end", message), None);
            }
        }
        for (number, migration) in self.pack.migrations.iter().enumerate() {
            if migration.inverse && self.pack.inverse_of(number).is_none() {
                let message = format!(
                    "it has an inverse, but no migration leads from {} to {}",
                    migration.to, migration.from
                );
                self.find(Subject::Migration(number), Problem::new("inverse", message), None);
            }
        }
    }

    fn examples(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Vec<Example> {
        let mut examples = Vec::new();
        for (file, bytes) in files.iter().filter(|(file, _)| file.starts_with("examples/")) {
            let doc = json::scan(bytes);
            let problem = match (propose::example_shape(self.pack, file), &doc) {
                (None, _) => {
                    "its name is not VERSION--name.json or VERSION--VARIANT--name.json of a shape".to_owned()
                }
                (_, Err(error)) => error.to_string(),
                (Some(shape), Ok(doc)) => {
                    let detection = self.pack.detect(doc);
                    if shape_of(&detection) == Some(self.pack.shapes[shape].name()) {
                        let value = Json::from(doc.root());
                        examples.push(Example { shape, value });
                        continue;
                    }
                    format!("its name says {}, but it is: {detection}", self.pack.shapes[shape].name())
                }
            };
            self.report.findings.push(CheckFinding {
                code: "example",
                warning: false,
                about: file.clone(),
                file: file.clone(),
                place: None,
                step: None,
                message: problem,
                document: None,
                difference: Vec::new(),
            });
        }
        self.report.examples = examples.len() as u64;
        examples
    }

    fn plan(&self, shape: usize) -> Plan<'_> {
        let (name, version) = (self.pack.shapes[shape].name(), &self.pack.shapes[shape].version);
        let starts = |number: &usize| {
            let from = &self.pack.migrations[*number].from;
            *from == name || from == version
        };
        let migrations: Vec<usize> = (0..self.pack.migrations.len()).filter(starts).collect();
        let compiled: Vec<serde_json::Value> =
            self.pack.migrations.iter().flat_map(|m| m.steps.iter().map(|step| step.compiled())).collect();
        // A list made of an object has the order of its members; a text made of a number its spelling.
        let lists = compiled.iter().any(|step| step["op"] == "entries");
        let texts = compiled
            .iter()
            .any(|step| step["detail"]["to"] == "string" || step["detail"].to_string().contains("text("));
        let freedom = Freedom { order: !lists, numbers: !texts };
        Plan { pack: self.pack, shape, migrations, routes: self.pack.all_routes(&name, ROUTES), freedom }
    }

    /// Tries the documents of one shape.
    fn shape(&mut self, shape: usize, examples: &[Example], totals: &mut [examine::Tally]) {
        let pack = self.pack;
        let plan = Plan { pack, ..self.plan(shape) };
        self.report.route_pairs += plan.routes.len() as u64;
        let mut counts = Counts::default();
        let mut found: Vec<(Subject, &'static str)> = Vec::new();
        let own = examples.iter().filter(|example| example.shape == shape);
        for (number, example) in own.enumerate() {
            let facts = propose::facts(pack, &mut Random::new(self.options.seed ^ 1));
            let problem = plan.examine(&example.value, &facts, number as u64, &mut counts);
            self.take(&plan, problem, example.value.clone(), &facts, number as u64, &mut found);
        }
        let examples_tried = counts.documents;
        let (mut made, mut proposed, mut ambiguous) = (0, 0, None);
        while made < self.options.documents && proposed < self.options.documents.saturating_mul(PATIENCE) {
            proposed += 1;
            let mut random = Random::fork(self.options.seed, shape, proposed);
            let document = propose::propose(pack, shape, &mut random);
            let text = print_compact(&document).into_bytes();
            if !plan.is_of_shape(&text) {
                if ambiguous.is_none() && is_ambiguous(pack, &text, shape) {
                    ambiguous = Some(document);
                }
                continue;
            }
            made += 1;
            let facts = propose::facts(pack, &mut random);
            let seed = random.next();
            let problem = plan.examine(&document, &facts, seed, &mut counts);
            self.take(&plan, problem, document, &facts, seed, &mut found);
        }
        if let Some(document) = ambiguous {
            let small = shrink::shrink(document, &mut |document| {
                is_ambiguous(pack, print_compact(document).as_bytes(), shape)
            });
            let detection =
                json::scan(print_compact(&small).as_bytes()).map(|doc| pack.detect(&doc).to_string());
            let message = format!(
                "a document can fit several shapes; it would be refused as {}",
                detection.unwrap_or_default()
            );
            self.find(Subject::Shape(shape), Problem::new("ambiguous", message), Some(&small));
        }
        self.report.generated += made;
        self.report.respelled += counts.respelled;
        self.report.routes_compared += counts.routes_compared;
        if examples_tried + made == 0 && !plan.migrations.is_empty() {
            let message = "no document of this shape could be made, and there is no example: its migrations were \
                 not tried; examples/VERSION--name.json would be one";
            self.find(Subject::Shape(shape), Problem::new("untested", message), None);
        }
        for (tally, number) in counts.tallies.into_iter().zip(&plan.migrations) {
            let total = &mut totals[*number];
            total.migrated += tally.migrated;
            total.refused += tally.refused;
            total.round_trips += tally.round_trips;
            total.reasons.extend(tally.reasons);
        }
    }

    /// Reports a problem once for each subject and code, with a small document.
    fn take(
        &mut self,
        plan: &Plan<'_>,
        problem: Option<(Subject, Problem)>,
        document: Json,
        facts: &Facts,
        seed: u64,
        found: &mut Vec<(Subject, &'static str)>,
    ) {
        let Some((subject, problem)) = problem else { return };
        let key = (subject, problem.code);
        if found.contains(&key) {
            return;
        }
        found.push(key);
        let again = |document: &Json| {
            if !plan.is_of_shape(print_compact(document).as_bytes()) {
                return None;
            }
            // How a document is respelled depends on what is in it, so a smaller one gets a few tries.
            let tries = if key.1 == "spelling" { SPELLINGS } else { 1 };
            (0..tries).find_map(|more| {
                let problem = plan.examine(document, facts, seed ^ more, &mut Counts::default());
                problem.filter(|(subject, problem)| (*subject, problem.code) == key)
            })
        };
        let small = shrink::shrink(document, &mut |document| again(document).is_some());
        let (subject, problem) = again(&small).unwrap_or((subject, problem));
        self.find(subject, problem, Some(&small));
    }

    /// What the numbers say of each migration, and what its two shapes do.
    fn migrations(&mut self, totals: &[examine::Tally]) {
        for (number, total) in totals.iter().enumerate() {
            let migration = &self.pack.migrations[number];
            let mut reasons = total.reasons.clone();
            reasons.dedup();
            reasons.truncate(3);
            if total.migrated == 0 && total.refused > 0 {
                let message = format!(
                    "it refused all {} documents tried, the first because: {}",
                    total.refused,
                    preview(reasons.first().map_or("", String::as_str))
                );
                self.find(Subject::Migration(number), Problem::new("all-refused", message), None);
            }
            for lint in compat::lints(self.pack, number) {
                let mut problem = Problem::new(lint.code, lint.message);
                problem.step = lint.step;
                self.find(Subject::Migration(number), problem, None);
            }
            self.report.migrations.push(MigrationCheck {
                from: migration.from.clone(),
                to: migration.to.clone(),
                migrated: total.migrated,
                refused: total.refused,
                reasons,
                round_trips: total.round_trips,
                compatibility: compat::compatibility(self.pack, number),
            });
        }
    }
}

/// Whether a document fits the shape and another one.
fn is_ambiguous(pack: &Pack, text: &[u8], shape: usize) -> bool {
    let Ok(doc) = json::scan(text) else { return false };
    match pack.detect(&doc) {
        Detection::Ambiguous { candidates } => {
            let shape = &pack.shapes[shape];
            candidates
                .iter()
                .any(|name| *name == shape.name() || name.starts_with(&format!("{} (", shape.version)))
        }
        _ => false,
    }
}

impl Pack {
    /// Every target with several routes from a shape: simple paths, up to a number.
    fn all_routes(&self, from: &str, most: usize) -> Vec<Routes> {
        let mut by_target: BTreeMap<String, Vec<Vec<usize>>> = BTreeMap::new();
        let mut open: Vec<(Vec<usize>, Vec<String>)> = vec![(Vec::new(), vec![from.to_owned()])];
        let mut looked = 0;
        while let Some((route, seen)) = open.pop() {
            looked += 1;
            if looked > 10_000 {
                break;
            }
            let here = seen.last().map_or("", String::as_str);
            let version = self.version_of(here);
            for (number, migration) in self.migrations.iter().enumerate() {
                let starts = migration.from == here || migration.from == version;
                let back = seen.iter().any(|name| {
                    *name == migration.to || self.version_of(name) == self.version_of(&migration.to)
                });
                if !starts || back {
                    continue;
                }
                let mut longer = route.clone();
                longer.push(number);
                let routes = by_target.entry(migration.to.clone()).or_default();
                if routes.len() < most {
                    routes.push(longer.clone());
                }
                let mut seen = seen.clone();
                seen.push(migration.to.clone());
                open.push((longer, seen));
            }
        }
        by_target
            .into_iter()
            .filter(|(_, routes)| routes.len() > 1)
            .map(|(to, mut routes)| {
                routes.sort_by_key(|route| (route.len(), route.clone()));
                Routes { to, routes }
            })
            .collect()
    }
}
