//! An operator's act for each of many payments, through the front door like any other: as fast as is allowed, the canary
//! first, and what became of each.

use super::bulk::{Bulk, Pace};
use super::verify::ProgressLine;
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::Result;
use db::Doing;
use domain::{Cause, Envelope, Outcome, PaymentId};
use ledger::verify::Progress;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Acts under way at a time.
const AT_ONCE: usize = 100;

/// Between two looks at what has become of them.
const LOOK: Duration = Duration::from_millis(20);

/// So many of those that did not end well are named.
pub const NAMED_MAX: usize = 20;

/// What became of an act that nobody has settled.
pub const NOT_KNOWN: &str = "not known yet: is the fleet running?";

#[derive(Default)]
pub struct Tally {
    pub done: usize,
    /// With what became of it instead.
    pub others: Vec<(PaymentId, String)>,
    /// Why the rest was left alone.
    pub stopped: Option<String>,
}

/// The outcome of each payment's act, nothing where it is not known yet.
pub type Outcomes<'a> = [(&'a PaymentId, Option<Outcome>)];

/// The canary first; the rest only if all of it ended well. `act` is what is done to a payment, `judge` tells of each why it
/// did not end well, nothing where it did.
pub async fn carry_out(
    session: &Session,
    bulk: &Bulk,
    doing: &'static str,
    payments: &[PaymentId],
    act: impl Fn(&PaymentId) -> Envelope,
    judge: impl AsyncFn(&Outcomes<'_>) -> Result<Vec<Option<String>>>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    if payments.is_empty() {
        return Ok(tally);
    }
    let (mut pace, mut line) = (Pace::new(bulk.speed.rate), ProgressLine::new());
    let broker = session.broker("acts");
    let facts = session.fact_writer(&broker, CONFIRM_TIMEOUT)?;
    let (canary, rest) = payments.split_at(bulk.speed.canary.unwrap_or(0).min(payments.len()));
    let portion = pace.portion(AT_ONCE);
    for portion in canary.chunks(portion).chain(rest.chunks(portion)) {
        let is_past_canary = tally.done + tally.others.len() >= canary.len();
        if !tally.others.is_empty() && !canary.is_empty() && is_past_canary {
            tally.stopped = Some("not all of the canary ended well".to_owned());
            break;
        }
        pace.wait_for(portion.len()).await;
        let acts: Vec<Envelope> = portion.iter().map(&act).collect();
        let causes: Vec<Cause> = acts.iter().map(|act| act.cause.clone()).collect();
        facts.state(acts).await?;
        let outcomes = outcomes(session, &causes, bulk.speed.wait).await?;
        let outcomes: Vec<(&PaymentId, Option<Outcome>)> = portion.iter().zip(outcomes).collect();
        let became = judge(&outcomes).await?;
        let is_known = became.iter().any(|became| became.as_deref() != Some(NOT_KNOWN));
        for (payment, became) in portion.iter().zip(became) {
            match became {
                None => tally.done += 1,
                Some(why) => tally.others.push((payment.clone(), why)),
            }
        }
        if !is_known && tally.others.len() + tally.done < payments.len() {
            tally.stopped = Some("nothing is known of any of them yet; is the fleet running?".to_owned());
            break;
        }
        let checked = (tally.done + tally.others.len()) as i64;
        line.show(Progress { rule: doing, checked, of: payments.len() as i64 });
    }
    line.clear();
    broker.close().await;
    Ok(tally)
}

/// What became of each act, once all are known or patience is at its end.
async fn outcomes(session: &Session, causes: &[Cause], patience: Duration) -> Result<Vec<Option<Outcome>>> {
    let readers = session.readers()?;
    let deadline = Instant::now() + patience;
    loop {
        let mut connection = session.pool.acquire().await.doing("taking a connection")?;
        let states = facts::outcomes::states(&mut connection, &readers, causes).await?;
        drop(connection);
        let mut outcomes: HashMap<Cause, Outcome> = states
            .into_iter()
            .filter_map(|state| Some((state.outcome()?, state.cause)))
            .map(|(outcome, cause)| (cause, outcome))
            .collect();
        if outcomes.len() < causes.len() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        return Ok(causes.iter().map(|cause| outcomes.remove(cause)).collect());
    }
}
