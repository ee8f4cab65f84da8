//! JSON Pointers (RFC 6901), and patterns of them in which `*` stands for each child.

use std::fmt;
use std::str::FromStr;

use super::doc::{Doc, Node};

/// Why a text is not a JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is neither empty nor begins with a slash.
    #[error("{0:?} is not a JSON Pointer: one begins with '/'")]
    NoSlash(String),
    /// A tilde is followed by neither 0 nor 1.
    #[error("{0:?} is not a JSON Pointer: '~' is written ~0 and '/' inside a name ~1")]
    BadEscape(String),
}

/// A place in a document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pointer {
    tokens: Vec<String>,
}

impl Pointer {
    /// The whole document.
    pub fn root() -> Self {
        Self::default()
    }

    /// From decoded names and indexes.
    pub fn from_tokens(tokens: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { tokens: tokens.into_iter().map(Into::into).collect() }
    }

    /// The decoded names and indexes, outermost first.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.tokens.iter().map(String::as_str)
    }

    /// Whether it is the whole document.
    pub fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Goes one level down, in place.
    pub fn push(&mut self, token: impl Into<String>) {
        self.tokens.push(token.into());
    }

    /// The place one level down.
    pub fn child(&self, token: impl Into<String>) -> Self {
        let mut child = self.clone();
        child.push(token);
        child
    }

    /// The place one level up, and the last token.
    pub fn split_last(&self) -> Option<(Self, &str)> {
        let (last, parents) = self.tokens.split_last()?;
        Some((Self { tokens: parents.to_vec() }, last))
    }

    /// Whether it is the given place or lies below it.
    pub fn starts_with(&self, place: &Self) -> bool {
        self.tokens.starts_with(&place.tokens)
    }
}

fn parse_tokens(text: &str) -> Result<Vec<String>, PointerError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text.strip_prefix('/').ok_or_else(|| PointerError::NoSlash(text.to_owned()))?;
    rest.split('/')
        .map(|token| {
            let mut out = String::with_capacity(token.len());
            let mut chars = token.chars();
            while let Some(c) = chars.next() {
                out.push(match c {
                    '~' => match chars.next() {
                        Some('0') => '~',
                        Some('1') => '/',
                        _ => return Err(PointerError::BadEscape(text.to_owned())),
                    },
                    c => c,
                });
            }
            Ok(out)
        })
        .collect()
}

fn print_tokens<'t>(f: &mut fmt::Formatter<'_>, tokens: impl Iterator<Item = &'t str>) -> fmt::Result {
    for token in tokens {
        f.write_str("/")?;
        if !token.contains(['~', '/']) {
            f.write_str(token)?;
            continue;
        }
        for c in token.chars() {
            match c {
                '~' => f.write_str("~0")?,
                '/' => f.write_str("~1")?,
                c => write!(f, "{c}")?,
            }
        }
    }
    Ok(())
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        Ok(Self { tokens: parse_tokens(text)? })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_tokens(f, self.tokens())
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl serde::Serialize for Pointer {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    Name(String),
    Each,
}

/// A pointer in which the token `*` stands for each member or element.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointerPattern {
    tokens: Vec<Token>,
}

impl PointerPattern {
    /// The pointer, where the pattern has no `*`.
    pub fn as_pointer(&self) -> Option<Pointer> {
        let names = self.tokens.iter().map(|token| match token {
            Token::Name(name) => Some(name.clone()),
            Token::Each => None,
        });
        Some(Pointer { tokens: names.collect::<Option<_>>()? })
    }

    /// The node that a pattern without `*` names; `None` too for a pattern with one.
    pub fn node<'d>(&self, doc: &'d Doc<'_>) -> Option<Node<'d>> {
        self.tokens.iter().try_fold(doc.root(), |node, token| match token {
            Token::Name(name) => node.child(name),
            Token::Each => None,
        })
    }

