//! A batch as it was taken: the items that its worker can read, and the messages they came in.

use super::health::BusyGuard;
use super::suspect::Tried;
use super::unsettled::Unsettled;
use super::worker::Decoded;
use crate::incoming::Incoming;
use crate::onward::Payload;

pub(super) struct Batch<I> {
    pub messages: Vec<Incoming>,
    /// How many items each message held, readable or not.
    sizes: Vec<usize>,
    pub items: Vec<I>,
    /// For each item, the place of its message.
    pub origins: Vec<usize>,
    /// What the worker could not read.
    pub unsettled: Vec<Unsettled>,
    /// Of all bodies.
    pub bytes: usize,
    /// Of the largest body, in bytes.
    pub largest: usize,
    /// Of the delivery that came last.
    pub last_tag: u64,
    /// Set where the batch is a single message that came back too often, and is tried now.
    pub tried: Option<Tried>,
    /// Says that the lane has the batch in hand until it is dropped.
    _busy: BusyGuard,
}

impl<I> Batch<I> {
    /// Without any message.
    pub fn begin(busy: BusyGuard) -> Self {
        Self {
            messages: Vec::new(),
            sizes: Vec::new(),
            items: Vec::new(),
            origins: Vec::new(),
            unsettled: Vec::new(),
            bytes: 0,
            largest: 0,
            last_tag: 0,
            tried: None,
            _busy: busy,
        }
    }

    /// Adds a message with what it holds.
    pub fn add(&mut self, tag: u64, mut message: Incoming, decoded: Vec<Decoded<I>>) {
        self.last_tag = tag;
        self.bytes += message.body.len();
        self.largest = self.largest.max(message.body.len());
        self.sizes.push(decoded.len());
        if decoded.len() > 1 {
            // Its items can be written out one by one; the whole is not needed any more.
            message.body = Vec::new();
        }
        let origin = self.messages.len();
        self.messages.push(message);
        for entry in decoded {
            self.add_item(origin, entry);
        }
    }

    fn add_item(&mut self, origin: usize, entry: Decoded<I>) {
        match entry {
            Decoded::Item(item) => {
                self.items.push(item);
                self.origins.push(origin);
            }
            Decoded::Bad { body, content_type, code, reason } => {
                let payload = Payload { content_type, body };
                self.unsettled.push(Unsettled { origin, payload, code, why: reason, again: false });
            }
        }
    }

    /// A message's body, where it holds one item alone.
    pub fn sole_body(&self, origin: usize) -> Option<&[u8]> {
        (self.sizes[origin] == 1).then_some(&*self.messages[origin].body)
    }
}
