//! Values of expressions, and how computed numbers are spelled.

use std::borrow::Cow;
use std::cmp::Ordering;

use num_rational::BigRational;
use num_traits::{Signed, Zero};

use super::eval::Invalid;
use super::{Arithmetic, exact};
use crate::base::json::{Json, Kind, Node};

/// A number in the arithmetic of its expression.
#[derive(Debug, Clone)]
pub(super) enum Amount {
    Float(f64),
    Exact(BigRational),
}

#[derive(Debug, Clone)]
pub(super) enum Value<'d> {
    Null,
    Bool(bool),
    /// A number, and its text while it is as it was found.
    Number(Amount, Option<Cow<'d, str>>),
    Text(Cow<'d, str>),
    List(Vec<Value<'d>>),
    Object(Node<'d>),
}

impl Amount {
    pub fn read(token: &str, arithmetic: Arithmetic) -> Result<Self, Invalid> {
        let read = match arithmetic {
            Arithmetic::Ieee754 => token.parse().ok().filter(|x: &f64| x.is_finite()).map(Self::Float),
            Arithmetic::Exact { .. } => exact::read(token).map(Self::Exact),
        };
        read.ok_or(Invalid::Overflow)
    }

    /// The amount itself, where it is finite and within bounds.
    pub fn sound(self) -> Result<Self, Invalid> {
        match self {
            Self::Float(x) if x.is_finite() => Ok(Self::Float(x)),
            Self::Exact(x) => exact::bounded(x).map(Self::Exact).ok_or(Invalid::Overflow),
            Self::Float(_) => Err(Invalid::Overflow),
        }
    }

    pub fn is_zero(&self) -> bool {
        match self {
            Self::Float(x) => *x == 0.0,
            Self::Exact(x) => x.is_zero(),
        }
    }

    pub fn abs(self) -> Self {
        match self {
            Self::Float(x) => Self::Float(x.abs()),
            Self::Exact(x) => Self::Exact(x.abs()),
        }
    }

    pub fn negate(self) -> Self {
        match self {
            Self::Float(x) => Self::Float(-x),
            Self::Exact(x) => Self::Exact(-x),
        }
    }

    /// Both amounts of one operation are of one arithmetic, so the two kinds never meet.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Exact(a), Self::Exact(b)) => a.cmp(b),
            (Self::Float(_), Self::Exact(_)) => Ordering::Less,
            (Self::Exact(_), Self::Float(_)) => Ordering::Greater,
        }
    }

    pub fn print(&self, arithmetic: Arithmetic) -> String {
        match (self, arithmetic) {
            (Self::Float(x), _) => print_float(*x),
            (Self::Exact(x), Arithmetic::Exact { scale, rounding }) => exact::print(x, scale, rounding),
            (Self::Exact(x), Arithmetic::Ieee754) => x.to_string(),
        }
    }

    /// The amount as a small whole number.
    pub fn as_digits(&self) -> Option<u32> {
        let text = match self {
            Self::Float(x) => format!("{x}"),
            Self::Exact(x) => x.to_string(),
        };
        text.parse().ok().filter(|digits| *digits <= 300)
    }
}

/// The shortest digits that read back, laid out as Python's `repr` does: plain from 1e-4 up to 1e16,
/// with `.0` where whole, and with a signed exponent of two digits or more outside.
pub(super) fn print_float(x: f64) -> String {
    let scientific = format!("{:e}", x.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut out = String::with_capacity(scientific.len() + 20);
    if x.is_sign_negative() {
        out.push('-');
    }
    let digits = || mantissa.chars().filter(|c| *c != '.');
    match exponent {
        -4..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
            out.extend(digits());
        }
        0..16 => {
            let whole = exponent as usize + 1;
            let mut fraction = digits().skip(whole).peekable();
            out.extend(digits().chain(std::iter::repeat('0')).take(whole));
            out.push('.');
            if fraction.peek().is_none() {
                out.push('0');
            }
            out.extend(fraction);
        }
        _ => {
            let direction = if exponent < 0 { '-' } else { '+' };
            out.push_str(mantissa);
            out.push_str(&format!("e{direction}{:02}", exponent.unsigned_abs()));
        }
    }
    out
}

impl<'d> Value<'d> {
    pub fn of(node: Node<'d>, arithmetic: Arithmetic) -> Result<Self, Invalid> {
        Ok(match node.kind() {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Bool(value),
            Kind::Number => {
                Self::Number(Amount::read(node.raw(), arithmetic)?, Some(Cow::Borrowed(node.raw())))
            }
            Kind::String => Self::Text(node.as_str().unwrap_or_default()),
            Kind::Array => {
                Self::List(node.elements().map(|item| Self::of(item, arithmetic)).collect::<Result<_, _>>()?)
            }
            Kind::Object => Self::Object(node),
        })
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(..) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// How a number or word is spelled.
    pub fn spell(&self, arithmetic: Arithmetic) -> Option<String> {
        match self {
            Self::Null => Some("null".to_owned()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(amount, text) => Some(match (text, arithmetic) {
                (Some(text), Arithmetic::Ieee754) => text.clone().into_owned(),
                _ => amount.print(arithmetic),
            }),
            Self::Text(text) => Some(text.clone().into_owned()),
            Self::List(_) | Self::Object(_) => None,
        }
    }

    pub fn into_json(self, arithmetic: Arithmetic) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Text(text) => Json::String(text.into_owned()),
            Self::List(list) => Json::Array(list.into_iter().map(|v| v.into_json(arithmetic)).collect()),
            Self::Object(node) => Json::from(node),
            number => Json::Number(number.spell(arithmetic).unwrap_or_default()),
        }
    }

    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a, _), Self::Number(b, _)) => a.compare(b) == Ordering::Equal,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (Self::Object(a), Self::Object(b)) => a.same_value(b),
            _ => false,
        }
    }
}
