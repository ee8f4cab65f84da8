//! Values of our own making, to be written into a document: members keep the order given, numbers
//! keep the spelling given.

use super::doc::{Kind, Node};

/// A JSON value to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is to be spelled.
    Number(String),
    /// A string, decoded.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, its members in the order to write them.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Makes an object.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Json)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// Whether it is neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// The member of that name.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether a node has this value: strings decoded, members in any order, numbers by spelling.
    pub fn is(&self, node: &Node<'_>) -> bool {
        match self {
            Self::Null => node.is_null(),
            Self::Bool(own) => node.as_bool() == Some(*own),
            Self::Number(own) => node.kind() == Kind::Number && node.raw() == own,
            Self::String(own) => node.as_str().is_some_and(|text| text == own.as_str()),
            Self::Array(own) => {
                node.kind() == Kind::Array
                    && node.len() == own.len()
                    && own.iter().zip(node.elements()).all(|(a, b)| a.is(&b))
            }
            Self::Object(own) => {
                node.kind() == Kind::Object
                    && node.len() == own.len()
                    && own.iter().all(|(key, value)| node.get(key).is_some_and(|b| value.is(&b)))
            }
        }
    }
}

impl From<Node<'_>> for Json {
    fn from(node: Node<'_>) -> Self {
        match node.kind() {
            Kind::Null => Self::Null,
            Kind::Bool(value) => Self::Bool(value),
            Kind::Number => Self::Number(node.raw().to_owned()),
            Kind::String => Self::String(node.as_str().unwrap_or_default().into_owned()),
            Kind::Array => Self::Array(node.elements().map(Self::from).collect()),
            Kind::Object => {
                Self::Object(node.members().map(|m| (m.key().into_owned(), Self::from(m.value()))).collect())
            }
        }
    }
}

impl From<&serde_json::Value> for Json {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::String(text.clone()),
            Value::Array(elements) => Self::Array(elements.iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Object(members.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value.to_string())
    }
}

impl<T: Into<Json>> FromIterator<T> for Json {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self::Array(elements.into_iter().map(Into::into).collect())
    }
}
