//! What each event says besides the balances. Fields stand in the order in which they are written: subscribers hash the text.

use crate::ids::PaymentId;
use crate::money::Credits;
use serde::Serialize;

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
