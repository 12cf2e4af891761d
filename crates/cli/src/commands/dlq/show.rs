//! One dead letter, with everything that the fleet knows of it.

use super::edit::changes;
use super::list::at_stake;
use super::{audit, body};
use crate::output::journal::journal;
use crate::output::listing::{pairs, section};
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use crate::visible::on_a_line;
use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use dead_letters::read::{self, LetterView};
use domain::{AccountId, Cause};
use ledger::read::{self as books, AccountView, FactView};
use serde_json::{Value, json};
use std::process::ExitCode;
use uuid::Uuid;

/// Of bytes so many digits are shown.
const DIGITS_SHOWN: usize = 160;

/// What the gate and the ledger already have of a letter's fact.
struct KnownOfLetter {
    fact: Option<FactView>,
    account: Option<AccountView>,
}

pub async fn show(session: &Session, letter: Uuid) -> Result<ExitCode> {
    let Some(view) = read::letter(&session.pool, letter).await? else {
        if session.json {
            say_json(&json!({ "letter": letter, "known": false }))?;
            return Ok(ExitCode::from(1));
        }
        bail!("expected the id of a dead letter, got {letter}: see `bursar dlq list`");
    };
    let known = known(session, &view).await?;
    match session.json {
        true => {
            let account = known.account.as_ref().map(|account| json!({ "account": account.account, "available": account.available, "held": account.held, "debt": account.debt }));
            say_json(&json!({ "letter": document(&view)?, "fact": known.fact, "account": account }))?;
        }
        false => say(&text(&view, &known)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn known(session: &Session, view: &LetterView) -> Result<KnownOfLetter> {
    let cause = view.line.fact.as_deref().and_then(|fact| fact.rsplit_once('/'));
    let fact = match cause {
        Some((source, id)) => {
            let cause = Cause { source: source.to_owned(), id: id.to_owned() };
            books::fact(&session.pool, &cause).await?
        }
        None => None,
    };
    let account = match view.line.account.as_deref().and_then(|account| AccountId::new(account).ok()) {
        Some(account) => books::account(&session.pool, &account).await?,
        None => None,
    };
    Ok(KnownOfLetter { fact, account })
}

fn text(view: &LetterView, known: &KnownOfLetter) -> String {
    let mut parts =
        vec![Style::Bold.paint(&format!("{}  {}", view.line.letter, view.line.state)), summary(view)];
    parts.push(format!("\n{}\n{}", Style::Bold.paint("Why"), on_a_line(&view.line.reason)));
    parts.extend(both_sides(view));
    parts.extend(section("What was tried", &timeline(view)));
    parts.push(format!("\n{}\n{}", Style::Bold.paint("What it says"), said(view)));
    parts.push(format!("\n{}\n{}", Style::Bold.paint("What the ledger knows"), knowledge(known)));
    if let Some(fact) = known.fact.as_ref().filter(|fact| !fact.transactions.is_empty()) {
        parts.extend(section("Journal", &journal(&fact.transactions)));
    }
    if !view.audit.is_empty() {
        parts.extend(section("What was done", &audit::table(&view.audit)));
    }
    parts.join("\n")
}

/// The gate names the fields in which two facts of one identity differ; who is to decide between them wants to see both.
fn both_sides(view: &LetterView) -> Option<String> {
    let fact = view.line.fact.as_ref().filter(|_| view.line.code == "conflict")?;
    Some(format!(
        "What was admitted is shown by `bursar fact show {fact}`; what came instead is below, under What it says."
    ))
}

fn summary(view: &LetterView) -> String {
    let lines: Vec<_> = [what_died(view), unreadable(view), what_became(view)].concat();
    pairs(&lines, 10)
}

/// A name, and what is said under it.
type Said = (&'static str, String);

fn what_died(view: &LetterView) -> Vec<Said> {
    let line = &view.line;
    let stored = match (&line.fact, view.delivery_stored) {
        (Some(fact), true) => {
            format!("{fact}: its delivery as it came is shown by `bursar delivery show {fact}`")
        }
        (Some(fact), false) => format!("{fact}: its delivery as it came is not stored"),
        (None, _) => "none that can be read".to_owned(),
    };
    vec![
        (
            "worker",
            format!(
                "{}, in the queue {}",
                line.worker,
                or_none(Some(&view.queue).filter(|queue| !queue.is_empty()).map(String::as_str))
            ),
        ),
        ("code", line.code.clone()),
        ("kind", format!("{}: see `bursar dlq list --group {0}`", line.fingerprint)),
        ("fact", stored),
        ("type", or_none(line.fact_type.as_deref())),
        ("account", or_none(line.account.as_deref())),
        ("payment", or_none(line.payment.as_deref())),
        ("at stake", at_stake(line.money.as_slice(), line.credits.as_deref())),
        ("message", view.message_id.clone()),
        ("came by", format!("{} {}", view.exchange, view.routing_key)),
        ("user", or_none(view.user_id.as_deref())),
        ("trace", or_none(view.traceparent.as_deref())),
        ("came", if line.copies == 1 { "once".to_owned() } else { format!("{} times", line.copies) }),
    ]
}

/// What of the message is no text.
fn unreadable(view: &LetterView) -> Vec<Said> {
    let parts = view.unreadable.iter().flat_map(|bytes| {
        [
            ("exchange", &bytes.exchange),
            ("routing key", &bytes.routing_key),
            ("properties", &bytes.properties),
        ]
    });
    let parts = parts.filter(|(_, bytes)| !bytes.is_empty());
    parts.map(|(name, bytes)| ("as bytes", format!("{name} {}", shortened(bytes)))).collect()
}

/// What became of it since it died.
fn what_became(view: &LetterView) -> Vec<Said> {
    let mut lines = Vec::new();
    lines.extend(view.previous.map(|previous| ("before", format!("{previous}: this letter comes of it"))));
    lines.extend(view.next.iter().map(|next| ("now", format!("{next}: it goes on as this letter"))));
    let closed = view.closed_at.zip(view.closed_by.as_ref());
    lines.extend(closed.map(|(at, by)| {
        ("closed", format!("{} by {by}: {}", moment(at), or_none(view.line.outcome.as_deref())))
    }));
    lines.extend(changes(view.diff.as_ref()).into_iter().map(|change| ("edited", change)));
    lines.extend(
        view.erased_at.map(|at| ("erased", format!("{}: what it said is gone for good", moment(at)))),
    );
    lines
}

/// Hexadecimal digits; all of them are in the JSON.
fn shortened(digits: &str) -> String {
    match digits.get(..DIGITS_SHOWN).filter(|shown| shown.len() < digits.len()) {
        Some(shown) => format!("{shown}... ({} bytes, all of them in --json)", digits.len() / 2),
        None => digits.to_owned(),
    }
}

/// Everything that happened to it, in the order of its happening.
fn timeline(view: &LetterView) -> Table {
    let mut steps: Vec<(time::OffsetDateTime, String)> = Vec::new();
    for (number, attempt) in view.attempts_made.iter().enumerate() {
        steps.push((attempt.at, format!("attempt {} failed: {}", number + 1, attempt.why)));
    }
    steps.push((view.line.dead_at, format!("dead letter: {}", view.line.code)));
    steps.push((view.recorded_at, "recorded".to_owned()));
    for replay in &view.replays {
        steps.extend(replay.published_at.map(|at| (at, format!("put back by replay {}", replay.replay))));
        let outcome = or_none(replay.outcome.as_deref());
        steps.extend(replay.settled_at.map(|at| (at, format!("{}: {outcome}", replay.state))));
    }
    // To the microsecond, which is what Postgres keeps: what happened in one stays in this order.
    steps.sort_by_key(|(at, _)| at.unix_timestamp_nanos() / 1_000);
    let mut table = Table::new(&[Column::Text("when"), Column::Text("what")]);
    for (at, what) in steps {
        table.row(vec![moment(at), what]);
    }
    table
}

fn said(view: &LetterView) -> String {
    let letter = view.line.letter;
    let whole = format!("`bursar dlq export {letter} --to FILE`, or `bursar dlq show {letter} --json`");
    body::text(&view.body, &whole)
}

/// The letter with its body as text, and as it came where it is none.
fn document(view: &LetterView) -> Result<Value> {
    let mut document = serde_json::to_value(view)?;
    document["body"] = String::from_utf8_lossy(&view.body).into();
    if std::str::from_utf8(&view.body).is_err() {
        document["body_base64"] = BASE64.encode(&view.body).into();
    }
    Ok(document)
}

fn knowledge(known: &KnownOfLetter) -> String {
    let fact = match &known.fact {
        None => "The fact was not admitted: the gate has none under its identity.".to_owned(),
        Some(fact) => {
            let settled = fact.outcomes.iter().map(|by| {
                format!("the {} settled it as {} at {}", by.reader, by.outcome, moment(by.settled_at))
            });
            let settled = match fact.outcomes.is_empty() {
                true => "the ledger has not settled it".to_owned(),
                false => settled.collect::<Vec<_>>().join(", "),
            };
            format!("The fact was admitted at {}; {settled}.", moment(fact.admitted_at))
        }
    };
    let account = known.account.as_ref().map(|account| {
        format!(
            "\n{} has {} available, {} held, {} debt.",
            account.account, account.available, account.held, account.debt
        )
    });
    fact + &account.unwrap_or_default()
}
