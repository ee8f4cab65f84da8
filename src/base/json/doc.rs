//! A scanned document: the text, and a flat table of nodes in the order they stand in it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::error::JsonError;
use super::pointer::Pointer;
use super::{scan, text};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// One node. Children follow their parent; `next` is the slot after the whole subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub tag: Tag,
    pub key_escaped: bool,
    pub escaped: bool,
    pub start: u32,
    pub end: u32,
    pub next: u32,
    pub len: u32,
    pub parent: u32,
    /// Span of the member's name with its quotes. An element has no name: its end is 0, and its
    /// start is the element's number.
    pub key_start: u32,
    pub key_end: u32,
}

/// A JSON text that was scanned and found sound.
#[derive(Debug, Clone)]
pub struct Doc<'a> {
    pub(super) text: &'a str,
    pub(super) slots: Vec<Slot>,
}

impl<'a> Doc<'a> {
    /// The whole text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none, which no scanned document is.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The document's value.
    pub fn root(&self) -> Node<'_> {
        Node { doc: self, id: 0 }
    }

    /// The node at a pointer, if there is one.
    pub fn at(&self, pointer: &Pointer) -> Option<Node<'_>> {
        self.root().at(pointer)
    }
}

/// A scanned document that owns its text.
#[derive(Debug)]
pub struct Scanned {
    pub(super) text: String,
    pub(super) slots: Vec<Slot>,
}

impl Scanned {
    /// Scans a text, as [`scan`](super::scan()) does.
    pub fn new(bytes: Vec<u8>) -> Result<Self, JsonError> {
        let text = scan::as_text(bytes)?;
        let slots = super::scan(text.as_bytes())?.slots;
        Ok(Self { text, slots })
    }

    /// Looks at the document.
    pub fn with<T>(&mut self, look: impl FnOnce(&Doc<'_>) -> T) -> T {
        let doc = Doc { text: &self.text, slots: std::mem::take(&mut self.slots) };
        let answer = look(&doc);
        self.slots = doc.slots;
        answer
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts other hexadecimal digits in the place of as many within a string, which moves nothing and
    /// changes what no node is.
    ///
    /// # Panics
    /// If there are not as many, or if they are anything else.
    pub(crate) fn put_digits(&mut self, at: std::ops::Range<usize>, digits: &str) {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(at.len() == digits.len() && hex(digits) && hex(&self.text[at.clone()]), "digits for digits");
        self.text.replace_range(at, digits);
    }

    /// The text, of whoever needs nothing else.
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, of whatever spelling.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The JSON type's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// A value within a scanned document.
#[derive(Clone, Copy)]
pub struct Node<'d> {
    pub(super) doc: &'d Doc<'d>,
    pub(super) id: u32,
}

impl PartialEq for Node<'_> {
    /// Whether both are the same place of the same document.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.doc, other.doc) && self.id == other.id
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?} {})", self.span(), self.raw())
    }
}

/// A member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'d> {
    value: Node<'d>,
}

impl<'d> Member<'d> {
    /// The decoded name.
    pub fn key(&self) -> Cow<'d, str> {
        self.value.key().unwrap_or(Cow::Borrowed(""))
    }

    /// The span of the name's token, with its quotes.
    pub fn key_span(&self) -> Range<usize> {
        self.value.slot().key_start as usize..self.value.slot().key_end as usize
    }

    /// The value.
    pub fn value(&self) -> Node<'d> {
        self.value
    }
}

