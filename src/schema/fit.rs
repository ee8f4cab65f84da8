//! Whether a document surely fits a JSON Schema, decided on its spans.
//!
//! The validator proper needs the document as a tree of values, which costs more than all the rest
//! of a migration. Here the keywords that schemas are mostly made of are compiled into a form that
//! is walked along the scanned text; a subschema with any other keyword is handed, alone, to the
//! validator. The answer "fits" is final; anything else is asked of the validator, which also says
//! why. A property test holds both to the same answers.

mod compile;

use std::cmp::Ordering;
use std::collections::HashMap;

use jsonschema::Validator;
use serde_json::{Number, Value};

use super::names::Names;
use crate::base::json::{Doc, Kept, Kind, Node};

/// A schema compiled for walking.
#[derive(Debug)]
pub(super) struct Fit {
    rules: Vec<Rule>,
    /// The number of each rule's demand within the pack.
    demands: Vec<u32>,
}

/// Numbers for what subschemas demand, by their texts: equal texts that name nothing else, or equal
/// definitions, demand the same.
#[derive(Debug, Default)]
pub(super) struct Demands {
    numbers: HashMap<String, u32>,
}

impl Demands {
    fn number(&mut self, text: String) -> u32 {
        // 0 stands for no demand.
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(text).or_insert(next)
    }
}

/// The demand that each object and array of one document is known to meet.
#[derive(Debug, Default)]
pub(super) struct Met {
    demands: Vec<u32>,
}

impl Met {
    /// Nothing is known of the document.
    pub fn of(doc: &Doc<'_>) -> Self {
        Self { demands: vec![0; doc.len()] }
    }

    /// What is known of a document that took nodes over from the one that this is of.
    pub fn carried(&self, after: &Doc<'_>, kept: &[Kept]) -> Self {
        let mut demands = vec![0; after.len()];
        for one in kept {
            let (from, to, len) = (one.before as usize, one.after as usize, one.len as usize);
            if let (Some(to), Some(from)) =
                (demands.get_mut(to..to + len), self.demands.get(from..from + len))
            {
                to.copy_from_slice(from);
            }
        }
        Self { demands }
    }

    /// Takes over what was found out of nodes that this document and another have in common.
    pub fn learn(&mut self, after: &Self, kept: &[Kept]) {
        for one in kept {
            let (from, to, len) = (one.after as usize, one.before as usize, one.len as usize);
            if let (Some(to), Some(from)) =
                (self.demands.get_mut(to..to + len), after.demands.get(from..from + len))
            {
                to.copy_from_slice(from);
            }
        }
    }

    fn has(&self, node: &Node<'_>, demand: u32) -> bool {
        self.demands.get(node.number()) == Some(&demand)
    }

    fn note(&mut self, node: &Node<'_>, demand: u32) {
        if let Some(known) = self.demands.get_mut(node.number()) {
            *known = demand;
        }
    }
}

/// A rule by its number.
type Id = usize;

#[derive(Debug)]
enum Rule {
    Never,
    /// A type is all that is demanded.
    Typed(Types),
    Checks(Box<Checks>),
    /// A subschema whose keywords are left to the validator.
    Ask(Box<Validator>),
}

#[derive(Debug, Default)]
struct Checks {
    types: Option<Types>,
    reference: Option<Id>,
    one_of_scalars: Option<Vec<Value>>,
    length: Range,
    items: Option<Id>,
    item_count: Range,
    members: Names<Member>,
    required: u32,
    additional: Option<Id>,
    member_count: Range,
    minimum: Option<(Number, bool)>,
    maximum: Option<(Number, bool)>,
    all_of: Vec<Id>,
    any_of: Vec<Vec<Id>>,
}

/// A name that an object's schema knows.
#[derive(Debug, Default)]
struct Member {
    schema: Option<Id>,
    required: bool,
}

#[derive(Debug, Default)]
struct Range {
    least: Option<u64>,
    most: Option<u64>,
}

impl Range {
    fn has(&self, n: impl FnOnce() -> u64) -> bool {
        if self.least.is_none() && self.most.is_none() {
            return true;
        }
        let n = n();
        self.least.is_none_or(|least| n >= least) && self.most.is_none_or(|most| n <= most)
    }
}

/// A set of JSON types, one bit each.
#[derive(Debug, Clone, Copy)]
struct Types(u8);

const INTEGER: u8 = 1 << 6;

impl Types {
    fn bit(name: &str) -> Option<u8> {
        let names = ["null", "boolean", "number", "string", "array", "object", "integer"];
        names.iter().position(|own| *own == name).map(|at| 1 << at)
    }

    fn has(self, node: &Node<'_>) -> bool {
        let bit = match node.kind() {
            Kind::Null => 1,
            Kind::Bool(_) => 1 << 1,
            Kind::Number => 1 << 2,
            Kind::String => 1 << 3,
            Kind::Array => 1 << 4,
            Kind::Object => 1 << 5,
        };
        self.0 & bit != 0 || (self.0 & INTEGER != 0 && is_integer(node))
    }
}

