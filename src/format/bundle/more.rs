//! What the records that an entry names say, in lines for people.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record;
use crate::base::digest::Sha256;
use crate::format::entry::Entry;
use crate::format::finding::Exceptions;

/// The lines of an entry's exceptions and details, from the records that it names. What is of a kind
/// not known here is named by its place, so that nothing is passed over.
pub fn lines(entry: &Entry, records: &BTreeMap<Sha256, Vec<u8>>) -> Vec<String> {
    let mut out = Vec::new();
    let read = |digest: Option<Sha256>| Some((digest?, records.get(&digest?)?));
    if let Some((digest, bytes)) = read(entry.exceptions) {
        out.extend(exceptions(bytes).unwrap_or_else(|| elsewhere(&digest)));
    }
    if let Some((digest, bytes)) = read(entry.detail) {
        out.extend(detail(bytes).unwrap_or_else(|| elsewhere(&digest)));
    }
    out
}

fn elsewhere(digest: &Sha256) -> Vec<String> {
    vec![format!("more is in {}", record(digest))]
}

fn exceptions(bytes: &[u8]) -> Option<Vec<String>> {
    let line = |finding: crate::format::finding::Exception| {
        let place = finding.path.map(|path| format!(" ({path})")).unwrap_or_default();
        format!("{} {}{place}", finding.code, finding.code.title())
    };
    Some(Exceptions::parse(bytes).ok()?.findings.into_iter().map(line).collect())
}

fn detail(bytes: &[u8]) -> Option<Vec<String>> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let each = |list: &str, line: &dyn Fn(&Value) -> Option<String>| -> Option<Vec<String>> {
        value[list].as_array()?.iter().map(line).collect()
    };
    match value["what"].as_str()? {
        "restored-files" => each("files", &|file| {
            let found = match file["found"].as_str() {
                Some(found) => format!("what lay there had the fingerprint {found}"),
                None => "it was missing".to_owned(),
            };
            Some(format!("{}: {found}", file["path"].as_str()?))
        }),
        "preserved-values" => each("values", &|value| {
            Some(format!(
                "taken out of the record, and kept: {} = {}",
                value["at"].as_str()?,
                value["text"].as_str()?
            ))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_lines_name_what_was_put_back_and_what_was_kept() {
        let files = br#"{"files":[{"found":"sha256:ab","path":"inputs/a"},{"path":"b"}],"v":1,"what":"restored-files"}"#;
        let lines = detail(files).unwrap();
        assert_eq!(lines, ["inputs/a: what lay there had the fingerprint sha256:ab", "b: it was missing"]);
        let values = br#"{"v":1,"values":[{"at":"/cost","text":"0.10"}],"what":"preserved-values"}"#;
        assert_eq!(detail(values).unwrap(), ["taken out of the record, and kept: /cost = 0.10"]);
    }

    #[test]
    fn detail_of_another_kind_or_shape_is_left_to_its_record() {
        for text in ["{}", "[", r#"{"what":"restored-files"}"#, r#"{"what":"x","files":[]}"#] {
            assert_eq!(detail(text.as_bytes()), None, "{text}");
        }
        assert_eq!(elsewhere(&Sha256::of(b""))[0].len(), "more is in data/records/.json".len() + 64);
    }
}
