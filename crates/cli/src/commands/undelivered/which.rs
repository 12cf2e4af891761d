//! Which undelivered payments a command is about, and the act that delivers one.

use crate::commands::bulk::acts::assignment;
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use db::Doing;
use domain::fact::AssignmentAct;
use domain::{Envelope, PaymentId};
use ledger::read::{self, UndeliveredPayment};
use std::ops::ControlFlow;

/// Which payments.
#[derive(Args, Clone)]
pub struct WhichUndelivered {
    /// Only those with an item of this price, as the processor names it
    #[arg(long)]
    price: Option<String>,
    /// Only this one; may be given several times
    #[arg(long = "payment", value_name = "PAYMENT")]
    payments: Vec<PaymentId>,
}

impl WhichUndelivered {
    fn means(&self, payment: &UndeliveredPayment) -> bool {
        let of_price = self.price.as_ref().is_none_or(|price| payment.prices.contains(price));
        of_price && (self.payments.is_empty() || self.payments.contains(&payment.payment))
    }
}

/// Payments read at a time.
const PAGE: i64 = 500;

/// Shows each payment to `look`, the oldest first, until it has seen enough.
pub async fn look_through(
    session: &Session,
    which: &WhichUndelivered,
    mut look: impl FnMut(UndeliveredPayment) -> ControlFlow<()>,
) -> Result<()> {
    let today = session.config.rules()?;
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let mut last: Option<UndeliveredPayment> = None;
    loop {
        let page = read::undelivered(&mut connection, last.as_ref(), PAGE, &today).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = Some(end.clone());
        for payment in page {
            if which.means(&payment) && look(payment).is_break() {
                return Ok(());
            }
        }
    }
}

/// Those that today's configuration would deliver, at most `max`, the oldest first.
pub async fn deliverable(session: &Session, which: &WhichUndelivered, max: usize) -> Result<Vec<PaymentId>> {
    let mut payments = Vec::new();
    look_through(session, which, |payment| {
        if payment.grants_today.is_some() {
            payments.push(payment.payment);
        }
        if payments.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .await?;
    Ok(payments)
}

/// An operator's act that delivers a payment as it says itself.
pub fn act(payment: &PaymentId, by: &str, reason: &str) -> Envelope {
    assignment(AssignmentAct::Deliver, payment, false, by, reason)
}
