//! `payment deliver`, `payment move` and `payment value`: an operator's word on a payment.

use super::act::{About, Act, Signed, credits, reason};
use super::payment_state::state_text;
use crate::session::Session;
use anyhow::{Context, Result, bail};
use clap::Args;
use domain::fact::{Assignment, AssignmentAct, Valuation};
use domain::ledger::PaymentState;
use domain::{AccountId, Credits, Fact, Money, PaymentId};
use ledger::read::{self, PaymentView};
use serde_json::json;
use std::process::ExitCode;

#[derive(Args)]
pub struct Deliver {
    /// The payment's id, or any other id of the same purchase: paddle:txn_01h8, stripe:pi_3M
    payment: PaymentId,
    /// Whose it is (by default what the payment itself says)
    #[arg(long)]
    account: Option<AccountId>,
    /// What it grants in all (by default what the catalog or a rate says)
    #[arg(long, value_parser = credits)]
    credits: Option<Credits>,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Args)]
pub struct Move {
    /// The payment's id, or any other id of the same purchase: paddle:txn_01h8, stripe:pi_3M
    payment: PaymentId,
    /// The account that it goes to, with what of it is reversed, held and expired; usage stays where it happened
    #[arg(long, value_name = "ACCOUNT")]
    to: AccountId,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

#[derive(Args)]
pub struct ValueMovement {
    /// The payment's id, or any other id of the same purchase: paddle:txn_01h8, stripe:pi_3M
    payment: PaymentId,
    /// The processor's id of the movement: adj_..., re_..., dp_...
    movement: String,
    /// What it is in the payment's own currency: 9.70
    amount: String,
    /// The payment's currency: USD
    currency: String,
    /// Why; it stays in the journal's proof
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    signed: Signed,
}

pub async fn deliver(session: &Session, arguments: Deliver) -> Result<ExitCode> {
    let Deliver { payment, account, credits, reason, signed } = arguments;
    known(session, &payment).await?;
    let act = signed.begin(session, "deliver").await?;
    let assignment = Assignment {
        payment: payment.clone(),
        act: AssignmentAct::Deliver,
        account,
        credits,
        by_todays_catalog: false,
        reason,
        by: act.by.clone(),
        occurred_at: act.at,
    };
    assign(session, act, assignment).await
}

pub async fn move_to(session: &Session, arguments: Move) -> Result<ExitCode> {
    let Move { payment, to, reason, signed } = arguments;
    known(session, &payment).await?;
    let act = signed.begin(session, "move").await?;
    let assignment = Assignment {
        payment,
        act: AssignmentAct::Move,
        account: Some(to),
        credits: None,
        by_todays_catalog: false,
        reason,
        by: act.by.clone(),
        occurred_at: act.at,
    };
    assign(session, act, assignment).await
}

async fn assign(session: &Session, act: Act, assignment: Assignment) -> Result<ExitCode> {
    let payment = assignment.payment.clone();
    let done = act.carry_out(session, Fact::Assignment(assignment)).await?;
    let after = known(session, &payment).await?;
    let failed = if done.contradicts() && done.moved_nothing() {
        let holder = after.line.account.as_deref().unwrap_or("another account");
        Some(format!(
            "{payment} is delivered to {holder}, and what was delivered changes hands by `bursar payment move` alone"
        ))
    } else if after.line.state == PaymentState::Undelivered.as_str() {
        Some(format!("{payment} is still {}", state_text(&after)))
    } else {
        None
    };
    let holder = after.line.account.as_deref().map(AccountId::new).transpose()?;
    done.show(session, About { account: holder.as_ref(), payment: Some(&after), failed, ..About::default() })
        .await
}

pub async fn value(session: &Session, arguments: ValueMovement) -> Result<ExitCode> {
    let ValueMovement { payment, movement, amount, currency, reason, signed } = arguments;
    let before = known(session, &payment).await?;
    if !before.record.movements.contains_key(&movement) {
        let there: Vec<&str> = before.record.movements.keys().map(String::as_str).collect();
        bail!("expected a movement of {payment} ({}), got {movement:?}", there.join(", "));
    }
    let amount: Money = serde_json::from_value(json!({ "amount": amount, "currency": currency }))
        .context("expected an amount and its currency such as 9.70 USD")?;
    let own = before.line.currency.as_deref();
    if own.is_some_and(|own| own != amount.currency().code()) {
        bail!("expected the payment's own currency, {}, got {amount}", own.unwrap_or_default());
    }
    let act = signed.begin(session, "value").await?;
    let fact = Fact::Valuation(Valuation {
        payment: payment.clone(),
        movement,
        amount,
        reason,
        by: act.by.clone(),
        occurred_at: act.at,
    });
    let done = act.carry_out(session, fact).await?;
    let after = known(session, &payment).await?;
    let holder = after.line.account.as_deref().map(AccountId::new).transpose()?;
    done.show(session, About { account: holder.as_ref(), payment: Some(&after), ..About::default() }).await
}

/// A payment that some fact has named: a typing error must not become a payment that everybody waits for.
async fn known(session: &Session, payment: &PaymentId) -> Result<PaymentView> {
    read::payment(&session.pool, payment, &session.config.rules()?).await?.with_context(|| {
        format!(
            "expected the id of a payment that some fact has named, got {payment}: see `bursar payment list`"
        )
    })
}
