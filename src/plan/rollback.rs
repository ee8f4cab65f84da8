//! Which revision a rollback leads to, and whether it may (`store-layout.md`, "Rollback").

use crate::base::digest::Sha256;
use crate::base::id::OperationId;
use crate::base::json::{self, Doc, Pointer};
use crate::format::entry::{Entry, EntryKind};
use crate::schema::invariant::{Invariant, Violation};

/// What a rollback of one run comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Put this revision in place of the current one.
    To {
        /// The current revision.
        before: Sha256,
        /// The revision to put back.
        after: Sha256,
    },
    /// The run already has that revision.
    Already,
    /// The run never had a revision with that digest.
    NeverHad,
    /// The run changed after the operation: left alone, and listed.
    ChangedSince {
        /// The operation that changed it last.
        by: OperationId,
    },
    /// The operation recorded or adopted the run, which is not rolled back.
    BroughtIn,
    /// The operation did not touch the run.
    NotTouched,
}

/// Rolls a run back to a digest of its own chain, given the run's entries in order.
pub fn to_digest(chain: &[Entry], wanted: &Sha256) -> Decision {
    let current = chain.last().and_then(|entry| entry.after);
    match current {
        Some(current) if current == *wanted => Decision::Already,
        Some(before) if chain.iter().any(|entry| entry.after == Some(*wanted)) => {
            Decision::To { before, after: *wanted }
        }
        _ => Decision::NeverHad,
    }
}

/// Undoes what one operation did to a run, given the run's entries in order. Entries that leave
/// the manifest as it is (restored files) do not count as changes.
pub fn of_operation(chain: &[Entry], operation: &OperationId) -> Decision {
    let changes = || chain.iter().filter(|entry| entry.before != entry.after);
    let Some(first) = changes().find(|entry| entry.operation == *operation) else {
        return Decision::NotTouched;
    };
    if matches!(first.kind, EntryKind::Recorded | EntryKind::Adopted) {
        return Decision::BroughtIn;
    }
    match (changes().next_back(), first.before) {
        // As it was before the operation, whoever put it back: a rollback that was stopped half-way
        // comes to the same end when it is run again.
        (Some(last), before) if last.after == before => Decision::Already,
        (Some(last), Some(after)) if last.operation == *operation => match last.after {
            Some(before) => Decision::To { before, after },
            None => Decision::NotTouched,
        },
        (Some(last), _) => Decision::ChangedSince { by: last.operation },
        (None, _) => Decision::NotTouched,
    }
}

