//! The scanner: RFC 8259 exactly, strict where the RFC leaves a choice.

mod token;

use super::doc::{Doc, Slot, Tag};
use super::error::{JsonError, JsonErrorKind};
use super::text;
use crate::base::limits;

/// Scans a JSON text into a document of spans.
///
/// Refused, each with line, column and byte: bytes that are not UTF-8, a byte order mark, members
/// that occur twice (their decoded names are compared), lone surrogates, numbers that overflow a
/// binary64, number tokens over [`limits::NUMBER_BYTES`], nesting over [`limits::JSON_DEPTH`],
/// texts over [`limits::JSON_BYTES`], trailing bytes, an empty text.
pub fn scan(bytes: &[u8]) -> Result<Doc<'_>, JsonError> {
    scan_known(bytes, &mut Nothing)
}

/// Scans a text of which something is known.
fn scan_known<'a>(bytes: &'a [u8], known: &mut impl Known) -> Result<Doc<'a>, JsonError> {
    bounded(bytes)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => scan_text(text, known),
        Err(error) => Err(JsonError::at(bytes, error.valid_up_to(), JsonErrorKind::NotUtf8)),
    }
}

/// Takes bytes as the text that [`scan_text`] wants.
pub(super) fn as_text(bytes: Vec<u8>) -> Result<String, JsonError> {
    bounded(&bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        JsonError::at(error.as_bytes(), at, JsonErrorKind::NotUtf8)
    })
}

fn bounded(bytes: &[u8]) -> Result<(), JsonError> {
    let fail = |byte, kind| Err(JsonError::at(bytes, byte, kind));
    if bytes.len() > limits::JSON_BYTES {
        return fail(limits::JSON_BYTES, JsonErrorKind::TooLarge { len: bytes.len() });
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        return fail(0, JsonErrorKind::ByteOrderMark);
    }
    Ok(())
}

/// Scans a text that is within limits and known to be UTF-8.
pub(super) fn scan_text<'a>(text: &'a str, known: &mut impl Known) -> Result<Doc<'a>, JsonError> {
    let bytes = text.as_bytes();
    // Real documents have a node per 20 to 40 bytes; a wrong guess costs one reallocation.
    let slots = Vec::with_capacity(bytes.len() / 24 + 8);
    let mut scanner = Scanner { text, bytes, at: 0, slots, known };
    match scanner.document() {
        Ok(()) => Ok(Doc { text, slots: scanner.slots }),
        Err((byte, kind)) => Err(JsonError::at(bytes, byte, kind)),
    }
}

type Fail = (usize, JsonErrorKind);

struct Scanner<'a, 'k, K> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    slots: Vec<Slot>,
    known: &'k mut K,
}

/// What is known of a text before it is read.
pub(super) trait Known {
    /// Adds the nodes of the value that begins at a byte below so many others, where they are known;
    /// answers where it ends.
    fn copy(&mut self, bytes: &[u8], at: usize, depth: usize, out: &mut Vec<Slot>) -> Option<usize>;
}

/// Nothing is known.
struct Nothing;

impl Known for Nothing {
    fn copy(&mut self, _: &[u8], _: usize, _: usize, _: &mut Vec<Slot>) -> Option<usize> {
        None
    }
}

/// An object with more members than this is checked for duplicates by sorting their names.
const FEW_MEMBERS: u32 = 24;

#[derive(Clone, Copy)]
struct KeySpan {
    start: u32,
    end: u32,
    escaped: bool,
}

impl KeySpan {
    /// An element has no name; its slot holds its number instead.
    fn element(number: u32) -> Self {
        Self { start: number, end: 0, escaped: false }
    }
}

