//! What a pack's facts say about a member that a document lacks, without migrating it.

use super::fact::Facts;
use super::pack::Pack;
use super::step::{Op, Source};
use crate::base::json::{Doc, Pointer};

impl Pack {
    /// The text that the pack's migrations would fill in at a place, from facts alone; `None` when
    /// no migration does or no fact can be had.
    pub fn derive(&self, doc: &Doc<'_>, at: &Pointer, facts: &Facts) -> Option<String> {
        let steps = self.migrations.iter().flat_map(|migration| &migration.steps);
        let mut sources = steps.filter_map(|step| match &step.op {
            Op::Default { value: Source::Facts(specs, _), .. }
                if step.path.as_pointer().as_ref() == Some(at) =>
            {
                Some(specs)
            }
            _ => None,
        });
        let specs = sources.next()?;
        specs.iter().find_map(|spec| {
            let (value, _) = spec.find(doc, facts).ok()?;
            value.as_str().map(str::to_owned)
        })
    }
}
