//! Restores a message that the fleet put back, or gave up on, to what it first was.
//!
//! The headers that say so are believed where only the fleet may write, as the broker's permissions say: on the default
//! exchange (`amq.default`) and on that of dead letters.

use crate::fate::code;
use crate::header;
use crate::incoming::Incoming;
use crate::returned::{Death, ReplayedLetter, Returned, parse_attempts, parse_time};
use crate::topology::{Namespace, exchange};
use crate::unreadable::UnreadableProperties;
use std::collections::BTreeMap;
use time::OffsetDateTime;

impl Incoming {
    /// The message as it first came. From everybody else's the headers that only the fleet may set are taken away.
    pub fn restored(mut self, namespace: &Namespace) -> Self {
        let is_dead = self.exchange == namespace.name(exchange::DEAD);
        let by_broker = if is_dead { self.death_by_broker(namespace) } else { None };
        let mut own = self.take_own_headers();
        let is_by_broker = by_broker.is_some();
        if let Some(death) = by_broker {
            self.restore_from_broker(death);
        }
        // By the default exchange only the fleet puts messages into queues, also into that in which the broker gave up.
        let is_by_fleet = self.exchange.is_empty() || is_dead && !is_by_broker;
        let first_failed_at = own.get(header::FIRST_FAILED_AT).and_then(|text| parse_time(text));
        if let Some(first_failed_at) = first_failed_at.filter(|_| is_by_fleet) {
            self.restore_from_fleet(first_failed_at, &mut own);
        }
        self
    }

    fn take_own_headers(&mut self) -> BTreeMap<String, String> {
        let mut own = BTreeMap::new();
        self.headers.retain(|name, value| {
            let is_own = name.starts_with(header::OWN);
            if is_own {
                own.insert(name.clone(), std::mem::take(value));
            }
            !is_own
        });
        own
    }

    fn restore_from_broker(&mut self, death: Death) {
        self.death = Some(death);
        if let Some(exchange) = self.headers.remove(header::DEATH_EXCHANGE) {
            self.exchange = exchange;
        }
        if let Some(routing_key) = self.headers.remove(header::DEATH_ROUTING_KEY) {
            self.routing_key = routing_key;
        }
    }

    fn restore_from_fleet(&mut self, first_failed_at: OffsetDateTime, own: &mut BTreeMap<String, String>) {
        self.exchange = own.remove(header::EXCHANGE).unwrap_or_default();
        self.routing_key = own.remove(header::ROUTING_KEY).unwrap_or_default();
        self.user_id = own.remove(header::USER);
        self.death = self.death.take().or_else(|| Death::take(own));
        let length = own.get(header::UNREADABLE).and_then(|text| text.parse().ok());
        let carried = length.and_then(|length| UnreadableProperties::take_off(&mut self.body, length));
        self.unreadable = self.unreadable.take().or(carried);
        self.returned = Some(Returned {
            first_failed_at,
            attempts: own.get(header::ATTEMPTS).map(|text| parse_attempts(text)).unwrap_or_default(),
            replayed: ReplayedLetter::read(own),
        });
    }

    /// What the broker says of a message that it gave up on itself; a letter of the fleet carries no such headers.
    fn death_by_broker(&self, namespace: &Namespace) -> Option<Death> {
        // The first may be a rung, on which it rested.
        let value = |latest: &str, first: &str| self.headers.get(latest).or_else(|| self.headers.get(first));
        let queue = value(header::DEATH_QUEUE, "x-first-death-queue")?;
        let prefix = namespace.name("");
        let why = value(header::DEATH_REASON, "x-first-death-reason").map_or("unknown", String::as_str);
        Some(Death {
            worker: self.routing_key.clone(),
            queue: queue.strip_prefix(&prefix).unwrap_or(queue).to_owned(),
            code: format!("{}{why}", code::BROKER),
            reason: format!("RabbitMQ gave up on it in {queue}: {why}"),
            at: None,
        })
    }
}
