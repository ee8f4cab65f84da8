//! The RO-Crate 1.1 description of a bundle's payload: JSON-LD that says what each file is.

use serde_json::{Value, json};

use super::Contents;
use crate::base::canonical;
use crate::format::entry::EntryKind;

/// A path as an RO-Crate id: relative to the payload, percent-encoded as a URI reference.
fn id(path: &str) -> String {
    let mut out = String::new();
    for byte in path.strip_prefix(super::PAYLOAD).unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte as char);
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn media_type(path: &str) -> &'static str {
    let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("yaml" | "yml") => "application/yaml",
        Some("md") => "text/markdown",
        Some("txt" | "vkey" | "tlog-proof") => "text/plain",
        Some("pem") => "application/x-pem-file",
        Some("html") => "text/html",
        Some("csv") => "text/csv",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ if path == super::CHECKPOINT => "text/plain",
        _ => "application/octet-stream",
    }
}

/// The metadata of these payload files: path, bytes, hex digits of the SHA-256 digest.
pub fn print(contents: &Contents, files: &[(String, u64, String)]) -> Vec<u8> {
    let names: Vec<String> = contents.runs.iter().map(|run| run.key.to_string()).collect();
    let parts: Vec<Value> = files.iter().map(|(path, _, _)| json!({"@id": id(path)})).collect();
    let mut graph = vec![
        json!({
            "@id": "ro-crate-metadata.json", "@type": "CreativeWork",
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}, "about": {"@id": "./"},
        }),
        json!({
            "@id": "./", "@type": "Dataset", "name": format!("Evidence of {}", names.join(", ")),
            "description": format!(
                "Recorded runs with every revision of their manifests, their entries of the log {} and a \
                 proof of each at size {}.", contents.log.origin, contents.log.size),
            "datePublished": contents.newest(), "hasPart": parts,
        }),
    ];
    for (path, bytes, sha256) in files {
        graph.push(json!({
            "@id": id(path), "@type": "File", "name": path.strip_prefix(super::PAYLOAD).unwrap_or(path),
            "contentSize": bytes.to_string(), "encodingFormat": media_type(path), "sha256": sha256,
        }));
    }
    for (at, run) in contents.runs.iter().enumerate() {
        for told in &run.entries {
            graph.extend(action(at, run, told));
        }
    }
    let value = json!({"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph});
    let mut bytes = canonical::rfc8785(&value).expect("strings only");
    bytes.push(b'\n');
    bytes
}

/// What an entry did, as a provenance action and the agent that is said to have done it.
fn action(at: usize, run: &super::RunContents, told: &super::Told) -> [Value; 2] {
    let entry = &told.entry;
    let revision = |digest: &Option<_>| digest.map(|digest| super::revision(&run.key, &digest));
    let mut result: Vec<Value> = revision(&entry.after).iter().map(|path| json!({"@id": id(path)})).collect();
    let mut object: Vec<Value> =
        revision(&entry.before).iter().map(|path| json!({"@id": id(path)})).collect();
    let brings_in = matches!(entry.kind, EntryKind::Recorded | EntryKind::Adopted);
    if brings_in {
        for file in run.files.iter().filter(|file| file.blob().is_some()) {
            let place = json!({"@id": id(&super::run_file(&run.key, file.path.as_str()))});
            match file.path.as_str().starts_with("inputs/") {
                true => object.push(place),
                false => result.push(place),
            }
        }
    }
    let kind = match entry.kind {
        EntryKind::Recorded | EntryKind::Adopted => "CreateAction",
        EntryKind::Migrated | EntryKind::RolledBack => "UpdateAction",
        EntryKind::Reviewed => "AssessAction",
        _ => "Action",
    };
    let agent = format!("#actor-{at}-{}", told.index);
    [
        json!({
            "@id": format!("#entry-{at}-{}", told.index), "@type": kind, "name": entry.kind.as_str(),
            "description": told.reason.clone().unwrap_or_default(), "endTime": entry.time.to_string(),
            "agent": {"@id": agent}, "object": object, "result": result,
        }),
        json!({
            "@id": agent, "@type": "Person", "name": told.actor,
            "description": "as declared by whoever ran the command; not authenticated",
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uri_references_whatever_the_name() {
        assert_eq!(id("data/runs/a b%\u{e9}/x#y?z"), "runs/a%20b%25%C3%A9/x%23y%3Fz");
        assert_eq!(media_type("data/x.y/noext"), "application/octet-stream");
    }
}
