//! Documents made from a JSON Schema, seeded. What is made is a proposal: the caller validates it, so
//! a keyword that is not heeded costs tries and never lets a wrong document in.
//!
//! Heeded: `type`, `properties`, `required`, `additionalProperties`, `items`, `prefixItems`, `minItems`,
//! `maxItems`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, local `$ref`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf` of integers, `minLength`, `maxLength`, simple
//! `pattern`, and the formats of dates, times, UUIDs, URIs and e-mail addresses.

use serde_json::{Map, Value};

use super::pattern::text_for;
use super::random::Random;
use crate::base::json::Json;

/// How many of the optional members a document gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Only what is required.
    Least,
    /// All of them.
    Most,
    /// Each or not, by chance.
    Some,
}

/// Nesting deeper than this is cut off.
const DEPTH: usize = 12;

/// Keywords that validation alone heeds, where they stand in a schema.
const NOT_HEEDED: [&str; 12] = [
    "not",
    "if",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "unevaluatedItems",
    "contains",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

/// The keywords of a schema that documents are not made by.
pub(super) fn not_heeded(schema: &Value, found: &mut std::collections::BTreeSet<&'static str>) {
    match schema {
        Value::Object(members) => {
            found.extend(NOT_HEEDED.iter().filter(|keyword| members.contains_key(**keyword)));
            members.values().for_each(|value| not_heeded(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| not_heeded(value, found)),
        _ => {}
    }
}

/// Makes values for one schema document.
pub(super) struct Maker<'s, 'r> {
    pub root: &'s Value,
    pub random: &'r mut Random,
    pub fill: Fill,
}

impl Maker<'_, '_> {
    /// A value for a schema of the document.
    pub fn value(&mut self, schema: &Value, depth: usize) -> Json {
        let schema = match schema {
            Value::Object(members) => self.flatten(members, 0),
            _ => Map::new(),
        };
        if let Some(value) = schema.get("const") {
            return Json::from(value);
        }
        if let Some(value) = schema.get("enum").and_then(Value::as_array).and_then(|e| self.random.pick(e)) {
            return Json::from(value);
        }
        match self.type_of(&schema) {
            "object" => self.object(&schema, depth),
            "array" => self.array(&schema, depth),
            "string" => Json::String(self.string(&schema)),
            "integer" => self.integer(&schema),
            "number" => self.number(&schema),
            "boolean" => Json::Bool(self.random.one_in(2)),
            _ => Json::Null,
        }
    }

    /// The schema for a place below another, going by the names of members.
    pub fn below(&mut self, schema: &Value, tokens: &[&str]) -> Value {
        let Some((token, rest)) = tokens.split_first() else { return schema.clone() };
        let Value::Object(members) = schema else { return Value::Bool(true) };
        let flat = self.flatten(members, 0);
        let next = flat.get("properties").and_then(|own| own.get(token)).or(flat.get("items")).cloned();
        self.below(&next.unwrap_or(Value::Bool(true)), rest)
    }

    /// One schema from a schema, what it refers to, all of `allOf` and one branch of each union.
    fn flatten(&mut self, schema: &Map<String, Value>, depth: usize) -> Map<String, Value> {
        let mut flat = schema.clone();
        if depth > DEPTH {
            return flat;
        }
        let mut parts: Vec<Value> = Vec::new();
        if let Some(Value::String(reference)) = flat.remove("$ref") {
            parts.extend(reference.strip_prefix('#').and_then(|at| self.root.pointer(at)).cloned());
        }
        if let Some(Value::Array(all)) = flat.remove("allOf") {
            parts.extend(all);
        }
        for union in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = flat.remove(union) {
                parts.extend(self.random.pick(&branches).cloned());
            }
        }
        for part in parts {
            if let Value::Object(part) = part {
                let part = self.flatten(&part, depth + 1);
                merge(&mut flat, part);
            }
        }
        flat
    }

    fn type_of(&mut self, schema: &Map<String, Value>) -> &'static str {
        const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];
        let known = |name: &str| TYPES.into_iter().find(|known| *known == name);
        let named: Vec<&'static str> = match schema.get("type") {
            Some(Value::String(name)) => known(name).into_iter().collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter_map(known).collect(),
            _ => Vec::new(),
        };
        if let Some(name) = self.random.pick(&named) {
            return name;
        }
        let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
        if has(&["properties", "required", "additionalProperties"]) {
            "object"
        } else if has(&["items", "prefixItems", "minItems", "maxItems"]) {
            "array"
        } else if has(&["pattern", "minLength", "maxLength", "format"]) {
            "string"
        } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]) {
            "number"
        } else {
            TYPES[self.random.below(TYPES.len())]
        }
    }

    fn object(&mut self, schema: &Map<String, Value>, depth: usize) -> Json {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut members: Vec<(String, Json)> = Vec::new();
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, rule) in properties {
                let optional = match self.fill {
                    Fill::Least => false,
                    Fill::Most => depth < DEPTH,
                    Fill::Some => depth < DEPTH && self.random.one_in(2),
                };
                if *rule != Value::Bool(false) && (optional || required.contains(&name.as_str())) {
                    let value = self.value(rule, depth + 1);
                    members.push((name.clone(), value));
                }
            }
        }
        for name in required {
            if !members.iter().any(|(own, _)| own == name) {
                let value = self.plain(depth + 1);
                members.push((name.to_owned(), value));
            }
        }
        let more = schema.get("additionalProperties");
        let count = match (more, self.fill) {
            (Some(Value::Bool(false)), _) | (_, Fill::Least) => 0,
            // Members that no schema describes occur, and have to be kept.
            (None | Some(Value::Bool(true)), _) => usize::from(depth < 3 && self.random.one_in(6)),
            _ if depth >= DEPTH => 0,
            _ => self.random.below(4),
        };
        for number in 0..count {
            let name = ["x_more", "k-1", "ключ", "a/b~c"][(number + self.random.below(4)) % 4].to_owned();
            let value = match more {
                Some(rule @ Value::Object(_)) => self.value(rule, depth + 1),
                _ => self.plain(depth + 1),
            };
            if !members.iter().any(|(own, _)| *own == name) {
                members.push((name, value));
            }
        }
        Json::Object(members)
    }

    fn array(&mut self, schema: &Map<String, Value>, depth: usize) -> Json {
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n.min(64) as usize);
        let least = bound("minItems").unwrap_or(0);
        let most = bound("maxItems").unwrap_or(least + 3).max(least);
        let room = if depth >= DEPTH { 0 } else { (most - least).min(3) };
        let first = schema.get("prefixItems").and_then(Value::as_array).cloned().unwrap_or_default();
        let items = schema.get("items");
        let mut values = Vec::new();
        for at in 0..least.max(first.len().min(most)) + self.random.below(room + 1) {
            let value = match (first.get(at), items) {
                (Some(rule), _) => self.value(rule, depth + 1),
                (None, Some(Value::Bool(false))) => break,
                (None, Some(rule)) => self.value(rule, depth + 1),
                (None, None) => self.plain(depth + 1),
            };
            values.push(value);
        }
        Json::Array(values)
    }

    fn string(&mut self, schema: &Map<String, Value>) -> String {
        if let Some(text) =
            schema.get("pattern").and_then(Value::as_str).and_then(|p| text_for(p, self.random))
        {
            return text;
        }
        let two = |random: &mut Random, end: usize| format!("{:02}", random.below(end));
        let date = |random: &mut Random| {
            format!("{}-{:02}-{:02}", 1990 + random.below(50), 1 + random.below(12), 1 + random.below(28))
        };
        let time = |r: &mut Random| format!("{}:{}:{}", two(r, 24), two(r, 60), two(r, 60));
        match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => {
                let zone = ["Z", "+00:00", "-05:30", ".123456Z"][self.random.below(4)];
                return format!("{}T{}{zone}", date(self.random), time(self.random));
            }
            Some("date") => return date(self.random),
            Some("time") => return format!("{}Z", time(self.random)),
            Some("uuid") => {
                let (a, b) = (self.random.next(), self.random.next());
                let (a, b) = (format!("{a:016x}"), format!("{b:016x}"));
                return format!("{}-{}-4{}-8{}-{}", &a[..8], &a[8..12], &a[13..16], &b[1..4], &b[4..16]);
            }
            Some("uri" | "uri-reference" | "iri") => return "https://example.org/a?b=c#d".to_owned(),
            Some("email") => return "someone@example.org".to_owned(),
            _ => {}
        }
        const TEXTS: [&str; 12] = [
            "",
            "a",
            "name",
            "two words",
            "ünïcødé",
            "𝄞",
            "\"quoted\" \\ and /",
            "line\nbreak\ttab",
            "1.0",
            "null",
            "\u{1}\u{7f}",
            "2026-02-28T17:40:08Z",
        ];
        let mut text = TEXTS[self.random.below(TEXTS.len())].to_owned();
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64).map(|n| n.min(4096) as usize);
        let least = bound("minLength").unwrap_or(0);
        while text.chars().count() < least {
            text.push('x');
        }
        match bound("maxLength") {
            Some(most) if text.chars().count() > most => text.chars().take(most).collect(),
            _ => text,
        }
    }

    /// The bounds of a number: both ends, where there are some.
    fn bounds(schema: &Map<String, Value>) -> (Option<f64>, Option<f64>) {
        let number = |key: &str| schema.get(key).and_then(Value::as_f64);
        (number("minimum").or(number("exclusiveMinimum")), number("maximum").or(number("exclusiveMaximum")))
    }

    fn integer(&mut self, schema: &Map<String, Value>) -> Json {
        const EDGES: [i64; 10] = [0, 1, -1, 7, 100, 65_536, -40, (1 << 53) + 1, i64::MAX, i64::MIN];
        let (low, high) = Self::bounds(schema);
        let step = schema.get("multipleOf").and_then(Value::as_i64).filter(|n| *n > 0).unwrap_or(1);
        let number = match (low, high) {
            (None, None) => EDGES[self.random.below(EDGES.len())],
            (low, high) => {
                let low_end = low.unwrap_or_else(|| high.unwrap_or(0.0) - 1000.0).ceil() as i64;
                let high_end = high.unwrap_or_else(|| low.unwrap_or(0.0) + 1000.0).floor() as i64;
                let width = high_end.saturating_sub(low_end).saturating_add(1).max(1);
                match self.random.below(6) {
                    0 => low_end,
                    1 => high_end,
                    2 if high.is_none() => EDGES[self.random.below(EDGES.len())].max(low_end),
                    _ => low_end.saturating_add((self.random.next() % width as u64) as i64),
                }
            }
        };
        Json::Number((number / step * step).to_string())
    }

    fn number(&mut self, schema: &Map<String, Value>) -> Json {
        const EDGES: [&str; 12] = [
            "0",
            "1",
            "-1",
            "0.1",
            "6.64e-07",
            "1E-8",
            "12.0",
            "-0.0",
            "1e22",
            "123456789.123456789",
            "1.7e308",
            "5e-324",
        ];
        let (low, high) = Self::bounds(schema);
        if (low, high) == (None, None) || (high.is_none() && self.random.one_in(4)) {
            let within = |text: &&str| low.is_none_or(|low| text.parse().is_ok_and(|n: f64| n >= low));
            let edges: Vec<&str> = EDGES.into_iter().filter(within).collect();
            if let Some(edge) = self.random.pick(&edges) {
                return Json::Number((*edge).to_owned());
            }
        }
        let low_end = low.unwrap_or_else(|| high.unwrap_or(0.0) - 1000.0);
        let high_end = high.unwrap_or_else(|| low.unwrap_or(0.0) + 1000.0);
        let part = (self.random.next() >> 11) as f64 / (1u64 << 53) as f64;
        let number = match self.random.below(6) {
            0 => low_end,
            1 => high_end,
            2 => (low_end + (high_end - low_end) * part).round(),
            _ => low_end + (high_end - low_end) * part,
        };
        Json::Number(serde_json::Number::from_f64(number).map_or("0".to_owned(), |n| n.to_string()))
    }

    /// Any value, where no schema says which.
    fn plain(&mut self, depth: usize) -> Json {
        match self.random.below(if depth < 3 { 8 } else { 5 }) {
            0 => Json::Null,
            1 => Json::Bool(true),
            2 => self.integer(&Map::new()),
            3 => self.number(&Map::new()),
            4 => Json::String(self.string(&Map::new())),
            5 => Json::Array(vec![self.plain(depth + 1), self.plain(depth + 1)]),
            6 => Json::Object(vec![("inner".to_owned(), self.plain(depth + 1))]),
            _ => Json::Object(Vec::new()),
        }
    }
}

