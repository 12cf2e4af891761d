use super::*;
use proptest::prelude::*;
use serde_json::json;

fn fact(kind: FactKind, data: &Value) -> Fact {
    let text = serde_json::value::to_raw_value(data).unwrap();
    Fact::parse(kind, &text).unwrap_or_else(|error| panic!("{data}: {error}"))
}

fn payment(data: Value) -> Fact {
    let mut whole = json!({ "payment": "stripe:pi_1", "object": "ch_1", "precedence": 2, "status": "paid",
        "amount": { "amount": "10.00", "currency": "USD" }, "occurred_at": "2026-11-20T10:00:00Z" });
    whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
    fact(FactKind::Payment, &whole)
}

fn movement(data: Value) -> Fact {
    let mut whole = json!({ "movement": "re_1", "payment": "stripe:pi_1", "kind": "refund", "status": "final",
        "amount": { "amount": "4.00", "currency": "USD" }, "occurred_at": "2026-11-20T10:00:00Z" });
    whole.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
    fact(FactKind::Movement, &whole)
}

/// What two payments say together, both ways round.
#[track_caller]
fn agree(a: Value, b: Value, expect: Value) {
    let (a, b, expect) = (payment(a), payment(b), payment(expect));
    assert_eq!(union(&a, &b).unwrap(), expect);
    assert_eq!(union(&b, &a).unwrap(), expect);
}

#[track_caller]
fn contradict(a: Value, b: Value, expect: &str) {
    let (a, b) = (payment(a), payment(b));
    assert_eq!(union(&a, &b).unwrap_err().0.join(", "), expect);
    assert_eq!(union(&b, &a).unwrap_err().0.join(", "), expect);
}

#[test]
fn a_field_that_one_rendering_lacks_is_no_contradiction_and_is_kept() {
    let account = json!({ "account": { "account": "acct_1" } });
    let items = json!({ "items": [{ "price": "pri_1", "quantity": 2 }] });
    agree(json!({}), account.clone(), account.clone());
    agree(json!({}), items.clone(), items.clone());
    agree(json!({ "items": [] }), items.clone(), items.clone());
    agree(account.clone(), items.clone(), json!({ "account": account["account"], "items": items["items"] }));
    agree(
        json!({ "customer": null }),
        json!({ "customer": "stripe:cus_1" }),
        json!({ "customer": "stripe:cus_1" }),
    );
    agree(
        json!({ "items": [{ "price": "pri_1", "quantity": 2 }] }),
        json!({ "items": [{ "price": "pri_1", "quantity": 2, "line": "li_1" }] }),
        json!({ "items": [{ "price": "pri_1", "quantity": 2, "line": "li_1" }] }),
    );
}

/// A key that was rotated makes another digest of the same address.
#[test]
fn digests_of_where_it_came_from_contradict_nothing() {
    let digest = |digit: &str| format!("hmac-sha256:{}", digit.repeat(64));
    let from = |ip: &str, device: &str| json!({ "ip": ip, "device": device });
    let (one, two) = (digest("1"), digest("2"));
    agree(from(&one, &two), from(&two, &one), from(&one, &one));
    agree(json!({ "ip": one }), json!({ "device": two }), from(&one, &two));
    agree(from("[erased]", &two), from(&two, "[erased]"), from("[erased]", "[erased]"));
    contradict(json!({ "ip": one }), json!({ "ip": "192.0.2.1" }), "ip");
    contradict(json!({ "object": one }), json!({ "object": two }), "object");
}

#[test]
fn two_values_for_one_thing_contradict() {
    contradict(json!({}), json!({ "amount": { "amount": "9.00", "currency": "USD" } }), "amount.amount");
    contradict(json!({}), json!({ "amount": { "amount": "10.00", "currency": "EUR" } }), "amount.currency");
    contradict(json!({}), json!({ "status": "failed", "precedence": 1 }), "precedence, status");
    contradict(
        json!({ "account": { "account": "acct_1" } }),
        json!({ "account": { "account": "acct_2" } }),
        "account.account",
    );
    contradict(json!({}), json!({ "occurred_at": "2026-11-20T10:00:01Z" }), "occurred_at");
    contradict(json!({}), json!({ "object": "ch_2" }), "object");
    let items = |quantity| json!({ "items": [{ "price": "pri_1", "quantity": quantity }] });
    contradict(items(1), items(2), "items.0.quantity");
    contradict(
        items(1),
        json!({ "items": [{ "price": "pri_1", "quantity": 1 }, { "price": "pri_2", "quantity": 1 }] }),
        "items",
    );
    assert_eq!(union(&payment(json!({})), &movement(json!({}))).unwrap_err().0, ["type"]);
}

