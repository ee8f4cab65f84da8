//! Whether a document surely fits a JSON Schema, decided on its spans.
//!
//! The validator proper needs the document as a tree of values, which costs more than all the rest
//! of a migration. Here the keywords that schemas are mostly made of are compiled into a form that
//! is walked along the scanned text; a subschema with any other keyword is handed, alone, to the
//! validator. The answer "fits" is final; anything else is asked of the validator, which also says
//! why. A property test holds both to the same answers.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Number, Value};

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

/// Keywords that demand nothing.
const SILENT: &[&str] = &[
    "$schema",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// Deepest walk; what is deeper is left to the validator, as are references that go in circles.
const DEPTH: usize = 200;

impl Fit {
    /// Compiles a schema; `None` where its form is not known well enough.
    pub fn new(schema: &Value, demands: &mut Demands) -> Option<Self> {
        let draft = schema.get("$schema").map(|text| text.as_str().unwrap_or_default());
        let modern = match draft.map(|text| text.trim_end_matches('#')) {
            None | Some("https://json-schema.org/draft/2020-12/schema") => true,
            Some("http://json-schema.org/draft-07/schema") => false,
            Some(_) => return None,
        };
        let root = schema.get("$id").is_none().then_some(schema)?;
        let mut compiler =
            Compiler { root, draft, modern, rules: Vec::new(), places: Vec::new(), known: HashMap::new() };
        compiler.at("")?;
        let scope = Scope::of(root, modern);
        let numbers =
            compiler.places.iter().map(|place| Some(demands.number(scope.text(root.pointer(place)?))));
        let demands = numbers.collect::<Option<_>>()?;
        Some(Self { rules: compiler.rules, demands })
    }

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

/// What the texts of a schema's parts depend on besides themselves.
struct Scope {
    modern: bool,
    /// The definitions, where all that is named is one of them; else the whole schema.
    named: String,
}

impl Scope {
    fn of(root: &Value, modern: bool) -> Self {
        let definitions = ["$defs", "definitions"].map(|key| root.get(key));
        let inside = |text: &str| text.starts_with("#/$defs/") || text.starts_with("#/definitions/");
        let named = match references(root).iter().all(|text| inside(text)) {
            true => serde_json::json!(definitions).to_string(),
            false => root.to_string(),
        };
        Self { modern, named }
    }

    fn text(&self, part: &Value) -> String {
        let named = if references(part).is_empty() { "" } else { &self.named };
        format!("{} {part} {named}", self.modern)
    }
}

/// The texts of all references within a schema; of anything that may be one.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Array(list) => list.iter().flat_map(references).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key.ends_with("Ref") || key.ends_with("ref") => vec![text.clone()],
                other => references(other),
            })
            .collect(),
        _ => Vec::new(),
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

struct Compiler<'v> {
    root: &'v Value,
    draft: Option<&'v str>,
    modern: bool,
    rules: Vec<Rule>,
    /// The place of each rule's schema.
    places: Vec<String>,
    /// Rules by the place of their schema, so that a schema that holds itself is compiled once.
    known: HashMap<String, Id>,
}

impl<'v> Compiler<'v> {
    fn at(&mut self, place: &str) -> Option<Id> {
        if let Some(id) = self.known.get(place) {
            return Some(*id);
        }
        let schema = self.root.pointer(place)?;
        let id = self.rules.len();
        self.rules.push(Rule::Never);
        self.places.push(place.to_owned());
        self.known.insert(place.to_owned(), id);
        self.rules[id] = match schema {
            Value::Bool(true) => Rule::Checks(Box::default()),
            Value::Bool(false) => Rule::Never,
            Value::Object(keywords) => self.keywords(keywords, place)?,
            _ => return None,
        };
        Some(id)
    }

    fn below(&mut self, place: &str, keyword: &str) -> Option<Id> {
        self.at(&format!("{place}/{}", keyword.replace('~', "~0").replace('/', "~1")))
    }

    fn list(&mut self, place: &str, keyword: &str, value: &Value) -> Option<Vec<Id>> {
        let len = value.as_array()?.len();
        (0..len).map(|i| self.at(&format!("{place}/{keyword}/{i}"))).collect()
    }

