//! The report of a bundle: one HTML page without scripts or anything from elsewhere, for a reader
//! who is no programmer, on a screen or on paper.

use std::fmt::Write as _;

use super::{Contents, RunContents, Told};
use crate::base::clock::Moment;
use crate::base::escape::Escaped;
use crate::format::entry::EntryKind;
use crate::format::finding::Finding;
use crate::format::manifest::{Declared, Manifest};

const GLOSSARY: &str = "<h2>Words used here</h2>\n<table>\n\
<tr><td>Run</td><td>One piece of work of a machine: what went in, what came out, and its record.</td></tr>\n\
<tr><td>Record</td><td>The file <code>manifest.json</code> of a run, which says what the run was.</td></tr>\n\
<tr><td>Event</td><td>Something that was done to a run or said of it, as one entry of the log.</td></tr>\n\
<tr><td>Log</td><td>The numbered row of all events of the store. Events are only ever added at its end.</td></tr>\n\
<tr><td>Fingerprint</td><td>A number computed from a file. A file that differs in anything has another one, and \
nobody can make a different file with the same one.</td></tr>\n\
<tr><td>Key, signature</td><td>Whoever holds the secret half of a key can sign; with the public half anybody \
can check that a text is the one that was signed.</td></tr>\n</table>\n";

const STYLE: &str = "body{font:16px/1.5 Georgia,serif;max-width:52em;margin:2em auto;padding:0 1em;color:#111}\
h1,h2,h3{font-family:Helvetica,Arial,sans-serif;line-height:1.2}h2{margin-top:2em;border-bottom:1px solid #999}\
table{border-collapse:collapse;width:100%;margin:.8em 0}td,th{border:1px solid #bbb;padding:.3em .5em;\
text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#f2f2f2;font-weight:600}\
code,pre{font-family:Menlo,Consolas,monospace;font-size:.8em}pre{border:1px solid #bbb;padding:.6em;\
white-space:pre-wrap;overflow-wrap:anywhere}.add{background:#dff2df}.del{background:#fbe3e3}\
.box{border:2px solid #111;padding:.2em 1em;margin:1em 0}.bad{border-color:#a00}\
@media print{body{margin:0;max-width:none;font-size:11pt}h2{break-after:avoid}tr,.box{break-inside:avoid}}";

/// Text made safe for HTML: nothing of it is markup, and nothing of it is invisible.
fn text(raw: &str) -> String {
    let mut out = String::new();
    for c in Escaped(raw).to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn code(raw: &str) -> String {
    format!("<code>{}</code>", text(raw))
}

fn row(cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr>{cells}</tr>\n")
}

fn heading(cells: &[&str]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    format!("<tr>{cells}</tr>\n")
}

/// The whole page.
pub fn print(contents: &Contents) -> String {
    let names: Vec<String> = contents.runs.iter().map(|run| run.key.to_string()).collect();
    let title = format!("Evidence of {}", text(&names.join(", ")));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    page.push_str(&introduction(contents));
    page.push_str(&overview(contents));
    page.push_str(&witnesses(contents));
    page.push_str(GLOSSARY);
    for run in &contents.runs {
        page.push_str(&of_run(run));
    }
    page.push_str(&limits(contents));
    page.push_str("</body>\n</html>\n");
    page
}

fn introduction(contents: &Contents) -> String {
    let log = &contents.log;
    let signers: Vec<String> = contents.signers.iter().map(|signer| code(signer)).collect();
    let count = contents.runs.len();
    format!(
        "<p>This report tells the history of {} as a store of records (Strongroom) kept it: what was recorded, \
         when, who said they did it, and every change since, with the reason given. The files themselves lie \
         beside this page, under <code>data/</code>.</p>\n\
         <p>The store writes every event into a log that can only grow. The signature below covers the whole \
         log up to its size at that time. For each event told here the folder holds a proof that it is part of \
         exactly that log, at its place.</p>\n<table>\n{}{}{}{}{}</table>\n",
        if count == 1 { "one run".to_owned() } else { format!("{count} runs") },
        row(&["Log".into(), code(&log.origin)]),
        row(&["Events in the log when it was signed".into(), log.size.to_string()]),
        row(&["Fingerprint of the log (root)".into(), code(&log.root.to_string())]),
        row(&["Signed with the key".into(), signers.join("<br>")]),
        row(&["Newest event told here".into(), text(&contents.newest())]),
    )
}

/// What witnesses said, as their cosignatures have it.
fn witnesses(contents: &Contents) -> String {
    if contents.anchors.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<h2>Others who saw the log</h2>\n<p>These signed how the log stood at that time, each with a key of their \
         own. An event at an earlier place was there by then, and nobody could change it unnoticed afterwards. \
         Whether the keys are theirs this page cannot show: who checks must know them.</p>\n<table>\n",
    );
    out.push_str(&heading(&["Events up to place", "Who, and when"]));
    for anchor in &contents.anchors {
        let by = |(name, time): &(String, Option<Moment>)| match time {
            Some(time) => text(&format!("{name}, {time}")),
            None => text(name),
        };
        let by: Vec<String> = anchor.by.iter().map(by).collect();
        out.push_str(&row(&[anchor.size.saturating_sub(1).to_string(), by.join("<br>")]));
    }
    out.push_str("</table>\n");
    out
}

