//! The properties of a message that the client cannot read, as they came.
//!
//! It travels before the message's own body, and a header says how long it is: from the screen to whoever receives the
//! message, and from there to the dead letters.

use crate::properties;

/// Of this much, the server's own limit for a message, the properties take what the body leaves.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// The lengths of exchange and routing key.
const BEFORE_PROPERTIES: usize = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadableProperties {
    /// Where it came by; empty where that can be read.
    pub exchange: Vec<u8>,
    pub routing_key: Vec<u8>,
    /// All of them: flags and values in the order of AMQP 0-9-1.
    pub properties: Vec<u8>,
}

impl UnreadableProperties {
    /// Exchange and routing key are short strings: at most 255 bytes each.
    pub(crate) fn routed(exchange: &[u8], routing_key: &[u8]) -> Self {
        let if_unreadable = |bytes: &[u8]| match str::from_utf8(bytes) {
            Ok(_) => Vec::new(),
            Err(_) => bytes.to_vec(),
        };
        let (exchange, routing_key) = (if_unreadable(exchange), if_unreadable(routing_key));
        Self { exchange, routing_key, properties: Vec::new() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (exchange, routing_key) = (short(&self.exchange), short(&self.routing_key));
        [&[exchange.len() as u8], exchange, &[routing_key.len() as u8], routing_key, &self.properties]
            .concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (exchange, rest) = split_short(bytes)?;
        let (routing_key, properties) = split_short(rest)?;
        let [exchange, routing_key, properties] = [exchange, routing_key, properties].map(<[u8]>::to_vec);
        Some(Self { exchange, routing_key, properties })
    }

    /// Takes it off the body that it travels before.
    pub(crate) fn take_off(body: &mut Vec<u8>, length: usize) -> Option<Self> {
        let (bytes, rest) = body.split_at_checked(length)?;
        let unreadable = Self::read(bytes)?;
        *body = rest.to_vec();
        Some(unreadable)
    }

    /// Puts it before a body, as far as there is room beside it; returns its length.
    pub(crate) fn put_on(&self, body: &mut Vec<u8>) -> usize {
        let mut bytes = self.within(MESSAGE_MAX.saturating_sub(body.len()));
        let length = bytes.len();
        bytes.append(body);
        *body = bytes;
        length
    }

    /// In so many bytes: the properties give way first, then the rest. Nothing where not even their lengths have room.
    fn within(&self, room: usize) -> Vec<u8> {
        let routing = BEFORE_PROPERTIES + short(&self.exchange).len() + short(&self.routing_key).len();
        let bytes = if routing <= room { self.to_bytes() } else { Self::default().to_bytes() };
        let length = if room < BEFORE_PROPERTIES { 0 } else { bytes.len().min(room) };
        bytes[..length].to_vec()
    }

    /// The same for the same message, however often it was delivered.
    pub fn identity(&self) -> Vec<u8> {
        let properties = properties::identity(&self.properties);
        Self { properties, ..self.clone() }.to_bytes()
    }

    /// What was expected, what came, what to do.
    pub fn reason(&self) -> String {
        let mut flaws = Vec::new();
        let routing = [("exchange", &self.exchange), ("routing key", &self.routing_key)];
        for (name, bytes) in routing.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            flaws.push(format!("the {name} {} is no UTF-8", properties::shown(bytes)));
        }
        flaws.extend(properties::flaws(&self.properties));
        if flaws.is_empty() {
            flaws.push(format!("{} bytes of properties, more than fit a frame", self.properties.len()));
        }
        format!(
            "expected a message whose properties AMQP clients can read (texts in UTF-8, few lists in lists), got one in which {}. \
             Nothing of it is lost: its body is kept, and its properties as bytes. A replay puts it back with those that can be read; its publisher must mend what it sends",
            flaws.join(", ")
        )
    }
}

fn short(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(u8::MAX.into())]
}

fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked((*length).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message as large as the broker takes becomes a letter that it takes, too.
    #[test]
    fn what_cannot_be_read_leaves_room_for_any_body() {
        let unreadable = UnreadableProperties {
            exchange: vec![0xff; 3],
            routing_key: vec![0xfe; 4],
            properties: vec![7; 1000],
        };
        let check = |room: usize, expect: Option<(usize, usize)>| {
            let mut body = vec![b'x'; MESSAGE_MAX - room];
            let length = unreadable.put_on(&mut body);
            assert!(body.len() <= MESSAGE_MAX, "{room}");
            let came = UnreadableProperties::take_off(&mut body, length);
            let sizes =
                came.map(|came| (came.exchange.len() + came.routing_key.len(), came.properties.len()));
            assert_eq!(sizes, expect, "{room}");
            let kept = if expect.is_some() { MESSAGE_MAX - room } else { MESSAGE_MAX - room + length };
            assert_eq!(body.len(), kept, "{room}");
        };
        check(2000, Some((7, 1000)));
        check(509, Some((7, 500)));
        check(9, Some((7, 0)));
        check(8, Some((0, 0)));
        check(2, Some((0, 0)));
        check(1, None);
        check(0, None);
    }
}
