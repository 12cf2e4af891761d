//! The ingester: the front door. It takes deliveries over HTTP and from the queue of raw deliveries, checks the
//! signature over the bytes as they came, translates them to facts and puts those where they are durable.
//!
//! The front door survives the loss of one server. Facts go to RabbitMQ; where it does not confirm in time they are kept
//! in Postgres and published later; if both are away the sender gets a 503 and sends again. Nothing is answered with
//! success before it is durable, and nothing is ever accepted unverified.

mod access;
mod body;
pub mod code;
mod door;
mod headers;
mod http;
mod intake;
mod problem;
mod raw;
mod settings;
mod tokens;
mod worker;

pub use access::Access;
pub use door::{Caller, DoorLimits, Proxies, ProxyHeader, listen, serve};
pub use http::{path_text, routes, wrong_method};
pub use intake::{Intake, Rejected, Secrets};
pub use problem::problem;
pub use raw::RawQueue;
pub use settings::{DoorSettings, TokenEntry};
pub use tokens::{InvalidToken, Scope, Token, Tokens, hash};
pub use worker::{WORKER, member, publish_spool};
