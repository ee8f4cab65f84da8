//! Members of a document that its shape's JSON Schema does not describe: kept by every migration,
//! and worth telling, because a producer that writes them and a schema that does not know them have
//! come apart.
//!
//! A member is described where any schema that applies to its object names it (`properties`), has
//! `patternProperties` (whatever they say), or gives a rule for it by `additionalProperties`. Both
//! `true` and an object count as a rule where they are written down; an absent one does not.
//! Below an undescribed member nothing more is listed. An object whose schemas name no member at
//! all is taken for free-form, and so is all below it.

use serde_json::Value;

use super::pack::Pack;
use super::shape::REF_DEPTH;
use crate::base::json::{Doc, Kind, Node, Pointer};

impl Pack {
    /// The places of a document that the schema of its shape (`version` or `version/variant`) does
    /// not describe, in the order of the text; none for a shape that the pack does not have.
    pub fn undescribed(&self, doc: &Doc<'_>, shape: &str) -> Vec<Pointer> {
        let mut found = Vec::new();
        if let Some(root) = self.schema_of(shape) {
            walk(root, &parts(root, root, doc.root()), doc.root(), &mut found);
        }
        found
    }

    /// The JSON Schema of a shape, written `version` or `version/variant`.
    pub(super) fn schema_of(&self, shape: &str) -> Option<&Value> {
        let known = |known: &&super::shape::Shape| known.name() == shape || known.version == shape;
        self.shapes.iter().find(known).map(|shape| &self.schemas[shape.schema].value)
    }
}

/// What applies to a node: the schema itself, what it refers to, and each branch of its unions.
pub(super) fn parts<'s>(root: &'s Value, schema: &'s Value, node: Node<'_>) -> Vec<&'s Value> {
    let mut parts = Vec::new();
    gather(root, schema, node, 0, &mut parts);
    parts
}

fn gather<'s>(root: &'s Value, schema: &'s Value, node: Node<'_>, depth: usize, parts: &mut Vec<&'s Value>) {
    // A schema can refer to itself by many ways: each of its parts is taken once.
    let known = parts.iter().any(|part| std::ptr::eq(*part, schema));
    if known || depth > REF_DEPTH || !could_be(schema, node) {
        return;
    }
    parts.push(schema);
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    if let Some(target) = reference.and_then(|at| root.pointer(at)) {
        gather(root, target, node, depth + 1, parts);
    }
    for list in ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()) {
        for branch in list {
            gather(root, branch, node, depth + 1, parts);
        }
    }
}

/// Whether a schema's `type` lets the node in; without one it does.
fn could_be(schema: &Value, node: Node<'_>) -> bool {
    let fits = |name: &Value| match (name.as_str(), node.kind()) {
        (Some("number" | "integer"), Kind::Number) => true,
        (Some(name), kind) => name == kind.name(),
        (None, _) => false,
    };
    match schema.get("type") {
        None => true,
        Some(Value::Array(names)) => names.iter().any(fits),
        Some(name) => fits(name),
    }
}

fn walk<'s>(root: &'s Value, schemas: &[&'s Value], node: Node<'_>, found: &mut Vec<Pointer>) {
    match node.kind() {
        Kind::Object => {
            const NAMING: [&str; 3] = ["properties", "patternProperties", "additionalProperties"];
            let named = |schema: &&Value| NAMING.iter().any(|key| schema.get(key).is_some());
            if !schemas.iter().any(named) {
                return;
            }
            for child in node.children() {
                let place = child.pointer();
                let name = place.tokens().next_back().unwrap_or_default();
                let rules: Vec<&Value> = schemas.iter().flat_map(|schema| rules_for(schema, name)).collect();
                if rules.is_empty() {
                    found.push(place);
                    continue;
                }
                let mut below = Vec::new();
                rules.iter().for_each(|rule| gather(root, rule, child, 0, &mut below));
                walk(root, &below, child, found);
            }
        }
        Kind::Array => {
            for (index, child) in node.children().enumerate() {
                let mut below = Vec::new();
                let rule = |schema: &&'s Value| {
                    schema.get("prefixItems").and_then(|items| items.get(index)).or(schema.get("items"))
                };
                for rule in schemas.iter().filter_map(rule) {
                    gather(root, rule, child, 0, &mut below);
                }
                walk(root, &below, child, found);
            }
        }
        _ => {}
    }
}

/// What one schema says of a member by name; `additionalProperties` only where nothing else does.
pub(super) fn rules_for<'s>(schema: &'s Value, name: &str) -> Vec<&'s Value> {
    let mut rules: Vec<&Value> = schema.get("properties").and_then(|own| own.get(name)).into_iter().collect();
    if rules.is_empty()
        && let Some(Value::Object(patterns)) = schema.get("patternProperties")
    {
        rules.extend(patterns.values());
    }
    if rules.is_empty() {
        rules.extend(schema.get("additionalProperties").filter(|rule| **rule != Value::Bool(false)));
    }
    rules
}
