//! Money with its currency, and credits with their scale. They never mix: a share of money gives a share of
//! credits by [`Credits::share`], and that is the only bridge.

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

mod currency;
mod invalid;
mod shares;

pub use currency::{Currency, currency, exponent};
pub use invalid::{CREDITS_DIGITS_MAX, InvalidAmount};
pub use shares::Share;

use invalid::shorten;

/// Credits may be given with at most this many decimal places; a deployment's own scale is at most this.
pub const SCALE_MAX: u32 = 12;

/// An amount of money is at most 10^18 minor units, so that a product of two of them fits 128 bits.
pub const MINOR_UNITS_MAX: i128 = 1_000_000_000_000_000_000;

/// An amount of money in the currency's main unit, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// `minor` units of a currency whose main unit has `exponent` decimal places at this processor.
    ///
    /// # Errors
    /// It is less than zero, or more than [`MINOR_UNITS_MAX`].
    pub fn from_minor(minor: i128, exponent: u32, currency: Currency) -> Result<Self, InvalidAmount> {
        if minor < 0 {
            return Err(InvalidAmount::Negative(minor.to_string()));
        }
        if minor > MINOR_UNITS_MAX {
            return Err(InvalidAmount::TooLarge(minor.to_string()));
        }
        Ok(Self { amount: Decimal::from_i128_with_scale(minor, exponent).normalize(), currency })
    }

    /// An amount in the main unit, for example `12.50`.
    ///
    /// # Errors
    /// It is less than zero, too large, or has more decimal places than the currency.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, InvalidAmount> {
        if amount.is_sign_negative() && !amount.is_zero() {
            return Err(InvalidAmount::Negative(amount.to_string()));
        }
        let amount = amount.normalize();
        // Four is the largest exponent of ISO 4217; a processor may count finer than the standard (UGX, ISK at Stripe).
        let places = exponent(currency).max(4);
        if amount.scale() > places {
            return Err(InvalidAmount::Places {
                currency: currency.code().to_owned(),
                exponent: places,
                got: amount.to_string(),
            });
        }
        let money = Self { amount, currency };
        if money.in_units_of(places).is_none_or(|units| units > MINOR_UNITS_MAX * 10_000) {
            return Err(InvalidAmount::TooLarge(amount.to_string()));
        }
        Ok(money)
    }

    pub fn zero(currency: Currency) -> Self {
        Self { amount: Decimal::ZERO, currency }
    }

    pub fn amount(&self) -> Decimal {
        self.amount
    }

    pub fn currency(&self) -> Currency {
        self.currency
    }

    pub fn is_zero(&self) -> bool {
        self.amount.is_zero()
    }

    /// The amount as a count of 10^-places main units.
    fn in_units_of(&self, places: u32) -> Option<i128> {
        let factor = 10i128.checked_pow(places.checked_sub(self.amount.scale())?)?;
        self.amount.mantissa().checked_mul(factor)
    }

    /// With at least the currency's own number of places: `4.00` and not `4`.
    pub fn display_amount(&self) -> String {
        let places = exponent(self.currency).max(self.amount.scale());
        format!("{:.*}", places as usize, self.amount)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.display_amount(), self.currency.code())
    }
}

#[derive(Serialize, Deserialize)]
struct MoneyWire {
    amount: String,
    currency: String,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MoneyWire { amount: self.display_amount(), currency: self.currency.code().to_owned() }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let wire = MoneyWire::deserialize(deserializer)?;
        let currency = currency(&wire.currency).map_err(D::Error::custom)?;
        let amount = plain_decimal(&wire.amount).map_err(D::Error::custom)?;
        Money::new(amount, currency).map_err(D::Error::custom)
    }
}

/// Digits, one optional point, an optional sign: no exponents, no underscores, no spaces.
fn plain_decimal(text: &str) -> Result<Decimal, InvalidAmount> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let well_formed = digits.len() <= 40
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !well_formed {
        return Err(InvalidAmount::NotDecimal(shorten(text)));
    }
    Decimal::from_str_exact(text).map_err(|_| InvalidAmount::NotDecimal(shorten(text)))
}

/// An amount of credits. Signed, because journal entries are; amounts from outside are checked to be positive
/// where they come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Credits(Decimal);

