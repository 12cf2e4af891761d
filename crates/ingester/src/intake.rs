//! The one function behind every door: verify, translate, make durable.

use crate::code;
use crate::tokens::Token;
use bus::header;
use domain::{Envelope, envelope};
use facts::rights::{self, Denied};
use facts::{FactWriter, NowhereDurable};
use processors::{Processor, Refused, Settings, Sources};
use secrecy::SecretString;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// The webhook secrets of each processor; any one of them may sign, so that a secret can be rotated.
#[derive(Clone, Default)]
pub struct Secrets(pub BTreeMap<&'static str, Vec<SecretString>>);

/// Everything that a delivery passes through before it is durable.
#[derive(Clone)]
pub struct Intake {
    pub settings: Settings,
    pub secrets: Secrets,
    /// Which sources are bound to whom.
    pub sources: Sources,
    pub facts: FactWriter,
}

/// Why a delivery was not accepted. The texts are for its sender.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    #[error("{0}")]
    Malformed(String),
    #[error("{0}")]
    Unverified(String),
    #[error("{0}")]
    Forbidden(String),
    #[error(transparent)]
    NowhereDurable(#[from] NowhereDurable),
}

impl Rejected {
    /// The code of a dead letter, and the label of the metric.
    pub fn code(&self) -> &'static str {
        match self {
            Rejected::Malformed(_) => code::MALFORMED,
            Rejected::Unverified(_) => code::UNVERIFIED,
            Rejected::Forbidden(_) => code::FORBIDDEN,
            Rejected::NowhereDurable(_) => code::NOWHERE_DURABLE,
        }
    }
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        match refused.is_malformed() {
            true => Rejected::Malformed(refused.to_string()),
            false => Rejected::Unverified(refused.to_string()),
        }
    }
}

impl Intake {
    /// Checks a webhook's signature over its bytes and translates it to facts. Pure but for the secrets.
    ///
    /// # Errors
    /// [`Rejected`]: headers or a body that are malformed, or a signature that does not verify.
    pub fn read_webhook(
        &self,
        processor: &Processor,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        received_at: OffsetDateTime,
    ) -> Result<Vec<Envelope>, Rejected> {
        self.verify(processor, headers, body, received_at)?;
        self.translate(processor, headers, body, received_at)
    }

    fn secrets(&self, processor: &Processor) -> &[SecretString] {
        self.secrets.0.get(processor.name).map_or(&[], Vec::as_slice)
    }

    /// Checks what can be checked before the body has arrived.
    ///
    /// # Errors
    /// [`Rejected`]: a header that is missing or malformed, a time too far off, or a processor without a secret.
    pub fn check_headers(
        &self,
        processor: &Processor,
        headers: &dyn Fn(&str) -> Option<String>,
        received_at: OffsetDateTime,
    ) -> Result<(), Rejected> {
        Ok((processor.check_headers)(headers, self.secrets(processor), received_at)?)
    }

    /// Checks that a configured secret signed these bytes.
    ///
    /// # Errors
    /// [`Rejected`]: as [`Intake::check_headers`], or no configured secret signed the body.
    pub fn verify(
        &self,
        processor: &Processor,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        received_at: OffsetDateTime,
    ) -> Result<(), Rejected> {
        Ok((processor.verify)(headers, body, self.secrets(processor), received_at)?)
    }

    /// The facts of a body that was verified.
    ///
    /// # Errors
    /// [`Rejected::Malformed`]: a body in which not even the event's id can be read.
    pub fn translate(
        &self,
        processor: &Processor,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        received_at: OffsetDateTime,
    ) -> Result<Vec<Envelope>, Rejected> {
        let mut envelopes = (processor.translate)(&self.settings, body, received_at)
            .map_err(|malformed| Rejected::Malformed(malformed.to_string()))?;
        let traceparent = traceparent(headers(header::TRACEPARENT));
        for envelope in &mut envelopes {
            envelope.traceparent = Some(traceparent.clone());
            note_unrecognised(envelope);
        }
        Ok(envelopes)
    }

