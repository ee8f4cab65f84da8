//! One document put through every migration that starts at its shape.

use super::judge::{Problem, shape_name, told};
use super::random::Random;
use super::respell::{Freedom, respell, same};
use crate::base::json::{self, Json, print_compact};
use crate::schema::apply::StepProblem;
use crate::schema::fact::Facts;
use crate::schema::outcome::{Outcome, Refusal};
use crate::schema::pack::Pack;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Shape(usize),
    Migration(usize),
}

/// The routes between two places of which there are several.
pub(super) struct Routes {
    pub to: String,
    pub routes: Vec<Vec<usize>>,
}

/// What is examined of the documents of one shape.
pub(super) struct Plan<'p> {
    pub pack: &'p Pack,
    pub shape: usize,
    /// The migrations that start here.
    pub migrations: Vec<usize>,
    pub routes: Vec<Routes>,
    pub freedom: Freedom,
}

/// What became of the documents of one migration.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub migrated: u64,
    pub refused: u64,
    pub round_trips: u64,
    /// Why documents were refused, the first few reasons.
    pub reasons: Vec<String>,
}

/// Counts of one shape's documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub documents: u64,
    pub respelled: u64,
    pub routes_compared: u64,
    /// By the order of the plan's migrations.
    pub tallies: Vec<Tally>,
}

const REASONS: usize = 3;

/// What a refusal is: the pack's own word, or a defect of the pack.
fn defect(refusal: &Refusal) -> Option<Problem> {
    let own = |code, step| {
        let mut problem = Problem::new(code, refusal.to_string());
        problem.step = step;
        Some(problem)
    };
    match refusal {
        Refusal::Step {
            step,
            problem:
                StepProblem::NoParent { .. } | StepProblem::NotAnObject { .. } | StepProblem::Guest { .. },
            ..
        } => own("step-fails", Some(*step)),
        Refusal::Edits { .. } => own("step-fails", None),
        Refusal::TargetMisfit { .. } => own("misfit", None),
        Refusal::Frozen { .. } => own("frozen", None),
        // What was broken before the migration is the document's own fault.
        Refusal::Invariant { violations, .. } if violations.iter().any(|v| v.before != v.after) => {
            own("undeclared", None)
        }
        _ => None,
    }
}

impl Plan<'_> {
    /// Whether a text is a document of the plan's shape.
    pub fn is_of_shape(&self, text: &[u8]) -> bool {
        let Ok(doc) = json::scan(text) else { return false };
        shape_name(&self.pack.detect(&doc)) == Some(self.pack.shapes[self.shape].name())
    }

    /// The first thing that goes wrong with a document, and counts of what went right.
    pub fn examine(
        &self,
        document: &Json,
        facts: &Facts,
        seed: u64,
        counts: &mut Counts,
    ) -> Option<(Subject, Problem)> {
        counts.tallies.resize(self.migrations.len(), Tally::default());
        counts.documents += 1;
        let text = print_compact(document).into_bytes();
        let other = respell(document, self.freedom, &mut Random::new(seed));
        let respelled = self.is_of_shape(&other);
        counts.respelled += u64::from(respelled);
        for (at, &number) in self.migrations.iter().enumerate() {
            let tally = &mut counts.tallies[at];
            let result = self.pack.migrate_along(&text, &[number], facts);
            if let Some(problem) = self.one(number, &text, &result, facts, tally) {
                return Some((Subject::Migration(number), problem));
            }
            if respelled && let Some(problem) = self.other_spelling(number, &other, &result, facts) {
                return Some((Subject::Migration(number), problem));
            }
        }
        for routes in &self.routes {
            counts.routes_compared += routes.routes.len() as u64 - 1;
            if let Some(problem) = self.compare(routes, &text, facts) {
                let last = routes.routes[0].first().copied().unwrap_or_default();
                return Some((Subject::Migration(last), problem));
            }
        }
        None
    }

    fn one(
        &self,
        number: usize,
        text: &[u8],
        result: &Result<Vec<u8>, Refusal>,
        facts: &Facts,
        tally: &mut Tally,
    ) -> Option<Problem> {
        let after = match result {
            Ok(after) => after,
            Err(refusal) => {
                tally.refused += 1;
                let why = refusal.to_string();
                if tally.reasons.len() < REASONS && !tally.reasons.contains(&why) {
                    tally.reasons.push(why);
                }
                return defect(refusal).map(|problem| self.pack.blame(problem, refusal, number, text, facts));
            }
        };
        tally.migrated += 1;
        if let Some(problem) = self.pack.judge(number, text, after) {
            return Some(problem);
        }
        let migration = &self.pack.migrations[number];
        if let Some(problem) = settled(after, &self.pack.migrate(after, Some(&migration.to), facts, None)) {
            return Some(problem);
        }
        if let Some(problem) = repeated(result, &self.pack.migrate_along(text, &[number], facts)) {
            return Some(problem);
        }
        let back = self.pack.inverse_of(number)?;
        tally.round_trips += 1;
        match self.pack.migrate_along(after, &[back], facts) {
            Err(refusal) => {
                Some(Problem::new("inverse", format!("the way back refuses the result: {refusal}")))
            }
            Ok(back) => {
                let lines = told(text, &back);
                (!lines.is_empty())
                    .then(|| Problem::new("inverse", "there and back is another document").with(lines))
            }
        }
    }

    /// The same document in another spelling has to come to the same.
    fn other_spelling(
        &self,
        number: usize,
        other: &[u8],
        result: &Result<Vec<u8>, Refusal>,
        facts: &Facts,
    ) -> Option<Problem> {
        let again = self.pack.migrate_along(other, &[number], facts);
        let spelled = String::from_utf8_lossy(other);
        match (result, &again) {
            (Err(_), Err(_)) => None,
            (Ok(_), Err(refusal)) => Some(Problem::new(
                "spelling",
                format!("another spelling of the document is refused: {refusal}: {spelled}"),
            )),
            (Err(refusal), Ok(_)) => Some(Problem::new(
                "spelling",
                format!("another spelling of the document is not refused ({refusal}): {spelled}"),
            )),
            (Ok(after), Ok(again)) => {
                if let Some(problem) = self.pack.judge(number, other, again) {
                    return Some(problem);
                }
                let value = |bytes: &[u8]| json::scan(bytes).ok().map(|doc| Json::from(doc.root()));
                let equal = match (value(after), value(again)) {
                    (Some(a), Some(b)) => same(&a, &b),
                    _ => false,
                };
                (!equal).then(|| {
                    Problem::new("spelling", format!("another spelling gives another result: {spelled}"))
                        .with(told(after, again))
                })
            }
        }
    }

    /// Every route between two versions has to give the same document.
    fn compare(&self, routes: &Routes, text: &[u8], facts: &Facts) -> Option<Problem> {
        let mut results =
            routes.routes.iter().map(|route| (route, self.pack.migrate_along(text, route, facts)));
        let (first, expected) = results.next()?;
        for (route, result) in results {
            let names = || {
                let (a, b) = (self.pack.route_text(first), self.pack.route_text(route));
                format!("the routes to {} differ: {a} and {b}", routes.to)
            };
            match (&expected, &result) {
                (Ok(a), Ok(b)) => {
                    let lines = told(a, b);
                    if !lines.is_empty() {
                        return Some(Problem::new("routes-differ", names()).with(lines));
                    }
                }
                (Err(_), Err(_)) => {}
                (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => {
                    let message = format!("{}: one of them refuses the document: {refusal}", names());
                    return Some(Problem::new("routes-differ", message));
                }
            }
        }
        None
    }
}

