//! Facts that an adapter states for a processor that has no folder here: one CloudEvent, or a batch of them.
//!
//! It may tell of payments, movements, disputes and customers, and only of its own: no fact may name another processor.
//! Unlike the others it is refused where it says what it may not, since its sender can be mended.

use crate::refused::Malformed;
use crate::settings::Settings;
use domain::envelope::InvalidEnvelope;
use domain::{Envelope, Fact, FactKind, RawDelivery};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// As it stands in routes, ids and routing keys.
pub(super) const NAME: &str = "generic";

/// See [`Processor::translate`](crate::Processor::translate).
///
/// # Errors
/// It cannot be read, or says what an adapter may not say.
pub fn translate(
    settings: &Settings,
    body: &[u8],
    received_at: OffsetDateTime,
) -> Result<Vec<Envelope>, Malformed> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Malformed("body: expected text in UTF-8, got bytes".to_owned()))?;
    let mut envelopes = parse(text, received_at)?;
    for (position, envelope) in envelopes.iter_mut().enumerate() {
        let at = |why: String| Malformed(format!("event {position}: {why}"));
        check_own(&envelope.fact).map_err(at)?;
        check_texts(&envelope.fact).map_err(at)?;
        envelope.fact.check(settings.credits_scale).map_err(at)?;
        envelope.cause.source = own_source(&envelope.cause.source).map_err(at)?;
        envelope.received_at = Some(received_at);
        envelope.traceparent = None;
        envelope.raw = (position == 0).then(|| RawDelivery { body: body.to_vec() });
    }
    Ok(envelopes)
}

fn parse(text: &str, received_at: OffsetDateTime) -> Result<Vec<Envelope>, Malformed> {
    let malformed = |error: InvalidEnvelope| Malformed(format!("body: {error}"));
    if !is_batch(text) {
        return Ok(vec![Envelope::parse(text, received_at).map_err(malformed)?]);
    }
    let events = Envelope::parse_batch(text, received_at).map_err(malformed)?;
    let events = events.into_iter().enumerate();
    events
        .map(|(position, event)| {
            event.map_err(|unreadable| Malformed(format!("event {position}: {}", unreadable.error)))
        })
        .collect()
}

fn is_batch(text: &str) -> bool {
    text.trim_start().starts_with('[')
}

/// The id of a body's event, or of the first in a batch.
pub fn first_event_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct WireEvent {
        id: String,
    }
    let text = std::str::from_utf8(body).ok()?;
    let first: &RawValue = if is_batch(text) {
        serde_json::from_str::<Vec<&RawValue>>(text).ok()?.first().copied()?
    } else {
        serde_json::from_str(text).ok()?
    };
    serde_json::from_str::<WireEvent>(first.get()).ok().map(|wire| wire.id).filter(|id| !id.is_empty())
}

fn check_own(fact: &Fact) -> Result<(), String> {
    if !fact.kind().is_description() {
        return Err(format!("type: expected {}, got {}", descriptions(), fact.kind()));
    }
    let payments = fact.payment_ids().into_iter().map(|id| id.processor());
    let named = payments.chain(fact.customer().map(|id| id.processor()));
    match named.into_iter().find(|processor| *processor != NAME) {
        Some(_) => {
            Err("data: expected every payment and customer as generic:<id>, got another processor's"
                .to_owned())
        }
        None => Ok(()),
    }
}

/// The kinds that an adapter may tell, in words.
fn descriptions() -> String {
    let kinds = FactKind::ALL.into_iter().filter(|kind| kind.is_description()).map(FactKind::as_str);
    let listed = kinds.collect::<Vec<_>>().join(", ");
    listed.rsplit_once(", ").map(|(others, last)| format!("{others} or {last}")).unwrap_or(listed)
}

/// Texts that become keys or columns: printable, none empty.
fn check_texts(fact: &Fact) -> Result<(), String> {
    if fact.keys().into_iter().any(|text| text.is_empty() || text.chars().any(char::is_control)) {
        return Err("data: expected texts of printable characters, got an empty one or a control character"
            .to_owned());
    }
    Ok(())
}

/// An adapter's source must not pass for a processor's: causes of facts are unique by source and id.
fn own_source(source: &str) -> Result<String, String> {
    const LENGTH_MAX: usize = 200;
    let own = format!("{NAME}/{source}");
    if own.len() > LENGTH_MAX {
        return Err(format!(
            "source: expected at most {} bytes, got {}",
            LENGTH_MAX - NAME.len() - 1,
            source.len()
        ));
    }
    Ok(own)
}