    fn keywords(&mut self, keywords: &'v Map<String, Value>, place: &str) -> Option<Rule> {
        if ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "id"].iter().any(|k| keywords.contains_key(*k))
            && !place.is_empty()
        {
            return None;
        }
        // Before 2019 a reference hides what stands beside it.
        let referring = keywords.contains_key("$ref");
        if referring && !self.modern && keywords.keys().any(|k| k != "$ref" && !SILENT.contains(&k.as_str()))
        {
            return None;
        }
        let mut checks = Checks::default();
        let mut names: BTreeMap<String, Member> = BTreeMap::new();
        let only_type =
            keywords.keys().all(|keyword| keyword == "type" || SILENT.contains(&keyword.as_str()));
        for (keyword, value) in keywords {
            if !self.keyword(&mut checks, &mut names, keyword, value, place)? {
                return self.ask(keywords);
            }
        }
        if let (Some(types), true) = (checks.types, only_type) {
            return Some(Rule::Typed(types));
        }
        checks.required = names.values().filter(|member| member.required).count() as u32;
        checks.members = Names::new(names);
        Some(Rule::Checks(Box::new(checks)))
    }

    /// Takes one keyword in; answers whether it is one that is known here.
    fn keyword(
        &mut self,
        checks: &mut Checks,
        names: &mut BTreeMap<String, Member>,
        keyword: &str,
        value: &Value,
        place: &str,
    ) -> Option<bool> {
        let count = || value.as_u64();
        match keyword {
            "type" => {
                let one = |name: &Value| Types::bit(name.as_str()?);
                let bits = match value {
                    Value::Array(list) => list.iter().try_fold(0, |bits, name| Some(bits | one(name)?))?,
                    name => one(name)?,
                };
                checks.types = Some(Types(bits));
            }
            "enum" | "const" if checks.one_of_scalars.is_none() => {
                let list = if keyword == "enum" { value.as_array()?.clone() } else { vec![value.clone()] };
                if list.iter().any(|value| value.is_array() || value.is_object()) {
                    return Some(false);
                }
                checks.one_of_scalars = Some(list);
            }
            "$ref" => checks.reference = Some(self.at(value.as_str()?.strip_prefix('#')?)?),
            "minLength" => checks.length.least = Some(count()?),
            "maxLength" => checks.length.most = Some(count()?),
            "minItems" => checks.item_count.least = Some(count()?),
            "maxItems" => checks.item_count.most = Some(count()?),
            "minProperties" => checks.member_count.least = Some(count()?),
            "maxProperties" => checks.member_count.most = Some(count()?),
            "minimum" | "exclusiveMinimum" if checks.minimum.is_none() => {
                checks.minimum = Some((value.as_number()?.clone(), keyword != "minimum"));
            }
            "maximum" | "exclusiveMaximum" if checks.maximum.is_none() => {
                checks.maximum = Some((value.as_number()?.clone(), keyword != "maximum"));
            }
            "items" if !value.is_array() => checks.items = Some(self.below(place, keyword)?),
            "additionalProperties" => checks.additional = Some(self.below(place, keyword)?),
            "properties" => {
                for name in value.as_object()?.keys() {
                    let id = self.below(&format!("{place}/properties"), name)?;
                    names.entry(name.clone()).or_default().schema = Some(id);
                }
            }
            "required" => {
                for name in value.as_array()? {
                    names.entry(name.as_str()?.to_owned()).or_default().required = true;
                }
            }
            "allOf" => checks.all_of = self.list(place, keyword, value)?,
            "anyOf" => {
                let list = self.list(place, keyword, value)?;
                checks.any_of.push(list);
            }
            "format" => return Some(self.modern),
            silent => return Some(SILENT.contains(&silent)),
        }
        Some(true)
    }

    /// A rule for a subschema that stands alone: it names nothing outside itself.
    fn ask(&self, keywords: &Map<String, Value>) -> Option<Rule> {
        let text = serde_json::to_string(keywords).ok()?;
        if ["\"$ref\"", "\"$dynamicRef\"", "\"$id\"", "\"$recursiveRef\""]
            .iter()
            .any(|key| text.contains(key))
        {
            return None;
        }
        let mut alone = keywords.clone();
        if let Some(draft) = self.draft {
            alone.insert("$schema".to_owned(), Value::from(draft));
        }
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        Some(Rule::Ask(Box::new(options.build(&Value::Object(alone)).ok()?)))
    }
}
