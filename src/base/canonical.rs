//! The one maker of hashed bytes: every text that is hashed in a form of its own is made here.
//!
//! Three forms, each with vectors where they differ (`store-layout.md`, "Canonical forms"):
//! RFC 8785 for the store's own records; the compact code point order behind `inputs_hash`; and
//! Python's `json.dumps`, to check checksums that other programs wrote.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use super::digest::Sha256;
use super::json::{Kind, Node, Pointer, quote};

/// Why a value has no canonical form among the store's own records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A number with a fraction or exponent, or negative zero.
    #[error("{at:?} is {number}; records hold integers only")]
    Float {
        /// The place.
        at: Pointer,
        /// The number.
        number: String,
    },
    /// An integer that a binary64 does not hold exactly.
    #[error("{at:?} is {number}, beyond 2^53 - 1 from zero")]
    Integer {
        /// The place.
        at: Pointer,
        /// The number.
        number: String,
    },
}

/// Largest integer of RFC 8785's number domain, 2^53 - 1.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// Writes a record of the store's own in the form of RFC 8785.
///
/// Records hold no floats and no integers beyond 2^53 - 1 from zero, so those are refused; with
/// them goes every difference between number formatters.
pub fn rfc8785(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = String::new();
    rfc8785_into(&mut out, value, &mut Vec::new())?;
    Ok(out.into_bytes())
}

/// Writes a record in the form of RFC 8785 straight from its type, without a tree of values between:
/// the same bytes as [`rfc8785`] of its value. `None` where that takes the tree: a type whose members do
/// not come in canonical order, names beyond ASCII, and values that have no such form.
pub fn rfc8785_direct(record: &impl serde::Serialize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, InOrder::default());
    serde::Serialize::serialize(record, &mut serializer).ok()?;
    Some(out)
}

/// Prints compactly, which is canonical as long as what it is handed is in canonical order and in the
/// domain of numbers; refuses what is not.
#[derive(Default)]
struct InOrder {
    /// The last name of each object that is open.
    names: Vec<Vec<u8>>,
    /// The name that is being written, or was written last.
    name: Vec<u8>,
    in_name: bool,
}

impl InOrder {
    fn refused() -> io::Error {
        io::Error::from(io::ErrorKind::InvalidData)
    }
}

impl serde_json::ser::Formatter for InOrder {
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.names.push(Vec::new());
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.names.pop();
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.name.clear();
        self.in_name = true;
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.in_name = false;
        let (name, Some(last)) = (&mut self.name, self.names.last_mut()) else {
            return Err(Self::refused());
        };
        // ASCII sorts by bytes as it does by UTF-16 code units.
        if !name.is_ascii() || (!last.is_empty() && *last >= *name) {
            return Err(Self::refused());
        }
        std::mem::swap(last, name);
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if self.in_name {
            self.name.extend_from_slice(text.as_bytes());
        }
        writer.write_all(text.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        if self.in_name {
            return Err(Self::refused());
        }
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }

    fn write_u64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        if value > MAX_SAFE {
            return Err(Self::refused());
        }
        serde_json::ser::CompactFormatter.write_u64(writer, value)
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        if value.unsigned_abs() > MAX_SAFE {
            return Err(Self::refused());
        }
        serde_json::ser::CompactFormatter.write_i64(writer, value)
    }

    fn write_u128<W: ?Sized + io::Write>(&mut self, _: &mut W, _: u128) -> io::Result<()> {
        Err(Self::refused())
    }

    fn write_i128<W: ?Sized + io::Write>(&mut self, _: &mut W, _: i128) -> io::Result<()> {
        Err(Self::refused())
    }

    fn write_f32<W: ?Sized + io::Write>(&mut self, _: &mut W, _: f32) -> io::Result<()> {
        Err(Self::refused())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, _: &mut W, _: f64) -> io::Result<()> {
        Err(Self::refused())
    }

    fn write_number_str<W: ?Sized + io::Write>(&mut self, _: &mut W, _: &str) -> io::Result<()> {
        Err(Self::refused())
    }
}