impl<'d> Node<'d> {
    #[inline]
    pub(super) fn slot(&self) -> &'d Slot {
        &self.doc.slots[self.id as usize]
    }

    /// Its number: nodes are counted in the order of the text, the root being 0.
    #[inline]
    pub fn number(&self) -> usize {
        self.id as usize
    }

    /// What the node is.
    #[inline]
    pub fn kind(&self) -> Kind {
        match self.slot().tag {
            Tag::Null => Kind::Null,
            Tag::True => Kind::Bool(true),
            Tag::False => Kind::Bool(false),
            Tag::Number => Kind::Number,
            Tag::String => Kind::String,
            Tag::Array => Kind::Array,
            Tag::Object => Kind::Object,
        }
    }

    /// The bytes of the text that the value takes.
    #[inline]
    pub fn span(&self) -> Range<usize> {
        self.slot().start as usize..self.slot().end as usize
    }

    /// The value as it is spelled.
    #[inline]
    pub fn raw(&self) -> &'d str {
        &self.doc.text[self.span()]
    }

    /// How many members or elements it has; 0 for anything else.
    #[inline]
    pub fn len(&self) -> usize {
        self.slot().len as usize
    }

    /// Whether it has no members or elements.
    pub fn is_empty(&self) -> bool {
        self.slot().len == 0
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.slot().tag == Tag::Null
    }

    /// The object or array that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Node<'d>> {
        (self.id != 0).then(|| Node { doc: self.doc, id: self.slot().parent })
    }

    /// The decoded name under which an object holds it.
    #[inline]
    pub fn key(&self) -> Option<Cow<'d, str>> {
        let slot = self.slot();
        if slot.key_end == 0 {
            return None;
        }
        let inner = &self.doc.text[slot.key_start as usize + 1..slot.key_end as usize - 1];
        Some(if slot.key_escaped { text::decode(inner) } else { Cow::Borrowed(inner) })
    }

    /// The name as it is spelled, where that is the name.
    #[inline]
    pub(crate) fn plain_key(&self) -> Option<&'d str> {
        let slot = self.slot();
        (slot.key_end != 0 && !slot.key_escaped)
            .then(|| &self.doc.text[slot.key_start as usize + 1..slot.key_end as usize - 1])
    }

    /// Where the item begins within its parent: the member's name, or the element itself.
    pub(super) fn item_start(&self) -> usize {
        let slot = self.slot();
        if slot.key_end == 0 { slot.start as usize } else { slot.key_start as usize }
    }

    /// The member or element after this one.
    pub fn next_sibling(&self) -> Option<Node<'d>> {
        let next = self.slot().next;
        (next < self.parent()?.slot().next).then_some(Node { doc: self.doc, id: next })
    }

    /// Whether both are members of one name.
    #[inline]
    pub fn same_key(&self, other: &Node<'_>) -> bool {
        let token = |node: &Node<'_>| node.slot().key_start as usize..node.slot().key_end as usize;
        if self.slot().key_end == 0 || other.slot().key_end == 0 {
            return false;
        }
        text::same(&self.doc.text.as_bytes()[token(self)], &other.doc.text.as_bytes()[token(other)])
            || ((self.slot().key_escaped || other.slot().key_escaped) && self.key() == other.key())
    }

    /// The values of all members or elements, in the order of the text.
    #[inline]
    pub fn children(&self) -> impl Iterator<Item = Node<'d>> + use<'d> {
        let (doc, mut id) = (self.doc, self.id + 1);
        (0..self.slot().len).map(move |_| {
            let node = Node { doc, id };
            id = node.slot().next;
            node
        })
    }

    /// The members of an object, in the order of the text; none for anything else.
    pub fn members(&self) -> impl Iterator<Item = Member<'d>> + use<'d> {
        let take = if self.slot().tag == Tag::Object { usize::MAX } else { 0 };
        self.children().take(take).map(|value| Member { value })
    }

    /// The elements of an array; none for anything else.
    pub fn elements(&self) -> impl Iterator<Item = Node<'d>> + use<'d> {
        let take = if self.slot().tag == Tag::Array { usize::MAX } else { 0 };
        self.children().take(take)
    }

    /// The member of that name.
    #[inline]
    pub fn get(&self, key: &str) -> Option<Node<'d>> {
        if self.slot().tag != Tag::Object {
            return None;
        }
        self.children().find(|node| {
            let slot = node.slot();
            let inner = &node.doc.text[slot.key_start as usize + 1..slot.key_end as usize - 1];
            match slot.key_escaped {
                true => text::decode(inner) == key,
                false => text::same(inner.as_bytes(), key.as_bytes()),
            }
        })
    }

    /// The element of that number.
    pub fn element(&self, index: usize) -> Option<Node<'d>> {
        self.elements().nth(index)
    }

    /// The node at a pointer relative to this one.
    pub fn at(&self, pointer: &Pointer) -> Option<Node<'d>> {
        pointer.tokens().try_fold(*self, |node, token| node.child(token))
    }

    /// The child that one token of a pointer names.
    pub fn child(&self, token: &str) -> Option<Node<'d>> {
        match self.slot().tag {
            Tag::Object => self.get(token),
            // RFC 6901, section 4: an index has no leading zeros.
            Tag::Array if token == "0" || !token.starts_with(['0', '+']) => self.element(token.parse().ok()?),
            _ => None,
        }
    }

    /// Where the node is.
    pub fn pointer(&self) -> Pointer {
        let mut tokens = Vec::new();
        let mut node = *self;
        while let Some(parent) = node.parent() {
            tokens.push(match node.key() {
                Some(key) => key.into_owned(),
                None => node.slot().key_start.to_string(),
            });
            node = parent;
        }
        tokens.reverse();
        Pointer::from_tokens(tokens)
    }

    /// The decoded string.
    #[inline]
    pub fn as_str(&self) -> Option<Cow<'d, str>> {
        let slot = self.slot();
        if slot.tag != Tag::String {
            return None;
        }
        let raw = self.raw();
        let inner = &raw[1..raw.len() - 1];
        Some(if slot.escaped { text::decode(inner) } else { Cow::Borrowed(inner) })
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.slot().tag {
            Tag::True => Some(true),
            Tag::False => Some(false),
            _ => None,
        }
    }

    /// The number, where it is spelled as plain digits and fits.
    pub fn as_u64(&self) -> Option<u64> {
        (self.slot().tag == Tag::Number).then(|| self.raw().parse().ok()).flatten()
    }

    /// The number as the nearest binary64.
    pub fn as_f64(&self) -> Option<f64> {
        (self.slot().tag == Tag::Number).then(|| self.raw().parse().ok()).flatten()
    }

    /// The value as `serde_json` has it, for validation only: number spellings are lost.
    pub fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;
        match self.slot().tag {
            Tag::Null => Value::Null,
            Tag::True => Value::Bool(true),
            Tag::False => Value::Bool(false),
            Tag::Number => {
                let raw = self.raw();
                if let Ok(n) = raw.parse::<u64>() {
                    Value::from(n)
                } else if let Some(n) = raw.parse::<i64>().ok().filter(|&n| n != 0) {
                    Value::from(n)
                } else {
                    raw.parse::<f64>().map_or(Value::Null, Value::from)
                }
            }
            Tag::String => Value::String(self.as_str().unwrap_or_default().into_owned()),
            Tag::Array => Value::Array(self.elements().map(|node| node.to_value()).collect()),
            Tag::Object => {
                self.members().map(|member| (member.key().into_owned(), member.value().to_value())).collect()
            }
        }
    }

    /// Whether two values, of one document or two, are equal as JSON: strings decoded, members in
    /// any order, numbers by their spelling (`1.0` and `1` differ, since readers tell them apart).
    pub fn same_value(&self, other: &Node<'_>) -> bool {
        match (self.kind(), other.kind()) {
            (Kind::Number, Kind::Number) => self.raw() == other.raw(),
            (Kind::String, Kind::String) => self.as_str() == other.as_str(),
            (Kind::Array, Kind::Array) => {
                self.len() == other.len()
                    && self.elements().zip(other.elements()).all(|(a, b)| a.same_value(&b))
            }
            (Kind::Object, Kind::Object) => {
                self.len() == other.len()
                    && self
                        .members()
                        .all(|member| other.get(&member.key()).is_some_and(|b| member.value().same_value(&b)))
            }
            (a, b) => a == b,
        }
    }
}
