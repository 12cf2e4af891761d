//! Reads a queue message by message, for an operator's command. RabbitMQ takes back what was not acknowledged when the reader
//! is closed.

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::incoming::Incoming;
use crate::topology::Namespace;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions};

/// One queue, on a channel of its own.
pub struct QueueReader {
    channel: Channel,
    queue: String,
    unseen: u32,
}

impl QueueReader {
    /// `queue`: without the namespace.
    ///
    /// # Errors
    /// Where RabbitMQ gives no channel.
    pub async fn open(broker: &Broker, namespace: &Namespace, queue: &str) -> Result<Self, BrokerError> {
        Ok(Self { channel: broker.channel().await?, queue: namespace.name(queue), unseen: 0 })
    }

    /// The next message as it lies there, and its tag; nothing once all have been seen.
    ///
    /// # Errors
    /// Where RabbitMQ does not answer, or has no such queue.
    pub async fn next(&mut self) -> Result<Option<(u64, Incoming)>, BrokerError> {
        let got = self.channel.basic_get(self.queue.as_str().into(), BasicGetOptions::default()).await?;
        self.unseen = got.as_ref().map_or(0, |got| got.message_count);
        Ok(got.map(|got| (got.delivery_tag, Incoming::from(got.delivery))))
    }

    /// How many lay behind the one that was seen last.
    pub fn unseen(&self) -> u32 {
        self.unseen
    }

    /// Takes a message that is safe elsewhere out of the queue.
    ///
    /// # Errors
    /// Where the channel is lost: the message stays in the queue.
    pub async fn done(&mut self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_ack(tag, BasicAckOptions::default()).await?)
    }

    /// Whatever was not taken out goes back.
    pub async fn close(self) {
        Broker::close_channel(self.channel).await;
    }
}
