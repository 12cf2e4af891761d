//! One case as people read it: how it stands, then all that happened, the oldest first.

use super::list::beside;
use super::words;
use crate::commands::account::standing_text;
use crate::output::journal::moved;
use crate::output::listing::section;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::width::{folded, of_text};
use crate::output::{say, say_json};
use crate::session::Session;
use crate::visible::on_a_line;
use anyhow::Result;
use disputes::evidence::economics_of;
use disputes::read::{self, CaseView, Happening, Moment, Posted, Said};
use disputes::submission::{Submission, of_case};
use domain::dispute::StepKind;
use domain::fact::RestrictionKind;
use domain::{AccountId, CaseId, Cause, Credits, PaymentId};
use ledger::read::{self as books, AccountStandings, TransactionView};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::process::ExitCode;
use time::OffsetDateTime;

/// What stands beside a moment of the history: below it everything else is indented by as much.
const INDENT: usize = 22;

/// The same of what stands above the history.
const SUMMARY_INDENT: usize = 14;

/// Beyond so many seconds between what the processor says and when it was heard both are told.
const HEARD_SOON: i64 = 60;

/// Of so many steps it is looked up what else they moved.
const DELIVERIES_MAX: usize = 50;

/// `bursar dispute show --json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    case: &'a CaseView,
    /// Of the account in all, whatever restricts it.
    standing: Option<AccountStandings>,
    /// Evidence that was handed to the processor.
    submissions: Vec<Submission>,
    /// What contesting and refunding early are worth, in words.
    economics: Vec<String>,
}

pub async fn show(session: &Session, id: &CaseId) -> Result<ExitCode> {
    let Some(case) = read(session, id).await? else {
        if session.json {
            say_json(&json!({ "dispute": id, "known": false }))?;
            return Ok(ExitCode::from(1));
        }
        return Err(unknown(id));
    };
    let standing = match &case.line.account {
        Some(account) => books::standing(&session.pool, &AccountId::new(account.as_str())?).await?,
        None => None,
    };
    let counter_fee = session.config.disputes.counter_fee()?;
    let document = Document {
        standing: standing.map(|view| view.standing),
        submissions: of_case(&session.pool, id).await?,
        economics: economics_of(&session.pool, id, counter_fee).await?,
        case: &case,
    };
    match session.json {
        true => say_json(&document)?,
        false => say(&text(&document)),
    }
    Ok(ExitCode::SUCCESS)
}

/// A case, with what the journal moved of its payment, and of its account with each step: debt that is covered names no payment.
async fn read(session: &Session, id: &CaseId) -> Result<Option<CaseView>> {
    let Some(case) = read::case(&session.pool, id, OffsetDateTime::now_utc()).await? else { return Ok(None) };
    let mut transactions = match &case.line.payment {
        Some(payment) => {
            let payment: PaymentId = payment.parse()?;
            let payment = books::payment(&session.pool, &payment, &session.config.rules()?).await?;
            payment.map(|payment| payment.transactions).unwrap_or_default()
        }
        None => Vec::new(),
    };
    for delivery in deliveries(&case) {
        let Some(fact) = books::fact(&session.pool, &delivery).await? else { continue };
        let of = |known: &TransactionView| (known.account.clone(), known.number);
        let known: BTreeSet<_> = transactions.iter().map(of).collect();
        transactions.extend(fact.transactions.into_iter().filter(|posted| !known.contains(&of(posted))));
    }
    transactions.sort_by_key(|posted| (posted.at, posted.number));
    Ok(Some(case.with_journal(&transactions)))
}

/// What the steps of a case were told by, the latest first.
fn deliveries(case: &CaseView) -> Vec<Cause> {
    let said = case.history.iter().rev().filter_map(|moment| match &moment.what {
        Happening::Said(said) => Some(said.delivery(&case.line.dispute)),
        Happening::Restrictions(_) | Happening::Posted(_) | Happening::Note(_) => None,
    });
    let causes = said.filter_map(|delivery| {
        let (source, id) = delivery.rsplit_once('/')?;
        Some(Cause { source: source.to_owned(), id: id.to_owned() })
    });
    causes.take(DELIVERIES_MAX).collect()
}