impl<K: Known> Scanner<'_, '_, K> {
    fn document(&mut self) -> Result<(), Fail> {
        self.space();
        if self.at == self.bytes.len() {
            return Err((self.at, JsonErrorKind::Empty));
        }
        self.value(KeySpan::element(0), 0, 0)?;
        self.space();
        if self.at < self.bytes.len() {
            return Err(match self.foreign_here() {
                Some(kind) if self.bytes[self.at] == b'/' => (self.at, kind),
                _ => (self.at, JsonErrorKind::TrailingBytes),
            });
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The document is at most [`limits::JSON_BYTES`] long, so offsets fit.
    fn here(&self) -> u32 {
        self.at as u32
    }

    fn unexpected(&self, expected: &'static str) -> Fail {
        match self.foreign_here() {
            Some(kind) => (self.at, kind),
            None => {
                let found = self.text.get(self.at..).and_then(|rest| rest.chars().next());
                (self.at, JsonErrorKind::Unexpected { expected, found })
            }
        }
    }

    /// Recognizes what other programs write in place of JSON, so that the error can say what helps.
    fn foreign_here(&self) -> Option<JsonErrorKind> {
        const FOREIGN: [(&str, &str); 11] = [
            ("NaN", "JSON has no such number; write null, or a string"),
            ("nan", "JSON has no such number; write null, or a string"),
            ("Infinity", "JSON has no such number; write null, or a string"),
            ("-Infinity", "JSON has no such number; write null, or a string"),
            ("inf", "JSON has no such number; write null, or a string"),
            ("None", "write null"),
            ("True", "write true"),
            ("False", "write false"),
            ("undefined", "write null, or leave the member out"),
            ("//", "JSON has no comments"),
            ("/*", "JSON has no comments"),
        ];
        let rest = &self.bytes[self.at..];
        if rest.first() == Some(&b'\'') {
            return Some(JsonErrorKind::Foreign {
                found: "a single-quoted string",
                instead: "strings have double quotes",
            });
        }
        FOREIGN
            .iter()
            .find(|(word, _)| rest.starts_with(word.as_bytes()))
            .map(|&(found, instead)| JsonErrorKind::Foreign { found, instead })
    }

    fn open(&mut self, tag: Tag, key: KeySpan, parent: u32) -> u32 {
        let id = self.slots.len() as u32;
        self.leaf(tag, false, self.at, key, parent);
        id
    }

    /// Adds a node that ends here and has none below it.
    #[inline]
    fn leaf(&mut self, tag: Tag, escaped: bool, start: usize, key: KeySpan, parent: u32) {
        let next = self.slots.len() as u32 + 1;
        self.slots.push(Slot {
            tag,
            key_escaped: key.escaped,
            escaped,
            start: start as u32,
            end: self.here(),
            next,
            len: 0,
            parent,
            key_start: key.start,
            key_end: key.end,
        });
    }

    fn close(&mut self, id: u32, len: u32) {
        let (end, next) = (self.here(), self.slots.len() as u32);
        let slot = &mut self.slots[id as usize];
        slot.end = end;
        slot.next = next;
        slot.len = len;
    }

    fn value(&mut self, key: KeySpan, parent: u32, depth: usize) -> Result<(), Fail> {
        let id = self.slots.len();
        if let Some(end) = self.known.copy(self.bytes, self.at, depth, &mut self.slots) {
            let slot = &mut self.slots[id];
            (slot.parent, slot.key_start, slot.key_end) = (parent, key.start, key.end);
            slot.key_escaped = key.escaped;
            self.at = end;
            return Ok(());
        }
        match self.peek() {
            Some(b'{') => self.object(key, parent, depth + 1),
            Some(b'[') => self.array(key, parent, depth + 1),
            Some(b'"') => {
                let start = self.at;
                let escaped = self.string()?;
                self.leaf(Tag::String, escaped, start, key, parent);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.number()?;
                self.leaf(Tag::Number, false, start, key, parent);
                Ok(())
            }
            Some(b't') => self.literal("true", Tag::True, key, parent),
            Some(b'f') => self.literal("false", Tag::False, key, parent),
            Some(b'n') => self.literal("null", Tag::Null, key, parent),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, word: &str, tag: Tag, key: KeySpan, parent: u32) -> Result<(), Fail> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        let start = self.at;
        self.at += word.len();
        self.leaf(tag, false, start, key, parent);
        Ok(())
    }

    fn array(&mut self, key: KeySpan, parent: u32, depth: usize) -> Result<(), Fail> {
        if depth > limits::JSON_DEPTH {
            return Err((self.at, JsonErrorKind::TooDeep));
        }
        let id = self.open(Tag::Array, key, parent);
        self.at += 1;
        self.space();
        let mut len = 0;
        if self.peek() != Some(b']') {
            loop {
                self.value(KeySpan::element(len), id, depth)?;
                len += 1;
                self.space();
                match self.peek() {
                    Some(b',') => {
                        let comma = self.at;
                        self.at += 1;
                        self.space();
                        if self.peek() == Some(b']') {
                            return Err((comma, JsonErrorKind::TrailingComma));
                        }
                    }
                    Some(b']') => break,
                    _ => return Err(self.unexpected("',' or ']'")),
                }
            }
        }
        self.at += 1;
        self.close(id, len);
        Ok(())
    }

    fn object(&mut self, key: KeySpan, parent: u32, depth: usize) -> Result<(), Fail> {
        if depth > limits::JSON_DEPTH {
            return Err((self.at, JsonErrorKind::TooDeep));
        }
        let id = self.open(Tag::Object, key, parent);
        self.at += 1;
        self.space();
        let mut len = 0;
        if self.peek() != Some(b'}') {
            loop {
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("a member name in double quotes"));
                }
                let start = self.here();
                let escaped = self.string()?;
                let member = KeySpan { start, end: self.here(), escaped };
                self.space();
                if self.peek() != Some(b':') {
                    return Err(self.unexpected("':'"));
                }
                self.at += 1;
                self.space();
                self.value(member, id, depth)?;
                len += 1;
                self.space();
                match self.peek() {
                    Some(b',') => {
                        let comma = self.at;
                        self.at += 1;
                        self.space();
                        if self.peek() == Some(b'}') {
                            return Err((comma, JsonErrorKind::TrailingComma));
                        }
                    }
                    Some(b'}') => break,
                    _ => return Err(self.unexpected("',' or '}'")),
                }
            }
        }
        self.at += 1;
        self.close(id, len);
        self.no_duplicates(id, len)
    }

