//! What to do to one target of a committed change, from what is found there (`store-layout.md`,
//! "Apply"). Redo after a crash asks the same question, so it gets the same answer.

use crate::base::digest::Sha256;

/// The step that brings a target to its committed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The target already holds the committed state, or a later one.
    Done,
    /// The target holds what the change was planned from: put the new state in its place.
    Put,
    /// The target holds something else: keep its bytes as a blob, leave it, say so.
    Foreign,
}

/// Decides for a target that a chain of committed changes leads through `states`, oldest first;
/// `None` at the front means that it did not exist. `wanted` is the position in `states` that this
/// change leads to. Anything found from there on is done; anything found before is put.
pub fn decide(found: Option<Sha256>, states: &[Option<Sha256>], wanted: usize) -> Step {
    match states.iter().rposition(|state| *state == found) {
        Some(at) if at >= wanted => Step::Done,
        Some(_) => Step::Put,
        None => Step::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_before_at_and_after_the_wanted_state_is_put_or_done() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|x| Some(Sha256::of(x)));
        let chain = [None, a, b];
        assert_eq!(decide(None, &chain, 1), Step::Put);
        assert_eq!(decide(a, &chain, 1), Step::Done);
        assert_eq!(decide(b, &chain, 1), Step::Done);
        assert_eq!(decide(a, &chain, 2), Step::Put);
        assert_eq!(decide(c, &chain, 2), Step::Foreign);
    }

    #[test]
    fn target_that_went_back_to_an_earlier_revision_is_done() {
        // Migrated and rolled back within one journal: a, b, a. Found a is the last state.
        let [a, b] = [b"a", b"b"].map(|x| Some(Sha256::of(x)));
        assert_eq!(decide(a, &[a, b, a], 2), Step::Done);
        assert_eq!(decide(b, &[a, b, a], 2), Step::Put);
    }
}
