//! An operator's act for each of many payments, through the front door like any other, and what became of each.

use super::portions::{Portion, in_portions};
use super::{Agreement, Bulk, Consent};
use crate::output::table::Style;
use crate::output::{say, say_json};
use crate::session::{CONFIRM_TIMEOUT, Session};
use anyhow::Result;
use db::Doing;
use domain::fact::{Assignment, AssignmentAct};
use domain::{Cause, Envelope, Fact, PaymentId};
use facts::outcomes::FactEnd;
use ledger::read::OPERATOR;
use serde_json::json;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

/// Between two looks at what has become of them.
const LOOK: Duration = Duration::from_millis(20);

/// So many of those that did not end well are named.
const NAMED_MAX: usize = 20;

/// What became of an act that nobody has settled.
pub const NOT_KNOWN: &str = "not known yet: is the fleet running?";

/// What became of each payment's act, nothing where it is not known yet.
pub type Ends<'a> = [(&'a PaymentId, Option<FactEnd>)];

/// What is done to payments, as it is said.
#[derive(Clone, Copy)]
pub struct Deed {
    /// What has become of a payment that ended well: `delivered`.
    pub done: &'static str,
    /// What is counted on the terminal.
    pub step: &'static str,
}

impl Deed {
    /// On how many of those found to act: nothing where somebody did not agree, who is then told why nothing was done.
    pub fn agreed(
        self,
        session: &Session,
        agreement: &Agreement,
        found: usize,
        question: impl Fn(usize) -> String,
    ) -> Result<Option<usize>> {
        let now = agreement.of(found);
        if found == 0 && !agreement.is_expecting() {
            return Ok(Some(now));
        }
        let Consent::Refused(why) = agreement.consent(found, &question(now)) else { return Ok(Some(now)) };
        let done = self.done;
        match session.json {
            true => say_json(&json!({ "found": found, done: 0, "error": why }))?,
            false => say(&format!("Nothing was {done}: {why}. Found {found}.")),
        }
        Ok(None)
    }

    /// `act` is what is done to a payment, `judge` tells of each why it did not end well, nothing where it did.
    pub async fn carry_out(
        self,
        session: &Session,
        bulk: &Bulk,
        payments: &[PaymentId],
        act: impl Fn(&PaymentId) -> Envelope,
        judge: impl AsyncFn(&Ends<'_>) -> Result<Vec<Option<String>>>,
    ) -> Result<ActTally> {
        let mut tally = ActTally::default();
        if payments.is_empty() {
            return Ok(tally);
        }
        let broker = session.broker("acts");
        let facts = session.fact_writer(&broker, CONFIRM_TIMEOUT)?;
        let canary_failed = in_portions(payments, &bulk.speed, self.step, async |portion: &[PaymentId]| {
            let acts: Vec<Envelope> = portion.iter().map(&act).collect();
            let causes: Vec<Cause> = acts.iter().map(|act| act.cause.clone()).collect();
            facts.state(acts).await?;
            let ends = ends(session, &causes, bulk.speed.wait).await?;
            let ends: Vec<(&PaymentId, Option<FactEnd>)> = portion.iter().zip(ends).collect();
            let became = judge(&ends).await?;
            Ok(tally.note(portion, became, payments.len()))
        });
        if canary_failed.await?.is_some() {
            tally.stopped = Some("not all of the canary ended well".to_owned());
        }
        broker.close().await;
        Ok(tally)
    }
}

/// What became of the payments that were acted on.
#[derive(Default)]
pub struct ActTally {
    done: usize,
    /// With what became of each instead.
    others: Vec<(PaymentId, String)>,
    /// Why the rest was left alone.
    stopped: Option<String>,
}

impl ActTally {
    /// Takes in a portion, of so many payments in all.
    fn note(&mut self, portion: &[PaymentId], became: Vec<Option<String>>, of: usize) -> Portion {
        let is_known = became.iter().any(|became| became.as_deref() != Some(NOT_KNOWN));
        let is_well = became.iter().all(Option::is_none);
        for (payment, became) in portion.iter().zip(became) {
            match became {
                None => self.done += 1,
                Some(why) => self.others.push((payment.clone(), why)),
            }
        }
        if !is_known && self.others.len() + self.done < of {
            self.stopped = Some("nothing is known of any of them yet; is the fleet running?".to_owned());
            return Portion::Stops;
        }
        if is_well { Portion::Well } else { Portion::Badly }
    }

    /// Says what became of them, of so many found. Exit status 1 unless all ended well.
    pub fn show(&self, session: &Session, deed: Deed, found: usize) -> Result<ExitCode> {
        match session.json {
            true => self.say_json(deed.done, found)?,
            false => self.say_text(deed.done, found),
        }
        Ok(if self.others.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn say_json(&self, done: &str, found: usize) -> Result<()> {
        let named = self.others.iter().take(NAMED_MAX);
        let named: Vec<_> =
            named.map(|(payment, became)| json!({ "payment": payment, "became": became })).collect();
        say_json(&json!({ "found": found, done: self.done, "others": self.others.len(),
                          "others_first": named, "stopped": self.stopped }))
    }

    fn say_text(&self, done: &str, found: usize) {
        let style = if self.others.is_empty() { Style::Good } else { Style::Bad };
        say(&style.paint(&format!("{} {done} of {found} found.", self.done)));
        for (payment, became) in self.others.iter().take(NAMED_MAX) {
            say(&format!("  {payment}: {became}; see bursar payment show {payment}"));
        }
        if let Some(why) = &self.stopped {
            say(&format!("Stopped: {why}; the rest was left alone."));
        }
    }
}

/// What an operator says of a payment, by an act of its own.
pub fn assignment(
    what: AssignmentAct,
    payment: &PaymentId,
    by_todays_catalog: bool,
    by: &str,
    reason: &str,
) -> Envelope {
    let now = OffsetDateTime::now_utc();
    let at = now.replace_microsecond(now.microsecond()).unwrap_or(now);
    let id = format!("{}_{}", name(what), Uuid::now_v7().simple());
    let fact = Fact::Assignment(Assignment {
        payment: payment.clone(),
        act: what,
        account: None,
        credits: None,
        by_todays_catalog,
        reason: reason.to_owned(),
        by: by.to_owned(),
        occurred_at: at,
    });
    let cause = Cause { source: format!("{OPERATOR}{by}"), id };
    Envelope { cause, time: at, received_at: Some(now), traceparent: None, raw: None, fact }
}

fn name(what: AssignmentAct) -> &'static str {
    match what {
        AssignmentAct::Deliver => "deliver",
        AssignmentAct::Move => "move",
        AssignmentAct::Restate => "restate",
    }
}

/// What became of each act, once all are known or patience is at its end.
async fn ends(session: &Session, causes: &[Cause], patience: Duration) -> Result<Vec<Option<FactEnd>>> {
    let readers = session.readers()?;
    let deadline = Instant::now() + patience;
    loop {
        let mut connection = session.pool.acquire().await.doing("taking a connection")?;
        let states = facts::outcomes::states(&mut connection, &readers, causes).await?;
        drop(connection);
        let known = states.into_iter().filter_map(|state| Some((state.end()?, state.cause)));
        let mut ends: HashMap<Cause, FactEnd> = known.map(|(end, cause)| (cause, end)).collect();
        if ends.len() < causes.len() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        return Ok(causes.iter().map(|cause| ends.remove(cause)).collect());
    }
}