    fn no_duplicates(&self, id: u32, len: u32) -> Result<(), Fail> {
        if len < 2 || (len <= FEW_MEMBERS && self.surely_differ(id, len)) || self.marks_differ(id, len) {
            return Ok(());
        }
        let raw = |slot: &Slot| &self.text[slot.key_start as usize + 1..slot.key_end as usize - 1];
        let mut keys: Vec<_> = self.members(id, len).map(|slot| (text::decode(raw(slot)), slot)).collect();
        // The sort is stable, so of two equal names the later one comes second.
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        let second = keys
            .windows(2)
            .filter(|pair| pair[0].0 == pair[1].0)
            .map(|pair| pair[1].1)
            .min_by_key(|slot| slot.key_start);
        match second {
            Some(slot) => Err((
                slot.key_start as usize,
                JsonErrorKind::DuplicateMember { key: text::decode(raw(slot)).into_owned() },
            )),
            None => Ok(()),
        }
    }

    fn members(&self, id: u32, len: u32) -> impl Iterator<Item = &Slot> {
        let mut at = id + 1;
        (0..len).map(move |_| {
            let slot = &self.slots[at as usize];
            at = slot.next;
            slot
        })
    }

    /// Whether no two members have one name, looked at quickly: names of different marks differ, and
    /// only one whose mark was there before is compared with those before it.
    fn surely_differ(&self, id: u32, len: u32) -> bool {
        let mut seen = [0u64; 4];
        let name = |slot: &Slot| &self.bytes[slot.key_start as usize..slot.key_end as usize];
        self.members(id, len).enumerate().all(|(i, slot)| {
            if slot.key_escaped {
                return false;
            }
            let own = name(slot);
            let (first, last) = (own.get(1).copied().unwrap_or(0), own[own.len().saturating_sub(2)]);
            let mark = (own.len() as u8).wrapping_mul(37) ^ first.wrapping_mul(11) ^ last.wrapping_mul(5);
            let (word, bit) = (usize::from(mark >> 6), 1u64 << (mark & 63));
            let fresh = seen[word] & bit == 0;
            seen[word] |= bit;
            fresh || !self.members(id, i as u32).any(|earlier| text::same(name(earlier), own))
        })
    }

    /// Whether no two members have one name, by marks: equal names have equal marks, so only where two
    /// marks are equal, or a name has escapes, are the names themselves compared.
    fn marks_differ(&self, id: u32, len: u32) -> bool {
        let mut marks = Vec::with_capacity(len as usize);
        for slot in self.members(id, len) {
            if slot.key_escaped {
                return false;
            }
            marks.push(mark_of(&self.bytes[slot.key_start as usize..slot.key_end as usize]));
        }
        marks.sort_unstable();
        marks.windows(2).all(|pair| pair[0] != pair[1])
    }
}

/// A mark of a name. Names made to have equal marks cost a comparison, nothing else.
fn mark_of(name: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_chunks::<8>();
    let mixed = words.iter().fold(name.len() as u64, |mark, word| {
        let mark = (mark ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
        mark ^ mark >> 32
    });
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    (mixed ^ last).wrapping_mul(ODD)
}
