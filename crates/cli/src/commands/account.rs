//! `account`: balances, lots and the journal of one account, and the list of all.

use super::account_acts::{self, Adjust, Link};
use super::account_forget::{self, Forget};
use super::{say, say_json};
use crate::session::Session;
use crate::table::{Column, Style, Table, moment, or_none};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use domain::calendar::in_utc;
use domain::event::Balances;
use domain::{AccountId, Credits, CustomerId};
use ledger::read::{
    self, AccountView, LotView, PaymentLine, Standing, Statement, StatementRange, TransactionView,
};
use std::collections::BTreeMap;
use std::process::ExitCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Subcommand)]
pub enum AccountCommand {
    /// An account's balances, standing, lots and payments
    Show {
        #[command(flatten)]
        whose: Whose,
        /// As it was at a moment, computed from the journal: 2026-11-20T10:00:00Z
        #[arg(long, value_name = "TIME", value_parser = moment_argument)]
        as_of: Option<OffsetDateTime>,
    },
    /// An account's journal: each transaction with the balances after it
    Statement {
        #[command(flatten)]
        whose: Whose,
        /// Nothing after this moment: 2026-11-20T10:00:00Z
        #[arg(long, value_name = "TIME", value_parser = moment_argument)]
        as_of: Option<OffsetDateTime>,
        /// The number of the first transaction shown (by default the last ones are)
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
        from: Option<i64>,
        /// How many transactions at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Accounts by their id, with their balances
    List {
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Begin after this account: the last one of the list before
        #[arg(long, value_name = "ACCOUNT")]
        after: Option<AccountId>,
    },
    /// Give credits, take them, or write debt off
    Adjust(Adjust),
    /// Say which account a customer or an e-mail address stands for, and deliver the payments that wait for it
    Link(Link),
    /// Erase what people wrote about an account, for good; ids, amounts, the journal and their proof stay
    #[command(after_help = account_forget::HELP)]
    Forget(Forget),
}

/// An account by its id, or by the e-mail address that is linked to it.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// The platform's own id of the account
    account: Option<AccountId>,
    /// An e-mail address that is linked to it
    #[arg(long, value_parser = address_argument)]
    email: Option<CustomerId>,
}

fn address_argument(text: &str) -> Result<CustomerId, String> {
    CustomerId::of_email(text).ok_or_else(|| format!("expected an e-mail address, got {text:?}"))
}

impl Whose {
    async fn account(&self, session: &Session) -> Result<AccountId> {
        let accounts = match (&self.account, &self.email) {
            (Some(account), _) => vec![account.clone()],
            (None, Some(email)) => read::accounts_of(&session.pool, email).await?,
            (None, None) => Vec::new(),
        };
        match &accounts[..] {
            [account] => Ok(account.clone()),
            [] => bail!(
                "expected an e-mail address that is linked to an account, got one that is not: see `bursar account link`"
            ),
            several => {
                let names: Vec<&str> = several.iter().map(AccountId::as_str).collect();
                bail!(
                    "expected an e-mail address that is linked to one account, got one of {}",
                    names.join(", ")
                )
            }
        }
    }
}

/// Reads a moment from the command line.
pub fn moment_argument(text: &str) -> Result<OffsetDateTime, String> {
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| format!("expected a time such as 2026-11-20T10:00:00Z, got {text:?}"))?;
    in_utc(at).map_err(|why| format!("{why}: {text:?}"))
}

pub async fn run(session: &Session, command: AccountCommand) -> Result<ExitCode> {
    match command {
        AccountCommand::Show { whose, as_of } => show(session, &whose.account(session).await?, as_of).await,
        AccountCommand::Statement { whose, as_of, from, limit } => {
            statement(session, &whose.account(session).await?, &StatementRange { as_of, from, limit }).await
        }
        AccountCommand::List { limit, after } => list(session, limit, after.as_ref()).await,
        AccountCommand::Adjust(arguments) => account_acts::adjust(session, arguments).await,
        AccountCommand::Link(arguments) => account_acts::link(session, arguments).await,
        AccountCommand::Forget(arguments) => account_forget::forget(session, arguments).await,
    }
}

pub async fn show(session: &Session, account: &AccountId, as_of: Option<OffsetDateTime>) -> Result<ExitCode> {
    let view = match as_of {
        Some(moment) => read::account_as_of(&session.pool, account, moment).await?,
        None => read::account(&session.pool, account).await?,
    };
    let view = view.unwrap_or_else(|| AccountView::unknown(account.clone()));
    if session.json {
        say_json(&view)?;
    } else {
        say(&account_text(&view));
    }
    Ok(status(view.known))
}

