//! The oracle of every translation: what is read is right or set aside, and what stands beside it never decides.

use super::arbitrary::{PAYLOADS, mutated};
use super::odd::{NAMES, Odd, READ, VALUES, render, text_of};
use super::*;
use domain::Money;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rust_decimal::Decimal;
use serde_json::json;

fn odds() -> impl Strategy<Value = Vec<Odd>> {
    let listed = select(VALUES.to_vec()).prop_map(<[u8]>::to_vec);
    let nested = (1usize..400).prop_map(|depth| {
        let text = format!("{}1e999{}", "[{\"id\":".repeat(depth), "}]".repeat(depth));
        text.into_bytes()
    });
    let bytes = vec(any::<u8>(), 0..40).prop_map(|bytes| text_of(&bytes));
    let digits = "-?[0-9]{1,80}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,9})?".prop_map(String::into_bytes);
    let value = prop_oneof![4 => listed, 1 => nested, 1 => bytes, 1 => digits];
    let odd =
        (any::<usize>(), 0..NAMES.len(), value).prop_map(|(spot, name, value)| Odd { spot, name, value });
    vec(odd, 1..8)
}

/// What it tells, without the body that it came in.
fn told(processor: &str, mode: Mode, body: &[u8]) -> Result<Vec<Envelope>, String> {
    let envelopes = translate(processor, &in_mode(mode), body)?;
    Ok(envelopes.into_iter().map(|envelope| Envelope { raw: None, ..envelope }).collect())
}

/// A refusal says where in the bytes it is; that it is one is what counts.
fn check_beside(processor: &str, payload: &Value, odds: &[Odd]) {
    let body = render(payload, odds);
    for mode in [Mode::Live, Mode::Test] {
        let plain = told(processor, mode, &serde_json::to_vec(payload).unwrap());
        let odd = told(processor, mode, &body);
        assert_eq!(plain.is_err(), odd.is_err(), "{}", String::from_utf8_lossy(&body));
        if let (Ok(plain), Ok(odd)) = (plain, odd) {
            assert_eq!(plain, odd, "{}", String::from_utf8_lossy(&body));
        }
    }
}

/// A number or a text of digits that somebody may write for an amount, as it stands in the JSON.
fn written() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]{1,20}",
        "-?(0|[1-9][0-9]{0,38})",
        "-?[0-9]{1,6}\\.[0-9]{1,3}",
        "[0-9]{1,3}[eE][+-]?[0-9]{1,4}",
        "(NaN|Infinity|0x10|\\+1|1_000|1,000|--1|| 12)",
    ]
}

/// An integer as JSON writes it; where `is_text` as Paddle does, who may write zeros before it.
fn integer(written: &str, is_text: bool) -> Option<i128> {
    let digits = written.strip_prefix('-').unwrap_or(written);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = is_text || digits == "0" || !digits.starts_with('0');
    written.parse().ok().filter(|_| is_plain && is_canonical)
}

fn is_money(minor: i128) -> bool {
    (0..=domain::money::MINOR_UNITS_MAX).contains(&minor)
}

/// The payload with these texts in place of these values: as they are, quotes and all.
fn with_texts(mut payload: Value, texts: &[(&str, String)]) -> Vec<u8> {
    for (pointer, _) in texts {
        *payload.pointer_mut(pointer).unwrap() = json!(format!("<{pointer}>"));
    }
    let text = texts.iter().fold(payload.to_string(), |text, (pointer, written)| {
        text.replace(&format!("\"<{pointer}>\""), written)
    });
    text.into_bytes()
}

fn amounts(processor: &str, body: &[u8]) -> Vec<Option<String>> {
    let envelopes = translate(processor, &Settings::default(), body).unwrap();
    let amount = |envelope: &Envelope| match &envelope.fact {
        Fact::Payment(payment) => Some(payment.amount.amount().to_string()),
        Fact::Movement(movement) => Some(movement.amount.amount().to_string()),
        Fact::Unrecognised(_) => None,
        _ => Some(String::new()),
    };
    envelopes.iter().map(amount).collect()
}

