//! RabbitMQ: topology as data, a publisher that knows the fate of every message, and the loop that runs a worker.
//!
//! Architecture invariants:
//! - Nothing here knows a worker or a fact. A worker is a type that implements [`Worker`].
//! - A message is acknowledged only when everything in it is settled: committed, published and confirmed, or confirmed
//!   in the dead-letter exchange.
//! - lapin's automatic recovery stays off. Whatever breaks tears its unit down, and the unit is built anew.

mod backoff;
mod connection;
mod connections;
mod consumer;
mod error;
mod fate;
pub mod header;
mod hosts;
mod incoming;
mod message;
mod onward;
pub mod outbox;
mod properties;
mod publisher;
mod reader;
mod restored;
mod returned;
mod settings;
mod topology;
mod unreadable;
mod wire;

pub use backoff::Delays;
pub use connection::{Broker, QueueDepth};
pub use connections::close_connections;
pub use consumer::{
    BATCH_FACTS, Context, Decoded, EmittedEvents, Health, REPLAYED, ReplayOutcome, Settled, TIME_LIMIT,
    Verdict, Worker, run,
};
pub use error::BrokerError;
pub use fate::{Fate, Fated, check_code, code, panic_text};
pub use hosts::BrokerHosts;
pub use incoming::Incoming;
pub use message::Message;
pub use publisher::{PublishError, Publisher};
pub use reader::QueueReader;
pub use returned::{Attempt, Death, ReplayedLetter, Returned};
pub use settings::RetrySettings;
pub use topology::{
    Binding, Difference, Exchange, Ladder, Namespace, Queue, QueueKind, QueueSpec, Topology, exchange, queue,
};
pub use unreadable::UnreadableProperties;
