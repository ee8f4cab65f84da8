//! Migration steps in WebAssembly: a guest in Rust, built here, and modules that try what they must not.
//! Without the feature, a pack that has such a step is refused with the feature's name.

use std::collections::BTreeMap;

use strongroom::schema::{Pack, PackError};

const PACK: &str = r#"[pack]
name = "timings"
version = "1.0.0"
version_at = "/v"
head = "2"
order = "graph"

[[shape]]
version = "1"
schema = "1.schema.json"

[[shape]]
version = "2"
schema = "2.schema.json"

[fields]
frozen = ["/id"]
measured = ["/watts"]

[[migration]]
from = "1"
to = "2"
summary = "A duration is a number of seconds"

    [[migration.step]]
    op = "wasm"
    module = "took.wasm"
    reads = ["/took"]
    writes = ["/seconds", "/took"]
"#;

const OLD: &str = r#"{"type": "object", "required": ["v"], "additionalProperties": false, "properties": {
    "v": {"const": "1"}, "id": {"type": "string"}, "watts": {"type": "number"},
    "took": {"type": "string", "pattern": "^[0-9]{1,2}h [0-5][0-9]m [0-5][0-9]s$"}}}"#;
const NEW: &str = r#"{"type": "object", "required": ["v"], "additionalProperties": false, "properties": {
    "v": {"const": "2"}, "id": {"type": "string"}, "watts": {"type": "number"},
    "seconds": {"type": "integer", "minimum": 0}}}"#;

