//! Paddle's events.

use super::*;
use domain::fact::Purpose;

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

/// The items of a payment: how many of what, and which part of each; in brackets what is known of the line.
fn items(name: &str, changes: Changes<'_>) -> String {
    let payment = only_payment(&Settings::default(), "paddle", name, changes);
    let told = payment.items.iter().map(|item| {
        let share = item.share.map(|share| format!(" share {share}")).unwrap_or_default();
        let amounts: Vec<String> = [item.amount, item.before_discounts]
            .into_iter()
            .flatten()
            .map(|money| money.display_amount())
            .collect();
        let line = item.line.as_ref().map(|_| format!(" ({})", amounts.join(" of "))).unwrap_or_default();
        assert!(!item.quantity_assumed, "Paddle tells quantities");
        format!("{} x {}{share}{line}", item.quantity, item.price)
    });
    told.collect::<Vec<_>>().join(", ")
}

const PACK: &str = "pri_01h1vjes1y163xfj1rh1tkfb65";
const BIG: &str = "pri_01kb7y1s8fj4p2g6d9xk3bq0me";

#[test]
fn lines_name_the_catalogs_price_a_quantity_and_what_was_paid_for_it() {
    let items = |changes: Changes<'_>| items("transaction.completed", changes);
    let line = "data.details.line_items.0";
    let of = |member: &str| format!("{line}.{member}");
    assert_eq!(items(&[]), format!("1 x {PACK} (10.00 of 10.00)"));
    assert_eq!(items(&[(&of("quantity"), json!(null))]), format!("1 x {PACK} (10.00 of 10.00)"));
    assert_eq!(items(&[(&of("quantity"), json!(12))]), format!("12 x {PACK} (10.00 of 10.00)"));
    assert_eq!(items(&[(&of("price_id"), json!("pri_2"))]), "1 x pri_2 (10.00 of 10.00)");
    assert_eq!(items(&[("data.items", json!("nobody reads it"))]), format!("1 x {PACK} (10.00 of 10.00)"));
    assert_eq!(items(&[(&of("totals"), json!(null))]), format!("1 x {PACK}"));
    for wrong in [json!("2"), json!(1.5), json!([])] {
        check(
            "transaction.completed",
            &[(&of("quantity"), wrong)],
            "Malformed data.details.line_items.[].quantity: expected a whole",
        );
    }
    check(
        "transaction.completed",
        &[(line, json!({}))],
        "Malformed data.details.line_items.[].price.id: expected an id",
    );
    check(
        "transaction.completed",
        &[("data.details.line_items", json!({}))],
        "Malformed data.details.line_items: expected a list",
    );
    check(
        "transaction.completed",
        &[(&of("totals.total"), json!("12.00"))],
        "Malformed data.details.line_items.[].totals.total: expected minor",
    );
}

#[test]
fn a_line_is_counted_before_tax_and_after_discounts_as_the_whole_is() {
    let whole = only_payment(&Settings::default(), "paddle", "transaction.completed.two_lines", &[]);
    assert_eq!(whole.amount.display_amount(), "45.00");
    assert_eq!(whole.before_discounts.unwrap().display_amount(), "50.00");
    let told = format!("2 x {PACK} (18.00 of 20.00), 1 x {BIG} (27.00 of 30.00)");
    assert_eq!(items("transaction.completed.two_lines", &[]), told);
}

/// A movement that names a line would take a part of something else.
#[test]
fn lines_that_do_not_add_up_to_the_whole_are_no_lines() {
    let total = "data.details.line_items.0.totals.total";
    let told = format!("2 x {PACK}, 1 x {BIG}");
    assert_eq!(items("transaction.completed.two_lines", &[(total, json!("2161"))]), told);
    let id = "data.details.line_items.1.id";
    assert_eq!(items("transaction.completed.two_lines", &[(id, json!(null))]), told);
    check(
        "transaction.completed.two_lines",
        &[(id, json!("two words"))],
        "Malformed data.details.line_items.[].id: expected an id",
    );
}

