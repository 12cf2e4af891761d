//! What contesting a dispute is worth, and what giving the money back early is, as far as own history and the processor's fees
//! tell. It advises; nothing decides by it.
//!
//! Fees may be in another currency than the dispute. Amounts of different currencies are never added: they stand side by side.
//! All arithmetic is decimal.

use crate::money::{Currency, Money, exponent};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// With fewer decided cases a win rate says little.
pub const CASES_TO_TELL: u32 = 10;

/// The two-sided 95 % quantile of the normal distribution: 1.959964.
const Z: Decimal = Decimal::from_parts(1_959_964, 0, 0, false, 6);

/// Decimal places of the chances that are told.
const CHANCE_PLACES: u32 = 4;

/// What is at stake in one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stake {
    /// What is disputed, in the payment's currency.
    pub disputed: Money,
    /// What the processor took when the dispute came, or would take when it comes; nothing where there is none, or none is known.
    pub received_fee: Option<Money>,
    /// The received fee comes back with a win: in Mexico alone (<https://docs.stripe.com/disputes/how-disputes-work>).
    /// Else it is sunk, win or lose.
    pub win_returns_received_fee: bool,
    /// What the processor takes for evidence, and gives back with a win.
    pub counter_fee: CounterFee,
    /// It is a warning only, and the payment can still be given back.
    pub is_refundable_warning: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterFee {
    /// Known to be none.
    None,
    Amount(Money),
    Unknown,
}

/// How own cases ended. What was prevented or is open counts for neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnCases {
    pub won: u32,
    pub lost: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Economics {
    pub win_rate: WinRate,
    pub contesting: Contesting,
    /// For a warning whose payment can still be given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunding: Option<Refunding>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WinRate {
    pub won: u32,
    /// Cases with an end, won or lost.
    pub decided: u32,
    /// Fewer than [`CASES_TO_TELL`]: too few to tell, whatever the interval says.
    pub is_too_few: bool,
    /// Nothing without a decided case.
    pub chance: Option<ChanceInterval>,
}

/// A chance with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChanceInterval {
    pub low: Chance,
    /// As observed.
    pub middle: Chance,
    pub high: Chance,
}

/// From 0 to 1, told with four places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chance(Decimal);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contesting {
    /// Gone whatever is done now.
    pub sunk: Option<Money>,
    /// What contesting brings on average, against doing nothing, at each end of the interval; nothing without a win rate.
    pub expected: Option<ExpectedValues>,
    /// `false`: the counter fee is not known, and stands in none of the expected values.
    pub counter_fee_known: bool,
    /// The chance of winning from which contesting pays.
    pub break_even: BreakEven,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpectedValues {
    pub low: Vec<ExpectedAmount>,
    pub middle: Vec<ExpectedAmount>,
    pub high: Vec<ExpectedAmount>,
}

