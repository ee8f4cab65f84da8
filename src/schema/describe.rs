//! A page about a pack for people: versions, members, changes, policy. Markdown.

use std::fmt::Write;

use serde_json::Value;

use super::compat;
use super::condition::describe_all;
use super::deprecated::Goes;
use super::pack::{Order, Pack};
use super::shape::REF_DEPTH;
use crate::base::json::PointerPattern;

/// A text as a cell of a table, or a line of a list.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '<' | '*' | '_' | '`' | '[' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A text as code.
fn code(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let clean = clean.replace('|', "\\|");
    if clean.contains('`') { format!("`` {clean} ``") } else { format!("`{clean}`") }
}

fn codes<T: ToString>(list: &[T]) -> String {
    list.iter().map(|item| code(&item.to_string())).collect::<Vec<_>>().join(", ")
}

impl Pack {
    /// The page.
    pub fn page(&self) -> String {
        let mut out = format!("# {} {}\n\n", cell(&self.name), cell(&self.version));
        let order = match self.order {
            Order::Graph => "the migrations order them",
            Order::Semver => "they are ordered as semantic versions",
        };
        let label = match &self.version_at {
            Some(at) => format!("Documents say their version at {}", code(&at.to_string())),
            None => "Documents say no version; they are told by what they hold".to_owned(),
        };
        let _ = write!(out, "{label}. The head is {}; {order}.\n\n", code(&self.head));
        self.page_versions(&mut out);
        self.page_members(&mut out);
        self.page_changes(&mut out);
        self.page_policy(&mut out);
        out
    }

    fn page_versions(&self, out: &mut String) {
        out.push_str("## Versions\n\n| shape | told by | schema |\n|---|---|---|\n");
        for shape in &self.shapes {
            let mut told = match (&self.version_at, shape.labelled) {
                (Some(_), true) => "its label".to_owned(),
                _ => "no label".to_owned(),
            };
            if !shape.when.is_empty() {
                let _ = write!(told, "; {}", describe_all(&shape.when));
            }
            let schema = &self.schemas[shape.schema].file;
            let _ = writeln!(out, "| {} | {} | {} |", code(&shape.name()), cell(&told), code(schema));
        }
        for rule in &self.legacy {
            let when = cell(&describe_all(&rule.when));
            let _ = write!(
                out,
                "\nWithout a label, by the rule {}: {} where {when}.\n",
                code(&rule.rule),
                code(&rule.version)
            );
        }
        for foreign in &self.foreign {
            let when = cell(&describe_all(&foreign.when));
            let _ =
                write!(out, "\nPassed through, as another kind ({}): where {when}.\n", cell(&foreign.kind));
        }
    }

    fn page_members(&self, out: &mut String) {
        out.push_str("\n## Members\n");
        let mut described: Vec<usize> = Vec::new();
        for shape in &self.shapes {
            if described.contains(&shape.schema) {
                continue;
            }
            described.push(shape.schema);
            let same = self.shapes.iter().filter(|other| other.schema == shape.schema);
            let names: Vec<String> = same.map(|shape| shape.name()).collect();
            let _ = write!(out, "\n### {}\n\n", codes(&names));
            let root = &self.schemas[shape.schema].value;
            if let Some(text) = root.get("description").and_then(Value::as_str) {
                let _ = write!(out, "{}\n\n", cell(text));
            }
            let mut rows = Vec::new();
            members(root, root, "", 0, &mut rows);
            if rows.is_empty() {
                out.push_str("No members are described.\n");
                continue;
            }
            out.push_str("| member | type | required | notes |\n|---|---|---|---|\n");
            for row in rows {
                let mut notes: Vec<String> = row.note.iter().map(|text| cell(text)).collect();
                notes.extend(self.member_notes(&row.at));
                let required = if row.required { "yes" } else { "" };
                let _ = writeln!(
                    out,
                    "| {} | {} | {required} | {} |",
                    code(&row.at),
                    cell(&row.types),
                    notes.join("; ")
                );
            }
        }
    }

    fn member_notes(&self, at: &str) -> Vec<String> {
        let Ok(at) = at.parse::<PointerPattern>() else { return Vec::new() };
        let any = |list: &[PointerPattern]| {
            list.iter().any(|own| own.touches(&at) && own.to_string().len() <= at.to_string().len())
        };
        let mut notes = Vec::new();
        if any(&self.frozen) {
            notes.push("frozen".to_owned());
        }
        if any(&self.measured) {
            notes.push("measured".to_owned());
        }
        for old in self.deprecated.iter().filter(|old| old.path == at) {
            notes.push(format!("deprecated since {}", code(&old.since.value)));
        }
        for derived in self.derived.iter().filter(|derived| derived.path == at) {
            let versions: Vec<&str> = derived.versions.iter().map(|placed| placed.value.as_str()).collect();
            notes.push(format!("formula {} in {}", code(&derived.formula), codes(&versions)));
        }
        notes
    }