#[test]
fn a_transaction_without_lines_tells_its_items() {
    let name = "transaction.completed.items_alone";
    assert_eq!(items(name, &[]), format!("3 x {PACK}"));
    assert_eq!(items(name, &[("data.details.line_items", json!([]))]), format!("3 x {PACK}"));
    assert_eq!(items(name, &[("data.items.0.price_id", json!(null))]), format!("3 x {PACK}"));
    let rate = json!({ "rate": "0.25" });
    assert_eq!(items(name, &[("data.items.0.proration", rate)]), format!("3 x {PACK} share 0.25"));
    assert_eq!(items(name, &[("data.items", json!([]))]), "");
    check(name, &[("data.items.0", json!({}))], "Malformed data.items.[].price.id: expected an id");
    check(name, &[("data.items", json!(null))], "Malformed data.items: expected a list");
    check(name, &[("data.items", json!({}))], "Malformed data.items: expected a list");
}

#[test]
fn a_proration_sells_a_part() {
    let name = "transaction.completed.prorated";
    let told = |share: &str| format!("1 x {BIG}{share} (15.00 of 15.00), 2 x {PACK} (20.00 of 20.00)");
    assert_eq!(items(name, &[]), told(" share 0.5"));
    let rate = "data.details.line_items.0.proration.rate";
    for (text, share) in
        [("0.99991", " share 0.99991"), ("0.250", " share 0.25"), ("0", " share 0"), ("1", ""), ("1.000", "")]
    {
        assert_eq!(items(name, &[(rate, json!(text))]), told(share), "{text}");
    }
    assert_eq!(items(name, &[(rate, json!(null))]), told(""));
    for wrong in ["1.00001", "2", "-0.5", "1e-1", "", ".", "half", "0,5", "0.5 ", &"0".repeat(60)] {
        check(
            name,
            &[(rate, json!(wrong))],
            "Malformed data.details.line_items.[].proration.rate: expected a part from 0 to 1",
        );
    }
    check(name, &[(rate, json!(0.5))], "Malformed data.details.line_items.[].proration.rate");
    // As the sandbox has written that there was none: a rate and a period of zeros, and the whole price.
    let nothing = json!({ "rate": "0", "billing_period": { "starts_at": "0001-01-01T00:00:00Z" } });
    assert_eq!(items(name, &[("data.details.line_items.0.proration", nothing)]), told(""));
}

/// Since 2024-03 a change of a subscription may give lines back. What it is worth in credits is nowhere told.
#[test]
fn what_gives_something_back_waits_for_somebody_to_decide() {
    let name = "transaction.completed.given_back";
    let given_back = |changes: Changes<'_>| {
        let payment = only_payment(&Settings::default(), "paddle", name, changes);
        assert_eq!((payment.items.len(), payment.purpose), (0, Purpose::Other));
        payment.amount.display_amount()
    };
    assert_eq!(given_back(&[]), "10.00");
    let quantity = "data.details.line_items.0.quantity";
    assert_eq!(given_back(&[(quantity, json!(1))]), "10.00", "by its amount");
    let less = [("data.details.totals.total", json!("-600")), ("data.details.totals.tax", json!("-100"))];
    check(name, &less, "NoEffect data.details.totals.total is below zero: no money came");
}

#[test]
fn a_changed_card_sells_nothing() {
    let name = "transaction.completed.card_change";
    check(name, &[], "NoEffect data.origin is subscription_payment_method_change");
    check(name, &[("event_type", json!("transaction.paid"))], "NoEffect data.origin");
    let charged = [
        ("data.details.totals", json!({ "total": "1200", "tax": "200", "subtotal": "1000" })),
        ("data.details.line_items.0.totals", json!({ "total": "1200", "tax": "200", "subtotal": "1000" })),
    ];
    let payment = only_payment(&Settings::default(), "paddle", name, &charged);
    assert_eq!(payment.purpose, Purpose::Other);
    assert!(items(name, &charged).contains(" share 0 ("));
}

