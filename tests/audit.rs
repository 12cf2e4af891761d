//! What operators did stands in one list, whatever place it was written down in, and stays there.

use crate::binary::json_of;
use crate::dead_letters::{Dead, bury};
use crate::dlq::Deployment;
use db::Work;
use domain::fact::ERASED;
use facts::audit::{self, ActSubject, OperatorAct};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use testkit::facts::{account_id, envelope, grant};
use testkit::{Bursar, Settings, Site, run};
use time::{Duration, OffsetDateTime};

const OPEN: &str = "select count(*) from dead_letters where state = 'open'";

/// What nobody did: retention deletes and erases by age.
const BY_AGE: &str = "
    insert into dead_letter_audit (at, by, action, letters) values (now(), 'retention', 'purge', 3);
    insert into erasures (at, by, about, facts, bodies, letters) values (now(), 'retention', 'retention', 1, 1, 0)";

const HAND_OVER: &str = "
    insert into hand_overs (hand_over, kind, reader, began_at, by, facts)
    values ('019123aa-0000-7000-8000-00000000000a', 'fact.dispute', 'disputes', now(), 'ada', 2)";

async fn sql(site: &Site, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&site.pool).await.unwrap();
}

/// A note on a case, as a worker writes it down.
async fn note(site: &Site, by: &str, case: &str, account: &str) -> Result<(), db::Error> {
    let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
    let account = account_id(account);
    let act = OperatorAct {
        by,
        worker: "disputes",
        act: "note",
        subject: ActSubject::new("case", case),
        account: Some(&account),
        reason: Some("the bank called"),
        details: Some(json!({ "stage": "inquiry" })),
    };
    audit::write(&mut work, act).await?;
    work.commit().await
}

async fn acts(site: &Site, settings: &Settings, filter: &[&str]) -> Vec<Value> {
    let (output, said) = json_of(site, settings, &[&["audit", "--json"], filter].concat()).await;
    assert!(output.status.success(), "{filter:?}");
    said["acts"].as_array().unwrap().clone()
}

/// By whom, what, and about what.
fn told(acts: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line =
        |act: &Value| format!("{} {} {}", word(&act["by"]), word(&act["act"]), word(&act["about"]["id"]));
    acts.iter().map(line).collect()
}

/// One act in each place; returns the letter that one was about. The grant's reason is erased at the end.
async fn act_everywhere(site: &Site, deployment: &Deployment) -> String {
    let settings = deployment.settings();
    bury(site, [Dead::of(&envelope("shop/g_1", grant("acct_1", 5)))]).await;
    site.until(OPEN, 1).await;
    let letter = site.texts("select letter::text from dead_letters").await.remove(0);
    for arguments in [
        &["grant", "acct_1", "100", "--reason", "welcome", "--by", "ada", "--id", "g1"][..],
        &["dlq", "discard", &letter, "--expect", "1", "--reason", "a test", "--by", "eve"],
        &["account", "forget", "acct_1", "--reason", "asked to", "--by", "ada"],
    ] {
        let (output, said) = json_of(site, &settings, &[arguments, &["--json"]].concat()).await;
        assert!(output.status.success(), "{arguments:?}: {said}");
    }
    sql(site, HAND_OVER).await;
    note(site, "eve", "dp_1", "acct_1").await.unwrap();
    sql(site, BY_AGE).await;
    letter
}

