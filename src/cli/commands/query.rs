//! `strongroom query`

use serde_json::{Value as Json, json};

use crate::cli::error::{CliError, exit};
use crate::cli::output::table;
use crate::cli::session::Session;
use crate::index::Value;

/// Ask the index in SQL
///
/// One reading SQLite statement over the tables runs, run_index, files, revisions, migrations, entries
/// and problems. Anything that would write is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The statement
    #[arg(value_name = "SQL", allow_hyphen_values = true)]
    sql: String,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<u8, CliError> {
    let result = session.store()?.query(&args.sql)?;
    if session.out.json {
        let rows: Vec<Json> =
            result.rows.iter().map(|row| Json::Array(row.iter().map(to_json).collect())).collect();
        session.out.json(&json!({"columns": result.columns, "rows": rows}));
        return Ok(exit::OK);
    }
    let numeric = |column: &usize| {
        let mut values =
            result.rows.iter().map(|row| &row[*column]).filter(|v| **v != Value::Null).peekable();
        values.peek().is_some() && values.all(|v| matches!(v, Value::Integer(_) | Value::Real(_)))
    };
    let right: Vec<usize> = (0..result.columns.len()).filter(numeric).collect();
    let headings: Vec<String> = result.columns.iter().map(crate::cli::output::safe).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = result.rows.iter().map(|row| row.iter().map(to_text).collect()).collect();
    session.out.bytes(table(&headings, &right, &rows).as_bytes());
    Ok(exit::OK)
}

fn to_text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(n) => n.to_string(),
        Value::Real(x) => format!("{x:?}"),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("x'{}'", crate::base::digest::hex(bytes)),
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(n) => json!(n),
        // JSON has no infinities; a null would hide that there is a value.
        Value::Real(x) if !x.is_finite() => json!(x.to_string()),
        Value::Real(x) => json!(x),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!({"hex": crate::base::digest::hex(bytes)}),
    }
}
