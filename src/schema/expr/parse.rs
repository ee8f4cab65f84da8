//! The grammar: recursive descent, bounded in depth.

use std::fmt;

use super::lex::{Token, tokens};
use super::{DEPTH, ExprError, ExprErrorKind};
use crate::base::json::quote;

/// Where a member's path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Start {
    /// The object that holds the target.
    Around,
    /// The document.
    Document,
    /// What stands at the target.
    It,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Seg {
    Name(String),
    Index(usize),
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Path {
    pub start: Start,
    pub segs: Vec<Seg>,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.start {
            Start::Around => "@",
            Start::Document => "$",
            Start::It => "it",
        })?;
        for seg in &self.segs {
            match seg {
                Seg::Name(name) => write!(f, "[{}]", quote(name))?,
                Seg::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Equal,
    Differ,
    Less,
    AtMost,
    More,
    AtLeast,
    And,
    Or,
}

impl Binary {
    const ALL: [(&'static str, Self, u8); 12] = [
        ("||", Self::Or, 0),
        ("&&", Self::And, 1),
        ("==", Self::Equal, 2),
        ("!=", Self::Differ, 2),
        ("<=", Self::AtMost, 2),
        (">=", Self::AtLeast, 2),
        ("<", Self::Less, 2),
        (">", Self::More, 2),
        ("+", Self::Add, 3),
        ("-", Self::Subtract, 3),
        ("*", Self::Multiply, 4),
        ("/", Self::Divide, 4),
    ];
    const LEVELS: u8 = 5;
    /// Comparisons do not chain: `a < b < c` is no expression.
    const COMPARISON: u8 = 2;

    pub fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, op, _)| *op == self).map_or("", |(sign, ..)| sign)
    }
}

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal $wanted:literal),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in super::super) enum Function { $($variant),+ }

        impl Function {
            const ALL: &'static [(Self, &'static str, usize, usize, &'static str)] =
                &[$((Self::$variant, $name, $least, $most, $wanted)),+];
        }
    };
}

functions! {
    Min "min" 1 64 "1 list or up to 64 numbers",
    Max "max" 1 64 "1 list or up to 64 numbers",
    Sum "sum" 1 1 "1 list",
    Abs "abs" 1 1 "1 number",
    Round "round" 1 2 "1 or 2 numbers",
    Upper "upper" 1 1 "1 text",
    Lower "lower" 1 1 "1 text",
    Trim "trim" 1 1 "1 text",
    Text "text" 1 1 "1 value",
    Number "number" 1 1 "1 text",
    Lines "lines" 1 1 "1 text",
    Split "split" 2 2 "2 texts",
    Join "join" 2 2 "a list and a text",
    Len "len" 1 1 "1 text or list",
    Seconds "seconds" 1 2 "1 or 2 texts",
    Millis "millis" 1 2 "1 or 2 texts",
}

impl Function {
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(function, ..)| *function == self).map_or("", |(_, name, ..)| name)
    }
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Expr {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Path(Path),
    Exists(Path),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    Call(Function, Vec<Expr>),
}