/// A case that somebody has spoken of.
pub async fn known(session: &Session, id: &CaseId) -> Result<CaseView> {
    let case = read::case(&session.pool, id, OffsetDateTime::now_utc()).await?;
    case.map(Ok).unwrap_or_else(|| Err(unknown(id)))
}

fn unknown(id: &CaseId) -> anyhow::Error {
    anyhow::anyhow!(
        "expected the id of a dispute that its processor has told of, got {id}: see `bursar dispute list`"
    )
}

fn text(document: &Document<'_>) -> String {
    let (case, line) = (document.case, &document.case.line);
    let name = Style::Bold.paint(line.dispute.as_str());
    let mut parts = vec![format!("{name}  {}", words::state(line.state))];
    parts.push(summary(case));
    parts.extend(document.standing.as_ref().map(standing_text));
    parts.push(format!("\n{}", Style::Bold.paint("What happened")));
    parts.extend(case.history.iter().map(|moment| happened(case, moment)));
    parts.extend(section("Evidence handed in", &submissions(&document.submissions)));
    if !document.economics.is_empty() {
        parts.push(format!("\n{}", Style::Bold.paint("What it is worth")));
        let width = of_text();
        parts.extend(document.economics.iter().map(|line| format!("  {}", folded(line, width, 2))));
    }
    parts.extend(section("Other cases of its payment and account", &beside(&case.beside)));
    parts.join("\n")
}

fn submissions(submissions: &[Submission]) -> Table {
    let mut table = Table::new(&[
        Column::Text("requested"),
        Column::Text("by"),
        Column::Text("for good"),
        Column::Text("state"),
        Column::Text("why"),
        Column::Text("answer"),
    ]);
    for submission in submissions {
        let is_final = if submission.is_final { "yes" } else { "staged only" };
        let style = match submission.state.as_str() {
            "refused" | "unknown" => Style::Bad,
            _ => Style::Plain,
        };
        table.styled_row(
            style,
            vec![
                moment(submission.requested_at),
                submission.by.clone(),
                is_final.to_owned(),
                submission.state.clone(),
                submission.reason.clone(),
                or_none(submission.answer.as_deref()),
            ],
        );
    }
    table
}

fn summary(case: &CaseView) -> String {
    let line = &case.line;
    let amount = line.amount.as_ref().zip(line.currency.as_ref());
    let amount =
        amount.map_or_else(|| "an amount not told".to_owned(), |(amount, code)| format!("{amount} {code}"));
    let fee = case.fee.map(|fee| format!("fee {fee}"));
    let why = case.reason.iter().chain(&case.network_reason).cloned().chain(fee);
    let what = if line.is_early_warning { "suspected" } else { "disputed" };
    let account = || "not known: the case waits for its payment".to_owned();
    let mut lines = vec![
        (what, std::iter::once(amount).chain(why).collect::<Vec<_>>().join(", ")),
        ("account", line.account.clone().unwrap_or_else(account)),
    ];
    lines.extend(line.payment.clone().map(|payment| ("payment", payment)));
    lines.extend(line.opened_at.map(|at| ("opened", moment(at))));
    let due = line.evidence_due_by.zip(line.hours_left);
    lines.extend(due.map(|(due, hours)| ("deadline", words::deadline(due, hours))));
    lines.push(("restricts", restricts(case)));
    if case.is_refundable == Some(true) && !line.state.has_ended() {
        lines.push(("refund", "the processor would still refund the payment".to_owned()));
    }
    lines.extend(line.overlap.as_ref().map(|overlap| ("overlap", words::overlap(overlap))));
    lines.extend(line.joined.as_ref().map(|case| ("joined", format!("taken over by {case}"))));
    let width = of_text();
    let shown = |(name, value): (&str, String)| {
        let style = match name {
            "deadline" | "overlap" => Style::Bad,
            "restricts" if !line.restrictions.is_empty() => Style::Bad,
            _ => Style::Plain,
        };
        format!("  {name:<12}{}", style.paint(&folded(&on_a_line(&value), width, SUMMARY_INDENT)))
    };
    lines.into_iter().map(shown).collect::<Vec<_>>().join("\n")
}

