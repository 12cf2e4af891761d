//! Payment processors: is a delivery genuine, and what does it say in Bursar's own words.
//!
//! Both are pure functions of bytes, headers, settings and the time of arrival: nothing here reads a clock, a network
//! or a file. A translation acts on nothing; what it does not understand it hands on as an `unrecognised` fact, so
//! that a delivery whose signature was good is never lost and never retried for days.
//!
//! Adding a processor: its folder (`check_headers`, `verify`, `translate`), one line in [`ALL`], payloads beside `payloads/*`.

mod account_link;
pub mod api;
mod delivery;
mod fields;
mod generic;
mod json;
mod paddle;
mod signature;
mod sources;
pub mod stripe;
#[cfg(test)]
mod tests;

pub use delivery::further_id;
pub use sources::{InvalidPattern, Overlap, SourcePattern, Sources, Speaker, is_reserved_source};

use domain::Envelope;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Every processor there is.
pub const ALL: [&Processor; 3] = [&paddle::PROCESSOR, &stripe::PROCESSOR, &generic::PROCESSOR];

pub fn find(name: &str) -> Option<&'static Processor> {
    ALL.into_iter().find(|processor| processor.name == name)
}

/// What Bursar can do with one processor's deliveries.
pub struct Processor {
    /// As it stands in routes, ids and routing keys.
    pub name: &'static str,
    /// The headers that [`verify`](Self::verify) reads, in lower case: a gateway has to pass on these.
    pub signature_headers: &'static [&'static str],
    /// What of [`verify`](Self::verify) can be told before the body is there: form and time of the headers, and whether there
    /// is a secret at all. Whatever it refuses, `verify` refuses for the same reason, so that no body is read in vain.
    pub check_headers: CheckHeaders,
    /// Whether one of the secrets signed these very bytes, no longer than [`TOLERANCE`] before or after they arrived.
    /// The time to give is that of the first arrival, not of the check: a queue may lie in between.
    pub verify: Verify,
    /// The headers that the processor would send with this body at this time.
    pub sign: Sign,
    /// The facts of a verified body, the primary one first: it has the event's own id and carries the body along.
    pub translate: Translate,
}

pub type CheckHeaders = fn(
    headers: &dyn Fn(&str) -> Option<String>,
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused>;

pub type Verify = fn(
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    secrets: &[SecretString],
    received_at: OffsetDateTime,
) -> Result<(), Refused>;

pub type Sign = fn(
    secret: &SecretString,
    body: &[u8],
    at: OffsetDateTime,
) -> Result<Vec<(&'static str, String)>, Refused>;

pub type Translate =
    fn(settings: &Settings, body: &[u8], received_at: OffsetDateTime) -> Result<Vec<Envelope>, Malformed>;

/// How far a signature's time may lie from the delivery's arrival, on either side. The processors' own libraries
/// take 5 s to 300 s; 5 s refuses good traffic (<https://github.com/PaddleHQ/paddle-node-sdk/issues/30>), and repeats
/// within the window are stopped by the gate, not here.
pub const TOLERANCE: time::Duration = time::Duration::seconds(300);

/// What a translation depends on besides the body.
#[derive(Debug, Clone)]
pub struct Settings {
    pub mode: Mode,
    /// Where the platform put its account id: a key of Paddle's `custom_data` and of Stripe's `metadata`.
    pub custom_data_key: String,
    /// The key of Stripe's `metadata` that names a price of the catalog.
    pub metadata_price_key: String,
    /// The key of Stripe's `metadata` that says how many of that price.
    pub metadata_quantity_key: String,
    /// Connected accounts of Stripe's whose events count as the platform's own.
    pub stripe_accounts: Vec<String>,
    /// Set where the platform signs its account links: `<account>.<hex HMAC-SHA256(link_secret, account)>`.
    pub link_secret: Option<SecretString>,
    /// Decimal places of a credit in this deployment.
    pub credits_scale: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Live,
            custom_data_key: "account_id".to_owned(),
            metadata_price_key: "price".to_owned(),
            metadata_quantity_key: "quantity".to_owned(),
            stripe_accounts: Vec::new(),
            link_secret: None,
            credits_scale: 6,
        }
    }
}

/// Whether this ledger is about real money. Deliveries of the other kind are kept and never applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Live,
    Test,
}

/// Why a delivery is not taken for genuine. Never contains a secret, a signature or a part of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The processor's door is closed: nothing is accepted unverified.
    #[error(
        "expected a webhook secret to verify deliveries with, got none: configure one for this processor to open its door"
    )]
    NoSecret,
    /// HTTP 400.
    #[error("expected the header {header}, got none: pass the processor's delivery on with all its headers")]
    MissingHeader { header: &'static str },
    /// HTTP 400.
    #[error("expected {expected} in the header {header}, got {got}: pass the header on exactly as it came")]
    MalformedHeader { header: &'static str, expected: &'static str, got: &'static str },
    /// HTTP 401. `age_s` is negative for a signature from the future.
    #[error(
        "expected a signature made within {} s of its arrival, got one made {age_s} s before it: \
         compare the clocks, or have the processor deliver again",
        TOLERANCE.whole_seconds()
    )]
    Stale { age_s: i64 },
    /// HTTP 401.
    #[error(
        "expected a signature by a configured secret over the body as it came, got none that matches: \
         check that the secret belongs to this endpoint, and that nothing on the way re-encodes the body"
    )]
    Mismatch,
}

impl Refused {
    /// The request itself is wrong (HTTP 400), as against a request that proves nothing (HTTP 401).
    pub fn is_malformed(&self) -> bool {
        match self {
            Refused::MissingHeader { .. } | Refused::MalformedHeader { .. } => true,
            Refused::NoSecret | Refused::Stale { .. } | Refused::Mismatch => false,
        }
    }
}

/// A body in which nothing can be told apart, not even which event it is (HTTP 400); from `generic` also one that says
/// what it may not. The text is for the sender. It quotes nothing of a processor's body, of an adapter's only the value
/// that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);
