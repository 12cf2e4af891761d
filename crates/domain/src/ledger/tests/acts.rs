//! Operators' acts, expiry, links by address, low balances.

use super::*;
use crate::fact::{Adjustment, AdjustmentKind, Assignment, AssignmentAct, Customer, Expiry, Valuation};

fn account_id(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

fn adjustment(account: &str, credits: i64, kind: AdjustmentKind) -> Fact {
    Fact::Adjustment(Adjustment {
        account: account_id(account),
        credits: Credits::whole(credits),
        kind,
        reason: "counted twice".to_owned(),
        by: "ada".to_owned(),
    })
}

fn assignment(payment: &str, act: AssignmentAct, account: Option<&str>, credits: Option<i64>) -> Fact {
    Fact::Assignment(Assignment {
        by_todays_catalog: false,
        payment: txn(payment),
        act,
        account: account.map(account_id),
        credits: credits.map(Credits::whole),
        reason: "the buyer wrote".to_owned(),
        by: "ada".to_owned(),
        occurred_at: START,
    })
}

fn expiry(account: &str, days: i64) -> Fact {
    Fact::Expiry(Expiry { account: account_id(account), as_of: START + Duration::days(days) })
}

fn expiring(account: &str, credits: i64, days: i64) -> Fact {
    let Fact::Grant(mut granted) = grant(account, credits) else { unreachable!() };
    granted.expires_at = Some(START + Duration::days(days));
    Fact::Grant(granted)
}

fn kinds(decision: &Decision) -> Vec<&'static str> {
    decision.events.iter().map(|event| event.kind().as_str()).collect()
}

#[test]
fn an_adjustment_gives_credits_or_takes_them_as_if_they_had_been_used() {
    check(&[
        (adjustment("a", 100, AdjustmentKind::Correction), ["100", "0", "0"]),
        (adjustment("a", -30, AdjustmentKind::Correction), ["70", "0", "0"]),
        (adjustment("a", -100, AdjustmentKind::Correction), ["0", "0", "30"]),
        (grant("a", 50), ["20", "0", "0"]),
    ]);
}

#[test]
fn a_write_off_forgives_debt_and_gives_nothing_beyond_it() {
    check(&[
        (usage("a", 600), ["0", "0", "600"]),
        (adjustment("a", 200, AdjustmentKind::WriteOff), ["0", "0", "400"]),
        (adjustment("a", 1000, AdjustmentKind::WriteOff), ["0", "0", "0"]),
        (adjustment("a", 1000, AdjustmentKind::WriteOff), ["0", "0", "0"]),
    ]);
}

#[test]
fn lots_expire_when_their_time_has_come_and_held_credits_once_they_are_released() {
    check(&[
        (expiring("a", 100, 1), ["100", "0", "0"]),
        (expiring("a", 50, 9), ["150", "0", "0"]),
        (usage("a", 30), ["120", "0", "0"]),
        (expiry("a", 0), ["120", "0", "0"]),
        (expiry("a", 1), ["50", "0", "0"]),
        (expiry("a", 1), ["50", "0", "0"]),
        (expiry("a", 9), ["0", "0", "0"]),
    ]);
}

#[test]
fn held_credits_expire_only_on_release() {
    let mut world = World::new();
    world.expire_prices_after(Duration::days(1));
    let steps = [
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Pending, "4.00", 1), ["600", "400", "0"]),
        (expiry("a", 2), ["0", "400", "0"]),
        (moved("r1", "t1", Refund, Void, "4.00", 2), ["400", "0", "0"]),
        (expiry("a", 3), ["0", "0", "0"]),
    ];
    for (step, (fact, expect)) in steps.iter().enumerate() {
        world.tell(&step.to_string(), fact);
        assert_eq!(world.balances("a"), *expect, "after step {step}: {fact:?}");
    }
}

#[test]
fn credits_that_come_back_to_an_expired_lot_can_be_spent_for_the_grace() {
    let mut world = World::new();
    world.expire_prices_after(Duration::days(1));
    let steps = [
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (expiry("a", 2), ["0", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "10.00", 1), ["0", "0", "0"]),
        (moved("b1", "t1", Back, Final, "10.00", 2), ["1000", "0", "0"]),
        (expiry("a", 31), ["1000", "0", "0"]),
        (expiry("a", 32), ["0", "0", "0"]),
    ];
    for (step, (fact, expect)) in steps.iter().enumerate() {
        world.tell(&step.to_string(), fact);
        assert_eq!(world.balances("a"), *expect, "after step {step}: {fact:?}");
    }
}

