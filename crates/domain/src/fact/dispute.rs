//! A dispute or warning.

use super::data::{FactData, Fields, StatedBy};
use super::erasure::erase_if_any;
use super::limits::{by_operator, short_if_any};
use super::serde_form::is_false;
use crate::ids::{AccountId, CaseId, CustomerId, InvalidId, PaymentId};
use crate::money::{Credits, Money};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A dispute or warning as it looks now. Credits follow movements; this decides about people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dispute {
    /// The processor's id of the case; Paddle has none, there it is the transaction's.
    pub dispute: String,
    pub payment: PaymentId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<PaymentId>,
    pub status: DisputeStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub evidence_due_by: Option<OffsetDateTime>,
    /// The processor's object that says it, where several make one case: at Paddle an adjustment. Each begins a round of the
    /// case; none where the case itself is an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
    /// When that object, or the case, began, where it says so. It never changes. Where silence decides: when it began.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub began_at: Option<OffsetDateTime>,
    /// An issuer's suspicion alone: a case of its own, that the dispute which follows takes over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_early_warning: bool,
    /// Whether the processor would still refund the payment, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_refundable: Option<bool>,
    /// The card network's code of the reason: Visa's `10.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_reason: Option<String>,
    /// What the processor takes for the case so far, in the currency in which it settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    /// The operator who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Nobody has said anything of it for so long that it counts as decided.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_silence: bool,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisputeStatus {
    /// Suspicion, or an inquiry: nothing is filed yet.
    Warning,
    /// Filed, and to be answered.
    Open,
    /// Answered; the bank decides.
    UnderReview,
    /// Ended before it was filed, or by a refund.
    Prevented,
    /// The buyer took it back.
    Withdrawn,
    Lost,
    Won,
}

impl DisputeStatus {
    pub const ALL: [DisputeStatus; 7] = [
        DisputeStatus::Warning,
        DisputeStatus::Open,
        DisputeStatus::UnderReview,
        DisputeStatus::Prevented,
        DisputeStatus::Withdrawn,
        DisputeStatus::Lost,
        DisputeStatus::Won,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DisputeStatus::Warning => "warning",
            DisputeStatus::Open => "open",
            DisputeStatus::UnderReview => "under_review",
            DisputeStatus::Prevented => "prevented",
            DisputeStatus::Withdrawn => "withdrawn",
            DisputeStatus::Lost => "lost",
            DisputeStatus::Won => "won",
        }
    }
}

impl Dispute {
    /// The case that it belongs to.
    ///
    /// # Errors
    /// The dispute's id is none that a case can have.
    pub fn case(&self) -> Result<CaseId, InvalidId> {
        CaseId::new(self.payment.processor(), &self.dispute)
    }
}

impl FactData for Dispute {
    const NAME: &'static str = "fact.dispute";
    const STATED_BY: StatedBy = StatedBy::FleetAlone;
    const IS_DESCRIPTION: bool = true;
    const TEXTS: &'static [&'static str] = &["reason"];
    const EXAMPLE: &'static str = r#"{ "dispute": "d", "payment": "paddle:t", "aliases": ["paddle:u"], "status": "open",
        "amount": {"amount": "1.00", "currency": "USD"}, "reason": "r",
        "evidence_due_by": "2026-11-20T10:00:00Z", "round": "r", "began_at": "2026-11-20T10:00:00Z",
        "is_early_warning": true, "is_refundable": true, "network_reason": "10.4",
        "fee": {"amount": "15.00", "currency": "USD"}, "by": "ada", "by_silence": true,
        "occurred_at": "2026-11-20T10:00:00Z" }"#;
    const FIELDS: Fields = Fields {
        identity: &["dispute", "payment", "aliases", "round", "is_early_warning", "by", "by_silence"],
        money: &["status", "amount", "fee", "began_at", "occurred_at"],
        free: &["reason", "evidence_due_by", "is_refundable", "network_reason"],
        person: &["reason"],
    };

    fn account(&self) -> Option<&AccountId> {
        None
    }

    fn customer(&self) -> Option<&CustomerId> {
        None
    }

    fn payment_ids(&self) -> Vec<&PaymentId> {
        std::iter::once(&self.payment).chain(&self.aliases).collect()
    }

    fn object_id(&self) -> &str {
        &self.dispute
    }

    fn times(&self) -> [Option<OffsetDateTime>; 3] {
        [Some(self.occurred_at), self.evidence_due_by, self.began_at]
    }

    fn at_stake(&self) -> (Option<Money>, Option<Credits>) {
        (None, None)
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn check(&self, _credits_scale: u32) -> Result<(), String> {
        self.case().map_err(|error| format!("data.dispute: {error}"))?;
        short_if_any("data.round", self.round.as_deref())?;
        short_if_any("data.network_reason", self.network_reason.as_deref())?;
        match &self.by {
            Some(by) => by_operator(self.reason.as_deref().unwrap_or_default(), by),
            None => short_if_any("data.reason", self.reason.as_deref()),
        }
    }

    fn erase_texts(&mut self) {
        erase_if_any(&mut self.reason);
    }

    fn act(&self) -> String {
        match self.status {
            DisputeStatus::Open => "reopen the dispute".to_owned(),
            status => format!("close the dispute as {}", status.as_str()),
        }
    }

    fn keys(&self) -> Vec<&str> {
        let optional = self.reason.iter().chain(&self.round).chain(&self.network_reason);
        std::iter::once(&self.dispute).chain(optional).map(String::as_str).collect()
    }
}
