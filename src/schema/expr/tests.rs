//! The language on examples, against independent arithmetic, and on hostile text.

use num_bigint::BigInt;
use proptest::prelude::*;

use super::value::print_float;
use super::*;
use crate::base::json::{print_compact, scan};

const IEEE: Arithmetic = Arithmetic::Ieee754;

fn exact(scale: u32, rounding: Rounding) -> Arithmetic {
    Arithmetic::Exact { scale, rounding }
}

fn eval_on(text: &str, arithmetic: Arithmetic, expression: &str) -> Result<String, Invalid> {
    let doc = scan(text.as_bytes()).expect("valid");
    let scope = Scope { doc: &doc, around: Some(doc.root()), it: doc.root().get("it") };
    let expression = Expression::parse(expression, arithmetic).expect("parses");
    expression.evaluate(&scope).map(|value| print_compact(&value))
}

const DOC: &str = r#"{"a":2,"b":0.1,"t":" Aé\n","n":null,"list":[3,1.50,2],"o":{"x":{"y":7}},"odd/key":1,
    "names":["x","y"],"it":"now","big":9007199254740993,"yes":true,"at":"2026-02-28T17:40:08.91Z",
    "naive":"2026-02-28T17:40:08.91","empty":[]}"#;

fn gives(expression: &str, want: &str) {
    assert_eq!(eval_on(DOC, IEEE, expression).as_deref(), Ok(want), "{expression}");
}

#[test]
fn expression_of_each_form_gives_its_value() {
    for (expression, want) in [
        ("b * 3", "0.30000000000000004"),
        ("(a * 1000.0) / 7", "285.7142857142857"),
        ("a - -a - 1", "3.0"),
        ("o.x.y", "7"),
        ("$.o[\"x\"]['y'] / a", "3.5"),
        ("['odd/key'] + list[1]", "2.5"),
        ("list", "[3,1.50,2]"),
        ("o.x", "{\"y\":7}"),
        ("it + '!'", "\"now!\""),
        ("b", "0.1"),
        ("big", "9007199254740993"),
        ("big * 1", "9007199254740992.0"),
        ("1e16 * 1", "1e+16"),
        ("1 / 3e5", "3.3333333333333333e-06"),
        ("a == 2.0 && !(b > 1) || nope", "true"),
        ("n == null ? 'none' : n", "\"none\""),
        ("n == 0", "false"),
        ("a < 1 ? missing : a >= 2 ? 'x' : 'y'", "\"x\""),
        ("exists(n) && !exists(o.x.z)", "true"),
        ("min(a, b, 5)", "0.1"),
        ("max(list)", "3.0"),
        ("sum(list)", "6.5"),
        ("sum(empty)", "0.0"),
        ("abs(0 - a)", "2.0"),
        ("round(2.5)", "2.0"),
        ("round(2.675, 2)", "2.67"),
        ("upper(trim(t)) + lower('ÀB')", "\"AÉàb\""),
        ("lines('a\\r\\nb\\n\\nc\\n')", "[\"a\",\"b\",\"\",\"c\"]"),
        ("split('a,b,', ',')", "[\"a\",\"b\",\"\"]"),
        ("join(names, '-')", "\"x-y\""),
        ("len(t)", "4.0"),
        ("len(names) + len(empty)", "2.0"),
        ("text(b) + text(a * 1) + text(n) + text(yes)", "\"0.12.0nulltrue\""),
        ("number('1e-08')", "1e-08"),
        ("seconds(at)", "1772300408.91"),
        ("millis(naive, '+01:00')", "1772296808910.0"),
        ("names == split('x y', ' ') && o == $.o", "true"),
        ("'b' > 'a' && \"\\\"\\\\\" == '\"\\\\'", "true"),
    ] {
        gives(expression, want);
    }
}

#[test]
fn expression_of_what_is_not_there_or_of_another_type_is_invalid() {
    let fails = |expression: &str| eval_on(DOC, IEEE, expression).expect_err(expression);
    assert_eq!(fails("nope + 1"), Invalid::Missing { path: "@[\"nope\"]".to_owned() });
    assert_eq!(fails("a / (b - b)"), Invalid::DivisionByZero);
    for typed in [
        "n + 1",
        "t * 2",
        "'a' + 1",
        "a ? 1 : 2",
        "!a",
        "a < 'x'",
        "yes < yes",
        "upper(a)",
        "join(list, '')",
        "split(t, '')",
        "max(empty)",
        "sum(a)",
        "len(a)",
        "text(o)",
        "list[0].x + t",
    ] {
        let why = fails(typed);
        let expected = matches!(why, Invalid::WrongType { .. } | Invalid::Missing { .. });
        assert!(expected, "{typed}: {why}");
    }
    assert_eq!(fails("1e308 * 10"), Invalid::Overflow);
    assert_eq!(fails("number(' 1')"), Invalid::NotANumber);
    assert_eq!(fails("number('NaN')"), Invalid::NotANumber);
    for text in ["seconds(t)", "seconds(naive)", "seconds(naive, 'x')", "millis('2026-02-30T00:00:00Z')"] {
        assert_eq!(fails(text), Invalid::NotATime, "{text}");
    }
}

