//! The quick answer "fits" is the validator's answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::base::json::{Edits, Json, Scanned, scan};
use crate::schema::fit::{Demands, Fit, Met};

fn validator(schema: &Value) -> jsonschema::Validator {
    let options = jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex());
    options.build(schema).expect("a schema")
}

fn agree(schema: &Value, text: &str) -> Option<bool> {
    let fit = Fit::new(schema, &mut Demands::default())?;
    let doc = scan(text.as_bytes()).expect("valid");
    let wanted = validator(schema).is_valid(&doc.root().to_value());
    let mut met = Met::of(&doc);
    assert_eq!(fit.fits(doc.root(), &mut met), wanted, "{schema} on {text}");
    assert_eq!(fit.fits(doc.root(), &mut met), wanted, "{schema} on {text} again");
    Some(wanted)
}

#[test]
fn fit_of_each_keyword_agrees_with_the_validator() {
    let long = "é".repeat(3);
    let texts = [
        "null",
        "true",
        "0",
        "-0",
        "-0.0",
        "1",
        "1.0",
        "1e2",
        "1.5",
        "-3",
        "9007199254740993",
        "9007199254740992.0",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
        "\"\"",
        "\"ab\"",
        "\"\\u0061b\"",
        "[]",
        "[1,\"x\"]",
        "[1,1,1]",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":null,"b":2}"#,
        r#"{"\u0061":"x"}"#,
        r#"{"c":{"a":1}}"#,
    ];
    let mut both = [0; 2];
    for schema in [
        json!(true),
        json!(false),
        json!({}),
        json!({"type": "integer"}),
        json!({"type": ["number", "null"]}),
        json!({"type": ["object", "array", "boolean", "string"]}),
        json!({"enum": ["ab", null, 1, 18446744073709551615u64]}),
        json!({"const": 1}),
        json!({"const": 9007199254740992u64}),
        json!({"const": 0}),
        json!({"const": {"a": 1}}),
        json!({"minimum": 1, "maximum": 100}),
        json!({"minimum": 9007199254740993u64}),
        json!({"exclusiveMinimum": 1, "maximum": 1e300}),
        json!({"exclusiveMinimum": 0.5, "exclusiveMaximum": 1.5}),
        json!({"minimum": -1e300, "exclusiveMaximum": 1.8446744073709552e19}),
        json!({"minLength": 1, "maxLength": 2}),
        json!({"minItems": 1, "maxItems": 2, "items": {"type": "integer"}}),
        json!({"items": false}),
        json!({"properties": {"a": {"type": "integer"}}, "required": ["a"]}),
        json!({"properties": {"a": true}, "required": ["a", "b"], "additionalProperties": false}),
        json!({"required": ["a"], "additionalProperties": {"type": "integer"}}),
        json!({"properties": {"a": {}}, "additionalProperties": {"type": "object"}}),
        json!({"minProperties": 1, "maxProperties": 1}),
        json!({"allOf": [{"type": "object"}, {"required": ["a"]}]}),
        json!({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}),
        json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}),
        json!({"not": {"type": "string"}}),
        json!({"pattern": "^a"}),
        json!({"items": {"pattern": "^x"}, "uniqueItems": true}),
        json!({"multipleOf": 2}),
        json!({"properties": {"c": {"$ref": "#"}}, "additionalProperties": {"type": "integer"}}),
        json!({"$defs": {"p~/%": {"type": "integer"}}, "additionalProperties": {"$ref": "#/$defs/p~0~1%25"}}),
        json!({"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n", "minimum": 2}}}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"type": "integer"}}}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": "date-time", "maxLength": 1}),
        json!({"format": "date-time"}),
        json!({"if": {"type": "integer"}, "then": {"minimum": 1}}),
        json!({"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": false}),
        json!({"contains": {"type": "integer"}}),
        json!({"prefixItems": [{"type": "integer"}], "items": {"type": "string"}}),
    ] {
        for text in texts.iter().copied().chain([format!("\"{long}\"").as_str()]) {
            if let Some(fits) = agree(&schema, text) {
                both[usize::from(fits)] += 1;
            }
        }
    }
    assert!(both[0] > 200 && both[1] > 200, "{both:?}");
}

