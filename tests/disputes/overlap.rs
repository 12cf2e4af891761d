//! A refund and a dispute on one payment: the two are independent, both may be paid, and in whatever order they are told the end is
//! one.

use super::Fleet;
use super::payloads::{
    StripeDispute, paddle_adjustment, paddle_purchase, paddle_refund, stripe_purchase, stripe_refund,
};
use domain::dispute::overlap;
use domain::record::PaymentRecord;
use serde_json::Value;
use sqlx::types::Json;
use std::time::Duration;
use testkit::{Site, run_within};

const LIMIT: Duration = Duration::from_secs(300);

/// Every order of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let longer = shorter.iter().flat_map(|order| {
        (0..count).map(|place| {
            let mut order = order.clone();
            order.insert(place, count - 1);
            order
        })
    });
    longer.collect()
}

/// What is shown of the overlap on a payment: paid, refunded, disputed, and what went back beyond what was paid.
async fn shown(site: &Site, payment: &str, is_disputed: bool) -> String {
    let record: Json<PaymentRecord> =
        sqlx::query_scalar("select record from payments where payment = $1 and state = 'delivered'")
            .bind(payment)
            .fetch_one(&site.pool)
            .await
            .unwrap();
    match overlap(&record.0, is_disputed) {
        None => "none".to_owned(),
        Some(found) => format!(
            "paid {}, refunded {}, disputed {}, cost {}",
            found.paid.amount().normalize(),
            found.refunded.amount().normalize(),
            found.disputed.amount().normalize(),
            found.cost.amount().normalize(),
        ),
    }
}

/// Tells each order of the same webhooks about a purchase of its own, all of them side by side, and looks at each end.
async fn every_order(
    fleet: &Fleet,
    processor: &str,
    about: impl Fn(&str) -> Vec<Value>,
    payment: impl Fn(&str) -> String,
    expect: (&str, bool, &str),
) {
    let count = about("0").len();
    let orders = orders(count);
    let purchases: Vec<(String, Vec<Value>)> = (0..orders.len())
        .map(|number| {
            let number = format!("{processor}{number}");
            let webhooks = about(&number);
            (number, webhooks)
        })
        .collect();
    for place in 0..count {
        for (order, (_, webhooks)) in orders.iter().zip(&purchases) {
            fleet.deliver(processor, &webhooks[order[place]]).await;
        }
        for (order, (_, webhooks)) in orders.iter().zip(&purchases) {
            fleet.settled(&super::facts_of(processor, &webhooks[order[place]])).await;
        }
    }
    let (stands, is_disputed, costs) = expect;
    for (order, (number, _)) in orders.iter().zip(&purchases) {
        let account = format!("a{number}");
        let expect = stands.replace("{}", number);
        // A case whose payment came last is taken up a moment later.
        fleet.until(&account, &expect).await;
        assert_eq!(shown(&fleet.site, &payment(number), is_disputed).await, costs, "in the order {order:?}");
    }
}

#[test]
fn stripes_refund_and_lost_dispute_are_both_paid_and_cost_what_is_beyond() {
    run_within(LIMIT, async |site| {
        let fleet = Fleet::configured(&site, "").await;
        let about = |number: &str| {
            let case = StripeDispute::new(number, number);
            vec![
                stripe_purchase(number, &format!("a{number}")),
                stripe_refund(number, 480, 5),
                case.event("charge.dispute.created", "needs_response", 10),
                case.event("charge.dispute.closed", "lost", 20),
            ]
        };
        let end = ("du_{} lost | - | 0 / 0 / 0", true, "paid 12, refunded 4.8, disputed 12, cost 4.8");
        every_order(&fleet, "stripe", about, |number| format!("stripe:pi_{number}"), end).await;
        fleet.end().await;
    });
}

#[test]
fn paddles_refund_and_reversed_chargeback_leave_the_refund_alone() {
    run_within(LIMIT, async |site| {
        let fleet = Fleet::configured(&site, "").await;
        let about = |number: &str| {
            vec![
                paddle_purchase(number, &format!("a{number}")),
                paddle_refund(number, "400", 1),
                paddle_adjustment(number, "chargeback", 2, "approved", 2),
                paddle_adjustment(number, "chargeback_reverse", 3, "approved", 3),
            ]
        };
        let end = ("txn_{} won | - | 630 / 0 / 0", false, "none");
        every_order(&fleet, "paddle", about, |number| format!("paddle:txn_{number}"), end).await;
        fleet.end().await;
    });
}

#[test]
fn a_refund_beside_an_open_dispute_is_shown_and_counts_once() {
    run_within(LIMIT, async |site| {
        let fleet = Fleet::configured(&site, "").await;
        let about = |number: &str| {
            let case = StripeDispute::new(number, number);
            vec![
                stripe_purchase(number, &format!("a{number}")),
                stripe_refund(number, 1200, 5),
                case.event("charge.dispute.created", "needs_response", 10),
            ]
        };
        let all = "access by du_{}, balance by du_{}, checkout by du_{}";
        let end = format!("du_{{}} open | {all} | 0 / 0 / 0");
        let end = (end.as_str(), true, "paid 12, refunded 12, disputed 12, cost 12");
        every_order(&fleet, "stripe", about, |number| format!("stripe:pi_{number}"), end).await;
        fleet.end().await;
    });
}
