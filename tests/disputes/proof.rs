//! `ledger verify` of disputes: each check finds the corruption that it is there for and names who is wrong, and finds nothing where
//! nothing is.

use super::payloads::{StripeDispute, early_fraud_warning, stripe_purchase};
use super::{Fleet, report};
use domain::fact::{RestrictionAct, RestrictionKind};
use sqlx::AssertSqlSafe;
use std::time::Duration;
use testkit::{Site, run_within};

const CHECKS: [&str; 3] = ["disputes_read", "disputes_recorded", "standing_caused"];

/// The checks of disputes that fail, each with the first culprit.
async fn failed(site: &Site) -> Vec<(&'static str, String)> {
    let checks = report(site).await.checks;
    let of_disputes = checks.into_iter().filter(|check| CHECKS.contains(&check.name) && !check.ok);
    of_disputes.map(|check| (check.name, check.failed[0].subject.clone())).collect()
}

#[test]
fn every_corruption_of_disputes_is_found_and_its_culprit_named() {
    run_within(Duration::from_secs(240), async |site| {
        let mut fleet = Fleet::open(&site).await;
        let case = StripeDispute { due: Some(9 * 86_400), ..StripeDispute::new("1", "1") };
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        fleet.tell("stripe", &stripe_purchase("2", "b")).await;
        fleet.tell("stripe", &early_fraud_warning("1", "1", -10)).await;
        fleet.tell("stripe", &case.says("warning_needs_response", 0)).await;
        fleet.tell("stripe", &case.says("needs_response", 10)).await;
        fleet.tell("stripe", &StripeDispute::new("2", "2").says("lost", 10)).await;
        fleet.operator(RestrictionAct::Restrict, "b", RestrictionKind::Access).await;
        assert!(fleet.bursar.terminate().await.success());

        let report = report(&site).await;
        assert!(report.ok, "{report:#?}");
        let checked = |name| report.checks.iter().find(|check| check.name == name).unwrap().checked;
        assert_eq!(CHECKS.map(checked), [3, 4, 4], "disputes, facts, restrictions that stand");

        let (read, recorded, caused) = ("disputes_read", "disputes_recorded", "standing_caused");
        let of = |column: &str| format!("update disputes set {column} where dispute = 'stripe:du_1'");
        // What is done, and which checks name whom.
        let corruptions: Vec<(String, Vec<(&str, &str)>)> = vec![
            (of("state = 'under_review'"), vec![(read, "stripe:du_1")]),
            // No case that is won restricts anybody.
            (of("state = 'won'"), vec![(read, "stripe:du_1"), (caused, "a")]),
            (of("reopened = 1"), vec![(read, "stripe:du_1")]),
            (of("illegal_steps = 3"), vec![(read, "stripe:du_1")]),
            (of("amount = amount + 1"), vec![(read, "stripe:du_1")]),
            (of("evidence_due_by = evidence_due_by + interval '1 day'"), vec![(read, "stripe:du_1")]),
            (of("evidence_due_by = null"), vec![(read, "stripe:du_1")]),
            (of("heard_at = heard_at - interval '1 second'"), vec![(read, "stripe:du_1")]),
            (of("opened_at = opened_at - interval '1 second'"), vec![(read, "stripe:du_1")]),
            (of("payment_ids = array['stripe:pi_2']"), vec![(read, "stripe:du_1")]),
            (of("account = 'b'"), vec![(caused, "a")]),
            (of("is_claimed = true"), vec![(caused, "a")]),
            // A fact is taken out of a record, and put into that of another.
            (
                "update disputes set record = '{\"observations\":{}}', state = null, payment_ids = '{}', amount = null, currency = null
                 where dispute = 'stripe:du_2'"
                    .to_owned(),
                vec![(read, "stripe:du_2"), (recorded, "stripe/evt_2_lost_10:dispute:du_2")],
            ),
            (
                "update disputes d set record = json_build_object('observations',
                     (select json_object_agg(key, value) from (
                          select * from json_each(d.record -> 'observations')
                          union all select 'stripe/evt_forged', value from json_each(d.record -> 'observations')) o))
                 where dispute = 'stripe:du_2'"
                    .to_owned(),
                vec![(recorded, "stripe/evt_forged")],
            ),
            (
                "alter table outcomes disable trigger user;
                 delete from outcomes where reader = 'disputes' and id = 'evt_2_lost_10:dispute:du_2';
                 alter table outcomes enable trigger user"
                    .to_owned(),
                vec![(recorded, "stripe/evt_2_lost_10:dispute:du_2")],
            ),
            // The account is let go, in whatever way.
            (
                "delete from restrictions where account = 'a' and kind = 'access'".to_owned(),
                vec![(caused, "a")],
            ),
            ("delete from restrictions".to_owned(), vec![(caused, "a")]),
            (
                "update restrictions set ended_at = now() where account = 'a' and kind = 'balance'".to_owned(),
                vec![(caused, "a")],
            ),
            // Or restricted by nobody.
            (
                "insert into restrictions (account, kind, cause_kind, cause, stage, since)
                 values ('b', 'balance', 'case', 'stripe:du_2', 'formal', now())"
                    .to_owned(),
                vec![(caused, "b")],
            ),
            (
                "insert into restrictions (account, kind, cause_kind, cause, stage, since)
                 values ('b', 'balance', 'case', 'stripe:du_9', 'formal', now())"
                    .to_owned(),
                vec![(caused, "b")],
            ),
            (
                "insert into restrictions (account, kind, cause_kind, cause, stage, since)
                 values ('c', 'checkout', 'risk_rule', 'disputes', 'stripe:du_1', now())"
                    .to_owned(),
                vec![(caused, "c")],
            ),
            (
                "update restrictions set cause = 'eve' where cause_kind = 'operator'".to_owned(),
                vec![(caused, "b")],
            ),
        ];
        for (statement, expect) in corruptions {
            // Kept until it was looked at, and made good from a copy.
            for statement in [
                "create table disputes_kept as table disputes; create table restrictions_kept as table restrictions;
                 create table outcomes_kept as select * from outcomes where reader = 'disputes'",
                &statement,
            ] {
                sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&site.owner).await.unwrap();
            }
            let found = failed(&site).await;
            let found: Vec<(&str, &str)> = found.iter().map(|(check, who)| (*check, who.as_str())).collect();
            assert_eq!(found, expect, "{statement}");
            let restore = "delete from disputes; insert into disputes select * from disputes_kept; drop table disputes_kept;
                           delete from restrictions; insert into restrictions select * from restrictions_kept;
                           drop table restrictions_kept;
                           insert into outcomes overriding system value select * from outcomes_kept on conflict do nothing;
                           drop table outcomes_kept";
            sqlx::raw_sql(restore).execute(&site.owner).await.unwrap();
        }
        assert_eq!(failed(&site).await, []);
    });
}
