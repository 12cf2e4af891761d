//! Payments with lines, several chargebacks on one payment, and what was sold: exact histories, as an accountant would check
//! them.

use super::*;
use crate::catalog::RateAppliesTo;
use crate::fact::{MovedLine, Purpose};

/// A line of a pack of 1,000 for 10.00, one of 1,000 and a bonus of 50 for 5.00, and a shirt for 5.00.
pub(super) fn lines_of(name: &str, amount: &str) -> Fact {
    let Fact::Payment(payment) = buy(name, "a", "pri_1000", amount) else { unreachable!() };
    let line = |line: &str, price: &str, amount: &str| LineItem {
        line: Some(line.to_owned()),
        amount: Some(usd(amount)),
        ..LineItem::new(price, 1)
    };
    let items =
        vec![line("l1", "pri_1000", "10.00"), line("l2", "pri_1050", "5.00"), line("l3", "shirt", "5.00")];
    Fact::Payment(fact::Payment { items, ..payment })
}

/// The same movement, of these lines.
pub(super) fn of_lines(fact: Fact, lines: &[(&str, &str)]) -> Fact {
    let Fact::Movement(movement) = fact else { unreachable!() };
    let lines = lines
        .iter()
        .map(|(line, amount)| MovedLine { line: (*line).to_owned(), amount: usd(amount) })
        .collect();
    Fact::Movement(fact::Movement { lines, ..movement })
}

pub(super) fn in_full(fact: Fact) -> Fact {
    let Fact::Movement(movement) = fact else { unreachable!() };
    Fact::Movement(fact::Movement { full: true, ..movement })
}