/// An account nobody has spoken of is most likely a mistyped one.
fn status(known: bool) -> ExitCode {
    if known { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn account_text(view: &AccountView) -> String {
    let as_of = view.as_of.map(|at| format!(" as of {}", moment(at))).unwrap_or_default();
    let mut parts = vec![format!("{}{as_of}", Style::Bold.paint(view.account.as_str()))];
    if !view.known {
        parts[0].push_str(": nobody has spoken of this account yet. See `bursar account list`.");
    }
    parts.push(headline(view));
    if let Some(standing) = &view.standing {
        parts.push(standing_text(standing));
    }
    parts.extend(section("Lots", lots(&view.lots), view.lots_total));
    if let Some(payments) = &view.payments {
        parts.extend(section("Payments", payments_table(payments), payments.len() as i64));
    }
    parts.join("\n")
}

fn headline(view: &AccountView) -> String {
    let mut table = Table::new(&[
        Column::Decimal("available"),
        Column::Decimal("held"),
        Column::Decimal("debt"),
        Column::Number("events"),
    ]);
    let style = if view.debt.is_positive() { Style::Bad } else { Style::Bold };
    let amounts = [view.available, view.held, view.debt].map(|credits| credits.to_string());
    table.styled_row(style, amounts.into_iter().chain([view.sequence.to_string()]).collect());
    format!("\n{table}")
}

fn standing_text(standing: &read::Standings) -> String {
    let say = |name: &str, standing: Standing| match standing {
        Standing::Allowed => format!("{name} {}", Style::Good.paint("allowed")),
        Standing::Restricted => format!("{name} {}", Style::Bad.paint("restricted")),
    };
    let kinds = [("access", standing.access), ("checkout", standing.checkout), ("balance", standing.balance)];
    let mut lines =
        vec![format!("\nStanding: {}", kinds.map(|(name, standing)| say(name, standing)).join(", "))];
    lines.extend(standing.restrictions.iter().map(|restriction| {
        let case = restriction.case.as_ref().map(|case| format!(", case {case}")).unwrap_or_default();
        let since = moment(restriction.since);
        format!("  {} restricted by {}{case} since {since}", restriction.kind, restriction.cause)
    }));
    lines.join("\n")
}

/// A titled table; nothing where it is empty.
pub fn section(title: &str, table: Table, total: i64) -> Option<String> {
    if table.is_empty() {
        return None;
    }
    let more = total - table.len() as i64;
    let rest = if more > 0 {
        format!("\n{}", Style::Dim.paint(&format!("... and {more} more")))
    } else {
        String::new()
    };
    Some(format!("\n{}\n{table}{rest}", Style::Bold.paint(title)))
}

/// A lot's name tells its payment and kind: no columns for them.
pub fn lots(lots: &[LotView]) -> Table {
    let mut table = Table::new(&[
        Column::Text("lot"),
        Column::Decimal("granted"),
        Column::Decimal("remaining"),
        Column::Decimal("held"),
        Column::Decimal("consumed"),
        Column::Decimal("reversed"),
        Column::Decimal("expired"),
        Column::Text("expires"),
    ]);
    for lot in lots {
        let amounts = [lot.granted, lot.remaining, lot.held, lot.consumed, lot.reversed, lot.expired];
        let mut cells = vec![lot.lot.clone()];
        cells.extend(amounts.map(|credits| credits.to_string()));
        cells.push(lot.expires_at.map_or_else(|| "never".to_owned(), moment));
        let spent = lot.remaining.is_zero() && lot.held.is_zero();
        table.styled_row(if spent { Style::Dim } else { Style::Plain }, cells);
    }
    table
}

fn payments_table(payments: &[PaymentLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("payment"),
        Column::Text("state"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Decimal("granted"),
        Column::Decimal("reversed amount"),
        Column::Decimal("held amount"),
    ]);
    for payment in payments {
        table.row(vec![
            payment.payment.clone(),
            payment.state.clone(),
            or_none(payment.amount.as_deref()),
            or_none(payment.currency.as_deref()),
            payment.granted.to_string(),
            payment.reversed_amount.clone(),
            payment.held_amount.clone(),
        ]);
    }
    table
}

pub async fn statement(session: &Session, account: &AccountId, range: &StatementRange) -> Result<ExitCode> {
    let statement = read::statement(&session.pool, account, range).await?;
    if session.json {
        say_json(&statement)?;
    } else {
        say(&statement_text(&statement));
    }
    Ok(status(statement.known))
}

fn statement_text(statement: &Statement) -> String {
    let name = Style::Bold.paint(statement.account.as_str());
    if statement.transactions.is_empty() {
        let why =
            if statement.known { "no transactions here" } else { "nobody has spoken of this account yet" };
        return format!("{name}: {why}; the account's last transaction is number {}.", statement.last);
    }
    let as_of = statement.as_of.map(|at| format!(" as of {}", moment(at))).unwrap_or_default();
    let opening = format!("Before these: {}", balances_text(&statement.opening));
    let last = statement.last;
    let table = journal(&statement.transactions);
    format!("{name}{as_of}, {} of {last} transactions\n{opening}\n\n{table}", statement.transactions.len())
}

fn balances_text(balances: &Balances) -> String {
    format!("available {}, held {}, debt {}", balances.available, balances.held, balances.debt)
}

/// One line for each transaction; the balances where a statement tells them.
pub fn journal(transactions: &[TransactionView]) -> Table {
    let with_balances = transactions.iter().any(|transaction| transaction.after.is_some());
    let mut columns =
        vec![Column::Number("number"), Column::Text("time"), Column::Text("kind"), Column::Text("moved")];
    if with_balances {
        columns.extend([Column::Decimal("available"), Column::Decimal("held"), Column::Decimal("debt")]);
    }
    columns.extend([Column::Text("cause"), Column::Text("payment")]);
    let mut table = Table::new(&columns);
    for transaction in transactions {
        let mut cells = vec![
            transaction.number.to_string(),
            moment(transaction.at),
            transaction.kind.clone(),
            moved(|book| transaction.change(book)),
        ];
        if let Some(after) = transaction.after {
            cells.extend([after.available, after.held, after.debt].map(|credits| credits.to_string()));
        }
        cells.extend([transaction.cause.clone(), or_none(transaction.payment.as_deref())]);
        table.row(cells);
    }
    table
}

/// What was moved, book by book: `available -12.5, consumed +12.5`. The sources of credits and of debt only mirror the
/// others.
pub fn moved(change: impl Fn(&str) -> Credits) -> String {
    let books = ["available", "held", "consumed", "reversed", "expired", "debt"];
    let changes = books.map(|book| (book, change(book)));
    let signed =
        |credits: Credits| if credits.is_positive() { format!("+{credits}") } else { credits.to_string() };
    let parts: Vec<String> = changes
        .into_iter()
        .filter(|(_, credits)| !credits.is_zero())
        .map(|(book, credits)| format!("{book} {}", signed(credits)))
        .collect();
    if parts.is_empty() { "between lots".to_owned() } else { parts.join(", ") }
}

pub async fn list(session: &Session, limit: i64, after: Option<&AccountId>) -> Result<ExitCode> {
    let accounts = read::accounts(&session.pool, limit, after).await?;
    if session.json {
        say_json(&BTreeMap::from([("accounts", &accounts)]))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[
        Column::Text("account"),
        Column::Decimal("available"),
        Column::Decimal("held"),
        Column::Decimal("debt"),
        Column::Number("transactions"),
        Column::Number("events"),
    ]);
    for line in &accounts {
        let mut cells = vec![line.account.clone()];
        cells.extend([line.available, line.held, line.debt].map(|credits| credits.to_string()));
        cells.extend([line.transactions.to_string(), line.sequence.to_string()]);
        table.styled_row(if line.debt.is_positive() { Style::Bad } else { Style::Plain }, cells);
    }
    say(&if table.is_empty() { "No accounts here.".to_owned() } else { table.to_string() });
    if let Some(last) = accounts.last().filter(|_| accounts.len() as i64 == limit) {
        say(&Style::Dim.paint(&format!("There may be more: --after {}", last.account)));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::read::EntryView;
    use time::macros::datetime;

    fn transaction(entries: &[(&str, i64)]) -> TransactionView {
        TransactionView {
            account: "acct_1".to_owned(),
            number: 1,
            at: datetime!(2026-11-20 10:00:00 UTC),
            kind: "usage".to_owned(),
            cause: "gateway/use_1".to_owned(),
            payment: None,
            entries: entries
                .iter()
                .map(|(book, amount)| EntryView {
                    book: (*book).to_owned(),
                    lot: None,
                    amount: Credits::whole(*amount),
                })
                .collect(),
            after: None,
        }
    }

    #[test]
    fn a_line_tells_what_moved_in_each_book() {
        let check = |entries: &[(&str, i64)], expect: &str| {
            let transaction = transaction(entries);
            assert_eq!(moved(|book| transaction.change(book)), expect);
        };
        check(&[("issued", -10), ("available", 10)], "available +10");
        let usage = [("available", -3), ("consumed", 3), ("debt", 2), ("overdrawn", -2)];
        check(&usage, "available -3, consumed +3, debt +2");
        check(
            &[("consumed", -3), ("reversed", 3), ("available", -3), ("consumed", 3)],
            "available -3, reversed +3",
        );
        check(&[("consumed", -3), ("consumed", 3)], "between lots");
    }

    #[test]
    fn a_moment_is_rfc_3339_or_refused_with_an_example() {
        assert!(moment_argument("2026-11-20T10:00:00Z").is_ok());
        assert!(moment_argument("yesterday").unwrap_err().contains("2026-11-20T10:00:00Z"));
    }
}
