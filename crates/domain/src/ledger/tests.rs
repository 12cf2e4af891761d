//! The rule on histories: exact ones, as an accountant would check them, and random ones.

mod acts;
mod calendar;
mod events;
mod examples;
mod histories;
mod lines;
mod mistakes;
mod model;
mod world;

use super::credits::part;
use super::*;
use crate::catalog::{Catalog, Price};
use crate::event::{Balances, Event, EventData, EventKind, PaymentUndelivered};
use crate::fact::{
    self, AccountLink, GrantKind, HoldStatus, LineItem, LinkProof, MovementKind, MovementStatus,
    PaymentStatus, Usage,
};
use crate::ids::{AccountId, CustomerId};
use crate::journal::{Book, GENESIS, Transaction, TransactionKind};
use crate::lot::Lot;
use crate::money::{Credits, Money, currency};
use crate::record::PaymentRecord;
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};
use time::Duration;
use time::macros::datetime;
use world::World;

const START: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

fn rules() -> Rules {
    let price = |credits, bonus| Price {
        amounts: BTreeMap::new(),
        credits: Credits::whole(credits),
        bonus: Credits::whole(bonus),
        expires_after_seconds: None,
    };
    let prices = [("pri_1000", price(1000, 0)), ("pri_1050", price(1000, 50)), ("pri_odd", price(7, 3))]
        .map(|(name, price)| (name.to_owned(), price));
    let catalog = Catalog {
        rate_applies_to: crate::catalog::RateAppliesTo::default(),
        prices: BTreeMap::from([("paddle".to_owned(), BTreeMap::from(prices))]),
        rates: BTreeMap::new(),
    };
    Rules::new(catalog)
}

fn usd(text: &str) -> Money {
    Money::new(text.parse().unwrap(), currency("USD").unwrap()).unwrap()
}

fn txn(name: &str) -> PaymentId {
    PaymentId::new("paddle", name).unwrap()
}

fn buy(name: &str, account: &str, price: &str, amount: &str) -> Fact {
    Fact::Payment(fact::Payment {
        before_discounts: None,
        purpose: fact::Purpose::Unstated,
        payment: txn(name),
        aliases: Vec::new(),
        object: name.to_owned(),
        precedence: 0,
        status: PaymentStatus::Paid,
        amount: usd(amount),
        before_tax: None,
        items: vec![LineItem::new(price.to_owned(), 1)],
        account: Some(AccountLink {
            by_reference: false,
            account: AccountId::new(account).unwrap(),
            proof: LinkProof::Stated,
        }),
        customer: None,
        ip: None,
        device: None,
        occurred_at: START,
    })
}

fn moved(
    movement: &str,
    payment: &str,
    kind: MovementKind,
    status: MovementStatus,
    amount: &str,
    minute: i64,
) -> Fact {
    Fact::Movement(fact::Movement {
        lines: Vec::new(),
        movement: movement.to_owned(),
        payment: txn(payment),
        aliases: Vec::new(),
        kind,
        status,
        amount: usd(amount),
        full: false,
        hold: None,
        occurred_at: START + Duration::minutes(minute),
    })
}

fn usage(account: &str, credits: i64) -> Fact {
    Fact::Usage(Usage {
        account: AccountId::new(account).unwrap(),
        credits: Credits::whole(credits),
        reference: None,
        description: None,
        ip: None,
        device: None,
    })
}

fn grant(account: &str, credits: i64) -> Fact {
    Fact::Grant(fact::Grant {
        account: AccountId::new(account).unwrap(),
        credits: Credits::whole(credits),
        kind: GrantKind::Promotional,
        reason: "test".to_owned(),
        expires_at: None,
        by: None,
    })
}

/// Tells the facts in order; expects `[available, held, debt]` of account `a` after each.
fn check(history: &[(Fact, [&str; 3])]) {
    let mut world = World::new();
    for (step, (fact, expect)) in history.iter().enumerate() {
        world.tell(&step.to_string(), fact);
        assert_eq!(world.balances("a"), *expect, "after step {step}: {fact:?}");
    }
}

use MovementKind::{Back, Chargeback, Refund};
use MovementStatus::{Final, Pending, Void};

#[test]
fn a_purchase_gives_its_credits_and_its_bonus_once() {
    check(&[
        (buy("t1", "a", "pri_1050", "10.00"), ["1050", "0", "0"]),
        (buy("t1", "a", "pri_1050", "10.00"), ["1050", "0", "0"]),
    ]);
}