/// One line for each run: what a reader in a hurry needs.
fn overview(contents: &Contents) -> String {
    let mut out = String::from("<h2>In short</h2>\n<table>\n");
    out.push_str(&heading(&[
        "Run",
        "Events",
        "First",
        "Last",
        "Changes of its record",
        "Check in the store",
    ]));
    for run in &contents.runs {
        let time =
            |told: Option<&Told>| text(&told.map(|told| told.entry.time.to_string()).unwrap_or_default());
        let changed = run.entries.iter().filter(|told| told.change().is_some()).count();
        let wrong = run.findings.iter().filter(|finding| finding.is_failure()).count();
        out.push_str(&row(&[
            text(&run.key.to_string()),
            run.entries.len().to_string(),
            time(run.entries.first()),
            time(run.entries.last()),
            if changed == 0 { "none".to_owned() } else { changed.to_string() },
            match wrong {
                0 => "nothing wrong found".to_owned(),
                n => format!("<strong>{n} found wrong, see below</strong>"),
            },
        ]));
    }
    out.push_str("</table>\n<p>Times are in UTC, which the Z at their end says.</p>\n");
    out
}

fn of_run(run: &RunContents) -> String {
    let mut out = format!("<h2>Run {}</h2>\n", text(&run.key.to_string()));
    let manifest = run.manifest().and_then(|bytes| Manifest::parse(bytes).ok());
    if let Some(manifest) = &manifest {
        out.push_str("<h3>What was recorded</h3>\n<table>\n");
        let rows = [
            ("Job", Some(run.key.job.to_string())),
            ("Run", Some(run.key.run.to_string())),
            ("Kind of job", manifest.job_type.clone()),
            ("Result, as recorded", manifest.status.clone()),
            ("Started, as recorded", manifest.started_at.clone()),
            ("Finished, as recorded", manifest.finished_at.clone()),
            ("Version of the record's form", manifest.schema_version.clone()),
            ("Fingerprint of all inputs", manifest.inputs_hash.clone()),
            ("Fingerprint of the record as it is now", run.current().map(|digest| digest.to_string())),
        ];
        for (label, value) in rows {
            if let Some(value) = value {
                out.push_str(&row(&[label.to_owned(), text(&value)]));
            }
        }
        out.push_str("</table>\n");
    }
    out.push_str(&files(run, manifest.as_ref()));
    out.push_str("<h3>What happened, in order</h3>\n<table>\n");
    out.push_str(&heading(&["", "Place in the log", "Time", "What", "By", "Reason given"]));
    for told in &run.entries {
        out.push_str(&event(told));
    }
    out.push_str(
        "</table>\n<p>Times are those of the clock of the machine that wrote the event. The order is certain, \
         the times are as good as that clock. Names are as declared by whoever ran the command.</p>\n",
    );
    out.push_str(&changes(run));
    out.push_str(&verified(run));
    out
}

