//! Replays every file under `tests/corpus` through the oracle of its folder, and holds the JSON
//! corpus to the result that each file states: `y_` is taken, `n_` is refused with exactly this kind
//! of error at exactly this place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use strongroom::base::json::{JsonErrorKind as K, scan};
use strongroom::base::limits;

use crate::{oracles, source};

fn folder() -> PathBuf {
    source::root().join("tests/corpus")
}

/// Every file of one corpus, by name.
fn files(corpus: &Path) -> Vec<(String, Vec<u8>)> {
    let files = source::walk(corpus).into_iter().map(|path| {
        let name = path.strip_prefix(corpus).unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(&path).unwrap())
    });
    files.collect()
}

#[test]
fn corpus_of_every_target_keeps_to_its_oracle() {
    let mut broken = Vec::new();
    for (target, oracle) in oracles::ORACLES {
        let files = files(&folder().join(target));
        assert!(files.len() >= 3, "{target} has {} files", files.len());
        for (name, bytes) in files {
            // Each panic says which promise it is.
            if std::panic::catch_unwind(|| oracle(&bytes)).is_err() {
                broken.push(format!("{target}/{name}"));
            }
        }
    }
    assert!(broken.is_empty(), "promises are broken by {broken:#?}");
}

#[test]
fn corpus_folders_and_fuzz_targets_are_those_of_the_oracles() {
    let names: BTreeSet<String> = oracles::ORACLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let listed = |folder: PathBuf, is_one: fn(&Path) -> bool| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| is_one(path))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(listed(folder(), Path::is_dir), names);
    let targets = source::root().join("fuzz/fuzz_targets");
    assert_eq!(listed(targets, |path| path.extension().is_some_and(|e| e == "rs")), names);
}

#[test]
fn oracles_of_no_bytes_and_of_any_single_byte_hold() {
    for (target, _) in oracles::ORACLES {
        oracles::check(target, b"");
        (0..=255).for_each(|byte| oracles::check(target, &[byte]));
    }
}