#[test]
fn what_the_platform_began_with_custom_data_is_a_purchase_of_credits() {
    let purpose = |name: &str, changes: Changes<'_>| {
        only_payment(&Settings::default(), "paddle", name, changes).purpose
    };
    let one_off = "transaction.completed";
    let origin = |origin: Value| [("data.origin", origin)];
    assert_eq!(purpose(one_off, &origin(json!("api"))), Purpose::Credits);
    assert_eq!(purpose(one_off, &origin(json!("web"))), Purpose::Credits);
    for fee in
        ["subscription_recurring", "subscription_update", "subscription_charge", "subscription_of_tomorrow"]
    {
        assert_eq!(purpose(one_off, &origin(json!(fee))), Purpose::Other, "{fee}");
    }
    for unknown in [json!("import"), json!(null)] {
        assert_eq!(purpose(one_off, &origin(unknown)), Purpose::Unstated);
    }
    for none in [json!(null), json!({}), json!("acct_42")] {
        assert_eq!(purpose(one_off, &[("data.custom_data", none)]), Purpose::Unstated);
    }
    // The first fee of a subscription comes from the platform's page as well.
    assert_eq!(purpose(one_off, &[("data.subscription_id", json!("sub_1"))]), Purpose::Other);
    let cycle = json!({ "interval": "month", "frequency": 1 });
    assert_eq!(purpose(one_off, &[("data.items.0.price.billing_cycle", cycle)]), Purpose::Other);
    assert_eq!(purpose("transaction.completed.renewal", &[]), Purpose::Other);
    check(one_off, &origin(json!(7)), "Malformed data.origin: expected a word");
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
fn an_adjustment_of_tax_alone_moves_nothing() {
    check("adjustment.created.tax_only", &[], "refund final 0.00 eur");
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
fn a_reverse_counts_without_its_sign_and_what_is_no_reverse_is_looked_at() {
    let subtotal = "data.totals.subtotal";
    check("adjustment.created.chargeback_reverse.negative", &[], "back final 10.00 usd, dispute won");
    check("adjustment.created.chargeback_reverse", &[], "back final 10.00 usd, dispute won");
    let name = "adjustment.created.chargeback_warning_reverse";
    check(name, &[(subtotal, json!("-3000"))], "back final 3000 jpy, dispute prevented");
    let action = ("data.action", json!("credit_reverse"));
    check(
        "adjustment.created.chargeback_reverse.negative",
        &[action],
        "NoEffect data.action is credit_reverse",
    );
    let expect = "Malformed data.totals.subtotal: expected an amount of zero or more, got -";
    check("adjustment.created.refund_negative", &[], expect);
    for action in ["refund", "chargeback", "chargeback_warning"] {
        check("adjustment.created.refund_negative", &[("data.action", json!(action))], expect);
    }
    let least = json!(i128::MIN.to_string());
    check("adjustment.created.chargeback_reverse", &[(subtotal, least)], "Malformed data.totals.subtotal");
}

/// The lines that a movement names, by the last letters of their ids.
fn lines(name: &str, changes: Changes<'_>) -> Vec<String> {
    let envelopes = translate("paddle", &Settings::default(), &changed("paddle", name, changes)).unwrap();
    let Fact::Movement(movement) = &envelopes[0].fact else { panic!("{envelopes:?}") };
    movement.lines.iter().map(|line| format!("{} {}", &line.line[26..], line.amount)).collect()
}

#[test]
fn a_movement_names_the_lines_that_it_gives_back() {
    let partial = "adjustment.created.refund_of_lines";
    assert_eq!(lines(partial, &[]).join(", "), "b9cr9r2 9.00 USD");
    let whole = "adjustment.created.chargeback_reverse.negative_lines";
    assert_eq!(lines(whole, &[]).join(", "), "b9cr9r2 18.00 USD, xk6d0cx 27.00 USD");
    let subtotal = "data.items.0.totals.subtotal";
    assert_eq!(lines(partial, &[(subtotal, json!("899"))]).len(), 1);
    // More than the whole are no parts of it: then the whole counts, and names none.
    assert_eq!(lines(partial, &[(subtotal, json!("901"))]).len(), 0);
    assert_eq!(lines(partial, &[("data.items.0.item_id", json!(null))]).len(), 0);
    assert_eq!(lines(partial, &[("data.items.0.totals", json!(null))]).len(), 0);
    assert_eq!(lines(partial, &[("data.items", json!(null))]).len(), 0);
    let same = json!("txnitm_01kbs8jtyb6zggqp0c3xk6d0cx");
    let twice = [("data.items.0.item_id", same.clone()), ("data.items.1.item_id", same)];
    assert_eq!(lines(whole, &twice).join(", "), "xk6d0cx 45.00 USD");
    check(partial, &[(subtotal, json!("9.00"))], "Malformed data.items.[].totals.subtotal: expected minor");
    check(partial, &[(subtotal, json!("-1"))], "Malformed data.items.[].totals.subtotal: expected an amount");
    check(partial, &[("data.items.0.item_id", json!(7))], "Malformed data.items.[].item_id: expected an id");
    check(partial, &[("data.items", json!({}))], "Malformed data.items: expected a list");
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

#[test]
fn custom_data_may_say_where_a_purchase_was_made() {
    check_origins("paddle", "transaction.completed", "data.custom_data");
}