#[test]
fn acts_of_every_place_are_in_one_list_in_order_of_time() {
    run(async |site| {
        let deployment = Deployment::with("");
        let settings = deployment.settings();
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        let began = OffsetDateTime::now_utc();
        let letter = act_everywhere(&site, &deployment).await;
        let all = acts(&site, &settings, &[]).await;
        let expect = [
            "eve note dp_1".to_owned(),
            "ada hand_over fact.dispute".to_owned(),
            format!("ada erase {letter}"),
            "ada erase acct_1".to_owned(),
            format!("eve discard {letter}"),
            "ada fact.grant acct_1".to_owned(),
        ];
        assert_eq!(told(&all), expect);
        let of = |field: &str| -> Vec<Value> { all.iter().map(|act| act[field].clone()).collect() };
        assert_eq!(
            of("worker"),
            [
                json!("disputes"),
                json!("disputes"),
                json!("dead-letters"),
                json!("gate"),
                json!("dead-letters"),
                Value::Null
            ]
        );
        assert_eq!(
            of("account"),
            [
                json!("acct_1"),
                Value::Null,
                json!("acct_1"),
                json!("acct_1"),
                json!("acct_1"),
                json!("acct_1")
            ]
        );
        assert_eq!(
            of("reason"),
            [
                json!("the bank called"),
                Value::Null,
                Value::Null,
                json!("asked to"),
                json!("a test"),
                json!(ERASED)
            ]
        );
        assert_eq!((&all[5]["outcome"], &all[5]["fact"]), (&json!("applied"), &json!("operator/ada/g1")));
        assert_eq!(all[5]["what"], "grant 100 promotional");
        assert_eq!(all[0]["details"], json!({ "stage": "inquiry" }));

        let check = async |filter: &[&str], places: &[usize]| {
            let expect: Vec<&String> = places.iter().map(|place| &expect[*place]).collect();
            assert_eq!(
                told(&acts(&site, &settings, filter).await).iter().collect::<Vec<_>>(),
                expect,
                "{filter:?}"
            );
        };
        check(&["--limit", "2"], &[0, 1]).await;
        check(&["--by", "eve"], &[0, 4]).await;
        check(&["--by", "ada", "--limit", "3"], &[1, 2, 3]).await;
        check(&["--by", "nobody"], &[]).await;
        check(&["--account", "acct_1"], &[0, 2, 3, 4, 5]).await;
        check(&["--account", "acct_2"], &[]).await;
        check(&["--about", "dp_1"], &[0]).await;
        check(&["--about", &letter], &[2, 4]).await;
        check(&["--about", "acct_1"], &[2, 3, 5]).await;
        check(&["--about", "operator/ada/g1"], &[5]).await;
        check(&["--about", "fact.dispute", "--by", "ada"], &[1]).await;
        check(&["--about", "dp_1", "--account", "acct_2"], &[]).await;
        let at = |act: usize| all[act]["at"].as_str().unwrap();
        check(&["--since", at(4)], &[0, 1, 2, 3, 4]).await;
        check(&["--until", at(4)], &[5]).await;
        check(&["--since", at(4), "--until", at(1)], &[2, 3, 4]).await;
        let before =
            (began - Duration::hours(1)).format(&time::format_description::well_known::Rfc3339).unwrap();
        check(&["--until", &before], &[]).await;
        fleet.terminate().await;
    });
}

#[test]
fn the_list_is_a_line_for_each_act_and_says_how_to_see_more() {
    run(async |site| {
        let deployment = Deployment::with("");
        let settings = deployment.settings();
        let text = async |arguments: &[&str]| {
            let output = Bursar::run(&site, &settings, &[&["audit"], arguments].concat()).await;
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(text(&[]).await, "No acts here.\n");
        note(&site, "eve", "dp_1", "acct_1").await.unwrap();
        note(&site, "ada", "dp_2", "acct_1").await.unwrap();
        let said = text(&[]).await;
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{said}");
        for (line, part) in [
            (lines[2], "ada"),
            (lines[2], "disputes: note"),
            (lines[2], "case dp_2"),
            (lines[3], "case dp_1"),
        ] {
            assert!(line.contains(part), "{part}: {said}");
        }
        assert!(text(&["--limit", "2"]).await.ends_with("There may be more: --limit 20\n"));
    });
}

#[test]
fn an_act_is_somebodys_and_is_undone_with_the_transaction_it_was_done_in() {
    run(async |site| {
        assert!(note(&site, "", "dp_1", "acct_1").await.is_err(), "nobody acts as nobody");
        let mut work = Work::new(site.pool.clone(), OffsetDateTime::now_utc());
        let act = OperatorAct {
            by: "ada",
            worker: "jobs",
            act: "declare_failed",
            subject: ActSubject::new("job", "refund re_1"),
            account: None,
            reason: None,
            details: None,
        };
        audit::write(&mut work, act).await.unwrap();
        work.abandon().await;
        assert_eq!(site.number("select count(*) from audit").await, 0);
    });
}