fn rfc8785_into(out: &mut String, value: &Value, at: &mut Vec<String>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::String(text) => out.push_str(&quote(text)),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            let place = || (Pointer::from_tokens(at.iter().cloned()), number.to_string());
            match magnitude {
                Some(n) if n <= MAX_SAFE => out.push_str(&number.to_string()),
                Some(_) => {
                    let (at, number) = place();
                    return Err(CanonicalError::Integer { at, number });
                }
                None => {
                    let (at, number) = place();
                    return Err(CanonicalError::Float { at, number });
                }
            }
        }
        Value::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                at.push(i.to_string());
                rfc8785_into(out, element, at)?;
                at.pop();
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            // RFC 8785, section 3.2.3: names are compared as arrays of UTF-16 code units.
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&quote(key));
                out.push(':');
                at.push(key.clone());
                rfc8785_into(out, value, at)?;
                at.pop();
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Writes the text whose SHA-256 is `inputs_hash`: a compact object from snapshot names to their
/// digests, names in code point order, non-ASCII unescaped.
pub fn inputs_hash_form<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Sha256)>) -> String {
    // Code point order is the byte order of UTF-8.
    let sorted: BTreeMap<_, _> = entries.into_iter().collect();
    let mut out = String::from("{");
    for (i, (name, digest)) in sorted.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(&quote(name));
        out.push_str(":\"");
        out.push_str(&digest.to_string());
        out.push('"');
    }
    out.push('}');
    out
}

/// Hashes the names and digests of a run's input snapshots.
pub fn inputs_hash<'a>(entries: impl IntoIterator<Item = (&'a str, &'a Sha256)>) -> Sha256 {
    Sha256::of(inputs_hash_form(entries).as_bytes())
}

/// One way of Python's `json.dumps(…, sort_keys=True)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonForm {
    /// The defaults: `", "` and `": "`, everything beyond ASCII escaped.
    Default,
    /// `separators=(",", ":"), ensure_ascii=False`.
    Compact,
}

/// Writes what Python's `json.dumps(json.loads(text), sort_keys=True)` gives for a value, leaving
/// out one member or element below it if asked.
pub fn python_dumps(node: Node<'_>, form: PythonForm, leave_out: Option<Node<'_>>) -> String {
    let mut out = String::with_capacity(node.raw().len());
    python_into(&mut out, node, form, leave_out);
    out
}

fn python_into(out: &mut String, node: Node<'_>, form: PythonForm, leave_out: Option<Node<'_>>) {
    let (comma, colon) = match form {
        PythonForm::Default => (", ", ": "),
        PythonForm::Compact => (",", ":"),
    };
    match node.kind() {
        Kind::Null | Kind::Bool(_) => out.push_str(node.raw()),
        Kind::Number => out.push_str(&python_number(node.raw())),
        Kind::String => python_string(out, &node.as_str().unwrap_or_default(), form),
        Kind::Array => {
            out.push('[');
            let kept = node.elements().filter(|element| Some(*element) != leave_out);
            for (i, element) in kept.enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                python_into(out, element, form, leave_out);
            }
            out.push(']');
        }
        Kind::Object => {
            let mut members: Vec<_> = node
                .members()
                .filter(|member| Some(member.value()) != leave_out)
                .map(|member| (member.key(), member.value()))
                .collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push('{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                python_string(out, &key, form);
                out.push_str(colon);
                python_into(out, value, form, leave_out);
            }
            out.push('}');
        }
    }
}

