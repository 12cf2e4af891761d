//! The topology as data: the one place that lists exchanges, queues, bindings and limits.

use crate::connection::{Broker, BrokerError};
use lapin::ExchangeKind;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Names of the exchanges, without the namespace.
pub mod exchange {
    /// Webhooks as they came, from gateways.
    pub const RAW: &str = "raw";
    /// Facts whose signature was checked; only the ingester writes here.
    pub const VERIFIED: &str = "verified";
    /// The platform's own facts.
    pub const INBOUND: &str = "inbound";
    /// Admitted facts, for every worker.
    pub const FACTS: &str = "facts";
    /// What Bursar tells the world.
    pub const EVENTS: &str = "events";
    /// Messages that a worker gave up on.
    pub const DEAD: &str = "dead";
}

/// Names of the queues that more than their readers know, without the namespace.
pub mod queue {
    /// Where webhooks come from gateways.
    pub const INGESTER: &str = "ingester";
    /// Where facts come from the front door.
    pub const GATE: &str = "gate";
    /// Apart from the gate's other queue, so that a fact's door is a property of the queue it lies in.
    pub const GATE_INBOUND: &str = "gate.inbound";
    /// Where letters come from every worker.
    pub const DEAD_LETTERS: &str = "dead-letters";
    pub const EVENTS_LOG: &str = "events.log";
}

/// A queue as the worker that reads it declares it: quorum, durable, bound to exchanges by routing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSpec {
    /// Without the namespace.
    pub name: &'static str,
    /// The worker that reads it.
    pub reader: &'static str,
    /// By exchange (see [`exchange`]) and routing key; `#` is every key. None: what comes there is put there by name.
    pub bindings: &'static [(&'static str, &'static str)],
    /// Whether the broker hands to the dead letters what it gives up on itself. Their own queue has nobody to hand it to.
    pub gives_up: bool,
}

impl QueueSpec {
    /// A queue of a worker, what the broker gives up on is a dead letter of it.
    pub const fn new(
        name: &'static str,
        reader: &'static str,
        bindings: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { name, reader, bindings, gives_up: true }
    }
}

/// The delays after which a message that failed for an unknown reason is tried again; then it is given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Vec<Duration>);

impl Default for Ladder {
    fn default() -> Self {
        Self([1, 10, 60].map(Duration::from_secs).to_vec())
    }
}

impl Ladder {
    /// 1 to 10 delays of 10 ms to a day, each a queue of its own: in one queue a long delay would hold up the short ones
    /// behind it.
    pub fn new(delays: &[Duration]) -> Result<Self, String> {
        let fits = |delay: &Duration| (10..=86_400_000).contains(&delay.as_millis());
        let mut sorted = delays.to_vec();
        sorted.sort();
        sorted.dedup();
        match (1..=10).contains(&delays.len()) && delays.iter().all(fits) && sorted == delays {
            true => Ok(Self(sorted)),
            false => Err(format!("expected 1 to 10 growing delays of 10 ms to a day, got {delays:?}")),
        }
    }

    pub fn rungs(&self) -> impl Iterator<Item = Rung> {
        self.0.iter().map(|delay| Rung(*delay))
    }

    /// Where a message rests that has failed so often; nothing once it is given up on.
    pub fn rung_after(&self, attempts: usize) -> Option<Rung> {
        self.rungs().nth(attempts.saturating_sub(1))
    }

    pub fn last(&self) -> Rung {
        self.rungs().last().expect("a ladder has a rung")
    }
}

/// One delay: an exchange, and a queue that gives back what it holds for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung(Duration);

impl Rung {
    /// The name of its exchange and of its queue, without the namespace: `retry.10s`.
    pub fn name(self) -> String {
        match self.0.as_millis() {
            millis if millis % 1000 == 0 => format!("retry.{}s", millis / 1000),
            millis => format!("retry.{millis}ms"),
        }
    }
}

