//! Whole payloads with odd JSON beside what is read, and odd amounts in what is read.
//!
//! The oracle: what stands beside never decides, so with it and without it the same is told; and a payment or movement
//! is the amount that stands there, or is set aside.

#[path = "../../crates/processors/src/tests/odd.rs"]
mod odd;

use domain::{Envelope, Fact};
use odd::{NAMES, Odd, VALUES, render, text_of};
use processors::{Settings, find};
use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;
use time::OffsetDateTime;

/// Every payload of the processors that translate, with its processor.
static PAYLOADS: LazyLock<Vec<(&'static str, Value)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/processors/payloads");
    let mut payloads = Vec::new();
    for processor in ["paddle", "stripe"] {
        let entries = std::fs::read_dir(folder.join(processor)).expect("the payloads stand there");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths {
            let text = std::fs::read(path).expect("readable");
            payloads.push((processor, serde_json::from_slice(&text).expect("JSON")));
        }
    }
    payloads
});

/// The fields that say how much, and where in the payload they stand.
const AMOUNTS: [&str; 9] = [
    "/data/details/totals/total",
    "/data/details/totals/tax",
    "/data/details/line_items/0/totals/total",
    "/data/totals/subtotal",
    "/data/items/0/totals/subtotal",
    "/data/object/amount",
    "/data/object/amount_total",
    "/data/object/amount_received",
    "/data/object/amount_captured",
];

/// Takes the fuzzer's bytes apart, until none are left.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn one(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    fn some(&mut self, length: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        some
    }

    fn odd(&mut self) -> Odd {
        let spot = self.one() * 256 + self.one();
        let name = self.one() % NAMES.len();
        let value = match self.one() {
            listed if listed < 200 => VALUES[listed % VALUES.len()].to_vec(),
            deep if deep < 210 => [b"[".repeat(deep * 7), b"]".repeat(deep * 7)].concat(),
            length => text_of(self.some(length - 200)),
        };
        Odd { spot, name, value }
    }

    /// An amount as somebody may write it.
    fn amount(&mut self) -> Value {
        let digits: String = self.some(40).iter().map(|byte| char::from(b"0123456789-.e "[usize::from(*byte) % 14])).collect();
        match self.one() % 4 {
            0 => Value::from(digits),
            1 => digits.parse::<i64>().map_or(Value::Null, Value::from),
            2 => digits.parse::<u64>().map_or(Value::from(0.5), Value::from),
            _ => Value::from(digits.chars().filter(char::is_ascii_digit).collect::<String>()),
        }
    }
}

pub fn check(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (processor, payload) = &PAYLOADS[bytes.one() % PAYLOADS.len()];
    let mut payload = payload.clone();
    for _ in 0..bytes.one() % 3 {
        let (pointer, amount) = (AMOUNTS[bytes.one() % AMOUNTS.len()], bytes.amount());
        if let Some(place) = payload.pointer_mut(pointer) {
            *place = amount;
        }
    }
    let mut odds = Vec::new();
    while !bytes.0.is_empty() && odds.len() < 16 {
        odds.push(bytes.odd());
    }
    let plain = told(processor, &serde_json::to_vec(&payload).expect("spelled"));
    let odd = told(processor, &render(&payload, &odds));
    assert_eq!(plain, odd, "what stands beside decided");
    check_amount(&payload, &plain[0].fact);
}

fn told(processor: &str, body: &[u8]) -> Vec<Envelope> {
    let processor = find(processor).expect("there is one");
    let envelopes = (processor.translate)(&Settings::default(), body, OffsetDateTime::UNIX_EPOCH);
    let envelopes = envelopes.expect("it says which event it is");
    envelopes.into_iter().map(|envelope| Envelope { raw: None, ..envelope }).collect()
}

/// Whatever the currency counts in: the digits are those that stand there.
fn check_amount(payload: &Value, fact: &Fact) {
    let integer = |pointer: &str| match payload.pointer(pointer)? {
        Value::String(text) => text.parse::<i128>().ok(),
        Value::Number(number) => number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)),
        _ => None,
    };
    let less = || Some(integer(AMOUNTS[0])? - integer(AMOUNTS[1])?);
    let (amount, stated) = match fact {
        Fact::Payment(payment) => {
            let stripe = ["amount_total", "amount_received", "amount_captured", "amount"];
            let told = stripe.iter().filter_map(|name| integer(&format!("/data/object/{name}")));
            (payment.amount, less().into_iter().chain(told).collect::<Vec<_>>())
        }
        Fact::Movement(movement) => {
            let told = ["/data/totals/subtotal", "/data/object/amount"];
            (movement.amount, told.into_iter().filter_map(integer).map(i128::saturating_abs).collect())
        }
        _ => return,
    };
    let digits = |minor: i128| minor.to_string().trim_end_matches('0').to_owned();
    let got = digits(amount.amount().normalize().mantissa());
    assert!(stated.into_iter().any(|minor| digits(minor) == got), "{amount} stands nowhere");
}
