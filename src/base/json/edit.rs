//! Edits on a scanned document: a list of changes at known spans, applied in one pass.
//!
//! Bytes outside the edits are copied from the source, so they are equal by construction;
//! [`outside_is_equal`] compares them again. What is inserted follows the document's own layout.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::doc::{Doc, Kind, Node};
use super::pointer::Pointer;
use super::print::{self, Style};
use super::text::quote;
use super::value::Json;

/// What is put into a document.
#[derive(Debug, Clone)]
pub enum New<'d> {
    /// A value of our own.
    Value(Json),
    /// One that somebody else keeps.
    Known(&'d Json),
    /// The value of a node, with the spelling of its names and scalars.
    Copy(Node<'d>),
    /// The same within new objects that have one member each, outermost name first.
    Within(Vec<String>, Node<'d>),
    /// New objects or arrays around values of nodes and of our own.
    Tree(Tree<'d>),
}

/// A value that is partly new and partly taken from nodes as they are spelled.
#[derive(Debug, Clone)]
pub enum Tree<'d> {
    /// A value of our own.
    Value(Json),
    /// The value of a node.
    Node(Node<'d>),
    /// A new array.
    Array(Vec<Tree<'d>>),
    /// A new object, its members in the order to write them.
    Object(Vec<(String, Tree<'d>)>),
}

impl From<Json> for New<'_> {
    fn from(value: Json) -> Self {
        Self::Value(value)
    }
}

impl<'d> From<&'d Json> for New<'d> {
    fn from(value: &'d Json) -> Self {
        Self::Known(value)
    }
}

impl<'d> From<Node<'d>> for New<'d> {
    fn from(node: Node<'d>) -> Self {
        Self::Copy(node)
    }
}

/// Where a new member goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// After all members that are there.
    End,
    /// Right after the member of that name.
    After(String),
}

/// Why a list of edits cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A member is put into something that is no object, or an element into no array.
    #[error("cannot add to {at:?}: it is of type {found}")]
    NotAContainer {
        /// The place.
        at: Pointer,
        /// The type found there.
        found: &'static str,
    },
    /// The object would have two members of one name.
    #[error("{at:?} already has a member {key:?}")]
    MemberExists {
        /// The object.
        at: Pointer,
        /// The name.
        key: String,
    },
    /// The member to insert after is not there.
    #[error("{at:?} has no member {key:?} to insert after")]
    NoSuchMember {
        /// The object.
        at: Pointer,
        /// The name.
        key: String,
    },
    /// Something that is no member is to be renamed, or the root is to be removed.
    #[error("{at:?} is not a member")]
    NotAMember {
        /// The place.
        at: Pointer,
    },
    /// Two edits change the same bytes.
    #[error("two edits overlap at bytes {start} to {end} of the document")]
    Overlap {
        /// First byte of the later edit.
        start: usize,
        /// End of the earlier edit.
        end: usize,
    },
}

#[derive(Debug, Clone)]
enum Op<'d> {
    Replace(Node<'d>, New<'d>),
    Rename(Node<'d>, String),
    Remove(Node<'d>),
    Insert(Node<'d>, Place, String, New<'d>),
    Append(Node<'d>, New<'d>),
}

/// A list of edits on one document.
#[derive(Debug, Clone)]
pub struct Edits<'d> {
    doc: &'d Doc<'d>,
    ops: Vec<Op<'d>>,
}

/// One changed stretch: where it was, and where what replaced it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Bytes of the source.
    pub before: Range<usize>,
    /// Bytes of the result.
    pub after: Range<usize>,
}

/// A document after its edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The new text.
    pub bytes: Vec<u8>,
    /// What changed, in the order of the text.
    pub splices: Vec<Splice>,
}