#[test]
fn a_pending_refund_holds_and_a_rejected_one_releases() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Pending, "4.00", 1), ["600", "400", "0"]),
        (usage("a", 700), ["0", "400", "100"]),
        (moved("r1", "t1", Refund, Void, "4.00", 2), ["300", "0", "0"]),
    ]);
}

#[test]
fn a_refund_that_failed_after_it_had_succeeded_gives_the_credits_back() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "4.00", 1), ["600", "0", "0"]),
        (moved("r1", "t1", Refund, Void, "4.00", 2), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "4.00", 3), ["1000", "0", "0"]),
    ]);
}

#[test]
fn a_refund_before_its_purchase_ends_the_same() {
    check(&[
        (moved("r1", "t1", Refund, Final, "4.00", 1), ["0", "0", "0"]),
        (buy("t1", "a", "pri_1000", "10.00"), ["600", "0", "0"]),
    ]);
}

fn in_euro(fact: Fact) -> Fact {
    let Fact::Movement(movement) = fact else { unreachable!() };
    let amount = Money::new(movement.amount.amount(), currency("EUR").unwrap()).unwrap();
    Fact::Movement(fact::Movement { amount, ..movement })
}

#[test]
fn a_movement_in_another_currency_holds_the_rest() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (in_euro(moved("d1", "t1", Chargeback, Final, "9.00", 1)), ["0", "1000", "0"]),
    ]);
}

/// Won nets to zero, also where nobody can tell what it was in the payment's currency.
#[test]
fn a_back_that_is_full_settles_a_chargeback_in_another_currency() {
    let mut back = in_euro(moved("b1", "t1", Back, Final, "9.00", 2));
    if let Fact::Movement(movement) = &mut back {
        movement.full = true;
    }
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (in_euro(moved("d1", "t1", Chargeback, Final, "9.00", 1)), ["0", "1000", "0"]),
        (back.clone(), ["1000", "0", "0"]),
    ]);
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "10.00", 1), ["0", "0", "0"]),
        (back, ["1000", "0", "0"]),
    ]);
}

#[test]
fn a_back_that_is_full_cancels_its_chargeback_whatever_the_amounts() {
    let mut full = moved("b1", "t1", Back, Final, "9.40", 2);
    if let Fact::Movement(movement) = &mut full {
        movement.full = true;
    }
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "10.00", 1), ["0", "0", "0"]),
        (full, ["1000", "0", "0"]),
    ]);
}

#[test]
fn a_hold_of_the_refund_desk_is_replaced_by_the_movement_that_carries_it_out() {
    let hold = Fact::Hold(fact::Hold {
        hold: "h1".to_owned(),
        payment: txn("t1"),
        amount: usd("4.00"),
        status: HoldStatus::Placed,
        occurred_at: START,
    });
    let mut refund = moved("r1", "t1", Refund, Final, "4.00", 1);
    if let Fact::Movement(movement) = &mut refund {
        movement.hold = Some("h1".to_owned());
    }
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (hold, ["600", "400", "0"]),
        (refund, ["600", "0", "0"]),
    ]);
}

/// Nothing that can be spent is touched, and nothing is released that is gone at once.
#[test]
fn a_reversal_takes_what_is_held_first() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &moved("r1", "t1", Refund, Pending, "4.00", 1));
    let decision = world.tell("3", &moved("r1", "t1", Refund, Final, "4.00", 2)).unwrap();
    let [reversal] = &decision.transactions[..] else { panic!("one transaction: {decision:?}") };
    let books: Vec<Book> = reversal.entries.iter().map(|entry| entry.book).collect();
    assert_eq!(books, [Book::Held, Book::Reversed]);
}