impl Expr {
    fn below(&self) -> Vec<&Expr> {
        match self {
            Self::Not(a) | Self::Negate(a) => vec![a],
            Self::Binary(_, a, b) => vec![a, b],
            Self::If(a, b, c) => vec![a, b, c],
            Self::Call(_, list) => list.iter().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn paths<'e>(&'e self, out: &mut Vec<&'e Path>) {
        if let Self::Path(path) | Self::Exists(path) = self {
            out.push(path);
        }
        for expr in self.below() {
            expr.paths(out);
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(text) => f.write_str(text),
            Self::Text(text) => f.write_str(&quote(text)),
            Self::Path(path) => write!(f, "{path}"),
            Self::Exists(path) => write!(f, "exists({path})"),
            Self::Not(a) => write!(f, "!({a})"),
            Self::Negate(a) => write!(f, "-({a})"),
            Self::Binary(op, a, b) => write!(f, "({a} {} {b})", op.sign()),
            Self::If(a, b, c) => write!(f, "({a} ? {b} : {c})"),
            Self::Call(function, list) => {
                write!(f, "{}(", function.name())?;
                for (i, expr) in list.iter().enumerate() {
                    write!(f, "{}{expr}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// An expression and its height, which bounds what walks it.
type Tall = (Expr, usize);

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    open: usize,
}

type Result<T> = std::result::Result<T, ExprError>;

pub(super) fn parse(text: &str) -> Result<Expr> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, open: 0 };
    let (expr, _) = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    fn byte(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |(byte, _)| *byte)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn error<T>(&self, kind: ExprErrorKind) -> Result<T> {
        Err(ExprError { at: self.byte(), kind })
    }

    fn unexpected(&self, wanted: &'static str) -> ExprError {
        let kind = ExprErrorKind::Unexpected { wanted, found: self.peek().describe() };
        ExprError { at: self.byte(), kind }
    }

    fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, sign: &str, wanted: &'static str) -> Result<()> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    /// Enters one level of recursion.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.open >= DEPTH {
            return self.error(ExprErrorKind::TooDeep);
        }
        self.open += 1;
        let result = inner(self);
        self.open -= 1;
        result
    }

    fn grown(&self, expr: Expr, below: usize) -> Result<Tall> {
        if below >= DEPTH { self.error(ExprErrorKind::TooDeep) } else { Ok((expr, below + 1)) }
    }

    fn expression(&mut self) -> Result<Tall> {
        self.deeper(|parser| {
            let (condition, a) = parser.binary(0)?;
            if !parser.take("?") {
                return Ok((condition, a));
            }
            let (yes, b) = parser.expression()?;
            parser.need(":", "':'")?;
            let (no, c) = parser.expression()?;
            parser.grown(Expr::If(condition.into(), yes.into(), no.into()), a.max(b).max(c))
        })
    }

    fn binary(&mut self, level: u8) -> Result<Tall> {
        if level == Binary::LEVELS {
            return self.unary();
        }
        let mut left = self.binary(level + 1)?;
        while let Token::Sign(sign) = self.peek() {
            let Some((_, op, _)) = Binary::ALL.iter().find(|(own, _, at)| own == sign && *at == level) else {
                break;
            };
            self.at += 1;
            let right = self.binary(level + 1)?;
            let below = left.1.max(right.1);
            left = self.grown(Expr::Binary(*op, left.0.into(), right.0.into()), below)?;
            if level == Binary::COMPARISON {
                break;
            }
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tall> {
        let not = self.take("!");
        if !not && !self.take("-") {
            return self.primary();
        }
        let (inner, below) = self.deeper(Self::unary)?;
        let inner = Box::new(inner);
        self.grown(if not { Expr::Not(inner) } else { Expr::Negate(inner) }, below)
    }

    fn primary(&mut self) -> Result<Tall> {
        const WANTED: &str = "a value";
        let simple = match self.peek().clone() {
            Token::Number(text) => Expr::Number(text),
            Token::Text(text) => Expr::Text(text),
            Token::Name(name) => return self.named(name),
            Token::Sign("$") => {
                self.at += 1;
                return Ok((Expr::Path(self.path(Start::Document)?), 1));
            }
            Token::Sign("[") => return Ok((Expr::Path(self.path(Start::Around)?), 1)),
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.need(")", "')'")?;
                return Ok(inner);
            }
            _ => return Err(self.unexpected(WANTED)),
        };
        self.at += 1;
        Ok((simple, 1))
    }

    fn named(&mut self, name: String) -> Result<Tall> {
        if matches!(self.tokens.get(self.at + 1), Some((_, Token::Sign("(")))) {
            return self.call(&name);
        }
        let word = match name.as_str() {
            "null" => Some(Expr::Null),
            "true" => Some(Expr::Bool(true)),
            "false" => Some(Expr::Bool(false)),
            _ => None,
        };
        if let Some(word) = word {
            self.at += 1;
            return Ok((word, 1));
        }
        Ok((Expr::Path(self.member()?), 1))
    }

    /// A path that begins with a name, `$` or a bracket.
    fn member(&mut self) -> Result<Path> {
        match self.peek().clone() {
            Token::Name(name) if name == "it" => {
                self.at += 1;
                self.path(Start::It)
            }
            Token::Name(name) => {
                self.at += 1;
                let mut path = self.path(Start::Around)?;
                path.segs.insert(0, Seg::Name(name));
                Ok(path)
            }
            Token::Sign("$") => {
                self.at += 1;
                self.path(Start::Document)
            }
            Token::Sign("[") => self.path(Start::Around),
            _ => Err(self.unexpected("a member")),
        }
    }

    fn path(&mut self, start: Start) -> Result<Path> {
        let mut segs = Vec::new();
        loop {
            if self.take(".") {
                match self.next() {
                    Token::Name(name) => segs.push(Seg::Name(name)),
                    _ => {
                        self.at -= 1;
                        return Err(self.unexpected("a member's name"));
                    }
                }
            } else if self.take("[") {
                let seg = match self.peek() {
                    Token::Text(name) => Some(Seg::Name(name.clone())),
                    Token::Number(index) => index.parse().ok().map(Seg::Index),
                    _ => None,
                };
                let Some(seg) = seg else { return Err(self.unexpected("a name in quotes, or an index")) };
                segs.push(seg);
                self.at += 1;
                self.need("]", "']'")?;
            } else {
                return Ok(Path { start, segs });
            }
        }
    }

    fn call(&mut self, name: &str) -> Result<Tall> {
        if name == "exists" {
            self.at += 2;
            let path = self.member()?;
            self.need(")", "')'")?;
            return Ok((Expr::Exists(path), 1));
        }
        let Some((function, name, least, most, wanted)) =
            Function::ALL.iter().find(|(_, known, ..)| *known == name)
        else {
            let known = Function::ALL.iter().map(|(_, name, ..)| *name).chain(["exists"]).collect();
            return self.error(ExprErrorKind::UnknownFunction { name: name.to_owned(), known });
        };
        let begin = self.byte();
        self.at += 2;
        let (mut list, mut below) = (Vec::new(), 0);
        if !self.take(")") {
            loop {
                let (expr, tall) = self.expression()?;
                below = below.max(tall);
                list.push(expr);
                if !self.take(",") {
                    break;
                }
            }
            self.need(")", "',' or ')'")?;
        }
        if !(*least..=*most).contains(&list.len()) {
            let kind = ExprErrorKind::Arguments { name, wanted, found: list.len() };
            return Err(ExprError { at: begin, kind });
        }
        self.grown(Expr::Call(*function, list), below)
    }
}
