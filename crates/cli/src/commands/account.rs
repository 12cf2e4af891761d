//! `account`: balances, lots and the journal of one account, and the list of all.

use super::account_acts::{self, Adjust, Link};
use super::account_forget::{self, Forget};
use super::account_restrict::{self, RESTORE_HELP, RESTRICT_HELP, Restrict};
use super::dispute;
use super::moment::said_moment;
use crate::output::journal::journal;
use crate::output::listing::{self, section, section_of};
use crate::output::lots::lots;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use disputes::read::{DisputeLine, RestrictionLine};
use domain::event::Balances;
use domain::fact::RestrictionAct;
use domain::{AccountId, CustomerId};
use ledger::read::{self, AccountStanding, AccountView, PaymentLine, Statement, StatementRange};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use time::OffsetDateTime;

#[derive(Subcommand)]
pub enum AccountCommand {
    /// An account's balances, standing, lots and payments
    Show {
        #[command(flatten)]
        whose: WhoseAccount,
        /// As it was at a moment, computed from the journal: 2026-11-20T10:00:00Z
        #[arg(long, value_name = "TIME", value_parser = said_moment)]
        as_of: Option<OffsetDateTime>,
    },
    /// An account's journal: each transaction with the balances after it
    Statement {
        #[command(flatten)]
        whose: WhoseAccount,
        /// Nothing after this moment: 2026-11-20T10:00:00Z
        #[arg(long, value_name = "TIME", value_parser = said_moment)]
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
    /// Restrict what an account may do, until an operator restores it
    #[command(after_help = RESTRICT_HELP)]
    Restrict(Restrict),
    /// Lift what restricts an account in one way, whatever the causes
    #[command(after_help = RESTORE_HELP)]
    Restore(Restrict),
    /// Erase what people wrote about an account, for good; ids, amounts, the journal and their proof stay
    #[command(after_help = account_forget::HELP)]
    Forget(Forget),
}

/// Of an account's restrictions the latest so many are shown.
const RESTRICTIONS_MAX: i64 = 50;

/// An account by its id, or by the e-mail address that is linked to it.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct WhoseAccount {
    /// The platform's own id of the account
    account: Option<AccountId>,
    /// An e-mail address that is linked to it
    #[arg(long, value_parser = address_argument)]
    email: Option<CustomerId>,
}

fn address_argument(text: &str) -> Result<CustomerId, String> {
    CustomerId::of_email(text).ok_or_else(|| format!("expected an e-mail address, got {text:?}"))
}

impl WhoseAccount {
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

pub async fn run(session: &Session, command: AccountCommand) -> Result<ExitCode> {
    match command {
        AccountCommand::Show { whose, as_of } => show(session, &whose.account(session).await?, as_of).await,
        AccountCommand::Statement { whose, as_of, from, limit } => {
            statement(session, &whose.account(session).await?, &StatementRange { as_of, from, limit }).await
        }
        AccountCommand::List { limit, after } => list(session, limit, after.as_ref()).await,
        AccountCommand::Adjust(arguments) => account_acts::adjust(session, arguments).await,
        AccountCommand::Link(arguments) => account_acts::link(session, arguments).await,
        AccountCommand::Restrict(arguments) => {
            account_restrict::run(session, arguments, RestrictionAct::Restrict).await
        }
        AccountCommand::Restore(arguments) => {
            account_restrict::run(session, arguments, RestrictionAct::Restore).await
        }
        AccountCommand::Forget(arguments) => account_forget::forget(session, arguments).await,
    }
}

pub async fn show(session: &Session, account: &AccountId, as_of: Option<OffsetDateTime>) -> Result<ExitCode> {
    let view = match as_of {
        Some(moment) => read::account_as_of(&session.pool, account, moment).await?,
        None => read::account(&session.pool, account).await?,
    };
    let view = view.unwrap_or_else(|| AccountView::unknown(account.clone()));
    let cases = match view.standing {
        Some(_) => Some(Cases::of(session, account).await?),
        None => None,
    };
    if session.json {
        say_json(&Document { view: &view, cases: cases.as_ref() })?;
    } else {
        say(&account_text(&view, cases.as_ref()));
    }
    Ok(status(view.known))
}

/// What was disputed of an account, and what restricts it or did. As with its standing, it is known only for now.
#[derive(Serialize)]
struct Cases {
    disputes: Vec<DisputeLine>,
    restriction_history: Vec<RestrictionLine>,
}

impl Cases {
    async fn of(session: &Session, account: &AccountId) -> Result<Self> {
        let restriction_history =
            disputes::read::restrictions(&session.pool, account, RESTRICTIONS_MAX).await?;
        Ok(Self { disputes: dispute::of_account(session, account).await?, restriction_history })
    }
}

/// `bursar account show --json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    view: &'a AccountView,
    #[serde(flatten)]
    cases: Option<&'a Cases>,
}

