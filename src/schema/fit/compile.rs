//! Compiling a JSON Schema into rules.

use std::collections::{BTreeMap, HashMap};

use jsonschema::PatternOptions;
use serde_json::{Map, Value};

use super::{Checks, Demands, Fit, Id, Member, Rule, Types};
use crate::schema::names::Names;

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
