//! What of a message the client cannot read, as it came.
//!
//! It travels before the message's own body, and a header says how long it is: from the screen to whoever receives the
//! message, and from there to the dead letters.

use crate::wire;

/// Of this much, the server's own limit for a message, the properties take what the body leaves.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it came by; empty where that can be read.
    pub exchange: Vec<u8>,
    pub routing_key: Vec<u8>,
    /// All of them: flags and values in the order of AMQP 0-9-1.
    pub properties: Vec<u8>,
}

impl Unreadable {
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

    /// Puts it before a body; returns its length.
    pub(crate) fn put_on(&self, body: &mut Vec<u8>) -> usize {
        let mut bytes = self.to_bytes();
        bytes.truncate(MESSAGE_MAX.saturating_sub(body.len()).max(512));
        let length = bytes.len();
        bytes.append(body);
        *body = bytes;
        length
    }

    /// The same for the same message, however often it was delivered.
    pub fn identity(&self) -> Vec<u8> {
        let properties = wire::identity(&self.properties);
        Self { properties, ..self.clone() }.to_bytes()
    }

    /// What was expected, what came, what to do.
    pub fn reason(&self) -> String {
        let mut flaws = Vec::new();
        let routing = [("exchange", &self.exchange), ("routing key", &self.routing_key)];
        for (name, bytes) in routing.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            flaws.push(format!("the {name} {} is no UTF-8", wire::shown(bytes)));
        }
        flaws.extend(wire::flaws(&self.properties));
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
