//! A door: the accept loop, and what it allows those who come. The front door and the admin door each have one of their own.
//!
//! Whoever talks slowly takes nothing but a connection, and that only until somebody else needs it: each phase of a request
//! has its time (see [`visit`]), and a door that is full closes the connection that has kept it waiting longest. What is in
//! work is never closed for another. Nothing here reads a body or knows a route.

mod caller;
mod connection;
mod limits;
mod refused;
mod visit;
mod visitors;

pub use caller::{Caller, Proxies, ProxyHeader};
pub use limits::{BODY_MAX, Limits};
pub use refused::{Why, count};

use axum::Router;
use refused::Turned;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use visitors::Visitors;

/// Connections that are still open this long after the door was closed are cut. Above what a request in work takes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the process may open no more descriptors: until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is said that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Serves connections until it is stopped, and what is in hand then. Always ends within [`DRAIN_TIMEOUT`] of the stop.
pub async fn serve(
    name: &'static str,
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let door = Door { routes, visitors: Visitors::new(name, limits), stop: stop.clone() };
    let mut connections = JoinSet::new();
    let mut told: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => note_panic(name, ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => door.receive(stream, peer, &mut connections),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                        tracing::error!(door = name, %error, "cannot accept connections: raise the limit of open files");
                        told = Some(Instant::now());
                    }
                    door.make_room_for_descriptors(&stop).await;
                }
            },
        }
    }
    drop(listener);
    drain(name, connections).await;
}

/// Somebody gave up before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionReset, Interrupted].contains(&error.kind())
}

fn note_panic(door: &'static str, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(door, %error, "a request ended by a panic");
    }
}

async fn drain(name: &'static str, mut connections: JoinSet<()>) {
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
        while let Some(ended) = connections.join_next().await {
            note_panic(name, ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(
            door = name,
            connections = connections.len(),
            "connections are cut: they did not end in time"
        );
        connections.shutdown().await;
    }
}

struct Door {
    routes: Router,
    visitors: Arc<Visitors>,
    stop: CancellationToken,
}

impl Door {
    fn receive(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        match self.visitors.admit(peer.ip()) {
            Ok(guest) => {
                connections.spawn(connection::attend(stream, guest, self.routes.clone(), self.stop.clone()));
            }
            Err(why) => {
                self.visitors.count(why);
                Turned::away(why).tell(&stream);
            }
        }
    }

    /// A pause, so that the loop does not spin; what it closes first comes back as descriptors.
    async fn make_room_for_descriptors(&self, stop: &CancellationToken) {
        self.visitors.count(Why::Descriptors);
        self.visitors.close_one();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
        }
    }
}