/// A migrated document is at its target: migrating it there again changes nothing.
fn settled(after: &[u8], again: &Outcome) -> Option<Problem> {
    let problem = |message: String, lines| Some(Problem::new("not-idempotent", message).with(lines));
    match again {
        Outcome::Current { .. } => None,
        Outcome::Rewrite(rewrite) if rewrite.bytes == after => None,
        Outcome::Rewrite(rewrite) => {
            problem("migrating the result again changes it".to_owned(), told(after, &rewrite.bytes))
        }
        Outcome::Refused(refusal) => {
            problem(format!("migrating the result again is refused: {refusal}"), Vec::new())
        }
    }
}

/// The same text has to give the same text.
fn repeated(first: &Result<Vec<u8>, Refusal>, second: &Result<Vec<u8>, Refusal>) -> Option<Problem> {
    let lines = match (first, second) {
        (Ok(a), Ok(b)) if a == b => return None,
        (Ok(a), Ok(b)) => told(a, b),
        (Ok(_), Err(refusal)) => vec![refusal.to_string()],
        _ => return None,
    };
    Some(Problem::new("not-deterministic", "the same document gives another result").with(lines))
}

impl Pack {
    /// The migration that undoes another, where that one says it has an inverse.
    pub(super) fn inverse_of(&self, number: usize) -> Option<usize> {
        let migration = &self.migrations[number];
        let back =
            |other: &crate::schema::pack::Migration| other.from == migration.to && other.to == migration.from;
        migration.inverse.then(|| self.migrations.iter().position(back)).flatten()
    }

    /// A route as text: `1 -> 2 -> 3`.
    pub(super) fn route_text(&self, route: &[usize]) -> String {
        let mut names: Vec<&str> =
            route.first().map(|n| self.migrations[*n].from.as_str()).into_iter().collect();
        names.extend(route.iter().map(|number| self.migrations[*number].to.as_str()));
        names.join(" -> ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_that_does_not_stay_is_seen() {
        let refused = Refusal::Stuck { shape: "1".to_owned(), reason: "no".to_owned() };
        assert_eq!(settled(b"{}", &Outcome::Current { version: "1".to_owned() }), None);
        let again = settled(b"{}", &Outcome::Refused(refused.clone()));
        assert_eq!(again.map(|problem| problem.code), Some("not-idempotent"));
        assert_eq!(repeated(&Ok(b"{}".to_vec()), &Ok(b"{}".to_vec())), None);
        let other = repeated(&Ok(br#"{"a":1}"#.to_vec()), &Ok(br#"{"a":2}"#.to_vec())).unwrap();
        assert_eq!(
            (other.code, other.difference.as_slice()),
            ("not-deterministic", &["/a: 1 -> 2".to_owned()][..])
        );
        assert!(repeated(&Ok(b"{}".to_vec()), &Err(refused)).is_some());
    }
}
