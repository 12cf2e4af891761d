//! Paddle's events.

use super::*;

fn check(name: &str, changes: Changes<'_>, expect: &str) {
    super::check("paddle", name, changes, expect);
}

#[test]
fn a_paid_transaction_counts_before_tax() {
    let total = "data.details.totals.total";
    let tax = "data.details.totals.tax";
    check("transaction.completed", &[], "payment 10.00 USD");
    check("transaction.paid", &[], "payment 10.00 USD");
    check("transaction.completed.discounted", &[], "payment 25.65 EUR");
    check("transaction.completed.yen", &[], "payment 3000 JPY");
    check("transaction.completed", &[(total, json!("0")), (tax, json!("0"))], "payment 0.00 USD");
    check("transaction.completed", &[("data.currency_code", json!("krw"))], "payment 1000 KRW");
    check("transaction.completed", &[(total, json!("9007199254741193"))], "payment 90071992547409.93 USD");
}

#[test]
fn a_transaction_pays_by_its_status_and_never_by_an_update() {
    check("transaction.updated", &[], "NoEffect");
    check("transaction.created", &[], "NoEffect");
    for kind in ["transaction.revised", "transaction.payment_failed", "transaction.of_tomorrow"] {
        check("transaction.completed", &[("event_type", json!(kind))], "NoEffect");
    }
    check("transaction.completed", &[("data.status", json!("past_due"))], "NoEffect data.status is past_due");
    check(
        "transaction.completed",
        &[("data.status", json!("settled"))],
        "Value data.status: expected paid or",
    );
    check(
        "transaction.completed",
        &[("data.status", json!(null))],
        "Malformed data.status: expected paid or",
    );
}

#[test]
fn garbled_payments_are_set_aside_with_the_fields_name() {
    let total = "data.details.totals.total";
    for wrong in
        [json!("12.00"), json!(1200), json!(""), json!("-"), json!("1e3"), json!(null), json!(" 1200")]
    {
        check(
            "transaction.completed",
            &[(total, wrong)],
            "Malformed data.details.totals.total: expected minor",
        );
    }
    check(
        "transaction.completed",
        &[(total, json!("-5"))],
        "Malformed data.details.totals.total: expected an",
    );
    check(
        "transaction.completed",
        &[(total, json!("9".repeat(30)))],
        "Malformed data.details.totals.total: expected at most 10^18",
    );
    check(
        "transaction.completed",
        &[(total, json!("9".repeat(60)))],
        "Malformed data.details.totals.total: expected minor",
    );
    check(
        "transaction.completed",
        &[("data.details.totals.tax", json!(format!("-{}", i128::MAX)))],
        "Malformed data.details.totals.total: expected an amount above the tax",
    );
    check(
        "transaction.completed",
        &[("data.details", json!([]))],
        "Malformed data.details.totals.tax: expected",
    );
    check(
        "transaction.completed",
        &[("data.currency_code", json!("XYZ"))],
        "Malformed data.currency_code: expected",
    );
    check("transaction.completed", &[("data.id", json!("txn 1"))], "Malformed data.id: expected an id");
    check(
        "transaction.completed",
        &[("data.id", json!("x".repeat(198)))],
        "Malformed data.id: expected an id that",
    );
    check("transaction.completed", &[("data", json!("x"))], "Malformed data.status");
    check("transaction.completed", &[("occurred_at", json!("2026-11-20 10:00:00"))], "Malformed occurred_at");
    check(
        "transaction.completed",
        &[("occurred_at", json!("0001-01-01T00:00:00Z"))],
        "Malformed occurred_at",
    );
    check(
        "transaction.completed",
        &[("occurred_at", json!("9999-12-31T23:59:59-23:59"))],
        "Malformed occurred_at",
    );
}

#[test]
fn items_name_the_catalogs_price_and_a_quantity() {
    let items = |changes: Changes<'_>| {
        let items = only_payment(&Settings::default(), "paddle", "transaction.completed", changes).items;
        items
            .into_iter()
            .map(|item| format!("{} x {}", item.quantity, item.price))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let pack = "pri_01h1vjes1y163xfj1rh1tkfb65";
    let (price, quantity) = ("data.items.0.price", "data.items.0.quantity");
    assert_eq!(items(&[]), format!("1 x {pack}"));
    assert_eq!(items(&[(quantity, json!(null))]), format!("1 x {pack}"));
    assert_eq!(items(&[(quantity, json!(12))]), format!("12 x {pack}"));
    assert_eq!(items(&[(price, json!(null))]), format!("1 x {pack}"));
    assert_eq!(items(&[("data.items.0.price.id", json!("pri_2"))]), "1 x pri_2");
    assert_eq!(items(&[("data.items", json!([]))]), "");
    for wrong in [json!(-1), json!("2"), json!(1.5)] {
        check(
            "transaction.completed",
            &[(quantity, wrong)],
            "Malformed data.items.[].quantity: expected a whole",
        );
    }
    check(
        "transaction.completed",
        &[("data.items.0", json!({}))],
        "Malformed data.items.[].price_id: expected an id",
    );
    check("transaction.completed", &[("data.items", json!(null))], "Malformed data.items: expected a list");
    check("transaction.completed", &[("data.items", json!({}))], "Malformed data.items: expected a list");
}

