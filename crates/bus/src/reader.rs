//! Reading a queue message by message, for an operator's command: what is not done with goes back when it is closed.

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::incoming::Incoming;
use crate::topology::Namespace;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions};

pub struct QueueReader {
    channel: Channel,
    queue: String,
    unseen: u32,
}

impl QueueReader {
    /// `queue`: without the namespace.
    pub async fn open(broker: &Broker, namespace: &Namespace, queue: &str) -> Result<Self, BrokerError> {
        Ok(Self { channel: broker.channel().await?, queue: namespace.name(queue), unseen: 0 })
    }

    /// The next message as it lies there, and its tag; nothing once all have been seen.
    pub async fn next(&mut self) -> Result<Option<(u64, Incoming)>, BrokerError> {
        let got = self.channel.basic_get(self.queue.as_str().into(), BasicGetOptions::default()).await?;
        self.unseen = got.as_ref().map_or(0, |got| got.message_count);
        Ok(got.map(|got| (got.delivery_tag, Incoming::from(got.delivery))))
    }

    /// How many lay behind the one that was seen last.
    pub fn unseen(&self) -> u32 {
        self.unseen
    }

    /// It is safe elsewhere: it leaves the queue.
    pub async fn done(&mut self, tag: u64) -> Result<(), BrokerError> {
        Ok(self.channel.basic_ack(tag, BasicAckOptions::default()).await?)
    }

    pub async fn close(self) {
        Broker::close_channel(self.channel).await;
    }
}
