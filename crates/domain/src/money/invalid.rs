//! Why a text or number is not an amount.

/// A single amount of credits is at most 10^15 - 1: with twelve places it still fits a 96-bit decimal, and so does
/// the sum of ten million such amounts at the default scale.
pub const CREDITS_DIGITS_MAX: u32 = 15;

/// Why a text or number is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    #[error("expected an ISO 4217 currency code such as USD, got {0:?}")]
    Currency(String),
    #[error("expected an amount in minor units as an integer, for example 1000 for 10.00 USD, got {0:?}")]
    NotMinorUnits(String),
    #[error("expected a decimal number as a string, for example \"12.5\", got {0:?}")]
    NotDecimal(String),
    #[error("expected at most 10^18 minor units, got {0}")]
    TooLarge(String),
    #[error("expected an amount of zero or more, got {0}")]
    Negative(String),
    #[error("expected more than zero credits, got {0}")]
    NotPositive(String),
    #[error("expected fewer than 10^{CREDITS_DIGITS_MAX} credits, got {0}")]
    TooManyCredits(String),
    #[error("expected at most {scale} decimal places, got {got}")]
    TooPrecise { scale: u32, got: String },
    #[error("expected {currency} with {exponent} decimal places at most, got {got}")]
    Places { currency: String, exponent: u32, got: String },
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
