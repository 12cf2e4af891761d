//! Facts stated durably: in RabbitMQ, or in Postgres while RabbitMQ is away.
//!
//! Every part that states facts to the gate does it here: the front door, an operator's command, a worker's scheduled pass.
//! After [`FactWriter::state`] has returned without an error they are lost with no single server.

use crate::envelopes::pack;
use bus::{Message, Namespace, Publisher, exchange};
use db::spool::SpooledMessage;
use db::{Doing, Pool};
use domain::Envelope;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// RabbitMQ counts as away when it does not confirm within this.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(1500);

/// Postgres counts as away when it has not committed within this. Together with the above a sender has its answer within
/// 4 s, before Paddle's 5 s are over.
const SPOOL_TIMEOUT: Duration = Duration::from_millis(2300);

/// States facts to the gate, by the exchange on which the fleet itself is believed everything.
#[derive(Clone)]
pub struct FactWriter {
    pub namespace: Namespace,
    pub publisher: Publisher,
    /// Where the spool is.
    pub pool: Pool,
}

/// Neither server took the facts in time. They may be stated again: whatever has two of them makes one of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither RabbitMQ nor Postgres can take it now ({0}): send it again later")]
pub struct NowhereDurable(String);

impl FactWriter {
    /// Facts as messages for the gate.
    pub fn messages(&self, envelopes: Vec<Envelope>) -> Vec<Message> {
        pack(&self.namespace, exchange::VERIFIED, envelopes)
    }

    /// Returns once the facts are durable: RabbitMQ has confirmed them, or Postgres has committed them to the spool.
    ///
    /// # Errors
    /// [`NowhereDurable`]: neither RabbitMQ nor Postgres has taken all of them.
    pub async fn state(&self, envelopes: Vec<Envelope>) -> Result<(), NowhereDurable> {
        let messages = self.messages(envelopes);
        let published =
            tokio::time::timeout(CONFIRM_TIMEOUT, self.publisher.publish_all(messages.clone())).await;
        let why = match published {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no confirm within {} ms", CONFIRM_TIMEOUT.as_millis()),
        };
        tracing::warn!(
            why,
            messages = messages.len(),
            "RabbitMQ did not confirm: the facts go to the spool in Postgres"
        );
        match tokio::time::timeout(SPOOL_TIMEOUT, self.spool(messages)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(NowhereDurable(error.to_string())),
            Err(_) => Err(NowhereDurable("Postgres did not answer in time".to_owned())),
        }
    }

    async fn spool(&self, messages: Vec<Message>) -> Result<(), db::Error> {
        let spooled: Vec<SpooledMessage> = messages.into_iter().map(spooled).collect();
        let count = spooled.len() as u64;
        let mut connection = self.pool.acquire().await.doing("taking a connection")?;
        db::spool::put(&mut connection, OffsetDateTime::now_utc(), &spooled).await?;
        metrics::counter!("bursar_kept_total").increment(count);
        Ok(())
    }
}

fn spooled(message: Message) -> SpooledMessage {
    let Message { exchange, routing_key, message_id, content_type, headers, body } = message;
    SpooledMessage { id: Uuid::now_v7(), exchange, routing_key, message_id, content_type, headers, body }
}
