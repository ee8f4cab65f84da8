//! The scanner: RFC 8259 exactly, strict where the RFC leaves a choice.

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
    let fail = |byte, kind| Err(JsonError::at(bytes, byte, kind));
    if bytes.len() > limits::JSON_BYTES {
        return fail(limits::JSON_BYTES, JsonErrorKind::TooLarge { len: bytes.len() });
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        return fail(0, JsonErrorKind::ByteOrderMark);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => scan_text(text),
        Err(error) => fail(error.valid_up_to(), JsonErrorKind::NotUtf8),
    }
}

/// Scans a text that is within limits and known to be UTF-8.
pub(super) fn scan_text(text: &str) -> Result<Doc<'_>, JsonError> {
    let bytes = text.as_bytes();
    // Real documents have a node per 20 to 40 bytes; a wrong guess costs one reallocation.
    let mut scanner = Scanner { text, bytes, at: 0, slots: Vec::with_capacity(bytes.len() / 32 + 4) };
    match scanner.document() {
        Ok(()) => Ok(Doc { text, slots: scanner.slots }),
        Err((byte, kind)) => Err(JsonError::at(bytes, byte, kind)),
    }
}

type Fail = (usize, JsonErrorKind);

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    slots: Vec<Slot>,
}

/// An object with more members than this is checked for duplicates by sorting; below it comparing
/// all pairs is faster.
const PAIRWISE_MEMBERS: u32 = 24;

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

/// How many bytes from the start are neither quote, backslash nor control characters.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    // The lowest bit that is set marks the first byte that the test is true of; bits above it may
    // be wrong, for the subtraction borrows.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let is = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let special = is(word, b'"') | is(word, b'\\') | below(word, 0x20);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len())
}

impl Scanner<'_> {
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
        self.slots.push(Slot {
            tag,
            key_escaped: key.escaped,
            escaped: false,
            start: self.here(),
            end: 0,
            next: id + 1,
            len: 0,
            parent,
            key_start: key.start,
            key_end: key.end,
        });
        id
    }

    fn close(&mut self, id: u32, len: u32) {
        let (end, next) = (self.here(), self.slots.len() as u32);
        let slot = &mut self.slots[id as usize];
        slot.end = end;
        slot.next = next;
        slot.len = len;
    }

    fn value(&mut self, key: KeySpan, parent: u32, depth: usize) -> Result<(), Fail> {
        match self.peek() {
            Some(b'{') => self.object(key, parent, depth + 1),
            Some(b'[') => self.array(key, parent, depth + 1),
            Some(b'"') => {
                let id = self.open(Tag::String, key, parent);
                let escaped = self.string()?;
                self.slots[id as usize].escaped = escaped;
                self.close(id, 0);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => {
                let id = self.open(Tag::Number, key, parent);
                self.number()?;
                self.close(id, 0);
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
        let id = self.open(tag, key, parent);
        self.at += word.len();
        self.close(id, 0);
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
        if len < 2 {
            return Ok(());
        }
        let slots = || {
            let mut at = id + 1;
            (0..len).map(move |_| {
                let slot = &self.slots[at as usize];
                at = slot.next;
                slot
            })
        };
        let raw = |slot: &Slot| &self.text[slot.key_start as usize + 1..slot.key_end as usize - 1];
        let bytes = |slot: &Slot| &self.bytes[slot.key_start as usize..slot.key_end as usize];
        let same =
            |a: &Slot, b: &Slot| a.key_end - a.key_start == b.key_end - b.key_start && bytes(a) == bytes(b);
        let second = if len <= PAIRWISE_MEMBERS && slots().all(|slot| !slot.key_escaped) {
            slots()
                .enumerate()
                .find(|(i, slot)| slots().take(*i).any(|earlier| same(earlier, slot)))
                .map(|(_, slot)| slot)
        } else {
            let mut keys: Vec<_> = slots().map(|slot| (text::decode(raw(slot)), slot)).collect();
            // The sort is stable, so of two equal names the later one comes second.
            keys.sort_by(|a, b| a.0.cmp(&b.0));
            keys.windows(2)
                .filter(|pair| pair[0].0 == pair[1].0)
                .map(|pair| pair[1].1)
                .min_by_key(|slot| slot.key_start)
        };
        match second {
            Some(slot) => Err((
                slot.key_start as usize,
                JsonErrorKind::DuplicateMember { key: text::decode(raw(slot)).into_owned() },
            )),
            None => Ok(()),
        }
    }

    /// Scans a string token; answers whether it has escapes.
    fn string(&mut self) -> Result<bool, Fail> {
        let open = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            let Some(special) = self.peek() else {
                return Err((open, JsonErrorKind::UnclosedString));
            };
            match special {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                control => {
                    let found = char::from(control);
                    return Err((self.at, JsonErrorKind::ControlCharacter { found }));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fail> {
        let start = self.at;
        match self.bytes.get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit(start)?;
                self.at += 6;
                match unit {
                    0xd800..=0xdbff => {
                        let paired = self.bytes[self.at..].starts_with(b"\\u")
                            && (0xdc00..=0xdfff).contains(&self.unit(self.at)?);
                        if !paired {
                            return Err((start, JsonErrorKind::LoneSurrogate { unit }));
                        }
                        self.at += 6;
                    }
                    0xdc00..=0xdfff => return Err((start, JsonErrorKind::LoneSurrogate { unit })),
                    _ => {}
                }
            }
            _ => return Err((start, JsonErrorKind::BadEscape)),
        }
        Ok(())
    }

    /// Reads the four hex digits of the `\u` escape that begins at `start`.
    fn unit(&self, start: usize) -> Result<u16, Fail> {
        let digits = self.bytes.get(start + 2..start + 6).ok_or((start, JsonErrorKind::BadEscape))?;
        digits.iter().try_fold(0u16, |unit, &digit| {
            let value = char::from(digit).to_digit(16).ok_or((start, JsonErrorKind::BadEscape))?;
            Ok(unit << 4 | value as u16)
        })
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<(), Fail> {
        let start = self.at;
        let bad = |at, expected| Err((at, JsonErrorKind::BadNumber { expected }));
        if self.peek() == Some(b'-') {
            if let Some(kind) = self.foreign_here() {
                return Err((start, kind));
            }
            self.at += 1;
        }
        let whole = match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if let Some(b'0'..=b'9') = self.peek() {
                    return bad(start, "no leading zero");
                }
                1
            }
            Some(b'1'..=b'9') => self.digits(),
            _ => return bad(self.at, "a digit"),
        };
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return bad(self.at, "a digit after the point");
            }
        }
        let mut exponent = false;
        if let Some(b'e' | b'E') = self.peek() {
            exponent = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return bad(self.at, "a digit in the exponent");
            }
        }
        let len = self.at - start;
        if len > limits::NUMBER_BYTES {
            return Err((start, JsonErrorKind::NumberTooLong { len }));
        }
        // Without an exponent, a value of up to 300 whole digits is far below the largest float.
        if (exponent || whole > 300) && self.text[start..self.at].parse::<f64>().is_ok_and(f64::is_infinite) {
            return Err((start, JsonErrorKind::NumberOverflow));
        }
        Ok(())
    }
}
