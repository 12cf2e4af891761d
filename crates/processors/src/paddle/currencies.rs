//! How Paddle counts money: <https://developer.paddle.com/concepts/sell/supported-currencies>,
//! <https://developer.paddle.com/api-reference/currencies> (`decimal_places`), read in 2026-11.

use domain::money::{self, Currency};

/// The currencies without a smaller unit: CLP since 2026-03
/// (<https://developer.paddle.com/changelog/2026/clp-pen-currencies>).
const WHOLE: [&str; 4] = ["CLP", "JPY", "KRW", "VND"];

/// All others have two places there: HUF and TWD too, which others count as whole.
const HUNDREDTHS: [&str; 29] = [
    "ARS", "AUD", "BRL", "CAD", "CHF", "CNY", "COP", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "INR",
    "MXN", "NOK", "NZD", "PEN", "PLN", "RUB", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "ZAR",
];

/// Decimal places of an amount of Paddle's; by ISO 4217 where its list does not tell.
pub fn exponent(currency: Currency) -> u32 {
    let code = currency.code();
    if WHOLE.contains(&code) {
        0
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
            let currency = money::currency(code).unwrap_or_else(|error| panic!("{code}: {error}"));
            assert_eq!((currency.code(), exponent(currency)), (*code, places));
        };
        WHOLE.iter().for_each(|code| check(code, 0));
        HUNDREDTHS.iter().for_each(|code| check(code, 2));
        let all: std::collections::BTreeSet<_> = WHOLE.iter().chain(&HUNDREDTHS).collect();
        assert_eq!(all.len(), 33, "Paddle lists 33 currencies, each once");
        assert_eq!(exponent(Currency::KWD), 3);
    }
}
