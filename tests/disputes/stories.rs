//! Stories of disputes, event by event.

use super::Fleet;
use super::payloads::{
    StripeDispute, early_fraud_warning, paddle_adjustment, paddle_purchase, stripe_purchase,
};
use domain::fact::{RestrictionAct, RestrictionKind};
use std::time::Duration;
use testkit::{Site, run_within};

/// A story takes some seconds; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(240);

const ALL_BY: &str = "access by {}, balance by {}, checkout by {}";

fn all_by(case: &str) -> String {
    ALL_BY.replace("{}", case)
}

fn told(test: impl AsyncFnOnce(&mut Fleet)) {
    told_where("", test);
}

fn told_where(configuration: &str, test: impl AsyncFnOnce(&mut Fleet)) {
    run_within(LIMIT, async |site: Site| {
        let mut fleet = Fleet::configured(&site, configuration).await;
        test(&mut fleet).await;
        fleet.end().await;
    });
}

#[test]
fn stripes_dispute_goes_through_every_state_and_may_be_overturned() {
    told(async |fleet| {
        let inquiry = StripeDispute { due: Some(86_400), ..StripeDispute::new("1", "1") };
        let formal = StripeDispute { due: Some(9 * 86_400), ..inquiry };
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        fleet.check("a", "- | - | 1050 / 0 / 0", &[]).await;

        fleet.tell("stripe", &inquiry.event("charge.dispute.created", "warning_needs_response", 0)).await;
        let held = "du_1 warning | checkout by du_1 | 0 / 1050 / 0";
        fleet.check("a", held, &["dispute.opened du_1", "account.restricted"]).await;
        // Answered: nothing is due any more.
        fleet.tell("stripe", &inquiry.says("warning_under_review", 10)).await;
        fleet.check("a", held, &["dispute.updated du_1"]).await;
        // The same object is filed for good, with another deadline.
        fleet.tell("stripe", &formal.says("needs_response", 20)).await;
        let open = format!("du_1 open | {} | 0 / 0 / 0", all_by("du_1"));
        fleet.check("a", &open, &["dispute.updated du_1", "account.restricted"]).await;
        let due = "select to_char(evidence_due_by at time zone 'UTC', 'YYYY-MM-DD') from disputes";
        assert_eq!(fleet.site.texts(due).await, ["2026-12-04"]);
        fleet.tell("stripe", &formal.event("charge.dispute.funds_withdrawn", "needs_response", 21)).await;
        fleet.check("a", &open, &[]).await;
        // Smart Disputes answers without us.
        fleet.tell("stripe", &formal.says("under_review", 30)).await;
        fleet
            .check(
                "a",
                &format!("du_1 under_review | {} | 0 / 0 / 0", all_by("du_1")),
                &["dispute.updated du_1"],
            )
            .await;
        fleet.tell("stripe", &formal.event("charge.dispute.closed", "lost", 40)).await;
        fleet.check("a", "du_1 lost | - | 0 / 0 / 0", &["dispute.lost du_1", "account.restored"]).await;
        // Money is given back on lost cases, too: the object still says lost.
        fleet.tell("stripe", &formal.event("charge.dispute.funds_reinstated", "lost", 41)).await;
        fleet.check("a", "du_1 lost | - | 0 / 0 / 0", &[]).await;
        fleet.tell("stripe", &formal.says("won", 50)).await;
        fleet.check("a", "du_1 won | - | 1050 / 0 / 0", &["dispute.won du_1"]).await;
        // Told again, late: it changes nothing.
        fleet.tell("stripe", &inquiry.event("charge.dispute.created", "warning_needs_response", 1)).await;
        fleet.check("a", "du_1 won | - | 1050 / 0 / 0", &[]).await;
        // And back again.
        fleet.tell("stripe", &formal.says("needs_response", 60)).await;
        let reopened = format!("du_1 reopened | {} | 0 / 0 / 0", all_by("du_1"));
        fleet.check("a", &reopened, &["dispute.updated du_1", "account.restricted"]).await;
        fleet.tell("stripe", &formal.says("lost", 70)).await;
        fleet.check("a", "du_1 lost | - | 0 / 0 / 0", &["dispute.lost du_1", "account.restored"]).await;
    });
}