/// An amount on average, in one currency; less than zero is a loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedAmount {
    pub amount: Decimal,
    pub currency: Currency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakEven {
    /// Contesting risks nothing but the work.
    Always,
    From(Chance),
    CounterFeeUnknown,
    /// What is won and what is risked cannot be compared.
    OtherCurrency,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refunding {
    /// What is given back.
    pub costs: Money,
    /// The fee of a dispute that then does not come. Nothing where it is not known.
    pub saves: Option<Money>,
    /// Refunding pays where the chance that the warning becomes a lost dispute is greater than this; nothing where it cannot be
    /// told.
    pub pays_above: Option<Chance>,
}

/// What can be told of a case.
pub fn economics(stake: &Stake, own: OwnCases) -> Economics {
    let win_rate = win_rate(own);
    let contesting = contesting(stake, win_rate.chance);
    let refunding = stake.is_refundable_warning.then(|| refunding(stake));
    Economics { win_rate, contesting, refunding }
}

/// The Wilson score interval (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
/// American Statistical Association 22, 1927): it stays within 0 and 1 and says something sensible of few cases, where
/// `p ± z·sqrt(p(1-p)/n)` does not. With `p = won/n`:
///
/// ```text
/// (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
/// ```
fn win_rate(own: OwnCases) -> WinRate {
    let decided = own.won.saturating_add(own.lost);
    let chance = (decided > 0).then(|| {
        let n = Decimal::from(decided);
        let p = Decimal::from(own.won.min(decided)) / n;
        let two = Decimal::TWO;
        let z_squared = Z * Z;
        let centre = p + z_squared / (two * n);
        let spread = Z * square_root(p * (Decimal::ONE - p) / n + z_squared / (two * two * n * n));
        let whole = Decimal::ONE + z_squared / n;
        ChanceInterval {
            low: Chance::new((centre - spread) / whole),
            middle: Chance::new(p),
            high: Chance::new((centre + spread) / whole),
        }
    });
    WinRate { won: own.won, decided, is_too_few: decided < CASES_TO_TELL, chance }
}

/// By Newton's method, from above: each step is nearer until the digits are used up. For what is not negative and at most 1.
fn square_root(square: Decimal) -> Decimal {
    if square <= Decimal::ZERO {
        return Decimal::ZERO;
    }
    let mut root = Decimal::ONE;
    // It halves the distance at worst: 100 steps are more than 28 digits need.
    for _ in 0..100 {
        let next = (root + square / root) / Decimal::TWO;
        if next >= root {
            break;
        }
        root = next;
    }
    root
}

fn contesting(stake: &Stake, chance: Option<ChanceInterval>) -> Contesting {
    let expected = |chance: Chance| expected(stake, chance);
    Contesting {
        sunk: stake.received_fee.filter(|_| !stake.win_returns_received_fee),
        expected: chance.map(|chance| ExpectedValues {
            low: expected(chance.low),
            middle: expected(chance.middle),
            high: expected(chance.high),
        }),
        counter_fee_known: stake.counter_fee != CounterFee::Unknown,
        break_even: break_even(stake),
    }
}

/// What a win gives back, besides the counter fee.
fn won_back(stake: &Stake) -> impl Iterator<Item = Money> {
    let fee = stake.received_fee.filter(|_| stake.win_returns_received_fee);
    std::iter::once(stake.disputed).chain(fee)
}

/// `p · won back - (1 - p) · counter fee`, by currency.
fn expected(stake: &Stake, chance: Chance) -> Vec<ExpectedAmount> {
    let mut sums: BTreeMap<Currency, Decimal> = BTreeMap::new();
    for money in won_back(stake) {
        *sums.entry(money.currency()).or_default() += chance.0 * money.amount();
    }
    if let CounterFee::Amount(fee) = stake.counter_fee {
        *sums.entry(fee.currency()).or_default() -= (Decimal::ONE - chance.0) * fee.amount();
    }
    let first = stake.disputed.currency();
    let mut amounts: Vec<_> =
        sums.into_iter().map(|(currency, amount)| ExpectedAmount::new(amount, currency)).collect();
    amounts.sort_by_key(|amount| amount.currency != first);
    amounts
}

/// `p · won back = (1 - p) · counter fee` gives `p = counter fee / (won back + counter fee)`.
fn break_even(stake: &Stake) -> BreakEven {
    let fee = match stake.counter_fee {
        CounterFee::None => return BreakEven::Always,
        CounterFee::Amount(fee) if fee.is_zero() => return BreakEven::Always,
        CounterFee::Amount(fee) => fee,
        CounterFee::Unknown => return BreakEven::CounterFeeUnknown,
    };
    if won_back(stake).any(|money| money.currency() != fee.currency()) {
        return BreakEven::OtherCurrency;
    }
    let won: Decimal = won_back(stake).map(|money| money.amount()).sum();
    BreakEven::From(Chance::new(fee.amount() / (won + fee.amount())))
}

/// Given back, the amount is gone for sure. Left alone, amount and fee are gone if it becomes a dispute and is lost: with the
/// chance `q` of that, refunding pays where `amount < q · (amount + fee)`.
fn refunding(stake: &Stake) -> Refunding {
    let costs = stake.disputed;
    let saves = stake.received_fee.filter(|fee| !fee.is_zero());
    let comparable = saves.filter(|fee| fee.currency() == costs.currency());
    let pays_above = comparable.map(|fee| Chance::new(costs.amount() / (costs.amount() + fee.amount())));
    Refunding { costs, saves, pays_above }
}

impl Chance {
    fn new(chance: Decimal) -> Self {
        let within = chance.clamp(Decimal::ZERO, Decimal::ONE);
        Self(within.round_dp_with_strategy(CHANCE_PLACES, RoundingStrategy::MidpointNearestEven))
    }

    pub fn decimal(self) -> Decimal {
        self.0
    }
}

impl ExpectedAmount {
    /// In whole minor units: it is an average, not an amount that is paid.
    fn new(amount: Decimal, currency: Currency) -> Self {
        let rounded =
            amount.round_dp_with_strategy(exponent(currency), RoundingStrategy::MidpointNearestEven);
        // No zero is less than zero.
        let amount = if rounded.is_zero() { Decimal::ZERO } else { rounded };
        Self { amount, currency }
    }

    fn display_amount(&self) -> String {
        format!("{:.*}", exponent(self.currency) as usize, self.amount)
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.*}", CHANCE_PLACES as usize, self.0)
    }
}

impl Serialize for Chance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ExpectedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.display_amount(), self.currency.code())
    }
}

