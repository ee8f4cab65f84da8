//! How a document is laid out, and values printed in that layout.

use std::borrow::Cow;

use super::doc::{Doc, Kind, Node};
use super::edit::Tree;
use super::text::quote_into;
use super::value::Json;

/// The layout of a document, taken from its own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style<'t> {
    /// The line end, where the document has its members on lines of their own.
    pub newline: Option<&'static str>,
    /// What one level of indentation adds.
    pub unit: Cow<'t, str>,
    /// The colon with the spaces around it.
    pub colon: Cow<'t, str>,
    /// The comma with the spaces around it, between values on one line.
    pub comma: Cow<'t, str>,
}

/// How many nodes are looked at to find how a document spaces its commas.
const SAMPLE: usize = 32;

impl<'t> Style<'t> {
    /// No spaces, no lines.
    pub fn compact() -> Self {
        Self { newline: None, unit: Cow::Borrowed(""), colon: Cow::Borrowed(":"), comma: Cow::Borrowed(",") }
    }

    /// Reads the layout off a document.
    pub fn of(doc: &'t Doc<'_>) -> Self {
        let text = doc.text;
        let gap = |from: u32, to: u32| &text[from as usize..to as usize];
        let mut style = Self { unit: Cow::Borrowed("  "), ..Self::compact() };

        if let Some(first) = doc.root().children().next() {
            let before = &text[doc.root().span().start + 1..first.item_start()];
            if let Some(at) = before.rfind('\n') {
                style.newline = Some(if before[..at].ends_with('\r') { "\r\n" } else { "\n" });
                style.unit = Cow::Borrowed(&before[at + 1..]);
            }
        }
        let colon = doc.slots.iter().find(|slot| slot.key_end != 0);
        style.colon = match colon.map(|slot| gap(slot.key_end, slot.start)) {
            Some(gap) if !gap.contains('\n') => Cow::Borrowed(gap),
            _ => Cow::Borrowed(": "),
        };
        // A layout shows early, and a container with two items or more shows its own.
        let comma = doc.slots.iter().take(SAMPLE).skip(1).find_map(|slot| {
            let next = doc.slots.get(slot.next as usize).filter(|next| next.parent == slot.parent)?;
            let to = if next.key_end == 0 { next.start } else { next.key_start };
            Some(gap(slot.end, to)).filter(|gap| !gap.contains('\n'))
        });
        style.comma = match comma {
            Some(gap) => Cow::Borrowed(gap),
            None if style.colon == ":" => Cow::Borrowed(","),
            None => Cow::Borrowed(", "),
        };
        style
    }
}

/// Where a value is printed: on one line, or over several with this indentation of its first line.
pub(super) type Indent<'s> = Option<&'s str>;

/// Prints bracketed items, each by `item`.
fn items<T>(
    out: &mut String,
    style: &Style<'_>,
    indent: Indent<'_>,
    brackets: [char; 2],
    list: impl ExactSizeIterator<Item = T>,
    mut item: impl FnMut(&mut String, T, Indent<'_>),
) {
    out.push(brackets[0]);
    let empty = list.len() == 0;
    let lines = style.newline.zip(indent).filter(|_| !empty);
    let inner = lines.map(|(_, indent)| format!("{indent}{}", style.unit));
    for (i, value) in list.enumerate() {
        if i > 0 {
            out.push_str(if lines.is_some() { "," } else { &style.comma });
        }
        if let (Some((newline, _)), Some(inner)) = (lines, &inner) {
            out.push_str(newline);
            out.push_str(inner);
        }
        item(out, value, inner.as_deref());
    }
    if let Some((newline, indent)) = lines {
        out.push_str(newline);
        out.push_str(indent);
    }
    out.push(brackets[1]);
}

/// Prints a value of our own.
pub(super) fn json(out: &mut String, value: &Json, style: &Style<'_>, indent: Indent<'_>) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(true) => out.push_str("true"),
        Json::Bool(false) => out.push_str("false"),
        Json::Number(text) => out.push_str(text),
        Json::String(text) => quote_into(out, text),
        Json::Array(elements) => {
            items(out, style, indent, ['[', ']'], elements.iter(), |out, element, indent| {
                json(out, element, style, indent);
            });
        }
        Json::Object(members) => {
            items(out, style, indent, ['{', '}'], members.iter(), |out, (key, value), indent| {
                quote_into(out, key);
                out.push_str(&style.colon);
                json(out, value, style, indent);
            });
        }
    }
}

/// Prints a value of a document at another place. Every name and scalar keeps its spelling; a
/// value on one line is copied as it is, one over several lines is indented anew.
pub(super) fn node(out: &mut String, value: &Node<'_>, style: &Style<'_>, indent: Indent<'_>) {
    let raw = value.raw();
    if !raw.contains('\n') {
        out.push_str(raw);
        return;
    }
    let children: Vec<_> = value.children().collect();
    let brackets = if value.kind() == Kind::Object { ['{', '}'] } else { ['[', ']'] };
    items(out, style, indent, brackets, children.iter(), |out, child, indent| {
        let slot = child.slot();
        if slot.key_end != 0 {
            out.push_str(&child.doc.text[slot.key_start as usize..slot.key_end as usize]);
            out.push_str(&style.colon);
        }
        node(out, child, style, indent);
    });
}

/// Prints a value of a document within new objects of one member each.
pub(super) fn within(
    out: &mut String,
    names: &[String],
    value: &Node<'_>,
    style: &Style<'_>,
    indent: Indent<'_>,
) {
    let Some((name, rest)) = names.split_first() else { return node(out, value, style, indent) };
    items(out, style, indent, ['{', '}'], std::iter::once(name), |out, name, indent| {
        quote_into(out, name);
        out.push_str(&style.colon);
        within(out, rest, value, style, indent);
    });
}

/// Prints a value that is partly new and partly taken from a document.
pub(super) fn tree(out: &mut String, value: &Tree<'_>, style: &Style<'_>, indent: Indent<'_>) {
    match value {
        Tree::Value(value) => json(out, value, style, indent),
        Tree::Node(value) => node(out, value, style, indent),
        Tree::Array(elements) => {
            items(out, style, indent, ['[', ']'], elements.iter(), |out, element, indent| {
                tree(out, element, style, indent);
            });
        }
        Tree::Object(members) => {
            items(out, style, indent, ['{', '}'], members.iter(), |out, (key, value), indent| {
                quote_into(out, key);
                out.push_str(&style.colon);
                tree(out, value, style, indent);
            });
        }
    }
}

/// Prints a value without spaces or lines, members in the order given.
pub fn print_compact(value: &Json) -> String {
    let mut out = String::new();
    json(&mut out, value, &Style::compact(), None);
    out
}
