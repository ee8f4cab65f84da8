//! BagIt 1.0 (RFC 8493): the declaration and the manifests of a bag.

use std::collections::BTreeMap;

use crate::base::digest::{Sha256, parse_hex32};

/// The bag's declaration, the one text that it may have here (RFC 8493, section 2.1.1).
pub const DECLARATION: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BagError {
    /// It is not UTF-8, or does not end with a newline.
    #[error("it is not lines of UTF-8 text")]
    NotText,
    /// A line is no digest and path.
    #[error("line {line} is not a SHA-256 digest, two spaces and a path")]
    Line {
        /// Which, from 1.
        line: usize,
    },
    /// A path is there twice, or is none.
    #[error("line {line}: {path:?} is there twice, or leads out of the bag")]
    Path {
        /// Which, from 1.
        line: usize,
        /// The path.
        path: String,
    },
}

/// Files and their digests.
pub type Manifest = BTreeMap<String, Sha256>;

/// A path as a manifest has it: CR, LF and the percent sign are encoded (RFC 8493, section 2.1.3).
pub fn encode_path(path: &str) -> String {
    path.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The path that a manifest means; `None` for an encoding that nobody has reason to write, so that
/// every path has one spelling.
pub fn decode_path(text: &str) -> Option<String> {
    let mut path = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        path.push_str(&rest[..at]);
        path.push(match rest.get(at..at + 3)? {
            "%25" => '%',
            "%0D" => '\r',
            "%0A" => '\n',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    path.push_str(rest);
    Some(path)
}

/// Whether a path stays in the bag: relative, no empty, `.` or `..` component, no NUL.
pub fn stays_inside(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A manifest's text, sorted by path.
pub fn print(manifest: &Manifest) -> String {
    manifest.iter().map(|(path, digest)| format!("{}  {}\n", digest.hex(), encode_path(path))).collect()
}

/// Reads a manifest, in the form that [`print()`] gives; the order of the lines does not matter.
pub fn parse(bytes: &[u8]) -> Result<Manifest, BagError> {
    let text = std::str::from_utf8(bytes).map_err(|_| BagError::NotText)?;
    let mut manifest = Manifest::new();
    if text.is_empty() {
        return Ok(manifest);
    }
    let text = text.strip_suffix('\n').ok_or(BagError::NotText)?;
    for (at, line) in text.split('\n').enumerate() {
        let bad = BagError::Line { line: at + 1 };
        let (digits, name) = line.split_once("  ").ok_or(bad.clone())?;
        let digest = parse_hex32(digits).map(Sha256::from_bytes).ok_or(bad.clone())?;
        let path = decode_path(name).ok_or(bad)?;
        if !stays_inside(&path) || manifest.insert(path.clone(), digest).is_some() {
            return Err(BagError::Path { line: at + 1, path });
        }
    }
    Ok(manifest)
}

/// What the bag says of itself: how large the payload is, and where it comes from.
pub fn info(description: &str, bytes: u64, files: u64, date: &str) -> String {
    format!(
        "Bag-Software-Agent: strongroom\nBagging-Date: {date}\nExternal-Description: {description}\n\
         Payload-Oxum: {bytes}.{files}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_encoded_and_decoded_to_themselves() {
        for path in ["a", "100%", "%0A", "a\nb\r", "%25", " x  y ", "\u{e9}\u{202e}"] {
            let encoded = encode_path(path);
            assert!(!encoded.contains(['\n', '\r']), "{encoded:?}");
            assert_eq!(decode_path(&encoded).as_deref(), Some(path));
        }
        for bad in ["%", "%2", "%41", "%0a", "%\u{e9}\u{e9}"] {
            assert_eq!(decode_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn manifest_round_trips_and_any_other_form_is_refused() {
        let digest = Sha256::of(b"x");
        let manifest: Manifest = [("data/b".into(), digest), ("data/a\n%".into(), digest)].into();
        let text = print(&manifest);
        assert_eq!(parse(text.as_bytes()), Ok(manifest));
        assert_eq!(parse(b""), Ok(Manifest::new()));
        let line = |path: &str| format!("{}  {path}\n", digest.hex());
        for bad in [
            text.trim_end().to_owned(),
            line("../x"),
            line("/x"),
            line("a//b"),
            line("./a"),
            line("a").repeat(2),
            line("a").replace("  ", " "),
            line("a").to_uppercase(),
            line("a%2Fb"),
            format!("{}\n", line("a")),
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(parse(b"\xff\n"), Err(BagError::NotText));
    }
}
