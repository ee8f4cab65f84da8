//! What is told of an adoption: a row for each folder or file looked at, and numbers.

use crate::base::id::{OperationId, RunKey};

/// What became of one folder or file of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It came in.
    New {
        /// As which run.
        key: RunKey,
        /// How many findings it came in with.
        exceptions: usize,
    },
    /// The store has it already, byte for byte.
    Already {
        /// As which run.
        key: RunKey,
    },
    /// It did not come in, for this reason.
    Refused(String),
    /// It is no run, for this reason.
    Skipped(String),
}

/// One folder or file of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where, below the source.
    pub place: String,
    /// What became of it.
    pub result: Adopted,
}

/// What an adoption did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdoptReport {
    /// The operation that does it.
    pub operation: Option<OperationId>,
    /// Runs that came in.
    pub adopted: u64,
    /// Runs that the store had already, byte for byte.
    pub already: u64,
    /// What did not come in.
    pub refused: u64,
    /// What is no run.
    pub skipped: u64,
}

/// Hears of each folder or file that was looked at, and of all so far.
pub type Hear<'a> = dyn FnMut(Seen, &AdoptReport) + 'a;

/// What is told of an adoption under way.
pub(super) struct Teller<'a> {
    pub report: AdoptReport,
    pub each: &'a mut Hear<'a>,
}

impl Teller<'_> {
    pub fn tell(&mut self, seen: Seen) {
        let report = &mut self.report;
        *match seen.result {
            Adopted::New { .. } => &mut report.adopted,
            Adopted::Already { .. } => &mut report.already,
            Adopted::Refused(_) => &mut report.refused,
            Adopted::Skipped(_) => &mut report.skipped,
        } += 1;
        (self.each)(seen, report);
    }
}
