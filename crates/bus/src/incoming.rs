//! Messages as Bursar receives them.

use crate::header;
use crate::returned::{Attempt, Death, ReplayedLetter, Returned};
use crate::unreadable::UnreadableProperties;
use crate::wire;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use std::collections::BTreeMap;

/// A message as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    pub exchange: String,
    pub routing_key: String,
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    /// The publisher's user name; the broker has checked it against the connection it came by.
    pub user_id: Option<String>,
    /// Headers with a text or integer value, by their name in lower case.
    pub headers: BTreeMap<String, String>,
    /// Set where the fleet itself put the message back into its queue; the fields above are then as it first came.
    pub returned: Option<Returned>,
    /// Set where it is a dead letter.
    pub death: Option<Death>,
    /// How often the broker took it back from a consumer that had not settled it.
    pub returns: u64,
    /// Set where some of it cannot be read: the fields above hold what can.
    pub unreadable: Option<UnreadableProperties>,
    pub body: Vec<u8>,
}

impl Incoming {
    /// The attempts to settle it that failed.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        self.returned.as_ref().map_or(&[], |returned| &returned.attempts)
    }

    /// Set where a replay put it back.
    pub(crate) fn replayed(&self) -> Option<ReplayedLetter> {
        self.returned.as_ref().and_then(|returned| returned.replayed)
    }
}

impl From<Delivery> for Incoming {
    fn from(delivery: Delivery) -> Self {
        let text = |value: &Option<ShortString>| value.as_ref().map(|value| value.as_str().to_owned());
        let properties = &delivery.properties;
        let mut headers = properties.headers().as_ref().map(readable).unwrap_or_default();
        headers.extend(properties.headers().as_ref().map(latest_death).unwrap_or_default());
        let mut body = delivery.data;
        let set_aside = headers.get(header::UNREADABLE).and_then(|mark| wire::set_aside(mark));
        let unreadable = set_aside.and_then(|length| UnreadableProperties::take_off(&mut body, length));
        if unreadable.is_some() {
            headers.remove(header::UNREADABLE);
        }
        Self {
            returned: None,
            death: None,
            unreadable,
            returns: returns(delivery.redelivered, properties),
            exchange: delivery.exchange.as_str().to_owned(),
            routing_key: delivery.routing_key.as_str().to_owned(),
            message_id: text(properties.message_id()),
            content_type: text(properties.content_type()),
            user_id: text(properties.user_id()),
            headers,
            body,
        }
    }
}

/// How often the broker took a message back. RabbitMQ 4.3 counts in the second header what earlier releases count in the
/// first. What stands there when it is delivered for the first time is its publisher's, and a text never is the broker's.
fn returns(is_redelivered: bool, properties: &BasicProperties) -> u64 {
    let Some(headers) = properties.headers().as_ref().filter(|_| is_redelivered) else { return 0 };
    let count = |name: &str| headers.inner().get(name).and_then(number);
    ["x-delivery-count", "x-acquired-count"].into_iter().filter_map(count).max().unwrap_or(0)
}

/// Where and why the broker gave up on a message last, and how it had come there, under names of its own: the broker says so
/// in a list, the latest first.
fn latest_death(table: &FieldTable) -> BTreeMap<String, String> {
    let Some(AMQPValue::FieldArray(deaths)) = table.inner().get("x-death") else { return BTreeMap::new() };
    let Some(AMQPValue::FieldTable(latest)) = deaths.as_slice().first() else { return BTreeMap::new() };
    let value = |name: &str| latest.inner().get(name).and_then(readable_value);
    let routing_key = match latest.inner().get("routing-keys") {
        Some(AMQPValue::FieldArray(keys)) => keys.as_slice().first().and_then(readable_value),
        _ => None,
    };
    let values = [
        (header::DEATH_QUEUE, value("queue")),
        (header::DEATH_REASON, value("reason")),
        (header::DEATH_EXCHANGE, value("exchange")),
        (header::DEATH_ROUTING_KEY, routing_key),
    ];
    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn readable(table: &FieldTable) -> BTreeMap<String, String> {
    table
        .inner()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_ascii_lowercase(), readable_value(value)?)))
        .collect()
}

fn readable_value(value: &AMQPValue) -> Option<String> {
    let long = |text: &LongString| String::from_utf8_lossy(text.as_bytes()).into_owned();
    Some(match value {
        AMQPValue::LongString(text) => long(text),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Timestamp(number) => number.to_string(),
        _ => return None,
    })
}

/// A count, in whichever width it came.
fn number(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::LongString(_) | AMQPValue::ShortString(_) => None,
        value => readable_value(value)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_broker_itself_counted_is_a_return() {
        let with = |name: &str, value: AMQPValue| {
            let mut headers = FieldTable::default();
            headers.insert(name.into(), value);
            BasicProperties::default().with_headers(headers)
        };
        let counted = with("x-delivery-count", AMQPValue::LongLongInt(5));
        assert_eq!(returns(true, &counted), 5);
        assert_eq!(returns(true, &with("x-acquired-count", AMQPValue::ShortShortUInt(4))), 4);
        assert_eq!(returns(false, &counted), 0, "its publisher says so");
        assert_eq!(returns(true, &with("x-delivery-count", AMQPValue::LongString("5".into()))), 0, "a text");
        assert_eq!(returns(true, &with("x-delivery-count", AMQPValue::LongLongInt(-5))), 0);
        assert_eq!(returns(true, &BasicProperties::default()), 0);
    }
}
