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
    check(FactKind::Usage, r#"{"account":"a","credits":"1","reference":"r","description":"words"}"#.into());
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