fn files(run: &RunContents, manifest: Option<&Manifest>) -> String {
    let declared = |path: &str| -> &'static str {
        let has = |list: &[Declared]| list.iter().any(|declared| declared.path == path);
        match manifest {
            Some(manifest) if has(&manifest.snapshots) => "input",
            Some(manifest) if has(&manifest.outputs) => "output",
            _ => "other",
        }
    };
    let mut out = String::from("<h3>Its files</h3>\n<table>\n");
    out.push_str(&heading(&["File", "What it is", "Bytes", "Fingerprint (SHA-256)"]));
    for file in &run.files {
        if let Some(blob) = file.blob() {
            let path = file.path.as_str();
            let cells =
                [code(path), declared(path).to_owned(), blob.bytes.to_string(), code(&blob.sha256.hex())];
            out.push_str(&row(&cells));
        }
    }
    out.push_str("</table>\n<p>The fingerprint of a file changes when any part of the file changes.</p>\n");
    out
}

/// An event in plain words.
fn words(told: &Told) -> String {
    let entry = &told.entry;
    let outcome = entry.outcome.as_deref().unwrap_or("an unknown result");
    let versions = match (&entry.from, &entry.to) {
        (Some(from), Some(to)) => format!(" from version {} to {}", text(from), text(to)),
        _ => String::new(),
    };
    match entry.kind {
        EntryKind::Recorded => format!("The run was recorded; its work {}.", text(outcome)),
        EntryKind::Adopted => {
            let known = match entry.exceptions {
                Some(_) => " It came in with known shortcomings:",
                None => "",
            };
            format!("The run, made elsewhere, was taken into the store as it was.{known}")
        }
        EntryKind::Migrated => format!("The form of its record was changed{versions}. Its files were not."),
        EntryKind::RolledBack => "An earlier revision of its record was put back.".to_owned(),
        EntryKind::Restored => {
            "Files that had been changed or lost on the disk were put back as recorded.".to_owned()
        }
        EntryKind::Reviewed => format!("A person reviewed the run: {}.", text(outcome)),
        EntryKind::Held => "The run was put on hold: nothing of it may be removed.".to_owned(),
        EntryKind::Released => "A hold on the run ended.".to_owned(),
        EntryKind::Refused => "An attempt that a hold forbids was refused.".to_owned(),
        EntryKind::Redacted => "Content of the run was removed for good; its fingerprints stay.".to_owned(),
        other => text(other.as_str()),
    }
}

/// What the records that an event names say besides.
fn more(told: &Told) -> String {
    let items: String = told.more.iter().map(|line| format!("<li>{}</li>", text(line))).collect();
    if items.is_empty() { items } else { format!("<ul>{items}</ul>") }
}

fn event(told: &Told) -> String {
    let entry = &told.entry;
    row(&[
        entry.run_seq.unwrap_or(0).to_string(),
        told.index.to_string(),
        text(&entry.time.to_string()),
        format!("{}{}", words(told), more(told)),
        text(&told.actor),
        told.reason.as_deref().map_or("none given".to_owned(), text),
    ])
}

/// Every change of the manifest with its difference.
fn changes(run: &RunContents) -> String {
    let mut out = String::from("<h3>What was changed in the record</h3>\n");
    let mut any = false;
    for told in &run.entries {
        let Some((before, after)) = told.change() else { continue };
        any = true;
        let (Some(old), Some(new)) = (run.revisions.get(&before), run.revisions.get(&after)) else {
            continue;
        };
        let _ = write!(
            out,
            "<p><strong>Event {}, {}.</strong> {} By {}. Reason: {}.<br>From {} to {}.</p>\n<pre>{}</pre>\n",
            told.entry.run_seq.unwrap_or(0),
            text(&told.entry.time.to_string()),
            words(told),
            text(&told.actor),
            told.reason.as_deref().map_or("none given".to_owned(), text),
            code(&before.to_string()),
            code(&after.to_string()),
            difference(old, new),
        );
    }
    if any {
        out.push_str(
            "<p>Lines that begin with a minus sign were there before, lines with a plus sign are there \
             since. \u{22ef} stands for lines that did not change.</p>\n",
        );
    } else {
        out.push_str("<p>Nothing: the record is as it came in.</p>\n");
    }
    out
}

