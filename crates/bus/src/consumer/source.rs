//! Where a lane's messages come from: one consumer on one channel.

use super::stop::Stop;
use super::suspect::came_back_often;
use crate::connection::Broker;
use crate::incoming::Incoming;
use crate::topology::Namespace;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio_util::sync::CancellationToken;

/// Why a lane's consumer is over.
pub(super) enum Ended {
    /// The lane was asked to stop, and everything it had taken up is settled.
    Stopped,
    /// The consumer or its channel is gone.
    Lost(String),
    /// Another prefetch fits the messages better, and all that the old consumer brought is settled.
    Resized,
}

impl From<Stop> for Ended {
    fn from(Stop: Stop) -> Self {
        Ended::Stopped
    }
}

pub(super) struct Source {
    channel: Channel,
    consumer: Consumer,
    namespace: Namespace,
    supply: Supply,
    /// A message that was taken and did not belong into the batch before.
    waiting: Option<TakenMessage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Supply {
    Open,
    /// The consumer was cancelled, and brings what was on its way.
    Draining,
    Drained,
}

/// A message that was taken and is in no batch yet.
pub(super) struct TakenMessage {
    pub tag: u64,
    pub message: Incoming,
}

impl TakenMessage {
    /// Whether it is settled with no other beside it: a suspect, and what failed before, for which others would have to wait.
    /// The attempts of a dead letter were made before it died and do not count.
    pub fn stands_alone(&self) -> bool {
        let message = &self.message;
        let has_failed = message.death.is_none() && !message.attempts().is_empty();
        has_failed || came_back_often(message.returns)
    }
}

impl Source {
    /// Consumes from a queue, by its whole name.
    pub async fn open(
        channel: &Channel,
        namespace: &Namespace,
        queue: &str,
        tag: &str,
        prefetch: u16,
    ) -> lapin::Result<Self> {
        // Without a limit the client would buffer the whole queue in memory. It holds for the consumers that come after it.
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await?;
        let (channel, namespace) = (channel.clone(), namespace.clone());
        Ok(Self { channel, consumer, namespace, supply: Supply::Open, waiting: None })
    }

    /// The first message of a batch, however long that takes. Fails once the lane is asked to stop.
    pub async fn first(&mut self, stop: &CancellationToken) -> Result<Option<TakenMessage>, Ended> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(Some(waiting));
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Ended::Stopped),
            first = self.next() => first,
        }
    }

    /// The next message; nothing once a consumer that was cancelled has brought all it had.
    pub async fn next(&mut self) -> Result<Option<TakenMessage>, Ended> {
        if self.supply == Supply::Drained {
            return Ok(None);
        }
        let delivery = self.consumer.next().await;
        if delivery.is_none() && self.supply == Supply::Draining {
            self.supply = Supply::Drained;
            return Ok(None);
        }
        let delivery = delivered(delivery)?;
        let tag = delivery.delivery_tag;
        Ok(Some(TakenMessage { tag, message: Incoming::from(delivery).restored(&self.namespace) }))
    }

    /// Leaves a message to the next batch.
    pub fn leave(&mut self, taken: TakenMessage) {
        self.waiting = Some(taken);
    }

    /// Acknowledges everything up to this delivery.
    pub async fn acknowledge(&self, last_tag: u64) -> lapin::Result<()> {
        self.channel.basic_ack(last_tag, BasicAckOptions { multiple: true }).await
    }

    /// Cancels the consumer. What it has brought already is still settled: given back it would count as returned.
    pub async fn drain(&mut self) -> lapin::Result<()> {
        if self.supply == Supply::Open {
            self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await?;
            self.supply = Supply::Draining;
        }
        Ok(())
    }

    /// What was delivered and not taken up goes back with the closing channel. RabbitMQ before 4 counts that as a return, as
    /// it does a crash; a message that becomes a suspect by it is only settled alone.
    pub async fn close(self) {
        drop(self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await);
        Broker::close_channel(self.channel).await;
    }
}

fn delivered(delivery: Option<lapin::Result<Delivery>>) -> Result<Delivery, Ended> {
    match delivery {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(Ended::Lost(error.to_string())),
        // Its queue was deleted, or an acknowledgement took too long.
        None => Err(Ended::Lost("the server cancelled the consumer".to_owned())),
    }
}
