//! A door: the accept loop, and what it allows its peers. The front door and the admin door each have one of their own.
//!
//! A peer that is slow takes nothing but a connection, and that only until another peer needs it: each phase of a request
//! has its time (see [`visit`]), and a door that is full closes the connection that has kept it waiting longest. What is in
//! work is never closed for another. Nothing here reads a body or knows a route.

mod caller;
mod connection;
mod limits;
mod proxies;
mod refused;
mod request;
mod visit;
mod visitors;

pub use caller::Caller;
pub use limits::{BODY_MAX, DoorLimits};
pub use proxies::{Proxies, ProxyHeader};
pub use refused::{Why, count};

use axum::Router;
use connection::Answers;
use refused::Turned;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use visitors::Visitors;

/// How long a closed door still waits for its open connections: for the rest of a request, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is still in work this long after that is cut: an answer takes 4 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the process may open no more descriptors: until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is said that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Connections that the system takes while the loop is busy. It cuts this down to its own limit; with the 128 of the standard
/// library a crowd makes every newcomer wait the second after which a lost beginning is sent again.
const BACKLOG: u32 = 4096;

/// Listens on an address, for [`serve`].
///
/// # Errors
/// Those of the system: the address is in use, or this machine has it not.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Serves connections until it is stopped, and what is in hand then. Always ends within [`PATIENCE`] and [`DRAIN_TIMEOUT`].
pub async fn serve(
    name: &'static str,
    listener: TcpListener,
    routes: Router,
    limits: DoorLimits,
    stop: CancellationToken,
) {
    metrics::counter!("bursar_door_panics_total", "door" => name).increment(0);
    let crowded = request::with_request_ids(name, connection::crowded());
    let routes = request::with_request_ids(name, routes);
    let door = OpenDoor { routes, crowded, visitors: Visitors::new(name, limits), stop: stop.clone() };
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
    door.drain(connections).await;
}

/// The peer gave up before the connection was accepted.
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

struct OpenDoor {
    routes: Router,
    /// Answers an address with too many requests in hand.
    crowded: Router,
    visitors: Arc<Visitors>,
    stop: CancellationToken,
}

impl OpenDoor {
    fn receive(&self, stream: TcpStream, peer: SocketAddr, connections: &mut JoinSet<()>) {
        match self.visitors.admit(peer.ip()) {
            Ok(guest) => {
                let (routes, crowded) = (self.routes.clone(), self.crowded.clone());
                connections.spawn(connection::attend(
                    stream,
                    guest,
                    Answers { routes, crowded },
                    self.stop.clone(),
                ));
            }
            Err(why) => {
                self.visitors.count(why);
                Turned::away(why).tell(&stream);
            }
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        if self.all_end(&mut connections, PATIENCE).await {
            return;
        }
        self.visitors.close_all();
        if !self.all_end(&mut connections, DRAIN_TIMEOUT).await {
            tracing::warn!(connections = connections.len(), "connections are cut: they did not end in time");
            connections.shutdown().await;
        }
    }

    async fn all_end(&self, connections: &mut JoinSet<()>, limit: Duration) -> bool {
        let all = async {
            while let Some(ended) = connections.join_next().await {
                note_panic(self.visitors.door, ended);
            }
        };
        tokio::time::timeout(limit, all).await.is_ok()
    }

    /// A pause, so that the loop does not spin; what it closes first comes back as descriptors.
    async fn make_room_for_descriptors(&self, stop: &CancellationToken) {
        self.visitors.count(Why::Descriptors);
        self.visitors.close_old();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(ACCEPT_PAUSE) => {}
        }
    }
}
