//! Texts that carry documents: JSON files and JSON Lines. Only line feeds end a line: U+2028, a
//! carriage return or a form feed within a string does not. A byte order mark, carriage returns,
//! blank lines and a missing final line feed belong to no document and so stay as they are.

use std::ops::Range;

use super::{Loaded, Part, Place};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn begin(bytes: &[u8]) -> usize {
    if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// A file that is one document.
pub fn json_file(bytes: Vec<u8>) -> Loaded {
    let span = begin(&bytes)..bytes.len();
    Loaded { parts: vec![Part { place: Place::Whole, span }], bytes }
}

/// A file with one document per line.
pub fn json_lines(bytes: Vec<u8>) -> Loaded {
    let mut parts = Vec::new();
    let mut start = begin(&bytes);
    let mut number = 0;
    while start < bytes.len() {
        number += 1;
        let rest = &bytes[start..];
        let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let mut end = start + len;
        if bytes[start..end].last() == Some(&b'\r') {
            end -= 1;
        }
        if !bytes[start..end].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            parts.push(Part { place: Place::Line(number), span: start..end });
        }
        start += len + 1;
    }
    Loaded { bytes, parts }
}

/// The bytes with some spans replaced; the spans are in order and apart.
pub fn splice(bytes: &[u8], changes: &[(Range<usize>, Vec<u8>)]) -> Vec<u8> {
    let grown: usize = changes.iter().map(|(_, new)| new.len()).sum();
    let mut out = Vec::with_capacity(bytes.len() + grown);
    let mut at = 0;
    for (span, new) in changes {
        out.extend_from_slice(&bytes[at..span.start]);
        out.extend_from_slice(new);
        at = span.end;
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(bytes: &[u8]) -> Vec<(u64, String)> {
        let loaded = json_lines(bytes.to_vec());
        let text = |part: &Part| String::from_utf8(loaded.text(part).to_vec()).unwrap();
        let number = |part: &Part| match part.place {
            Place::Line(number) => number,
            _ => panic!("{part:?}"),
        };
        loaded.parts.iter().map(|part| (number(part), text(part))).collect()
    }

    #[test]
    fn lines_of_any_line_end_are_numbered_and_bare() {
        let bytes = "\u{feff}{\"a\":1}\r\n\r\n \t\n{\"b\":\"\u{2028}\"}\n{\"c\"".as_bytes();
        let expected = [(1, "{\"a\":1}"), (4, "{\"b\":\"\u{2028}\"}"), (5, "{\"c\"")];
        let expected: Vec<_> = expected.iter().map(|(n, text)| (*n, (*text).to_owned())).collect();
        assert_eq!(texts(bytes), expected);
        assert!(texts(b"").is_empty() && texts(b"\n\n").is_empty());
    }

    #[test]
    fn file_with_a_byte_order_mark_is_the_document_after_it() {
        let loaded = json_file(b"\xef\xbb\xbf{}\n".to_vec());
        assert_eq!(loaded.text(&loaded.parts[0]), b"{}\n");
    }

    proptest! {
        #[test]
        fn prop_splicing_each_line_with_itself_changes_nothing(bytes: Vec<u8>) {
            let loaded = json_lines(bytes.clone());
            let same: Vec<_> = loaded.parts.iter().map(|p| (p.span.clone(), loaded.text(p).to_vec())).collect();
            prop_assert_eq!(splice(&bytes, &same), bytes);
        }
    }
}
