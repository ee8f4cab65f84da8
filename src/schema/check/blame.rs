//! Which step a result that is refused comes from, and what the steps made of the document.

use super::judge::{Problem, told};
use crate::base::json;
use crate::schema::detect::Detection;
use crate::schema::fact::Facts;
use crate::schema::outcome::Refusal;
use crate::schema::pack::{Migration, Pack};

impl Pack {
    /// Adds to the problem of a refused result what the steps changed, and for a result that does not
    /// fit its target the last step without which it would not fail so.
    pub(super) fn blame(
        &self,
        mut problem: Problem,
        refusal: &Refusal,
        number: usize,
        text: &[u8],
        facts: &Facts,
    ) -> Problem {
        let migration = &self.migrations[number];
        let Some(made) = self.steps_alone(migration, text, facts) else { return problem };
        if problem.difference.is_empty() {
            problem.difference = told(text, &made);
        }
        if let Refusal::TargetMisfit { detection: Detection::Misfit { reasons, .. }, .. } = refusal
            && let Some(reason) = reasons.first()
        {
            let without = |at: &usize| {
                let less = migration.without(*at);
                self.steps_alone(&less, text, facts).is_some_and(|made| !self.fails_so(&less, &made, reason))
            };
            let at = (0..migration.steps.len()).rev().find(without);
            problem.step = at.map(|at| migration.steps[at].number);
        }
        problem
    }

    /// Whether a text does not fit the target of a migration for this reason among others.
    fn fails_so(&self, migration: &Migration, text: &[u8], reason: &String) -> bool {
        let Ok(doc) = json::scan(text) else { return false };
        matches!(self.fits_target(migration, &doc), Err(Detection::Misfit { reasons, .. }) if reasons.contains(reason))
    }
}
