//! `ledger roll-forward`: a month from its opening to its closing.

use crate::output::csv::{self, Rows};
use crate::output::say;
use crate::output::table::{Column, Style, Table};
use crate::session::Session;
use crate::visible;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use domain::AccountId;
use ledger::read::{self, Month, RollForwardLine};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

#[derive(Args)]
pub struct RollForwardArguments {
    /// Which month, in UTC: 2026-11
    #[arg(long)]
    month: Month,
    /// Only this account (by default all together; as CSV and JSON each by itself too)
    #[arg(long)]
    account: Option<AccountId>,
    #[arg(long, value_enum, default_value_t = MonthFormat::Table)]
    format: MonthFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MonthFormat {
    Table,
    Csv,
}

pub const HELP: &str = "\
opening + granted - consumed - reversed + restored - expired + adjusted = closing, exactly; exit status 1 names the account where it is not so.

Credits: opening and closing are available + held - debt. Corrections of what a payment grants count as granted, what is written off, given, taken or moved by an operator as adjusted. Usage that a reversal moves to other lots or into debt was consumed before and is not consumed again.

Money: opening and closing are deferred revenue, the value of available and held credits at what their payment paid per credit granted, bonus included. Given credits and debt have no value. Consumed is revenue earned: usage in debt is earned when credits cover it. Prices are what is known today. Each amount is rounded once, half to even, so a line may seem to miss by its last place.";

const COLUMNS: [&str; 8] =
    ["opening", "granted", "consumed", "reversed", "restored", "expired", "adjusted", "closing"];

pub async fn show(session: &Session, arguments: &RollForwardArguments) -> Result<ExitCode> {
    if let Some(account) = &arguments.account
        && read::account(&session.pool, account).await?.is_none()
    {
        bail!("expected an account that some fact has named, got {account}: see `bursar account list`");
    }
    let mut report = MonthReport { whole: arguments.account.is_none(), ..MonthReport::default() };
    match (session.json, arguments.format) {
        (true, _) => json(session, arguments, &mut report).await?,
        (false, MonthFormat::Csv) => csv(session, arguments, &mut report).await?,
        (false, MonthFormat::Table) => table(session, arguments, &mut report).await?,
    }
    if report.broken.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "expected opening and movements to come to the closing, and the journal to the balances; it is not so for {}: see `bursar ledger verify`",
        report.broken.join(", ")
    )
}

/// How many of those that do not add up are named.
const BROKEN_MAX: usize = 20;

/// What of the lines is kept while they are written: not more than there are units and culprits.
#[derive(Default)]
struct MonthReport {
    /// All accounts are asked for.
    whole: bool,
    accounts: u64,
    last: Option<String>,
    totals: Vec<RollForwardLine>,
    broken: Vec<String>,
}

impl MonthReport {
    /// Takes a line in. Tells whether it is one account's own.
    fn note(&mut self, line: &RollForwardLine) -> bool {
        if !line.adds_up && self.broken.len() < BROKEN_MAX {
            let whose = line.account.as_deref().unwrap_or("all accounts together");
            self.broken.push(format!("{whose} ({})", line.unit));
        }
        if line.account.is_some() && line.account != self.last {
            self.accounts += 1;
            self.last.clone_from(&line.account);
        }
        if line.account.is_none() == self.whole {
            self.totals.push(line.clone());
        }
        line.account.is_some()
    }
}

async fn table(session: &Session, arguments: &RollForwardArguments, report: &mut MonthReport) -> Result<()> {
    let month = arguments.month;
    let mut keep = |line| {
        report.note(&line);
    };
    read::roll_forward(&session.pool, month, arguments.account.as_ref(), &mut keep).await?;
    let whose = match &arguments.account {
        Some(account) => account.to_string(),
        None => format!("{} accounts", report.accounts),
    };
    let heading = Style::Bold.paint(&format!("{month}, {whose}"));
    if report.totals.is_empty() {
        say(&format!("{heading}: nothing at its beginning, nothing moved."));
        return Ok(());
    }
    let columns: Vec<Column> =
        std::iter::once(Column::Text("unit")).chain(COLUMNS.map(Column::Decimal)).collect();
    let mut table = Table::new(&columns);
    for line in &report.totals {
        let cells = std::iter::once(line.unit.as_str()).chain(line.amounts()).map(str::to_owned).collect();
        table.styled_row(if line.adds_up { Style::Plain } else { Style::Bad }, cells);
    }
    say(&format!("{heading}\n\n{table}"));
    Ok(())
}

