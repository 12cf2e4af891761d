//! Stripe's events.

use super::*;
use domain::fact::{LineItem, MovementStatus, Purpose};

fn check(name: &str, changes: Changes<'_>, expect: &str) {
    super::check("stripe", name, changes, expect);
}

#[test]
fn a_session_pays_once_its_money_is_there() {
    let session = "checkout.session.completed";
    check(session, &[], "payment 12.00 USD");
    check("checkout.session.async_payment_succeeded", &[], "payment 12.00 EUR");
    check("checkout.session.completed.free", &[], "payment 0.00 USD");
    check("checkout.session.completed.unpaid", &[], "payment pending 12.00 EUR");
    check("checkout.session.async_payment_failed", &[], "payment failed 12.00 EUR");
    let unknown = [("data.object.amount_total", json!(null))];
    check("checkout.session.completed.unpaid", &unknown, "NoEffect data.object.payment_status is unpaid");
    check(session, &[("type", json!("checkout.session.expired"))], "NoEffect");
    check(session, &[("type", json!("checkout.session.of_tomorrow"))], "EventType");
    check("checkout.session.completed.setup", &[], "NoEffect data.object.mode is setup");
    check("checkout.session.completed.subscription", &[], "NoEffect data.object.mode is subscription");
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

/// What says so only serves: platforms write order numbers there.
#[test]
fn a_reference_is_told_apart_from_what_is_explicit() {
    let link = |metadata: Value, reference: Value| {
        let changes = [("data.object.metadata", metadata), ("data.object.client_reference_id", reference)];
        let payment = only_payment(&Settings::default(), "stripe", "checkout.session.completed", &changes);
        payment.account.map(|link| (link.account.to_string(), link.by_reference))
    };
    let explicit = json!({ "account_id": "acct_1" });
    assert_eq!(link(explicit.clone(), json!("order-7")), Some(("acct_1".to_owned(), false)));
    assert_eq!(link(explicit, json!(null)), Some(("acct_1".to_owned(), false)));
    assert_eq!(link(json!({}), json!("order-7")), Some(("order-7".to_owned(), true)));
    assert_eq!(
        link(json!({ "account_id": "two words" }), json!("acct_2")),
        Some(("acct_2".to_owned(), true))
    );
    assert_eq!(link(json!({}), json!("two words")), None);
}

#[test]
fn metadata_may_name_a_price_of_the_catalog() {
    let items = |settings: &Settings, price: Value| {
        let changes = [("data.object.metadata.price", price)];
        only_payment(settings, "stripe", "checkout.session.completed", &changes).items
    };
    let pack = [LineItem { quantity_assumed: true, ..LineItem::new("pack-1000".to_owned(), 1) }];
    assert_eq!(items(&Settings::default(), json!("pack-1000")), pack);
    let spaced = [LineItem { quantity_assumed: true, ..LineItem::new("1000 credits".to_owned(), 1) }];
    assert_eq!(items(&Settings::default(), json!("1000 credits")), spaced);
    assert_eq!(items(&Settings::default(), json!(" 1000 credits\n")), spaced);
    assert_eq!(items(&Settings::default(), json!("")), []);
    assert_eq!(
        items(&Settings { metadata_price_key: "sku".to_owned(), ..Settings::default() }, json!("pack-1000")),
        []
    );
}

/// The money came: it is a payment, which waits for somebody who knows what was bought.
#[test]
fn a_price_that_cannot_be_read_is_not_taken_for_none() {
    for name in ["checkout.session.completed", "payment_intent.succeeded.metadata"] {
        for garbage in [json!("two\nlines"), json!("p".repeat(201)), json!(["pack"]), json!(true), json!({})]
        {
            let changes = [("data.object.metadata.price", garbage)];
            let payment = only_payment(&Settings::default(), "stripe", name, &changes);
            let quantities: Vec<u64> = payment.items.iter().map(|item| item.quantity).collect();
            assert_eq!(quantities, [LineItem::QUANTITY_UNKNOWN], "{changes:?}");
        }
    }
}

#[test]
fn a_quantity_is_stated_or_known_to_be_assumed_and_never_guessed() {
    let check_of = |name: &str, quantity: Value, expect: &str| {
        let payload = [("data.object.metadata.quantity", quantity)];
        let told =
            match translate("stripe", &Settings::default(), &changed("stripe", name, &payload)).unwrap() {
                envelopes if matches!(envelopes[0].fact, Fact::Payment(_)) => {
                    let Fact::Payment(payment) = &envelopes[0].fact else { unreachable!() };
                    let [item] = &payment.items[..] else { panic!("{payment:?}") };
                    let assumed = if item.quantity_assumed { " assumed" } else { "" };
                    match item.quantity {
                        LineItem::QUANTITY_UNKNOWN => "unknown".to_owned(),
                        quantity => format!("{quantity}{assumed}"),
                    }
                }
                envelopes => in_words(&envelopes),
            };
        assert!(told.starts_with(expect), "{told}");
    };
    for name in ["checkout.session.completed.quantity", "payment_intent.succeeded.metadata"] {
        check_of(name, json!("3"), "3");
        check_of(name, json!(3), "3");
        check_of(name, json!("0012"), "12");
        check_of(name, json!(null), "1 assumed");
        check_of(name, json!(""), "1 assumed");
        for garbage in [
            json!("0"),
            json!("-1"),
            json!("1.5"),
            json!("three"),
            json!(" 3"),
            json!("3e2"),
            json!(2.5),
            json!("99999999999999999999"),
            json!([3]),
            json!(true),
        ] {
            check_of(name, garbage, "unknown");
        }
    }
    // Without a price there is nothing that a quantity could be of.
    let changes = [("data.object.metadata", json!({ "quantity": "many" }))];
    check("checkout.session.completed.quantity", &changes, "payment 32.40 USD");
    let settings = Settings { metadata_quantity_key: "packs".to_owned(), ..Settings::default() };
    let changes = [("data.object.metadata.packs", json!("5"))];
    let payment = only_payment(&settings, "stripe", "checkout.session.completed.quantity", &changes);
    assert_eq!(payment.items[0].quantity, 5);
}

#[test]
fn what_goods_cost_before_discounts_is_the_sessions_subtotal() {
    let before = |name: &str, changes: Changes<'_>| {
        only_payment(&Settings::default(), "stripe", name, changes)
            .before_discounts
            .map(|m| m.display_amount())
    };
    let session = "checkout.session.completed.quantity";
    assert_eq!(before(session, &[]).as_deref(), Some("30.00"));
    assert_eq!(before(session, &[("data.object.amount_subtotal", json!(null))]), None);
    assert_eq!(before("payment_intent.succeeded", &[]), None);
    check(session, &[("data.object.amount_subtotal", json!("30"))], "Malformed data.object.amount_subtotal");
}

