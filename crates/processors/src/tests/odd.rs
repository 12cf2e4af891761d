//! Payloads with odd JSON beside what is read. The fuzzers include this file: it knows nothing but JSON.

use serde_json::Value;

/// Every name that a translation asks for, and the keys of the configuration that tests use. A member under any other
/// name may be whatever it is.
pub const READ: [&str; 77] = [
    "account",
    "account_id",
    "action",
    "actionable",
    "amount",
    "amount_captured",
    "amount_received",
    "amount_subtotal",
    "amount_tax",
    "amount_total",
    "api_version",
    "balance_transactions",
    "billing_cycle",
    "billing_details",
    "billing_period",
    "bursar_hold",
    "captured",
    "card",
    "charge",
    "chargeback_fee",
    "client_reference_id",
    "context",
    "created",
    "created_at",
    "currency",
    "currency_code",
    "custom_data",
    "customer",
    "customer_details",
    "customer_id",
    "data",
    "details",
    "due_by",
    "email",
    "event_id",
    "event_type",
    "evidence_details",
    "fee",
    "fraud_type",
    "has_more",
    "id",
    "invoice",
    "is_charge_refundable",
    "item_id",
    "items",
    "latest_charge",
    "line_items",
    "livemode",
    "metadata",
    "mode",
    "network_reason_code",
    "object",
    "occurred_at",
    "origin",
    "paid",
    "payment_intent",
    "payment_method_details",
    "payment_status",
    "payout_totals",
    "price",
    "price_id",
    "proration",
    "quantity",
    "rate",
    "reason",
    "refunded",
    "refunds",
    "starts_at",
    "status",
    "subscription_id",
    "subtotal",
    "tax",
    "total",
    "total_details",
    "totals",
    "transaction_id",
    "type",
];

/// Values that somebody's reader has stumbled over.
pub const VALUES: [&[u8]; 18] = [
    b"1e400",
    b"-1E+999999999999",
    b"0.000000000000000000000000000000000000000000000000000000000000000001",
    b"123456789012345678901234567890123456789012345678901234567890",
    b"007",
    b"NaN",
    b"-",
    br#""\ud800""#,
    br#""\udfff\ud800""#,
    b"\"\xff\xfe\xc3\x28\"",
    b"\"raw \n\t\x00 controls\"",
    br#"{"\ud83d":"\u0000"}"#,
    br#"{"$serde_json::private::RawValue":1}"#,
    br#"{"$serde_json::private::Number":"1","$serde_json::private::Number":2}"#,
    br#"[{"id":1,"id":2},{"id":{"id":[]}}]"#,
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1e999}}}}}}}}}}}}}}}",
    b"\"\xef\xbb\xbf\"",
];

/// Names, with their quotes, of which none is read.
pub const NAMES: [&[u8]; 8] = [
    b"\"\"",
    b"\"beside\"",
    br#""\ud800""#,
    b"\"\xff\"",
    br#""$serde_json::private::RawValue""#,
    br#""$serde_json::private::Number""#,
    br#""st\u0061tus\u0000""#,
    b"\" id\"",
];

/// Something odd, at one of the spots of a payload.
#[derive(Debug, Clone)]
pub struct Odd {
    pub spot: usize,
    pub name: usize,
    pub value: Vec<u8>,
}

/// A text of JSON's with these bytes in it, whatever they are.
pub fn text_of(bytes: &[u8]) -> Vec<u8> {
    let inside = bytes.iter().filter(|byte| !matches!(byte, b'"' | b'\\'));
    [b'"'].into_iter().chain(inside.copied()).chain([b'"']).collect()
}

/// The payload as it is, with odd members among those of its objects and in place of what nobody reads. An empty object
/// stays empty: whether anything stands in custom data is read.
pub fn render(payload: &Value, odds: &[Odd]) -> Vec<u8> {
    let mut count = Writer { odds: &[], spots: 1, at: 0 };
    count.write(payload);
    let mut writer = Writer { odds, spots: count.at.max(1), at: 0 };
    writer.write(payload)
}

struct Writer<'a> {
    odds: &'a [Odd],
    spots: usize,
    at: usize,
}

impl<'a> Writer<'a> {
    fn here(&mut self) -> impl Iterator<Item = &'a Odd> + use<'a> {
        let (at, spots) = (self.at, self.spots);
        self.at += 1;
        self.odds.iter().filter(move |odd| odd.spot % spots == at)
    }

    fn write(&mut self, value: &Value) -> Vec<u8> {
        match value {
            Value::Object(members) if !members.is_empty() => {
                let mut written = Vec::new();
                for (name, value) in members {
                    written.extend(self.here().map(member));
                    written.push(
                        [json(&Value::from(name.as_str())), b":".to_vec(), self.value(name, value)].concat(),
                    );
                }
                written.extend(self.here().map(member));
                [b"{".to_vec(), written.join(&b','), b"}".to_vec()].concat()
            }
            Value::Array(elements) => {
                let written: Vec<Vec<u8>> = elements.iter().map(|element| self.write(element)).collect();
                [b"[".to_vec(), written.join(&b','), b"]".to_vec()].concat()
            }
            _ => json(value),
        }
    }

    fn value(&mut self, name: &str, value: &Value) -> Vec<u8> {
        let instead = if READ.contains(&name) { None } else { self.here().next() };
        let written = self.write(value);
        instead.map_or(written, |odd| odd.value.clone())
    }
}

fn member(odd: &Odd) -> Vec<u8> {
    [NAMES[odd.name % NAMES.len()], b":", &odd.value].concat()
}

fn json(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