/// An account nobody has spoken of is most likely a mistyped one.
fn status(known: bool) -> ExitCode {
    if known { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn account_text(view: &AccountView, cases: Option<&Cases>) -> String {
    let as_of = view.as_of.map(|at| format!(" as of {}", moment(at))).unwrap_or_default();
    let mut parts = vec![format!("{}{as_of}", Style::Bold.paint(view.account.as_str()))];
    if !view.known {
        parts[0].push_str(": nobody has spoken of this account yet. See `bursar account list`.");
    }
    parts.push(headline(view));
    if let Some(standing) = &view.standing {
        parts.push(format!("\n{}", standing_text(standing)));
    }
    if let Some(cases) = cases {
        parts.extend(section("Restrictions", &restrictions_table(&cases.restriction_history)));
        parts.extend(section("Disputes", &dispute::beside(&cases.disputes)));
    }
    parts.extend(section_of("Lots", &lots(&view.lots), view.lots_total));
    if let Some(payments) = &view.payments {
        parts.extend(section("Payments", &payments_table(payments)));
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

/// What an account may do, and what restricts it.
pub fn standing_text(standing: &read::AccountStandings) -> String {
    let say = |name: &str, standing: AccountStanding| match standing {
        AccountStanding::Allowed => format!("{name} {}", Style::Good.paint("allowed")),
        AccountStanding::Restricted => format!("{name} {}", Style::Bad.paint("restricted")),
    };
    let kinds = [("access", standing.access), ("checkout", standing.checkout), ("balance", standing.balance)];
    let mut lines =
        vec![format!("Standing: {}", kinds.map(|(name, standing)| say(name, standing)).join(", "))];
    lines.extend(standing.restrictions.iter().map(|restriction| {
        let whose = restriction.case.as_ref().or(restriction.by.as_ref());
        let whose = whose.map(|whose| format!(" {whose}")).unwrap_or_default();
        let since = moment(restriction.since);
        format!("  {} restricted by {}{whose} since {since}", restriction.kind, restriction.cause)
    }));
    lines.join("\n")
}

/// Each restriction with who put it on, who lifted it, and why: also those that are over.
fn restrictions_table(restrictions: &[RestrictionLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("kind"),
        Column::Text("cause"),
        Column::Text("since"),
        Column::Text("ended"),
        Column::Text("why"),
    ]);
    for line in restrictions {
        let whose = line.case.iter().chain(&line.by).cloned().collect::<Vec<_>>().join(" ");
        let stage = line.stage.as_ref().map(|stage| format!(" ({stage})")).unwrap_or_default();
        let lifted_by = line.lifted_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let ended = line.ended_at.map(|at| format!("{}{lifted_by}", moment(at)));
        let why: Vec<&str> = line.reason.iter().chain(&line.lifted_reason).map(String::as_str).collect();
        let style = if line.stands() { Style::Bad } else { Style::Dim };
        table.styled_row(
            style,
            vec![
                line.kind.to_string(),
                format!("{} {whose}{stage}", line.cause),
                moment(line.since),
                or_none(ended.as_deref()),
                or_none(Some(why.join("; ")).filter(|why| !why.is_empty()).as_deref()),
            ],
        );
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

pub async fn list(session: &Session, limit: i64, after: Option<&AccountId>) -> Result<ExitCode> {
    let accounts = read::accounts(&session.pool, limit, after).await?;
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
    let next = accounts.last().filter(|_| accounts.len() as i64 == limit);
    let next = next.map(|last| format!("There may be more: --after {}", last.account));
    listing::print(
        session.json,
        &BTreeMap::from([("accounts", &accounts)]),
        &table,
        "No accounts here.",
        next,
    )
}