fn paid() -> (Fact, [&'static str; 3]) {
    (lines_of("t1", "20.00"), ["2050", "0", "0"])
}

fn refund(id: &str, amount: &str, lines: &[(&str, &str)]) -> Fact {
    of_lines(moved(id, "t1", Refund, Final, amount, 1), lines)
}

#[test]
fn what_names_a_line_reverses_that_line_alone() {
    check(&[paid(), (refund("r1", "5.00", &[("l3", "5.00")]), ["2050", "0", "0"])]);
    check(&[paid(), (refund("r1", "5.00", &[("l2", "5.00")]), ["1000", "0", "0"])]);
    check(&[paid(), (refund("r1", "4.00", &[("l1", "4.00")]), ["1650", "0", "0"])]);
}

#[test]
fn what_is_named_beyond_a_line_names_none() {
    check(&[paid(), (refund("r1", "8.00", &[("l2", "8.00")]), ["800", "0", "0"])]);
    // Also of several that are beyond it together.
    check(&[
        paid(),
        (refund("r1", "4.00", &[("l2", "4.00")]), ["1210", "0", "0"]),
        (refund("r2", "4.00", &[("l2", "4.00")]), ["800", "0", "0"]),
    ]);
    // A cent that the processor rounds to one line of the payment and to the other of its adjustment.
    let Fact::Payment(payment) = lines_of("t1", "20.00") else { unreachable!() };
    let mut items = payment.items[..2].to_vec();
    (items[0].amount, items[1].amount) = (Some(usd("10.01")), Some(usd("9.99")));
    let paid = Fact::Payment(fact::Payment { items, ..payment });
    let all = [("l1", "10.00"), ("l2", "10.00")];
    check(&[(paid.clone(), ["2050", "0", "0"]), (refund("r1", "20.00", &all), ["0", "0", "0"])]);
    check(&[
        (paid, ["2050", "0", "0"]),
        (refund("r1", "10.00", &all[..1]), ["1050.999001", "0", "0"]),
        (refund("r2", "10.00", &all[1..]), ["0", "0", "0"]),
    ]);
}

#[test]
fn what_names_none_falls_on_the_lines_in_proportion_to_what_is_left_of_each() {
    check(&[paid(), (refund("r1", "10.00", &[]), ["1025", "0", "0"])]);
    // Of a line that nobody knows, and the part of which nothing is said, likewise.
    check(&[paid(), (refund("r1", "10.00", &[("l9", "10.00")]), ["1025", "0", "0"])]);
    check(&[
        paid(),
        (refund("r1", "5.00", &[("l3", "5.00")]), ["2050", "0", "0"]),
        (refund("r2", "6.00", &[]), ["1230", "0", "0"]),
        (refund("r3", "9.00", &[]), ["0", "0", "0"]),
    ]);
    check(&[paid(), (refund("r1", "11.00", &[("l2", "5.00")]), ["600", "0", "0"])]);
}

#[test]
fn the_end_is_exact_whichever_lines_were_named() {
    let parts = [("3.33", "l1"), ("3.33", "l1"), ("1.67", "l2"), ("2.50", "l3")];
    let mut history = vec![paid()];
    let mut world = World::new();
    world.tell("0", &history.remove(0).0);
    for (at, (amount, line)) in parts.iter().enumerate() {
        let id = format!("r{at}");
        world.tell(&id, &refund(&id, amount, &[(line, amount)]));
    }
    world.tell("rest", &refund("rest", "9.17", &[]));
    assert_eq!(world.balances("a"), ["0", "0", "0"]);
}

#[test]
fn lines_that_do_not_add_up_to_what_was_paid_are_made_to() {
    // A discount of a fifth that no line shows: a line of 10.00 was paid with 8.00.
    let discounted = || (lines_of("t1", "16.00"), ["2050", "0", "0"]);
    check(&[discounted(), (refund("r1", "8.00", &[("l1", "8.00")]), ["1050", "0", "0"])]);
    check(&[discounted(), (refund("r1", "16.00", &[]), ["0", "0", "0"])]);
    // Goods for 5.00 that are no line: what names none falls on them as well.
    let more = || (lines_of("t1", "25.00"), ["2050", "0", "0"]);
    check(&[more(), (refund("r1", "5.00", &[]), ["1640", "0", "0"])]);
    check(&[more(), (refund("r1", "15.00", &[("l1", "10.00"), ("l2", "5.00")]), ["0", "0", "0"])]);
}

#[test]
fn a_movement_of_a_line_before_its_payment_ends_the_same() {
    check(&[
        (refund("r1", "5.00", &[("l2", "5.00")]), ["0", "0", "0"]),
        (lines_of("t1", "20.00"), ["1000", "0", "0"]),
    ]);
}

#[test]
fn what_is_in_question_is_held_of_its_line() {
    let pending =
        |status, minute| of_lines(moved("r1", "t1", Refund, status, "5.00", minute), &[("l2", "5.00")]);
    check(&[
        paid(),
        (pending(Pending, 1), ["1000", "1050", "0"]),
        (pending(Final, 2), ["1000", "0", "0"]),
        (pending(Void, 3), ["2050", "0", "0"]),
    ]);
}

#[test]
fn what_nets_to_zero_does_so_on_every_line() {
    let chargeback =
        |lines: &[(&str, &str)]| of_lines(moved("d1", "t1", Chargeback, Final, "15.00", 1), lines);
    let back = |lines: &[(&str, &str)]| of_lines(moved("b1", "t1", Back, Final, "15.00", 2), lines);
    let named: [(&str, &str); 2] = [("l1", "10.00"), ("l2", "5.00")];
    for (charged, returned) in [(&named[..], &[][..]), (&[], &named), (&named, &named), (&[], &[])] {
        let mut world = World::new();
        for (id, fact) in [("1", paid().0), ("2", chargeback(charged)), ("3", back(returned))] {
            world.tell(id, &fact);
        }
        assert_eq!(world.balances("a"), ["2050", "0", "0"], "{charged:?} {returned:?}");
    }
}

#[test]
fn each_movement_is_clamped_and_never_the_sums() {
    let chargeback = |id: &str, amount: &str| moved(id, "t1", Chargeback, Final, amount, 1);
    check(&[
        (buy("t1", "a", "pri_1000", "100.00"), ["1000", "0", "0"]),
        (chargeback("d1", "80.00"), ["200", "0", "0"]),
        (moved("b1", "t1", Back, Final, "80.00", 2), ["1000", "0", "0"]),
        (chargeback("d2", "90.00"), ["100", "0", "0"]),
    ]);
    // What was seen: three chargebacks on a payment of about 92, the last one returned.
    let mut world = World::new();
    world.tell("paid", &buy("t1", "a", "pri_1000", "92.00"));
    for (id, amount) in [("d1", "37.39"), ("d2", "25.33"), ("d3", "85.99")] {
        world.tell(id, &chargeback(id, amount));
    }
    world.tell("b1", &moved("b1", "t1", Back, Final, "85.99", 2));
    let payment = &world.books.payments[&txn("t1")];
    let gone = |reading| {
        let terms = payment.record.terms(reading).unwrap();
        payment.record.gone(&terms, reading).reversed.to_string()
    };
    assert_eq!(gone(crate::record::Reading::TODAY), "62.72");
    assert_eq!(gone(crate::record::Reading::First), "6.01");
}

#[test]
fn a_back_in_full_cancels_the_chargeback_that_it_returns() {
    let chargeback = |id: &str, amount: &str| moved(id, "t1", Chargeback, Final, amount, 1);
    let back = |amount: &str| in_full(moved("b1", "t1", Back, Final, amount, 2));
    for (returned, left) in [("3.00", "400"), ("3.10", "400"), ("6.00", "700"), ("5.80", "700")] {
        let mut world = World::new();
        world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
        world.tell("2", &chargeback("d1", "3.00"));
        world.tell("3", &chargeback("d2", "6.00"));
        world.tell("4", &back(returned));
        assert_eq!(world.balances("a"), [left, "0", "0"], "{returned}");
    }
}

#[test]
fn half_a_period_grants_half_and_its_refund_reverses_its_share() {
    let Fact::Payment(payment) = buy("t1", "a", "pri_1050", "5.00") else { unreachable!() };
    let half = LineItem { share: Some(Decimal::new(5, 1)), ..LineItem::new("pri_1050", 1) };
    check(&[
        (Fact::Payment(fact::Payment { items: vec![half], ..payment }), ["525", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "2.50", 1), ["262.5", "0", "0"]),
    ]);
}

#[test]
fn what_sells_nothing_is_delivered_with_nothing_and_alarms_nobody() {
    let Fact::Payment(payment) = buy("t1", "a", "pri_1000", "0.00") else { unreachable!() };
    let nothing = LineItem { share: Some(Decimal::ZERO), ..LineItem::new("pri_1000", 1) };
    let payment = fact::Payment { items: vec![nothing], ..payment };
    let known = World::new().tell("1", &Fact::Payment(payment.clone())).unwrap();
    assert_eq!(
        known.events.iter().map(|event| event.kind()).collect::<Vec<_>>(),
        [EventKind::PaymentDelivered]
    );
    assert!(known.transactions.is_empty());
    let nobodys = fact::Payment { account: None, ..payment };
    assert!(World::new().tell("1", &Fact::Payment(nobodys)).unwrap().events.is_empty());
}

fn stripe(object: &str, precedence: u8, status: PaymentStatus) -> fact::Payment {
    let Fact::Payment(payment) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
    let (object, items, account) = (object.to_owned(), Vec::new(), None);
    fact::Payment { object, precedence, status, items, account, ..payment }
}

fn account(name: &str, by_reference: bool) -> Option<AccountLink> {
    let account = AccountId::new(name).unwrap();
    Some(AccountLink { account, proof: LinkProof::Stated, by_reference })
}

fn undelivered_because(event: &Event) -> Option<&'static str> {
    match &event.data {
        EventData::PaymentUndelivered(undelivered) => Some(undelivered.reason),
        _ => None,
    }
}

