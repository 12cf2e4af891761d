//! Why an event gives no facts to act on.

use domain::fact::UnrecognisedWhy;

/// Why an event gives no facts to act on. It becomes one `unrecognised` fact.
#[derive(Debug, PartialEq, Eq)]
pub struct SetAside {
    pub why: UnrecognisedWhy,
    pub detail: Option<String>,
}

impl SetAside {
    /// A known event that moves no money and links no customer.
    pub fn no_effect(detail: &str) -> Self {
        Self { why: UnrecognisedWhy::NoEffect, detail: Some(detail.to_owned()) }
    }

    pub fn event_type() -> Self {
        Self { why: UnrecognisedWhy::EventType, detail: None }
    }

    pub fn mode(detail: &str) -> Self {
        Self { why: UnrecognisedWhy::Mode, detail: Some(detail.to_owned()) }
    }

    /// About another account of the processor's than the platform's.
    pub fn foreign_account(detail: &str) -> Self {
        Self { why: UnrecognisedWhy::ForeignAccount, detail: Some(detail.to_owned()) }
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self { why: UnrecognisedWhy::Malformed, detail: Some(detail.into()) }
    }
}