#[test]
fn the_same_moment_and_the_same_amount_agree_however_they_are_spelled() {
    agree(json!({}), json!({ "occurred_at": "2026-11-20T11:00:00+01:00" }), json!({}));
    agree(json!({}), json!({ "amount": { "amount": "10", "currency": "USD" } }), json!({}));
    let share = |share: &str| json!({ "items": [{ "price": "pri_1", "quantity": 1, "share": share }] });
    agree(share("0.5"), share("0.50"), share("0.5"));
    contradict(share("0.5"), share("0.51"), "items.0.share");
    let priced = |price: &str| json!({ "items": [{ "price": price, "quantity": 1 }] });
    contradict(priced("1.10"), priced("1.1"), "items.0.price");
}

#[test]
fn items_are_told_in_any_order() {
    let items =
        |prices: [&str; 2]| json!({ "items": prices.map(|price| json!({ "price": price, "quantity": 1 })) });
    agree(items(["pri_1", "pri_2"]), items(["pri_2", "pri_1"]), items(["pri_1", "pri_2"]));
}

#[test]
fn ids_of_one_purchase_meet_and_whoever_knows_the_intent_leads() {
    let ids = |payment: &str, aliases: &[&str]| {
        let aliases: Vec<String> = aliases.iter().map(|id| format!("stripe:{id}")).collect();
        json!({ "payment": format!("stripe:{payment}"), "aliases": aliases })
    };
    agree(ids("pi_1", &["ch_1"]), ids("ch_1", &[]), ids("pi_1", &["ch_1"]));
    agree(ids("pi_1", &["py_1"]), ids("py_1", &[]), ids("pi_1", &["py_1"]));
    agree(ids("pi_1", &["ch_1"]), ids("pi_1", &["cs_1"]), ids("pi_1", &["ch_1", "cs_1"]));
    agree(ids("pi_1", &["ch_1"]), ids("ch_1", &["cs_1"]), ids("pi_1", &["ch_1", "cs_1"]));
    contradict(ids("pi_1", &[]), ids("ch_1", &[]), "payment");
    contradict(ids("pi_1", &["ch_1"]), ids("pi_2", &["ch_2"]), "payment");
    let named = movement(json!({ "aliases": ["stripe:ch_1"] }));
    let by_charge = movement(json!({ "payment": "stripe:ch_1" }));
    assert_eq!(union(&named, &by_charge).unwrap(), named);
}

#[test]
fn what_is_only_assumed_or_stands_in_gives_way_to_what_is_known() {
    let account = |account: &str, by_reference: bool| json!({ "account": { "account": account, "by_reference": by_reference } });
    agree(account("acct_1", false), account("acct_2", true), account("acct_1", false));
    agree(account("acct_1", false), account("acct_1", true), account("acct_1", false));
    contradict(account("acct_1", true), account("acct_2", true), "account.account");
    let items = |quantity, assumed: bool| json!({ "items": [{ "price": "pri_1", "quantity": quantity, "quantity_assumed": assumed }] });
    agree(items(1, true), items(3, false), items(3, false));
    agree(items(1, true), items(1, true), items(1, true));
    let email = "email:0000000000000000000000000000000000000000000000000000000000000000";
    agree(
        json!({ "customer": email }),
        json!({ "customer": "stripe:cus_1" }),
        json!({ "customer": "stripe:cus_1" }),
    );
    contradict(json!({ "customer": "stripe:cus_2" }), json!({ "customer": "stripe:cus_1" }), "customer");
    agree(json!({ "purpose": "credits" }), json!({}), json!({ "purpose": "credits" }));
    agree(json!({ "purpose": "credits" }), json!({ "purpose": "other" }), json!({ "purpose": "other" }));
    // That nothing tells it says nothing, not even beside what was told before anybody asked.
    for (other, both) in [
        (json!({ "purpose": "credits" }), json!({ "purpose": "credits" })),
        (json!({ "purpose": "other" }), json!({ "purpose": "other" })),
        (json!({ "purpose": "unstated" }), json!({ "purpose": "unstated" })),
        (json!({}), json!({})),
    ] {
        agree(json!({ "purpose": "unstated" }), other, both);
    }
    assert_eq!(
        union(&movement(json!({ "full": true })), &movement(json!({}))).unwrap(),
        movement(json!({ "full": true }))
    );
}

