//! What commands print: texts, JSON documents, tables, lists and progress. Nothing here reads a server or decides anything.

pub mod csv;
pub mod journal;
pub mod listing;
pub mod lots;
pub mod progress;
pub mod table;
pub mod width;

use crate::visible;
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;

/// Writes to stdout, whatever is hidden in it visible; a reader that has gone away is a normal end.
pub fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", visible::printed(text)).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// One JSON document on stdout.
pub fn say_json(document: &impl Serialize) -> Result<()> {
    say(&visible::json(&serde_json::to_string_pretty(document)?));
    Ok(())
}

/// What was done: as JSON the document, else the text. Exit status 0.
pub fn done(as_json: bool, text: &str, document: &impl Serialize) -> Result<ExitCode> {
    match as_json {
        true => say_json(document)?,
        false => say(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// What somebody has to know beside the result, on stderr in either form.
pub fn warn(text: &str) {
    use std::io::Write;
    // Where stderr is gone there is nobody left to tell.
    drop(writeln!(std::io::stderr(), "bursar: {}", visible::printed(text)));
}