#[test]
fn exact_results_have_their_scale_and_rounding() {
    let run = |scale, rounding, expression: &str| eval_on(DOC, exact(scale, rounding), expression);
    use Rounding::{Down, HalfEven, HalfUp};
    for (scale, rounding, expression, want) in [
        (2, HalfEven, "b + b + b", "0.30"),
        (0, HalfEven, "big", "9007199254740993"),
        (0, HalfEven, "len(names)", "2"),
        (0, HalfEven, "2.5", "2"),
        (0, HalfEven, "3.5", "4"),
        (0, HalfUp, "2.5", "3"),
        (0, HalfUp, "-2.5", "-3"),
        (0, Down, "-2.9", "-2"),
        (0, Down, "-0.9", "0"),
        (3, HalfEven, "1 / 3", "0.333"),
        (3, HalfUp, "0.0005", "0.001"),
        (1, HalfEven, "1e-30 * 1e30", "1.0"),
        (4, HalfEven, "round(2.345, 2)", "2.3400"),
        (1, HalfEven, "max(list) - min(list)", "1.5"),
        (3, HalfEven, "seconds(at)", "1772300408.910"),
        (0, HalfEven, "text(1 / 4)", "\"0\""),
    ] {
        assert_eq!(run(scale, rounding, expression).as_deref(), Ok(want), "{expression}");
    }
    assert_eq!(run(0, HalfEven, "1e-5000"), Err(Invalid::Overflow));
    assert_eq!(run(0, HalfEven, "1 / (1e-300 - 1e-300)"), Err(Invalid::DivisionByZero));
}

#[test]
fn exact_numbers_that_grow_without_end_are_invalid() {
    let big = format!("1{}", "0".repeat(300));
    let square = format!("({big} * {big})");
    let more = format!("{square} * {square}");
    assert!(more.len() <= SOURCE_BYTES);
    let text = r#"{"a":1e300}"#;
    let grown = "a * a * a * a * a * a * a * a * a * a * a * a * a * a * a * a * a * a";
    assert_eq!(eval_on(text, exact(0, Rounding::Down), grown), Err(Invalid::Overflow));
    assert!(eval_on("{}", exact(0, Rounding::Down), &more).is_ok());
}

#[test]
fn parse_of_each_mistake_says_where() {
    let fails = |text: &str| Expression::parse(text, IEEE).map(|_| ()).expect_err(text);
    use ExprErrorKind as K;
    macro_rules! refuses {
        ($text:expr, $at:literal, $kind:pat) => {
            let error = fails($text);
            assert!(error.at == $at && matches!(error.kind, $kind), "{} {error:?}", $text);
        };
    }
    refuses!("", 0, K::Unexpected { .. });
    refuses!("a +", 3, K::Unexpected { .. });
    refuses!("a b", 2, K::Unexpected { .. });
    refuses!("a < b < c", 6, K::Unexpected { .. });
    refuses!("(a", 2, K::Unexpected { .. });
    refuses!("a ? b", 5, K::Unexpected { .. });
    refuses!("a.1", 2, K::Unexpected { .. });
    refuses!("a['x'", 5, K::Unexpected { .. });
    refuses!("a[-1]", 2, K::Unexpected { .. });
    refuses!("a % b", 2, K::Character { found: '%' });
    refuses!("ä", 0, K::Character { .. });
    refuses!("1 + 01", 4, K::Number { .. });
    refuses!("1 + 1e999", 4, K::Number { .. });
    refuses!("0x10", 0, K::Number { .. });
    refuses!("'a", 0, K::Text);
    refuses!("'\\q'", 0, K::Text);
    refuses!("1 + now()", 4, K::UnknownFunction { .. });
    refuses!("1 + abs(1, 2)", 4, K::Arguments { found: 2, .. });
    refuses!("min()", 0, K::Arguments { found: 0, .. });
    refuses!("exists(1)", 7, K::Unexpected { .. });
    refuses!("exists(upper(a))", 12, K::Unexpected { .. });
}

#[test]
fn parse_of_hostile_text_is_bounded() {
    for text in [
        "(".repeat(4000),
        "!".repeat(4000),
        "-".repeat(4000),
        "1+".repeat(2000) + "1",
        "a?a:".repeat(1000) + "a",
        "abs(".repeat(1000),
        "a?".repeat(2000),
        "[".repeat(4000),
        "1&&".repeat(1000) + "1",
    ] {
        assert!(Expression::parse(&text, IEEE).is_err(), "{}", &text[..20]);
    }
    let long = Expression::parse(&"a".repeat(SOURCE_BYTES + 1), IEEE).map_err(|error| error.kind).err();
    assert_eq!(long, Some(ExprErrorKind::TooLong { len: SOURCE_BYTES + 1 }));
    assert!(Expression::parse(&("1+".repeat(DEPTH - 2) + "1"), IEEE).is_ok());
}