/// Every field that a rendering may lack. `whole` has them all; bit after bit says which of them a rendering tells.
fn rendering(mask: u32) -> Fact {
    let optional = [
        ("before_tax", json!({ "amount": "8.00", "currency": "USD" })),
        ("before_discounts", json!({ "amount": "12.00", "currency": "USD" })),
        ("purpose", json!("credits")),
        ("account", json!({ "account": "acct_1", "proof": "signed" })),
        ("customer", json!("stripe:cus_1")),
    ];
    let mut said = Map::new();
    let tells = |bit: u32| mask & (1 << bit) != 0;
    for (bit, (name, value)) in optional.into_iter().enumerate() {
        if tells(bit as u32) {
            said.insert(name.to_owned(), value);
        }
    }
    // The charge is known to all; the intent leads where it is known.
    let (leading, others) = if tells(5) { ("pi_1", vec!["ch_1"]) } else { ("ch_1", vec![]) };
    let others = others.into_iter().chain(tells(6).then_some("cs_1"));
    said.insert("payment".to_owned(), json!(format!("stripe:{leading}")));
    said.insert("aliases".to_owned(), others.map(|id| json!(format!("stripe:{id}"))).collect());
    if tells(7) {
        let item = |price: &str, line: &str| {
            let mut item = json!({ "price": price, "quantity": 1 });
            if tells(8) {
                item["line"] = json!(line);
            }
            if tells(9) {
                item["amount"] = json!({ "amount": "5.00", "currency": "USD" });
            }
            item
        };
        let mut items = vec![item("pri_1", "li_1"), item("pri_2", "li_2")];
        if tells(10) {
            items.reverse();
        }
        said.insert("items".to_owned(), items.into());
    }
    if tells(11) {
        said.insert("occurred_at".to_owned(), json!("2026-11-20T12:00:00+02:00"));
    }
    payment(Value::Object(said))
}

/// One of a few values for each field, so that some pairs contradict.
fn some_payment() -> impl Strategy<Value = Fact> {
    let amount = prop_oneof![Just("10.00"), Just("9.00")];
    let ids =
        prop::sample::select(vec![("pi_1", "ch_1"), ("ch_1", "cs_1"), ("pi_2", "ch_2"), ("cs_1", "pi_2")]);
    let price = prop::option::of(prop::sample::select(vec!["pri_1", "pri_2"]));
    let account = prop::option::of((prop::sample::select(vec!["a", "b"]), any::<bool>()));
    (amount, ids, price, account).prop_map(|(amount, (id, alias), price, account)| {
        let mut said = json!({ "amount": { "amount": amount, "currency": "USD" },
            "payment": format!("stripe:{id}"), "aliases": [format!("stripe:{alias}")] });
        if let Some(price) = price {
            said["items"] = json!([{ "price": price, "quantity": 1 }]);
        }
        if let Some((account, by_reference)) = account {
            said["account"] = json!({ "account": account, "by_reference": by_reference });
        }
        payment(said)
    })
}

const MASKS: std::ops::Range<u32> = 0..1 << 12;

proptest! {
    #[test]
    fn the_union_of_renderings_is_the_same_in_any_order(a in MASKS, b in MASKS, c in MASKS) {
        let (a, b, c) = (rendering(a), rendering(b), rendering(c));
        let ab = union(&a, &b).unwrap();
        prop_assert_eq!(&ab, &union(&b, &a).unwrap(), "commutative");
        let bc = union(&b, &c).unwrap();
        let abc = union(&ab, &c).unwrap();
        prop_assert_eq!(&abc, &union(&a, &bc).unwrap(), "associative");
        for part in [&a, &b, &c, &ab, &bc, &abc] {
            prop_assert_eq!(&union(&abc, part).unwrap(), &abc, "nothing is added twice, and nothing is lost");
        }
        let spelled = |fact: &Fact| fact.canonical().get().to_owned();
        prop_assert_eq!(spelled(&ab), spelled(&union(&b, &a).unwrap()), "to the letter");
    }

    #[test]
    fn contradiction_is_mutual_and_nothing_contradicts_itself(a in some_payment(), b in some_payment()) {
        prop_assert_eq!(union(&a, &b), union(&b, &a));
        prop_assert_eq!(union(&a, &a).unwrap(), union(&a, &union(&a, &a).unwrap()).unwrap());
    }
}