/// JSON Schema's integers: numbers without a fraction, however spelled.
fn is_integer(node: &Node<'_>) -> bool {
    node.kind() == Kind::Number
        && (!node.raw().contains(['.', 'e', 'E']) || node.as_f64().is_some_and(|x| x.fract() == 0.0))
}

/// Deepest walk; what is deeper is left to the validator, as are references that go in circles.
const DEPTH: usize = 200;

impl Fit {
    /// Whether the value surely fits.
    pub fn fits(&self, node: Node<'_>, met: &mut Met) -> bool {
        self.holds(0, node, 0, met)
    }

    fn holds(&self, id: Id, node: Node<'_>, depth: usize, met: &mut Met) -> bool {
        let checks = match &self.rules[id] {
            _ if depth > DEPTH => return false,
            Rule::Never => return false,
            Rule::Typed(types) => return types.has(&node),
            Rule::Ask(validator) => return validator.is_valid(&node.to_value()),
            Rule::Checks(checks) => checks,
        };
        let kind = node.kind();
        let container = matches!(kind, Kind::Object | Kind::Array);
        if container && met.has(&node, self.demands[id]) {
            return true;
        }
        let holds = checks.types.is_none_or(|types| types.has(&node))
            && checks
                .one_of_scalars
                .as_ref()
                .is_none_or(|list| list.iter().any(|value| is_scalar(value, &node)))
            && match kind {
                Kind::Object => self.object(checks, node, depth, met),
                Kind::Array => {
                    checks.item_count.has(|| node.len() as u64)
                        && checks
                            .items
                            .is_none_or(|id| node.elements().all(|n| self.holds(id, n, depth + 1, met)))
                }
                Kind::String => {
                    checks.length.has(|| node.as_str().map_or(0, |text| text.chars().count() as u64))
                }
                Kind::Number => checks.bounds(&node),
                Kind::Null | Kind::Bool(_) => true,
            }
            && checks.reference.is_none_or(|id| self.holds(id, node, depth + 1, met))
            && checks.all_of.iter().all(|id| self.holds(*id, node, depth + 1, met))
            && checks.any_of.iter().all(|list| list.iter().any(|id| self.holds(*id, node, depth + 1, met)));
        if holds && container {
            met.note(&node, self.demands[id]);
        }
        holds
    }

    fn object(&self, checks: &Checks, node: Node<'_>, depth: usize, met: &mut Met) -> bool {
        if !checks.member_count.has(|| node.len() as u64) {
            return false;
        }
        if checks.members.is_empty() && checks.additional.is_none() {
            return true;
        }
        // Members have distinct names, so every hit of a required one is another.
        let mut required = 0;
        for member in node.children() {
            let known = match member.plain_key() {
                Some(name) => checks.members.get(name),
                None => checks.members.get(&member.key().unwrap_or_default()),
            };
            let schema = match known {
                Some(known) => {
                    required += u32::from(known.required);
                    // A name that is only required is additional all the same.
                    known.schema.or(checks.additional)
                }
                None => checks.additional,
            };
            if !schema.is_none_or(|id| self.holds(id, member, depth + 1, met)) {
                return false;
            }
        }
        required == checks.required
    }
}

fn is_scalar(value: &Value, node: &Node<'_>) -> bool {
    match value {
        Value::Null => node.is_null(),
        Value::Bool(value) => node.as_bool() == Some(*value),
        Value::String(text) => node.as_str().is_some_and(|own| own == text.as_str()),
        Value::Number(number) => as_number(node).is_some_and(|own| compare(&own, number) == Ordering::Equal),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn as_number(node: &Node<'_>) -> Option<Number> {
    match node.to_value() {
        Value::Number(number) if node.kind() == Kind::Number => Some(number),
        _ => None,
    }
}

/// Compares two numbers exactly, whatever their kinds.
fn compare(a: &Number, b: &Number) -> Ordering {
    let integer = |n: &Number| n.as_i64().map(i128::from).or(n.as_u64().map(i128::from));
    let float = |n: &Number| n.as_f64().unwrap_or(f64::NAN);
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => with_float(a, float(b)),
        (None, Some(b)) => with_float(b, float(a)).reverse(),
        (None, None) => float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Less),
    }
}

/// The integer is within 64 bits, so a float beyond 2^65 decides by its sign, and casts below it
/// are exact.
fn with_float(integer: i128, float: f64) -> Ordering {
    const BEYOND: f64 = 36_893_488_147_419_103_232.0;
    if float.abs() >= BEYOND {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    let whole = float.trunc() as i128;
    integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Less))
}

impl Checks {
    fn bounds(&self, node: &Node<'_>) -> bool {
        if self.minimum.is_none() && self.maximum.is_none() {
            return true;
        }
        let Some(own) = as_number(node) else { return false };
        let within = |limit: &Option<(Number, bool)>, side: Ordering| match limit {
            None => true,
            Some((limit, exclusive)) => {
                let order = compare(&own, limit);
                order == side || (order == Ordering::Equal && !exclusive)
            }
        };
        within(&self.minimum, Ordering::Greater) && within(&self.maximum, Ordering::Less)
    }
}
