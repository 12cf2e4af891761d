//! The limits of a door.

use super::proxies::Proxies;
use std::time::Duration;

/// Larger bodies are refused. Paddle's and Stripe's largest are some tens of kilobytes.
pub const BODY_MAX: usize = 1024 * 1024;

/// What a door allows its peers.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    /// Open at once.
    pub connections: usize,
    /// Of these from one address: connections, or where a proxy stands in front requests in hand.
    pub connections_per_address: usize,
    /// From the connection, or the head's first byte, to its last.
    pub head_timeout: Duration,
    /// From an answer to the next request.
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    /// Bytes a second that a body must bring after its first moments.
    pub body_rate: u32,
    /// From an answer's beginning until the peer has taken it.
    pub answer_timeout: Duration,
    /// Of bodies that are on their way, all together.
    pub bodies_bytes: usize,
    /// Of bodies that are genuine and not yet durable, all together.
    pub work_bytes: usize,
    /// Unknown tokens from one address within a minute that are answered with 401; further ones get 429.
    pub failed_tokens: u32,
    pub proxies: Proxies,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_per_address: 256,
            head_timeout: Duration::from_secs(10),
            // Above the 60 s after which common proxies close a connection that they keep.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(10),
            body_rate: 1024,
            answer_timeout: Duration::from_secs(10),
            bodies_bytes: 16 * 1024 * 1024,
            work_bytes: 16 * 1024 * 1024,
            failed_tokens: 20,
            proxies: Proxies::default(),
        }
    }
}

impl DoorLimits {
    /// Those of the admin door: few connections, from any address.
    pub fn of_admin() -> Self {
        Self { connections: 64, connections_per_address: 64, ..Self::default() }
    }
}
