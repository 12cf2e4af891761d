//! Deliveries that the code of their time did not understand, and what today's code makes of them.

use crate::RawBody;
use domain::fact::Unrecognised;
use domain::{Cause, Envelope, FactKind};
use processors::Settings;
use time::OffsetDateTime;

/// A delivery that is kept as `fact.unrecognised`.
pub struct UnrecognisedDelivery {
    pub cause: Cause,
    /// What was said of it when it was admitted.
    pub said: Unrecognised,
    pub admitted_at: OffsetDateTime,
    /// Absent once its retention is over or it was erased: then only the processor can send it again.
    pub raw: Option<RawBody>,
}

/// What today's code makes of such a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Today {
    /// Its facts, the primary one first. They carry no body: it is stored already, and one that is erased stays erased.
    Understood(Vec<Envelope>),
    NotUnderstood,
    /// There is nothing left to translate.
    BodyGone,
}

impl UnrecognisedDelivery {
    pub fn today(&self, settings: &Settings) -> Today {
        let Some(raw) = &self.raw else { return Today::BodyGone };
        let envelopes = translate(settings, &self.cause, &raw.body, raw.received_at).unwrap_or_default();
        let is_understood = envelopes
            .iter()
            .any(|envelope| envelope.cause == self.cause && envelope.fact.kind() != FactKind::Unrecognised);
        match is_understood {
            true => Today::Understood(envelopes.into_iter().map(anew).collect()),
            false => Today::NotUnderstood,
        }
    }
}

/// A fact as it is stated now: latencies count from here, not from a delivery of weeks ago.
fn anew(envelope: Envelope) -> Envelope {
    Envelope { raw: None, received_at: None, ..envelope }
}

/// The facts of a stored body by today's code; `None` if no processor of today can read it.
pub(crate) fn translate(
    settings: &Settings,
    cause: &Cause,
    body: &[u8],
    received_at: OffsetDateTime,
) -> Option<Vec<Envelope>> {
    let processor = processors::find(cause.source.split('/').next().unwrap_or(""))?;
    (processor.translate)(settings, body, received_at).ok()
}