fn files(pack: &str, module: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    BTreeMap::from([
        file("pack.toml", pack.as_bytes()),
        file("1.schema.json", OLD.replace(r#"["v"]"#, r#"["v", "took"]"#).as_bytes()),
        file("2.schema.json", NEW.as_bytes()),
        file("took.wasm", module),
    ])
}

fn parse(pack: &str, module: &[u8]) -> Result<Pack, PackError> {
    Pack::parse(&files(pack, module))
}

#[cfg(not(feature = "wasm"))]
#[test]
fn wasm_step_without_the_feature_is_refused_with_its_name() {
    let error = parse(PACK, b"\0asm\x01\0\0\0").unwrap_err();
    assert_eq!((error.file.as_str(), error.line, error.column), ("pack.toml", 27, 14), "{error}");
    assert!(error.to_string().ends_with(
        "a step in WebAssembly needs a program that was built with the cargo feature \"wasm\"; this one was not"
    ));
}

#[cfg(feature = "wasm")]
mod with_feature {
    use std::path::Path;
    use std::process::Command;

    use strongroom::schema::{Facts, Outcome, PackErrorKind, Refusal, StepProblem};

    use super::*;
    use crate::common::Bench;

    /// The guest in `tests/guests/took.rs`; `None` (and a word about it) where the compiler has no
    /// such target.
    fn guest() -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("took.wasm");
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let mut command = Command::new(rustc);
        command.args(["--edition", "2021", "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib"]);
        command.args(["-O", "-C", "panic=abort", "-C", "strip=symbols", "-o"]).arg(&out);
        let ran = command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/took.rs")).output();
        let ran = ran.unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        if said.contains("target may not be installed") {
            println!("skipped: the target wasm32-unknown-unknown is not installed");
            return None;
        }
        assert!(ran.status.success(), "{said}");
        Some(std::fs::read(out).unwrap())
    }

    fn migrate(pack: &Pack, text: &str) -> Result<String, Refusal> {
        match pack.migrate(text.as_bytes(), None, &Facts::default(), None) {
            Outcome::Rewrite(rewrite) => Ok(String::from_utf8(rewrite.bytes).unwrap()),
            Outcome::Refused(refusal) => Err(refusal),
            Outcome::Current { .. } => panic!("current"),
        }
    }

    #[test]
    fn guest_in_rust_migrates_and_its_pack_passes_the_check() {
        let Some(module) = guest() else { return };
        let pack = parse(PACK, &module).unwrap();
        let text = "{ \"id\":\"a\\/b\", \"took\" : \"1h 02m 03s\",\n  \"watts\": 1.50E-1, \"v\": \"1\"}";
        let expected = "{ \"id\":\"a\\/b\", \"watts\": 1.50E-1, \"v\": \"2\", \"seconds\":3723}";
        assert_eq!(migrate(&pack, text).unwrap(), expected);
        let refused = migrate(&pack, r#"{"v":"1","took":"1h 02m 03s","id":1}"#).unwrap_err();
        assert!(matches!(refused, Refusal::Detection(_)), "{refused}");

        let bench = Bench::new();
        files(PACK, &module).iter().for_each(|(name, bytes)| bench.write(&format!("p/{name}"), bytes));
        let report = bench.json(&["pack", "check", "p", "--documents", "200"], 0);
        assert_eq!(report["packs"][0]["migrations"][0]["migrated"], 200);
        assert_eq!(report["packs"][0]["findings"], serde_json::json!([]));
        bench.run(&["pack", "docs", "p"]).exits(0).says("wasm").says("took");
        // A wider source shape lets documents in that the guest refuses with its reason.
        bench.write("p/1.schema.json", OLD.replace("pattern", "description"));
        let report = bench.json(&["pack", "check", "p", "--documents", "50"], 3);
        let reason = &report["packs"][0]["findings"][0];
        assert_eq!(reason["code"], "all-refused");
        assert!(reason["message"].as_str().unwrap().contains("took is not of the form"), "{reason}");
    }

    /// A module whose `run` has this body, with an answer lying at 8.
    fn module(answer: &str, more: &str, run: &str) -> Vec<u8> {
        let data: String = answer.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text = format!(
            "(module (memory (export \"memory\") 1) {more}
               (func (export \"alloc\") (param i32) (result i32) (i32.const 4096))
               (func $run (export \"run\") (param i32 i32) (result i64) {run})
               (data (i32.const 8) \"{data}\"))"
        );
        wat::parse_str(text).unwrap()
    }

    fn answering(answer: &str) -> Vec<u8> {
        module(answer, "", &format!("(i64.const {})", (8u64 << 32) | answer.len() as u64))
    }

    const DOCUMENT: &str = r#"{"v":"1","took":"1h 02m 03s"}"#;

    /// How a document is refused on account of a module.
    #[track_caller]
    fn failure(module: &[u8]) -> String {
        match migrate(&parse(PACK, module).unwrap(), DOCUMENT) {
            Err(Refusal::Step { step: 1, problem: StepProblem::Guest { why, .. }, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn module_that_breaks_the_rules_is_refused_when_the_pack_is_read() {
        let cases: [(Vec<u8>, &str); 8] = [
            (b"(module)".to_vec(), "not a core module"),
            (b"\0asm\x0d\0\x01\0".to_vec(), "not a core module"),
            (b"\0asm\x01\0\0\0\x01".to_vec(), "unexpected end"),
            (wat::parse_str("(module (import \"env\" \"now\" (func)))").unwrap(), "it imports env.now"),
            (wat::parse_str("(module)").unwrap(), "no memory"),
            (wat::parse_str("(module (memory (export \"memory\") 1))").unwrap(), "no function alloc"),
            (
                wat::parse_str(
                    "(module (memory (export \"memory\") 1)
                      (func (export \"alloc\") (param i32) (result i32) (i32.const 0))
                      (func (export \"run\") (param i32) (result i64) (i64.const 0)))",
                )
                .unwrap(),
                "no function run",
            ),
            (vec![0; 5 << 20], "over 4194304 bytes"),
        ];
        for (bytes, why) in cases {
            let error = parse(PACK, &bytes).unwrap_err();
            assert_eq!((error.line, error.column), (27, 14), "{error}");
            assert!(matches!(&error.kind, PackErrorKind::Module { .. }), "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn step_that_could_break_a_promise_is_refused_when_the_pack_is_read() {
        let module = answering("{}");
        let kind = |from: &str, to: &str| parse(&PACK.replace(from, to), &module).unwrap_err().kind;
        assert!(matches!(kind("[\"/seconds\"", "[\"/id\""), PackErrorKind::Frozen { .. }));
        assert!(matches!(kind("[\"/seconds\"", "[\"/watts\""), PackErrorKind::Measured { .. }));
        assert!(matches!(kind("[\"/seconds\"", "[\"/v\""), PackErrorKind::Reserved { .. }));
        assert!(matches!(kind("[\"/seconds\"", "[\"/took/x\""), PackErrorKind::BadValue { .. }));
        assert!(matches!(kind("[\"/seconds\"", "[\"/a/*\""), PackErrorKind::BadValue { .. }));
        assert!(matches!(kind("[\"/seconds\", \"/took\"]", "[]"), PackErrorKind::MissingKey { .. }));
        assert!(matches!(kind("took.wasm", "none.wasm"), PackErrorKind::NoFile { .. }));
    }

    #[test]
    fn module_that_fails_or_says_too_much_refuses_the_document() {
        let endless = module("", "", "(loop (br 0)) (i64.const 0)");
        assert!(failure(&endless).contains("fuel"), "{}", failure(&endless));
        let deep = module("", "", "(call $run (local.get 0) (local.get 1))");
        assert!(failure(&deep).contains("stack") || failure(&deep).contains("fuel"), "{}", failure(&deep));
        assert!(failure(&module("", "", "unreachable")).contains("unreachable"));
        let far = module("", "", "(i64.const 0x7fff_ffff_0000_0010)");
        assert_eq!(failure(&far), "its answer is outside its memory");
        let long = module("", "", "(i64.const 0x0000_0008_7fff_ffff)");
        assert!(failure(&long).contains("over 16777216 bytes"));
        for (answer, why) in [
            ("no", "no JSON"),
            ("[]", "what it answers is not"),
            (r#"{"other":1}"#, "what it answers is not"),
            (r#"{"set":{"/id":"x"}}"#, "which the step does not declare"),
            (r#"{"remove":["/watts"]}"#, "which the step does not declare"),
            (r#"{"set":{"/took":"x"},"remove":["/took"]}"#, "two things"),
            (r#"{"set":{"/seconds":1e999}} "#, ""),
        ] {
            if why.is_empty() {
                // A number is taken as it is spelled; whether it fits is for the target shape to say.
                assert!(migrate(&parse(PACK, &answering(answer)).unwrap(), DOCUMENT).is_err());
            } else {
                assert!(failure(&answering(answer)).contains(why), "{answer}");
            }
        }
        // More than the bound is not given; how the guest takes that is its own affair.
        let grow =
            "(if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)) (then unreachable)) (i64.const 0)";
        assert!(failure(&module("", "", grow)).contains("unreachable"));
        let start = "(memory 1025)";
        let large = wat::parse_str(format!(
            "(module {} (func (export \"alloc\") (param i32) (result i32) (i32.const 0))
               (func (export \"run\") (param i32 i32) (result i64) (i64.const 0)))",
            start.replace("(memory ", "(memory (export \"memory\") ")
        ))
        .unwrap();
        assert!(!failure(&large).is_empty());
    }

    #[test]
    fn module_keeps_nothing_from_one_document_to_the_next() {
        // It counts its calls and answers only the first.
        let first = r#"{"set":{"/seconds":1},"remove":["/took"]}"#;
        let run = format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (if (i32.gt_u (global.get $calls) (i32.const 1)) (then unreachable))
             (i64.const {})",
            (8u64 << 32) | first.len() as u64
        );
        let counting = module(first, "(global $calls (mut i32) (i32.const 0))", &run);
        let pack = parse(PACK, &counting).unwrap();
        for _ in 0..3 {
            assert_eq!(migrate(&pack, DOCUMENT).unwrap(), r#"{"v":"2","seconds":1}"#);
        }
    }

    #[test]
    fn module_sees_what_it_declared_and_each_element_by_itself() {
        // It answers its input as the new value of what it writes: `{"set":{"/seen":` … `}}`.
        let echo = wat::parse_str(
            r#"(module (memory (export "memory") 1)
               (func (export "alloc") (param i32) (result i32) (i32.const 24))
               (func (export "run") (param i32 i32) (result i64)
                 (memory.copy (i32.const 8) (i32.const 4096) (i32.const 16))
                 (i32.store16 (i32.add (i32.const 24) (local.get 1)) (i32.const 0x7d7d))
                 (i64.or (i64.const 0x0000_0008_0000_0000) (i64.extend_i32_u (i32.add (local.get 1) (i32.const 18)))))
               (data (i32.const 4096) "{\"set\":{\"/seen\":"))"#,
        )
        .unwrap();
        let pack =
            PACK.replace("reads = [\"/took\"]", "path = \"/list/*\"\nreads = [\"/b\", \"/a/c\"]").replace(
                "writes = [\"/seconds\", \"/took\"]",
                "writes = [\"/seen\"]\nwhen = [{ present = \"/list/*/a\" }]",
            );
        let mut files = files(&pack, &echo);
        for name in ["1.schema.json", "2.schema.json"] {
            files.insert(name.to_owned(), b"{}".to_vec());
        }
        let pack = Pack::parse(&files).unwrap();
        let text = r#"{"v":"1","list":[{"a":{"c":1.50},"b":[ "é\/" ],"x":0},{"b":1},{"a":{}}]}"#;
        let expected = r#"{"v":"2","list":[{"a":{"c":1.50},"b":[ "é\/" ],"x":0,"seen":{"/b":["é/"],"/a/c":1.50}},{"b":1},{"a":{},"seen":{}}]}"#;
        assert_eq!(migrate(&pack, text).unwrap(), expected);
    }

    #[test]
    fn pack_has_the_identity_of_its_module() {
        let digest = |module: &[u8]| parse(PACK, module).unwrap().digest();
        assert_eq!(digest(&answering("{}")), digest(&answering("{}")));
        assert_ne!(digest(&answering("{}")), digest(&answering("{} ")));
    }
}
