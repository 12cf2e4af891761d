//! Why a delivery is turned away.

/// How far a signature's time may lie from the delivery's arrival, on either side. The processors' own libraries
/// take 5 s to 300 s; 5 s refuses good traffic (<https://github.com/PaddleHQ/paddle-node-sdk/issues/30>), and repeats
/// within the window are stopped by the gate, not here.
pub const TOLERANCE: time::Duration = time::Duration::seconds(300);

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
pub struct Malformed(pub(crate) String);