    fn page_changes(&self, out: &mut String) {
        out.push_str("\n## Changes\n\n```text\n");
        out.push_str(&self.graph_text().replace("```", "'''"));
        out.push_str("```\n");
        for (number, migration) in self.migrations.iter().enumerate() {
            let _ = write!(out, "\n### {} to {}\n\n", code(&migration.from), code(&migration.to));
            if !migration.summary.is_empty() {
                let _ = write!(out, "{}. ", cell(migration.summary.trim_end_matches('.')));
            }
            let can = compat::compatibility(self, number);
            let readers = match (can.old_reads_new, can.new_reads_old) {
                (true, true) => "Readers of both versions can read the documents of both",
                (true, false) => "Readers of the old version can read new documents, not the other way round",
                (false, true) => "Readers of the new version can read old documents, not the other way round",
                (false, false) => "Neither version's readers are sure to read the other's documents",
            };
            let _ = write!(out, "{readers}.\n\n");
            for step in &migration.steps {
                let _ = writeln!(out, "- {}", step_text(&step.compiled()));
            }
        }
    }

    fn page_policy(&self, out: &mut String) {
        out.push_str("\n## Policy\n\n");
        let list = |what: &str, paths: &[PointerPattern]| match paths {
            [] => format!("- No member is {what}.\n"),
            paths => format!("- {}: {}.\n", what[..1].to_uppercase() + &what[1..], codes(paths)),
        };
        out.push_str(&list("frozen (no migration changes or removes it)", &self.frozen));
        out.push_str(&list("measured (no migration sets, fills or computes it)", &self.measured));
        for end in &self.ends {
            let word =
                if end.stuck { "is stuck: its documents are refused" } else { "is the end of its own line" };
            let _ = writeln!(out, "- {} {word}. {}", code(&end.version), cell(&end.reason));
        }
        for old in &self.deprecated {
            let goes = match &old.goes {
                Goes::In(version) => format!("goes in {}", code(version)),
                Goes::After(releases) => format!("goes {releases} releases later"),
            };
            let (path, since) = (code(&old.path.to_string()), code(&old.since.value));
            let _ =
                writeln!(out, "- {path} is deprecated since {since} and {goes}. Use {}.", cell(&old.instead));
        }
        if let Some(at) = &self.history_at {
            let _ = writeln!(out, "- Each rewrite adds a record at {}.", code(&at.to_string()));
        }
        let _ = writeln!(out, "- Digest: {}.", code(&self.digest.to_string()));
    }
}

/// A step in words: its op, path and what else decides it.
fn step_text(step: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut out = format!("{} {}", cell(&text(&step["op"])), code(&text(&step["path"])));
    if let Value::Object(detail) = &step["detail"] {
        let worth = detail.iter().filter(|(_, value)| !value.is_null() && **value != Value::Bool(false));
        let told: Vec<String> =
            worth.map(|(key, value)| format!("{} {}", cell(key), code(&text(value)))).collect();
        if !told.is_empty() {
            let _ = write!(out, ": {}", told.join(", "));
        }
    }
    let when: Vec<String> =
        step["when"].as_array().into_iter().flatten().map(|c| cell(&text(&c[1]))).collect();
    if !when.is_empty() {
        let _ = write!(out, " (where {})", when.join(" and "));
    }
    out
}

struct Row {
    at: String,
    types: String,
    required: bool,
    note: Option<String>,
}

/// The members that a schema describes, outermost first.
fn members(root: &Value, schema: &Value, at: &str, depth: usize, rows: &mut Vec<Row>) {
    if depth > 8 || rows.len() > 500 {
        return;
    }
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, rule) in properties {
            let rule = resolved(root, rule);
            let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            let note = rule.get("description").and_then(Value::as_str).map(str::to_owned);
            let (types, required) = (types(root, rule), required.contains(&name.as_str()));
            rows.push(Row { at: at.clone(), types, required, note });
            members(root, rule, &at, depth + 1, rows);
        }
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        members(root, resolved(root, items), &format!("{at}/*"), depth + 1, rows);
    }
}

fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    (0..REF_DEPTH)
        .try_fold(schema, |schema, _| {
            let next = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
            match next.and_then(|at| root.pointer(at)) {
                Some(next) => Ok(next),
                None => Err(schema),
            }
        })
        .unwrap_or_else(|schema| schema)
}

fn types(root: &Value, schema: &Value) -> String {
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    }
    let mut text = match schema.get("type") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => {
            let branches = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
            let mut names: Vec<String> =
                branches.into_iter().flatten().map(|branch| types(root, resolved(root, branch))).collect();
            names.dedup();
            if names.is_empty() { "any".to_owned() } else { names.join(" or ") }
        }
    };
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        let _ = write!(text, " of {}", types(root, resolved(root, items)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_versions_members_changes_and_policy() {
        let page = Pack::builtin("sigilzero").expect("built in").page();
        for piece in [
            "# sigilzero 1.0.0",
            "| `1.1.0/b` | its label; /generation\\_metadata is present",
            "### `1.0.0` to `1.1.0`",
            "- default `/inputs_hash`: source",
            "- Frozen (no migration changes or removes it): `/run_id`",
        ] {
            assert!(page.contains(piece), "{piece} in\n{page}");
        }
    }

    #[test]
    fn text_of_a_pack_cannot_break_the_page() {
        assert_eq!(cell("a|b\n# c <i>"), "a\\|b # c \\<i>");
        assert_eq!(code("a`b|c\n"), "`` a`b\\|c  ``");
    }
}