/// Checks the invariants that bind a rollback on the two revisions. A member that one of them lacks
/// is what a migration added: going back takes it away again. What both have must be the same.
pub fn check(before: &Doc<'_>, after: &Doc<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut same = |invariant, at: Pointer| {
        let (Some(old), Some(new)) = (before.at(&at), after.at(&at)) else { return };
        if old.raw() != new.raw() {
            violations.push(Violation {
                invariant,
                at,
                problem: "is not the same in both revisions",
                before: Some(old.raw().to_owned()),
                after: Some(new.raw().to_owned()),
            });
        }
    };
    let at = |name: &str| Pointer::from_tokens([name]);
    same(Invariant::RunId, at("run_id"));
    same(Invariant::RunId, at("inputs_hash"));
    same(Invariant::JobId, at("job_id"));
    same(Invariant::RecordedDigests, at("doctrine"));
    if let Some(snapshots) = before.root().get("input_snapshots").filter(|s| s.kind() == json::Kind::Object) {
        for member in snapshots.members() {
            same(Invariant::InputSnapshots, at("input_snapshots").child(member.key()));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Moment;

    fn entry(kind: EntryKind, op: u8, before: Option<&[u8]>, after: &[u8]) -> Entry {
        let operation = OperationId::new(u64::from(op), [0; 10]);
        let mut entry = Entry::new(kind, Moment::from_millis(0), Sha256::of(b"a"), operation, 1);
        entry.before = before.map(Sha256::of);
        entry.after = Some(Sha256::of(after));
        entry
    }

    fn chain() -> Vec<Entry> {
        vec![
            entry(EntryKind::Adopted, 1, None, b"0"),
            entry(EntryKind::Migrated, 2, Some(b"0"), b"1"),
            entry(EntryKind::Migrated, 3, Some(b"1"), b"2"),
        ]
    }

    #[test]
    fn rollback_to_any_revision_of_the_chain_and_to_no_other() {
        let (before, zero) = (Sha256::of(b"2"), Sha256::of(b"0"));
        assert_eq!(to_digest(&chain(), &zero), Decision::To { before, after: zero });
        assert_eq!(to_digest(&chain(), &before), Decision::Already);
        assert_eq!(to_digest(&chain(), &Sha256::of(b"9")), Decision::NeverHad);
        assert_eq!(to_digest(&[], &zero), Decision::NeverHad);
    }

    #[test]
    fn rollback_of_an_operation_undoes_the_last_one_only() {
        let op = |n: u64| OperationId::new(n, [0; 10]);
        let (before, after) = (Sha256::of(b"2"), Sha256::of(b"1"));
        assert_eq!(of_operation(&chain(), &op(3)), Decision::To { before, after });
        assert_eq!(of_operation(&chain(), &op(2)), Decision::ChangedSince { by: op(3) });
        assert_eq!(of_operation(&chain(), &op(1)), Decision::BroughtIn);
        assert_eq!(of_operation(&chain(), &op(9)), Decision::NotTouched);
        let mut undone = chain();
        undone.push(entry(EntryKind::RolledBack, 4, Some(b"2"), b"1"));
        assert_eq!(of_operation(&undone, &op(3)), Decision::Already);
        assert_eq!(of_operation(&undone, &op(2)), Decision::ChangedSince { by: op(4) });
    }

    #[test]
    fn rollback_that_changes_what_is_fixed_violates_its_invariant_by_place() {
        let whole = r#"{"run_id":"r","inputs_hash":"h","job_id":"j","doctrine":{"sha256":"d"},"input_snapshots":{"a":{"sha256":"1"},"b":{"sha256":"2"}},"note":1}"#;
        let doc = json::scan(whole.as_bytes()).unwrap();
        assert_eq!(check(&doc, &doc), []);
        for (from, to, wanted) in [
            (r#""r""#, r#""s""#, Some((Invariant::RunId, "/run_id"))),
            (r#""h""#, r#""i""#, Some((Invariant::RunId, "/inputs_hash"))),
            (r#""j""#, r#""k""#, Some((Invariant::JobId, "/job_id"))),
            (r#""d""#, r#""e""#, Some((Invariant::RecordedDigests, "/doctrine"))),
            (r#""1""#, r#""3""#, Some((Invariant::InputSnapshots, "/input_snapshots/a"))),
            (r#""2""#, r#""3""#, Some((Invariant::InputSnapshots, "/input_snapshots/b"))),
            (r#""note":1"#, r#""note":2"#, None),
            // What one of them lacks, a migration added.
            (r#""job_id":"j","#, "", None),
            (r#","b":{"sha256":"2"}"#, "", None),
        ] {
            let changed = whole.replace(from, to);
            assert_ne!(changed, whole, "{from}");
            let other = json::scan(changed.as_bytes()).unwrap();
            for (before, after) in [(&doc, &other), (&other, &doc)] {
                let found: Vec<_> =
                    check(before, after).iter().map(|v| (v.invariant, v.at.to_string())).collect();
                let wanted: Vec<_> = wanted.iter().map(|(kind, at)| (*kind, (*at).to_owned())).collect();
                assert_eq!(found, wanted, "{from}");
            }
        }
        // Snapshots of another kind are for other rules to refuse.
        let odd = json::scan(br#"{"input_snapshots":[1]}"#).unwrap();
        assert_eq!(check(&odd, &doc), []);
    }
}
