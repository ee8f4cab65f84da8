//! Evaluating an expression on a document. Pure, and bounded: what it makes is charged to a budget.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::parse::{Binary, Expr, Function, Path, Seg, Start};
use super::value::{Amount, Value};
use super::{Arithmetic, Rounding, exact};
use crate::base::json::{self, Doc, Json, Kind, Node};
use crate::base::limits;

/// Why an expression has no value on a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A member is not there.
    #[error("there is no member {path}")]
    Missing {
        /// The member, as canonical text: `@` is the object around the target.
        path: String,
    },
    /// A value is of another type than the formula needs.
    #[error("{found} stands where {wanted} is needed")]
    WrongType {
        /// What is needed.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// Division by zero.
    #[error("a division by zero")]
    DivisionByZero,
    /// A number beyond what the arithmetic has.
    #[error("a number beyond bounds")]
    Overflow,
    /// A text that is no number.
    #[error("a text that is no number as JSON writes it")]
    NotANumber,
    /// A text that is no time.
    #[error("a text that is no RFC 3339 time")]
    NotATime,
    /// More than a document can hold.
    #[error("a result beyond {} bytes", limits::JSON_BYTES)]
    TooLarge,
}

/// What an expression can name.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Scope<'d> {
    pub doc: &'d Doc<'d>,
    /// The object around the target.
    pub around: Option<Node<'d>>,
    /// What stands at the target.
    pub it: Option<Node<'d>>,
}

struct Eval<'s, 'd> {
    scope: &'s Scope<'d>,
    arithmetic: Arithmetic,
    budget: Cell<usize>,
}

type Result<T> = std::result::Result<T, Invalid>;

pub(super) fn evaluate<'d>(expr: &'d Expr, scope: &Scope<'d>, arithmetic: Arithmetic) -> Result<Json> {
    let eval = Eval { scope, arithmetic, budget: Cell::new(2 * limits::JSON_BYTES) };
    Ok(eval.value(expr)?.into_json(arithmetic))
}

fn wrong<T>(wanted: &'static str, found: &Value<'_>) -> Result<T> {
    Err(Invalid::WrongType { wanted, found: found.name() })
}