/// Tells the facts in both orders; expects the state, the holder and why it was not delivered at last.
fn check_both_orders(
    rate: bool,
    facts: [fact::Payment; 2],
    expect: (PaymentState, Option<&str>, Option<&str>),
) {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new();
        if rate {
            world.sell_at_rate("USD", 100);
        }
        let mut catalog = world.rules.catalogs[&world.rules.current].clone();
        catalog.rate_applies_to = RateAppliesTo::Purchases;
        world.rules = Rules::new(catalog);
        let mut reason = None;
        for at in order {
            let decision = world.tell(&at.to_string(), &Fact::Payment(facts[at].clone())).unwrap();
            reason = decision.events.iter().find_map(undelivered_because).or(reason);
        }
        let payment = &world.books.payments[&txn("t1")];
        let holder = payment.account.as_ref().map(AccountId::as_str);
        assert_eq!((payment.state, holder), (expect.0, expect.1), "{order:?}");
        // It is told once, by the first of them.
        if payment.state == PaymentState::Undelivered && order == [0, 1] {
            assert_eq!(reason, expect.2, "{order:?}");
        }
    }
}

#[test]
fn a_session_that_is_not_paid_yet_names_account_price_and_purpose() {
    let session = fact::Payment {
        account: account("a", true),
        purpose: Purpose::Credits,
        ..stripe("cs_1", 0, PaymentStatus::Pending)
    };
    let intent = stripe("pi_1", 1, PaymentStatus::Paid);
    check_both_orders(true, [session.clone(), intent.clone()], (PaymentState::Delivered, Some("a"), None));
    let priced =
        fact::Payment { items: vec![LineItem::new("pri_1000", 1)], purpose: Purpose::Unstated, ..session };
    check_both_orders(false, [priced, intent], (PaymentState::Delivered, Some("a"), None));
}

