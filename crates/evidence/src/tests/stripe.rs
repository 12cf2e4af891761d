use super::{hostile, worked};
use crate::pack::{Pack, Policy, Refund};
use crate::{
    FILES_BYTES_MAX, PAGES_MAX, StripeError, StripeEvidence, StripeText, TEXT_CHARACTERS_MAX,
    TEXTS_CHARACTERS_MAX,
};
use std::collections::BTreeSet;

fn evidence(pack: &Pack) -> StripeEvidence {
    pack.stripe_evidence().unwrap()
}

fn text<'a>(evidence: &'a StripeEvidence, field: &str) -> Option<&'a str> {
    evidence.texts.iter().find(|text| text.field == field).map(|text| text.text.as_str())
}

#[test]
fn the_worked_pack() {
    let evidence = evidence(&worked::pack());
    let texts: Vec<String> =
        evidence.texts.iter().map(|it| format!("== {}\n{}", it.field, it.text)).collect();
    let files: Vec<String> = evidence.files.iter().map(|it| format!("{}: {}", it.field, it.name)).collect();
    insta::assert_snapshot!(format!(
        "{}\n== files\n{}\n== notes\n{}",
        texts.join("\n"),
        files.join("\n"),
        evidence.notes.join("\n")
    ));
}

#[test]
fn of_what_nothing_is_known_nothing_is_sent() {
    let mut pack = worked::pack();
    pack.customer.name = None;
    pack.purchase.description = None;
    pack.purchase.items.iter_mut().for_each(|item| item.name = None);
    let evidence = evidence(&pack);
    for field in ["customer_name", "customer_email_address", "product_description", "customer_purchase_ip"] {
        assert_eq!(text(&evidence, field), None, "{field}");
    }
}

#[test]
fn the_reason_decides_what_else_is_said() {
    let with = |reason: &str| {
        let mut pack = worked::pack();
        pack.dispute.reason = Some(reason.to_owned());
        pack.earlier.payments[2].amount = pack.purchase.amount;
        evidence(&pack)
    };
    let fraud = with("fraudulent");
    for field in [
        "duplicate_charge_id",
        "duplicate_charge_explanation",
        "cancellation_rebuttal",
        "refund_refusal_explanation",
    ] {
        assert_eq!(text(&fraud, field), None, "{field}");
    }
    assert_eq!(text(&with("duplicate"), "duplicate_charge_id"), Some("ch_3Ccc"));
    assert!(
        text(&with("duplicate"), "duplicate_charge_explanation")
            .unwrap()
            .contains("1,000 credits of its own")
    );
    assert!(text(&with("subscription_canceled"), "cancellation_rebuttal").is_some());
    // Whether a refund was asked for nobody looked up: nothing is said of it.
    assert_eq!(text(&with("credit_not_processed"), "refund_refusal_explanation"), None);
}

#[test]
fn nobody_says_that_there_is_no_subscription_without_knowing() {
    let mut pack = worked::pack();
    pack.dispute.reason = Some("subscription_canceled".to_owned());
    pack.purchase.is_one_off = false;
    assert_eq!(text(&evidence(&pack), "cancellation_rebuttal"), None);
}

#[track_caller]
fn check_limits(evidence: &StripeEvidence) {
    let lengths: Vec<usize> = evidence.texts.iter().map(|text| text.text.chars().count()).collect();
    assert!(lengths.iter().all(|length| *length <= TEXT_CHARACTERS_MAX));
    assert!(lengths.iter().sum::<usize>() <= TEXTS_CHARACTERS_MAX);
    let fields =
        evidence.texts.iter().map(|text| text.field).chain(evidence.files.iter().map(|file| file.field));
    let fields: Vec<&str> = fields.collect();
    assert_eq!(fields.iter().collect::<BTreeSet<_>>().len(), fields.len());
    assert!(evidence.files.iter().map(|file| file.bytes.len()).sum::<usize>() <= FILES_BYTES_MAX);
    assert!(evidence.files.iter().all(|file| file.pages <= PAGES_MAX));
}

#[test]
fn limits_hold_for_a_huge_pack_and_what_was_cut_is_told() {
    let mut pack = hostile::huge();
    let long = "A sentence that says something. ".repeat(5_000);
    pack.policy = Some(Policy { version: None, text: long.clone(), disclosure: Some(long.clone()) });
    pack.purchase.description = Some(long.clone());
    pack.customer.name = Some(long.clone());
    pack.customer.email = Some(long.clone());
    pack.refunds = vec![Refund {
        at: pack.as_of,
        state: "denied".to_owned(),
        amount: None,
        reference: None,
        note: Some(long),
    }];
    let evidence = evidence(&pack);
    check_limits(&evidence);
    for field in [
        "access_activity_log",
        "refund_policy_disclosure",
        "product_description",
        "refund_refusal_explanation",
    ] {
        let text = text(&evidence, field).unwrap();
        assert!(text.contains("[Cut here: "), "{field}");
        assert!(text.chars().count() > TEXT_CHARACTERS_MAX * 9 / 10, "{field}");
        assert!(evidence.notes.iter().any(|note| note.starts_with(field)), "{field}");
    }
}

#[test]
fn hostile_texts_are_sent_without_what_is_not_seen() {
    let evidence = evidence(&hostile::texts());
    check_limits(&evidence);
    for text in &evidence.texts {
        let hidden = |it: char| it != '\n' && crate::words::is_unseen(it);
        assert!(!text.text.contains(hidden), "{}", text.field);
    }
    assert!(evidence.files[0].name.is_ascii() && !evidence.files[0].name.contains('/'));
}

#[test]
fn a_limit_that_is_passed_is_named() {
    let text = |length| StripeText { field: "uncategorized_text", text: "x".repeat(length) };
    let of = |texts| StripeEvidence { texts, files: vec![], notes: vec![] };
    assert!(of(vec![text(TEXT_CHARACTERS_MAX)]).check().is_ok());
    for (texts, expected) in [
        (vec![text(TEXT_CHARACTERS_MAX + 1)], "characters in uncategorized_text"),
        (vec![text(1), text(1)], "texts in uncategorized_text"),
    ] {
        let error = of(texts).check().unwrap_err();
        assert!(matches!(&error, StripeError::Limit { what, .. } if what == expected), "{error}");
    }
    let mut twice = evidence(&worked::pack());
    twice.files.push(twice.files[0].clone());
    assert!(twice.check().is_err());
}

#[test]
fn other_processors_take_none() {
    let mut pack = worked::pack();
    pack.dispute.processor = "paddle".parse().unwrap();
    assert!(matches!(pack.stripe_evidence(), Err(StripeError::OtherProcessor(name)) if name == "paddle"));
}