impl Credits {
    pub const ZERO: Credits = Credits(Decimal::ZERO);

    pub fn new(amount: Decimal) -> Self {
        Self(amount.normalize())
    }

    /// So many whole credits.
    pub fn whole(amount: i64) -> Self {
        Self::new(Decimal::from(amount))
    }

    /// A positive amount from outside, with at most `scale` decimal places.
    ///
    /// # Errors
    /// It is no decimal number, not more than zero, too large, or has more than `scale` decimal places.
    pub fn parse_positive(text: &str, scale: u32) -> Result<Self, InvalidAmount> {
        let amount = plain_decimal(text)?;
        if amount <= Decimal::ZERO {
            return Err(InvalidAmount::NotPositive(shorten(text)));
        }
        Self::new(amount).within(scale)
    }

    /// Checks an amount against a deployment's scale and the greatest amount there is.
    ///
    /// # Errors
    /// It is too large, or has more than `scale` decimal places.
    pub fn within(self, scale: u32) -> Result<Self, InvalidAmount> {
        if self.0.scale() > scale {
            return Err(InvalidAmount::TooPrecise { scale, got: self.to_string() });
        }
        if self.0.abs() >= Decimal::from(10u64.pow(CREDITS_DIGITS_MAX)) {
            return Err(InvalidAmount::TooManyCredits(self.to_string()));
        }
        Ok(self)
    }

    pub fn decimal(&self) -> Decimal {
        self.0
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    pub fn is_positive(&self) -> bool {
        self.0 > Decimal::ZERO
    }

    pub fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    /// Credits for money at a rate per main unit, rounded half to even at `scale`.
    pub fn at_rate(money: Money, per_unit: Decimal, scale: u32) -> Option<Self> {
        let exact = money.amount().checked_mul(per_unit)?;
        let rounded = exact.round_dp_with_strategy(scale, RoundingStrategy::MidpointNearestEven);
        Some(Self::new(rounded)).filter(|c| c.within(SCALE_MAX).is_ok())
    }

    /// `self * part / whole`, rounded half to even at `scale`, exactly: no intermediate rounding, whatever the sizes.
    /// `part` is clamped to `whole`; a whole of zero has no parts. Credits that are finer than `scale` (it was lowered since
    /// they were granted) are shared at their own: a share is never more than the whole.
    pub fn share(self, part: Decimal, whole: Decimal, scale: u32) -> Self {
        if whole <= Decimal::ZERO || part <= Decimal::ZERO {
            return Self::ZERO;
        }
        if part >= whole {
            return self;
        }
        let places = part.scale().max(whole.scale());
        let (part, whole) = (units(part, places), units(whole, places));
        let scale = scale.max(self.0.scale());
        let credits = units(self.0, scale);
        Self::new(Decimal::from_i128_with_scale(multiply_divide_half_even(credits, part, whole), scale))
    }
}

/// The amount as a count of 10^-places.
fn units(amount: Decimal, places: u32) -> i128 {
    let mut amount = amount;
    amount.rescale(places);
    amount.mantissa()
}

/// `a * b / c` for `0 <= b < c <= 10^22` and `a < 10^28`, half to even.
///
/// With `a = q*c + r` the product is `q*b + r*b/c`; `r*b` could pass 128 bits only for wholes above 10^19 units, which
/// `Money` refuses, but the digits are folded one at a time so that no bound has to be trusted.
fn multiply_divide_half_even(a: i128, b: i128, c: i128) -> i128 {
    let (quotient, remainder) = (a / c, a % c);
    let (mut whole, mut rest) = (quotient * b, 0i128);
    // r*b/c by binary long multiplication: invariants 0 <= rest < c and whole*c + rest = the product so far.
    let mut partial = (0i128, 0i128);
    for bit in (0..128 - remainder.leading_zeros()).rev() {
        partial = fold(partial.0 * 2, partial.1 * 2, c);
        if remainder >> bit & 1 == 1 {
            partial = fold(partial.0, partial.1 + b, c);
        }
    }
    whole += partial.0;
    rest += partial.1;
    match (rest * 2).cmp(&c) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Greater => whole + 1,
        std::cmp::Ordering::Equal => whole + (whole & 1),
    }
}