#[test]
fn the_lines_of_a_cart_are_read_where_they_are_told_whole() {
    let items = |changes: Changes<'_>| {
        let name = "checkout.session.completed.expanded";
        let payment = only_payment(&Settings::default(), "stripe", name, changes);
        let told = payment.items.iter().map(|item| {
            let amount =
                item.amount.map(|money| format!(" for {}", money.display_amount())).unwrap_or_default();
            let assumed = if item.quantity_assumed { " assumed" } else { "" };
            format!("{}{assumed} {}{amount}", item.quantity, &item.price[..item.price.len().min(16)])
        });
        told.collect::<Vec<_>>().join(", ")
    };
    let list = "data.object.line_items";
    let of = |member: &str| format!("{list}.{member}");
    let whole = "2 price_1RkPack100 for 21.60, 1 price_1RkPack500 for 32.40";
    assert_eq!(items(&[]), whole);
    assert_eq!(items(&[(&of("data.0.price"), json!("price_1RkPack1000aaaaaaaaaaaa"))]), whole);
    assert_eq!(items(&[(&of("has_more"), json!(true))]), "");
    let apart = "2 price_1RkPack100, 1 price_1RkPack500";
    assert_eq!(items(&[(&of("data.0.amount_total"), json!(2161))]), apart, "shipping is no line");
    assert_eq!(items(&[(list, json!(null))]), "");
    // What metadata names is one price of the catalog; the one line of the cart says how many.
    let named = ("data.object.metadata.price", json!("pack"));
    assert_eq!(items(std::slice::from_ref(&named)), "1 assumed pack");
    let one = json!([{ "price": "price_1", "quantity": 3 }]);
    assert_eq!(items(&[named.clone(), (&of("data"), one.clone())]), "3 pack");
    assert_eq!(items(&[named, (&of("data"), one), ("data.object.metadata.quantity", json!("2"))]), "2 pack");
    let name = "checkout.session.completed.expanded";
    check(name, &[(&of("data.0.price"), json!(null))], "Malformed data.object.line_items.data.[].price");
    check(name, &[(&of("data.0.quantity"), json!("2"))], "Malformed data.object.line_items.data.[].quantity");
    check(name, &[(&of("data"), json!({}))], "Malformed data.object.line_items.data: expected a list");
}

