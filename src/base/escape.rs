//! Untrusted text made safe to print: nothing from a document can move a terminal's cursor.

use std::fmt;

/// Prints text with control characters, bidirectional marks and the escape itself written as
/// `\u{..}`; everything else as it is.
pub struct Escaped<'a>(pub &'a str);

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = 0;
        for (at, c) in self.0.char_indices() {
            if is_unsafe(c) {
                f.write_str(&self.0[rest..at])?;
                write!(f, "{}", c.escape_unicode())?;
                rest = at + c.len_utf8();
            }
        }
        f.write_str(&self.0[rest..])
    }
}

/// Bytes that need not be UTF-8, printed with every odd byte as `\xNN`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&Escaped(chunk.valid()).to_string());
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_has_no_control_characters() {
        assert_eq!(Escaped("a\u{1b}[2Jb\né").to_string(), "a\\u{1b}[2Jb\\u{a}é");
        assert_eq!(Escaped("x\u{202e}y").to_string(), "x\\u{202e}y");
        assert_eq!(bytes(b"a\xff\nb"), "a\\xff\\u{a}b");
    }
}