impl Serialize for ExpectedAmount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("ExpectedAmount", 2)?;
        fields.serialize_field("amount", &self.display_amount())?;
        fields.serialize_field("currency", self.currency.code())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::currency;
    use proptest::prelude::*;

    fn money(minor: i128, code: &str) -> Money {
        let currency = currency(code).unwrap();
        Money::from_minor(minor, exponent(currency), currency).unwrap()
    }

    /// 60 USD disputed, 15 USD for the dispute, and as much for contesting it.
    fn stake() -> Stake {
        Stake {
            disputed: money(6000, "USD"),
            received_fee: Some(money(1500, "USD")),
            win_returns_received_fee: false,
            counter_fee: CounterFee::Amount(money(1500, "USD")),
            is_refundable_warning: false,
        }
    }

    fn told<T: fmt::Display>(each: &[T]) -> String {
        each.iter().map(T::to_string).collect::<Vec<_>>().join(" and ")
    }

    #[test]
    fn a_win_rate_comes_with_its_interval() {
        let check = |won: u32, lost: u32, expect: Option<(&str, &str, &str)>, is_too_few: bool| {
            let rate = win_rate(OwnCases { won, lost });
            let got = rate.chance.map(|c| [c.low, c.middle, c.high].map(|chance| chance.to_string()));
            let expect = expect.map(|(low, middle, high)| [low, middle, high].map(str::to_owned));
            assert_eq!((got, rate.is_too_few), (expect, is_too_few), "{won} won, {lost} lost");
        };
        check(0, 0, None, true);
        check(0, 1, Some(("0.0000", "0.0000", "0.7935")), true);
        check(1, 0, Some(("0.2065", "1.0000", "1.0000")), true);
        check(1, 8, Some(("0.0199", "0.1111", "0.4350")), true);
        check(0, 10, Some(("0.0000", "0.0000", "0.2775")), false);
        check(8, 2, Some(("0.4902", "0.8000", "0.9433")), false);
        check(50, 50, Some(("0.4038", "0.5000", "0.5962")), false);
        check(250, 750, Some(("0.2242", "0.2500", "0.2778")), false);
    }

    #[test]
    fn contesting_is_worth_what_a_win_brings_less_what_a_loss_costs() {
        let check = |stake: Stake, own: (u32, u32), low: &str, middle: &str, high: &str| {
            let told_of = economics(&stake, OwnCases { won: own.0, lost: own.1 }).contesting;
            let expected = told_of.expected.unwrap();
            let got = [told(&expected.low), told(&expected.middle), told(&expected.high)];
            assert_eq!(got, [low, middle, high].map(str::to_owned), "{stake:?}");
        };
        // At 0.4902: 60 * 0.4902 - 15 * 0.5098.
        check(stake(), (8, 2), "21.76 USD", "45.00 USD", "55.75 USD");
        check(stake(), (0, 10), "-15.00 USD", "-15.00 USD", "5.81 USD");
        let cheap = Stake { disputed: money(500, "USD"), ..stake() };
        check(cheap, (50, 50), "-6.92 USD", "-5.00 USD", "-3.08 USD");
        let free = Stake { counter_fee: CounterFee::None, ..stake() };
        check(free, (0, 10), "0.00 USD", "0.00 USD", "16.65 USD");
        let unknown = Stake { counter_fee: CounterFee::Unknown, ..stake() };
        check(unknown, (50, 50), "24.23 USD", "30.00 USD", "35.77 USD");
        // Mexico: the fee of the dispute comes back, contesting costs nothing.
        let mexico = Stake { win_returns_received_fee: true, counter_fee: CounterFee::None, ..stake() };
        check(mexico, (50, 50), "30.28 USD", "37.50 USD", "44.72 USD");
        let settled_in_euro = Stake { counter_fee: CounterFee::Amount(money(2000, "EUR")), ..stake() };
        check(
            settled_in_euro,
            (50, 50),
            "24.23 USD and -11.92 EUR",
            "30.00 USD and -10.00 EUR",
            "35.77 USD and -8.08 EUR",
        );
        let yen = Stake { disputed: money(1000, "JPY"), counter_fee: CounterFee::None, ..stake() };
        check(yen, (50, 50), "404 JPY", "500 JPY", "596 JPY");
        let none = economics(&stake(), OwnCases::default());
        assert!(none.contesting.expected.is_none() && none.win_rate.is_too_few);
    }

    #[test]
    fn contesting_pays_from_a_chance_on() {
        let check = |stake: Stake, expect: BreakEven| {
            assert_eq!(economics(&stake, OwnCases::default()).contesting.break_even, expect, "{stake:?}");
        };
        let from = |text: &str| BreakEven::From(Chance(text.parse().unwrap()));
        check(stake(), from("0.2000"));
        check(Stake { disputed: money(1500, "USD"), ..stake() }, from("0.5000"));
        check(Stake { disputed: money(0, "USD"), ..stake() }, from("1.0000"));
        check(Stake { win_returns_received_fee: true, ..stake() }, from("0.1667"));
        check(Stake { counter_fee: CounterFee::None, ..stake() }, BreakEven::Always);
        check(Stake { counter_fee: CounterFee::Amount(money(0, "EUR")), ..stake() }, BreakEven::Always);
        check(Stake { counter_fee: CounterFee::Unknown, ..stake() }, BreakEven::CounterFeeUnknown);
        let euro = money(2000, "EUR");
        check(Stake { counter_fee: CounterFee::Amount(euro), ..stake() }, BreakEven::OtherCurrency);
        // The sunk fee is compared with nothing, one that comes back is.
        check(Stake { received_fee: Some(euro), ..stake() }, from("0.2000"));
        let returned = Stake { received_fee: Some(euro), win_returns_received_fee: true, ..stake() };
        check(returned, BreakEven::OtherCurrency);
    }

    #[test]
    fn refunding_early_is_for_warnings_and_saves_the_fee() {
        let check = |stake: Stake, expect: Option<(&str, Option<&str>, Option<&str>)>| {
            let got = economics(&stake, OwnCases::default()).refunding.map(|refunding| {
                let text = |saves: Option<Money>| saves.map(|fee| fee.to_string());
                let above = refunding.pays_above.map(|chance| chance.to_string());
                (refunding.costs.to_string(), text(refunding.saves), above)
            });
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let expect = expect.map(|(costs, saves, above)| (costs.to_owned(), owned(saves), owned(above)));
            assert_eq!(got, expect, "{stake:?}");
        };
        check(stake(), None);
        let warning = Stake { is_refundable_warning: true, ..stake() };
        check(warning, Some(("60.00 USD", Some("15.00 USD"), Some("0.8000"))));
        let cheap = Stake { disputed: money(500, "USD"), ..warning };
        check(cheap, Some(("5.00 USD", Some("15.00 USD"), Some("0.2500"))));
        let euro = Stake { received_fee: Some(money(2000, "EUR")), ..warning };
        check(euro, Some(("60.00 USD", Some("20.00 EUR"), None)));
        check(Stake { received_fee: None, ..warning }, Some(("60.00 USD", None, None)));
        check(Stake { received_fee: Some(money(0, "USD")), ..warning }, Some(("60.00 USD", None, None)));
    }

    #[test]
    fn what_is_told_has_its_amounts_as_texts() {
        let warning = Stake { is_refundable_warning: true, ..stake() };
        let told = serde_json::to_value(economics(&warning, OwnCases { won: 8, lost: 2 })).unwrap();
        let usd = |amount: &str| serde_json::json!({ "amount": amount, "currency": "USD" });
        let expect = serde_json::json!({
            "win_rate": { "won": 8, "decided": 10, "is_too_few": false,
                          "chance": { "low": "0.4902", "middle": "0.8000", "high": "0.9433" } },
            "contesting": { "sunk": usd("15.00"), "counter_fee_known": true, "break_even": { "from": "0.2000" },
                            "expected": { "low": [usd("21.76")], "middle": [usd("45.00")], "high": [usd("55.75")] } },
            "refunding": { "costs": usd("60.00"), "saves": usd("15.00"), "pays_above": "0.8000" },
        });
        assert_eq!(told, expect);
    }

    proptest! {
        #[test]
        fn an_interval_holds_what_was_observed_and_narrows_with_more_cases(won in 0u32..5000, lost in 0u32..5000) {
            prop_assume!(won + lost > 0);
            let interval = |times: u32| win_rate(OwnCases { won: won * times, lost: lost * times }).chance.unwrap();
            let (few, many) = (interval(1), interval(10));
            for chance in [few, many] {
                prop_assert!(chance.low <= chance.middle && chance.middle <= chance.high);
            }
            prop_assert!(many.low >= few.low && many.high <= few.high);
            let other = win_rate(OwnCases { won: lost, lost: won }).chance.unwrap();
            prop_assert!((few.low.0 + other.high.0 - Decimal::ONE).abs() <= Decimal::new(1, 4));
        }

        #[test]
        fn a_square_root_is_one(mantissa in 0i64..1_000_000_000_000_000_000, scale in 18u32..24) {
            let square = Decimal::new(mantissa, scale);
            let root = square_root(square);
            prop_assert!(root >= Decimal::ZERO);
            prop_assert!((root * root - square).abs() <= Decimal::new(1, 20), "{square}: {root}");
        }

        /// However large: nothing overflows.
        #[test]
        fn whatever_is_disputed_something_is_told(minor in 0i128..crate::money::MINOR_UNITS_MAX, won in 0u32.., lost in 0u32..) {
            let stake = Stake { disputed: money(minor, "USD"), is_refundable_warning: true, ..stake() };
            economics(&stake, OwnCases { won, lost });
        }
    }
}