#[test]
fn the_fee_of_a_subscription_is_no_purchase_of_credits() {
    let purpose = |name: &str, changes: Changes<'_>| {
        only_payment(&Settings::default(), "stripe", name, changes).purpose
    };
    let session = "checkout.session.completed";
    assert_eq!(purpose(session, &[]), Purpose::Credits);
    assert_eq!(purpose(session, &[("data.object.metadata", json!({}))]), Purpose::Credits);
    assert_eq!(purpose(session, &[("data.object.mode", json!("subscription"))]), Purpose::Other);
    assert_eq!(purpose("payment_intent.succeeded.invoice", &[]), Purpose::Other);
    assert_eq!(purpose("payment_intent.succeeded.metadata", &[]), Purpose::Credits);
    for name in ["payment_intent.succeeded", "charge.succeeded"] {
        assert_eq!(purpose(name, &[]), Purpose::Unstated);
        assert_eq!(purpose(name, &[("data.object.metadata.account_id", json!("acct_42"))]), Purpose::Credits);
        assert_eq!(purpose(name, &[("data.object.metadata.price", json!("pack"))]), Purpose::Credits);
        assert_eq!(purpose(name, &[("data.object.metadata.colour", json!("red"))]), Purpose::Unstated);
        let both =
            [("data.object.metadata.price", json!("pack")), ("data.object.invoice", json!({ "id": "in_1" }))];
        assert_eq!(purpose(name, &both), Purpose::Other);
    }
}

/// Captured later, or by a slow method: the session speaks once, and the money comes with an intent and a charge.
#[test]
fn what_moves_nothing_may_still_name_account_price_and_customer() {
    let pending = |name: &str, changes: Changes<'_>| {
        let payment = only_payment(&Settings::default(), "stripe", name, changes);
        assert_eq!(payment.status, PaymentStatus::Pending, "{name}");
        payment
    };
    let session = pending("checkout.session.completed.authorised", &[]);
    let account = session.account.unwrap().account.to_string();
    assert_eq!((account.as_str(), session.items[0].price.as_str()), ("acct_42", "pack-1000"));
    assert_eq!((session.purpose, session.customer.is_some()), (Purpose::Credits, true));
    let intent = pending("payment_intent.amount_capturable_updated", &[]);
    assert_eq!(intent.payment, session.payment);
    let charge =
        pending("charge.succeeded.authorised", &[("data.object.payment_intent", json!(intent.object))]);
    assert_eq!(charge.payment, session.payment);
    check("charge.refunded.released", &[], "payment failed 12.00 USD, refund void 12.00 usd");
    check("payment_intent.succeeded", &[("type", json!("payment_intent.created"))], "NoEffect");
    check("payment_intent.succeeded", &[("type", json!("payment_intent.canceled"))], "NoEffect");
    check("charge.failed", &[("type", json!("charge.expired"))], "NoEffect");
}

