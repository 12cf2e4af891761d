//! What a dead letter is about: its fact, whose it is, and what is at stake, as far as it can be read.

use bus::{Incoming, header, queue};
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
        if is_job(queue, message) {
            return Self::of_job(message).traced(message);
        }
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
        if is_job(queue, message) {
            return Self::of_job(message).traced(message);
        }
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

    /// What a job's message says of itself: its intent is its worker's.
    fn of_job(message: &Incoming) -> Self {
        let said = |name: &str| message.headers.get(name);
        let account = said(header::ABOUT_ACCOUNT).and_then(|text| AccountId::new(text.as_str()).ok());
        let payment = said(header::ABOUT_PAYMENT).and_then(|text| text.parse::<PaymentId>().ok());
        Self {
            account: account.map(|account| account.as_str().to_owned()),
            payment: payment.map(|payment| payment.as_str().to_owned()),
            money: said(header::ABOUT_MONEY).and_then(|text| serde_json::from_str(text).ok()),
            ..Self::default()
        }
    }

    fn traced(mut self, message: &Incoming) -> Self {
        let trace = message.headers.get(header::TRACEPARENT).filter(|text| is_traceparent(text));
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

/// Whether it is a job that was given up, or that came back to its owner: see `jobs`.
fn is_job(queue: &str, message: &Incoming) -> bool {
    queue.ends_with(".jobs") && message.routing_key.starts_with("job.")
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
    fn a_job_is_about_what_its_headers_say_as_far_as_they_are_right() {
        let job = |headers: &[(&str, &str)], routing_key: &str| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let body = br#"{"data":{"account":"acct_of_the_body"}}"#.to_vec();
            let (routing_key, headers) = (routing_key.to_owned(), headers.collect());
            Incoming { headers, routing_key, body, ..Incoming::default() }
        };
        let money = r#"{"amount":"10.00","currency":"USD"}"#;
        let said = [("about-account", "acct_1"), ("about-payment", "stripe:pi_1"), ("about-money", money)];
        let (settings, now) = (processors::Settings::default(), OffsetDateTime::UNIX_EPOCH);
        let message = job(&said, "job.refund");
        let subject = Subject::of("refunds.jobs", &message, &settings, now);
        assert_eq!(
            (subject.account.as_deref(), subject.payment.as_deref()),
            (Some("acct_1"), Some("stripe:pi_1"))
        );
        assert_eq!(subject.money.map(|money| money.to_string()).as_deref(), Some("10.00 USD"));
        assert_eq!(Subject::looked_at("refunds.jobs", &message), subject);
        let wrong = [("about-account", ""), ("about-payment", "pi 1"), ("about-money", "10 USD")];
        let subject = Subject::of("refunds.jobs", &job(&wrong, "job.refund"), &settings, now);
        assert_eq!(subject, Subject::default());
        let fact = Subject::of("ledger", &job(&said, "fact.usage"), &settings, now);
        assert_eq!(fact.account.as_deref(), Some("acct_of_the_body"), "only of a job");
    }

    #[test]
    fn what_a_sign_is_wrong_of_takes_nothing_off_what_is_at_stake() {
        let account = AccountId::new("acct_1").unwrap();
        let credits = -Credits::parse_positive("6", 0).unwrap();
        let usage = Usage { account, credits, reference: None, description: None, ip: None, device: None };
        assert_eq!(Fact::Usage(usage).at_stake().1, Some(-credits));
    }
}
