//! Cases as a list: of all, of an account, of a payment.

use super::words;
use crate::output::listing;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::width;
use crate::session::Session;
use crate::visible::on_a_line;
use anyhow::{Result, bail};
use disputes::read::{self, DisputeFilter, DisputeLine};
use domain::{AccountId, PaymentId};
use std::collections::BTreeMap;
use std::process::ExitCode;
use time::OffsetDateTime;

/// Beside an account or a payment so many of its cases are shown.
const BESIDE_MAX: i64 = 100;

pub async fn list(session: &Session, filter: &DisputeFilter) -> Result<ExitCode> {
    let now = OffsetDateTime::now_utc();
    if let Some(after) = &filter.after
        && read::case(&session.pool, after, now).await?.is_none()
    {
        bail!("--after: expected a case of an earlier list, got {after}: see `bursar dispute list`");
    }
    let disputes = read::disputes(&session.pool, filter, now).await?;
    let document = BTreeMap::from([("disputes", &disputes)]);
    let next = disputes.last().filter(|_| disputes.len() as i64 == filter.limit);
    let next = next.map(|last| format!("There may be more: --after {}", last.dispute));
    let table = table(&disputes);
    let is_narrow = width::terminal().is_some_and(|columns| listing::width(&table) > columns);
    if !session.json && is_narrow && !disputes.is_empty() {
        crate::output::say(&disputes.iter().map(block).collect::<Vec<_>>().join("\n"));
        next.into_iter().for_each(|line| crate::output::say(&Style::Dim.paint(&line)));
        return Ok(ExitCode::SUCCESS);
    }
    listing::print(session.json, &document, &table, "No disputes here.", next)
}

/// An account's cases.
pub async fn of_account(session: &Session, account: &AccountId) -> Result<Vec<DisputeLine>> {
    let filter = DisputeFilter { account: Some(account.clone()), ..beside_filter() };
    Ok(read::disputes(&session.pool, &filter, OffsetDateTime::now_utc()).await?)
}

/// A payment's cases, by any of its ids.
pub async fn of_payment(session: &Session, payment: &PaymentId) -> Result<Vec<DisputeLine>> {
    let filter = DisputeFilter { payment: Some(payment.clone()), ..beside_filter() };
    Ok(read::disputes(&session.pool, &filter, OffsetDateTime::now_utc()).await?)
}

fn beside_filter() -> DisputeFilter {
    DisputeFilter { limit: BESIDE_MAX, ..DisputeFilter::default() }
}

fn table(disputes: &[DisputeLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("dispute"),
        Column::Text("state"),
        Column::Text("account"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Text("evidence due"),
        Column::Text("opened"),
        Column::Text("restricts"),
        Column::Text("look at"),
    ]);
    for line in disputes {
        let cells = vec![
            line.dispute.to_string(),
            words::words(line.state.as_str()),
            or_none(line.account.as_deref()),
            or_none(line.amount.as_deref()),
            or_none(line.currency.as_deref()),
            or_none(words::deadline_short(line).as_deref()),
            or_none(line.opened_at.map(moment).as_deref()),
            some_or_none(&words::kinds(&line.restrictions)),
            some_or_none(&words::flags(line).join("; ")),
        ];
        table.styled_row(style(line), cells);
    }
    table
}

fn style(line: &DisputeLine) -> Style {
    match line.state.has_ended() {
        true => Style::Dim,
        false => words::style(line.state),
    }
}

fn some_or_none(text: &str) -> String {
    or_none(Some(text).filter(|text| !text.is_empty()))
}

/// How a case stands, on one line.
pub fn stands(line: &DisputeLine) -> String {
    let restricts = Some(words::kinds(&line.restrictions)).filter(|kinds| !kinds.is_empty());
    let restricts = restricts.map(|kinds| format!(", restricts {kinds}")).unwrap_or_default();
    format!("{}: {}{restricts}", line.dispute, words::state(line.state))
}

/// A case on a few short lines.
fn block(line: &DisputeLine) -> String {
    let amount = line.amount.as_ref().zip(line.currency.as_ref());
    let amount = amount.map(|(amount, currency)| format!("  {amount} {currency}")).unwrap_or_default();
    let name = Style::Bold.paint(line.dispute.as_str());
    let mut lines = vec![format!("{name}\n    {}{amount}", words::state(line.state))];
    let account = line.account.as_ref().map(|account| format!("account {}", on_a_line(account)));
    lines.extend(account);
    lines.extend(words::deadline_short(line));
    lines.extend(
        Some(words::kinds(&line.restrictions))
            .filter(|kinds| !kinds.is_empty())
            .map(|kinds| format!("restricts {kinds}")),
    );
    lines.extend(words::flags(line));
    lines.join("\n    ")
}

/// Cases beside an account, a payment or another case.
pub fn beside(disputes: &[DisputeLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("dispute"),
        Column::Text("state"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Text("payment"),
        Column::Text("look at"),
    ]);
    for line in disputes {
        let mut look_at = words::flags(line);
        look_at.extend(words::deadline_short(line));
        let cells = vec![
            line.dispute.to_string(),
            words::words(line.state.as_str()),
            or_none(line.amount.as_deref()),
            or_none(line.currency.as_deref()),
            or_none(line.payment.as_deref()),
            some_or_none(&look_at.join("; ")),
        ];
        table.styled_row(style(line), cells);
    }
    table
}