#[test]
fn descriptions_of_one_purchase_meet_and_grant_once() {
    let stripe = |id: &str| PaymentId::new("stripe", id).unwrap();
    let describe = |payment: &str, alias: Option<&str>, object: &str, precedence, account: Option<&str>| {
        Fact::Payment(fact::Payment {
            before_discounts: None,
            purpose: fact::Purpose::default(),
            payment: stripe(payment),
            aliases: alias.map(stripe).into_iter().collect(),
            object: object.to_owned(),
            precedence,
            status: PaymentStatus::Paid,
            amount: usd("10.00"),
            before_tax: None,
            items: account.map(|_| LineItem::new("pri_1000".to_owned(), 1)).into_iter().collect(),
            account: account.map(|a| AccountLink {
                by_reference: false,
                account: AccountId::new(a).unwrap(),
                proof: LinkProof::Stated,
            }),
            customer: None,
            ip: None,
            device: None,
            occurred_at: START,
        })
    };
    let refund = Fact::Movement(fact::Movement {
        lines: Vec::new(),
        movement: "re_1".to_owned(),
        payment: stripe("ch_1"),
        aliases: Vec::new(),
        kind: Refund,
        status: Final,
        amount: usd("2.50"),
        full: false,
        hold: None,
        occurred_at: START,
    });
    let facts = [
        describe("pi_1", Some("cs_1"), "cs_1", 0, Some("a")),
        describe("pi_1", Some("ch_1"), "ch_1", 2, None),
        describe("pi_1", None, "pi_1", 1, None),
        refund,
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 3, 0, 1]] {
        let mut world = World::new();
        let catalog = world.rules.catalogs.values().next().unwrap().prices["paddle"].clone();
        let mut both = Catalog::default();
        both.prices.insert("stripe".to_owned(), catalog);
        world.rules.current = both.version();
        world.rules.catalogs.insert(both.version(), both);
        for index in order {
            world.tell(&index.to_string(), &facts[index]);
        }
        assert_eq!(world.balances("a"), ["750", "0", "0"], "{order:?}");
    }
}

#[test]
fn ids_that_are_named_both_ways_round_make_one_payment_and_no_circle() {
    let ids = ["a", "b", "c"].map(txn);
    let mut books = Books::default();
    for id in &ids {
        books.payment(id);
    }
    for (leading, other) in [(0, 1), (1, 0), (2, 1), (0, 2), (1, 2), (0, 1)] {
        let survivor = books.unite(&ids[leading], &BTreeSet::from([ids[other].clone()])).unwrap();
        assert_eq!(books.standing_for(&ids[leading]), &survivor);
        assert_eq!(books.standing_for(&ids[other]), &survivor);
        assert_ne!(books.payments[&survivor].state, PaymentState::Merged);
    }
    let standing = books.payments.values().filter(|payment| payment.state != PaymentState::Merged);
    assert_eq!(standing.count(), 1);
}

#[test]
fn a_payment_without_account_waits_for_its_customer_link() {
    let customer = CustomerId::new("paddle", "ctm_1").unwrap();
    let mut unknown = buy("t1", "a", "pri_1000", "10.00");
    if let Fact::Payment(payment) = &mut unknown {
        payment.account = None;
        payment.customer = Some(customer.clone());
    }
    let link = Fact::Customer(fact::Customer {
        reason: None,
        customer,
        email: None,
        account: Some(AccountLink {
            by_reference: false,
            account: AccountId::new("a").unwrap(),
            proof: LinkProof::Stated,
        }),
        occurred_at: START,
    });
    let mut world = World::new();
    let undelivered = world.tell("1", &unknown).unwrap();
    assert_eq!(undelivered.outcome, Outcome::Waiting);
    assert_eq!(undelivered.events[0].kind(), EventKind::PaymentUndelivered);
    world.tell("2", &link);
    assert_eq!(world.balances("a"), ["1000", "0", "0"]);
}

#[test]
fn a_later_link_that_contradicts_moves_nothing() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    let decision = world.tell("2", &buy("t1", "b", "pri_1000", "10.00")).unwrap();
    assert_eq!(decision.outcome, Outcome::Contradicts);
    assert_eq!(world.balances("a"), ["1000", "0", "0"]);
}

#[test]
fn a_later_description_of_unknown_worth_keeps_the_credits_and_refunds_still_reverse_them() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    let mut other = buy("t1", "a", "pri_nobody_knows", "10.00");
    if let Fact::Payment(payment) = &mut other {
        payment.occurred_at = START + Duration::minutes(1);
    }
    assert_eq!(world.tell("2", &other).unwrap().outcome, Outcome::Contradicts);
    assert_eq!(world.balances("a"), ["1000", "0", "0"]);
    world.tell("3", &moved("r1", "t1", Refund, Final, "4.00", 2));
    assert_eq!(world.balances("a"), ["600", "0", "0"]);
}

#[test]
fn events_carry_the_balances_after_everything() {
    let mut world = World::new();
    for (step, fact) in [
        buy("t1", "a", "pri_1000", "10.00"),
        usage("a", 600),
        moved("d1", "t1", Chargeback, Final, "10.00", 1),
        buy("t2", "a", "pri_1000", "10.00"),
    ]
    .iter()
    .enumerate()
    {
        for event in world.tell(&step.to_string(), fact).unwrap().events {
            let balances = event.balances.unwrap();
            assert!(balances.available.is_zero() || balances.debt.is_zero());
        }
    }
}