    /// Facts that a bearer of a token states; each must be one that the token may state. All or none is accepted: the first
    /// that is not says by its place, counted from 0, and by its id which it is. Addresses and devices in it are digested before
    /// anything reads them.
    ///
    /// # Errors
    /// [`Rejected`]: a body that is malformed, or a fact that the token may not state.
    pub fn read_facts(
        &self,
        token: &Token,
        traceparent_header: Option<String>,
        body: &[u8],
        received_at: OffsetDateTime,
    ) -> Result<Vec<Envelope>, Rejected> {
        let body = self.settings.origins.sealed(body);
        let text = std::str::from_utf8(&body)
            .map_err(|_| Rejected::Malformed("expected JSON in UTF-8, got other bytes".to_owned()))?;
        let read = match text.trim_start().starts_with('[') {
            true => Envelope::parse_stated_batch(text, received_at),
            false => Envelope::parse_stated(text, received_at).map(|envelope| vec![Ok(envelope)]),
        };
        let read = read.map_err(|error| Rejected::Malformed(error.to_string()))?;
        let trace = traceparent(traceparent_header);
        read.into_iter()
            .enumerate()
            .map(|(position, read)| {
                let envelope = read.map_err(|unreadable| {
                    let id = envelope::stated_id(&unreadable.text);
                    Rejected::Malformed(which(position, id.as_deref(), &unreadable.error.to_string()))
                })?;
                let id = envelope.cause.id.clone();
                let at = |text: String| which(position, Some(&id), &text);
                let malformed = |reason| Rejected::Malformed(at(reason));
                self.settings.origins.check(&envelope.fact).map_err(malformed)?;
                envelope.fact.check(self.settings.credits_scale).map_err(malformed)?;
                self.check_right(token, &envelope).map_err(|reason| Rejected::Forbidden(at(reason)))?;
                let traceparent = envelope.traceparent.clone().unwrap_or_else(|| trace.clone());
                Ok(Envelope { received_at: Some(received_at), traceparent: Some(traceparent), ..envelope })
            })
            .collect()
    }

    fn check_right(&self, token: &Token, envelope: &Envelope) -> Result<(), String> {
        let may_state = |kind| token.facts.contains(&kind);
        rights::check(envelope, may_state, Some(&token.speaker()), &self.sources).map_err(|denied| {
            match denied {
                Denied::Money(kind) => format!("{kind} is accepted from a verified webhook alone"),
                Denied::Kind(kind) => {
                    let may = token.facts.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
                    format!("this token may state {may}, not {kind}")
                }
                Denied::Source(reason) => reason,
            }
        })
    }
}

fn which(position: usize, id: Option<&str>, why: &str) -> String {
    match id {
        Some(id) => format!("fact {position} ({id:?}): {why}; none was accepted"),
        None => format!("fact {position}: {why}; none was accepted"),
    }
}

/// A genuine delivery about money that could not be read is kept, and an operator must look at it.
fn note_unrecognised(envelope: &Envelope) {
    let domain::Fact::Unrecognised(fact) = &envelope.fact else { return };
    // A label is a word of our own.
    let processor = processors::find(&fact.processor).map_or("other", |processor| processor.name);
    metrics::counter!("bursar_unrecognised_total", "processor" => processor, "why" => format!("{:?}", fact.why).to_lowercase())
        .increment(1);
    if fact.why == domain::fact::UnrecognisedWhy::Malformed {
        tracing::error!(cause = %envelope.cause, event_type = fact.event_type, detail = fact.detail, "a delivery about money could not be read; it is kept");
    }
}

/// The sender's trace context, or the beginning of a new one.
fn traceparent(header: Option<String>) -> String {
    header.filter(|text| envelope::is_traceparent(text)).unwrap_or_else(|| {
        let (trace, span) = (Uuid::now_v7().simple().to_string(), Uuid::now_v7().simple().to_string());
        format!("00-{trace}-{}-01", &span[16..])
    })
}
