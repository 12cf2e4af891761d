//! `ledger rebuild --compare` makes cases and restrictions anew from the facts that were settled, and names what was altered by hand.

use super::payloads::{
    StripeDispute, early_fraud_warning, paddle_adjustment, paddle_purchase, stripe_purchase,
};
use super::{Fleet, stands};
use crate::binary::json_of;
use domain::fact::{RestrictionAct, RestrictionKind};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use testkit::{Bursar, run_within};

async fn rebuilt(fleet: &Fleet) -> (bool, Value) {
    let arguments = ["ledger", "rebuild", "--compare", "--json"];
    let (output, report) = json_of(&fleet.site, &fleet.settings, &arguments).await;
    (output.status.success(), report)
}

/// The subjects of what differs in the tables of disputes.
fn different(report: &Value, name: &str) -> Vec<String> {
    let compared = report["others"][0]["compared"].as_array().unwrap();
    let of = compared.iter().find(|compared| compared["name"] == name).unwrap();
    let first = of["first"].as_array().unwrap();
    assert_eq!(of["count"], json!(first.len()));
    first.iter().map(|one| one["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn cases_and_restrictions_are_rebuilt_and_what_was_altered_by_hand_is_named() {
    run_within(Duration::from_secs(240), async |site| {
        let mut fleet = Fleet::open(&site).await;
        let case = StripeDispute { due: Some(9 * 86_400), ..StripeDispute::new("1", "1") };
        // A case that waited and was taken up, before an operator lifted what it put on.
        fleet.tell("stripe", &case.says("warning_needs_response", 0)).await;
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        fleet.until("a", "du_1 warning | checkout by du_1 | 0 / 1050 / 0").await;
        fleet.operator(RestrictionAct::Restore, "a", RestrictionKind::Checkout).await;
        fleet.tell("stripe", &case.says("warning_needs_response", 5)).await;
        assert_eq!(stands(&site, "a").await, "du_1 warning | - | 0 / 1050 / 0");
        fleet.tell("stripe", &stripe_purchase("2", "b")).await;
        fleet.tell("stripe", &early_fraud_warning("2", "2", 0)).await;
        fleet.tell("stripe", &StripeDispute::new("2", "2").says("needs_response", 10)).await;
        fleet.tell("paddle", &paddle_purchase("3", "c")).await;
        fleet.tell("paddle", &paddle_adjustment("3", "chargeback", 1, "approved", 1)).await;
        fleet.tell("paddle", &paddle_adjustment("3", "chargeback_reverse", 2, "approved", 2)).await;
        fleet.operator(RestrictionAct::Restrict, "c", RestrictionKind::Access).await;
        // One that still waits.
        fleet.tell("stripe", &StripeDispute::new("9", "9").says("lost", 0)).await;

        let (is_same, report) = rebuilt(&fleet).await;
        assert!(is_same && report["is_reproduced"] == json!(true), "{report:#}");
        assert_eq!(report["others"][0]["reader"], "disputes");
        assert_eq!(report["others"][0]["facts"], json!(9), "{report:#}");
        let text = Bursar::run(&site, &fleet.settings, &["ledger", "rebuild", "--compare"]).await;
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains("9 facts of disputes: the same disputes and restrictions."), "{text}");

        let none: [&str; 0] = [];
        let stands_still = "a: checkout by case stripe:du_1, warning";
        for (statement, cases, restrictions) in [
            (
                "update disputes set state = 'won' where dispute = 'stripe:du_1'",
                &["stripe:du_1"][..],
                &none[..],
            ),
            ("update disputes set amount = 1 where dispute = 'stripe:du_2'", &["stripe:du_2"], &none),
            ("update disputes set account = 'a' where dispute = 'stripe:du_9'", &["stripe:du_9"], &none),
            (
                "update disputes set evidence_due_by = now() where dispute = 'stripe:du_1'",
                &["stripe:du_1"],
                &none,
            ),
            (
                "update restrictions set ended_at = null, lifted_by = null where account = 'a'",
                &none,
                &[stands_still],
            ),
            (
                "update restrictions set ended_at = now() where account = 'b' and kind = 'access'",
                &none,
                &["b: access by case stripe:du_2, formal"],
            ),
            ("delete from disputes where dispute = 'paddle:txn_3'", &["paddle:txn_3"], &none),
        ] {
            let keep = "create table disputes_kept as table disputes; create table restrictions_kept as table restrictions";
            let restore = "delete from disputes; insert into disputes select * from disputes_kept; drop table disputes_kept;
                           delete from restrictions; insert into restrictions select * from restrictions_kept;
                           drop table restrictions_kept";
            for statement in [keep, statement] {
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&site.owner).await.unwrap();
            }
            let (is_same, report) = rebuilt(&fleet).await;
            sqlx::raw_sql(restore).execute(&site.owner).await.unwrap();
            assert!(!is_same && report["is_reproduced"] == json!(false), "{statement}: {report:#}");
            assert_eq!(different(&report, "disputes"), cases, "{statement}");
            assert_eq!(different(&report, "restrictions"), restrictions, "{statement}");
        }
        assert!(rebuilt(&fleet).await.0);
        fleet.end().await;
    });
}