#[test]
fn fit_leaves_what_it_does_not_know_to_the_validator() {
    for unknown in [
        json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
        json!({"$id": "https://example.org/x", "type": "object"}),
        json!({"properties": {"a": {"$ref": "other.json"}}}),
        json!({"properties": {"a": {"$ref": "#/nowhere"}}}),
        json!({"oneOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {}}}),
        json!({"$dynamicRef": "#x"}),
    ] {
        assert!(Fit::new(&unknown, &mut Demands::default()).is_none(), "{unknown}");
    }
    // A schema that is nothing but itself is never sure of anything.
    let circle = Fit::new(&json!({"$ref": "#"}), &mut Demands::default()).expect("its form is known");
    for text in ["1", "{}", "[[]]"] {
        let doc = scan(text.as_bytes()).expect("valid");
        assert!(!circle.fits(doc.root(), &mut Met::of(&doc)), "{text}");
    }
}

#[test]
fn fit_knows_the_schemas_of_all_built_in_packs() {
    for name in super::builtin_names() {
        let pack = super::Pack::builtin(name).expect("built in");
        for schema in &pack.schemas {
            assert!(schema.fit.is_some(), "{name}: {} goes the slow way", schema.file);
        }
    }
}

fn any_schema() -> impl Strategy<Value = Value> {
    let number = prop::sample::select(vec![json!(0), json!(1), json!(1.5), json!(-2), json!(3)]);
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!({})),
        prop::sample::select(vec!["null", "boolean", "integer", "number", "string", "array", "object"])
            .prop_map(|t| json!({"type": t})),
        prop::collection::vec(
            prop::sample::select(vec![
                json!(1),
                json!(1.0),
                json!("a"),
                json!(null),
                json!(true),
                json!(2.5)
            ]),
            1..4
        )
        .prop_map(|list| json!({"enum": list})),
        (number.clone(), number).prop_map(|(a, b)| json!({"minimum": a, "exclusiveMaximum": b})),
        (0u64..3, 1u64..4).prop_map(|(a, b)| json!({"minLength": a, "maxItems": b, "minProperties": a})),
        Just(json!({"$ref": "#"})),
        Just(json!({"pattern": "^a+$"})),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let names = || prop::sample::select(vec!["a", "b", "cc", "é"]);
        let members = prop::collection::btree_map(names(), inner.clone(), 0..3);
        let required = prop::collection::vec(names(), 0..2);
        prop_oneof![
            (members, required, prop::option::of(inner.clone())).prop_map(|(members, required, more)| {
                let mut schema = json!({"properties": members, "required": required});
                if let Some(more) = more {
                    schema["additionalProperties"] = more;
                }
                schema
            }),
            inner.clone().prop_map(|items| json!({"items": items})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"anyOf": list})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"allOf": list})),
            inner.prop_map(|other| json!({"not": other})),
        ]
    })
    // A `$ref` to the root under `not` or in itself alone would go in circles in the validator too.
    .prop_filter("no circles", |schema| {
        let text = schema.to_string();
        !text.contains("\"$ref\"")
            || (schema.get("properties").is_some() && !text.contains("Of\"") && !text.contains("not\""))
    })
}

fn any_document() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "true",
        "0",
        "-0.0",
        "1",
        "1.0",
        "1.50",
        "-2",
        "10e-1",
        "3",
        "\"\"",
        "\"a\"",
        "\"\\u0061\"",
        "\"aé\"",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 16, 4, |inner| {
        let names = prop::sample::select(vec!["a", "b", "cc", "é", "zz"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::btree_map(names, inner, 0..4).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\" : {v}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_fit_agrees_with_the_validator(schema in any_schema(), text in any_document()) {
        agree(&schema, &text);
    }

    #[test]
    fn prop_fit_of_an_edited_document_is_the_fit_of_it_alone(
        schemas in prop::collection::vec(any_schema(), 2..4),
        text in any_document(),
        (pick, new) in (any::<prop::sample::Index>(), any_document()),
    ) {
        // One of the schemas is in another too, so that their parts have demands in common.
        let mut schemas = schemas;
        schemas.push(json!({"properties": {"a": schemas[0], "b": schemas[1]}, "items": schemas[0]}));
        let mut demands = Demands::default();
        let fits: Vec<Fit> = schemas.iter().filter_map(|schema| Fit::new(schema, &mut demands)).collect();
        let doc = scan(text.as_bytes()).expect("valid");
        let mut known = Met::of(&doc);
        for fit in &fits {
            fit.fits(doc.root(), &mut known);
        }
        let mut nodes = vec![doc.root()];
        let mut at = 0;
        while let Some(node) = nodes.get(at).copied() {
            nodes.extend(node.children());
            at += 1;
        }
        let other = scan(new.as_bytes()).expect("valid");
        let mut edits = Edits::new(&doc);
        edits.replace(nodes[pick.index(nodes.len())], Json::from(other.root()));
        let (mut after, kept) = Scanned::edited(&doc, edits.apply().expect("applies")).expect("valid");
        after.with(|after| {
            for (fit, schema) in fits.iter().zip(&schemas).filter(|_| fits.len() == schemas.len()) {
                let alone = fit.fits(after.root(), &mut Met::of(after));
                let carried = fit.fits(after.root(), &mut known.carried(after, &kept));
                assert_eq!(carried, alone, "{schema} on {} edited to {}", text, after.text());
            }
        });
    }
}