#[test]
fn stripes_disputes_that_begin_at_their_end() {
    told(async |fleet| {
        for number in ["1", "2", "3", "4", "5"] {
            fleet.tell("stripe", &stripe_purchase(number, &format!("a{number}"))).await;
        }
        let at = |number| StripeDispute::new(number, number);
        // Lost when it is first heard of.
        fleet.tell("stripe", &at("1").event("charge.dispute.created", "lost", 0)).await;
        fleet.check("a1", "du_1 lost | - | 0 / 0 / 0", &["dispute.opened du_1", "dispute.lost du_1"]).await;
        // Closed before it was created.
        fleet.tell("stripe", &at("2").event("charge.dispute.closed", "won", 10)).await;
        fleet.check("a2", "du_2 won | - | 1050 / 0 / 0", &["dispute.opened du_2", "dispute.won du_2"]).await;
        fleet.tell("stripe", &at("2").event("charge.dispute.created", "needs_response", 0)).await;
        fleet.check("a2", "du_2 won | - | 1050 / 0 / 0", &[]).await;
        // An inquiry that comes to nothing.
        fleet.tell("stripe", &at("3").says("warning_needs_response", 0)).await;
        fleet.tell("stripe", &at("3").event("charge.dispute.closed", "warning_closed", 10)).await;
        let kinds = ["dispute.opened du_3", "account.restricted", "dispute.updated du_3", "account.restored"];
        fleet.check("a3", "du_3 prevented | - | 1050 / 0 / 0", &kinds).await;
        // Stopped before it was filed.
        fleet.tell("stripe", &at("4").event("charge.dispute.created", "prevented", 0)).await;
        fleet.check("a4", "du_4 prevented | - | 1050 / 0 / 0", &["dispute.opened du_4"]).await;
        // Ended by a refund, whose money is a movement of its own.
        fleet.tell("stripe", &at("5").says("needs_response", 0)).await;
        fleet.tell("stripe", &at("5").says("charge_refunded", 10)).await;
        let kinds = ["dispute.opened du_5", "account.restricted", "dispute.updated du_5", "account.restored"];
        fleet.check("a5", "du_5 prevented | - | 1050 / 0 / 0", &kinds).await;
    });
}

#[test]
fn two_disputes_on_one_charge_restrict_until_the_last_has_ended() {
    told(async |fleet| {
        let half = |number| StripeDispute { amount: 600, ..StripeDispute::new(number, "1") };
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        fleet.tell("stripe", &half("1").says("needs_response", 0)).await;
        let first = format!("du_1 open | {} | 525 / 0 / 0", all_by("du_1"));
        fleet.check("a", &first, &["dispute.opened du_1", "account.restricted"]).await;
        fleet.tell("stripe", &half("2").says("warning_needs_response", 10)).await;
        let both = "du_1 open, du_2 warning | access by du_1, balance by du_1, checkout by du_1, checkout by du_2 | 0 / 525 / 0";
        fleet.check("a", both, &["dispute.opened du_2", "account.restricted"]).await;
        fleet.tell("stripe", &half("1").says("won", 20)).await;
        fleet
            .check(
                "a",
                "du_1 won, du_2 warning | checkout by du_2 | 525 / 525 / 0",
                &["dispute.won du_1", "account.restored"],
            )
            .await;
        fleet.tell("stripe", &half("2").says("lost", 30)).await;
        fleet
            .check("a", "du_1 won, du_2 lost | - | 525 / 0 / 0", &["dispute.lost du_2", "account.restored"])
            .await;
    });
}

#[test]
fn two_disputes_on_two_payments_one_won_first_one_lost() {
    told(async |fleet| {
        for number in ["1", "2"] {
            fleet.tell("stripe", &stripe_purchase(number, "a")).await;
        }
        fleet.check("a", "- | - | 2100 / 0 / 0", &[]).await;
        let (one, other) = (StripeDispute::new("1", "1"), StripeDispute::new("2", "2"));
        fleet.tell("stripe", &one.says("needs_response", 0)).await;
        fleet.tell("stripe", &other.says("needs_response", 1)).await;
        let both = "du_1 open, du_2 open | access by du_1, access by du_2, balance by du_1, balance by du_2, checkout by du_1, checkout by du_2 | 0 / 0 / 0";
        let opened =
            ["dispute.opened du_1", "account.restricted", "dispute.opened du_2", "account.restricted"];
        fleet.check("a", both, &opened).await;
        fleet.tell("stripe", &one.says("won", 10)).await;
        let still = format!("du_1 won, du_2 open | {} | 1050 / 0 / 0", all_by("du_2"));
        fleet.check("a", &still, &["dispute.won du_1", "account.restored"]).await;
        fleet.tell("stripe", &other.says("lost", 20)).await;
        fleet
            .check("a", "du_1 won, du_2 lost | - | 1050 / 0 / 0", &["dispute.lost du_2", "account.restored"])
            .await;
    });
}

