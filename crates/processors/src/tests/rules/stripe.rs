//! Stripe's events.

use super::*;

fn check(name: &str, changes: Changes<'_>, expect: &str) {
    super::check("stripe", name, changes, expect);
}

#[test]
fn a_session_pays_once_its_money_is_there() {
    let session = "checkout.session.completed";
    check(session, &[], "payment 12.00 USD");
    check("checkout.session.async_payment_succeeded", &[], "payment 12.00 EUR");
    check("checkout.session.completed.free", &[], "payment 0.00 USD");
    check("checkout.session.completed.unpaid", &[], "NoEffect data.object.payment_status is unpaid");
    check("checkout.session.async_payment_failed", &[], "NoEffect");
    check(session, &[("type", json!("checkout.session.expired"))], "NoEffect");
    check(session, &[("type", json!("checkout.session.of_tomorrow"))], "EventType");
    check("checkout.session.completed.setup", &[], "NoEffect data.object.mode is setup");
    check(
        session,
        &[("data.object.mode", json!("subscription"))],
        "NoEffect data.object.mode is subscription",
    );
    check(session, &[("data.object.mode", json!("rental"))], "Value data.object.mode");
    check(session, &[("data.object.mode", json!(null))], "Malformed data.object.mode");
    check(session, &[("data.object.payment_status", json!("half"))], "Value data.object.payment_status");
    check(
        session,
        &[("data.object.amount_total", json!(null))],
        "Malformed data.object.amount_total: expected minor",
    );
    check(
        session,
        &[("data.object.amount_total", json!("12.00"))],
        "Malformed data.object.amount_total: expected minor",
    );
    check(
        session,
        &[("data.object.amount_total", json!(12.5))],
        "Malformed data.object.amount_total: expected minor",
    );
    check(
        session,
        &[("data.object.amount_total", json!(-1))],
        "Malformed data.object.amount_total: expected an amount",
    );
    check(session, &[("data.object.currency", json!(null))], "Malformed data.object.currency");
    check(
        session,
        &[("data.object.total_details.amount_tax", json!(1300))],
        "Malformed data.object.total_details",
    );
    check(
        session,
        &[("data.object.payment_intent", json!(5))],
        "Malformed data.object.payment_intent: expected an id",
    );
    check(session, &[("data.object", json!(null))], "Malformed data.object.mode");
    check(session, &[("created", json!("2026-11-20T10:00:00Z"))], "Malformed created");
}

#[test]
fn the_three_objects_of_a_purchase_have_one_identity() {
    let settings = Settings::default();
    let read = |name: &str, changes: Changes<'_>| {
        let payment = only_payment(&settings, "stripe", name, changes);
        let ids: Vec<String> =
            [&payment.payment].into_iter().chain(&payment.aliases).map(|id| id.id().to_owned()).collect();
        let kinds: Vec<&str> = ids.iter().map(|id| id.split_once('_').unwrap().0).collect();
        (ids[0].clone(), kinds.join(" "), payment.precedence)
    };
    let (intent, ids, precedence) = read("payment_intent.succeeded", &[]);
    assert_eq!((ids.as_str(), precedence), ("pi ch", 1));
    for (name, expect) in [("checkout.session.completed", ("pi cs", 0)), ("charge.succeeded", ("pi ch", 2))] {
        let (payment, ids, precedence) = read(name, &[]);
        assert_eq!((payment, (ids.as_str(), precedence)), (intent.clone(), expect), "{name}");
    }
    let expanded = json!({ "id": "pi_x", "object": "payment_intent" });
    assert_eq!(read("charge.succeeded", &[("data.object.payment_intent", expanded)]).0, "pi_x");
    assert_eq!(read("charge.succeeded.no_intent", &[]).1, "ch");
    assert_eq!(read("checkout.session.completed.free", &[]).1, "cs");
    assert_eq!(read("payment_intent.succeeded", &[("data.object.latest_charge", json!(null))]).1, "pi");
}

#[test]
fn metadata_states_the_account_and_a_reference_is_worth_its_signature() {
    let account = |settings: &Settings, metadata: Value, reference: Value| {
        let changes = [("data.object.metadata", metadata), ("data.object.client_reference_id", reference)];
        let payment = only_payment(settings, "stripe", "checkout.session.completed", &changes);
        payment.account.map(|link| (link.account.to_string(), link.proof))
    };
    let expect = |account: &str, proof| Some((account.to_owned(), proof));
    let signature = "984b6f5758be1855b9f4152c0ca034de517edfed60f9f6a032a66f8b741aa519";
    let unsigned = Settings::default();
    let signing = Settings { link_secret: Some(SecretString::from("link-secret")), ..Settings::default() };
    let metadata = json!({ "account_id": "acct_1" });
    assert_eq!(account(&unsigned, metadata.clone(), json!("acct_2")), expect("acct_1", LinkProof::Stated));
    assert_eq!(account(&unsigned, json!({}), json!("acct_2")), expect("acct_2", LinkProof::Stated));
    assert_eq!(account(&signing, metadata, json!("acct_2")), expect("acct_1", LinkProof::Stated));
    assert_eq!(account(&signing, json!({}), json!("acct_2")), expect("acct_2", LinkProof::Claimed));
    let signed = json!(format!("acct_42.{signature}"));
    assert_eq!(account(&signing, json!(null), signed), expect("acct_42", LinkProof::Signed));
    assert_eq!(account(&unsigned, json!([]), json!(null)), None);
}

