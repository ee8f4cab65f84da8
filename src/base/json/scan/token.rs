//! Strings and numbers.

use super::{Fail, Known, Scanner};
use crate::base::json::error::JsonErrorKind;
use crate::base::limits;

/// How many bytes of a long text are looked at together.
const LONG: usize = 32;

/// How many bytes from the start are neither quote, backslash nor control characters.
#[inline]
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
        // Names and words end before; a text is gone over in steps that the processor takes at once.
        if at == 2 * 8 {
            while bytes[at..].first_chunk::<LONG>().is_some_and(all_plain) {
                at += LONG;
            }
        }
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|&b| is_special(b)).unwrap_or(rest.len())
}

fn is_special(b: u8) -> bool {
    (b == b'"') | (b == b'\\') | (b < 0x20)
}

/// Without a branch within, so that it is compiled to few instructions.
fn all_plain(chunk: &[u8; LONG]) -> bool {
    chunk.iter().fold(0u8, |found, &b| found | u8::from(is_special(b))) == 0
}

impl<K: Known> Scanner<'_, '_, K> {
    /// Scans a string token; answers whether it has escapes.
    pub(super) fn string(&mut self) -> Result<bool, Fail> {
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

    pub(super) fn number(&mut self) -> Result<(), Fail> {
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