#[test]
fn intents_and_charges_pay_by_their_own_status() {
    let intent = "payment_intent.succeeded";
    check(intent, &[], "payment 12.00 USD");
    check(intent, &[("data.object.amount_received", json!(900))], "payment 9.00 USD");
    check(intent, &[("data.object.status", json!("processing"))], "NoEffect");
    check(intent, &[("data.object.status", json!("requires_capture"))], "payment pending 12.00 USD");
    check(intent, &[("data.object.status", json!("paused"))], "Value data.object.status");
    check(intent, &[("data.object.status", json!(null))], "Malformed data.object.status");
    check("payment_intent.payment_failed", &[], "NoEffect");
    check("charge.succeeded", &[], "payment 12.00 USD");
    check("charge.succeeded", &[("type", json!("charge.updated"))], "payment 12.00 USD");
    check("charge.succeeded", &[("data.object.amount_captured", json!(0))], "payment 12.00 USD");
    check("charge.succeeded", &[("data.object.status", json!("pending"))], "NoEffect");
    check("charge.succeeded", &[("data.object.status", json!("reviewed"))], "Value");
    check("charge.succeeded", &[("data.object.status", json!(null))], "Malformed data.object.status");
    check("charge.succeeded", &[("data.object.paid", json!(false))], "NoEffect data.object: is neither paid");
    check("charge.succeeded.authorised", &[], "payment pending 12.00 USD");
    check("charge.captured.partly", &[], "payment 9.00 USD");
    check("charge.failed", &[], "NoEffect");
    check("charge.failed", &[("type", json!("charge.pending"))], "NoEffect");
}

#[test]
fn an_event_of_another_account_is_kept_and_told_apart() {
    let connected = "charge.succeeded.connected";
    check(connected, &[], "ForeignAccount account: expected none or an account of stripe.accounts");
    check("charge.succeeded.organisation", &[], "ForeignAccount context: expected none");
    check("product.created", &[("account", json!("acct_1RkConnected00000"))], "ForeignAccount account");
    check(connected, &[("account", json!({ "id": "acct_1RkConnected00000" }))], "ForeignAccount account");
    check(connected, &[("account", json!(null))], "payment 12.00 USD");
    check(connected, &[("livemode", json!(false))], "Mode");
    let listing =
        |account: &str| Settings { stripe_accounts: vec![account.to_owned()], ..Settings::default() };
    let listed = listing("acct_1RkConnected00000");
    check_in(&listed, "stripe", connected, &[], "payment 12.00 USD");
    check_in(&listed, "stripe", connected, &[("account", json!("acct_2"))], "ForeignAccount account");
    check_in(&listed, "stripe", connected, &[("context", json!("acct_own"))], "payment 12.00 USD");
    let whole = [("account", json!(null)), ("context", json!("acct_own/acct_1RkConnected00000"))];
    check_in(&listed, "stripe", connected, &whole, "payment 12.00 USD");
    check_in(
        &listing("acct_1RkOrganisation000"),
        "stripe",
        "charge.succeeded.organisation",
        &[],
        "payment 12.00 USD",
    );
    check_in(&listing(""), "stripe", connected, &[], "ForeignAccount");
}