#[test]
fn credits_that_come_back_with_a_grace_are_burned_when_their_new_time_says() {
    let mut world = World::new();
    world.expire_prices_after(Duration::days(1));
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &expiring("a", 50, 20));
    world.tell("3", &moved("d1", "t1", Chargeback, Final, "10.00", 1));
    world.now += Duration::days(2);
    world.tell("4", &moved("b1", "t1", Back, Final, "10.00", 2));
    // The grace ends on day 32: the grant that ends on day 20 goes first now.
    world.tell("5", &usage("a", 60));
    assert_eq!(world.of_payment(&txn("t1"), |lot| lot.consumed), Credits::whole(10));
}

#[test]
fn credits_that_come_back_before_their_time_is_up_keep_it() {
    let mut world = World::new();
    world.expire_prices_after(Duration::days(10));
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &moved("d1", "t1", Chargeback, Final, "0.01", 1));
    world.now += Duration::days(9);
    world.tell("3", &moved("b1", "t1", Back, Final, "0.01", 2));
    world.tell("4", &expiry("a", 10));
    assert_eq!(world.balances("a"), ["0", "0", "0"]);
}

#[test]
fn what_a_later_description_says_of_the_term_holds_in_any_order() {
    let mut session = buy("t1", "a", "pri_1000", "10.00");
    let mut charge = session.clone();
    if let (Fact::Payment(session), Fact::Payment(charge)) = (&mut session, &mut charge) {
        (charge.object, charge.precedence) = ("charge".to_owned(), 2);
        charge.items.clear();
        charge.occurred_at += Duration::minutes(1);
        session.occurred_at += Duration::minutes(2);
    }
    let ends = [[&session, &charge], [&charge, &session]].map(|order| {
        let mut world = World::new();
        world.expire_prices_after(Duration::days(1));
        world.sell_at_rate("USD", 100);
        for (step, fact) in order.into_iter().enumerate() {
            world.tell(&step.to_string(), fact);
        }
        world.books.accounts[&account_id("a")]
            .lots
            .iter()
            .map(|lot| (lot.since, lot.expires_at))
            .collect::<Vec<_>>()
    });
    assert_eq!(ends[0], ends[1]);
    assert!(ends[0].iter().all(|(_, expires_at)| expires_at.is_some()));
}

#[test]
fn descriptions_that_disagree_on_the_amount_are_alarmed_once() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    let mut other = buy("t1", "a", "pri_1000", "99.00");
    if let Fact::Payment(payment) = &mut other {
        (payment.object, payment.precedence) = ("charge".to_owned(), 2);
    }
    assert_eq!(world.tell("2", &other).unwrap().outcome, Outcome::Contradicts);
    let refund = world.tell("3", &moved("r1", "t1", Refund, Final, "4.00", 1)).unwrap();
    assert_eq!(refund.outcome, Outcome::Applied);
    assert_eq!(world.balances("a"), ["600", "0", "0"]);
}

#[test]
fn an_expiry_tells_of_each_lot() {
    let mut world = World::new();
    world.tell("1", &expiring("a", 100, 1));
    world.tell("2", &expiring("a", 50, 1));
    let decision = world.tell("3", &expiry("a", 1)).unwrap();
    assert_eq!(kinds(&decision), ["credits.expired", "credits.expired", "balance.exhausted"]);
    assert_eq!(decision.transactions.len(), 1);
}

#[test]
fn an_operator_delivers_a_payment_whose_account_nobody_knows() {
    let Fact::Payment(mut unknown) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
    unknown.account = None;
    check(&[
        (Fact::Payment(unknown), ["0", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "2.50", 1), ["0", "0", "0"]),
        (assignment("t1", AssignmentAct::Deliver, Some("a"), None), ["750", "0", "0"]),
        (assignment("t1", AssignmentAct::Deliver, Some("a"), None), ["750", "0", "0"]),
    ]);
}

#[test]
fn an_operator_states_what_a_payment_grants_that_no_catalog_knows() {
    check(&[
        (buy("t1", "a", "pri_nobody_knows", "10.00"), ["0", "0", "0"]),
        (assignment("t1", AssignmentAct::Deliver, None, Some(800)), ["800", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "5.00", 1), ["400", "0", "0"]),
        (assignment("t1", AssignmentAct::Deliver, None, Some(1000)), ["500", "0", "0"]),
    ]);
}

