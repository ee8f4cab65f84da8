//! Measured members that a document does not have, though the schema of its shape has a place for
//! them: what was never measured stays absent, and whoever migrates the document is told so.

use serde_json::Value;

use super::pack::Pack;
use super::undescribed::{parts, rules_for};
use crate::base::json::{Doc, Kind, Node, Pointer};

impl Pack {
    /// The places of measured members that the schema of a shape (`version` or `version/variant`)
    /// names and that the document does not have, in the pack's order.
    pub fn unmeasured(&self, doc: &Doc<'_>, shape: &str) -> Vec<Pointer> {
        let Some(schema) = self.schema_of(shape) else { return Vec::new() };
        let mut found = Vec::new();
        for pattern in &self.measured {
            let Some((parents, name)) = pattern.nodes_above(doc) else { continue };
            for parent in parents {
                let lacks = parent.kind() == Kind::Object && parent.get(name).is_none();
                if lacks && named(schema, doc, &parent.pointer(), name) {
                    found.push(parent.pointer().child(name));
                }
            }
        }
        found
    }
}

/// Whether the schemas that apply to the object at a place name a member.
fn named(schema: &Value, doc: &Doc<'_>, at: &Pointer, name: &str) -> bool {
    let mut node = doc.root();
    let mut schemas = parts(schema, schema, node);
    for token in at.tokens() {
        let Some(child) = node.child(token) else { return false };
        schemas = below(schema, &schemas, node, token, child);
        node = child;
    }
    let names = |schema: &&Value| schema.get("properties").is_some_and(|own| own.get(name).is_some());
    schemas.iter().any(names)
}

fn below<'s>(
    root: &'s Value,
    schemas: &[&'s Value],
    node: Node<'_>,
    token: &str,
    child: Node<'_>,
) -> Vec<&'s Value> {
    let rules = |schema: &&'s Value| match node.kind() {
        Kind::Object => rules_for(schema, token),
        _ => schema.get("items").into_iter().collect(),
    };
    schemas.iter().flat_map(rules).flat_map(|rule| parts(root, rule, child)).collect()
}
