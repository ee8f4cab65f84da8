//! What goes to standard output: tables, JSON, bytes. Text that came from a document or a file name
//! is escaped; a reader that goes away is no error, and never a reason to stop in the middle.

use std::cell::RefCell;
use std::io::{BufWriter, ErrorKind, IsTerminal, Stdout, Write};

use serde_json::Value;

use super::args::Color;
use super::error::CliError;
use crate::base::escape::Escaped;

/// Standard output.
pub(super) struct Out {
    inner: RefCell<Inner>,
    /// Whether answers are JSON.
    pub json: bool,
    /// Whether only what was asked for is printed.
    pub quiet: bool,
    /// Colours, if wanted.
    pub paint: Paint,
}

struct Inner {
    writer: BufWriter<Stdout>,
    closed: bool,
    failed: Option<std::io::Error>,
}

impl Inner {
    fn done(&mut self, result: std::io::Result<()>) {
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => {
                self.closed = true;
                self.failed = Some(error);
            }
        }
    }
}

impl Out {
    pub fn new(json: bool, quiet: bool, color: Color) -> Self {
        let stdout = std::io::stdout();
        let paint = Paint::new(color, stdout.is_terminal());
        let inner = Inner { writer: BufWriter::new(stdout), closed: false, failed: None };
        Self { inner: RefCell::new(inner), json, quiet, paint }
    }

    /// Writes bytes as they are. After a failure nothing more is written; the command goes on, and
    /// [`Out::finish`] tells.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        if !inner.closed {
            let result = inner.writer.write_all(bytes);
            inner.done(result);
        }
    }

    /// Writes a line of the answer; what is untrusted in it must be escaped already.
    pub fn line(&self, text: impl AsRef<str>) {
        self.bytes(text.as_ref().as_bytes());
        self.bytes(b"\n");
    }

    /// Writes a line that `--quiet` leaves out.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Tells a warning on standard error, where the answer has to stay exact; `--quiet` leaves it out.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            // Nobody is left to be told when this fails.
            let _ = writeln!(std::io::stderr(), "warning: {}", safe(text));
        }
    }

    /// Writes one JSON document on a line of its own.
    pub fn json(&self, value: &Value) {
        self.line(value.to_string());
    }

    /// Whether nobody reads any more: what streams can stop.
    pub fn closed(&self) -> bool {
        self.inner.borrow().closed
    }

    /// Makes sure that all of it went out.
    pub fn finish(&self) -> Result<(), CliError> {
        let mut inner = self.inner.borrow_mut();
        if !inner.closed {
            let result = inner.writer.flush();
            inner.done(result);
        }
        match inner.failed.take() {
            None => Ok(()),
            Some(error) => Err(CliError::failed(format!("standard output: {error}"))),
        }
    }
}

/// Escapes untrusted text.
pub(super) fn safe(text: impl AsRef<str>) -> String {
    Escaped(text.as_ref()).to_string()
}

/// Columns aligned under their headings; cells are escaped. Columns named in `right` hold numbers.
pub(super) fn table(headings: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let mut columns = Columns::new(headings, right);
    rows.iter().for_each(|row| columns.widen(row));
    let mut text = columns.line(headings);
    for row in rows {
        text.push_str(&columns.line(row));
    }
    text
}

/// The columns of a table whose rows are not all held: each row is gone through once for the widths.
pub(super) struct Columns<'a> {
    right: &'a [usize],
    widths: Vec<usize>,
}

impl<'a> Columns<'a> {
    /// As wide as their headings.
    pub fn new(headings: &[&str], right: &'a [usize]) -> Self {
        Self { right, widths: headings.iter().map(|heading| heading.chars().count()).collect() }
    }

    /// Makes room for a row.
    pub fn widen(&mut self, row: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = safe(cell).chars().count().max(*width);
        }
    }

    /// A row's line.
    pub fn line(&self, row: &[impl AsRef<str>]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
            let cell = safe(cell);
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            if column > 0 {
                line.push_str("  ");
            }
            let (first, second) = if self.right.contains(&column) { (gap, cell) } else { (cell, gap) };
            line.push_str(&first);
            line.push_str(&second);
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    }
}

/// `1 run`, `2 runs`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The unified difference of two texts; empty when they are equal. Bytes that are not UTF-8 are
/// shown as their replacement, which no manifest holds.
pub(super) fn unified(before: &[u8], after: &[u8], before_name: &str, after_name: &str) -> String {
    let (old, new) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let diff = similar::TextDiff::from_lines(&*old, &*new);
    diff.unified_diff().context_radius(3).header(before_name, after_name).to_string()
}

/// A difference made ready for a terminal: each line escaped, and coloured if wanted.
pub(super) fn shown_diff(diff: &str, paint: Paint) -> String {
    let mut text = String::new();
    for line in diff.lines() {
        let line_text = safe(line);
        let painted = match line.as_bytes().first() {
            Some(b'+') => paint.green(&line_text),
            Some(b'-') => paint.red(&line_text),
            Some(b'@') => paint.bold(&line_text),
            _ => line_text,
        };
        text.push_str(&painted);
        text.push('\n');
    }
    text
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub fn new(color: Color, terminal: bool) -> Self {
        Self(color.wanted(terminal))
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_escapes_and_leaves_no_trailing_spaces() {
        let rows = [vec!["a\u{1b}[2J".to_owned(), "1".to_owned()], vec!["b".to_owned(), "20".to_owned()]];
        let text = table(&["NAME", "N"], &[1], &rows);
        assert_eq!(text, "NAME         N\na\\u{1b}[2J   1\nb           20\n");
    }

    #[test]
    fn unified_shows_only_what_changed() {
        let diff = unified(b"a\nb\n", b"a\nc\n", "x", "y");
        assert_eq!(diff, "--- x\n+++ y\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        assert_eq!(unified(b"a\n", b"a\n", "x", "y"), "");
    }
}