#[test]
fn a_delivered_payment_changes_hands_by_a_move_alone() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1050", "10.00"));
    world.tell("2", &buy("t2", "a", "pri_1000", "10.00"));
    world.tell("3", &moved("r1", "t1", Refund, Final, "2.00", 1));
    world.tell("4", &usage("a", 1500));
    assert_eq!(world.balances("a"), ["340", "0", "0"]);
    let delivered = world.tell("5", &assignment("t1", AssignmentAct::Deliver, Some("b"), None)).unwrap();
    assert_eq!(delivered.outcome, Outcome::Contradicts);
    assert_eq!(world.balances("a"), ["340", "0", "0"]);
    world.tell("6", &assignment("t1", AssignmentAct::Move, Some("b"), None));
    // The usage stays with whose it was: 1000 of it on the other lots, 500 as debt.
    assert_eq!(world.balances("a"), ["0", "0", "500"]);
    assert_eq!(world.balances("b"), ["840", "0", "0"]);
    // What becomes of the payment now becomes of it there.
    world.tell("7", &moved("r2", "t1", Refund, Final, "8.00", 2));
    assert_eq!(world.balances("b"), ["0", "0", "0"]);
    world.tell("8", &buy("t1", "a", "pri_1050", "10.00"));
    assert_eq!(world.balances("a"), ["0", "0", "500"]);
}

/// Two operators' words may come in the other order: a queue was replayed, a batch was split.
#[test]
fn of_two_moves_the_later_word_holds_whichever_comes_last() {
    let moved_at = |account: &str, minute| {
        let Fact::Assignment(word) = assignment("t1", AssignmentAct::Move, Some(account), None) else {
            unreachable!()
        };
        Fact::Assignment(Assignment { occurred_at: START + Duration::minutes(minute), ..word })
    };
    for order in [["b", "c"], ["c", "b"]] {
        let mut world = World::new();
        world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
        for account in order {
            world.tell(account, &moved_at(account, if account == "c" { 2 } else { 1 }));
        }
        assert_eq!(["a", "b", "c"].map(|account| world.balances(account)[0].clone()), ["0", "0", "1000"]);
    }
}

/// The operator named the charge; only a later fact tells that it is the delivered payment.
#[test]
fn a_move_that_waited_in_a_shell_moves_the_payment_that_it_turns_out_to_be() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &assignment("ch_1", AssignmentAct::Move, Some("b"), None));
    let Fact::Movement(mut refund) = moved("r1", "t1", Refund, Final, "4.00", 1) else { unreachable!() };
    refund.aliases = vec![txn("ch_1")];
    world.tell("3", &Fact::Movement(refund));
    assert_eq!(world.balances("a"), ["0", "0", "0"]);
    assert_eq!(world.balances("b"), ["600", "0", "0"]);
}

#[test]
fn a_payment_that_granted_nothing_moves_without_a_transaction() {
    let mut world = World::new();
    let Fact::Payment(mut free) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
    free.items[0].quantity = 0;
    world.tell("1", &Fact::Payment(free));
    let decision = world.tell("3", &assignment("t1", AssignmentAct::Move, Some("b"), None)).unwrap();
    assert!(decision.transactions.is_empty());
    assert_eq!(kinds(&decision), ["payment.delivered"]);
}

#[test]
fn what_is_in_question_stays_held_where_a_payment_moves() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &moved("r1", "t1", Refund, Pending, "4.00", 1));
    world.tell("3", &usage("a", 100));
    world.tell("4", &assignment("t1", AssignmentAct::Move, Some("b"), None));
    assert_eq!(world.balances("a"), ["0", "0", "100"]);
    assert_eq!(world.balances("b"), ["600", "400", "0"]);
}

#[test]
fn an_operator_states_what_a_movement_in_another_currency_amounts_to() {
    let Fact::Movement(mut foreign) = moved("d1", "t1", Chargeback, Final, "9.00", 1) else { unreachable!() };
    foreign.amount = Money::from_minor(900, 2, currency("EUR").unwrap()).unwrap();
    let valued = Fact::Valuation(Valuation {
        payment: txn("t1"),
        movement: "d1".to_owned(),
        amount: usd("9.70"),
        reason: "the bank's statement".to_owned(),
        by: "ada".to_owned(),
        occurred_at: START,
    });
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (Fact::Movement(foreign), ["0", "1000", "0"]),
        (valued, ["30", "0", "0"]),
    ]);
}

