//! Canonical forms and the sigilzero pack against the real data of that system, where the
//! environment says it is.

use std::path::PathBuf;

use strongroom::base::canonical::{PythonForm, inputs_hash, inputs_hash_form, python_dumps};
use strongroom::base::digest::Sha256;
use strongroom::base::id::RunId;
use strongroom::base::json::{self, Doc, Node};

/// The folder of the real data; `None` where it is not at hand.
fn real_data() -> Option<PathBuf> {
    match std::env::var_os("STRONGROOM_REAL_DATA") {
        Some(folder) => Some(PathBuf::from(folder).join("sigilzero")),
        None => {
            println!("skipped: STRONGROOM_REAL_DATA is not set");
            None
        }
    }
}

fn read(path: PathBuf) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(node: Node<'_>, key: &str) -> String {
    let member = node.get(key).unwrap_or_else(|| panic!("no member {key} in {}", node.raw()));
    member.as_str().unwrap_or_else(|| panic!("{key} is no string")).into_owned()
}

fn scan(bytes: &[u8]) -> Doc<'_> {
    json::scan(bytes).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn canonical_forms_of_the_original_program_are_equal() {
    let Some(data) = real_data() else { return };
    let bytes = read(data.join("vectors/hash_vectors.json"));
    let doc = scan(&bytes);
    let list = |key: &str| doc.root().get(key).expect("present").elements().collect::<Vec<_>>();

    for vector in list("inputs_hash") {
        let hashes: Vec<(String, Sha256)> = vector
            .get("snapshot_hashes")
            .expect("present")
            .members()
            .map(|m| {
                let digest = m.value().as_str().expect("a string").parse().expect("a digest");
                (m.key().into_owned(), digest)
            })
            .collect();
        let entries = || hashes.iter().map(|(name, digest)| (name.as_str(), digest));
        assert_eq!(inputs_hash_form(entries()), text(vector, "canonical_utf8"));
        let hash = inputs_hash(entries());
        assert_eq!(hash.to_string(), text(vector, "inputs_hash"));
        assert_eq!(RunId::derive(&hash, 1).as_str(), text(vector, "run_id"));
        assert_eq!(RunId::derive(&hash, 2).as_str(), text(vector, "run_id_2"));
    }
    for vector in list("write_json") {
        let input = text(vector, "compact_input");
        let input = scan(input.as_bytes());
        let canonical = python_dumps(input.root(), PythonForm::Compact, None);
        assert_eq!(canonical, text(vector, "canonical_json"), "{}", text(vector, "name"));
        assert_eq!(Sha256::of(canonical.as_bytes()).to_string(), text(vector, "sha256_json"));
    }
    let vector = doc.root().get("migration_checksum").expect("present");
    let dumped = python_dumps(vector.get("obj").expect("present"), PythonForm::Default, None);
    assert_eq!(dumped, text(vector, "serialised"));
    assert_eq!(Sha256::of(dumped.as_bytes()).to_string(), text(vector, "sha256"));

    let bytes = read(data.join("vectors/legacy_hash_vectors.json"));
    let doc = scan(&bytes);
    for key in ["brief_hash", "context_spec_hash", "generation_hash"] {
        let vector = doc.root().get(key).expect("present");
        let form = text(vector, "canonical_utf8");
        assert_eq!(Sha256::of(form.as_bytes()).to_string(), text(vector, "sha256"));
        assert_eq!(python_dumps(scan(form.as_bytes()).root(), PythonForm::Compact, None), form);
    }
}