/// Whether two texts are equal outside the splices, as slices of bytes.
pub fn outside_is_equal(before: &[u8], after: &[u8], splices: &[Splice]) -> bool {
    let (mut from, mut to) = (0, 0);
    for splice in splices {
        let (Some(a), Some(b)) = (before.get(from..splice.before.start), after.get(to..splice.after.start))
        else {
            return false;
        };
        if a != b {
            return false;
        }
        (from, to) = (splice.before.end, splice.after.end);
    }
    before.get(from..).is_some_and(|rest| after.get(to..) == Some(rest))
}

/// The structural edits of one object or array.
#[derive(Default)]
struct Group<'e, 'd> {
    removed: BTreeSet<u32>,
    renamed: BTreeMap<u32, &'e str>,
    inserted: Vec<(Option<&'e Place>, Option<&'e str>, &'e New<'d>)>,
}

impl<'d> Edits<'d> {
    /// Starts with no edits.
    pub fn new(doc: &'d Doc<'d>) -> Self {
        Self { doc, ops: Vec::new() }
    }

    /// Whether there are no edits.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Replaces a value.
    pub fn replace(&mut self, node: Node<'d>, new: impl Into<New<'d>>) -> &mut Self {
        self.ops.push(Op::Replace(node, new.into()));
        self
    }

    /// Gives a member another name; its value and place stay.
    pub fn rename(&mut self, member: Node<'d>, key: impl Into<String>) -> &mut Self {
        self.ops.push(Op::Rename(member, key.into()));
        self
    }

    /// Removes a member or an element with its comma.
    pub fn remove(&mut self, node: Node<'d>) -> &mut Self {
        self.ops.push(Op::Remove(node));
        self
    }

    /// Adds a member to an object.
    pub fn insert(
        &mut self,
        object: Node<'d>,
        place: Place,
        key: impl Into<String>,
        new: impl Into<New<'d>>,
    ) -> &mut Self {
        self.ops.push(Op::Insert(object, place, key.into(), new.into()));
        self
    }

    /// Adds an element at the end of an array.
    pub fn append(&mut self, array: Node<'d>, new: impl Into<New<'d>>) -> &mut Self {
        self.ops.push(Op::Append(array, new.into()));
        self
    }

    /// Applies all edits at once.
    ///
    /// Edits that change the same bytes, such as a change within a removed member, are an error:
    /// no order among edits is implied, except that additions at one place keep theirs.
    pub fn apply(&self) -> Result<Edited, EditError> {
        let style = Style::of(self.doc);
        let mut cuts: Vec<(Range<usize>, String)> = Vec::with_capacity(self.ops.len());
        let mut groups: BTreeMap<u32, Group<'_, 'd>> = BTreeMap::new();
        for op in &self.ops {
            match op {
                Op::Replace(node, new) => {
                    let mut text = String::new();
                    // Scalars stand on one line whatever the layout.
                    let lines = match new {
                        New::Value(value) => !value.is_scalar(),
                        New::Known(value) => !value.is_scalar(),
                        _ => true,
                    };
                    let indent = if lines { self.line_indent(*node) } else { None };
                    print_new(&mut text, new, &style, indent);
                    cuts.push((node.span(), text));
                }
                Op::Rename(node, key) => {
                    let slot = node.slot();
                    let parent = node.parent().filter(|_| slot.key_end != 0);
                    let parent = parent.ok_or_else(|| EditError::NotAMember { at: node.pointer() })?;
                    cuts.push((slot.key_start as usize..slot.key_end as usize, quote(key)));
                    groups.entry(parent.id).or_default().renamed.insert(node.id, key);
                }
                Op::Remove(node) => {
                    let parent = node.parent().ok_or_else(|| EditError::NotAMember { at: node.pointer() })?;
                    groups.entry(parent.id).or_default().removed.insert(node.id);
                }
                Op::Insert(object, place, key, new) => {
                    expect_kind(object, Kind::Object)?;
                    let group = groups.entry(object.id).or_default();
                    group.inserted.push((Some(place), Some(key), new));
                }
                Op::Append(array, new) => {
                    expect_kind(array, Kind::Array)?;
                    groups.entry(array.id).or_default().inserted.push((None, None, new));
                }
            }
        }
        for (id, group) in &groups {
            let container = Node { doc: self.doc, id: *id };
            self.no_twins(container, group)?;
            self.restructure(container, group, &style, &mut cuts)?;
        }
        self.splice(cuts)
    }

