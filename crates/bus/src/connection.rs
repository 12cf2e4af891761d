//! A connection that is there when it is needed, shared by the channels of one purpose.

use crate::{connections, wire};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// A broker that does not answer within this is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Closing is a courtesy; a broker that is gone must not hold up a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),
    #[error("RabbitMQ did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl BrokerError {
    /// The broker or the way to it is away; a refusal by the broker (an object that exists otherwise, no permission) is
    /// not.
    pub fn is_transient(&self) -> bool {
        match self {
            BrokerError::Amqp(error) => !error.is_amqp_soft_error(),
            BrokerError::Timeout(_) => true,
        }
    }
}

/// One connection to the broker, made at first use and made anew once it is lost.
///
/// Publishing and consuming each take a `Broker` of their own: a broker under memory alarm stops reading from whoever
/// publishes, and acknowledgements must still flow.
#[derive(Clone)]
pub struct Broker {
    url: SecretString,
    name: String,
    connection: Arc<connections::Place>,
}

/// Messages that wait in a queue, not counting those delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    pub ready: u32,
    pub consumers: u32,
}

impl Broker {
    /// `name` shows in the broker's list of connections.
    pub fn new(url: SecretString, name: &str) -> Self {
        let connection = Arc::default();
        connections::remember(&connection);
        Self { url, name: name.to_owned(), connection }
    }

    /// Another connection of the same kind, for one purpose of several.
    pub(crate) fn apart(&self, purpose: &str) -> Self {
        Self::new(self.url.clone(), &format!("{} {purpose}", self.name))
    }

    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connected().await?;
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, connection.create_channel()).await;
        match opened {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => {
                self.forget(&connection).await;
                Err(error.into())
            }
            Err(_) => {
                self.forget(&connection).await;
                Err(BrokerError::Timeout(CONNECT_TIMEOUT))
            }
        }
    }

    async fn connected(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = place.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(connection.clone());
        }
        let properties = ConnectionProperties::default()
            .with_connection_name(self.name.as_str().into())
            // One attempt: when to try again is decided by whoever needs the connection.
            .configure_backoff(|backoff| backoff.with_max_times(0));
        let url = self.url_with_heartbeat();
        let connecting = wire::connect(&url, properties);
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| BrokerError::Timeout(CONNECT_TIMEOUT))??;
        let connection = Arc::new(connection);
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// The server's default of 60 s would notice a broken line too late.
    fn url_with_heartbeat(&self) -> String {
        let url = self.url.expose_secret();
        match url.contains("heartbeat=") {
            true => url.to_owned(),
            false => format!("{url}{}heartbeat=15", if url.contains('?') { '&' } else { '?' }),
        }
    }

    /// Lets go of a connection that failed, so that the next caller makes a new one.
    async fn forget(&self, failed: &Arc<Connection>) {
        let mut place = self.connection.lock().await;
        if place.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, failed)) {
            *place = None;
        }
    }

    pub async fn is_connected(&self) -> bool {
        self.connection.lock().await.as_ref().is_some_and(|connection| connection.status().connected())
    }

    /// How many messages wait in a queue, by its whole name.
    pub async fn depth(&self, queue: &str) -> Result<QueueDepth, BrokerError> {
        let channel = self.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        let depth = QueueDepth { ready: declared.message_count(), consumers: declared.consumer_count() };
        Self::close_channel(channel).await;
        Ok(depth)
    }

    pub(crate) async fn close_channel(channel: Channel) {
        drop(tokio::time::timeout(CLOSE_TIMEOUT, channel.close(200, "done".into())).await);
    }

    pub async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            drop(tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "done".into())).await);
        }
    }
}