fn difference(old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let diff = similar::TextDiff::from_lines(&*old, &*new);
    let mut out = String::new();
    for line in diff.unified_diff().context_radius(2).to_string().lines() {
        let class = match line.as_bytes().first() {
            Some(b'+') => "add",
            Some(b'-') => "del",
            Some(b'@') => {
                out.push_str("\u{22ef}\n");
                continue;
            }
            Some(b'\\') => {
                out.push_str("(the line above ends without a line break)\n");
                continue;
            }
            _ => "",
        };
        let _ = writeln!(out, "<span class=\"{class}\">{}</span>", text(line));
    }
    out
}

fn verified(run: &RunContents) -> String {
    let mut out = format!(
        "<h3>What was verified when this was made</h3>\n<ul>\n\
         <li>Every file here was read anew and has the fingerprint that the log names.</li>\n\
         <li>The events follow one another without a gap, and each names the one before it.</li>\n\
         <li>Each event is proved to be in the signed log.</li>\n\
         <li>These are all events of the run: a proof is here that the log, up to its place {}, has no other.</li>\n\
         <li>Every revision of the record is here, from the first to the one that is valid now.</li>\n</ul>\n",
        run.covers.saturating_sub(1),
    );
    let (wrong, known): (Vec<&Finding>, Vec<&Finding>) =
        run.findings.iter().partition(|finding| finding.is_failure());
    if wrong.is_empty() {
        out.push_str("<p>The run as it lay in the store was checked too: nothing wrong was found.</p>\n");
    } else {
        out.push_str(
            "<div class=\"box bad\"><p><strong>The run as it lay in the store differed from what was \
             recorded.</strong> The files here are the recorded ones. Found in the store:</p>\n",
        );
        out.push_str(&list(&wrong));
        out.push_str("</div>\n");
    }
    if !known.is_empty() {
        out.push_str("<p>Known since the run came in, or warnings only:</p>\n");
        out.push_str(&list(&known));
    }
    out
}

fn list(findings: &[&Finding]) -> String {
    let item = |finding: &&Finding| {
        let place = finding.path.as_deref().map(|path| format!(" {}", code(path))).unwrap_or_default();
        format!("<li>{} {}{place}</li>\n", finding.code, text(finding.code.title()))
    };
    format!("<ul>\n{}</ul>\n", findings.iter().map(item).collect::<String>())
}

fn limits(contents: &Contents) -> String {
    format!(
        "<h2>What this does not show</h2>\n<div class=\"box\"><ul>\n\
         <li><strong>That what was recorded was true.</strong> The log shows what was recorded and in which \
         order, not that it happened so.</li>\n\
         <li><strong>Who really did it.</strong> Names are declared, not proved.</li>\n\
         <li><strong>When exactly.</strong> Times come from the writing machine's clock.</li>\n\
         <li><strong>Who holds the key.</strong> The signature shows that the key was used. That the key belongs \
         to whom you think you must know from elsewhere: compare the key with one that you were given on another \
         way, not with the copy in this folder.</li>\n\
         <li><strong>Anything after place {} of the log.</strong> What happened later is not in this folder.</li>\n\
         <li><strong>That there is no other log.</strong> Whoever holds the key could have signed two. Compare the \
         fingerprint of the log with one that somebody else kept.</li>\n\
         <li><strong>This page itself is a telling.</strong> What counts are the files under \
         <code>data/</code>.</li>\n</ul></div>\n\
         <h2>How to check it</h2>\n\
         <p>With the program, and the key that you were given: <code>strongroom check-evidence FOLDER --key KEY</code>. \
         Without it, by programs that every system has: <code>VERIFY.md</code> in this folder lists the \
         commands.</p>\n",
        contents.log.size.saturating_sub(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_never_markup() {
        assert_eq!(
            text("<b a='1' c=\"2\">&\u{202e}\n"),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;\\u{202e}\\u{a}"
        );
        let diff = difference(b"a\n</pre>\n", b"a\n<script>\n");
        assert!(diff.contains("&lt;script&gt;") && !diff.contains("<script>"), "{diff}");
    }
}