impl<'d> Eval<'_, 'd> {
    fn charge(&self, bytes: usize) -> Result<()> {
        let left = self.budget.get().checked_sub(bytes).ok_or(Invalid::TooLarge)?;
        self.budget.set(left);
        Ok(())
    }

    fn find(&self, path: &Path) -> Option<Node<'d>> {
        let start = match path.start {
            Start::Around => self.scope.around,
            Start::Document => Some(self.scope.doc.root()),
            Start::It => self.scope.it,
        };
        path.segs.iter().try_fold(start?, |node, seg| match seg {
            Seg::Name(name) => node.get(name),
            Seg::Index(index) => node.element(*index),
        })
    }

    fn number(&self, token: &str) -> Result<Value<'d>> {
        Ok(Value::Number(Amount::read(token, self.arithmetic)?, Some(Cow::Owned(token.to_owned()))))
    }

    fn value(&self, expr: &'d Expr) -> Result<Value<'d>> {
        match expr {
            Expr::Null => Ok(Value::Null),
            Expr::Bool(value) => Ok(Value::Bool(*value)),
            Expr::Number(token) => {
                Ok(Value::Number(Amount::read(token, self.arithmetic)?, Some(Cow::Borrowed(token.as_str()))))
            }
            Expr::Text(text) => Ok(Value::Text(Cow::Borrowed(text.as_str()))),
            Expr::Path(path) => {
                let node = self.find(path).ok_or_else(|| Invalid::Missing { path: path.to_string() })?;
                if matches!(node.kind(), Kind::Array | Kind::Object | Kind::String) {
                    self.charge(node.raw().len())?;
                }
                Value::of(node, self.arithmetic)
            }
            Expr::Exists(path) => Ok(Value::Bool(self.find(path).is_some())),
            Expr::Not(inner) => Ok(Value::Bool(!self.flag(inner)?)),
            Expr::Negate(inner) => Ok(Value::Number(self.amount(inner)?.negate(), None)),
            Expr::Binary(op, a, b) => self.binary(*op, a, b),
            Expr::If(condition, yes, no) => self.value(if self.flag(condition)? { yes } else { no }),
            Expr::Call(function, list) => self.call(*function, list),
        }
    }

    fn flag(&self, expr: &'d Expr) -> Result<bool> {
        match self.value(expr)? {
            Value::Bool(value) => Ok(value),
            other => wrong("a boolean", &other),
        }
    }

    fn amount(&self, expr: &'d Expr) -> Result<Amount> {
        as_amount(self.value(expr)?)
    }

    fn text(&self, expr: &'d Expr) -> Result<Cow<'d, str>> {
        match self.value(expr)? {
            Value::Text(text) => Ok(text),
            other => wrong("a text", &other),
        }
    }

    fn made(&self, text: String) -> Result<Value<'d>> {
        self.charge(text.len())?;
        Ok(Value::Text(Cow::Owned(text)))
    }

    fn binary(&self, op: Binary, a: &'d Expr, b: &'d Expr) -> Result<Value<'d>> {
        match op {
            Binary::And => return Ok(Value::Bool(self.flag(a)? && self.flag(b)?)),
            Binary::Or => return Ok(Value::Bool(self.flag(a)? || self.flag(b)?)),
            _ => {}
        }
        let (a, b) = (self.value(a)?, self.value(b)?);
        let order = || match (&a, &b) {
            (Value::Number(a, _), Value::Number(b, _)) => Ok(a.compare(b)),
            (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
            (Value::Number(..), other) => wrong("a number", other),
            (Value::Text(_), other) => wrong("a text", other),
            (other, _) => wrong("a number or a text", other),
        };
        Ok(Value::Bool(match op {
            Binary::Equal => a.equals(&b),
            Binary::Differ => !a.equals(&b),
            Binary::Less => order()? == Ordering::Less,
            Binary::AtMost => order()? != Ordering::Greater,
            Binary::More => order()? == Ordering::Greater,
            Binary::AtLeast => order()? != Ordering::Less,
            _ => return self.arithmetic(op, a, b),
        }))
    }

    fn arithmetic(&self, op: Binary, a: Value<'d>, b: Value<'d>) -> Result<Value<'d>> {
        if let (Binary::Add, Value::Text(a), Value::Text(b)) = (op, &a, &b) {
            self.charge(a.len() + b.len())?;
            return Ok(Value::Text(Cow::Owned(format!("{a}{b}"))));
        }
        let (a, b) = (as_amount(a)?, as_amount(b)?);
        Ok(Value::Number(operate(op, a, b)?, None))
    }

    /// The numbers given one by one, or as one list.
    fn amounts(&self, list: &'d [Expr]) -> Result<Vec<Amount>> {
        match list {
            [one] => match self.value(one)? {
                Value::List(items) => items.into_iter().map(as_amount).collect(),
                other => Ok(vec![as_amount(other)?]),
            },
            several => several.iter().map(|expr| self.amount(expr)).collect(),
        }
    }

    fn extreme(&self, list: &'d [Expr], wanted: Ordering) -> Result<Value<'d>> {
        let mut amounts = self.amounts(list)?.into_iter();
        let empty = Invalid::WrongType { wanted: "a list of numbers", found: "an empty list" };
        let first = amounts.next().ok_or(empty)?;
        // Of equals the first stays.
        let best = amounts.fold(first, |best, next| if next.compare(&best) == wanted { next } else { best });
        Ok(Value::Number(best, None))
    }

    fn call(&self, function: Function, list: &'d [Expr]) -> Result<Value<'d>> {
        let first = &list[0];
        match function {
            Function::Min => self.extreme(list, Ordering::Less),
            Function::Max => self.extreme(list, Ordering::Greater),
            Function::Sum => {
                let Value::List(items) = self.value(first)? else {
                    return Err(Invalid::WrongType { wanted: "a list of numbers", found: "another value" });
                };
                let zero = Amount::read("0", self.arithmetic)?;
                let total = items
                    .into_iter()
                    .try_fold(zero, |total, item| operate(Binary::Add, total, as_amount(item)?))?;
                Ok(Value::Number(total, None))
            }
            Function::Abs => Ok(Value::Number(self.amount(first)?.abs(), None)),
            Function::Round => self.round(first, list.get(1)),
            Function::Upper => self.made(self.text(first)?.to_uppercase()),
            Function::Lower => self.made(self.text(first)?.to_lowercase()),
            Function::Trim => self.made(self.text(first)?.trim().to_owned()),
            Function::Text => {
                let value = self.value(first)?;
                match value.spell(self.arithmetic) {
                    Some(text) => self.made(text),
                    None => wrong("a text, number, boolean or null", &value),
                }
            }
            Function::Number => {
                let text = self.text(first)?;
                let doc = json::scan(text.as_bytes()).map_err(|_| Invalid::NotANumber)?;
                let bare = doc.root().kind() == Kind::Number && doc.root().raw() == text;
                if bare { self.number(&text) } else { Err(Invalid::NotANumber) }
            }
            Function::Lines => {
                let text = self.text(first)?;
                self.list(text.lines())
            }
            Function::Split => {
                let (text, by) = (self.text(first)?, self.text(&list[1])?);
                if by.is_empty() {
                    return Err(Invalid::WrongType { wanted: "a text to cut at", found: "an empty text" });
                }
                self.list(text.split(by.as_ref()))
            }
            Function::Join => self.join(first, &list[1]),
            Function::Len => {
                let len = match self.value(first)? {
                    Value::Text(text) => text.chars().count(),
                    Value::List(items) => items.len(),
                    other => return wrong("a text or a list", &other),
                };
                // A count is computed: it is spelled as the arithmetic spells its numbers.
                Ok(Value::Number(Amount::read(&len.to_string(), self.arithmetic)?, None))
            }
            Function::Seconds => self.since_epoch(list, 9),
            Function::Millis => self.since_epoch(list, 6),
        }
    }

    fn list<'t>(&self, parts: impl Iterator<Item = &'t str>) -> Result<Value<'d>> {
        let mut items = Vec::new();
        for part in parts {
            self.charge(part.len() + size_of::<Value<'_>>())?;
            items.push(Value::Text(Cow::Owned(part.to_owned())));
        }
        Ok(Value::List(items))
    }

    fn join(&self, list: &'d Expr, by: &Expr) -> Result<Value<'d>> {
        let items = match self.value(list)? {
            Value::List(items) => items,
            other => return wrong("a list of texts", &other),
        };
        let by = self.text(by)?;
        let mut out = String::new();
        for (i, item) in items.iter().enumerate() {
            let Value::Text(text) = item else { return wrong("a list of texts", item) };
            let by = if i > 0 { by.as_ref() } else { "" };
            self.charge(by.len() + text.len())?;
            out.push_str(by);
            out.push_str(text);
        }
        Ok(Value::Text(Cow::Owned(out)))
    }

    fn round(&self, value: &'d Expr, digits: Option<&'d Expr>) -> Result<Value<'d>> {
        let digits = match digits {
            None => 0,
            Some(expr) => self.amount(expr)?.as_digits().ok_or(Invalid::Overflow)?,
        };
        let rounded = match (self.amount(value)?, self.arithmetic) {
            // The formatter rounds the exact binary value, ties to even, as Python's `round` does.
            (Amount::Float(x), _) => {
                let text = format!("{x:.*}", digits as usize);
                Amount::Float(text.parse().map_err(|_| Invalid::Overflow)?)
            }
            (Amount::Exact(x), Arithmetic::Exact { rounding, .. }) => {
                Amount::Exact(exact::round(&x, digits, rounding))
            }
            (Amount::Exact(x), Arithmetic::Ieee754) => {
                Amount::Exact(exact::round(&x, digits, Rounding::HalfEven))
            }
        };
        Ok(Value::Number(rounded.sound()?, None))
    }

    /// The time since 1970 in a unit of ten to the `digits` nanoseconds.
    fn since_epoch(&self, list: &'d [Expr], digits: usize) -> Result<Value<'d>> {
        let text = self.text(&list[0])?;
        let mut time = OffsetDateTime::parse(&text, &Rfc3339).ok();
        if let (None, Some(offset)) = (time, list.get(1)) {
            time = OffsetDateTime::parse(&format!("{text}{}", self.text(offset)?), &Rfc3339).ok();
        }
        let nanos = time.ok_or(Invalid::NotATime)?.unix_timestamp_nanos();
        let padded = format!("{:0>width$}", nanos.unsigned_abs().to_string(), width = digits + 1);
        let (whole, fraction) = padded.split_at(padded.len() - digits);
        let sign = if nanos < 0 { "-" } else { "" };
        // Through decimal text, so that a binary64 is rounded once.
        let amount = Amount::read(&format!("{sign}{whole}.{fraction}"), self.arithmetic)?;
        Ok(Value::Number(amount, None))
    }
}

fn as_amount(value: Value<'_>) -> Result<Amount> {
    match value {
        Value::Number(amount, _) => Ok(amount),
        other => wrong("a number", &other),
    }
}

fn operate(op: Binary, a: Amount, b: Amount) -> Result<Amount> {
    if op == Binary::Divide && b.is_zero() {
        return Err(Invalid::DivisionByZero);
    }
    let result = match (a, b) {
        (Amount::Float(a), Amount::Float(b)) => Amount::Float(match op {
            Binary::Add => a + b,
            Binary::Subtract => a - b,
            Binary::Multiply => a * b,
            _ => a / b,
        }),
        (Amount::Exact(a), Amount::Exact(b)) => Amount::Exact(match op {
            Binary::Add => a + b,
            Binary::Subtract => a - b,
            Binary::Multiply => a * b,
            _ => a / b,
        }),
        // One evaluation has one arithmetic.
        _ => return Err(Invalid::WrongType { wanted: "numbers of one arithmetic", found: "numbers of two" }),
    };
    result.sound()
}
