//! Writing a drafted pack: the tables of its shapes, and a JSON Schema for each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Group, MAP_NAMES, UNLABELLED, condition, json_type};
use crate::base::json::{Kind, Node, Pointer, quote};
use crate::schema::pack::PACK_FILE;

/// The files of a drafted pack while they are written.
pub(super) struct Writer<'w> {
    name: &'w str,
    version_at: Option<&'w Pointer>,
    tables: String,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) shapes: Vec<(String, usize)>,
}

impl<'w> Writer<'w> {
    pub(super) fn new(name: &'w str, version_at: Option<&'w Pointer>) -> Self {
        Self { name, version_at, tables: String::new(), files: BTreeMap::new(), shapes: Vec::new() }
    }

    /// Writes the shapes of one label.
    pub(super) fn label(&mut self, label: Option<&str>, groups: &[Group<'_>]) {
        let version = label.unwrap_or(UNLABELLED);
        for (at, group) in groups.iter().enumerate() {
            let variant = (groups.len() > 1).then(|| variant(at));
            let file = self.file_name(version, variant.as_deref());
            let mut conditions: BTreeSet<String> = groups
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .filter_map(|(_, other)| condition(group, other))
                .collect();
            if let (None, Some(place)) = (label, self.version_at) {
                conditions.insert(format!("{{ absent = {} }}", quote(&place.to_string())));
            }
            self.tables.push_str(&format!("[[shape]]\nversion = {}\n", quote(version)));
            if let Some(variant) = &variant {
                self.tables.push_str(&format!("variant = {}\n", quote(variant)));
            }
            if label.is_none() && self.version_at.is_some() {
                self.tables.push_str("unlabelled = true\n");
            }
            self.tables.push_str(&format!("schema = {}\n", quote(&file)));
            if !conditions.is_empty() {
                let list: Vec<String> = conditions.into_iter().collect();
                self.tables.push_str(&format!("when = [{}]\n", list.join(", ")));
            }
            self.tables.push('\n');
            let nodes: Vec<Node<'_>> = group.docs.iter().map(|doc| doc.root()).collect();
            let mut schema = infer(&nodes, 0);
            if let (Some(label), Some(place)) = (label, self.version_at) {
                let at: String = place.tokens().map(|t| format!("/properties/{}", token(t))).collect();
                if let Some(rule) = schema.pointer_mut(&at) {
                    *rule = json!({ "const": label });
                }
            }
            let mut whole = Map::new();
            whole.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
            if let Value::Object(members) = schema {
                whole.extend(members);
            }
            let text = serde_json::to_string_pretty(&Value::Object(whole)).unwrap_or_default();
            let stem = file.trim_end_matches(".schema.json").to_owned();
            if let Some(example) = group.docs.iter().min_by_key(|doc| doc.text().len())
                && is_plain(version)
            {
                self.files.insert(format!("examples/{stem}--1.json"), example.text().as_bytes().to_vec());
            }
            self.files.insert(file, format!("{text}\n").into_bytes());
            let shape = variant.map_or(version.to_owned(), |variant| format!("{version}/{variant}"));
            self.shapes.push((shape, group.docs.len()));
        }
    }

    fn file_name(&self, version: &str, variant: Option<&str>) -> String {
        if !is_plain(version) {
            return format!("shape-{}.schema.json", self.shapes.len() + 1);
        }
        match variant {
            Some(variant) => format!("{version}--{variant}.schema.json"),
            None => format!("{version}.schema.json"),
        }
    }

    /// Writes the head of the pack's file.
    pub(super) fn end(mut self, by_label: &[(Option<String>, Vec<usize>)]) -> Self {
        let versions: Vec<&str> =
            by_label.iter().map(|(label, _)| label.as_deref().unwrap_or(UNLABELLED)).collect();
        let number = |text: &&str| Some((semver::Version::parse(text).ok()?, (*text).to_owned()));
        let numbers: Vec<(semver::Version, String)> = versions.iter().filter_map(number).collect();
        // An order by numbers needs one in every version.
        let order = if numbers.len() == versions.len() { "semver" } else { "graph" };
        let mut labels = versions.iter().filter(|version| **version != UNLABELLED);
        let head = match numbers.into_iter().max() {
            Some((_, head)) if versions.iter().all(|v| *v == UNLABELLED || number(v).is_some()) => head,
            // Only the author knows the order; the last label seen is a guess.
            _ => labels.next_back().map_or(UNLABELLED, |label| *label).to_owned(),
        };
        let head = &head;
        let mut text = format!(
            "# Drafted from documents: look at each shape, name the variants, write the migrations, then run\n\
             # strongroom pack check on this folder.\n\n[pack]\nname = {}\nversion = \"0.1.0\"\n",
            quote(self.name)
        );
        if let Some(at) = self.version_at {
            text.push_str(&format!("version_at = {}\n", quote(&at.to_string())));
        }
        text.push_str(&format!("head = {}\norder = {}\n\n", quote(head), quote(order)));
        text.push_str(&self.tables);
        self.files.insert(PACK_FILE.to_owned(), text.into_bytes());
        self
    }
}

/// `a` to `x`: there are never more.
fn variant(at: usize) -> String {
    char::from(b'a' + (at % 26) as u8).to_string()
}

/// Whether a version can be part of a file's name.
fn is_plain(version: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    version.len() <= 64 && version.chars().all(fit) && !version.starts_with('.') && !version.contains("--")
}

fn token(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}

/// A schema that takes these values.
fn infer(nodes: &[Node<'_>], depth: usize) -> Value {
    let mut kinds: BTreeSet<&'static str> = nodes.iter().map(|node| json_type(node)).collect();
    if kinds.contains("number") {
        kinds.remove("integer");
    }
    let mut schema = Map::new();
    match kinds.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => return Value::Bool(true),
        [one] => schema.insert("type".to_owned(), json!(one)),
        several => schema.insert("type".to_owned(), json!(several)),
    };
    if depth > 32 {
        return Value::Object(schema);
    }
    let objects: Vec<Node<'_>> = nodes.iter().copied().filter(|node| node.kind() == Kind::Object).collect();
    let mut members: BTreeMap<String, Vec<Node<'_>>> = BTreeMap::new();
    for member in objects.iter().flat_map(|node| node.members()) {
        members.entry(member.key().into_owned()).or_default().push(member.value());
    }
    let in_all = |values: &Vec<Node<'_>>| values.len() == objects.len();
    if members.len() > MAP_NAMES && objects.len() > 1 && !members.values().any(in_all) {
        let all: Vec<Node<'_>> = members.into_values().flatten().collect();
        schema.insert("additionalProperties".to_owned(), infer(&all, depth + 1));
    } else if !members.is_empty() {
        let required: Vec<&String> =
            members.iter().filter(|(_, values)| in_all(values)).map(|(name, _)| name).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        let properties: Map<String, Value> =
            members.iter().map(|(name, values)| (name.clone(), infer(values, depth + 1))).collect();
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    let items: Vec<Node<'_>> =
        nodes.iter().filter(|node| node.kind() == Kind::Array).flat_map(|node| node.elements()).collect();
    if !items.is_empty() {
        schema.insert("items".to_owned(), infer(&items, depth + 1));
    }
    Value::Object(schema)
}
