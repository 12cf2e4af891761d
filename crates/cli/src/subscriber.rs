//! A subscriber of events, as a downstream service would be one.

use anyhow::{Context, Result, anyhow};
use bus::{Broker, Namespace, exchange, queue};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use serde_json::Value;
use std::io::Write;

/// Events ahead of the reader; a stream insists on a limit.
const PREFETCH: u16 = 500;

pub struct Subscriber {
    channel: Channel,
    consumer: Consumer,
    /// A stream hands out more as events are acknowledged; a queue of one's own need not be told.
    acknowledges: bool,
}

/// Where in the stream to begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    First,
    Next,
}

impl Subscriber {
    /// A queue of one's own, bound to every event from now on; it goes away with the connection.
    pub async fn to_exchange(broker: &Broker, namespace: &Namespace) -> Result<Self> {
        let channel = broker.channel().await?;
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let own = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let own = own.name().clone();
        let events = namespace.name(exchange::EVENTS);
        let bound = channel.queue_bind(
            own.clone(),
            events.as_str().into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.with_context(|| format!("binding to {events}: does the fleet run in this namespace?"))?;
        Self::consume(channel, own.as_str(), FieldTable::default(), false).await
    }

    /// The stream of all events that its retention still holds.
    pub async fn to_stream(broker: &Broker, namespace: &Namespace, from: From) -> Result<Self> {
        let channel = broker.channel().await?;
        let mut arguments = FieldTable::default();
        let offset = match from {
            From::First => "first",
            From::Next => "next",
        };
        arguments.insert("x-stream-offset".into(), AMQPValue::LongString(offset.into()));
        let stream = namespace.name(queue::EVENTS_LOG);
        Self::consume(channel, &stream, arguments, true).await
    }

    async fn consume(
        channel: Channel,
        queue: &str,
        arguments: FieldTable,
        acknowledges: bool,
    ) -> Result<Self> {
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions { no_ack: !acknowledges, ..BasicConsumeOptions::default() },
                arguments,
            )
            .await
            .with_context(|| format!("reading {queue}: has a fleet ever run in this namespace?"))?;
        Ok(Self { channel, consumer, acknowledges })
    }

    /// Waits for the next event. What is none is said on stderr and passed over: whoever may write to the exchange could else
    /// keep every subscriber from what follows.
    pub async fn next(&mut self) -> Result<Value> {
        loop {
            let delivery =
                self.consumer.next().await.ok_or_else(|| anyhow!("the broker ended the subscription"))??;
            if self.acknowledges {
                self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await?;
            }
            match read(&delivery.data) {
                Ok(event) => return Ok(event),
                Err(why) => drop(writeln!(std::io::stderr(), "bursar: {why}")),
            }
        }
    }
}

/// Or what is said of it: nothing of what it holds.
fn read(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|_| {
        format!("expected an event as JSON, got {} bytes that are none: passed over", body.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_event_is_said_and_not_quoted() {
        assert_eq!(read(br#"{"type":"x"}"#).unwrap()["type"], "x");
        for odd in [&b"hush"[..], b"", b"\xff\x1b[2J", b"{\"hush\":"] {
            let why = read(odd).unwrap_err();
            assert_eq!(
                why,
                format!("expected an event as JSON, got {} bytes that are none: passed over", odd.len())
            );
        }
    }
}