#[test]
fn minor_units_are_counted_as_stripe_counts_them() {
    let check = |currency: &str, amount: &str| {
        let changes = [("data.object.currency", json!(currency))];
        let payment = only_payment(&Settings::default(), "stripe", "charge.succeeded", &changes);
        assert_eq!(payment.amount.amount().to_string(), amount, "{currency}");
    };
    for (currency, amount) in [
        ("jpy", "1200"),
        ("mga", "1200"),
        ("isk", "12"),
        ("ugx", "12"),
        ("kwd", "1.2"),
        ("huf", "12"),
        ("std", "12"),
    ] {
        check(currency, amount);
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
}

#[test]
fn what_was_authorised_and_never_captured_is_no_refund() {
    let partly = "charge.refunded.partly_captured";
    check(partly, &[], "payment 9.00 USD, refund final 3.00 usd, refund void 3.00 usd");
    check("charge.captured.partly.old_version", &[], "payment 9.00 USD, refund void 3.00 usd");
    let refund = |position: usize, member: &str| format!("data.object.refunds.data.{position}.{member}");
    let final_ones = "payment 9.00 USD, refund final 3.00 usd, refund final 3.00 usd";
    // Another amount is money that went back; and where the list goes on, what is the oldest is not in it.
    let other = "payment 9.00 USD, refund void 3.00 usd, refund final 2.00 usd";
    check(partly, &[(&refund(1, "amount"), json!(200))], other);
    check(partly, &[("data.object.refunds.has_more", json!(true))], final_ones);
    check(partly, &[("api_version", json!("2025-03-31.basil"))], final_ones);
    check(
        partly,
        &[("api_version", json!("2025-02-24.acacia"))],
        "payment 9.00 USD, refund final 3.00 usd, refund void 3.00 usd",
    );
    check(partly, &[("data.object.amount_captured", json!(1200))], &final_ones.replace("9.00", "12.00"));
    check(partly, &[("data.object.amount_captured", json!(null))], &final_ones.replace("9.00", "12.00"));
    let same_second = [(&refund(0, "created")[..], json!(1_795_170_000))];
    check(partly, &same_second, "payment 9.00 USD, refund final 3.00 usd, refund void 3.00 usd");
    check(
        partly,
        &[(&refund(1, "status"), json!("failed"))],
        "payment 9.00 USD, refund void 3.00 usd, refund void 3.00 usd",
    );
    check("charge.refunded.released", &[], "payment failed 12.00 USD, refund void 12.00 usd");
    check("refund.created.expired", &[], "refund void 4.80 usd");
    let expanded = json!({ "id": "ch_1", "captured": false });
    check("refund.created.succeeded", &[("data.object.charge", expanded)], "refund void 4.80 usd");
}

/// An event of the release's own cannot tell that it is none, and a void refund stays void: [`MovementStatus`]' rank.
#[test]
fn a_release_has_the_id_under_which_its_own_event_tells_of_it() {
    let envelopes = translate(
        "stripe",
        &Settings::default(),
        &changed("stripe", "charge.captured.partly.old_version", &[]),
    )
    .unwrap();
    let Fact::Movement(movement) = &envelopes[1].fact else { panic!("{envelopes:?}") };
    let listed = &payload("stripe", "charge.captured.partly.old_version")["data"]["object"]["refunds"]["data"]
        [0]["id"];
    assert_eq!((json!(movement.movement), movement.status), (listed.clone(), MovementStatus::Void));
    assert!(MovementStatus::Void > MovementStatus::Final);
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
    check("warning_closed", "warning_closed", &[], "EventType");
    // Nothing moved, or nobody says so here: what stands is not undone.
    for event in ["created", "updated", "closed"] {
        check(event, "prevented", &[], "dispute prevented");
    }
    check("funds_withdrawn", "prevented", &[], "chargeback final 12.00 usd, dispute prevented");
    check("funds_reinstated", "prevented", &[], "chargeback void 12.00 usd, dispute prevented");
    let absent = [
        ("type", json!("charge.dispute.closed")),
        ("data.object.status", json!("prevented")),
        ("data.object.balance_transactions", json!(null)),
    ];
    super::check("stripe", "charge.dispute.created", &absent, "dispute prevented");
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
    // Prevented by giving the money back, or by stopping it: the transactions tell, whichever event carries them.
    for event in ["created", "updated", "closed", "funds_withdrawn"] {
        check(event, "prevented", &[&out], "chargeback final 12.00 usd, dispute prevented");
    }
    check("closed", "prevented", &[&out, &back], "chargeback void 12.00 usd, dispute prevented");
    check("funds_reinstated", "prevented", &[&out, &back], "chargeback void 12.00 usd, dispute prevented");
    check("closed", "warning_closed", &[&out], "chargeback final 12.00 usd, dispute prevented");
    check("updated", "warning_under_review", &[&out], "chargeback final 12.00 usd, dispute warning");
    check("closed", "prevented", &[&json!({})], "Malformed data.object.balance_transactions.[].amount");
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

#[test]
fn metadata_may_say_where_a_purchase_was_made() {
    for name in ["checkout.session.completed", "payment_intent.succeeded", "charge.succeeded"] {
        check_origins("stripe", name, "data.object.metadata");
    }
}
