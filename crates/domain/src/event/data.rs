//! What each event says besides the balances. Fields stand in the order in which they are written: subscribers hash the text.

use crate::dispute::{CaseState, Restricted, Standing};
use crate::ids::{CaseId, PaymentId};
use crate::money::{Credits, Money};
use serde::Serialize;
use time::OffsetDateTime;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsGranted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    /// None where the credits of a payment that moved are in several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub credits: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsConsumed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub credits: Credits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debt_incurred: Option<Credits>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsHeld {
    pub payment: PaymentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<String>,
    pub credits: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsReleased {
    pub payment: PaymentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<String>,
    pub credits: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsReversed {
    pub payment: PaymentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub credits: Credits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debt_incurred: Option<Credits>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsRestored {
    pub payment: PaymentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<String>,
    pub credits: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreditsExpired {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    pub lot: String,
    pub credits: Credits,
}

/// Beside the event that took the credits, and with what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebtIncurred {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub movement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub credits: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebtCovered {
    pub credits: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceLow {
    /// What `available` fell below.
    pub threshold: Credits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceExhausted {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentUndelivered {
    pub payment: PaymentId,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentDelivered {
    pub payment: PaymentId,
}

/// A standing that restrictions were added to. It carries the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountRestricted {
    /// What is restricted now and was not before, or by this cause; with why.
    pub restricted: Vec<Restricted>,
    pub standing: Standing,
}

/// A standing that restrictions were taken from. It carries the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountRestored {
    /// What ended. A kind is allowed again only where the standing says so.
    pub lifted: Vec<Restricted>,
    pub standing: Standing,
}

/// What is told of a case, whatever happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DisputeTold {
    pub dispute: CaseId,
    pub payment: PaymentId,
    pub state: CaseState,
    #[serde(flatten)]
    pub amount: Option<Money>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub evidence_due_by: Option<OffsetDateTime>,
    /// An issuer's suspicion, no dispute.
    pub is_early_warning: bool,
    /// The dispute that took this one over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<CaseId>,
}

macro_rules! of_a_case {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
            #[serde(transparent)]
            pub struct $name(pub DisputeTold);
        )*
    };
}

of_a_case! {
    /// A case is known, and whose payment it is about.
    DisputeOpened,
    /// Its state, amount or deadline changed.
    DisputeUpdated,
    DisputeWon,
    DisputeLost,
}

impl CreditsConsumed {
    /// The event, and the one beside it where `short` of the credits no lot covered.
    pub fn with_debt(self, short: Credits) -> (Self, Option<DebtIncurred>) {
        if !short.is_positive() {
            return (self, None);
        }
        let debt = DebtIncurred {
            payment: None,
            movement: None,
            lot: None,
            reference: self.reference.clone(),
            reason: self.reason,
            credits: short,
        };
        (Self { debt_incurred: Some(short), ..self }, Some(debt))
    }
}

impl CreditsReversed {
    /// The event, and the one beside it where usage lost `short` credits that no other lot covered.
    pub fn with_debt(self, short: Credits) -> (Self, Option<DebtIncurred>) {
        if !short.is_positive() {
            return (self, None);
        }
        let debt = DebtIncurred {
            payment: Some(self.payment.clone()),
            movement: self.movement.clone(),
            lot: self.lot.clone(),
            reference: None,
            reason: self.reason,
            credits: short,
        };
        (Self { debt_incurred: Some(short), ..self }, Some(debt))
    }
}