#[test]
fn json_corpus_comes_to_the_result_that_it_states() {
    let expected = refusals();
    let (mut refused, mut wrong) = (BTreeSet::new(), Vec::new());
    for (name, bytes) in files(&folder().join("json_scan")) {
        let result = scan(&bytes);
        let Some(name) = name.strip_suffix(".json") else { continue };
        match name.split_once('_') {
            Some(("y", _)) => assert!(result.is_ok(), "{name}: {}", result.unwrap_err()),
            Some(("n", _)) => {
                let row = expected.iter().find(|row| row.0 == name);
                let (_, kind, line, column, byte) =
                    row.unwrap_or_else(|| panic!("{name} has no row in the table"));
                let error = result.err().unwrap_or_else(|| panic!("{name} was taken"));
                let found = (error.line, error.column, error.byte);
                let (kind, place) = (kind.clone(), (*line, *column, *byte));
                if (&error.kind, found) != (&kind, place) {
                    wrong.push(format!("{name}: {error:?}, not {kind:?} at {place:?}"));
                }
                refused.insert(name.to_owned());
            }
            _ => panic!("{name} states no result"),
        }
    }
    let rows: BTreeSet<String> = expected.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(refused, rows);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn json_text_at_the_size_limit_is_taken_and_one_byte_more_is_refused() {
    let mut text = vec![b' '; limits::JSON_BYTES];
    text[0] = b'7';
    assert!(scan(&text).is_ok());
    text.push(b'\n');
    let error = scan(&text).unwrap_err();
    assert_eq!(error.kind, K::TooLarge { len: limits::JSON_BYTES + 1 });
    assert_eq!((error.line, error.column, error.byte), (1, 16_777_217, 16_777_216));
}

/// What each refused text comes to: the kind of error, and its line, column and byte.
#[rustfmt::skip]
fn refusals() -> Vec<(&'static str, K, u32, u32, usize)> {
    vec![
        ("n_depth_129_arrays", K::TooDeep, 1, 129, 128),
        ("n_depth_129_objects", K::TooDeep, 1, 641, 640),
        ("n_depth_mixed", K::TooDeep, 1, 385, 384),
        ("n_depth_unclosed", K::TooDeep, 1, 129, 128),
        ("n_duplicate_apart", K::DuplicateMember { key: "k7".to_owned() }, 1, 232, 231),
        ("n_duplicate_apart_escaped", K::DuplicateMember { key: "k7".to_owned() }, 1, 232, 231),
        ("n_duplicate_astral", K::DuplicateMember { key: "😀".to_owned() }, 1, 8, 10),
        ("n_duplicate_both_escaped", K::DuplicateMember { key: "a".to_owned() }, 1, 19, 18),
        ("n_duplicate_empty", K::DuplicateMember { key: "".to_owned() }, 2, 2, 8),
        ("n_duplicate_escaped", K::DuplicateMember { key: "a".to_owned() }, 1, 8, 7),
        ("n_duplicate_nested", K::DuplicateMember { key: "k".to_owned() }, 1, 14, 13),
        ("n_duplicate_plain", K::DuplicateMember { key: "a".to_owned() }, 1, 8, 7),
        ("n_duplicate_slash", K::DuplicateMember { key: "a/b".to_owned() }, 1, 10, 9),
        ("n_duplicate_third", K::DuplicateMember { key: "a".to_owned() }, 1, 14, 13),
        ("n_encoding_after_escape", K::NotUtf8, 1, 4, 3),
        ("n_encoding_before_a_syntax_error", K::NotUtf8, 1, 7, 6),
        ("n_encoding_beyond_10ffff", K::NotUtf8, 1, 3, 2),
        ("n_encoding_bom", K::ByteOrderMark, 1, 1, 0),
        ("n_encoding_bom_after", K::TrailingBytes, 1, 2, 1),
        ("n_encoding_bom_alone", K::ByteOrderMark, 1, 1, 0),
        ("n_encoding_bom_inside", K::Unexpected { expected: "a value", found: Some('\u{feff}') }, 1, 2, 1),
        ("n_encoding_continuation_first", K::NotUtf8, 1, 3, 2),
        ("n_encoding_cut_2", K::NotUtf8, 1, 3, 2),
        ("n_encoding_cut_3", K::NotUtf8, 1, 5, 4),
        ("n_encoding_cut_4_at_end", K::NotUtf8, 1, 4, 4),
        ("n_encoding_ff_in_structure", K::NotUtf8, 1, 4, 3),
        ("n_encoding_five_bytes", K::NotUtf8, 1, 3, 2),
        ("n_encoding_in_name", K::NotUtf8, 1, 3, 2),
        ("n_encoding_latin_1", K::NotUtf8, 2, 9, 11),
        ("n_encoding_overlong_3", K::NotUtf8, 1, 3, 2),
        ("n_encoding_overlong_null", K::NotUtf8, 1, 3, 2),
        ("n_encoding_overlong_slash", K::NotUtf8, 1, 3, 2),
        ("n_encoding_surrogate", K::NotUtf8, 1, 3, 2),
        ("n_encoding_surrogate_pair_cesu", K::NotUtf8, 1, 3, 2),
        ("n_encoding_trailing", K::NotUtf8, 1, 3, 2),
        ("n_encoding_utf16_be", K::Unexpected { expected: "a value", found: Some('\0') }, 1, 1, 0),
        ("n_encoding_utf16_le", K::Unexpected { expected: "a value", found: Some('\0') }, 1, 2, 1),
        ("n_encoding_utf16_le_bom", K::NotUtf8, 1, 1, 0),
        ("n_encoding_utf32_le", K::Unexpected { expected: "a value", found: Some('\0') }, 1, 2, 1),
        ("n_number_1001_bytes", K::NumberTooLong { len: 1001 }, 1, 5, 4),
        ("n_number_1001_bytes_fraction", K::NumberTooLong { len: 1001 }, 1, 2, 1),
        ("n_number_digit_of_another_script", K::Unexpected { expected: "a value", found: Some('٣') }, 1, 2, 1),
        ("n_number_exponent_alone", K::BadNumber { expected: "a digit in the exponent" }, 1, 4, 3),
        ("n_number_exponent_fraction", K::Unexpected { expected: "',' or ']'", found: Some('.') }, 1, 5, 4),
        ("n_number_exponent_sign_alone", K::BadNumber { expected: "a digit in the exponent" }, 1, 5, 4),
        ("n_number_full_width_digit", K::Unexpected { expected: "',' or ']'", found: Some('２') }, 1, 3, 2),
        ("n_number_hex", K::Unexpected { expected: "',' or ']'", found: Some('x') }, 1, 3, 2),
        ("n_number_inf", K::Foreign { found: "inf", instead: "JSON has no such number; write null, or a string" }, 1, 2, 1),
        ("n_number_infinity", K::Foreign { found: "Infinity", instead: "JSON has no such number; write null, or a string" }, 1, 2, 1),
        ("n_number_leading_zero", K::BadNumber { expected: "no leading zero" }, 1, 2, 1),
        ("n_number_letter_after", K::Unexpected { expected: "',' or ']'", found: Some('a') }, 1, 3, 2),
        ("n_number_lower_nan", K::Foreign { found: "nan", instead: "JSON has no such number; write null, or a string" }, 1, 2, 1),
        ("n_number_minus_alone", K::BadNumber { expected: "a digit" }, 1, 3, 2),
        ("n_number_minus_alone_at_end", K::BadNumber { expected: "a digit" }, 1, 2, 1),
        ("n_number_minus_infinity", K::Foreign { found: "-Infinity", instead: "JSON has no such number; write null, or a string" }, 1, 2, 1),
        ("n_number_minus_leading_zero", K::BadNumber { expected: "no leading zero" }, 1, 2, 1),
        ("n_number_minus_letter", K::BadNumber { expected: "a digit" }, 1, 3, 2),
        ("n_number_minus_minus", K::BadNumber { expected: "a digit" }, 1, 3, 2),
        ("n_number_minus_overflow", K::NumberOverflow, 1, 2, 1),
        ("n_number_minus_point", K::BadNumber { expected: "a digit" }, 1, 3, 2),
        ("n_number_minus_space", K::BadNumber { expected: "a digit" }, 1, 3, 2),
        ("n_number_nan", K::Foreign { found: "NaN", instead: "JSON has no such number; write null, or a string" }, 2, 2, 5),
        ("n_number_overflow", K::NumberOverflow, 1, 7, 6),
        ("n_number_overflow_by_digits", K::NumberOverflow, 1, 2, 1),
        ("n_number_overflow_half_way", K::NumberOverflow, 1, 2, 1),
        ("n_number_plus", K::Unexpected { expected: "a value", found: Some('+') }, 1, 2, 1),
        ("n_number_point_at_end", K::BadNumber { expected: "a digit after the point" }, 1, 3, 2),
        ("n_number_point_exponent", K::BadNumber { expected: "a digit after the point" }, 1, 4, 3),
        ("n_number_point_without_digit", K::BadNumber { expected: "a digit after the point" }, 1, 4, 3),
        ("n_number_starts_with_point", K::Unexpected { expected: "a value", found: Some('.') }, 1, 2, 1),
        ("n_number_two_in_a_row", K::Unexpected { expected: "',' or ']'", found: Some('2') }, 1, 4, 3),
        ("n_number_two_points", K::Unexpected { expected: "',' or ']'", found: Some('.') }, 1, 5, 4),
        ("n_number_underscore", K::Unexpected { expected: "',' or ']'", found: Some('_') }, 1, 3, 2),
        ("n_string_backslash_at_end", K::BadEscape, 1, 5, 4),
        ("n_string_backtick", K::Unexpected { expected: "a value", found: Some('`') }, 1, 1, 0),
        ("n_string_escape_a", K::BadEscape, 1, 10, 10),
        ("n_string_escape_newline", K::BadEscape, 1, 2, 1),
        ("n_string_escape_non_ascii", K::BadEscape, 1, 2, 1),
        ("n_string_escape_single_quote", K::BadEscape, 1, 2, 1),
        ("n_string_escape_upper_u", K::BadEscape, 1, 2, 1),
        ("n_string_escape_x", K::BadEscape, 1, 2, 1),
        ("n_string_escape_zero", K::BadEscape, 1, 2, 1),
        ("n_string_high_then_broken_escape", K::BadEscape, 1, 8, 7),
        ("n_string_high_then_letter_escape", K::LoneSurrogate { unit: 0xd800 }, 1, 2, 1),
        ("n_string_high_then_other_escape", K::LoneSurrogate { unit: 0xd800 }, 1, 2, 1),
        ("n_string_lone_high", K::LoneSurrogate { unit: 0xd800 }, 1, 2, 1),
        ("n_string_lone_high_then_text", K::LoneSurrogate { unit: 0xd83d }, 1, 2, 1),
        ("n_string_lone_in_name", K::LoneSurrogate { unit: 0xdfff }, 2, 4, 5),
        ("n_string_lone_low", K::LoneSurrogate { unit: 0xdc00 }, 1, 3, 2),
        ("n_string_only_quote", K::UnclosedString, 1, 1, 0),
        ("n_string_pair_swapped", K::LoneSurrogate { unit: 0xde00 }, 1, 2, 1),
        ("n_string_raw_carriage_return", K::ControlCharacter { found: '\r' }, 1, 3, 2),
        ("n_string_raw_escape", K::ControlCharacter { found: '\u{1b}' }, 1, 3, 3),
        ("n_string_raw_newline", K::ControlCharacter { found: '\n' }, 1, 4, 3),
        ("n_string_raw_null", K::ControlCharacter { found: '\0' }, 1, 3, 2),
        ("n_string_raw_tab", K::ControlCharacter { found: '\t' }, 1, 2, 1),
        ("n_string_raw_unit_separator", K::ControlCharacter { found: '\u{1f}' }, 1, 2, 1),
        ("n_string_single_quotes", K::Foreign { found: "a single-quoted string", instead: "strings have double quotes" }, 1, 2, 1),
        ("n_string_two_high", K::LoneSurrogate { unit: 0xd800 }, 1, 2, 1),
        ("n_string_typographic_quotes", K::Unexpected { expected: "a value", found: Some('“') }, 1, 2, 1),
        ("n_string_unclosed", K::UnclosedString, 1, 2, 1),
        ("n_string_unclosed_after_escape", K::UnclosedString, 1, 1, 0),
        ("n_string_unicode_3_digits", K::BadEscape, 1, 2, 1),
        ("n_string_unicode_at_end", K::BadEscape, 1, 2, 1),
        ("n_string_unicode_bad_digit", K::BadEscape, 1, 2, 1),
        ("n_string_unicode_braces", K::BadEscape, 1, 2, 1),
        ("n_string_unicode_no_digits", K::BadEscape, 1, 2, 1),
        ("n_string_unicode_non_ascii_digit", K::BadEscape, 1, 2, 1),
        ("n_string_unicode_plus", K::BadEscape, 1, 2, 1),
        ("n_structure_array_closed_by_brace", K::Unexpected { expected: "',' or ']'", found: Some('}') }, 1, 3, 2),
        ("n_structure_array_colon", K::Unexpected { expected: "',' or ']'", found: Some(':') }, 1, 5, 4),
        ("n_structure_array_comma_and_space_at_end", K::TrailingComma, 1, 3, 2),
        ("n_structure_array_comma_at_end", K::TrailingComma, 1, 3, 2),
        ("n_structure_array_comma_first", K::Unexpected { expected: "a value", found: Some(',') }, 1, 2, 1),
        ("n_structure_array_no_comma", K::Unexpected { expected: "',' or ']'", found: Some('"') }, 1, 6, 5),
        ("n_structure_array_only_comma", K::Unexpected { expected: "a value", found: Some(',') }, 1, 2, 1),
        ("n_structure_array_two_commas", K::Unexpected { expected: "a value", found: Some(',') }, 1, 4, 3),
        ("n_structure_array_unclosed", K::Unexpected { expected: "',' or ']'", found: None }, 1, 3, 2),
        ("n_structure_array_unclosed_after_comma", K::Unexpected { expected: "a value", found: None }, 1, 4, 3),
        ("n_structure_array_unclosed_empty", K::Unexpected { expected: "a value", found: None }, 1, 2, 1),
        ("n_structure_bare_word", K::Unexpected { expected: "a value", found: Some('a') }, 1, 1, 0),
        ("n_structure_close_first", K::Unexpected { expected: "a value", found: Some(']') }, 1, 1, 0),
        ("n_structure_comment_block", K::Foreign { found: "/*", instead: "JSON has no comments" }, 1, 1, 0),
        ("n_structure_comment_hash", K::Unexpected { expected: "a value", found: Some('#') }, 1, 1, 0),
        ("n_structure_comment_inside", K::Foreign { found: "/*", instead: "JSON has no comments" }, 1, 5, 4),
        ("n_structure_comment_line", K::Foreign { found: "//", instead: "JSON has no comments" }, 1, 5, 4),
        ("n_structure_empty", K::Empty, 1, 1, 0),
        ("n_structure_false_python", K::Foreign { found: "False", instead: "write false" }, 1, 2, 1),
        ("n_structure_none", K::Foreign { found: "None", instead: "write null" }, 2, 1, 6),
        ("n_structure_null_byte", K::Unexpected { expected: "a value", found: Some('\0') }, 1, 1, 0),
        ("n_structure_null_cut", K::Unexpected { expected: "a value", found: Some('n') }, 1, 1, 0),
        ("n_structure_object_bare_name", K::Unexpected { expected: "a member name in double quotes", found: Some('a') }, 1, 2, 1),
        ("n_structure_object_closed_by_bracket", K::Unexpected { expected: "',' or '}'", found: Some(']') }, 1, 7, 6),
        ("n_structure_object_comma_at_end", K::TrailingComma, 1, 7, 6),
        ("n_structure_object_comma_first", K::Unexpected { expected: "a member name in double quotes", found: Some(',') }, 1, 2, 1),
        ("n_structure_object_equals", K::Unexpected { expected: "':'", found: Some('=') }, 1, 5, 4),
        ("n_structure_object_no_colon", K::Unexpected { expected: "':'", found: Some('1') }, 1, 6, 5),
        ("n_structure_object_no_comma", K::Unexpected { expected: "',' or '}'", found: Some('"') }, 1, 8, 7),
        ("n_structure_object_no_value", K::Unexpected { expected: "a value", found: Some('}') }, 1, 6, 5),
        ("n_structure_object_null_name", K::Unexpected { expected: "a member name in double quotes", found: Some('n') }, 1, 2, 1),
        ("n_structure_object_number_name", K::Unexpected { expected: "a member name in double quotes", found: Some('1') }, 1, 2, 1),
        ("n_structure_object_semicolon", K::Unexpected { expected: "',' or '}'", found: Some(';') }, 1, 7, 6),
        ("n_structure_object_single_quotes", K::Foreign { found: "a single-quoted string", instead: "strings have double quotes" }, 1, 2, 1),
        ("n_structure_object_two_colons", K::Unexpected { expected: "a value", found: Some(':') }, 1, 6, 5),
        ("n_structure_object_two_commas", K::Unexpected { expected: "a member name in double quotes", found: Some(',') }, 1, 8, 7),
        ("n_structure_object_unclosed", K::Unexpected { expected: "',' or '}'", found: None }, 1, 7, 6),
        ("n_structure_object_unclosed_after_colon", K::Unexpected { expected: "a value", found: None }, 1, 7, 6),
        ("n_structure_object_unclosed_after_comma", K::Unexpected { expected: "a member name in double quotes", found: None }, 1, 8, 7),
        ("n_structure_object_unclosed_after_name", K::Unexpected { expected: "':'", found: None }, 1, 5, 4),
        ("n_structure_object_unclosed_empty", K::Unexpected { expected: "a member name in double quotes", found: None }, 1, 2, 1),
        ("n_structure_object_value_alone", K::Unexpected { expected: "':'", found: Some('}') }, 1, 5, 4),
        ("n_structure_only_space", K::Empty, 2, 3, 4),
        ("n_structure_space_form_feed", K::Unexpected { expected: "a value", found: Some('\u{c}') }, 1, 1, 0),
        ("n_structure_space_line_separator", K::Unexpected { expected: "',' or ']'", found: Some('\u{2028}') }, 1, 3, 2),
        ("n_structure_space_no_break", K::Unexpected { expected: "a value", found: Some('\u{a0}') }, 1, 2, 1),
        ("n_structure_space_vertical_tab", K::Unexpected { expected: "',' or ']'", found: Some('\u{b}') }, 1, 3, 2),
        ("n_structure_space_zero_width", K::Unexpected { expected: "':'", found: Some('\u{200b}') }, 1, 5, 4),
        ("n_structure_third_line", K::Unexpected { expected: "a value", found: Some('x') }, 3, 8, 20),
        ("n_structure_trailing_brace", K::TrailingBytes, 1, 3, 2),
        ("n_structure_trailing_bracket", K::TrailingBytes, 1, 4, 3),
        ("n_structure_trailing_comma_after", K::TrailingBytes, 1, 2, 1),
        ("n_structure_trailing_nan", K::TrailingBytes, 1, 3, 2),
        ("n_structure_trailing_null_byte", K::TrailingBytes, 1, 3, 2),
        ("n_structure_trailing_text", K::TrailingBytes, 2, 1, 4),
        ("n_structure_true_cut", K::Unexpected { expected: "a value", found: Some('t') }, 1, 2, 1),
        ("n_structure_true_longer", K::Unexpected { expected: "',' or ']'", found: Some('x') }, 1, 6, 5),
        ("n_structure_true_python", K::Foreign { found: "True", instead: "write true" }, 1, 7, 6),
        ("n_structure_true_upper", K::Unexpected { expected: "a value", found: Some('T') }, 1, 2, 1),
        ("n_structure_two_values", K::TrailingBytes, 1, 4, 3),
        ("n_structure_undefined", K::Foreign { found: "undefined", instead: "write null, or leave the member out" }, 1, 2, 1),
    ]
}
