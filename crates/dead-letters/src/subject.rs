//! What a dead letter is about: its fact, whose it is, and what is at stake, as far as it can be read.

use bus::{Incoming, queue};
use domain::envelope::is_traceparent;
use domain::{AccountId, Cause, Credits, Envelope, Money, PaymentId};
use facts::Sender;
use serde::Deserialize;
use time::OffsetDateTime;

/// What is longer is nobody's name, and Postgres could not index it.
const GUESS_MAX: usize = 255;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subject {
    /// `fact.payment`; of a delivery that was not translated, what it would be today.
    pub fact_type: Option<String>,
    pub cause: Option<Cause>,
    pub account: Option<String>,
    pub payment: Option<String>,
    pub money: Option<Money>,
    pub credits: Option<Credits>,
    pub traceparent: Option<String>,
}

impl Subject {
    /// `now` stands in where the message carries no time.
    pub fn of(queue: &str, message: &Incoming, settings: &processors::Settings, now: OffsetDateTime) -> Self {
        let envelope = match queue {
            queue::INGESTER => translated(message, settings, now),
            _ => stated(message, now),
        };
        let subject = match envelope {
            Some(envelope) => Self::of_envelope(&envelope),
            None => Self::guessed(&message.body),
        };
        subject.traced(message)
    }

    /// What can be read without the code of the workers: this message ended a process, and is not decoded again.
    pub fn looked_at(queue: &str, message: &Incoming) -> Self {
        let processor = message.routing_key.strip_prefix("raw.").filter(|_| queue == queue::INGESTER);
        let subject = match processor {
            Some(processor) => Self::delivered(processor, &message.body),
            None => Self::guessed(&message.body),
        };
        subject.traced(message)
    }

    /// Of a webhook only which one it is: its other words are its processor's.
    fn delivered(processor: &str, body: &[u8]) -> Self {
        let guess = Guess::of(body);
        let source = short(Some(processor.to_owned()));
        let cause = source.zip(short(guess.event_id.or(guess.id))).map(|(source, id)| Cause { source, id });
        Self { cause, ..Self::default() }
    }

    fn traced(mut self, message: &Incoming) -> Self {
        let trace = message.headers.get(bus::header::TRACEPARENT).filter(|text| is_traceparent(text));
        self.traceparent = self.traceparent.or_else(|| trace.cloned());
        self
    }

    fn of_envelope(envelope: &Envelope) -> Self {
        let fact = &envelope.fact;
        let (money, credits) = fact.at_stake();
        Self {
            fact_type: Some(fact.kind().as_str().to_owned()),
            cause: Some(envelope.cause.clone()),
            account: fact.account().map(AccountId::as_str).map(str::to_owned),
            payment: fact.payment_ids().first().map(|payment| PaymentId::as_str(payment).to_owned()),
            money,
            credits,
            traceparent: envelope.traceparent.clone(),
        }
    }

    /// What a message that is no fact still says of itself.
    fn guessed(body: &[u8]) -> Self {
        let guess = Guess::of(body);
        let cause = short(guess.source).zip(short(guess.id)).map(|(source, id)| Cause { source, id });
        Self { fact_type: short(guess.kind), cause, account: short(guess.data.account), ..Self::default() }
    }
}

fn short(text: Option<String>) -> Option<String> {
    text.filter(|text| text.len() <= GUESS_MAX)
}

/// What of a CloudEvent is looked at where it is none of ours.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Guess {
    #[serde(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    id: Option<String>,
    /// As one processor calls the id of what it delivers.
    event_id: Option<String>,
    data: GuessedData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GuessedData {
    account: Option<String>,
}

impl Guess {
    /// Of a batch the first one. serde_json reads no deeper than 128 levels, whatever it is given.
    fn of(body: &[u8]) -> Self {
        let first = || serde_json::from_slice::<Vec<Self>>(body).ok()?.into_iter().next();
        serde_json::from_slice(body).ok().or_else(first).unwrap_or_default()
    }
}

/// The first fact of a message.
fn stated(message: &Incoming, now: OffsetDateTime) -> Option<Envelope> {
    facts::read(message, Sender::Fleet, now).into_iter().find_map(Result::ok)
}

/// The first fact of a webhook's body, whatever its signature is worth.
fn translated(message: &Incoming, settings: &processors::Settings, now: OffsetDateTime) -> Option<Envelope> {
    let processor = processors::find(message.routing_key.strip_prefix("raw.")?)?;
    (processor.translate)(settings, &message.body, now).ok()?.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Fact;
    use domain::fact::Usage;

    #[test]
    fn what_a_sign_is_wrong_of_takes_nothing_off_what_is_at_stake() {
        let account = AccountId::new("acct_1").unwrap();
        let credits = -Credits::parse_positive("6", 0).unwrap();
        let usage = Usage { account, credits, reference: None, description: None };
        assert_eq!(Fact::Usage(usage).at_stake().1, Some(-credits));
    }
}
