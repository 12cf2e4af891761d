//! Letters and their kinds, as tables.

use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::Result;
use dead_letters::read::{self, Amount, Filter, Group, LetterLine, LetterState};
use serde_json::json;
use std::process::ExitCode;

/// Of a reason this much stands in a table.
const REASON_SHOWN: usize = 90;

pub async fn letters(session: &Session, filter: &Filter, limit: i64) -> Result<ExitCode> {
    let letters = read::letters(&session.pool, filter, limit).await?;
    let total = match letters.len() as i64 == limit {
        true => read::count(&session.pool, filter).await?,
        false => letters.len() as i64,
    };
    let replaying = replaying(session, filter).await?;
    if session.json {
        say_json(&json!({ "total": total, "letters": letters, "replaying": replaying }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        say("No dead letters here.");
        tell_replaying(replaying);
        return Ok(ExitCode::SUCCESS);
    }
    say(&letters_table(&letters).to_string());
    if total > letters.len() as i64 {
        say(&Style::Dim.paint(&format!(
            "{} of {total}: --limit shows more, `bursar dlq groups` their causes",
            letters.len()
        )));
    }
    tell_replaying(replaying);
    Ok(ExitCode::SUCCESS)
}

/// How many more there are that a replay has in hand, where only others are shown.
pub async fn replaying(session: &Session, filter: &Filter) -> Result<i64> {
    if filter.states.contains(&LetterState::Replaying) {
        return Ok(0);
    }
    let filter = Filter { states: vec![LetterState::Replaying], ..filter.clone() };
    Ok(read::count(&session.pool, &filter).await?)
}

pub fn tell_replaying(count: i64) {
    if count > 0 {
        say(&Style::Dim.paint(&format!("{count} more are in replays: `bursar dlq replays`")));
    }
}

fn letters_table(letters: &[LetterLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("letter"),
        Column::Text("dead since"),
        Column::Text("state"),
        Column::Text("worker"),
        Column::Text("fact"),
        Column::Text("account"),
        Column::Text("at stake"),
        Column::Text("code"),
        Column::Text("reason"),
    ]);
    for letter in letters {
        let style = if letter.state == LetterState::Open.as_str() { Style::Plain } else { Style::Dim };
        table.styled_row(
            style,
            vec![
                letter.letter.to_string(),
                moment(letter.dead_at),
                letter.state.clone(),
                letter.worker.clone(),
                or_none(letter.fact.as_deref()),
                or_none(letter.account.as_deref()),
                at_stake(letter.money.as_slice(), letter.credits.as_deref()),
                letter.code.clone(),
                shown(&letter.reason),
            ],
        );
    }
    table
}

/// Money and credits, each with its unit.
pub fn at_stake(money: &[Amount], credits: Option<&str>) -> String {
    let credits = credits.filter(|credits| *credits != "0").map(|credits| format!("{credits} credits"));
    let all: Vec<String> = money.iter().map(Amount::to_string).chain(credits).collect();
    or_none(Some(all.join(", ")).filter(|text| !text.is_empty()).as_deref())
}

fn shown(reason: &str) -> String {
    let line = reason.replace('\n', " ");
    match line.char_indices().nth(REASON_SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

pub async fn groups(session: &Session, filter: &Filter, limit: i64) -> Result<ExitCode> {
    let groups = read::groups(&session.pool, filter, limit).await?;
    let total = match groups.len() as i64 == limit {
        true => read::count_groups(&session.pool, filter).await?,
        false => groups.len() as i64,
    };
    let replaying = replaying(session, filter).await?;
    if session.json {
        say_json(&json!({ "total": total, "groups": groups, "replaying": replaying }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if groups.is_empty() {
        say("No dead letters here.");
        tell_replaying(replaying);
        return Ok(ExitCode::SUCCESS);
    }
    say(&groups_table(&groups).to_string());
    if total > groups.len() as i64 {
        say(&Style::Dim.paint(&format!("{} of {total} kinds: --limit shows more", groups.len())));
    }
    if groups.iter().any(|group| group.notes > 0) {
        say(&Style::Dim.paint("Notes about a kind: `bursar dlq audit <fingerprint>` shows them."));
    }
    say(&Style::Dim.paint("Next: `bursar dlq plan --group <fingerprint>` tells what a replay would change."));
    tell_replaying(replaying);
    Ok(ExitCode::SUCCESS)
}

fn groups_table(groups: &[Group]) -> Table {
    let mut table = Table::new(&[
        Column::Text("fingerprint"),
        Column::Number("count"),
        Column::Text("first"),
        Column::Text("last"),
        Column::Number("accounts"),
        Column::Text("at stake"),
        Column::Text("worker"),
        Column::Text("type"),
        Column::Text("code"),
        Column::Text("reason"),
        Column::Number("notes"),
    ]);
    for group in groups {
        table.row(vec![
            group.fingerprint.clone(),
            group.count.to_string(),
            moment(group.first),
            moment(group.last),
            group.accounts.to_string(),
            at_stake(&group.money, Some(&group.credits)),
            group.worker.clone(),
            or_none(group.fact_type.as_deref()),
            group.code.clone(),
            shown(&group.reason),
            group.notes.to_string(),
        ]);
    }
    table
}
