//! A delivery on its way to becoming facts: who says it, which event, when; and the envelopes that come of it.

use crate::fields::Field;
use crate::json::{Document, Kind, Unreadable};
use crate::refused::Malformed;
use crate::set_aside::SetAside;
use domain::fact::Unrecognised;
use domain::{Cause, Envelope, Fact, RawDelivery};
use std::borrow::Cow;
use std::collections::HashSet;
use time::OffsetDateTime;

/// What a cause may be made of: the domain's limit for the id of an event.
const EVENT_ID_LENGTH_MAX: usize = 200;

/// How much of an unknown event's name is kept.
const EVENT_TYPE_LENGTH_MAX: usize = 200;

/// The readable envelope of a processor's event.
pub struct Delivery<'a> {
    pub processor: &'static str,
    pub event_id: String,
    pub event_type: String,
    /// `None` if the event states no readable time; the arrival stands in for facts that need none.
    pub occurred_at: Option<OffsetDateTime>,
    pub received_at: OffsetDateTime,
    pub body: &'a [u8],
}

impl Delivery<'_> {
    /// The facts in their envelopes, the first as the primary one; or one `unrecognised` fact that says why not.
    pub fn seal(&self, facts: Result<Vec<Fact>, SetAside>, credits_scale: u32) -> Vec<Envelope> {
        let facts = facts.and_then(|facts| self.identify(facts, credits_scale));
        match facts {
            Ok(facts) => facts.into_iter().map(|(id, fact)| self.envelope(id, fact)).collect(),
            Err(set_aside) => vec![self.envelope(self.event_id.clone(), self.unrecognised(set_aside))],
        }
    }

    /// Each fact with its id, unique within the delivery and good for a key.
    fn identify(&self, facts: Vec<Fact>, credits_scale: u32) -> Result<Vec<(String, Fact)>, SetAside> {
        if facts.is_empty() {
            return Err(SetAside::no_effect("names nothing that could have changed"));
        }
        let mut ids = HashSet::new();
        let mut identified = Vec::with_capacity(facts.len());
        for (position, fact) in facts.into_iter().enumerate() {
            fact.check(credits_scale).map_err(SetAside::malformed)?;
            let id = if position == 0 { self.event_id.clone() } else { further_id(&self.event_id, &fact) };
            if id.len() > EVENT_ID_LENGTH_MAX {
                return Err(SetAside::malformed(
                    "ids: expected the event's and the object's in at most 200 bytes",
                ));
            }
            if !ids.insert(id.clone()) {
                return Err(SetAside::malformed("data: expected each object at most once, got one twice"));
            }
            identified.push((id, fact));
        }
        Ok(identified)
    }

    fn envelope(&self, id: String, fact: Fact) -> Envelope {
        let is_primary = id == self.event_id;
        Envelope {
            cause: Cause { source: self.processor.to_owned(), id },
            time: self.occurred_at.unwrap_or(self.received_at),
            received_at: Some(self.received_at),
            traceparent: None,
            raw: is_primary.then(|| RawDelivery { body: self.body.to_vec() }),
            fact,
        }
    }

    fn unrecognised(&self, set_aside: SetAside) -> Fact {
        Fact::Unrecognised(Unrecognised {
            processor: self.processor.to_owned(),
            event_type: self
                .event_type
                .chars()
                .filter(|c| !c.is_control())
                .take(EVENT_TYPE_LENGTH_MAX)
                .collect(),
            why: set_aside.why,
            detail: set_aside.detail,
        })
    }
}

/// The id of a fact that is not the first of its delivery: the event's, with what it is about.
pub fn further_id(event_id: &str, fact: &Fact) -> String {
    let kind = fact.kind().as_str();
    let kind = kind.strip_prefix("fact.").unwrap_or(kind);
    format!("{event_id}:{kind}:{}", fact.object_id())
}

/// Reads the outermost object of an event, whatever its members are.
///
/// # Errors
/// The body is no JSON, or no object.
pub fn read_object(body: &[u8]) -> Result<Document<'_>, Malformed> {
    let document = Document::parse(body).map_err(|Unreadable { line, column }| {
        Malformed(format!("body: expected a JSON object, got an error at line {line} column {column}"))
    })?;
    if document.root().kind() != Kind::Object {
        return Err(Malformed("body: expected a JSON object, got something else".to_owned()));
    }
    Ok(document)
}

/// Reads what identifies an event; without it there is nothing to keep the event under.
///
/// # Errors
/// It is missing, too long, or not printable.
pub fn read_event_id(field: Field<'_>) -> Result<String, Malformed> {
    read_text(field)
        .filter(|id| id.len() <= EVENT_ID_LENGTH_MAX && !id.chars().any(char::is_control))
        .ok_or_else(|| {
            Malformed(format!(
                "{field}: expected an event id of 1 to {EVENT_ID_LENGTH_MAX} printable bytes, got none such"
            ))
        })
}

/// Reads what kind of event it is.
///
/// # Errors
/// It is missing or empty.
pub fn read_event_type(field: Field<'_>) -> Result<String, Malformed> {
    read_text(field).ok_or_else(|| Malformed(format!("{field}: expected the event's type, got none")))
}

fn read_text(field: Field<'_>) -> Option<String> {
    field.text().map(Cow::into_owned).filter(|text| !text.is_empty())
}
