//! `payment`: what is known of a payment, and the list of those that gave no credits yet.

use super::dispute;
use super::payment_acts::{self, Deliver, Move, ValueMovement};
use super::payment_state::state_text;
use super::{restate, undelivered};
use crate::output::journal::journal;
use crate::output::listing::{self, section};
use crate::output::lots::lots;
use crate::output::table::{Column, Style, Table, moment, or_none};
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::{Result, bail};
use clap::Subcommand;
use disputes::read::DisputeLine;
use domain::fact::{HoldStatus, LineItem, MovedLine, MovementKind, MovementStatus, PaymentStatus};
use domain::ledger::PaymentState;
use domain::record::{PaymentRecord, Reading};
use domain::{AccountId, PaymentId};
use ledger::read::{self, FactLine, PaymentFilter, PaymentLine, PaymentView};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum PaymentCommand {
    /// Everything known of a payment: what its facts say, what it granted, what was posted
    Show {
        /// The payment's id, or any other id of the same purchase: paddle:txn_01h8, stripe:pi_3M
        payment: PaymentId,
    },
    /// Payments, newest first
    List {
        /// Only those in this state: shell, undelivered, delivered or merged
        #[arg(long, value_parser = state_argument)]
        state: Option<PaymentState>,
        /// Only those delivered to this account
        #[arg(long)]
        account: Option<AccountId>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Say whose an undelivered payment is, or what it grants, and deliver it; a delivered one stays where it is
    Deliver(Deliver),
    /// Take a payment with everything that became of it to another account
    Move(Move),
    /// Payments that gave no credits, all of a kind at once: by why and price, plan, deliver
    #[command(subcommand)]
    Undelivered(undelivered::UndeliveredCommand),
    /// Read payments that were settled by what was understood before as they are read today, and post the difference
    #[command(after_help = restate::HELP)]
    Restate(restate::RestateArguments),
    /// State what a movement in another currency amounts to in the payment's own
    Value(ValueMovement),
}

fn state_argument(text: &str) -> Result<PaymentState, String> {
    PaymentState::parse(text).ok_or_else(|| {
        let states = PaymentState::ALL.map(PaymentState::as_str).join(", ");
        format!("expected one of {states}, got {text:?}")
    })
}

pub async fn run(session: &Session, command: PaymentCommand) -> Result<ExitCode> {
    match command {
        PaymentCommand::Show { payment } => show(session, &payment).await,
        PaymentCommand::List { state, account, limit } => {
            list(session, &PaymentFilter { state, account, limit }).await
        }
        PaymentCommand::Deliver(arguments) => payment_acts::deliver(session, arguments).await,
        PaymentCommand::Move(arguments) => payment_acts::move_to(session, arguments).await,
        PaymentCommand::Undelivered(command) => undelivered::run(session, command).await,
        PaymentCommand::Restate(arguments) => restate::run(session, &arguments).await,
        PaymentCommand::Value(arguments) => payment_acts::value(session, arguments).await,
    }
}

pub async fn show(session: &Session, payment: &PaymentId) -> Result<ExitCode> {
    let view = read::payment(&session.pool, payment, &session.config.rules()?).await?;
    match (view, session.json) {
        (Some(view), true) => {
            let disputes = dispute::of_payment(session, payment).await?;
            say_json(&Document { view: &view, disputes: &disputes })?;
        }
        (Some(view), false) => {
            say(&payment_text(payment, &view, &dispute::of_payment(session, payment).await?));
        }
        (None, true) => {
            say_json(&json!({ "payment": payment, "known": false }))?;
            return Ok(ExitCode::from(1));
        }
        (None, false) => bail!(
            "expected the id of a payment that some fact has named, got {payment}: see `bursar payment list`, and `bursar doctor` if it should be there"
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// `bursar payment show --json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    view: &'a PaymentView,
    disputes: &'a [DisputeLine],
}

fn payment_text(asked: &PaymentId, view: &PaymentView, disputes: &[DisputeLine]) -> String {
    let mut parts = vec![heading(asked, view), summary(view)];
    parts.extend(section("What was said of it", &descriptions(&view.record)));
    parts.extend(section("Lines", &lines(&view.record)));
    parts.extend(section("Money back", &movements(&view.record)));
    parts.extend(section("Disputes", &dispute::beside(disputes)));
    parts.extend(section("Holds", &holds(&view.record)));
    parts.extend(section("Operators' words", &words(&view.record)));
    parts.extend(section("Lots", &lots(&view.lots)));
    parts.extend(section("Facts", &facts(&view.facts)));
    parts.extend(section("Journal", &journal(&view.transactions)));
    parts.join("\n")
}

fn heading(asked: &PaymentId, view: &PaymentView) -> String {
    let name = Style::Bold.paint(&view.line.payment);
    if asked.as_str() == view.line.payment { name } else { format!("{name} (asked for as {asked})") }
}

fn summary(view: &PaymentView) -> String {
    let line = &view.line;
    let mut lines = vec![("state", state_text(view))];
    let amount = line.amount.as_deref().zip(line.currency.as_deref());
    lines.push((
        "paid",
        amount
            .map_or_else(|| "not yet known".to_owned(), |(amount, currency)| format!("{amount} {currency}")),
    ));
    lines.push(("granted", format!("{} credits", line.granted)));
    lines.push(("money back", format!("{} reversed, {} held", line.reversed_amount, line.held_amount)));
    let optional = [("account", &line.account), ("customer", &view.customer), ("catalog", &view.catalog)];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    if !view.aliases.is_empty() {
        lines.push(("also known as", view.aliases.join(", ")));
    }
    lines.push(("first heard of", moment(line.created_at)));
    listing::pairs(&lines, 16)
}

fn descriptions(record: &PaymentRecord) -> Table {
    let mut table = Table::new(&[
        Column::Text("object"),
        Column::Text("status"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Text("items"),
        Column::Text("account"),
        Column::Text("time"),
    ]);
    for (object, stated) in &record.descriptions {
        let what = &stated.what;
        let items: Vec<String> = what.items.iter().map(item).collect();
        let status = match what.status {
            PaymentStatus::Pending => "pending",
            PaymentStatus::Failed => "failed",
            PaymentStatus::Paid => "paid",
        };
        table.row(vec![
            object.clone(),
            status.to_owned(),
            what.amount.display_amount(),
            what.amount.currency().code().to_owned(),
            or_none(Some(items.join(", ").as_str()).filter(|items| !items.is_empty())),
            or_none(what.account.as_ref().map(|link| link.account.as_str())),
            moment(stated.at),
        ]);
    }
    table
}

/// `2 x pri_1 (0.5 of each), line txnitm_1 for 10.00`: what nobody said is left out.
fn item(item: &LineItem) -> String {
    let quantity = if item.quantity_assumed { "some".to_owned() } else { item.quantity.to_string() };
    let share = item.share.map(|share| format!(" ({share} of each)")).unwrap_or_default();
    let line = item.line.as_ref().map(|line| format!(", line {line}")).unwrap_or_default();
    let amount = item.amount.map(|amount| format!(" for {}", amount.display_amount())).unwrap_or_default();
    format!("{quantity} x {}{share}{line}{amount}", item.price)
}

/// What a payment's lines are, and what of each is gone.
fn lines(record: &PaymentRecord) -> Table {
    let mut table = Table::new(&[Column::Text("line"), Column::Decimal("paid"), Column::Decimal("reversed")]);
    let Some(terms) = record.terms(Reading::TODAY) else { return table };
    let places = domain::money::exponent(terms.total.currency()) as usize;
    for line in record.gone(&terms, Reading::TODAY).lines {
        let money = |amount: Decimal| format!("{amount:.*}", places.max(amount.scale() as usize));
        let name = line.line.clone().unwrap_or_else(|| "(no line)".to_owned());
        table.row(vec![name, money(line.paid), money(line.reversed())]);
    }
    table
}

fn movements(record: &PaymentRecord) -> Table {
    let mut table = Table::new(&[
        Column::Text("movement"),
        Column::Text("kind"),
        Column::Text("status"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Text("of lines"),
        Column::Text("time"),
    ]);
    for (movement, stated) in &record.movements {
        let kind = match stated.what.kind {
            MovementKind::Refund => "refund",
            MovementKind::Chargeback => "chargeback",
            MovementKind::Back => "back",
        };
        let status = match stated.what.status {
            MovementStatus::Pending => "pending",
            MovementStatus::Final => "final",
            MovementStatus::Void => "void",
        };
        let part = |part: &MovedLine| format!("{} {}", part.line, part.amount.display_amount());
        let parts: Vec<String> = stated.what.lines.iter().map(part).collect();
        table.row(vec![
            movement.clone(),
            kind.to_owned(),
            status.to_owned(),
            stated.what.amount.display_amount(),
            stated.what.amount.currency().code().to_owned(),
            or_none(Some(parts.join(", ").as_str()).filter(|parts| !parts.is_empty())),
            moment(stated.at),
        ]);
    }
    table
}

fn holds(record: &PaymentRecord) -> Table {
    let mut table = Table::new(&[
        Column::Text("hold"),
        Column::Text("status"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Text("time"),
    ]);
    for (hold, stated) in &record.holds {
        let status = match stated.what.status {
            HoldStatus::Placed => "placed",
            HoldStatus::Lifted => "lifted",
        };
        table.row(vec![
            hold.clone(),
            status.to_owned(),
            stated.what.amount.display_amount(),
            stated.what.amount.currency().code().to_owned(),
            moment(stated.at),
        ]);
    }
    table
}

/// What operators said of it; who and why stands in their facts.
fn words(record: &PaymentRecord) -> Table {
    let mut table = Table::new(&[Column::Text("what"), Column::Text("time"), Column::Text("act")]);
    for (act, stated) in &record.assignments {
        let account = stated.what.account.as_ref().map(|account| format!("belongs to {account}"));
        let credits = stated.what.credits.map(|credits| format!("grants {credits} credits"));
        let said: Vec<String> = account.into_iter().chain(credits).collect();
        let said = if said.is_empty() { "is to be delivered".to_owned() } else { said.join(", ") };
        table.row(vec![said, moment(stated.at), act.clone()]);
    }
    for (movement, stated) in &record.valuations {
        let said = format!("{movement} is {}", stated.what.amount);
        table.row(vec![said, moment(stated.at), stated.event.clone()]);
    }
    table
}

fn facts(facts: &[FactLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("fact"),
        Column::Text("kind"),
        Column::Text("outcome"),
        Column::Text("settled"),
    ]);
    for fact in facts {
        let style = if fact.outcome == "contradicts" { Style::Bad } else { Style::Plain };
        let cells = vec![fact.fact.clone(), fact.kind.clone(), fact.outcome.clone(), moment(fact.settled_at)];
        table.styled_row(style, cells);
    }
    table
}

pub async fn list(session: &Session, filter: &PaymentFilter) -> Result<ExitCode> {
    let payments = read::payments(&session.pool, filter).await?;
    let document = BTreeMap::from([("payments", &payments)]);
    let below = listing::may_go_on(payments.len(), filter.limit);
    listing::print(session.json, &document, &list_table(&payments), "No payments here.", below)
}

fn list_table(payments: &[PaymentLine]) -> Table {
    let mut table = Table::new(&[
        Column::Text("payment"),
        Column::Text("state"),
        Column::Text("account"),
        Column::Decimal("amount"),
        Column::Text("currency"),
        Column::Decimal("granted"),
        Column::Decimal("reversed amount"),
        Column::Decimal("held amount"),
        Column::Text("first heard of"),
    ]);
    for payment in payments {
        let undelivered = payment.state == PaymentState::Undelivered.as_str();
        let cells = vec![
            payment.payment.clone(),
            payment.state.clone(),
            or_none(payment.account.as_deref()),
            or_none(payment.amount.as_deref()),
            or_none(payment.currency.as_deref()),
            payment.granted.to_string(),
            payment.reversed_amount.clone(),
            payment.held_amount.clone(),
            moment(payment.created_at),
        ];
        table.styled_row(if undelivered { Style::Bad } else { Style::Plain }, cells);
    }
    table
}