#[test]
fn custom_data_names_the_account_and_never_more() {
    let account = |settings: &Settings, custom_data: Value| {
        let payment =
            only_payment(settings, "paddle", "transaction.completed", &[("data.custom_data", custom_data)]);
        payment.account.map(|link| (link.account.to_string(), link.proof))
    };
    let unsigned = Settings::default();
    let stated = |account: &str| Some((account.to_owned(), LinkProof::Stated));
    assert_eq!(account(&unsigned, json!({ "account_id": "acct_42" })), stated("acct_42"));
    assert_eq!(account(&unsigned, json!({ "account_id": 42, "credits": 1_000_000 })), stated("42"));
    for nobody in [json!({ "account_id": 4.2 }), json!({ "account_id": ["a"] }), json!({ "account_id": "" })]
    {
        assert_eq!(account(&unsigned, nobody), None);
    }
    for nobody in
        [json!({ "account": "acct_42" }), json!(null), json!("acct_42"), json!({ "account_id": "a b" })]
    {
        assert_eq!(account(&unsigned, nobody), None);
    }
    let other_key = Settings { custom_data_key: "customer".to_owned(), ..Settings::default() };
    assert_eq!(account(&other_key, json!({ "customer": "acct_42" })), stated("acct_42"));

    // HMAC-SHA256("link-secret", "acct_42")
    let signature = "984b6f5758be1855b9f4152c0ca034de517edfed60f9f6a032a66f8b741aa519";
    let signing = Settings { link_secret: Some(SecretString::from("link-secret")), ..Settings::default() };
    let signed = json!({ "account_id": format!("acct_42.{signature}") });
    let forged = json!({ "account_id": format!("acct_43.{signature}") });
    assert_eq!(account(&signing, signed), Some(("acct_42".to_owned(), LinkProof::Signed)));
    assert_eq!(account(&signing, forged), Some(("acct_43".to_owned(), LinkProof::Claimed)));
    assert_eq!(account(&signing, json!({ "account_id": 42 })), Some(("42".to_owned(), LinkProof::Claimed)));
}

#[test]
fn an_adjustments_action_gives_the_direction_and_its_status_the_state() {
    let check = |action: &str, status: &str, expect: &str| {
        let changes = [("data.action", json!(action)), ("data.status", json!(status))];
        super::check("paddle", "adjustment.created.chargeback", &changes, expect);
    };
    check("refund", "pending_approval", "refund pending 10.00 usd");
    check("refund", "approved", "refund final 10.00 usd");
    check("refund", "rejected", "refund void 10.00 usd");
    check("refund", "reversed", "refund final 10.00 usd");
    check("chargeback", "pending_approval", "chargeback pending 10.00 usd, dispute open");
    check("chargeback", "approved", "chargeback final 10.00 usd, dispute open");
    check("chargeback", "rejected", "chargeback void 10.00 usd, dispute prevented");
    check("chargeback", "reversed", "chargeback final 10.00 usd, dispute won");
    check("chargeback_warning", "approved", "chargeback final 10.00 usd, dispute warning");
    check("chargeback_warning", "reversed", "chargeback final 10.00 usd, dispute prevented");
    check("chargeback_reverse", "pending_approval", "back pending 10.00 usd");
    check("chargeback_reverse", "approved", "back final 10.00 usd, dispute won");
    check("chargeback_reverse", "rejected", "back void 10.00 usd");
    check("chargeback_warning_reverse", "approved", "back final 10.00 usd, dispute prevented");
    check("credit", "approved", "NoEffect data.action is credit");
    check("credit_reverse", "approved", "NoEffect data.action is credit_reverse");
    check("chargeback_escalated", "approved", "Value data.action: expected refund, credit, chargeback");
    check(
        "Mr. Example",
        "approved",
        "Value data.action: expected refund, credit, chargeback, chargeback_warning or a reverse of them, got something else",
    );
    check("refund", "on_hold", "Value data.status: expected pending_approval");
}

#[test]
fn an_adjustment_of_tax_alone_moves_nothing_and_a_negative_one_is_looked_at() {
    check("adjustment.created.tax_only", &[], "refund final 0.00 eur");
    check(
        "adjustment.created.negative",
        &[],
        "Malformed data.totals.subtotal: expected an amount of zero or more",
    );
    check("adjustment.created.beyond_2_to_53", &[], "chargeback final 90071992547409.93 usd, dispute open");
    check(
        "adjustment.created.refund_full",
        &[("data.payout_totals.subtotal", json!("1")), ("data.payout_totals.currency_code", json!("USD"))],
        "refund final 25.65 eur",
    );
    check(
        "adjustment.created.refund_full",
        &[("data.totals", json!(null))],
        "Malformed data.totals.subtotal",
    );
    check(
        "adjustment.created.refund_full",
        &[("data.transaction_id", json!(null))],
        "Malformed data.transaction_id",
    );
    check("adjustment.created.refund_full", &[("data.action", json!(null))], "Malformed data.action");
}

#[test]
fn the_simulator_never_touches_a_live_ledger() {
    check("adjustment.updated.simulated", &[], "Mode event_id");
    check_in(&in_mode(Mode::Test), "paddle", "adjustment.updated.simulated", &[], "refund final 10.00 usd");
    check_in(&in_mode(Mode::Test), "paddle", "transaction.completed", &[], "payment 10.00 USD");
}

#[test]
fn a_customer_is_linked_where_custom_data_says_so() {
    check("customer.created", &[], "customer of acct_42");
    check("customer.created", &[("event_type", json!("customer.imported"))], "customer of acct_42");
    check("customer.updated", &[], "customer");
    check("customer.created", &[("data.id", json!(7))], "Malformed data.id");
}

#[test]
fn unknown_types_are_kept() {
    check("address.created", &[], "EventType");
    check("address.created", &[("event_type", json!("invoice.paid")), ("data", json!(null))], "EventType");
    check("address.created", &[("event_type", json!("x".repeat(5000)))], "EventType");
}
