//! The queue of raw deliveries: webhooks that a gateway received and passed on as they came.

use crate::code;
use crate::door::BODY_MAX;
use crate::intake::{Intake, Rejected};
use bus::{Decoded, Fate, Fated, Incoming, Settled, Verdict, header, queue};
use db::Work;
use domain::{Envelope, Outcome};
use processors::Processor;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// Processors deliver for three days; what is older than that is no delivery.
const AGE_MAX: Duration = Duration::days(3);

/// Clocks of gateways may run ahead by this much.
const AHEAD_MAX: Duration = processors::TOLERANCE;

pub struct RawQueue {
    intake: Intake,
}

pub struct RawWebhook {
    processor: &'static Processor,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    received_at: OffsetDateTime,
}

/// Nothing can fail here: a delivery is read or it is a dead letter, and what is read the loop publishes.
#[derive(Debug, thiserror::Error)]
pub enum Never {}

impl Fated for Never {
    fn fate(&self) -> Fate {
        match *self {}
    }
}

impl RawQueue {
    pub fn new(intake: Intake) -> Self {
        Self { intake }
    }

    fn read(&self, webhook: &RawWebhook) -> Result<Vec<Envelope>, Rejected> {
        let headers = |name: &str| webhook.headers.get(name).cloned();
        self.intake.read_webhook(webhook.processor, &headers, &webhook.body, webhook.received_at)
    }
}

/// Which processor, and when: both from the message, never from the body.
fn address(message: &Incoming, now: OffsetDateTime) -> Result<(&'static Processor, OffsetDateTime), String> {
    let name = message.routing_key.strip_prefix("raw.").unwrap_or("");
    let processor = processors::find(name).ok_or_else(|| {
        let known = processors::ALL.map(|processor| format!("raw.{}", processor.name)).join(", ");
        format!("expected a routing key of {known}, got {:?}", message.routing_key)
    })?;
    let stamp = message.headers.get(header::RECEIVED_AT);
    let found = || stamp.map_or_else(|| "none".to_owned(), |text| format!("{text:?}"));
    let received_at = stamp
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| format!("expected the header received_at in Unix seconds, got {}", found()))?;
    if now - received_at > AGE_MAX || received_at - now > AHEAD_MAX {
        return Err(format!("expected received_at within the last 3 days, got {received_at}"));
    }
    Ok((processor, received_at))
}

impl bus::Worker for RawQueue {
    const NAME: &'static str = crate::WORKER.name;
    const PREFETCH: u16 = 100;
    const CODES: &'static [&'static str] = crate::WORKER.codes;

    type Item = RawWebhook;
    type Error = Never;

    fn queue(&self) -> &'static str {
        queue::INGESTER
    }

    fn decode(&self, message: &Incoming, now: OffsetDateTime) -> Vec<Decoded<RawWebhook>> {
        if message.body.len() > BODY_MAX {
            let reason = format!("expected a body of at most {BODY_MAX} bytes, got {}", message.body.len());
            return vec![Decoded::Bad {
                body: message.body.clone(),
                content_type: None,
                code: code::MALFORMED,
                reason,
            }];
        }
        vec![match address(message, now) {
            Ok((processor, received_at)) => Decoded::Item(RawWebhook {
                processor,
                headers: message.headers.clone(),
                body: message.body.clone(),
                received_at,
            }),
            Err(reason) => {
                Decoded::Bad { body: message.body.clone(), content_type: None, code: code::MALFORMED, reason }
            }
        }]
    }

    fn encode(&self, webhook: &RawWebhook) -> (&'static str, Vec<u8>) {
        ("application/json", webhook.body.clone())
    }

    fn received_at(&self, webhook: &RawWebhook) -> Option<OffsetDateTime> {
        Some(webhook.received_at)
    }

    /// Uses no database: raw deliveries flow on while Postgres is down.
    async fn handle(&self, _work: &mut Work, webhooks: &[RawWebhook]) -> Result<Settled, Never> {
        let mut settled = Settled::default();
        for webhook in webhooks {
            settled.verdicts.push(match self.read(webhook) {
                Ok(envelopes) => {
                    settled.forward.extend(self.intake.facts.messages(envelopes));
                    Verdict::Done(Outcome::Translated)
                }
                Err(rejected) => Verdict::Dead { code: rejected.code(), reason: rejected.to_string() },
            });
        }
        Ok(settled)
    }
}