#[test]
fn an_early_warning_joins_the_dispute_that_follows_and_one_that_was_there() {
    told(async |fleet| {
        for number in ["1", "2"] {
            fleet.tell("stripe", &stripe_purchase(number, &format!("a{number}"))).await;
        }
        fleet.tell("stripe", &early_fraud_warning("1", "1", -100)).await;
        let warned = "issfr_1 warning | checkout by issfr_1 | 1050 / 0 / 0";
        fleet.check("a1", warned, &["dispute.opened issfr_1", "account.restricted"]).await;
        fleet.tell("stripe", &StripeDispute::new("1", "1").says("needs_response", 0)).await;
        let taken_over = format!("du_1 open, issfr_1 warning | {} | 0 / 0 / 0", all_by("du_1"));
        let joined = ["dispute.opened du_1", "dispute.updated issfr_1", "account.restricted"];
        fleet.check("a1", &taken_over, &joined).await;
        let joins = "select data ->> 'joined' from events where type = 'dispute.updated' and data ->> 'dispute' = 'stripe:issfr_1'";
        assert_eq!(fleet.site.texts(joins).await, ["stripe:du_1"]);
        fleet.tell("stripe", &StripeDispute::new("1", "1").says("won", 10)).await;
        let won = ["dispute.won du_1", "account.restored"];
        fleet.check("a1", "du_1 won, issfr_1 warning | - | 1050 / 0 / 0", &won).await;

        fleet.tell("stripe", &StripeDispute::new("2", "2").says("needs_response", 0)).await;
        fleet.tell("stripe", &early_fraud_warning("2", "2", 10)).await;
        let both = format!("du_2 open, issfr_2 warning | {} | 0 / 0 / 0", all_by("du_2"));
        let opened = ["dispute.opened du_2", "account.restricted", "dispute.opened issfr_2"];
        fleet.check("a2", &both, &opened).await;
    });
}

#[test]
fn paddles_case_goes_round() {
    told(async |fleet| {
        let says = |action, made, status, said| paddle_adjustment("1", action, made, status, said);
        fleet.tell("paddle", &paddle_purchase("1", "a")).await;
        fleet.check("a", "- | - | 1050 / 0 / 0", &[]).await;
        // Unlike Stripe's, a warning has given the money back already.
        fleet.tell("paddle", &says("chargeback_warning", 1, "approved", 1)).await;
        let warned = "txn_1 warning | checkout by txn_1 | 0 / 0 / 0";
        fleet.check("a", warned, &["dispute.opened txn_1", "account.restricted"]).await;
        fleet.tell("paddle", &says("chargeback_warning_reverse", 2, "approved", 2)).await;
        let calm = ["dispute.updated txn_1", "account.restored"];
        fleet.check("a", "txn_1 prevented | - | 1050 / 0 / 0", &calm).await;
        // It is filed all the same.
        fleet.tell("paddle", &says("chargeback", 3, "approved", 3)).await;
        let filed = format!("txn_1 reopened | {} | 0 / 0 / 0", all_by("txn_1"));
        fleet.check("a", &filed, &["dispute.updated txn_1", "account.restricted"]).await;
        fleet.tell("paddle", &says("chargeback_reverse", 4, "approved", 4)).await;
        let won = ["dispute.won txn_1", "account.restored"];
        fleet.check("a", "txn_1 won | - | 1050 / 0 / 0", &won).await;
        // News of the chargeback that was reversed opens nothing.
        fleet.tell("paddle", &says("chargeback", 3, "reversed", 5)).await;
        fleet.check("a", "txn_1 won | - | 1050 / 0 / 0", &[]).await;
        fleet.tell("paddle", &says("chargeback", 6, "approved", 6)).await;
        fleet.check("a", &filed, &["dispute.updated txn_1", "account.restricted"]).await;
        // The first round is told once more, later still.
        fleet.tell("paddle", &says("chargeback_warning", 1, "reversed", 7)).await;
        fleet.check("a", &filed, &[]).await;

        // A warning, and then a chargeback of the same transaction.
        fleet.tell("paddle", &paddle_purchase("2", "b")).await;
        let says = |action, made| paddle_adjustment("2", action, made, "approved", made);
        fleet.tell("paddle", &says("chargeback_warning", 1)).await;
        fleet.tell("paddle", &says("chargeback", 2)).await;
        let open = format!("txn_2 open | {} | 0 / 0 / 0", all_by("txn_2"));
        let opened =
            ["dispute.opened txn_2", "account.restricted", "dispute.updated txn_2", "account.restricted"];
        fleet.check("b", &open, &opened).await;
    });
}