    /// The indentation of the line that an item begins, where it is the first thing on that line.
    fn line_indent(&self, node: Node<'d>) -> print::Indent<'d> {
        let before = &self.doc.text[..node.item_start()];
        let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
        line.bytes().all(|b| b == b' ' || b == b'\t').then_some(line)
    }

    fn no_twins(&self, container: Node<'d>, group: &Group<'_, 'd>) -> Result<(), EditError> {
        if container.kind() != Kind::Object || (group.inserted.is_empty() && group.renamed.is_empty()) {
            return Ok(());
        }
        let exists = |key: &str| EditError::MemberExists { at: container.pointer(), key: key.to_owned() };
        let mut new = BTreeSet::new();
        for key in group.inserted.iter().filter_map(|(_, key, _)| *key).chain(group.renamed.values().copied())
        {
            if !new.insert(key) {
                return Err(exists(key));
            }
        }
        for child in container.children() {
            let stays = !group.removed.contains(&child.id) && !group.renamed.contains_key(&child.id);
            if let Some(key) = child.key().filter(|key| stays && new.contains(key.as_ref())) {
                return Err(exists(&key));
            }
        }
        Ok(())
    }

    /// Turns the additions and removals of one container into cuts, commas included.
    fn restructure(
        &self,
        container: Node<'d>,
        group: &Group<'_, 'd>,
        style: &Style<'_>,
        cuts: &mut Vec<(Range<usize>, String)>,
    ) -> Result<(), EditError> {
        if group.removed.is_empty() && group.inserted.is_empty() {
            return Ok(());
        }
        let children: Vec<_> = container.children().collect();
        let kept: Vec<bool> = children.iter().map(|child| !group.removed.contains(&child.id)).collect();
        let layout = self.layout(container, &children, style);

        // Additions by the kept child that they follow; `None` is before all kept ones.
        let mut added: BTreeMap<Option<usize>, Vec<String>> = BTreeMap::new();
        for (place, key, new) in &group.inserted {
            let named = match place {
                Some(Place::After(name)) => {
                    let at = children.iter().position(|child| child.key().as_deref() == Some(name));
                    at.ok_or_else(|| EditError::NoSuchMember { at: container.pointer(), key: name.clone() })?
                }
                _ => children.len().saturating_sub(1),
            };
            let anchor = (0..children.len().min(named + 1)).rev().find(|&i| kept[i]);
            let mut text = String::new();
            if let Some(key) = key {
                text.push_str(&quote(key));
                text.push_str(&style.colon);
            }
            print_new(&mut text, new, style, layout.indent.as_deref());
            added.entry(anchor).or_default().push(text);
        }

        let Some(first_kept) = kept.iter().position(|&kept| kept) else {
            let all = added.into_values().flatten().collect::<Vec<_>>().join(&layout.comma);
            let span = container.span();
            cuts.push(match (children.first(), children.last()) {
                // Of a container that had items, the line breaks inside the brackets stay.
                (Some(first), Some(last)) if !all.is_empty() => (first.item_start()..last.span().end, all),
                _ if all.is_empty() => (span.start + 1..span.end - 1, all),
                _ => (span.start + 1..span.end - 1, format!("{}{all}{}", layout.open, layout.close)),
            });
            return Ok(());
        };
        for (anchor, texts) in added {
            let joined = texts.join(&layout.comma);
            cuts.push(match anchor {
                Some(i) => {
                    let end = children[i].span().end;
                    (end..end, format!("{}{joined}", layout.comma))
                }
                None => {
                    let start = children[first_kept].item_start();
                    (start..start, format!("{joined}{}", layout.comma))
                }
            });
        }
        let mut i = 0;
        while i < children.len() {
            if kept[i] {
                i += 1;
                continue;
            }
            let run_end = (i..children.len()).find(|&j| kept[j]).unwrap_or(children.len());
            cuts.push(match children.get(run_end) {
                Some(next) => (children[i].item_start()..next.item_start(), String::new()),
                // `i` is above 0 here: something is kept, and nothing after the run is.
                None => (children[i - 1].span().end..children[run_end - 1].span().end, String::new()),
            });
            i = run_end;
        }
        Ok(())
    }

    /// How the items of a container are separated and indented.
    fn layout(&self, container: Node<'d>, children: &[Node<'d>], style: &Style<'_>) -> Layout {
        let text = self.doc.text;
        let Some(first) = children.first() else {
            let lines = style.newline.zip(self.line_indent(container));
            return match lines.filter(|_| container.id != 0) {
                Some((newline, indent)) => {
                    let inner = format!("{indent}{}", style.unit);
                    Layout {
                        comma: format!(",{newline}{inner}"),
                        open: format!("{newline}{inner}"),
                        close: format!("{newline}{indent}"),
                        indent: Some(inner),
                    }
                }
                None => Layout {
                    comma: style.comma.clone().into_owned(),
                    open: String::new(),
                    close: String::new(),
                    indent: None,
                },
            };
        };
        let gap = match children {
            [.., a, b] => &text[a.span().end..b.item_start()],
            _ => &text[container.span().start + 1..first.item_start()],
        };
        // Blank lines between items are not repeated.
        let line = gap.rfind('\n').map(|at| if gap[..at].ends_with('\r') { at - 1 } else { at });
        let comma = match line {
            Some(at) if !gap[at..].contains(',') => format!(",{}", &gap[at..]),
            Some(_) => gap.to_owned(),
            None if children.len() > 1 => gap.to_owned(),
            None => style.comma.clone().into_owned(),
        };
        let indent = line.map(|at| {
            let line = gap[at..].trim_start_matches(['\r', '\n']);
            line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
        });
        Layout { comma, open: String::new(), close: String::new(), indent }
    }

