//! Which run a recording is, given the attempts that are there (`store-layout.md`, "Attempts").

use crate::base::digest::Sha256;
use crate::base::id::RunId;

/// One attempt that the store already has under the same derived id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id: the derived id, with a suffix from the second attempt on.
    pub run: RunId,
    /// The `inputs_hash` in its manifest.
    pub inputs_hash: Option<Sha256>,
    /// Whether it succeeded.
    pub succeeded: bool,
}

/// What `record` is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Record a run under this id; `first` names the first attempt if this is a further one.
    New {
        /// The new run's id.
        run: RunId,
        /// The first attempt.
        first: Option<RunId>,
    },
    /// A run with these inputs succeeded before: answer with it.
    Same {
        /// The run to answer with.
        run: RunId,
    },
    /// The derived id is taken by other inputs.
    Conflict {
        /// The run that has the id.
        run: RunId,
    },
}

/// Decides. A failed run is never answered as a success: recording it again is a further attempt.
pub fn decide(inputs_hash: &Sha256, attempts: &[Attempt]) -> Decision {
    if let Some(other) = attempts.iter().find(|attempt| attempt.inputs_hash != Some(*inputs_hash)) {
        return Decision::Conflict { run: other.run.clone() };
    }
    if let Some(done) = attempts.iter().find(|attempt| attempt.succeeded) {
        return Decision::Same { run: done.run.clone() };
    }
    let next = attempts.iter().map(|attempt| attempt.run.stem_and_attempt().1).max().map_or(1, |n| n + 1);
    Decision::New {
        run: RunId::derive(inputs_hash, next),
        first: (next > 1).then(|| RunId::derive(inputs_hash, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(hash: &Sha256, n: u32, succeeded: bool) -> Attempt {
        Attempt { run: RunId::derive(hash, n), inputs_hash: Some(*hash), succeeded }
    }

    #[test]
    fn record_without_attempts_is_new_under_the_derived_id() {
        let hash = Sha256::of(b"x");
        assert_eq!(decide(&hash, &[]), Decision::New { run: RunId::derive(&hash, 1), first: None });
    }

    #[test]
    fn record_after_a_failure_is_a_further_attempt_that_names_the_first() {
        let hash = Sha256::of(b"x");
        let attempts = [attempt(&hash, 1, false), attempt(&hash, 2, false)];
        let decision = decide(&hash, &attempts);
        let first = Some(RunId::derive(&hash, 1));
        assert_eq!(decision, Decision::New { run: RunId::derive(&hash, 3), first });
    }

    #[test]
    fn record_after_a_success_is_the_same_run_even_when_others_failed() {
        let hash = Sha256::of(b"x");
        let attempts = [attempt(&hash, 1, false), attempt(&hash, 2, true)];
        assert_eq!(decide(&hash, &attempts), Decision::Same { run: RunId::derive(&hash, 2) });
    }

    #[test]
    fn record_under_an_id_taken_by_other_inputs_is_a_conflict() {
        let hash = Sha256::of(b"x");
        let mut other = attempt(&hash, 1, true);
        other.inputs_hash = Some(Sha256::of(b"y"));
        assert!(matches!(decide(&hash, &[other]), Decision::Conflict { .. }));
    }
}
