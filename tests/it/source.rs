//! Rust source read as text, as far as the structural tests need it: code without comments and
//! literals, tokens, and the paths that the code names.
//!
//! This is no parser. It knows comments, literals, `use` groups and inline modules; a path that a
//! macro glues together at expansion escapes it.

use std::path::{Path, PathBuf};

/// The folder that holds `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every regular file under `folder`, sorted; links are not followed, `target` and hidden folders
/// other than `.ci` and `.github` are passed over.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci" && name != ".github";
                if name != "target" && !hidden {
                    folders.push(entry.path());
                }
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// Every Rust file under `folder` with its text.
pub fn rust_files(folder: &Path) -> Vec<(PathBuf, String)> {
    let files: Vec<_> = walk(folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect();
    assert!(!files.is_empty(), "no Rust file under {}", folder.display());
    files
}

/// The path relative to the repository, with forward slashes.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// One token: a word (identifier, keyword, number) or one punctuation character; `::` is one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

/// Splits Rust text into tokens. Comments vanish, literals become the token `""`.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let start = i;
        let mut token = String::new();
        match at(i) {
            c if c.is_whitespace() => i += 1,
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                while i < chars.len() {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => {
                i = end_of_quoted(&chars, i, '"');
                token.push_str("\"\"");
            }
            // `'a'` and `'\n'` are characters, `'a` is a lifetime.
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i = end_of_quoted(&chars, i, '\'');
                token.push_str("\"\"");
            }
            c if word(c) => {
                while word(at(i)) {
                    token.push(at(i));
                    i += 1;
                }
                let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
                if matches!(token.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                    i = end_of_raw(&chars, i + hashes + 1, hashes);
                    "\"\"".clone_into(&mut token);
                } else if matches!(token.as_str(), "b" | "c") && at(i) == '"' {
                    i = end_of_quoted(&chars, i, '"');
                    "\"\"".clone_into(&mut token);
                }
            }
            ':' if at(i + 1) == ':' => {
                token.push_str("::");
                i += 2;
            }
            c => {
                token.push(c);
                i += 1;
            }
        }
        if !token.is_empty() {
            out.push(Token { text: token, line });
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    out
}

fn end_of_quoted(chars: &[char], open: usize, quote: char) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_raw(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        let closed =
            chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        i += 1;
        if closed {
            return i + hashes;
        }
    }
    i
}

/// A path that the code names: its segments, where it stands, and in how many inline modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub segments: Vec<String>,
    pub line: usize,
    pub inline_depth: usize,
    /// Whether a `!` follows, as after a macro's name.
    pub bang: bool,
}

/// Every path in the text, `use` groups multiplied out: `use a::{b, c::d}` names `a::b` and
/// `a::c::d`. A single word is a path of one segment.
pub fn named_paths(text: &str) -> Vec<Named> {
    let tokens = tokens(text);
    let mut out = Vec::new();
    // One entry per open brace: whether it belongs to an inline module.
    let mut braces: Vec<bool> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let text = tokens[i].text.as_str();
        match text {
            "{" => {
                braces.push(i >= 2 && tokens[i - 2].text == "mod");
                i += 1;
            }
            "}" => {
                braces.pop();
                i += 1;
            }
            _ if is_word(text) => {
                let inline_depth = braces.iter().filter(|inline| **inline).count();
                i = expand(&tokens, i, &[], inline_depth, &mut out);
            }
            _ => i += 1,
        }
    }
    out
}

fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Reads one path or `use` tree that starts at token `i`; returns the first token after it.
fn expand(
    tokens: &[Token],
    mut i: usize,
    prefix: &[String],
    inline_depth: usize,
    out: &mut Vec<Named>,
) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let mut segments = prefix.to_vec();
    let line = tokens[i].line;
    loop {
        if text(i) == "{" {
            i += 1;
            while i < tokens.len() && text(i) != "}" {
                if text(i) == "as" {
                    i += 2;
                } else if is_word(text(i)) || text(i) == "{" || text(i) == "*" {
                    i = expand(tokens, i, &segments, inline_depth, out);
                } else {
                    i += 1;
                }
            }
            return i + 1;
        }
        segments.push(text(i).to_owned());
        i += 1;
        let next = text(i + 1);
        if text(i) != "::" || !(is_word(next) || next == "{" || next == "*") {
            break;
        }
        i += 1;
    }
    out.push(Named { segments, line, inline_depth, bang: text(i) == "!" && text(i + 1) != "=" });
    i
}

fn paths_of(text: &str) -> Vec<String> {
    named_paths(text).iter().map(|named| named.segments.join("::")).collect()
}

#[test]
fn tokens_leave_out_comments_and_literals() {
    let text = r##"a /* b /* c */ d */ "e \" f" r#"g " h"# b"i" 'j' '\'' '"' &'k l // m"##;
    let words: Vec<_> = tokens(text).into_iter().map(|token| token.text).collect();
    assert_eq!(words, ["a", "\"\"", "\"\"", "\"\"", "\"\"", "\"\"", "\"\"", "&", "'", "k", "l"]);
}

#[test]
fn tokens_count_lines_through_literals() {
    assert_eq!(tokens("\"x\n\ny\"\n/*\n*/ z").last().map(|token| token.line), Some(5));
}

#[test]
fn named_paths_multiply_out_groups() {
    assert_eq!(
        paths_of("use a::{self, b::{c, d as e}, *};"),
        ["use", "a::self", "a::b::c", "a::b::d", "a::*"]
    );
    assert_eq!(paths_of("x::<y::Z>()"), ["x", "y::Z"]);
}

#[test]
fn named_paths_know_macros_and_inline_modules() {
    let named = named_paths("mod m { p!(q); } r != s");
    let find = |word: &str| named.iter().find(|named| named.segments == [word]).unwrap();
    assert!(find("p").bang && !find("q").bang && !find("r").bang);
    assert_eq!((find("p").inline_depth, find("r").inline_depth), (1, 0));
}
