//! Who is let in. The expected signatures were computed apart from this code, with Python's hmac.

use super::*;
use crate::{ALL, Processor, Refused};
use secrecy::SecretString;
use std::collections::HashMap;
use time::Duration;

const SIGNED_AT: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);
const BODY: &[u8] = br#"{"event_id":"evt_1","amount":[1, 2]}"#;

fn verify(
    processor: &Processor,
    headers: &[(&str, &str)],
    body: &[u8],
    secrets: &[&str],
    received_at: OffsetDateTime,
) -> Result<(), Refused> {
    let headers: HashMap<&str, &str> = headers.iter().copied().collect();
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    let header = |name: &str| headers.get(name).map(|text| (*text).to_owned());
    let whole = (processor.verify)(&header, body, &secrets, received_at);
    // Before the body is there: what is refused then is refused for the same reason, and only a signature is left to tell.
    match (processor.check_headers)(&header, &secrets, received_at) {
        Ok(()) => assert!(matches!(whole, Ok(()) | Err(Refused::Mismatch)), "{whole:?}"),
        refused => assert_eq!(refused, whole),
    }
    whole
}

fn verdict(result: Result<(), Refused>) -> &'static str {
    match result {
        Ok(()) => "accepted",
        Err(Refused::NoSecret) => "no secret",
        Err(Refused::MissingHeader { .. }) => "missing",
        Err(Refused::MalformedHeader { .. }) => "malformed",
        Err(Refused::Stale { .. }) => "stale",
        Err(Refused::Mismatch) => "mismatch",
    }
}

/// One scheme of timestamped hex signatures: Paddle's or Stripe's.
struct Scheme {
    processor: &'static str,
    header: &'static str,
    timestamp: &'static str,
    signature: &'static str,
    separator: &'static str,
    /// By `secret-one` over `BODY` at `SIGNED_AT`, and by `secret-two`.
    good: [&'static str; 2],
}

const PADDLE: Scheme = Scheme {
    processor: "paddle",
    header: "paddle-signature",
    timestamp: "ts",
    signature: "h1",
    separator: ";",
    good: [
        "8fa8829b5f8e279ce1fc62a2be206bcfc1309d35b182399b90d051abb7e1621b",
        "25c9a91349fd454c180733504631b40ff2a345db6d4a0be80ac7b6daa51baa28",
    ],
};

const STRIPE: Scheme = Scheme {
    processor: "stripe",
    header: "stripe-signature",
    timestamp: "t",
    signature: "v1",
    separator: ",",
    good: [
        "f1ca6897bcad4f12cc333bdb4140de5431897a717b2c99c9ffcba3301c73c498",
        "781f8ab74280542e24d6049d5ce692be103a4117eca6ffb120ceb201b4c1892b",
    ],
};

impl Scheme {
    /// `T` is the time, `1` and `2` the good signatures, `S` the signature's key, all separated by spaces.
    fn header(&self, pattern: &str) -> String {
        let at = SIGNED_AT.unix_timestamp();
        let pair = |word: &str| match word {
            "T" => format!("{}={at}", self.timestamp),
            "1" => format!("{}={}", self.signature, self.good[0]),
            "2" => format!("{}={}", self.signature, self.good[1]),
            "garbled" => format!("{}=not-hex", self.signature),
            "short" => format!("{}=abcd", self.signature),
            "upper" => format!("{}={}", self.signature, self.good[0].to_uppercase()),
            "words" => format!("{}=yesterday", self.timestamp),
            "minus" => format!("{}=-{at}", self.timestamp),
            "huge" => format!("{}={at}000000000000", self.timestamp),
            "blank" => format!("{}=", self.timestamp),
            "unknown" => format!("x9={}", self.good[0]),
            other => other.to_owned(),
        };
        pattern.split(' ').map(pair).collect::<Vec<_>>().join(self.separator)
    }