#[test]
fn a_dispute_that_comes_before_its_payment_waits_and_is_taken_up() {
    told(async |fleet| {
        fleet.tell("stripe", &StripeDispute::new("1", "1").says("needs_response", 0)).await;
        fleet.tell("stripe", &early_fraud_warning("1", "1", 10)).await;
        let outcomes = "select distinct outcome from outcomes where reader = 'disputes'";
        assert_eq!(fleet.site.texts(outcomes).await, ["waiting"]);
        assert_eq!(fleet.site.number("select count(*) from events").await, 0);
        fleet.check("a", "- | - | none", &[]).await;
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        let open = format!("du_1 open, issfr_1 warning | {} | 0 / 0 / 0", all_by("du_1"));
        fleet.until("a", &open).await;
        let told = ["dispute.opened du_1", "account.restricted", "dispute.opened issfr_1"];
        fleet.check("a", &open, &told).await;
        fleet.tell("paddle", &paddle_adjustment("1", "chargeback", 1, "approved", 1)).await;
        fleet.tell("paddle", &paddle_purchase("1", "b")).await;
        fleet.until("b", &format!("txn_1 open | {} | 0 / 0 / 0", all_by("txn_1"))).await;
    });
}

#[test]
fn a_payment_whose_account_is_only_claimed_restricts_nobody() {
    told_where("[accounts]\nlink_secret = \"0123456789abcdef0123456789abcdef\"\n", async |fleet| {
        for number in ["1", "2", "3"] {
            fleet.tell("paddle", &paddle_purchase(number, "a")).await;
            fleet.tell("paddle", &paddle_adjustment(number, "chargeback", 1, "approved", 1)).await;
        }
        // Three would fulfil the rule of risk.
        let kinds = ["dispute.opened txn_1", "dispute.opened txn_2", "dispute.opened txn_3"];
        fleet.check("a", "txn_1 open, txn_2 open, txn_3 open | - | 0 / 0 / 0", &kinds).await;
        assert_eq!(fleet.site.number("select count(*) from disputes where is_claimed").await, 3);
        // The platform's server vouches for what it states itself.
        fleet.tell("stripe", &stripe_purchase("9", "a")).await;
        fleet.tell("stripe", &StripeDispute::new("9", "9").says("needs_response", 0)).await;
        let restricted = format!("txn_1 open, txn_2 open, txn_3 open | {}", all_by("du_9"));
        let stands = super::stands(&fleet.site, "a").await;
        assert!(stands.contains(&all_by("du_9")) && !stands.contains("risk"), "{stands}: {restricted}");
    });
}