fn hundredths(minor: i128) -> String {
    Money::from_minor(minor, 2, domain::money::Currency::USD).unwrap().amount().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_stands_beside_never_decides(which in any::<Index>(), odds in odds()) {
        let (processor, payload) = which.get(&PAYLOADS);
        if *processor != "generic" {
            check_beside(processor, payload, &odds);
        }
    }

    #[test]
    fn what_stands_beside_never_decides_whatever_is_read((processor, payload) in mutated(), odds in odds()) {
        if processor != "generic" {
            check_beside(processor, &payload, &odds);
        }
    }

    #[test]
    fn a_paddle_payment_is_its_total_less_its_tax_or_set_aside(total in written(), tax in "-?[0-9]{1,4}") {
        let mut base = payload("paddle", "transaction.completed");
        base["data"]["details"]["line_items"] = json!(null);
        let quoted = |text: &str| format!("\"{text}\"");
        let totals = "/data/details/totals";
        let body = with_texts(base, &[
            (&format!("{totals}/total"), quoted(&total)),
            (&format!("{totals}/tax"), quoted(&tax)),
        ]);
        let expect = integer(&total, true).zip(integer(&tax, true)).map(|(total, tax)| total - tax);
        let expect = expect.filter(|minor| is_money(*minor)).map(hundredths);
        prop_assert_eq!(amounts("paddle", &body), [expect]);
    }

    #[test]
    fn a_paddle_adjustment_moves_its_subtotal_or_is_set_aside(subtotal in written(), is_back in any::<bool>()) {
        let name = if is_back { "adjustment.created.chargeback_reverse" } else { "adjustment.created.refund_full" };
        let mut base = payload("paddle", name);
        base["data"]["currency_code"] = json!("USD");
        base["data"]["items"] = json!(null);
        let body = with_texts(base, &[("/data/totals/subtotal", format!("\"{subtotal}\""))]);
        let moved = integer(&subtotal, true).map(|minor| if is_back { minor.saturating_abs() } else { minor });
        let expect = moved.filter(|minor| is_money(*minor)).map(hundredths);
        prop_assert_eq!(amounts("paddle", &body)[0].clone(), expect);
    }

    #[test]
    fn a_stripe_payment_is_its_amount_or_set_aside(amount in written()) {
        let written = if amount.is_empty() || amount.contains([' ', ',']) { "null".to_owned() } else { amount };
        for (name, field) in [
            ("checkout.session.completed", "/data/object/amount_total"),
            ("payment_intent.succeeded", "/data/object/amount_received"),
            ("charge.succeeded", "/data/object/amount_captured"),
            ("refund.created.succeeded", "/data/object/amount"),
        ] {
            let mut base = payload("stripe", name);
            base["data"]["object"]["total_details"] = json!(null);
            if name == "charge.succeeded" {
                base["data"]["object"]["amount"] = json!(null);
            }
            let expect = integer(&written, false).filter(|minor| is_money(*minor));
            // Where nothing was captured apart the whole amount counts, and here it is none.
            let expect = expect.filter(|minor| name != "charge.succeeded" || (1..=i128::from(i64::MAX)).contains(minor));
            let body = with_texts(base, &[(field, written.clone())]);
            prop_assert_eq!(amounts("stripe", &body), [expect.map(hundredths)], "{} {}", name, written);
        }
    }

    #[test]
    fn a_share_is_what_it_says_or_set_aside(rate in "(0|1|[0-9]{1,3})(\\.[0-9]{0,30})?|[-+]?[0-9]?\\.?[0-9e]{0,3}") {
        let body = with_texts(
            payload("paddle", "transaction.completed.prorated"),
            &[("/data/details/line_items/0/proration/rate", format!("\"{rate}\""))],
        );
        let envelopes = translate("paddle", &Settings::default(), &body).unwrap();
        match &envelopes[0].fact {
            Fact::Payment(payment) => {
                let share = payment.items[0].share.unwrap_or(Decimal::ONE);
                prop_assert_eq!(Ok(share), rate.parse::<Decimal>().map(|rate| rate.normalize()));
                prop_assert!((Decimal::ZERO..=Decimal::ONE).contains(&share));
            }
            fact => {
                prop_assert!(matches!(fact, Fact::Unrecognised(_)));
                let is_part = rate.parse::<Decimal>().is_ok_and(|rate| (Decimal::ZERO..=Decimal::ONE).contains(&rate));
                let is_plain = rate.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                prop_assert!(!(is_part && is_plain), "{}", rate);
            }
        }
    }
}

/// A name that is read and not listed would be replaced above, and the properties would say so by failing; one that is
/// listed and never met tests less than it seems to.
#[test]
fn the_names_that_are_read_stand_in_some_payload() {
    let all: String = PAYLOADS.iter().map(|(_, payload)| payload.to_string()).collect();
    for name in READ {
        assert!(all.contains(&format!("\"{name}\"")), "{name}");
    }
}
