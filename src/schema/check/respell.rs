//! The same document in other words: white space, order of members, escapes, spellings of numbers.

use super::random::Random;
use crate::base::json::Json;

/// What may be spelled anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freedom {
    /// The order of members: not where a migration makes a list of them.
    pub order: bool,
    /// Numbers: not where a migration makes texts of them.
    pub numbers: bool,
}

/// Writes a value in a random spelling.
pub(super) fn respell(value: &Json, freedom: Freedom, random: &mut Random) -> Vec<u8> {
    let mut writer = Writer { out: String::new(), freedom, random };
    writer.gap();
    writer.value(value);
    writer.gap();
    writer.out.into_bytes()
}

struct Writer<'r> {
    out: String,
    freedom: Freedom,
    random: &'r mut Random,
}

impl Writer<'_> {
    fn gap(&mut self) {
        let gap = ["", "", "", " ", "\n", "\t", "\r\n  "][self.random.below(7)];
        self.out.push_str(gap);
    }

    fn value(&mut self, value: &Json) {
        match value {
            Json::Null => self.out.push_str("null"),
            Json::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) => {
                let text = if self.freedom.numbers { self.number(text) } else { text.clone() };
                self.out.push_str(&text);
            }
            Json::String(text) => self.string(text),
            Json::Array(items) => {
                self.out.push('[');
                self.gap();
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                        self.gap();
                    }
                    self.value(item);
                    self.gap();
                }
                self.out.push(']');
            }
            Json::Object(members) => {
                let mut order: Vec<usize> = (0..members.len()).collect();
                if self.freedom.order {
                    self.random.shuffle(&mut order);
                }
                self.out.push('{');
                self.gap();
                for (at, member) in order.into_iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                        self.gap();
                    }
                    let (name, value) = &members[member];
                    self.string(name);
                    self.gap();
                    self.out.push(':');
                    self.gap();
                    self.value(value);
                    self.gap();
                }
                self.out.push('}');
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            let must = matches!(c, '"' | '\\') || c < ' ';
            if must || self.random.one_in(8) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let digits = match self.random.one_in(2) {
                        true => format!("\\u{unit:04X}"),
                        false => format!("\\u{unit:04x}"),
                    };
                    self.out.push_str(&digits);
                }
            } else if c == '/' && self.random.one_in(3) {
                self.out.push_str("\\/");
            } else {
                self.out.push(c);
            }
        }
        self.out.push('"');
    }

    /// A fraction or exponent in other words. Integers have one spelling: `1.0` is another thing to
    /// many readers.
    fn number(&mut self, text: &str) -> String {
        if !text.contains(['.', 'e', 'E']) {
            return text.to_owned();
        }
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, ""));
        match self.random.below(4) {
            0 if mantissa.contains('.') && exponent.is_empty() => format!("{mantissa}00"),
            1 if exponent.is_empty() => format!("{mantissa}e0"),
            2 if exponent.is_empty() => format!("{mantissa}E+00"),
            3 if !exponent.is_empty() => format!("{mantissa}E{exponent}"),
            _ => text.to_owned(),
        }
    }
}

/// Whether two values are the same, however spelled; numbers by their mathematical value.
pub(super) fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || parts(a) == parts(b),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            let find = |name: &str| b.iter().find(|(other, _)| other == name).map(|(_, value)| value);
            a.len() == b.len() && a.iter().all(|(name, a)| find(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Sign, digits without zeros at the ends, and the power of ten of the last digit.
fn parts(text: &str) -> (bool, String, i64) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_end_matches('0');
    let dropped = (all.len() - digits.len()) as i64;
    let digits = digits.trim_start_matches('0').to_owned();
    let power = exponent.saturating_sub(fraction.len() as i64).saturating_add(dropped);
    if digits.is_empty() { (false, digits, 0) } else { (negative, digits, power) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::json;

    #[test]
    fn respelled_document_is_other_text_and_the_same_value() {
        let text = r#"{"a":[1,-0.5,1e-7,6.64e-07,true,null],"é/\"\n":{"x":"\u0001𝄞/","y":[]},"b":{}}"#;
        let value = Json::from(json::scan(text.as_bytes()).unwrap().root());
        let mut other = 0;
        for seed in 0..200 {
            let freedom = Freedom { order: true, numbers: true };
            let spelled = respell(&value, freedom, &mut Random::new(seed));
            let doc = json::scan(&spelled).unwrap();
            assert!(same(&value, &Json::from(doc.root())), "{}", doc.text());
            other += usize::from(doc.text() != text);
        }
        assert!(other > 190);
    }

    #[test]
    fn numbers_are_the_same_by_value_alone() {
        let same = |a: &str, b: &str| same(&Json::Number(a.to_owned()), &Json::Number(b.to_owned()));
        for (a, b) in [("1.50", "15e-1"), ("0.0", "-0"), ("1e3", "1000"), ("6.64e-07", "0.000000664")] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in
            [("1.5", "-1.5"), ("1e3", "1e4"), ("0.1", "0.01"), ("9007199254740993", "9007199254740992")]
        {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