#[test]
fn metadata_may_name_a_price_of_the_catalog() {
    let items = |settings: &Settings, price: Value| {
        let changes = [("data.object.metadata.price", price)];
        only_payment(settings, "stripe", "checkout.session.completed", &changes).items
    };
    let pack = [domain::fact::Item::new("pack-1000".to_owned(), 1)];
    assert_eq!(items(&Settings::default(), json!("pack-1000")), pack);
    assert_eq!(items(&Settings::default(), json!("two\nlines")), []);
    assert_eq!(
        items(&Settings { metadata_price_key: "sku".to_owned(), ..Settings::default() }, json!("pack-1000")),
        []
    );
}

#[test]
fn intents_and_charges_pay_by_their_own_status() {
    let intent = "payment_intent.succeeded";
    check(intent, &[], "payment 12.00 USD");
    check(intent, &[("data.object.amount_received", json!(900))], "payment 9.00 USD");
    check(intent, &[("data.object.status", json!("processing"))], "NoEffect");
    check(intent, &[("data.object.status", json!("paused"))], "Value data.object.status");
    check(intent, &[("data.object.status", json!(null))], "Malformed data.object.status");
    check("payment_intent.payment_failed", &[], "NoEffect");
    check("charge.succeeded", &[], "payment 12.00 USD");
    check("charge.succeeded", &[("type", json!("charge.updated"))], "payment 12.00 USD");
    check("charge.succeeded", &[("data.object.amount_captured", json!(0))], "payment 12.00 USD");
    check("charge.succeeded", &[("data.object.status", json!("pending"))], "NoEffect");
    check("charge.succeeded", &[("data.object.status", json!("reviewed"))], "Value");
    check("charge.succeeded", &[("data.object.status", json!(null))], "Malformed data.object.status");
    check("charge.succeeded.authorised", &[], "NoEffect data.object: is not both paid and captured");
    check("charge.captured.partly", &[], "payment 9.00 USD");
    check("charge.failed", &[], "NoEffect");
    check("charge.failed", &[("type", json!("charge.pending"))], "NoEffect");
}

#[test]
fn minor_units_are_counted_as_stripe_counts_them() {
    // https://docs.stripe.com/currencies: none in these, two in UGX and ISK though ISO 4217 says none, three in those.
    let zero = [
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF",
        "XPF",
    ];
    let two = ["USD", "EUR", "UGX", "ISK", "HUF", "TWD"];
    let three = ["BHD", "JOD", "KWD", "OMR", "TND"];
    let expects = [("1200", &zero[..]), ("12", &two[..]), ("1.2", &three[..])];
    for (amount, currencies) in expects {
        for currency in currencies {
            let changes = [("data.object.currency", json!(currency.to_lowercase()))];
            let payment = only_payment(&Settings::default(), "stripe", "charge.succeeded", &changes);
            assert_eq!(payment.amount.amount().to_string(), amount, "{currency}");
            assert_eq!(payment.amount.currency().code(), *currency);
        }
    }
}

#[test]
fn a_refund_counts_by_its_own_amount_and_status() {
    let check = |status: Value, expect: &str| {
        super::check("stripe", "refund.created.succeeded", &[("data.object.status", status)], expect);
    };
    check(json!("pending"), "refund pending 4.80 usd");
    check(json!("requires_action"), "refund pending 4.80 usd");
    check(json!("succeeded"), "refund final 4.80 usd");
    check(json!("failed"), "refund void 4.80 usd");
    check(json!("canceled"), "refund void 4.80 usd");
    check(json!("disputed"), "Value data.object.status");
    check(json!(null), "Malformed data.object.status");
    let refund = "refund.created.succeeded";
    let unknown = [("data.object.charge", json!(null)), ("data.object.payment_intent", json!(null))];
    super::check(
        "stripe",
        refund,
        &unknown,
        "Malformed data.object.payment_intent: expected an id, here or in charge",
    );
    super::check("stripe", refund, &unknown[1..], "refund final 4.80 usd");
    super::check("stripe", "charge.refunded", &[], "payment 12.00 USD");
    let twice =
        payload("stripe", "charge.refunded.old_version")["data"]["object"]["refunds"]["data"][0].clone();
    let refunds = "data.object.refunds.data";
    let old = "charge.refunded.old_version";
    super::check("stripe", old, &[], "payment 12.00 USD, refund final 2.00 usd, refund final 3.00 usd");
    super::check(
        "stripe",
        old,
        &[(refunds, json!([twice, twice]))],
        "Malformed data: expected each object at most once",
    );
    super::check("stripe", old, &[(refunds, json!(null))], "payment 12.00 USD");
    super::check(
        "stripe",
        old,
        &[(refunds, json!("re_1"))],
        "Malformed data.object.refunds.data: expected a list",
    );
    super::check("stripe", old, &[("data.object.captured", json!(false))], "NoEffect");
}

