//! The step `compute`: how it is read, and what it reads.

use super::error::{PackError, PackErrorKind};
use super::expr::{Arithmetic, Expression, Path, Rounding, Seg, Start};
use super::reader::Table;
use super::step::Op;
use crate::base::json::PointerPattern;

/// What is done where a formula has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnInvalid {
    Null,
    Keep,
    Fail,
}

impl OnInvalid {
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Keep => "keep",
            Self::Fail => "fail",
        }
    }
}

/// Most digits after the point of an exact result.
const SCALE: u32 = 300;

pub(super) fn read_compute(table: &Table<'_, '_>, after: Option<String>) -> Result<Op, PackError> {
    let formula = table.need_text("formula")?.value;
    let text = table.need_text("expression")?;
    let arithmetic = read_arithmetic(table)?;
    let expression = Expression::parse(&text.value, arithmetic).map_err(|error| {
        let at = table.source.within(text.at, error.at);
        table.source.error(at, PackErrorKind::Expression(error.kind))
    })?;
    let invalid = table.need_text("invalid")?;
    let invalid = match invalid.value.as_str() {
        "null" => OnInvalid::Null,
        "keep" => OnInvalid::Keep,
        "fail" => OnInvalid::Fail,
        _ => return Err(table.bad("invalid", &invalid, "it is \"null\", \"keep\" or \"fail\"")),
    };
    Ok(Op::Compute { formula, expression, invalid, after })
}

fn read_arithmetic(table: &Table<'_, '_>) -> Result<Arithmetic, PackError> {
    let name = table.need_text("arithmetic")?;
    match name.value.as_str() {
        "ieee754" => Ok(Arithmetic::Ieee754),
        "exact" => {
            let scale = table.count("scale", SCALE)?;
            let scale = scale.ok_or_else(|| table.error(PackErrorKind::MissingKey { key: "scale" }))?;
            let rounding = table.need_text("rounding")?;
            let rounding = match rounding.value.as_str() {
                "half-even" => Rounding::HalfEven,
                "half-up" => Rounding::HalfUp,
                "down" => Rounding::Down,
                _ => {
                    let wanted = "it is \"half-even\", \"half-up\" or \"down\"";
                    return Err(table.bad("rounding", &rounding, wanted));
                }
            };
            Ok(Arithmetic::Exact { scale, rounding })
        }
        _ => Err(table.bad("arithmetic", &name, "it is \"ieee754\" or \"exact\"")),
    }
}

/// The places that a member of the expression can be, for a step at `target`.
pub(super) fn reads_of(path: &Path, target: &PointerPattern) -> PointerPattern {
    let around = || {
        let (parent, name) = target.split_last()?;
        // An element's names begin further up, and an index looks like a name.
        (!name.bytes().all(|b| b.is_ascii_digit())).then_some(parent)
    };
    let start = match path.start {
        Start::It => target.clone(),
        Start::Document => PointerPattern::root(),
        Start::Around => match around() {
            Some(parent) => parent,
            None => return PointerPattern::root(),
        },
    };
    path.segs.iter().fold(start, |at, seg| match seg {
        Seg::Name(name) => at.child(name),
        Seg::Index(index) => at.child(index.to_string()),
    })
}