fn restricts(case: &CaseView) -> String {
    let line = &case.line;
    match (line.restrictions.is_empty(), line.is_claimed) {
        (false, _) => words::kinds(&line.restrictions),
        (true, true) => {
            "nobody: the link of its payment to the account is only claimed, so it takes its own credits and restricts nobody".to_owned()
        }
        (true, false) => "nothing".to_owned(),
    }
}

/// A moment: when, then what happened, a line for each part of it.
fn happened(case: &CaseView, at: &Moment) -> String {
    let lines = match &at.what {
        Happening::Said(said) => of_step(case, at.at, said),
        Happening::Restrictions(what) => {
            let who = what.by.as_ref().map_or("Bursar".to_owned(), |by| format!("{by} (operator)"));
            let reason = what.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            let mut lines = vec![(Style::Bold, format!("{who}{reason}"))];
            lines.extend(changes(&what.restricted, &what.lifted));
            lines
        }
        Happening::Posted(posted) => vec![(Style::Plain, format!("ledger: {}", of_journal(posted)))],
        Happening::Note(note) => vec![(Style::Plain, format!("{} noted: {}", note.by, note.text))],
    };
    let width = of_text();
    // Folded before it is painted: a style is no text, and takes no room.
    let shown = |(style, line): (Style, String)| style.paint(&folded(&on_a_line(&line), width, INDENT));
    let lines: Vec<String> = lines.into_iter().map(shown).collect();
    format!("{:<INDENT$}{}", moment(at.at), lines.join(&format!("\n{}", " ".repeat(INDENT))))
}

/// What was said, then what followed from it.
fn of_step(case: &CaseView, heard: OffsetDateTime, said: &Said) -> Vec<(Style, String)> {
    let who = words::speaker(&case.line.dispute, said.by.as_deref(), said.by_silence);
    let what = words::step(said.step, said.says.as_str(), said.state);
    let amount = said.amount.map(|amount| amount.to_string());
    let details: Vec<String> = amount.iter().chain(&said.reason).chain(&said.round).cloned().collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    let style = if said.step == StepKind::Illegal { Style::Bad } else { Style::Bold };
    let mut lines = vec![(style, format!("{who}: {what}{details}"))];
    let mut told = |text: String| lines.push((Style::Plain, text));
    if (heard - said.said_at).whole_seconds().abs() > HEARD_SOON {
        told(format!("said at {} by its clock", moment(said.said_at)));
    }
    if let Some(due) = said.evidence_due_by.filter(|_| said.state.needs_response()) {
        told(format!("evidence due by {}", moment(due)));
    }
    said.posted.iter().for_each(|posted| told(format!("credits: {}", of_journal(posted))));
    lines.extend(changes(&said.restricted, &said.lifted));
    lines
}

fn changes(restricted: &[RestrictionKind], lifted: &[RestrictionKind]) -> Vec<(Style, String)> {
    let of = |style, what: &str, kinds: &[_]| {
        (!kinds.is_empty()).then(|| (style, format!("{what} {}", words::kinds(kinds))))
    };
    let restricted = of(Style::Bad, "restricts", restricted);
    restricted.into_iter().chain(of(Style::Good, "allows again", lifted)).collect()
}

/// `reversal: held -500, consumed -500, reversed +1000, debt +500 (transaction 4)`.
fn of_journal(posted: &Posted) -> String {
    let change = |book: &str| posted.changed.get(book).copied().unwrap_or(Credits::ZERO);
    format!("{}: {} (transaction {})", words::words(&posted.kind), moved(change), posted.number)
}