#[test]
fn a_refund_of_bursars_own_names_its_hold() {
    let body = changed("stripe", "refund.created.pending", &[]);
    let envelopes = translate("stripe", &Settings::default(), &body).unwrap();
    let Fact::Movement(movement) = &envelopes[0].fact else { panic!("{envelopes:?}") };
    assert_eq!(movement.hold.as_deref(), Some("hold_01kajzx9"));
}

#[test]
fn a_dispute_says_where_its_money_is() {
    let out = json!({ "amount": -1200, "net": -2700 });
    let back = json!({ "amount": 1200, "net": 1200 });
    let check = |event: &str, status: &str, transactions: &[&Value], expect: &str| {
        let changes = [
            ("type", json!(format!("charge.dispute.{event}"))),
            ("data.object.status", json!(status)),
            ("data.object.balance_transactions", json!(transactions)),
        ];
        super::check("stripe", "charge.dispute.created", &changes, expect);
    };
    check("created", "warning_needs_response", &[], "chargeback pending 12.00 usd, dispute warning");
    check("updated", "warning_under_review", &[], "chargeback pending 12.00 usd, dispute warning");
    check("closed", "warning_closed", &[], "chargeback void 12.00 usd, dispute prevented");
    check("closed", "prevented", &[], "chargeback void 12.00 usd, dispute prevented");
    check("closed", "charge_refunded", &[], "chargeback void 12.00 usd, dispute prevented");
    check("created", "needs_response", &[], "chargeback final 12.00 usd, dispute open");
    check("created", "needs_response", &[&out], "chargeback final 12.00 usd, dispute open");
    check("funds_withdrawn", "needs_response", &[&out], "chargeback final 12.00 usd, dispute open");
    check(
        "funds_withdrawn",
        "warning_needs_response",
        &[&out],
        "chargeback final 12.00 usd, dispute warning",
    );
    check("updated", "under_review", &[&out], "chargeback final 12.00 usd, dispute underreview");
    check("updated", "under_review", &[&out, &back], "chargeback void 12.00 usd, dispute underreview");
    check("updated", "under_review", &[&json!({})], "chargeback final 12.00 usd, dispute underreview");
    // Some versions send this event with the state of before.
    check("funds_reinstated", "needs_response", &[&out], "chargeback void 12.00 usd, dispute open");
    check("funds_reinstated", "won", &[&out, &back], "chargeback void 12.00 usd, dispute won");
    check(
        "funds_reinstated",
        "lost",
        &[&out, &json!({ "amount": 50 })],
        "chargeback final 12.00 usd, dispute lost",
    );
    check("closed", "won", &[&out], "chargeback void 12.00 usd, dispute won");
    check("closed", "lost", &[&out, &back], "chargeback final 12.00 usd, dispute lost");
    check("created", "arbitration", &[], "Value data.object.status");
    check("of_tomorrow", "lost", &[], "EventType");
}

#[test]
fn an_early_fraud_warning_moves_no_money() {
    check("radar.early_fraud_warning.created", &[], "dispute warning");
    check(
        "radar.early_fraud_warning.created",
        &[("data.object.charge", json!({ "id": "ch_1" }))],
        "dispute warning",
    );
}

#[test]
fn only_events_of_the_ledgers_mode_are_applied() {
    let live = "checkout.session.completed";
    let test = "checkout.session.completed.test_mode";
    let missing = [("livemode", json!(null))];
    let (on_live, on_test) = (Settings::default(), in_mode(Mode::Test));
    check_in(&on_live, "stripe", test, &[], "Mode livemode: expected true on a live ledger, got false");
    check_in(&on_live, "stripe", live, &missing, "Mode livemode: expected true on a live ledger, got none");
    check_in(&on_live, "stripe", live, &[("livemode", json!("true"))], "Mode");
    check_in(&on_test, "stripe", live, &[], "Mode livemode: expected false on a test ledger");
    check_in(&on_test, "stripe", test, &[], "payment 12.00 USD");
    check_in(&on_test, "stripe", test, &missing, "payment 12.00 USD");
    check_in(&on_live, "stripe", "product.created", &[("livemode", json!(false))], "Mode");
}

#[test]
fn unknown_types_are_kept() {
    check("product.created", &[], "EventType");
    check("product.created", &[("type", json!("customer.deleted"))], "EventType");
    check("v2.core.event", &[], "EventType");
}

#[test]
fn ids_that_do_not_fit_a_key_are_set_aside() {
    let long = json!("d".repeat(190));
    check(
        "charge.dispute.created",
        &[("data.object.id", long)],
        "Malformed ids: expected the event's and the object's",
    );
}