    fn splice(&self, mut cuts: Vec<(Range<usize>, String)>) -> Result<Edited, EditError> {
        let text = self.doc.text;
        // The sort is stable: additions at one place keep their order, before a removal from there.
        cuts.sort_by_key(|(range, _)| (range.start, !range.is_empty()));
        let grown: usize = cuts.iter().map(|(_, new)| new.len()).sum();
        let mut bytes = Vec::with_capacity(text.len() + grown);
        let mut splices = Vec::with_capacity(cuts.len());
        let mut from = 0;
        for (range, new) in cuts {
            if range.start < from {
                return Err(EditError::Overlap { start: range.start, end: from });
            }
            bytes.extend_from_slice(&text.as_bytes()[from..range.start]);
            let start = bytes.len();
            bytes.extend_from_slice(new.as_bytes());
            from = range.end;
            splices.push(Splice { before: range, after: start..bytes.len() });
        }
        bytes.extend_from_slice(&text.as_bytes()[from..]);
        Ok(Edited { bytes, splices })
    }
}

struct Layout {
    /// The comma with what follows it before the next item.
    comma: String,
    /// What goes between the opening bracket and the first item of an empty container.
    open: String,
    /// What goes between the last item and the closing bracket of an empty container.
    close: String,
    /// The indentation of an item's line, where items have lines of their own.
    indent: Option<String>,
}

fn print_new(out: &mut String, new: &New<'_>, style: &Style<'_>, indent: print::Indent<'_>) {
    match new {
        New::Value(value) => print::json(out, value, style, indent),
        New::Known(value) => print::json(out, value, style, indent),
        New::Copy(node) => print::node(out, node, style, indent),
        New::Within(names, node) => print::within(out, names, node, style, indent),
        New::Tree(tree) => print::tree(out, tree, style, indent),
    }
}

fn expect_kind(node: &Node<'_>, kind: Kind) -> Result<(), EditError> {
    if node.kind() == kind {
        return Ok(());
    }
    Err(EditError::NotAContainer { at: node.pointer(), found: node.kind().name() })
}
