//! What went wrong in other systems that sell prepaid credits, shown not to go wrong here. Each test is named after what
//! must hold; the line above it says what happened, and to whom. What takes a worker to show (deliveries that come twice,
//! crashes, outboxes) is tested where the workers are.

use super::*;

fn full(fact: Fact) -> Fact {
    let Fact::Movement(movement) = fact else { unreachable!() };
    Fact::Movement(fact::Movement { full: true, ..movement })
}

fn events(decision: &Decision) -> Vec<&'static str> {
    decision.events.iter().map(|event| event.kind().as_str()).collect()
}

/// Nothing listened to refunds and disputes: top up, charge back, keep the credits (elizaOS/eliza#10920).
#[test]
fn every_reversal_of_money_reverses_credits() {
    for kind in [Refund, Chargeback] {
        check(&[
            (buy("t1", "a", "pri_1050", "10.00"), ["1050", "0", "0"]),
            (moved("m1", "t1", kind, Final, "10.00", 1), ["0", "0", "0"]),
        ]);
        // Also where the credits are gone, and where the money went back before the purchase was heard of.
        check(&[
            (usage("a", 50), ["0", "0", "50"]),
            (moved("m1", "t1", kind, Final, "10.00", 1), ["0", "0", "50"]),
            (buy("t1", "a", "pri_1050", "10.00"), ["0", "0", "50"]),
        ]);
    }
}

/// Credits were taken when a dispute opened and never given back when it was won (elizaOS/eliza#10997).
#[test]
fn won_nets_to_zero() {
    let opened = || moved("d1", "t1", Chargeback, Final, "10.00", 1);
    // Stripe withdraws the dispute's own movement, Paddle sends the money back under a new id; never on both.
    let ways = [
        moved("d1", "t1", Chargeback, Void, "10.00", 2),
        moved("b1", "t1", Back, Final, "10.00", 2),
        full(moved("b1", "t1", Back, Final, "9.71", 2)),
    ];
    for won in ways {
        check(&[
            (buy("t1", "a", "pri_1050", "10.00"), ["1050", "0", "0"]),
            (usage("a", 600), ["450", "0", "0"]),
            (opened(), ["0", "0", "600"]),
            (won.clone(), ["450", "0", "0"]),
        ]);
        check(&[
            (won, ["0", "0", "0"]),
            (opened(), ["0", "0", "0"]),
            (buy("t1", "a", "pri_1050", "10.00"), ["1050", "0", "0"]),
        ]);
    }
}

/// What a won dispute had given back still counted as taken, so a later refund took too little (elizaOS/eliza#11155).
#[test]
fn the_target_comes_from_the_whole_record_and_the_difference_is_posted() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "10.00", 1), ["0", "0", "0"]),
        (moved("d1", "t1", Chargeback, Void, "10.00", 2), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "6.00", 3), ["400", "0", "0"]),
        (moved("d2", "t1", Chargeback, Final, "10.00", 4), ["0", "0", "0"]),
        (moved("b2", "t1", Back, Final, "10.00", 5), ["400", "0", "0"]),
    ]);
}

/// Money was given back where credits had been taken: of a pack of 500 for 10 dollars, 10 came back
/// (elizaOS/eliza#31449). Here the two are types that do not mix; the figures show it where one is not the other.
#[test]
fn credits_come_back_as_credits_whatever_they_cost() {
    check(&[
        (buy("t1", "a", "pri_1000", "20.00"), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "20.00", 1), ["0", "0", "0"]),
        (moved("b1", "t1", Back, Final, "20.00", 2), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "5.00", 3), ["750", "0", "0"]),
    ]);
}

/// The balance stopped at zero and the rest of the claw-back was forgiven (elizaOS/eliza PR 10938).
#[test]
fn a_shortfall_is_a_debt_repaid_by_the_next_grant() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (usage("a", 900), ["100", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "10.00", 1), ["0", "0", "900"]),
        (grant("a", 300), ["0", "0", "600"]),
        (buy("t2", "a", "pri_1000", "10.00"), ["400", "0", "0"]),
    ]);
}

/// More was clawed back than had been granted: gross against net, fees, exchange rates (elizaOS/eliza PR 11017,
/// polarsource/polar#8344).
#[test]
fn never_more_is_reversed_than_was_granted_though_a_dispute_exceeds_the_payment() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (grant("a", 500), ["1500", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "12.15", 1), ["500", "0", "0"]),
        (moved("d2", "t1", Chargeback, Final, "10.00", 2), ["500", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "10.00", 3), ["500", "0", "0"]),
    ]);
}

/// A running total of what was refunded was taken for the last refund's amount (akash-network/console#2438).
#[test]
fn movements_are_keyed_by_the_refunds_own_id() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("r1", "t1", Refund, Final, "3.00", 1), ["700", "0", "0"]),
        // The same refund, told once more by a later event; then another one.
        (moved("r1", "t1", Refund, Final, "3.00", 2), ["700", "0", "0"]),
        (moved("r2", "t1", Refund, Final, "3.00", 3), ["400", "0", "0"]),
    ]);
}

/// The first refund of a payment was handled and every later one ignored (anomalyco/opencode PR 28400).
#[test]
fn any_number_of_partial_refunds_counts() {
    let mut world = World::new();
    world.tell("paid", &buy("t1", "a", "pri_1000", "10.00"));
    for refund in 1..=1000 {
        let id = format!("r{refund}");
        world.tell(&id, &moved(&id, "t1", Refund, Final, "0.01", 1));
        assert_eq!(world.balances("a"), [(1000 - refund).to_string(), "0".to_owned(), "0".to_owned()]);
    }
}

