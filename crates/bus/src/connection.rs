//! A connection that is made when it is first needed, shared by the channels of one purpose.

use crate::connections;
pub use crate::error::BrokerError;
use crate::hosts::BrokerHosts;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A broker that gives no channel within this is away.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Closing is a courtesy; a broker that is gone must not hold up a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One connection to the broker, made at first use and made anew once it is lost.
///
/// Publishing and consuming each take a `Broker` of their own: a broker under memory alarm stops reading from whoever
/// publishes, and acknowledgements must still flow.
#[derive(Clone)]
pub struct Broker {
    /// Or why the URL cannot be read.
    hosts: Result<BrokerHosts, String>,
    name: String,
    connection: Arc<connections::ConnectionSlot>,
    /// The number of the host that the connection leads to; changed under its lock.
    host: Arc<AtomicUsize>,
}

/// Messages that wait in a queue, not counting those delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    pub ready: u32,
    pub consumers: u32,
}

impl Broker {
    /// `name` shows in the broker's list of connections. Of several hosts that the URL names the first that lets us in is taken;
    /// a host that failed is asked last.
    pub fn new(url: SecretString, name: &str) -> Self {
        Self::to(BrokerHosts::parse(url.expose_secret()), name.to_owned())
    }

    fn to(hosts: Result<BrokerHosts, String>, name: String) -> Self {
        let connection = Arc::default();
        connections::remember(&connection);
        Self { hosts, name, connection, host: Arc::default() }
    }

    /// Another connection of the same kind, for one purpose of several.
    pub(crate) fn apart(&self, purpose: &str) -> Self {
        Self::to(self.hosts.clone(), format!("{} {purpose}", self.name))
    }

    /// A new channel, on a connection that is made anew where it is lost.
    ///
    /// # Errors
    /// Where no host lets us in, or gives no channel in time.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connected().await?;
        let opened = tokio::time::timeout(CHANNEL_TIMEOUT, connection.create_channel()).await;
        match opened {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => {
                self.forget(&connection).await;
                Err(error.into())
            }
            Err(_) => {
                self.forget(&connection).await;
                Err(BrokerError::Timeout(CHANNEL_TIMEOUT))
            }
        }
    }

    async fn connected(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = place.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(connection.clone());
        }
        let hosts = self.hosts.as_ref().map_err(|why| BrokerError::Url(why.clone()))?;
        if place.take().is_some() {
            hosts.pass_over(self.host.load(Ordering::Relaxed));
        }
        let (host, connection) = hosts.connect(&self.name).await?;
        self.host.store(host, Ordering::Relaxed);
        let connection = Arc::new(connection);
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// Lets go of a connection that failed, so that the next caller makes a new one.
    async fn forget(&self, failed: &Arc<Connection>) {
        let mut place = self.connection.lock().await;
        if place.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, failed)) {
            *place = None;
            let host = self.host.load(Ordering::Relaxed);
            self.hosts.iter().for_each(|hosts| hosts.pass_over(host));
        }
    }

    /// Whether there is a connection just now.
    pub async fn is_connected(&self) -> bool {
        self.connection.lock().await.as_ref().is_some_and(|connection| connection.status().connected())
    }

    /// How many messages wait in a queue, by its whole name.
    ///
    /// # Errors
    /// Where RabbitMQ does not answer, or has no such queue.
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

    /// Closes the connection in order, and waits no longer than 2 s for that.
    pub async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            drop(tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "done".into())).await);
        }
    }
}