    /// The names, outermost first; none for a `*`.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        self.tokens.iter().map(|token| match token {
            Token::Name(name) => Some(name.as_str()),
            Token::Each => None,
        })
    }

    /// Whether the pointer is a place that the pattern names, each `*` in it being an element's number.
    pub fn matches_elements(&self, pointer: &Pointer) -> bool {
        let number = |text: &str| text.parse::<usize>().is_ok();
        self.matches(pointer)
            && self.tokens.iter().zip(&pointer.tokens).all(|(own, text)| *own != Token::Each || number(text))
    }

    /// Whether it is the whole document.
    pub fn is_root(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How many `*` it has.
    pub fn stars(&self) -> usize {
        self.tokens.iter().filter(|token| **token == Token::Each).count()
    }

    /// The pattern one level up, and the last name; `None` at the root or after a `*`.
    pub fn split_last(&self) -> Option<(Self, &str)> {
        match self.tokens.split_last()? {
            (Token::Name(name), parents) => Some((Self { tokens: parents.to_vec() }, name)),
            (Token::Each, _) => None,
        }
    }

    /// The whole document.
    pub fn root() -> Self {
        Self { tokens: Vec::new() }
    }

    /// The pattern one level up; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.tokens.split_last()?;
        Some(Self { tokens: parents.to_vec() })
    }

    /// The outermost level of the pattern alone.
    pub fn first(&self) -> Self {
        Self { tokens: self.tokens.iter().take(1).cloned().collect() }
    }

    /// The pattern one level down.
    pub fn child(&self, name: impl Into<String>) -> Self {
        let mut tokens = self.tokens.clone();
        tokens.push(Token::Name(name.into()));
        Self { tokens }
    }

    /// The pattern for each child of the places that it names.
    pub fn each(&self) -> Self {
        let mut tokens = self.tokens.clone();
        tokens.push(Token::Each);
        Self { tokens }
    }

    /// A pattern that is read from the places that this one names.
    pub fn join(&self, inner: &Self) -> Self {
        Self { tokens: self.tokens.iter().chain(&inner.tokens).cloned().collect() }
    }

    /// Whether the pointer is a place that the pattern names.
    pub fn matches(&self, pointer: &Pointer) -> bool {
        self.tokens.len() == pointer.tokens.len() && self.covers(pointer)
    }

    /// Whether the pointer is, or lies below, a place that the pattern names.
    pub fn covers(&self, pointer: &Pointer) -> bool {
        self.tokens.len() <= pointer.tokens.len()
            && self.tokens.iter().zip(&pointer.tokens).all(|(token, name)| token.fits(name))
    }

    /// Whether a place of one pattern can be, contain or lie within a place of the other.
    pub fn touches(&self, other: &Self) -> bool {
        self.tokens.iter().zip(&other.tokens).all(|(a, b)| match (a, b) {
            (Token::Name(a), Token::Name(b)) => a == b,
            _ => true,
        })
    }

    /// Whether each place that it names lies below a place that the other names.
    pub fn is_below(&self, other: &Self) -> bool {
        self.tokens.len() > other.tokens.len() && self.tokens.starts_with(&other.tokens)
    }

    /// The nodes of a document at the places that the pattern names, in the order of the text.
    pub fn nodes<'d>(&self, doc: &'d Doc<'_>) -> Vec<Node<'d>> {
        Self::walk(&self.tokens, doc)
    }

    /// The nodes at the places one level up, and the last name; `None` at the root or after a `*`.
    pub fn nodes_above<'d>(&self, doc: &'d Doc<'_>) -> Option<(Vec<Node<'d>>, &str)> {
        match self.tokens.split_last()? {
            (Token::Name(name), above) => Some((Self::walk(above, doc), name)),
            (Token::Each, _) => None,
        }
    }

    fn walk<'d>(tokens: &[Token], doc: &'d Doc<'_>) -> Vec<Node<'d>> {
        let mut nodes = vec![doc.root()];
        for token in tokens {
            nodes = match token {
                Token::Name(name) => nodes.iter().filter_map(|node| node.child(name)).collect(),
                Token::Each => nodes.iter().flat_map(Node::children).collect(),
            };
        }
        nodes
    }

    /// Fills the `*` of the pattern with the tokens that the `*` of another pattern matched in
    /// `pointer`, in order.
    pub fn bind(&self, other: &Self, pointer: &Pointer) -> Option<Pointer> {
        let mut bound = other
            .tokens
            .iter()
            .zip(&pointer.tokens)
            .filter(|(token, _)| **token == Token::Each)
            .map(|(_, name)| name);
        let tokens = self.tokens.iter().map(|token| match token {
            Token::Name(name) => Some(name.clone()),
            Token::Each => bound.next().cloned(),
        });
        Some(Pointer { tokens: tokens.collect::<Option<_>>()? })
    }
}

impl Token {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Each => true,
        }
    }
}

impl From<&Pointer> for PointerPattern {
    fn from(pointer: &Pointer) -> Self {
        Self { tokens: pointer.tokens.iter().cloned().map(Token::Name).collect() }
    }
}

impl FromStr for PointerPattern {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        let token = |name: String| if name == "*" { Token::Each } else { Token::Name(name) };
        Ok(Self { tokens: parse_tokens(text)?.into_iter().map(token).collect() })
    }
}

impl fmt::Display for PointerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_tokens(
            f,
            self.tokens.iter().map(|token| match token {
                Token::Name(name) => name.as_str(),
                Token::Each => "*",
            }),
        )
    }
}

impl fmt::Debug for PointerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    #[test]
    fn pointer_of_rfc_6901_section_5_finds_each_example() {
        let text =
            br#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let doc = scan(text).expect("valid");
        for (pointer, raw) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            let parsed: Pointer = pointer.parse().expect("valid");
            let node = doc.at(&parsed).expect("present");
            assert_eq!(node.raw(), raw, "{pointer}");
            assert_eq!(node.pointer(), parsed);
            assert_eq!(parsed.to_string(), pointer);
        }
        for absent in ["/foo/2", "/foo/00", "/foo/-", "/foo/+1", "/foo/0/x", "/nope"] {
            assert!(doc.at(&absent.parse().expect("valid")).is_none(), "{absent}");
        }
    }

    #[test]
    fn pointer_of_bad_syntax_is_refused() {
        for bad in ["a", "a/b", "/~", "/~2", "/a~"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn pattern_with_stars_matches_and_binds() {
        let pattern: PointerPattern = "/steps/*/action".parse().expect("valid");
        let place: Pointer = "/steps/3/action".parse().expect("valid");
        assert!(pattern.matches(&place));
        assert!(pattern.covers(&place.child("deep")));
        assert!(!pattern.matches(&"/steps/3".parse().expect("valid")));
        let other: PointerPattern = "/old/*".parse().expect("valid");
        assert_eq!(other.bind(&pattern, &place).map(|p| p.to_string()).as_deref(), Some("/old/3"));
        assert!(pattern.touches(&"/steps".parse().expect("valid")));
        assert!(!pattern.touches(&"/stops/*".parse().expect("valid")));
        let doc = scan(br#"{"steps":[{"action":1},{},{"action":2}]}"#).expect("valid");
        let found: Vec<_> = pattern.nodes(&doc).iter().map(|n| n.raw().to_owned()).collect();
        assert_eq!(found, ["1", "2"]);
    }
}
