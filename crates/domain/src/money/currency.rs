//! Every currency that money may be in: what ISO 4217 lists, and what processors still list although the standard has
//! withdrawn it. A code that was known stays known: it may stand in a stored fact.

use super::invalid::{InvalidAmount, shorten};
use std::fmt;

macro_rules! currencies {
    ($($exponent:literal: $($code:ident)+;)+) => {
        /// A currency, by its ISO 4217 code.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Currency {
            $($($code,)+)+
        }

        mod codes {
            $($(pub const $code: &str = stringify!($code);)+)+
        }

        impl Currency {
            pub const EVERY: &'static [Currency] = &[$($(Currency::$code,)+)+];

            /// The code in capitals, as it is stored and shown.
            pub fn code(self) -> &'static str {
                match self {
                    $($(Currency::$code => codes::$code,)+)+
                }
            }

            pub fn from_code(code: &str) -> Option<Currency> {
                match code {
                    $($(codes::$code => Some(Currency::$code),)+)+
                    _ => None,
                }
            }

            /// Decimal places of the main unit.
            pub fn exponent(self) -> u32 {
                match self {
                    $($(Currency::$code)|+ => $exponent,)+
                }
            }
        }
    };
}

// The second list of two places holds what the standard has withdrawn (ANG became XCG, STD became STN, HRK the euro), the
// third its metals, units of account and codes for tests, which have no places of their own.
currencies! {
    0: BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF;
    2: AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
       COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR
       IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD
       NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
       SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG;
    2: ANG CUC EEK HRK LTL LVL MRO SKK SLL STD VEF ZMK ZWL;
    2: XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX;
    0: BYR;
    3: BHD IQD JOD KWD LYD OMR TND;
    4: CLF UYW;
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Reads a currency code in either case, as processors write it.
///
/// # Errors
/// No currency has this code.
pub fn currency(code: &str) -> Result<Currency, InvalidAmount> {
    Currency::from_code(&code.to_ascii_uppercase()).ok_or_else(|| InvalidAmount::Currency(shorten(code)))
}

/// Decimal places of the currency's main unit by ISO 4217: 2 for USD, 0 for JPY, 3 for BHD. A processor may count in
/// others: its folder says so.
pub fn exponent(currency: Currency) -> u32 {
    currency.exponent()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The currencies that Stripe lists for charges; HRK and BGN until they became the euro.
    /// Source: docs.stripe.com/currencies, 2026-11, and earlier states of it.
    const STRIPE: &str = "USD AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF \
        CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR \
        ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRO MUR MVR \
        MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP \
        SLE SLL SOS SRD STD SVC SZL THB TJS TND TOP TRY TTD TWD TZS UAH UGX UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR \
        ZMW";

    /// Source: developer.paddle.com, concepts/sell/supported-currencies; CLP and PEN since 2026-03.
    const PADDLE: &str = "USD EUR GBP JPY AUD CAD CHF HKD SGD SEK ARS BRL CLP CNY COP CZK DKK HUF ILS INR KRW MXN NOK NZD PEN PLN \
        RUB THB TRY TWD UAH VND ZAR";

    #[test]
    fn every_currency_that_processors_list_is_known_in_either_case() {
        for code in STRIPE.split_whitespace().chain(PADDLE.split_whitespace()) {
            assert_eq!(currency(code).map(Currency::code), Ok(code));
            assert_eq!(currency(&code.to_lowercase()).map(Currency::code), Ok(code));
        }
    }

    #[test]
    fn every_currency_has_one_code_and_is_found_by_it() {
        for known in Currency::EVERY {
            assert_eq!(Currency::from_code(known.code()), Some(*known));
        }
        let codes: std::collections::BTreeSet<&str> =
            Currency::EVERY.iter().copied().map(Currency::code).collect();
        assert_eq!(codes.len(), Currency::EVERY.len());
    }

    #[test]
    fn places_are_those_of_the_standard() {
        let check = |places: u32, codes: &str| {
            for code in codes.split_whitespace() {
                assert_eq!(exponent(currency(code).unwrap()), places, "{code}");
            }
        };
        check(0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF");
        check(2, "USD EUR ANG STD PEN MGA HRK XCG HUF TWD");
        check(3, "BHD IQD JOD KWD LYD OMR TND");
        check(4, "CLF UYW");
    }
}
