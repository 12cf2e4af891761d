//! Why the door refused a connection or a request, and how it says so before there is a request to answer.

use crate::problem::{PROBLEM, Problem, RETRY_AFTER_S};
use axum::http::StatusCode;
use tokio::net::TcpStream;

/// Why a connection or a request was refused: the labels of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Every connection is in work.
    Connections,
    /// Every connection of this address is in work.
    Address,
    /// The process may open no more descriptors.
    Descriptors,
    /// It was closed for another, since it had kept the door waiting longest.
    MadeWay,
    SlowHead,
    Idle,
    SlowBody,
    SlowAnswer,
    /// No answer was found in time.
    Unanswered,
    LargeBody,
    /// Too many bytes of bodies are on their way.
    Bodies,
    /// Too many bytes of genuine bodies are not yet durable.
    Work,
    /// A header that counts once came twice.
    Ambiguous,
    /// A path that is no text.
    Path,
    /// Too many unknown tokens from this address.
    Tokens,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Connections => "connections",
            Why::Address => "address",
            Why::Descriptors => "descriptors",
            Why::MadeWay => "made_way",
            Why::SlowHead => "slow_head",
            Why::Idle => "idle",
            Why::SlowBody => "slow_body",
            Why::SlowAnswer => "slow_answer",
            Why::Unanswered => "unanswered",
            Why::LargeBody => "large_body",
            Why::Bodies => "bodies",
            Why::Work => "work",
            Why::Ambiguous => "ambiguous",
            Why::Path => "path",
            Why::Tokens => "tokens",
        }
    }
}

pub fn count(door: &'static str, why: Why) {
    metrics::counter!("bursar_door_refused_total", "door" => door, "why" => why.as_str()).increment(1);
}

/// An answer that is written as it is, where no request was read.
pub struct Turned {
    status: StatusCode,
    detail: &'static str,
}

impl Turned {
    pub fn away(why: Why) -> Self {
        let (status, detail) = match why {
            Why::Address => {
                (StatusCode::TOO_MANY_REQUESTS, "too many connections from this address: try again later")
            }
            Why::SlowHead => (StatusCode::REQUEST_TIMEOUT, "the request's head did not arrive in time"),
            Why::SlowBody => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Why::Unanswered => {
                (StatusCode::SERVICE_UNAVAILABLE, "no answer was found in time: try again later")
            }
            Why::Connections
            | Why::Descriptors
            | Why::MadeWay
            | Why::Idle
            | Why::SlowAnswer
            | Why::LargeBody
            | Why::Bodies
            | Why::Work
            | Why::Ambiguous
            | Why::Path
            | Why::Tokens => (StatusCode::SERVICE_UNAVAILABLE, "too many connections: try again later"),
        };
        Self { status, detail }
    }

    /// As far as the peer's window takes it: the door does not wait for the peer.
    pub fn tell(&self, stream: &TcpStream) {
        let body = Problem { status: self.status, detail: self.detail.to_owned() }.text(None);
        let text = format!(
            "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: {RETRY_AFTER_S}\r\nconnection: close\r\n\r\n{body}",
            self.status,
            PROBLEM,
            body.len(),
        );
        drop(stream.try_write(text.as_bytes()));
    }
}