/// Stdout, line after line. A reader that has gone away is a normal end.
struct Out(BufWriter<std::io::Stdout>);

impl Out {
    fn new() -> Self {
        Self(BufWriter::new(std::io::stdout()))
    }

    fn line(&mut self, text: &str) {
        if writeln!(self.0, "{text}").is_err() {
            std::process::exit(0);
        }
    }

    fn end(mut self) {
        if self.0.flush().is_err() {
            std::process::exit(0);
        }
    }
}

/// One line for each account and unit; without an account, those of all together.
async fn csv(session: &Session, arguments: &RollForwardArguments, report: &mut MonthReport) -> Result<()> {
    let header = ["month", "account", "unit"].into_iter().chain(COLUMNS);
    let mut rows = Rows::begin(std::io::stdout(), header).unwrap_or_else(gone_away);
    let (month, name) = (arguments.month, arguments.month.to_string());
    let mut write = |line: RollForwardLine| {
        let own = report.note(&line);
        if own || report.whole {
            let account = csv::text(line.account.as_deref().unwrap_or(""));
            let fields = [name.as_str(), &account, &line.unit].into_iter().chain(line.amounts());
            rows.row(fields).unwrap_or_else(gone_away);
        }
    };
    read::roll_forward(&session.pool, month, arguments.account.as_ref(), &mut write).await?;
    rows.end().unwrap_or_else(gone_away);
    Ok(())
}

/// A reader of stdout that has gone away is a normal end.
fn gone_away<T>(error: ::csv::Error) -> T {
    assert!(error.is_io_error(), "a row has as many fields as the header: {error}");
    std::process::exit(0)
}

/// One document, written as it is read: `lines` of the accounts, then `totals`.
async fn json(session: &Session, arguments: &RollForwardArguments, report: &mut MonthReport) -> Result<()> {
    let mut out = Out::new();
    let month = arguments.month;
    out.line(&format!("{{ \"month\": \"{month}\",\n  \"lines\": ["));
    let mut first = true;
    let mut write = |line: RollForwardLine| {
        if report.note(&line) {
            let text = visible::json(&serde_json::to_string(&line).unwrap_or_default());
            out.line(&format!("{}{text}", if std::mem::take(&mut first) { "    " } else { "  , " }));
        }
    };
    read::roll_forward(&session.pool, month, arguments.account.as_ref(), &mut write).await?;
    let of = |name: &str, value: serde_json::Result<String>| -> Result<String> {
        Ok(format!("  \"{name}\": {}", value.context("writing JSON")?))
    };
    let ok = report.broken.is_empty();
    let rest = [
        of("totals", serde_json::to_string(&report.totals))?,
        of("accounts", serde_json::to_string(&report.accounts))?,
        of("broken", serde_json::to_string(&report.broken))?,
        of("ok", serde_json::to_string(&ok))?,
    ];
    out.line(&format!("  ],\n{} }}", rest.join(",\n")));
    out.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(account: Option<&str>, unit: &str, adds_up: bool) -> RollForwardLine {
        let zero = || "0".to_owned();
        RollForwardLine {
            account: account.map(str::to_owned),
            unit: unit.to_owned(),
            opening: zero(),
            granted: zero(),
            consumed: zero(),
            reversed: zero(),
            restored: zero(),
            expired: zero(),
            adjusted: zero(),
            closing: zero(),
            adds_up,
        }
    }

    #[test]
    fn whoever_does_not_add_up_is_named_and_accounts_are_counted_once() {
        let mut report = MonthReport { whole: true, ..MonthReport::default() };
        for (account, unit, adds_up) in [
            (Some("a"), "credits", true),
            (Some("a"), "USD", false),
            (Some("b"), "credits", true),
            (None, "USD", false),
        ] {
            report.note(&line(account, unit, adds_up));
        }
        assert_eq!((report.accounts, report.totals.len()), (2, 1));
        assert_eq!(report.broken, ["a (USD)", "all accounts together (USD)"]);
    }
}
