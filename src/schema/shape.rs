//! Shapes: the versions and variants of a kind of document, each with its JSON Schema.

use std::collections::{BTreeMap, HashSet};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ReferencingError, Validator};
use serde_json::Value;

use super::apply::preview;
use super::condition::Condition;
use super::engine::labelled;
use super::error::{PackError, PackErrorKind};
use super::fit::{Demands, Fit, Met};
use super::pack::Pack;
use super::reader::Table;
use crate::base::canonical;
use crate::base::escape::Escaped;
use crate::base::json::{self, Doc, Kind, Node, Pointer, PointerPattern};

type Result<T> = std::result::Result<T, PackError>;

#[derive(Debug)]
pub(super) struct Schema {
    pub file: String,
    pub value: Value,
    pub validator: Validator,
    /// The quick way to the answer "fits".
    pub fit: Option<Fit>,
    /// The schema's text without its formatting, as part of the pack's identity.
    pub compact: String,
}

#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub version: String,
    pub variant: Option<String>,
    /// Whether documents of this shape carry a label; those that do not never get one.
    pub labelled: bool,
    pub schema: usize,
    /// Of which kind its documents are, where the pack has several.
    pub kind: Option<String>,
    pub when: Vec<Condition>,
}

impl Shape {
    /// The version, and the variant after a slash.
    pub fn name(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}/{variant}", self.version),
            None => self.version.clone(),
        }
    }

    /// Whether this is its name.
    pub fn is_named(&self, name: &str) -> bool {
        match &self.variant {
            Some(variant) => name
                .strip_prefix(self.version.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|rest| rest == variant),
            None => name == self.version,
        }
    }
}

/// Reads all shapes of a pack, and each schema file once.
pub(super) fn read_shapes(
    root: &Table<'_, '_>,
    files: &BTreeMap<String, Vec<u8>>,
    schemas: &mut Vec<Schema>,
) -> Result<Vec<Shape>> {
    let mut shapes: Vec<Shape> = Vec::new();
    let mut demands = Demands::default();
    for table in root.tables("shape")? {
        let version = table.need_text("version")?.value;
        let variant = table.text("variant")?.map(|text| text.value);
        let file = table.need_text("schema")?;
        let schema = match schemas.iter().position(|schema| schema.file == file.value) {
            Some(schema) => schema,
            None => {
                let Some(bytes) = files.get(&file.value) else {
                    let kind = PackErrorKind::NoFile { file: file.value };
                    return Err(table.source.error(file.at, kind));
                };
                schemas.push(read_schema(&file.value, bytes, &mut demands)?);
                schemas.len() - 1
            }
        };
        let labelled = !table.flag("unlabelled")?;
        let kind = table.text("kind")?.map(|text| text.value);
        let when = Condition::read_all(&table.tables("when")?)?;
        table.finish()?;
        let shape = Shape { version, variant, labelled, schema, kind, when };
        // Where a version has several shapes, each needs a name of its own.
        let clash = shapes.iter().any(|other| {
            other.version == shape.version
                && (other.variant == shape.variant || other.variant.is_none() || shape.variant.is_none())
        });
        if clash {
            return Err(table.error(PackErrorKind::Twice { what: "shape", name: shape.name() }));
        }
        shapes.push(shape);
    }
    if shapes.is_empty() {
        return Err(root.error(PackErrorKind::MissingKey { key: "shape" }));
    }
    Ok(shapes)
}

fn read_schema(file: &str, bytes: &[u8], demands: &mut Demands) -> Result<Schema> {
    let doc = json::scan(bytes).map_err(|error| PackError {
        file: file.to_owned(),
        line: error.line,
        column: error.column,
        kind: PackErrorKind::Json(error.kind),
    })?;
    let value = doc.root().to_value();
    // The `regex` crate's patterns take linear time on any text.
    let validator = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&value)
        .map_err(|error| {
            let failed = |at: Node<'_>, message: String| {
                PackError::at(file, doc.text(), at.span().start, PackErrorKind::Schema { message })
            };
            // Of several that lead out of the schema the validator tells of any, and says no place.
            if let ValidationErrorKind::Referencing(ReferencingError::Unretrievable { .. }) = error.kind() {
                return match leads_out(doc.root()) {
                    Some((reference, text)) => failed(reference, format!("$ref {} {OUT}", Escaped(&text))),
                    None => failed(doc.root(), format!("a $ref {OUT}")),
                };
            }
            let place = error.instance_path().to_string().parse::<Pointer>().ok();
            let node = place.filter(|place| !place.is_root()).and_then(|place| doc.at(&place));
            let node = node.or_else(|| leads_nowhere(&doc, doc.root()));
            failed(node.unwrap_or(doc.root()), error.to_string())
        })?;
    let compact = canonical::python_dumps(doc.root(), canonical::PythonForm::Compact, None);
    let fit = Fit::new(&value, demands);
    Ok(Schema { file: file.to_owned(), value, validator, fit, compact })
}

const OUT: &str = "leads out of the schema; put what it names under $defs, and refer to #/$defs/NAME";

/// The first reference that leads out of a schema, and its text. None where the schema names parts of itself by
/// `$id`, since such a reference may lead to one of those.
fn leads_out<'d>(root: Node<'d>) -> Option<(Node<'d>, String)> {
    if root.children().any(|child| first_text(child, "$id", &|_| true).is_some()) {
        return None;
    }
    first_text(root, "$ref", &|text| !text.starts_with('#'))
}