/// Each retry of a webhook added the credits again (anomalyco/opencode#28402, AutoGPT PR 10672,
/// theopenco/llmgateway#1713).
#[test]
fn a_purchase_grants_once_under_however_many_events() {
    let mut world = World::new();
    assert_eq!(world.tell("paid", &buy("t1", "a", "pri_1000", "10.00")).unwrap().outcome, Outcome::Applied);
    for event in ["completed", "updated", "replayed"] {
        let decision = world.tell(event, &buy("t1", "a", "pri_1000", "10.00")).unwrap();
        assert_eq!((decision.outcome, decision.events.len()), (Outcome::NoOp, 0));
    }
    assert_eq!(world.balances("a"), ["1000", "0", "0"]);
}

/// A purchase was marked as done by its event's id though it had given no credits, and never gave any
/// (hackerai-tech/hackerai PR 786).
#[test]
fn a_purchase_that_gave_nothing_yet_gives_once_it_can() {
    let Fact::Payment(mut unknown) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
    unknown.account = None;
    let mut world = World::new();
    let first = world.tell("1", &Fact::Payment(unknown)).unwrap();
    assert_eq!((first.outcome, world.balances("a")[0].as_str()), (Outcome::Waiting, "0"));
    let again = world.tell("2", &buy("t1", "a", "pri_1000", "10.00")).unwrap();
    assert_eq!((again.outcome, world.balances("a")[0].as_str()), (Outcome::Applied, "1000"));
}

/// A repeated refund was answered as a conflict, and reversed the first one (blnkfinance/blnk#374).
#[test]
fn a_repeated_refund_is_a_no_op() {
    let refund = moved("r1", "t1", Refund, Final, "4.00", 1);
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &refund);
    let repeated = world.tell("3", &refund).unwrap();
    assert_eq!((repeated.outcome, repeated.transactions.len()), (Outcome::NoOp, 0));
    assert_eq!(world.balances("a"), ["600", "0", "0"]);
}

/// A refund and a chargeback of the same money both counted (juspay/hyperswitch-control-center#4109, antiwork/gumroad
/// PR 4372, getlago/lago-api PR 6257).
#[test]
fn a_refund_and_a_chargeback_together_take_no_more_than_the_payment() {
    let (refund, chargeback) =
        (|| moved("r1", "t1", Refund, Final, "7.00", 1), || moved("d1", "t1", Chargeback, Final, "10.00", 1));
    for (first, between, second) in [(refund(), "300", chargeback()), (chargeback(), "0", refund())] {
        check(&[
            (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
            (first, [between, "0", "0"]),
            (second, ["0", "0", "0"]),
            // The chargeback won: what was refunded stays refunded.
            (moved("b1", "t1", Back, Final, "10.00", 2), ["300", "0", "0"]),
        ]);
    }
}

/// A lost dispute was recorded as won because the event's name said closed (juspay/hyperswitch PR 11653).
#[test]
fn a_dispute_ends_as_its_latest_status_says_whichever_event_comes_last() {
    let lost = || moved("d1", "t1", Chargeback, Final, "10.00", 3);
    let reinstated = || moved("d1", "t1", Chargeback, Void, "10.00", 2);
    for order in [[lost(), reinstated()], [reinstated(), lost()]] {
        let mut world = World::new();
        world.tell("paid", &buy("t1", "a", "pri_1000", "10.00"));
        for (event, fact) in order.iter().enumerate() {
            world.tell(&event.to_string(), fact);
        }
        assert_eq!(world.balances("a"), ["0", "0", "0"]);
    }
}

/// Benefits were revoked also when the dispute had been won: its opening was handled last (polarsource/polar).
#[test]
fn a_dispute_that_was_won_takes_nothing_though_its_opening_comes_late() {
    check(&[
        (buy("t1", "a", "pri_1000", "10.00"), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Void, "10.00", 9), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Pending, "10.00", 1), ["1000", "0", "0"]),
        (moved("d1", "t1", Chargeback, Final, "10.00", 2), ["1000", "0", "0"]),
    ]);
}

/// Customers paid and got nothing for weeks, until somebody looked (recoupable/app#1858).
#[test]
fn an_undelivered_payment_raises_an_alarm_by_itself() {
    let Fact::Payment(mut nobody) = buy("t1", "a", "pri_1000", "10.00") else { unreachable!() };
    nobody.account = None;
    for (payment, reason) in [
        (Fact::Payment(nobody), "account_unknown"),
        (buy("t1", "a", "pri_nobody_knows", "10.00"), "price_unknown"),
    ] {
        let decision = World::new().tell("1", &payment).unwrap();
        assert_eq!(events(&decision), ["payment.undelivered"]);
        let payment = txn("t1");
        assert_eq!(decision.events[0].data, PaymentUndelivered { payment, reason }.into());
    }
}

/// Two payments for one order: refunding the superfluous one voided the whole order (pretix/pretix#343).
#[test]
fn a_reversal_belongs_to_one_payment() {
    let mut world = World::new();
    world.tell("1", &buy("t1", "a", "pri_1000", "10.00"));
    world.tell("2", &buy("t2", "a", "pri_1000", "10.00"));
    world.tell("3", &usage("a", 300));
    world.tell("4", &moved("r1", "t2", Refund, Final, "10.00", 1));
    assert_eq!(world.balances("a"), ["700", "0", "0"]);
    let reversed = |name| world.of_payment(&txn(name), |lot| lot.reversed).to_string();
    assert_eq!([reversed("t1"), reversed("t2")], ["0", "1000"]);
}