    fn check(&self, pattern: &str, secrets: &[&str], expect: &str) {
        let header = self.header(pattern);
        let got = verify(find(self.processor).unwrap(), &[(self.header, &header)], BODY, secrets, SIGNED_AT);
        assert_eq!(verdict(got), expect, "{}: {pattern}", self.processor);
    }
}

#[test]
fn every_signature_is_tried_with_every_secret() {
    for scheme in [PADDLE, STRIPE] {
        let check = |pattern: &str, secrets: &[&str], expect: &str| scheme.check(pattern, secrets, expect);
        check("T 1", &["secret-one"], "accepted");
        check("1 T", &["secret-one"], "accepted");
        check("T upper", &["secret-one"], "accepted");
        check("T 1", &["secret-two"], "mismatch");
        check("T 1", &["secret-zero", "secret-two", "secret-one"], "accepted");
        check("T 1 2", &["secret-two"], "accepted");
        check("T 2 1", &["secret-two"], "accepted");
        check("T garbled 1", &["secret-one"], "accepted");
        check("T 1 garbled unknown", &["secret-one"], "accepted");
        check("T short", &["secret-one"], "mismatch");
        check("T garbled", &["secret-one"], "mismatch");
        check("T unknown", &["secret-one"], "malformed");
        check("T", &["secret-one"], "malformed");
        check("1", &["secret-one"], "malformed");
        check("T T 1", &["secret-one"], "malformed");
        check("words 1", &["secret-one"], "malformed");
        check("minus 1", &["secret-one"], "malformed");
        check("huge 1", &["secret-one"], "malformed");
        check("blank 1", &["secret-one"], "malformed");
        check("nonsense", &["secret-one"], "malformed");
        check("", &["secret-one"], "malformed");
        let long = format!("T 1{}", " garbled".repeat(500));
        check(&long, &["secret-one"], "malformed");
    }
}

#[test]
fn a_blank_secret_is_none() {
    for processor in ALL {
        for secrets in [&[][..], &[""][..], &["", " \n"][..]] {
            assert_eq!(
                verify(processor, &[], BODY, secrets, SIGNED_AT),
                Err(Refused::NoSecret),
                "{}",
                processor.name
            );
        }
        let blank = SecretString::from(" ");
        assert_eq!((processor.sign)(&blank, br#"{"id":"a"}"#, SIGNED_AT), Err(Refused::NoSecret));
    }
}

#[test]
fn what_a_processor_signs_is_accepted_as_it_came_within_its_time() {
    let body = br#"{"id":"evt_1","data":["1","2"]}"#;
    let respaced = br#"{ "id": "evt_1", "data": ["1", "2"] }"#;
    let secret = "whsec_c2VjcmV0LW9uZQ==";
    for processor in ALL {
        let signed = (processor.sign)(&SecretString::from(secret), body, SIGNED_AT).unwrap();
        let headers: Vec<(&str, &str)> = signed.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, processor.signature_headers);
        let check = |body: &[u8], late: Duration, expect: &str| {
            let got = verify(processor, &headers, body, &[secret], SIGNED_AT + late);
            assert_eq!(verdict(got), expect, "{}", processor.name);
        };
        check(body, Duration::ZERO, "accepted");
        check(body, Duration::seconds(300), "accepted");
        check(body, Duration::seconds(-300), "accepted");
        check(body, Duration::milliseconds(300_001), "stale");
        check(body, Duration::seconds(-301), "stale");
        check(body, Duration::days(36_500), "stale");
        check(respaced, Duration::ZERO, "mismatch");
        check(b"", Duration::ZERO, "mismatch");
        for missing in 0..headers.len() {
            let mut fewer = headers.clone();
            let (header, _) = fewer.remove(missing);
            let got = verify(processor, &fewer, body, &[secret], SIGNED_AT);
            assert!(matches!(got, Err(Refused::MissingHeader { header: name }) if name == header));
        }
    }
}

#[test]
fn standard_webhooks_sign_the_id_the_time_and_the_body() {
    let at = SIGNED_AT.unix_timestamp().to_string();
    let check = |id: &str, signature: &str, secrets: &[&str], expect: &str| {
        let headers =
            [("webhook-id", id), ("webhook-timestamp", at.as_str()), ("webhook-signature", signature)];
        let got = verify(find("generic").unwrap(), &headers, BODY, secrets, SIGNED_AT);
        assert_eq!(verdict(got), expect, "{id} {signature}");
    };
    // With the key `secret-one`, which is c2VjcmV0LW9uZQ== in base64.
    let good = "v1,xnFC2CmTA13EsMaHjNz7ZmEUNI/QDaAQCF+itdCnBWI=";
    let prefixed = "whsec_c2VjcmV0LW9uZQ==";
    check("msg_1", good, &[prefixed], "accepted");
    check("msg_1", good, &["c2VjcmV0LW9uZQ=="], "accepted");
    check("msg_1", good, &["secret-one"], "accepted");
    check("msg_1", good, &["whsec_c2VjcmV0LW9uZQ"], "accepted");
    check("msg_1", good, &["secret-two", prefixed], "accepted");
    check("msg_1", good, &["secret-two"], "mismatch");
    check("msg_1", good, &["whsec_secret-one"], "mismatch");
    check("msg_1", good, &["whsec_"], "mismatch");
    check("msg_2", good, &[prefixed], "mismatch");
    check("msg_1", &format!("v1,AAAA v1a,xyz {good}"), &[prefixed], "accepted");
    check("msg_1", &format!("{good} v1,%%%"), &[prefixed], "accepted");
    check("msg_1", "v1,", &[prefixed], "mismatch");
    check("msg_1", "v1a,AAAA", &[prefixed], "malformed");
    check("msg_1", "", &[prefixed], "malformed");
    check("msg.1", good, &[prefixed], "malformed");
    check("", good, &[prefixed], "malformed");
    check("m\u{e9}", good, &[prefixed], "malformed");
}

#[test]
fn the_id_of_a_signed_message_is_its_events() {
    let id = |body: &[u8]| {
        let signed = (find("generic").unwrap().sign)(&SecretString::from("secret"), body, SIGNED_AT);
        signed.map(|headers| headers[0].1.clone())
    };
    assert_eq!(id(br#"{"id":"use_1"}"#).unwrap(), "use_1");
    assert_eq!(id(br#"[{"id":"use_1"},{"id":"use_2"}]"#).unwrap(), "use_1");
    assert_eq!(id(r#"{"id":"a.b \u00e9"}"#.as_bytes()).unwrap(), "a_b__");
    // What has none is named by its bytes, so that a sender can try what the door says of it.
    for odd in [&b"[]"[..], b"{}", b"", b"\xff"] {
        let id = id(odd).unwrap();
        assert!(id.starts_with("body_") && id.len() == 37, "{id}");
    }
    assert_ne!(id(b"{}").unwrap(), id(b"[]").unwrap());
}

#[test]
fn refusals_say_what_to_do_and_nothing_of_the_secret() {
    let header = PADDLE.header("T 2");
    let late = SIGNED_AT + Duration::seconds(301);
    let check = |header: &[(&str, &str)], at: OffsetDateTime, is_malformed: bool, expect: &str| {
        let refused = verify(find("paddle").unwrap(), header, BODY, &["secret-one"], at).unwrap_err();
        assert_eq!(refused.is_malformed(), is_malformed);
        let text = refused.to_string();
        assert!(text.starts_with(expect), "{text}");
        assert!(!text.contains("secret-one") && !text.contains(PADDLE.good[1]) && !text.contains("evt_1"));
    };
    let own = [("paddle-signature", header.as_str())];
    check(&[], SIGNED_AT, true, "expected the header paddle-signature, got none");
    check(
        &[("paddle-signature", "h1=00")],
        SIGNED_AT,
        true,
        "expected ts=<unix seconds>;h1=<hex> in the header",
    );
    check(
        &own,
        late,
        false,
        "expected a signature made within 300 s of its arrival, got one made 301 s before it",
    );
    check(&own, SIGNED_AT, false, "expected a signature by a configured secret over the body as it came");
}

#[test]
fn what_nobody_can_have_signed_is_refused_before_the_body_is_there() {
    let secrets = [SecretString::from("secret-one")];
    let check = |scheme: &Scheme, pattern: &str, late: Duration, expect: &str| {
        let header = scheme.header(pattern);
        let headers = |name: &str| (name == scheme.header && !pattern.is_empty()).then(|| header.clone());
        let processor = find(scheme.processor).unwrap();
        let got = (processor.check_headers)(&headers, &secrets, SIGNED_AT + late);
        assert_eq!(verdict(got), expect, "{}: {pattern}", scheme.processor);
    };
    for scheme in [PADDLE, STRIPE] {
        check(&scheme, "", Duration::ZERO, "missing");
        check(&scheme, "T", Duration::ZERO, "malformed");
        check(&scheme, "words 1", Duration::ZERO, "malformed");
        check(&scheme, "T garbled", Duration::ZERO, "mismatch");
        check(&scheme, "T 1", Duration::seconds(301), "stale");
        check(&scheme, "T 2", Duration::ZERO, "accepted");
    }
}