#[test]
fn a_fee_that_a_rate_would_cover_is_not_a_purchase_of_credits() {
    let named = fact::Payment { account: account("a", false), ..stripe("ch_1", 2, PaymentStatus::Paid) };
    let unstated = stripe("pi_1", 1, PaymentStatus::Paid);
    let fee = fact::Payment { purpose: Purpose::Other, ..unstated.clone() };
    let why = Some("not_a_purchase_of_credits");
    check_both_orders(true, [named.clone(), unstated], (PaymentState::Undelivered, None, why));
    check_both_orders(true, [named, fee], (PaymentState::Undelivered, None, why));
}

#[test]
fn an_explicit_account_outranks_one_that_only_serves_whichever_object_comes_first() {
    let items = || vec![LineItem::new("pri_1000", 1)];
    let session = fact::Payment { account: account("b", true), ..stripe("cs_1", 0, PaymentStatus::Pending) };
    let intent = fact::Payment {
        account: account("a", false),
        items: items(),
        ..stripe("pi_1", 1, PaymentStatus::Paid)
    };
    check_both_orders(false, [session, intent.clone()], (PaymentState::Delivered, Some("a"), None));
    // Two that only serve contradict each other, where no explicit one decides.
    let first = fact::Payment { account: account("b", true), ..stripe("cs_1", 0, PaymentStatus::Pending) };
    let other = fact::Payment { account: account("c", true), ..stripe("cs_2", 0, PaymentStatus::Pending) };
    let mut record = PaymentRecord::default();
    record.describe("1", &first);
    record.describe("2", &other);
    assert!(record.contradicts_itself());
    record.describe("3", &intent);
    assert!(!record.contradicts_itself());
}

#[test]
fn what_was_delivered_by_a_field_that_only_serves_stays_when_an_explicit_one_differs() {
    let paid = |by_reference, name: &str, object: &str| {
        let items = vec![LineItem::new("pri_1000", 1)];
        let account = account(name, by_reference);
        Fact::Payment(fact::Payment { account, items, ..stripe(object, 0, PaymentStatus::Paid) })
    };
    let mut world = World::new();
    world.tell("1", &paid(true, "a", "cs_1"));
    let later = world.tell("2", &paid(false, "b", "pi_1")).unwrap();
    assert_eq!((later.outcome, later.transactions.len()), (Outcome::Contradicts, 0));
    assert_eq!(world.balances("a"), ["1000", "0", "0"]);
}

