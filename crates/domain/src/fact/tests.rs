//! What holds of every kind of fact.

use super::*;

#[test]
fn every_kind_is_found_by_its_own_text() {
    for kind in FactKind::ALL {
        assert_eq!(FactKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(FactKind::parse("fact.other"), None);
}

#[test]
fn usage_may_be_of_nothing_and_never_of_less() {
    let check = |credits: &str, expect: Result<&str, &str>| {
        let text = format!(r#"{{"account":"a","credits":"{credits}"}}"#);
        let fact = Fact::parse(FactKind::Usage, &RawValue::from_string(text).unwrap()).unwrap();
        let Fact::Usage(usage) = &fact else { unreachable!() };
        match (fact.check(6), expect) {
            (Ok(()), Ok(expect)) => assert_eq!(usage.credits.to_string(), expect, "{credits}"),
            (Err(why), Err(expect)) => assert!(why.contains(expect), "{credits}: {why}"),
            (got, _) => panic!("{credits}: {got:?}"),
        }
    };
    for zero in ["0", "-0", "0.000", "-0.0", "0.0000000000"] {
        check(zero, Ok("0"));
    }
    check("0.000001", Ok("0.000001"));
    check("1.0000000", Ok("1"));
    check("0.0000001", Err("6 decimal places"));
    check("-0.000001", Err("expected zero or more credits, got -0.000001"));
    check("1000000000000000", Err("credits"));
    let grant = r#"{"account":"a","credits":"0","reason":"r"}"#;
    let grant = Fact::parse(FactKind::Grant, &RawValue::from_string(grant.to_owned()).unwrap()).unwrap();
    assert!(grant.check(6).unwrap_err().contains("expected more than zero credits, got 0"));
}

/// Where it came from: nothing but a digest, or what is left of one.
#[test]
fn an_address_or_a_device_is_a_digest_or_the_fact_is_refused() {
    let digest = format!("hmac-sha256:{}", "0123456789abcdef".repeat(4));
    let usage = |field: &str, value: &str| {
        (FactKind::Usage, format!(r#"{{"account":"a","credits":"1",{field:?}:{value:?}}}"#))
    };
    let payment = |field: &str, value: &str| {
        let amount = r#"{"amount":"1","currency":"USD"}"#;
        let at = r#""occurred_at":"2026-11-20T10:00:00Z""#;
        let paid = format!(
            r#"{{"payment":"paddle:t","object":"t","status":"paid","amount":{amount},{at},{field:?}:{value:?}}}"#
        );
        (FactKind::Payment, paid)
    };
    let check = |value: &str, expect: bool| {
        for field in ["ip", "device"] {
            for (kind, text) in [usage(field, value), payment(field, value)] {
                let fact = Fact::parse(kind, &RawValue::from_string(text).unwrap()).unwrap();
                match fact.check(6) {
                    Ok(()) => assert!(expect, "{kind} {field} {value:?}"),
                    Err(why) => {
                        assert!(!expect, "{kind} {why}");
                        let said = format!(
                            "data.{field}: expected a digest as hmac-sha256:<64 hexadecimal digits> in lower case, got "
                        );
                        assert!(why.starts_with(&said), "{why}");
                        assert!(
                            value.is_empty() || !why.contains(value),
                            "it quotes nobody's address: {why}"
                        );
                    }
                }
            }
        }
    };
    check(&digest, true);
    check(ERASED, true);
    for wrong in [
        "192.0.2.1",
        "2001:db8::1",
        "fp-7",
        "",
        REMOVED,
        &digest.to_uppercase(),
        &digest.replace("abcdef", "ABCDEF"),
        &digest[..digest.len() - 1],
        &format!("{digest}0"),
        &digest.replace("sha256", "sha1"),
        &digest["hmac-sha256:".len()..],
        &format!(" {digest}"),
    ] {
        check(wrong, false);
    }
}

#[test]
fn a_digest_has_one_spelling() {
    let digest = format!("hmac-sha256:{}", "0123456789abcdef".repeat(4));
    assert_eq!(read_digest(&digest.replace("abcdef", "ABCDEF")), Some(digest.clone()));
    assert!(is_digest(&digest) && !is_digest(&digest.replace("abcdef", "ABCDEF")));
    assert_eq!(read_digest(&digest.replace('f', "g")), None);
}

/// Told again, with another digest or with none.
#[test]
fn where_it_came_from_is_what_was_told_first() {
    let digest = |digit: &str| format!("hmac-sha256:{}", digit.repeat(64));
    let told = |kind: FactKind, ip: Option<&str>| {
        let mut data: serde_json::Value = serde_json::from_str(kind.example()).unwrap();
        data["ip"] = ip.into();
        data["device"] = serde_json::Value::Null;
        Fact::parse(kind, &serde_json::value::to_raw_value(&data).unwrap()).unwrap()
    };
    let (one, two) = (digest("1"), digest("2"));
    let check = |kind, first: Option<&str>, again: Option<&str>, expect: Option<&str>| {
        let fact = told(kind, again).with_origin_of(&told(kind, first));
        assert_eq!(fact.origin(), [expect, None], "{kind} {first:?} {again:?}");
    };
    let (one, two) = (Some(one.as_str()), Some(two.as_str()));
    for kind in [FactKind::Usage, FactKind::Payment] {
        check(kind, one, two, one);
        check(kind, two, one, two);
        check(kind, one, None, one);
        check(kind, Some(ERASED), one, Some(ERASED));
        check(kind, one, Some(ERASED), one);
        check(kind, None, Some(ERASED), None);
        check(kind, None, None, None);
    }
    // A description that says more adds it; usage would be other usage.
    check(FactKind::Payment, None, one, one);
    check(FactKind::Usage, None, one, None);
}

#[test]
fn unknown_fields_do_not_change_the_canonical_text() {
    let read = |text: &str| {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        Fact::parse(FactKind::Usage, &raw).unwrap().canonical().get().to_owned()
    };
    let plain = read(r#"{"account":"a","credits":"12.5"}"#);
    assert_eq!(plain, read(r#"{ "credits": "12.50", "colour": 1, "account": "a" }"#));
    assert_ne!(plain, read(r#"{"account":"a","credits":"12.51"}"#));
}

/// Every kind with all of its texts, and each text once.
#[test]
fn every_text_of_every_kind_is_erased_and_nothing_else() {
    let at = r#""occurred_at":"2026-11-20T10:00:00Z""#;
    let usd = r#"{"amount":"9.70","currency":"USD"}"#;
    let check = |kind: FactKind, data: String| {
        let read = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            Fact::parse(kind, &raw).unwrap()
        };
        let said = read(&data).without_texts().canonical().get().to_owned();
        let count = kind.texts().len();
        assert_eq!((said.matches(ERASED).count(), said.contains("words")), (count, false), "{said}");
        assert_eq!(said, read(&data.replace("words", ERASED)).canonical().get(), "nothing else changes");
    };
    check(
        FactKind::Usage,
        r#"{"account":"a","credits":"1","reference":"r","description":"words","ip":"words","device":"words"}"#.into(),
    );
    check(
        FactKind::Payment,
        format!(
            r#"{{"payment":"paddle:t","object":"t","status":"paid","amount":{usd},"ip":"words","device":"words",{at}}}"#
        ),
    );
    check(FactKind::Grant, r#"{"account":"a","credits":"1","reason":"words","by":"ada"}"#.into());
    check(FactKind::RefundRequest, r#"{"transaction":"words","account":"a","reason":"words"}"#.into());
    check(
        FactKind::Dispute,
        format!(r#"{{"dispute":"d","payment":"paddle:t","status":"open","reason":"words",{at}}}"#),
    );
    check(FactKind::Customer, format!(r#"{{"customer":"paddle:ctm_1","reason":"words",{at}}}"#));
    check(FactKind::Adjustment, r#"{"account":"a","credits":"1","reason":"words","by":"ada"}"#.into());
    check(
        FactKind::Assignment,
        format!(r#"{{"payment":"paddle:t","act":"deliver","reason":"words","by":"ada",{at}}}"#),
    );
    check(
        FactKind::Valuation,
        format!(r#"{{"payment":"paddle:t","movement":"m","amount":{usd},"reason":"words","by":"ada",{at}}}"#),
    );
    check(FactKind::Expiry, r#"{"account":"a","as_of":"2026-11-20T10:00:00Z"}"#.into());
}
