//! How a record is understood.

use serde::{Deserialize, Serialize};

/// How a record is understood. What was decided by an earlier reading stays as it is until a fact about the payment comes,
/// or an operator has it restated; a rebuild reads as was read then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "i16", try_from = "i16")]
pub enum Reading {
    /// Of chargebacks and backs the sums were clamped, not each movement; nothing named a line; what was said before it
    /// was paid told nothing of its tax.
    #[default]
    First,
    Second,
}

impl Reading {
    pub const TODAY: Reading = Reading::Second;

    /// Whether it is the one that records had before there was a second.
    pub fn is_first(&self) -> bool {
        *self == Reading::First
    }
}

impl From<Reading> for i16 {
    fn from(reading: Reading) -> i16 {
        match reading {
            Reading::First => 1,
            Reading::Second => 2,
        }
    }
}

impl TryFrom<i16> for Reading {
    type Error = String;

    fn try_from(number: i16) -> Result<Self, String> {
        match number {
            1 => Ok(Reading::First),
            2 => Ok(Reading::Second),
            _ => Err(format!("expected a reading that this version knows, 1 or 2, got {number}")),
        }
    }
}