#[test]
fn what_was_read_before_stays_until_it_is_restated_and_then_the_difference_is_posted() {
    let mut world = World::new();
    world.rules.reading = crate::record::Reading::First;
    world.tell("1", &buy("t1", "a", "pri_1000", "100.00"));
    for (id, kind, amount) in
        [("d1", Chargeback, "80.00"), ("b1", Back, "80.00"), ("d2", Chargeback, "90.00")]
    {
        world.tell(id, &moved(id, "t1", kind, Final, amount, 1));
    }
    assert_eq!(world.balances("a"), ["800", "0", "0"]);
    world.rules.reading = crate::record::Reading::TODAY;
    world.tell("2", &usage("a", 1));
    assert_eq!(world.balances("a"), ["799", "0", "0"]);
    let restated = world.tell("3", &restate(false)).unwrap();
    let [reversal] = &restated.transactions[..] else { panic!("one transaction: {restated:?}") };
    assert_eq!((reversal.kind, reversal.cause.id.as_str()), (TransactionKind::Reversal, "3"));
    assert_eq!(world.balances("a"), ["99", "0", "0"]);
}

fn restate(by_todays_catalog: bool) -> Fact {
    Fact::Assignment(fact::Assignment {
        payment: txn("t1"),
        act: fact::AssignmentAct::Restate,
        account: None,
        credits: None,
        by_todays_catalog,
        reason: "read anew".to_owned(),
        by: "ada".to_owned(),
        occurred_at: START,
    })
}

#[test]
fn a_fee_that_a_rate_once_covered_keeps_its_credits_until_it_is_restated_by_todays_catalog() {
    let mut world = World::new();
    world.sell_at_rate("USD", 100);
    let first_grant = world.rules.clone();
    let Fact::Payment(fee) = buy("t1", "a", "pri_nobody_knows", "10.00") else { unreachable!() };
    world.tell("1", &Fact::Payment(fact::Payment { purpose: Purpose::Other, ..fee }));
    world.tell("2", &usage("a", 400));
    let mut catalog = first_grant.catalogs[&first_grant.current].clone();
    catalog.rate_applies_to = RateAppliesTo::Purchases;
    let mut today = Rules::new(catalog);
    today.catalogs.extend(first_grant.catalogs);
    world.rules = today;
    world.tell("3", &restate(false));
    assert_eq!(world.balances("a"), ["600", "0", "0"]);
    world.tell("4", &restate(true));
    assert_eq!(world.balances("a"), ["0", "0", "400"]);
}

/// Tells facts to a ledger that sells at a rate to purchases of credits alone, in both orders; expects what is left.
fn check_purposes(said: &[(&str, u8, Purpose)], expect: &str) {
    for backwards in [false, true] {
        let mut world = World::new();
        world.sell_at_rate("USD", 100);
        let mut catalog = world.rules.catalogs[&world.rules.current].clone();
        catalog.rate_applies_to = RateAppliesTo::Purchases;
        world.rules = Rules::new(catalog);
        let mut facts: Vec<fact::Payment> = said
            .iter()
            .map(|(object, precedence, purpose)| fact::Payment {
                purpose: *purpose,
                account: account("a", false),
                ..stripe(object, *precedence, PaymentStatus::Paid)
            })
            .collect();
        if backwards {
            facts.reverse();
        }
        for (at, fact) in facts.into_iter().enumerate() {
            let decision = world.tell(&at.to_string(), &Fact::Payment(fact)).unwrap();
            assert_ne!(decision.outcome, Outcome::Contradicts, "{said:?}");
        }
        assert_eq!(world.balances("a"), [expect, "0", "0"], "{said:?} backwards: {backwards}");
    }
}

