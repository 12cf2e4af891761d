//! Several shares of credits added up exactly and rounded once. Over a common denominator, in integers of any size: a
//! sum of rounded quotients could be off by one where the exact sum is a half.

use super::{Credits, SCALE_MAX, units};
use num_bigint::BigUint;
use rust_decimal::Decimal;

/// `credits * part / whole`, with `0 <= part <= whole`; a whole of zero has no parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub credits: Credits,
    pub part: BigUint,
    pub whole: BigUint,
}

impl Credits {
    /// The amount of one unit, `quantity` times, of each the given share; rounded half to even at `scale`. Nothing where
    /// that leaves the range of credits.
    pub fn times(self, quantity: u64, share: Option<Decimal>, scale: u32) -> Option<Self> {
        let share = share.unwrap_or(Decimal::ONE);
        if share.is_sign_negative() && !share.is_zero() {
            return None;
        }
        let one = unsigned(units(self.decimal(), SCALE_MAX))?;
        let part = unsigned(share.mantissa())?;
        let places = SCALE_MAX.checked_add(share.scale())?.checked_sub(scale)?;
        let scaled = rounded(&(one * quantity * part), &BigUint::from(10u8).pow(places))?;
        at_scale(scaled, scale).filter(|credits| credits.within(SCALE_MAX).is_ok())
    }

    /// The shares together, rounded half to even at `scale` once. Credits that are finer than `scale` are shared at their
    /// own, as in [`Credits::share`]: all parts together are never more than the whole.
    pub fn of_shares(shares: &[Share], scale: u32) -> Option<Self> {
        let finest = shares.iter().map(|share| share.credits.decimal().scale()).max().unwrap_or(0);
        let scale = scale.max(finest);
        let (mut sum, mut denominator) = (BigUint::ZERO, BigUint::from(1u8));
        for share in shares.iter().filter(|share| share.whole != BigUint::ZERO) {
            let credits = unsigned(units(share.credits.decimal(), scale))?;
            sum = sum * &share.whole + credits * &share.part * &denominator;
            denominator *= &share.whole;
        }
        at_scale(rounded(&sum, &denominator)?, scale)
    }
}

fn unsigned(amount: i128) -> Option<BigUint> {
    u128::try_from(amount).ok().map(BigUint::from)
}

fn at_scale(units: i128, scale: u32) -> Option<Credits> {
    Decimal::try_from_i128_with_scale(units, scale).ok().map(Credits::new)
}

/// The quotient, half to even.
fn rounded(dividend: &BigUint, divisor: &BigUint) -> Option<i128> {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let quotient = i128::try_from(quotient).ok()?;
    Some(match (rest * 2u8).cmp(divisor) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient.checked_add(1)?,
        std::cmp::Ordering::Equal => quotient.checked_add(quotient & 1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(credits: &str, part: u64, whole: u64) -> Share {
        let credits = Credits::new(credits.parse().unwrap());
        Share { credits, part: part.into(), whole: whole.into() }
    }

    #[test]
    fn shares_are_rounded_once_half_to_even_and_not_each() {
        let check = |shares: &[Share], scale, expect: &str| {
            assert_eq!(Credits::of_shares(shares, scale).unwrap().to_string(), expect, "{shares:?}");
        };
        check(&[share("1", 1, 3), share("1", 1, 6)], 0, "0");
        check(&[share("1", 1, 3), share("1", 1, 3), share("1", 1, 3)], 6, "1");
        check(&[share("1", 1, 2), share("2", 1, 2)], 0, "2");
        check(&[share("7", 1, 0), share("3", 1, 2)], 0, "2");
        check(&[share("0.5", 1, 1), share("3", 1, 4)], 0, "1.2");
        check(&[], 6, "0");
    }

    #[test]
    fn so_many_units_and_a_share_of_each_are_rounded_once() {
        let check = |credits: &str, quantity, share: Option<&str>, scale, expect: Option<&str>| {
            let credits = Credits::new(credits.parse().unwrap());
            let share = share.map(|share| share.parse().unwrap());
            let got = credits.times(quantity, share, scale).map(|credits| credits.to_string());
            assert_eq!(got.as_deref(), expect, "{credits} x {quantity} x {share:?}");
        };
        check("1000", 3, None, 6, Some("3000"));
        check("1000", 1, Some("0.5"), 6, Some("500"));
        check("7", 3, Some("0.3333333333333333333333333333"), 0, Some("7"));
        check("1", 1, Some("0.5"), 0, Some("0"));
        check("3", 1, Some("0.5"), 0, Some("2"));
        check("1000", 2, Some("0"), 6, Some("0"));
        check("1000", u64::MAX, None, 6, None);
        check("1000", 1, Some("-0.5"), 6, None);
    }

    proptest! {
        #[test]
        fn one_share_is_what_a_share_is(credits in 0i64..1_000_000_000_000_000, part in 0i64..1_000_000, whole in 1i64..1_000_000) {
            let part = part.min(whole);
            let expect = Credits::whole(credits).share(Decimal::from(part), Decimal::from(whole), 6);
            let got = Credits::of_shares(&[share(&credits.to_string(), part as u64, whole as u64)], 6);
            prop_assert_eq!(got, Some(expect));
        }
    }
}