fn python_string(out: &mut String, text: &str, form: PythonForm) {
    let quoted = quote(text);
    if form == PythonForm::Compact {
        out.push_str(&quoted);
        return;
    }
    for c in quoted.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// Writes a number as Python prints what it reads from the token: an integer's digits, or the
/// `repr` of the nearest float.
fn python_number(raw: &str) -> String {
    if !raw.contains(['.', 'e', 'E']) {
        return if raw == "-0" { "0".to_owned() } else { raw.to_owned() };
    }
    let value: f64 = raw.parse().unwrap_or(f64::NAN);
    // The shortest digits that read back, as Python's `repr` has them; only the layout differs.
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::json::scan;
    use super::*;

    fn canonical(value: &Value) -> String {
        String::from_utf8(rfc8785(value).expect("canonical")).expect("UTF-8")
    }

    #[test]
    fn rfc8785_direct_gives_the_bytes_of_the_tree_or_nothing() {
        let good = json!({"": 1, "a": [1, -5, null, true, {"b": "\u{1}\"\\\n\u{7f}\u{20ac}", "c": {}}], "z": MAX_SAFE});
        assert_eq!(rfc8785_direct(&good), Some(rfc8785(&good).unwrap()));
        for other in
            [json!({"\u{20ac}": 1}), json!({"a\n": 1}), json!(1.5), json!(MAX_SAFE + 1), json!(-1e300)]
        {
            assert_eq!(rfc8785_direct(&other), None, "{other}");
        }
        #[derive(serde::Serialize)]
        struct Unordered {
            b: u64,
            a: u64,
        }
        assert_eq!(rfc8785_direct(&Unordered { b: 1, a: 2 }), None);
        #[derive(serde::Serialize)]
        struct Nested {
            a: Unordered,
        }
        assert_eq!(rfc8785_direct(&Nested { a: Unordered { b: 1, a: 2 } }), None);
    }

    #[test]
    fn rfc8785_of_section_3_2_3_sorts_by_code_units() {
        let value = json!({
            "\u{20ac}": "Euro Sign",
            "\r": "Carriage Return",
            "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
            "1": "One",
            "\u{1f600}": "Emoji: Grinning Face",
            "\u{80}": "Control",
            "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let order = [
            "Carriage Return",
            "One",
            "Control",
            "Latin Small Letter O With Diaeresis",
            "Euro Sign",
            "Emoji: Grinning Face",
            "Hebrew Letter Dalet With Dagesh",
        ];
        let text = canonical(&value);
        let places: Vec<_> = order.iter().map(|name| text.find(name).expect("present")).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn sort_orders_of_astral_and_private_use_names_differ() {
        // U+E000 is below U+1F600 as a code point, above its first code unit (D83D).
        assert_eq!(canonical(&json!({"\u{e000}": 1, "\u{1f600}": 2})), "{\"\u{1f600}\":2,\"\u{e000}\":1}");
        let digest = Sha256::of(b"");
        let form = inputs_hash_form([("\u{1f600}", &digest), ("\u{e000}", &digest)]);
        assert!(form.find('\u{e000}') < form.find('\u{1f600}'), "{form}");
    }

    #[test]
    fn rfc8785_of_awkward_strings_escapes_as_the_rfc_says() {
        let text = "\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{7f}\u{2028}";
        assert_eq!(canonical(&json!(text)), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u{7f}\u{2028}\"");
        assert_eq!(
            canonical(&json!({"b": [true, null, -1, 0], "a": {}})),
            "{\"a\":{},\"b\":[true,null,-1,0]}"
        );
    }

    #[test]
    fn rfc8785_of_numbers_outside_the_safe_integers_is_refused() {
        for good in [json!(9_007_199_254_740_991_u64), json!(-9_007_199_254_740_991_i64)] {
            assert_eq!(canonical(&good), good.to_string());
        }
        for bad in ["9007199254740992", "-9007199254740992", "18446744073709551615", "1.0", "-0", "1e2"] {
            let value: Value = serde_json::from_str(&format!("{{\"a\":[{bad}]}}")).expect("valid");
            let error = rfc8785(&value).expect_err(bad);
            let (CanonicalError::Float { at, .. } | CanonicalError::Integer { at, .. }) = error;
            assert_eq!(at.to_string(), "/a/0");
        }
    }

    #[test]
    fn python_dumps_of_numbers_prints_what_python_prints() {
        for (token, printed) in [
            ("1e-08", "1e-08"),
            ("1E16", "1e+16"),
            ("1e15", "1000000000000000.0"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("1.0", "1.0"),
            ("-0.0", "-0.0"),
            ("-0", "0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.50", "1.5"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1e22", "1e+22"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("2.5e-300", "2.5e-300"),
            ("1e-999", "0.0"),
            ("100.0", "100.0"),
        ] {
            let doc = scan(token.as_bytes()).expect("valid");
            assert_eq!(python_dumps(doc.root(), PythonForm::Default, None), printed, "{token}");
        }
    }

    #[test]
    fn python_dumps_sorts_escapes_and_leaves_out() {
        let doc = scan("{\"b\":\"é\\/\u{7f}😀\\u0001\", \"h\":[1,2], \"a\":{}}".as_bytes()).expect("valid");
        let dumps = |leave_out| python_dumps(doc.root(), PythonForm::Default, leave_out);
        assert_eq!(dumps(None), r#"{"a": {}, "b": "\u00e9/\u007f\ud83d\ude00\u0001", "h": [1, 2]}"#);
        let history = doc.root().get("h").expect("present");
        assert!(dumps(history.element(1)).ends_with("\"h\": [1]}"));
        assert!(!dumps(Some(history)).contains("\"h\""));
        assert_eq!(
            python_dumps(doc.root(), PythonForm::Compact, Some(history)),
            "{\"a\":{},\"b\":\"é/\u{7f}😀\\u0001\"}"
        );
    }
}