#[test]
fn other_goods_outrank_credits_unless_a_session_says_so_in_any_order() {
    use Purpose::{Credits as Purchase, NotAsked, Other, Unstated};
    check_purposes(&[("pi_1", 1, Purchase), ("ch_1", 2, Other)], "0");
    check_purposes(&[("cs_1", 0, Other), ("ch_1", 2, Purchase)], "0");
    check_purposes(&[("cs_1", 0, Purchase), ("ch_1", 2, Other)], "1000");
    check_purposes(&[("cs_1", 0, Unstated), ("pi_1", 1, Purchase), ("ch_1", 2, Other)], "0");
    check_purposes(&[("cs_1", 0, Unstated), ("pi_1", 1, Purchase)], "1000");
    check_purposes(&[("pi_1", 1, NotAsked), ("ch_1", 2, Other)], "0");
    check_purposes(&[("pi_1", 1, NotAsked), ("ch_1", 2, Unstated)], "1000");
    check_purposes(&[("pi_1", 1, Unstated)], "0");
}

#[test]
fn what_was_described_before_anybody_asked_is_no_purpose_that_is_unstated() {
    let Fact::Payment(payment) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
    for (purpose, stored) in [
        (Purpose::NotAsked, None),
        (Purpose::Unstated, Some("unstated")),
        (Purpose::Credits, Some("credits")),
        (Purpose::Other, Some("other")),
    ] {
        let fact = Fact::Payment(fact::Payment { purpose, ..payment.clone() });
        let text = fact.canonical();
        let json: serde_json::Value = serde_json::from_str(text.get()).unwrap();
        assert_eq!(json.get("purpose").and_then(|purpose| purpose.as_str()), stored);
        assert_eq!(Fact::parse(fact.kind(), &text).unwrap(), fact);
    }
}

#[test]
fn what_was_said_before_another_amount_was_paid_tells_nothing_of_each_items_part() {
    let cart = |amount: &str| LineItem {
        line: Some("li_1".to_owned()),
        amount: Some(usd(amount)),
        before_discounts: Some(usd(amount)),
        ..LineItem::new("pri_1000", 1)
    };
    for (captured, left) in [("1.00", "0"), ("10.00", "1000")] {
        let mut world = World::new();
        let mut catalog = world.rules.catalogs[&world.rules.current].clone();
        let price = catalog.prices.get_mut("paddle").unwrap().get_mut("pri_1000").unwrap();
        price.amounts = BTreeMap::from([("USD".to_owned(), Decimal::from(10))]);
        world.rules = Rules::new(catalog);
        let session = fact::Payment {
            items: vec![cart("10.00")],
            account: account("a", false),
            ..stripe("cs_1", 0, PaymentStatus::Pending)
        };
        let intent = fact::Payment { amount: usd(captured), ..stripe("pi_1", 1, PaymentStatus::Paid) };
        world.tell("1", &Fact::Payment(session));
        world.tell("2", &Fact::Payment(intent));
        assert_eq!(world.balances("a"), [left, "0", "0"], "{captured}");
    }
}

#[test]
fn a_stated_quantity_goes_before_an_assumed_one_whichever_description_leads() {
    let of = |object: &str, precedence, item| fact::Payment {
        items: vec![item],
        account: account("a", false),
        ..stripe(object, precedence, PaymentStatus::Paid)
    };
    let assumed = || LineItem { quantity_assumed: true, ..LineItem::new("pri_1000", 1) };
    for order in [[0, 1], [1, 0]] {
        for leading_is_assumed in [true, false] {
            let (first, second) = match leading_is_assumed {
                true => (assumed(), LineItem::new("pri_1000", 3)),
                false => (LineItem::new("pri_1000", 3), assumed()),
            };
            let facts = [of("cs_1", 0, first), of("pi_1", 1, second)];
            let mut world = World::new();
            for at in order {
                world.tell(&at.to_string(), &Fact::Payment(facts[at].clone()));
            }
            assert_eq!(world.balances("a"), ["3000", "0", "0"], "{order:?} {leading_is_assumed}");
        }
    }
}