#[test]
fn evaluation_that_would_fill_the_memory_is_invalid() {
    let text = format!("{{\"t\":\"{}\"}}", "x".repeat(4 << 20));
    assert_eq!(eval_on(&text, IEEE, "join(split(t, 'x'), t)"), Err(Invalid::TooLarge));
    assert_eq!(eval_on(&text, IEEE, "(t+t)+(t+t)+(t+t)+(t+t)"), Err(Invalid::TooLarge));
}

#[test]
fn canonical_text_ignores_spacing_and_parentheses_that_say_nothing() {
    let canonical = |text: &str| Expression::parse(text, IEEE).expect("parses").to_string();
    assert_eq!(canonical("a+b * c"), canonical(" ( a + (b*c) ) "));
    assert_ne!(canonical("a + b * c"), canonical("(a + b) * c"));
    assert_ne!(canonical("a - (b - c)"), canonical("a - b - c"));
    assert_eq!(canonical("a.b"), canonical("['a'][\"b\"]"));
    assert_ne!(canonical("a"), canonical("$.a"));
}

/// An independent reading of the same arithmetic: reverse Polish, on a stack of floats.
#[derive(Debug, Clone)]
enum Rpn {
    Push(f64),
    Op(char),
}

fn any_formula() -> impl Strategy<Value = (String, Vec<Rpn>)> {
    let leaf = prop_oneof![
        (-1e6..1e6f64).prop_map(f64::abs),
        (0u32..1000).prop_map(f64::from),
        Just(1e-300),
        Just(5e-324),
        Just(1.7e308),
    ]
    .prop_map(|x| (format!("{x:?}"), vec![Rpn::Push(x)]));
    leaf.prop_recursive(5, 24, 2, |inner| {
        (inner.clone(), prop::sample::select(vec!['+', '-', '*', '/']), inner).prop_map(
            |((a, mut x), op, (b, y))| {
                x.extend(y);
                x.push(Rpn::Op(op));
                (format!("({a} {op} {b})"), x)
            },
        )
    })
}

fn run_rpn(program: &[Rpn]) -> Option<f64> {
    let mut stack: Vec<f64> = Vec::new();
    for step in program {
        match step {
            Rpn::Push(x) => stack.push(*x),
            Rpn::Op(op) => {
                let (b, a) = (stack.pop()?, stack.pop()?);
                let x = match op {
                    '+' => a + b,
                    '-' => a - b,
                    '*' => a * b,
                    _ if b == 0.0 => return None,
                    _ => a / b,
                };
                if !x.is_finite() {
                    return None;
                }
                stack.push(x);
            }
        }
    }
    stack.pop()
}

/// Sum of decimals as integers of one scale, the naive way.
fn naive_sum(texts: &[String]) -> BigInt {
    texts.iter().map(|text| text.replace('.', "").parse::<BigInt>().expect("digits")).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_ieee754_equals_an_independent_computation((text, program) in any_formula()) {
        // A number that is only taken over keeps its text; one that is computed is spelled anew.
        let got = eval_on("{}", IEEE, &text).ok().map(|text| text.parse::<f64>().expect("a number").to_bits());
        prop_assert_eq!(got, run_rpn(&program).map(f64::to_bits), "{}", text);
    }

    #[test]
    fn prop_printed_floats_read_back_and_are_json(bits in any::<u64>()) {
        let x = f64::from_bits(bits);
        prop_assume!(x.is_finite());
        let text = print_float(x);
        prop_assert_eq!(text.parse::<f64>().expect("a number").to_bits(), x.to_bits());
        prop_assert!(scan(text.as_bytes()).is_ok());
        prop_assert!(text.contains(['.', 'e']));
    }

    #[test]
    fn prop_exact_sum_equals_naive_integers(parts in prop::collection::vec((0u64..1 << 60, 0u32..1000), 1..12)) {
        let texts: Vec<String> = parts.iter().map(|(whole, part)| format!("{whole}.{part:03}")).collect();
        let got = eval_on("{}", exact(3, Rounding::Down), &texts.join(" + ")).expect("valid");
        prop_assert_eq!(got.replace('.', "").parse::<BigInt>().expect("digits"), naive_sum(&texts));
    }

    #[test]
    fn prop_exact_quotient_equals_naive_integers(a in any::<i64>(), b in 1i64..1 << 40, scale in 0u32..30) {
        let got = eval_on("{}", exact(scale, Rounding::Down), &format!("(0 + {a}) / {b}").replace("+ -", "- "));
        let naive = BigInt::from(a) * BigInt::from(10).pow(scale) / BigInt::from(b);
        let got = got.expect("valid").replace('.', "").parse::<BigInt>().expect("digits");
        prop_assert_eq!(got, naive);
    }

    #[test]
    fn prop_any_text_is_read_or_refused_within_bounds(text in "[a-z0-9 ()?:+*/.,<&|!'\\[\\]$-]{0,60}") {
        if let Ok(expression) = Expression::parse(&text, IEEE) {
            let again = expression.to_string();
            prop_assert!(!again.is_empty());
            let doc = scan(DOC.as_bytes()).expect("valid");
            let scope = Scope { doc: &doc, around: Some(doc.root()), it: None };
            let _ = expression.evaluate(&scope);
        }
    }
}
