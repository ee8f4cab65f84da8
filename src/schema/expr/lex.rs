//! Tokens of an expression, each with its byte.

use super::{ExprError, ExprErrorKind, SOURCE_BYTES};
use crate::base::json::{self, Kind};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Number(String),
    Text(String),
    Sign(&'static str),
    End,
}

impl Token {
    pub fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("{name:?}"),
            Self::Number(text) => text.clone(),
            Self::Text(_) => "a text".to_owned(),
            Self::Sign(sign) => format!("{sign:?}"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer signs come before those that they begin with.
const SIGNS: [&str; 22] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "!", "?", ":", "(", ")", "[", "]", ".",
    ",", "$",
];

/// Cuts an expression into tokens; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ExprError> {
    if text.len() > SOURCE_BYTES {
        let kind = ExprErrorKind::TooLong { len: text.len() };
        return Err(ExprError { at: SOURCE_BYTES, kind });
    }
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, used) = match first {
            ' ' | '\t' | '\r' | '\n' => {
                at += 1;
                continue;
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                (Token::Name(rest[..len].to_owned()), len)
            }
            '0'..='9' => number(rest).map_err(|kind| ExprError { at, kind })?,
            '\'' | '"' => string(rest, first).ok_or(ExprError { at, kind: ExprErrorKind::Text })?,
            other => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return Err(ExprError { at, kind: ExprErrorKind::Character { found: other } }),
            },
        };
        out.push((at, token));
        at += used;
    }
    out.push((text.len(), Token::End));
    Ok(out)
}

fn number(rest: &str) -> Result<(Token, usize), ExprErrorKind> {
    let bytes = rest.as_bytes();
    let mut len = 0;
    while let Some(b) = bytes.get(len) {
        let sign = matches!(b, b'+' | b'-') && len > 0 && matches!(bytes[len - 1], b'e' | b'E');
        if !(b.is_ascii_alphanumeric() || *b == b'.' || sign) {
            break;
        }
        len += 1;
    }
    let token = &rest[..len];
    match json::scan(token.as_bytes()) {
        Ok(doc) if doc.root().kind() == Kind::Number => Ok((Token::Number(token.to_owned()), len)),
        _ => Err(ExprErrorKind::Number { found: token.to_owned() }),
    }
}

fn string(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut out = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((Token::Text(out), at + 1)),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                c @ ('\\' | '\'' | '"') => c,
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    None
}