#[test]
fn an_address_links_whoever_has_it_before_and_after() {
    let customer = |id: &str, email: Option<&str>, account: Option<&str>| {
        Fact::Customer(Customer {
            reason: None,
            customer: id.parse().unwrap(),
            email: email.and_then(CustomerId::of_email),
            account: account.map(|account| AccountLink {
                by_reference: false,
                account: account_id(account),
                proof: LinkProof::Stated,
            }),
            occurred_at: START,
        })
    };
    let by = |transaction: &str, customer: &str| {
        let Fact::Payment(mut payment) = buy(transaction, "a", "pri_1000", "10.00") else { unreachable!() };
        payment.account = None;
        payment.customer = Some(customer.parse().unwrap());
        Fact::Payment(payment)
    };
    check(&[
        (by("t1", "paddle:ctm_1"), ["0", "0", "0"]),
        (customer("paddle:ctm_1", Some("Jane@example.com"), None), ["0", "0", "0"]),
        (by("t2", "email:jane@example.com"), ["0", "0", "0"]),
        (customer("email:jane@example.com", None, Some("a")), ["2000", "0", "0"]),
        (customer("paddle:ctm_2", Some("jane@example.com"), None), ["2000", "0", "0"]),
        (by("t3", "paddle:ctm_2"), ["3000", "0", "0"]),
        // A link of its own that differs moves nothing.
        (customer("paddle:ctm_2", None, Some("b")), ["3000", "0", "0"]),
        (by("t4", "paddle:ctm_2"), ["4000", "0", "0"]),
    ]);
}

/// Stripe's session and charge of a guest may carry two addresses: which of them comes first must not decide.
#[test]
fn any_of_a_purchases_customers_links_it() {
    let by = |object: &str, precedence, customer: &str| {
        let Fact::Payment(payment) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
        let customer = Some(customer.parse().unwrap());
        Fact::Payment(fact::Payment {
            object: object.to_owned(),
            precedence,
            customer,
            account: None,
            ..payment
        })
    };
    let link = Fact::Customer(Customer {
        reason: None,
        customer: "email:billing@example.com".parse().unwrap(),
        email: None,
        account: Some(AccountLink {
            by_reference: false,
            account: account_id("a"),
            proof: LinkProof::Stated,
        }),
        occurred_at: START,
    });
    let facts =
        [by("cs_1", 0, "email:checkout@example.com"), by("ch_1", 2, "email:billing@example.com"), link];
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1]] {
        let mut world = World::new();
        for index in order {
            world.tell(&index.to_string(), &facts[index]);
        }
        assert_eq!(world.balances("a"), ["1000", "0", "0"], "{order:?}");
    }
}

#[test]
fn a_balance_that_falls_below_a_threshold_or_to_nothing_is_told_once() {
    let mut world = World::new();
    world.rules.low = vec![Credits::whole(100), Credits::whole(500)];
    world.tell("1", &grant("a", 1000));
    let told = |world: &mut World, id: &str, credits| {
        let decision = world.tell(id, &usage("a", credits)).unwrap();
        kinds(&decision).into_iter().filter(|kind| kind.starts_with("balance")).collect::<Vec<_>>()
    };
    assert!(told(&mut world, "2", 500).is_empty());
    assert_eq!(told(&mut world, "3", 1), ["balance.low"]);
    assert!(told(&mut world, "4", 1).is_empty());
    assert_eq!(told(&mut world, "5", 498), ["balance.low", "balance.exhausted"]);
    assert!(told(&mut world, "6", 10).is_empty());
}

#[test]
fn usage_of_nothing_is_nothing_new() {
    let mut world = World::new();
    for (id, before) in [("1", None), ("2", Some(grant("a", 10)))] {
        before.map(|before| world.tell("0", &before).unwrap());
        let decision = world.tell(id, &usage("a", 0)).unwrap();
        assert_eq!(decision.outcome, Outcome::NoOp);
        assert!(decision.transactions.is_empty() && decision.events.is_empty(), "{decision:?}");
    }
}
