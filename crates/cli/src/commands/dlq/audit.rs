//! What was done with dead letters: who, when, to which, why, and with what result.

use super::notes::subject;
use crate::output::listing;
use crate::output::say_json;
use crate::output::table::{Column, Table, moment, or_none};
use crate::session::Session;
use anyhow::{Result, bail};
use dead_letters::acts::NoteTarget;
use dead_letters::read::{self, AuditFilter, AuditLine, Filter, LetterState};
use serde_json::{Value, json};
use std::process::ExitCode;

pub async fn list(
    session: &Session,
    about: Option<&str>,
    by: Option<String>,
    limit: i64,
) -> Result<ExitCode> {
    let filter = match about.map(subject) {
        Some(NoteTarget::Letter(id)) => AuditFilter { id: Some(id), by, ..AuditFilter::default() },
        Some(NoteTarget::Fingerprint(kind)) => {
            AuditFilter { fingerprint: Some(kind), by, ..AuditFilter::default() }
        }
        None => AuditFilter { by, ..AuditFilter::default() },
    };
    let lines = read::audit(&session.pool, &filter, limit).await?;
    if let (Some(about), true) = (about, lines.is_empty())
        && !is_known(session, &filter).await?
    {
        if session.json {
            say_json(&json!({ "about": about, "known": false, "audit": [] }))?;
            return Ok(ExitCode::from(1));
        }
        bail!(
            "expected the id of a letter or of a replay, or a kind's fingerprint, got {about}: see `bursar dlq list`, `replays`, `groups`"
        );
    }
    listing::print(session.json, &json!({ "audit": lines }), &table(&lines), "Nothing was done here.", None)
}

/// Whether there is such a letter, replay or kind at all.
async fn is_known(session: &Session, filter: &AuditFilter) -> Result<bool> {
    let meant = Filter {
        letters: filter.id.into_iter().collect(),
        fingerprint: filter.fingerprint.clone(),
        states: LetterState::ALL.to_vec(),
        ..Filter::default()
    };
    let is_replay = match filter.id {
        Some(id) => !read::replays(&session.pool, Some(id), 1).await?.is_empty(),
        None => false,
    };
    Ok(is_replay || read::count(&session.pool, &meant).await? > 0)
}

pub fn table(lines: &[AuditLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("when"),
        Column::Text("by"),
        Column::Text("did"),
        Column::Number("letters"),
        Column::Text("about"),
        Column::Text("which"),
        Column::Text("why"),
        Column::Text("result"),
    ]);
    for line in lines {
        let id = line.letter.or(line.replay).map(|id| id.to_string());
        let letters = line.letters.map(|letters| letters.to_string());
        table.row(vec![
            moment(line.at),
            line.by.clone(),
            line.action.clone(),
            or_none(letters.as_deref()),
            or_none(id.or_else(|| line.fingerprint.clone()).as_deref()),
            or_none(line.filter.as_ref().map(which).as_deref()),
            or_none(line.reason.as_deref()),
            or_none(line.result.as_ref().map(words).filter(|words| !words.is_empty()).as_deref()),
        ]);
    }
    table
}

/// A filter in words. In which states it looked is what was done.
fn which(filter: &Value) -> String {
    let mut filter = filter.clone();
    if let Some(filter) = filter.as_object_mut() {
        filter.remove("states");
    }
    Some(words(&filter)).filter(|words| !words.is_empty()).unwrap_or_else(|| "all".to_owned())
}

/// More of one sort than this are counted.
const NAMED: usize = 3;

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.len() > NAMED => format!("{} of them", list.len()),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join("; "),
        Value::Object(map) => {
            let parts = map.iter().filter(|(_, value)| !value.is_null());
            let part = |(key, value): (&String, &Value)| match value {
                Value::Object(_) => format!("{} ({})", key.replace('_', " "), words(value)),
                _ => format!("{} {}", key.replace('_', " "), words(value)),
            };
            parts.map(part).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_and_results_are_told_in_words() {
        let check = |filter: Value, expect: &str| assert_eq!(which(&filter), expect);
        check(json!({ "states": ["open"] }), "all");
        check(
            json!({ "worker": "gate", "code": "forbidden", "states": ["open"] }),
            "code forbidden, worker gate",
        );
        check(json!({ "letters": [1, 2, 3, 4], "text": null }), "letters 4 of them");
        let result =
            json!({ "state": "finished", "released": 2, "released_why": { "cancelled": 2 }, "why": null });
        assert_eq!(words(&result), "released 2, released why (cancelled 2), state finished");
    }
}
