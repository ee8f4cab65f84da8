//! Which revision a rollback leads to, and whether it may (`store-layout.md`, "Rollback").

use crate::base::digest::Sha256;
use crate::base::id::OperationId;
use crate::format::entry::{Entry, EntryKind};

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
        (Some(last), Some(after)) if last.operation == *operation => match last.after {
            Some(before) if before == after => Decision::Already,
            Some(before) => Decision::To { before, after },
            None => Decision::NotTouched,
        },
        (Some(last), _) => Decision::ChangedSince { by: last.operation },
        (None, _) => Decision::NotTouched,
    }
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
    }
}