#[test]
fn what_an_operator_has_lifted_stays_lifted_until_another_stage_or_round() {
    use RestrictionAct::{Restore, Restrict};
    use RestrictionKind::{Access, Checkout};
    told(async |fleet| {
        let case = StripeDispute::new("1", "1");
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        fleet.tell("stripe", &case.says("warning_needs_response", 0)).await;
        fleet
            .check(
                "a",
                "du_1 warning | checkout by du_1 | 0 / 1050 / 0",
                &["dispute.opened du_1", "account.restricted"],
            )
            .await;
        fleet.operator(Restore, "a", Checkout).await;
        fleet.check("a", "du_1 warning | - | 0 / 1050 / 0", &["account.restored"]).await;
        // A repeat of the same stage.
        fleet.tell("stripe", &case.says("warning_under_review", 5)).await;
        fleet.check("a", "du_1 warning | - | 0 / 1050 / 0", &[]).await;
        // Another stage.
        fleet.tell("stripe", &case.says("needs_response", 10)).await;
        let open = format!("du_1 open | {} | 0 / 0 / 0", all_by("du_1"));
        fleet.check("a", &open, &["dispute.updated du_1", "account.restricted"]).await;
        fleet.operator(Restore, "a", Access).await;
        let lifted = "du_1 open | balance by du_1, checkout by du_1 | 0 / 0 / 0";
        fleet.check("a", lifted, &["account.restored"]).await;
        fleet.tell("stripe", &case.says("under_review", 20)).await;
        let lifted = "du_1 under_review | balance by du_1, checkout by du_1 | 0 / 0 / 0";
        fleet.check("a", lifted, &["dispute.updated du_1"]).await;
        // An operator's own stands beside, and ends by an operator's word alone.
        fleet.operator(Restrict, "a", Checkout).await;
        fleet.tell("stripe", &case.says("won", 30)).await;
        let own = "du_1 won | checkout by ada | 1050 / 0 / 0";
        fleet.check("a", own, &["account.restricted", "dispute.won du_1", "account.restored"]).await;
        // Another round.
        fleet.tell("stripe", &case.says("needs_response", 40)).await;
        let again =
            "du_1 reopened | access by du_1, balance by du_1, checkout by du_1, checkout by ada | 0 / 0 / 0";
        fleet.check("a", again, &["dispute.updated du_1", "account.restricted"]).await;
        fleet.operator(Restore, "a", Checkout).await;
        let freed = "du_1 reopened | access by du_1, balance by du_1 | 0 / 0 / 0";
        fleet.check("a", freed, &["account.restored"]).await;
        // What is lifted already is nothing new.
        fleet.operator(Restore, "a", Checkout).await;
        fleet.check("a", freed, &[]).await;
    });
}

#[test]
fn many_disputes_of_an_account_limit_it_until_that_is_lifted() {
    told(async |fleet| {
        for number in ["1", "2", "3", "4"] {
            fleet.tell("stripe", &stripe_purchase(number, "a")).await;
        }
        for number in ["1", "2"] {
            let case = StripeDispute::new(number, number);
            fleet.tell("stripe", &case.says("needs_response", 0)).await;
            fleet.tell("stripe", &case.says("won", 10)).await;
        }
        let told = ["dispute.opened", "account.restricted", "dispute.won", "account.restored"];
        let name = |number: u8| {
            told.map(|kind| match kind.starts_with("dispute") {
                true => format!("{kind} du_{number}"),
                false => kind.to_owned(),
            })
        };
        let two: Vec<String> = name(1).into_iter().chain(name(2)).collect();
        let two: Vec<&str> = two.iter().map(String::as_str).collect();
        fleet.check("a", "du_1 won, du_2 won | - | 4200 / 0 / 0", &two).await;
        let third = StripeDispute::new("3", "3");
        fleet.tell("stripe", &third.says("needs_response", 20)).await;
        fleet.tell("stripe", &third.says("won", 30)).await;
        let limited = "du_1 won, du_2 won, du_3 won | checkout by risk | 4200 / 0 / 0";
        let kinds = name(3);
        fleet.check("a", limited, &kinds.each_ref().map(String::as_str)).await;
        fleet.operator(RestrictionAct::Restore, "a", RestrictionKind::Checkout).await;
        fleet.check("a", "du_1 won, du_2 won, du_3 won | - | 4200 / 0 / 0", &["account.restored"]).await;
        // Nothing new: it stays lifted.
        fleet.tell("stripe", &third.says("won", 40)).await;
        fleet.check("a", "du_1 won, du_2 won, du_3 won | - | 4200 / 0 / 0", &[]).await;
        // One more does it again.
        fleet.tell("stripe", &StripeDispute::new("4", "4").says("warning_needs_response", 50)).await;
        let again = "du_1 won, du_2 won, du_3 won, du_4 warning | checkout by du_4, checkout by risk | 3150 / 1050 / 0";
        fleet.check("a", again, &["dispute.opened du_4", "account.restricted"]).await;
    });
}
