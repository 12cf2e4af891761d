//! How Stripe counts money: <https://docs.stripe.com/currencies>, read in 2026-11. What it has listed before is kept:
//! events of that time may still be told again.

use domain::money::{self, Currency};

/// <https://docs.stripe.com/currencies#zero-decimal>. UGX stands in that list too, and is a special case below.
const WHOLE: [&str; 15] =
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];

/// <https://docs.stripe.com/currencies#three-decimal>: the last digit is always 0.
const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];

/// All others. Whole in the world, and two places at Stripe for the sake of what was before: ISK and UGX
/// (<https://docs.stripe.com/currencies#special-cases>). HUF and TWD are whole in payouts alone. At the end those that
/// left the list.
const HUNDREDTHS: [&str; 125] = [
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BMD",
    "BND", "BOB", "BRL", "BSD", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CVE", "CZK",
    "DKK", "DOP", "DZD", "EGP", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GIP", "GMD", "GTQ", "GYD", "HKD",
    "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "ISK", "JMD", "KES", "KGS", "KHR", "KYD", "KZT", "LAK", "LBP",
    "LKR", "LRD", "LSL", "MAD", "MDL", "MKD", "MMK", "MNT", "MOP", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN",
    "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
    "RUB", "SAR", "SBD", "SCR", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "STD", "SVC", "SZL", "THB", "TJS",
    "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "WST", "XCD", "XCG", "YER", "ZAR",
    "ZMW", "HRK", "MRO", "SLL", "VEF",
];

/// Decimal places of an amount of Stripe's; by ISO 4217 where its list does not tell.
pub fn exponent(currency: Currency) -> u32 {
    let code = currency.code();
    if WHOLE.contains(&code) {
        0
    } else if THOUSANDTHS.contains(&code) {
        3
    } else if HUNDREDTHS.contains(&code) {
        2
    } else {
        money::exponent(currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_currency_is_known_and_counted_by_the_list() {
        let check = |code: &&str, places: u32| {
            let currency =
                money::currency(&code.to_lowercase()).unwrap_or_else(|error| panic!("{code}: {error}"));
            assert_eq!((currency.code(), exponent(currency)), (*code, places));
        };
        WHOLE.iter().for_each(|code| check(code, 0));
        THOUSANDTHS.iter().for_each(|code| check(code, 3));
        HUNDREDTHS.iter().for_each(|code| check(code, 2));
        let all: std::collections::BTreeSet<_> =
            WHOLE.iter().chain(&THOUSANDTHS).chain(&HUNDREDTHS).collect();
        assert_eq!(all.len(), WHOLE.len() + THOUSANDTHS.len() + HUNDREDTHS.len(), "each once");
        assert_eq!((exponent(Currency::IQD), exponent(Currency::CLF)), (3, 4));
    }

    #[test]
    fn stripe_differs_from_the_standard_in_three_currencies_alone() {
        let all = WHOLE.iter().chain(&THOUSANDTHS).chain(&HUNDREDTHS);
        let known = all.map(|code| money::currency(code).unwrap());
        let differing: Vec<_> = known.filter(|known| exponent(*known) != money::exponent(*known)).collect();
        assert_eq!(differing, [Currency::MGA, Currency::ISK, Currency::UGX]);
    }
}