fn fold(whole: i128, rest: i128, c: i128) -> (i128, i128) {
    (whole + rest / c, rest % c)
}

const FITS: &str = "sums of credits fit: each amount has at most 15 digits before the point";

impl Add for Credits {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect(FITS).normalize())
    }
}

impl Sub for Credits {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Credits {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.0)
    }
}

impl AddAssign for Credits {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Credits {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Credits {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Credits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Credits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Ok(Self::new(plain_decimal(&text).map_err(D::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn minor_units_follow_the_exponent() {
        let check = |minor, exponent, code: &str, expect: &str| {
            let money = Money::from_minor(minor, exponent, currency(code).unwrap()).unwrap();
            assert_eq!(money.to_string(), expect);
        };
        check(1000, 2, "usd", "10.00 USD");
        check(100, 0, "JPY", "100 JPY");
        check(1234, 3, "BHD", "1.234 BHD");
        check(9_007_199_254_740_993, 2, "USD", "90071992547409.93 USD");
    }

    #[test]
    fn money_is_refused_where_it_cannot_be_money() {
        assert!(matches!(currency("XYZ1"), Err(InvalidAmount::Currency(_))));
        let usd = currency("USD").unwrap();
        assert!(matches!(Money::from_minor(-1, 2, usd), Err(InvalidAmount::Negative(_))));
        assert!(matches!(Money::from_minor(MINOR_UNITS_MAX + 1, 2, usd), Err(InvalidAmount::TooLarge(_))));
        for wrong in [r#"{"amount":"1e3","currency":"USD"}"#, r#"{"amount":10,"currency":"USD"}"#] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credits_from_outside_are_positive_and_within_scale() {
        let check = |text, scale| Credits::parse_positive(text, scale).map(|c| c.to_string());
        assert_eq!(check("12.50", 6).unwrap(), "12.5");
        for wrong in ["0", "-1", "1e3", "", ".5", "5.", "1,5", "1_0", "NaN", "0.0000001", "1000000000000000"]
        {
            assert!(check(wrong, 6).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_share_of_credits_finer_than_the_scale_is_never_more_than_the_whole() {
        let granted = Credits::new(Decimal::new(6, 1));
        let share = |part| granted.share(Decimal::new(part, 2), Decimal::ONE, 0).to_string();
        assert_eq!([share(99), share(50), share(1)], ["0.6", "0.3", "0"]);
    }

    #[test]
    fn a_share_is_rounded_half_to_even_at_the_scale() {
        let check = |credits: i64, part, whole, scale, expect: &str| {
            let share = Credits::whole(credits).share(decimal(part), decimal(whole), scale);
            assert_eq!(share.to_string(), expect, "{credits} * {part} / {whole}");
        };
        check(1000, "4.00", "10.00", 6, "400");
        check(1, "1", "3", 6, "0.333333");
        check(1, "1", "8", 2, "0.12");
        check(3, "1", "8", 2, "0.38");
        check(1050, "3.33", "10.00", 6, "349.65");
        check(1000, "12.00", "10.00", 6, "1000");
        check(1000, "1", "0", 6, "0");
    }

    proptest! {
        #[test]
        fn shares_are_monotone_and_end_at_the_whole(
            credits in 0i64..1_000_000_000_000_000, whole in 1i64..1_000_000_000_000_000_000, part in 0i64..1_000_000_000_000_000_000,
        ) {
            let (credits, whole) = (Credits::whole(credits), Decimal::new(whole, 2));
            let part = Decimal::new(part, 2).min(whole);
            let share = credits.share(part, whole, 6);
            prop_assert!(share >= Credits::ZERO && share <= credits);
            prop_assert_eq!(credits.share(whole, whole, 6), credits);
            let less = credits.share(part - part.min(Decimal::new(1, 2)), whole, 6);
            prop_assert!(less <= share);
        }

        #[test]
        fn a_share_is_within_half_a_unit_of_the_exact_quotient(
            a in 0i128..1_000_000_000_000, b in 0i128..1_000_000_000, c in 1i128..1_000_000_000,
        ) {
            let b = b % c;
            let rounded = multiply_divide_half_even(a, b, c);
            prop_assert!((2 * (rounded * c - a * b)).abs() <= c);
        }
    }
}