/// The first part of every broker object's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// 1 to 60 of `a-z A-Z 0-9 - _ .`, so that names stay within AMQP's 255 bytes and need no quoting anywhere.
    pub fn new(text: &str) -> Result<Self, String> {
        let fits = (1..=60).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected 1 to 60 letters, digits, '-', '_' or '.', got {text:?}"))
        }
    }

    pub fn name(&self, of: &str) -> String {
        format!("{}.{of}", self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exchange {
    pub name: String,
    pub what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    pub name: String,
    pub kind: QueueKind,
    /// The worker that reads it; none for the stream and for messages that rest.
    pub reader: Option<&'static str>,
    #[serde(skip)]
    arguments: Vec<(&'static str, Argument)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    Quorum,
    Stream,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Argument {
    Text(String),
    Number(i64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    pub exchange: String,
    pub routing_key: &'static str,
    pub queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    pub exchanges: Vec<Exchange>,
    pub queues: Vec<Queue>,
    pub bindings: Vec<Binding>,
}

/// Something that the broker has otherwise than it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub object: String,
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// The fleet counts no deliveries: a crash would raise the counters of innocent neighbours too. RabbitMQ 4 counts by
/// default and drops at 20, so the limit is set out of reach; -1 would be refused or misread by older releases.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// How long subscribers can read events back from the stream; older ones are in Postgres.
const STREAM_MAX_AGE: &str = "30D";
const STREAM_MAX_BYTES: i64 = 20_000_000_000;

/// Those that every fleet has.
fn exchanges(namespace: &Namespace) -> Vec<Exchange> {
    [
        (exchange::RAW, "webhooks as they came, from gateways"),
        (exchange::VERIFIED, "verified facts; only the ingester writes"),
        (exchange::INBOUND, "the platform's own facts"),
        (exchange::FACTS, "admitted facts"),
        (exchange::EVENTS, "what Bursar tells the world"),
        (exchange::DEAD, "messages that a worker gave up on"),
    ]
    .map(|(name, what)| Exchange { name: namespace.name(name), what })
    .to_vec()
}

impl Topology {
    /// The topology of a fleet whose workers read these queues, with the exchanges that all share and the stream of events.
    pub fn new(namespace: &Namespace, ladder: &Ladder, queues: &[QueueSpec]) -> Self {
        let mut topology = Self { exchanges: exchanges(namespace), queues: Vec::new(), bindings: Vec::new() };
        for spec in queues {
            topology.queues.push(quorum(namespace, spec));
            topology.bindings.extend(spec.bindings.iter().map(|(exchange, routing_key)| Binding {
                exchange: namespace.name(exchange),
                routing_key,
                queue: namespace.name(spec.name),
            }));
        }
        topology.queues.push(stream(namespace, queue::EVENTS_LOG));
        topology.bindings.push(Binding {
            exchange: namespace.name(exchange::EVENTS),
            routing_key: "#",
            queue: namespace.name(queue::EVENTS_LOG),
        });
        for rung in ladder.rungs() {
            topology.rest_at(namespace, rung);
        }
        topology
    }

    fn rest_at(&mut self, namespace: &Namespace, rung: Rung) {
        let name = namespace.name(&rung.name());
        let what = "messages that rest before they are tried again";
        self.exchanges.push(Exchange { name: name.clone(), what });
        self.bindings.push(Binding { exchange: name.clone(), routing_key: "#", queue: name });
        self.queues.push(resting(namespace, rung));
    }

    /// Declares everything that is missing. Safe to repeat; an object that exists otherwise is an error.
    pub async fn declare(&self, broker: &Broker) -> Result<(), BrokerError> {
        let channel = broker.channel().await?;
        for exchange in &self.exchanges {
            channel
                .exchange_declare(
                    name(&exchange.name),
                    ExchangeKind::Topic,
                    durable(false),
                    FieldTable::default(),
                )
                .await?;
        }
        for queue in &self.queues {
            channel.queue_declare(name(&queue.name), queue.options(false), queue.table()).await?;
        }
        for binding in &self.bindings {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(
                    name(&binding.queue),
                    name(&binding.exchange),
                    name(binding.routing_key),
                    options,
                    FieldTable::default(),
                )
                .await?;
        }
        Broker::close_channel(channel).await;
        Ok(())
    }

    /// Compares the broker's exchanges and queues with this. AMQP has no way to list bindings: they are not compared.
    pub async fn check(&self, broker: &Broker) -> Result<Vec<Difference>, BrokerError> {
        let mut differences = Vec::new();
        for exchange in &self.exchanges {
            // Each on a channel of its own: the broker answers a difference by closing it.
            let channel = broker.channel().await?;
            let declare = |passive| {
                channel.exchange_declare(
                    name(&exchange.name),
                    ExchangeKind::Topic,
                    durable(passive),
                    FieldTable::default(),
                )
            };
            let found = match declare(true).await {
                Ok(()) => declare(false).await,
                missing => missing,
            };
            note(&mut differences, &exchange.name, found)?;
            Broker::close_channel(channel).await;
        }
        for queue in &self.queues {
            let channel = broker.channel().await?;
            let declare =
                |passive| channel.queue_declare(name(&queue.name), queue.options(passive), queue.table());
            let found = match declare(true).await {
                Ok(_) => declare(false).await,
                missing => missing,
            };
            note(&mut differences, &queue.name, found.map(drop))?;
            Broker::close_channel(channel).await;
        }
        Ok(differences)
    }

    /// Deletes every object, and whatever lies in the queues with it. For namespaces that a test, a demo or a benchmark made.
    pub async fn delete(&self, broker: &Broker) -> Result<(), BrokerError> {
        let channel = broker.channel().await?;
        for queue in &self.queues {
            channel.queue_delete(name(&queue.name), QueueDeleteOptions::default()).await?;
        }
        for exchange in &self.exchanges {
            channel.exchange_delete(name(&exchange.name), ExchangeDeleteOptions::default()).await?;
        }
        Broker::close_channel(channel).await;
        Ok(())
    }
}

fn name(text: &str) -> lapin::types::ShortString {
    text.into()
}

fn durable(passive: bool) -> ExchangeDeclareOptions {
    ExchangeDeclareOptions { durable: true, passive, ..ExchangeDeclareOptions::default() }
}

/// An answer of the broker about one object is a difference; anything else that fails is the connection's.
fn note(
    differences: &mut Vec<Difference>,
    object: &str,
    found: lapin::Result<()>,
) -> Result<(), BrokerError> {
    match found {
        Ok(()) => Ok(()),
        Err(error) if error.is_amqp_soft_error() => {
            differences.push(Difference { object: object.to_owned(), what: error.to_string() });
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

impl Queue {
    fn options(&self, passive: bool) -> QueueDeclareOptions {
        QueueDeclareOptions { durable: true, passive, ..QueueDeclareOptions::default() }
    }

    fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in &self.arguments {
            let value = match value {
                Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
                Argument::Number(number) => AMQPValue::LongLongInt(*number),
            };
            table.insert((*key).into(), value);
        }
        table
    }

    /// The arguments as text, for people.
    pub fn arguments(&self) -> Vec<(String, String)> {
        let text = |value: &Argument| match value {
            Argument::Text(text) => text.clone(),
            Argument::Number(number) => number.to_string(),
        };
        self.arguments.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect()
    }
}

/// A worker's queue. What the broker itself gives up on goes to the dead letters too, at least once: that needs
/// `reject-publish`, else it silently falls back to at most once.
fn quorum(namespace: &Namespace, spec: &QueueSpec) -> Queue {
    let mut arguments = vec![
        ("x-queue-type", Argument::Text("quorum".to_owned())),
        ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
    ];
    if spec.gives_up {
        arguments.extend([
            ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
            ("x-dead-letter-exchange", Argument::Text(namespace.name(exchange::DEAD))),
            ("x-dead-letter-routing-key", Argument::Text(spec.reader.to_owned())),
        ]);
    }
    Queue { name: namespace.name(spec.name), kind: QueueKind::Quorum, reader: Some(spec.reader), arguments }
}

/// Gives each message back to the queue it came from, once its time is up: the default exchange reads the queue's name
/// in the routing key.
fn resting(namespace: &Namespace, rung: Rung) -> Queue {
    let arguments = vec![
        ("x-queue-type", Argument::Text("quorum".to_owned())),
        ("x-message-ttl", Argument::Number(rung.0.as_millis() as i64)),
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
        ("x-dead-letter-exchange", Argument::Text(String::new())),
    ];
    Queue { name: namespace.name(&rung.name()), kind: QueueKind::Quorum, reader: None, arguments }
}

fn stream(namespace: &Namespace, of: &'static str) -> Queue {
    let arguments = vec![
        ("x-queue-type", Argument::Text("stream".to_owned())),
        ("x-max-age", Argument::Text(STREAM_MAX_AGE.to_owned())),
        ("x-max-length-bytes", Argument::Number(STREAM_MAX_BYTES)),
    ];
    Queue { name: namespace.name(of), kind: QueueKind::Stream, reader: None, arguments }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_begins_with_the_namespace_and_every_binding_joins_two_of_them() {
        let namespace = Namespace::new("shop-1").unwrap();
        let queues = [
            QueueSpec::new("porter", "porter", &[(exchange::RAW, "#")]),
            QueueSpec::new(
                "clerk",
                "clerk",
                &[(exchange::FACTS, "fact.usage"), (exchange::FACTS, "fact.grant")],
            ),
            QueueSpec { gives_up: false, ..QueueSpec::new("keeper", "keeper", &[(exchange::DEAD, "#")]) },
        ];
        let topology = Topology::new(&namespace, &Ladder::default(), &queues);
        let exchanges: Vec<&str> = topology.exchanges.iter().map(|e| e.name.as_str()).collect();
        let queues: Vec<&str> = topology.queues.iter().map(|q| q.name.as_str()).collect();
        assert!(exchanges.iter().chain(&queues).all(|name| name.starts_with("shop-1.")));
        for binding in &topology.bindings {
            assert!(exchanges.contains(&binding.exchange.as_str()), "{binding:?}");
            assert!(queues.contains(&binding.queue.as_str()), "{binding:?}");
        }
        let keeper = topology.queues.iter().find(|queue| queue.name == "shop-1.keeper").unwrap();
        assert!(keeper.arguments().iter().all(|(key, _)| !key.starts_with("x-dead-letter")), "{keeper:?}");
        let clerk = topology.queues.iter().find(|queue| queue.name == "shop-1.clerk").unwrap();
        let letters = ("x-dead-letter-routing-key".to_owned(), "clerk".to_owned());
        assert!(clerk.arguments().contains(&letters), "{clerk:?}");
    }

    #[test]
    fn a_namespace_needs_no_quoting() {
        assert!(Namespace::new("bursar").is_ok());
        for wrong in ["", "a b", "a/b", "a#", &"x".repeat(61)] {
            assert!(Namespace::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