/// Joins a schema to another that must hold as well.
fn merge(into: &mut Map<String, Value>, part: Map<String, Value>) {
    for (key, value) in part {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(own)), Value::Object(more)) if key == "properties" => {
                for (name, rule) in more {
                    match own.get_mut(&name) {
                        Some(Value::Object(own)) => {
                            if let Value::Object(rule) = rule {
                                merge(own, rule);
                            }
                        }
                        Some(Value::Bool(false)) => {}
                        _ => drop(own.insert(name, rule)),
                    }
                }
            }
            (Some(Value::Array(own)), Value::Array(more)) if key == "required" => own.extend(more),
            (Some(Value::Array(own)), Value::Array(more)) if matches!(key.as_str(), "enum" | "type") => {
                own.retain(|value| more.contains(value));
            }
            (Some(Value::Array(own)), one @ Value::String(_)) if key == "type" => {
                own.retain(|value| *value == one);
            }
            (Some(_), _) => {}
            (None, value) => drop(into.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json::{print_compact, scan};
    use serde_json::json;

    fn share_of_valid(schema: &Value) -> usize {
        let validator = jsonschema::validator_for(schema).unwrap();
        (0..300)
            .filter(|seed| {
                let mut random = Random::new(*seed);
                let fill = [Fill::Least, Fill::Most, Fill::Some][(seed % 3) as usize];
                let value = Maker { root: schema, random: &mut random, fill }.value(schema, 0);
                let text = print_compact(&value);
                let doc = scan(text.as_bytes()).unwrap();
                validator.is_valid(&doc.root().to_value())
            })
            .count()
    }

    #[test]
    fn most_made_documents_fit_their_schema() {
        let schema = json!({
            "type": "object", "required": ["id", "n", "list", "kind"], "additionalProperties": false,
            "$defs": {"item": {"type": "object", "required": ["x"], "properties": {
                "x": {"type": ["number", "null"], "minimum": 0}, "next": {"$ref": "#/$defs/item"}}}},
            "properties": {
                "id": {"type": "string", "pattern": "^[a-z]{3}-\\d+$"},
                "n": {"type": "integer", "minimum": 3, "maximum": 9},
                "list": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
                "kind": {"enum": ["a", "b"]},
                "when": {"type": "string", "format": "date-time"},
                "either": {"anyOf": [{"type": "string", "minLength": 3}, {"const": 4}]},
                "both": {"allOf": [{"type": "integer"}, {"minimum": 1, "maximum": 1}]}
            }
        });
        assert_eq!(share_of_valid(&schema), 300);
        assert!(share_of_valid(&json!({"type": "object", "not": {"required": ["q"]}})) > 290);
    }

    #[test]
    fn keywords_that_are_not_heeded_are_named() {
        let mut found = Default::default();
        not_heeded(&json!({"items": {"not": {}, "if": true}, "contains": true}), &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["contains", "if", "not"]);
    }
}