/// The first reference by a path that leads nowhere: the error that tells of it has no place.
fn leads_nowhere<'d>(doc: &'d Doc<'d>, root: Node<'d>) -> Option<Node<'d>> {
    let nowhere = |text: &str| {
        let path = text.strip_prefix('#').map(str::parse::<Pointer>);
        path.is_some_and(|path| path.is_ok_and(|at| doc.at(&at).is_none()))
    };
    first_text(root, "$ref", &nowhere).map(|(reference, _)| reference)
}

/// The first text under a keyword, in the order of the schema, that is wanted. What is below `const`, `enum` and
/// the like is no schema.
fn first_text<'d>(
    node: Node<'d>,
    keyword: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Option<(Node<'d>, String)> {
    if let Some(reference) = node.get(keyword)
        && let Some(text) = reference.as_str()
        && wanted(&text)
    {
        return Some((reference, text.into_owned()));
    }
    let is_value = |child: &Node<'d>| {
        child.key().is_some_and(|key| matches!(&*key, "const" | "enum" | "default" | "examples"))
    };
    node.children().filter(|child| !is_value(child)).find_map(|child| first_text(child, keyword, wanted))
}

impl Pack {
    /// The kind of the documents of a shape, written `version` or `version/variant`, where the pack
    /// has several.
    pub fn kind_of(&self, shape: &str) -> Option<&str> {
        self.shapes.iter().find(|known| known.is_named(shape))?.kind.as_deref()
    }

    /// Whether the schemas of a version's shapes describe a place, going by the names of members.
    pub(super) fn describes(&self, version: &str, at: &Pointer) -> bool {
        let tokens: Vec<Option<&str>> = at.tokens().map(Some).collect();
        self.describes_each(version, &tokens)
    }

    /// The same of a pattern, each `*` in it standing for an element: whether every such place is described.
    pub(super) fn describes_elements(&self, version: &str, pattern: &PointerPattern) -> bool {
        let tokens: Vec<Option<&str>> = pattern.tokens().collect();
        self.describes_each(version, &tokens)
    }

    fn describes_each(&self, version: &str, tokens: &[Option<&str>]) -> bool {
        self.shapes.iter().filter(|shape| shape.version == version).any(|shape| {
            let schema = &self.schemas[shape.schema].value;
            Search { root: schema, seen: HashSet::new() }.describes(schema, tokens, 0)
        })
    }

    /// Why a document does not fit a shape's schema; empty when it does. A missing label is taken
    /// as the given one.
    pub(super) fn misfits(
        &self,
        shape: &Shape,
        doc: &Doc<'_>,
        label: Option<&str>,
        met: &mut Met,
    ) -> Vec<String> {
        const SHOWN: usize = 8;
        if self.schemas[shape.schema].fit.as_ref().is_some_and(|fit| self.surely_fits(fit, doc, label, met)) {
            return Vec::new();
        }
        let mut value = doc.root().to_value();
        if let (Some(label), Some(at)) = (label, &self.version_at) {
            set_label(&mut value, doc.root(), at, label);
        }
        let errors = self.schemas[shape.schema].validator.iter_errors(&value);
        errors
            .take(SHOWN)
            .map(|error| {
                let at = error.instance_path().to_string();
                // The validator quotes the value, which can be the whole document.
                let problem = preview(&error.to_string());
                format!("{}: {problem}", if at.is_empty() { "the document" } else { &at })
            })
            .collect()
    }
}

impl Pack {
    fn surely_fits(&self, fit: &Fit, doc: &Doc<'_>, label: Option<&str>, met: &mut Met) -> bool {
        let Some((label, at)) = label.zip(self.version_at.as_ref()) else {
            return fit.fits(doc.root(), met);
        };
        labelled(doc, at, label).is_some_and(|(mut with_label, kept)| {
            with_label.with(|with_label| {
                let mut of_it = met.carried(with_label, &kept);
                let fits = fit.fits(with_label.root(), &mut of_it);
                met.learn(&of_it, &kept);
                fits
            })
        })
    }
}

fn set_label(value: &mut Value, root: Node<'_>, at: &Pointer, label: &str) {
    let Some((parent, name)) = at.split_last() else { return };
    if root.at(&parent).is_some_and(|node| node.kind() == Kind::Object)
        && let Some(members) = value.pointer_mut(&parent.to_string()).and_then(Value::as_object_mut)
    {
        members.insert(name.to_owned(), Value::String(label.to_owned()));
    }
}

/// `$ref` chains longer than this are taken for circles.
pub(super) const REF_DEPTH: usize = 64;

/// Whether a schema describes a place by names; no name stands for any element.
/// A search for what a schema says of a place. A schema can refer to itself by many ways, so none of its parts is
/// looked into twice for the same place.
struct Search<'s> {
    root: &'s Value,
    seen: HashSet<(*const Value, usize)>,
}

impl<'s> Search<'s> {
    fn describes(&mut self, schema: &'s Value, tokens: &[Option<&str>], depth: usize) -> bool {
        let Some((token, rest)) = tokens.split_first() else { return true };
        if depth > REF_DEPTH || !self.seen.insert((std::ptr::from_ref(schema), tokens.len())) {
            return false;
        }
        let is_index = token.is_none_or(|token| token.parse::<usize>().is_ok());
        let into = [
            token.and_then(|token| schema.get("properties")?.get(token)),
            schema.get("additionalProperties").filter(|rule| rule.is_object()),
            schema.get("items").filter(|rule| is_index && rule.is_object()),
        ];
        if into.into_iter().flatten().any(|next| self.describes(next, rest, depth + 1)) {
            return true;
        }
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
        let same = reference.and_then(|text| self.root.pointer(text)).into_iter();
        let any_of = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array());
        same.chain(any_of.flatten()).any(|next| self.describes(next, tokens, depth + 1))
    }
}
