//! What a person may have erased is erased from dead letters, too, and a letter that is still needed is not emptied.

use crate::binary::{json_of, settings};
use crate::dlq_edit::{dispute_too_long, document, edit, editing, the_open_letter};
use bus::exchange;
use serde_json::json;
use testkit::{Bursar, run};

/// Letters that still say something of somebody; a cause without digits stands for a name that an attempt quotes.
const QUOTING: &str = "select count(*) from dead_letters where reason like '%shown to Jane%' or attempts::text like '%shown to Jane%'";

const SAYING: &str =
    "select count(*) from dead_letters where body <> '' or headers::text <> '{}' or diff is not null";

#[test]
fn closed_letters_are_emptied_and_open_ones_are_left_and_named() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        site.state(exchange::VERIFIED, vec![dispute_too_long()]).await;
        let old = the_open_letter(&site).await;
        let erase = ["delivery", "erase", "paddle/evt_1", "--by", "ada", "--json"];

        sqlx::query(
            r#"update dead_letters set reason = 'it failed over "shown to Jane"',
                      attempts = '[{"at": "2026-11-20T10:00:00Z", "why": "it failed over `shown to Jane`"}]'"#,
        )
        .execute(&site.owner)
        .await
        .unwrap();

        // Under another identity by an edit, it says the same of the same person.
        let change =
            ["--set", "data.reason=fraud", "--set", "id=evt_2", "--unlock", "identity", "--second", "grace"];
        let edited = document(&edit(&site, &settings, &old, &change).await);
        let new = edited["new"].as_str().unwrap();
        let (output, report) = json_of(&site, &settings, &erase).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            (&report["letters_emptied"], &report["letters_left"]),
            (&json!([old]), &json!([new])),
            "{report}"
        );
        assert_eq!((site.number(SAYING).await, site.number(QUOTING).await), (1, 1));

        let discard = ["dlq", "discard", new, "--expect", "1", "--reason", "asked to", "--json"];
        assert!(json_of(&site, &settings, &discard).await.0.status.success());
        let (output, report) = json_of(&site, &settings, &erase).await;
        assert!(output.status.success() && report["letters_emptied"] == json!([new]), "{report}");
        assert_eq!((site.number(SAYING).await, site.number(QUOTING).await), (0, 0));
        assert_eq!(
            site.texts("select reason || ' ' || (attempts -> 0 ->> 'why') from dead_letters").await,
            ["it failed over * it failed over *", "it failed over * it failed over *"]
        );
        let (_, shown) = json_of(&site, &settings, &["dlq", "show", new, "--json"]).await;
        assert!(shown["letter"]["erased_at"].is_string() && shown["letter"]["body"] == json!(""), "{shown}");
        assert_eq!(
            site.number("select count(*) from dead_letter_audit where action = 'erase' and by = 'ada'").await,
            2
        );

        let undo = ["dlq", "undo", new, "--expect", "1"];
        let output = Bursar::run(&site, &settings, &undo).await;
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("erased"));
        let (output, _) = json_of(&site, &settings, &erase).await;
        assert_eq!(output.status.code(), Some(1), "nothing is left to erase");
        fleet.terminate().await;
    });
}

/// A letter that was resolved and erased may come again: then it is a message like any other, and not lost.
#[test]
fn what_comes_again_after_it_was_erased_is_kept() {
    run(async |site| {
        let configuration = editing();
        let settings = settings(&configuration);
        let fleet = Bursar::start(&site, &settings, &["up"]).await;
        site.state(exchange::VERIFIED, vec![dispute_too_long()]).await;
        let letter = the_open_letter(&site).await;
        sqlx::query("update dead_letters set state = 'resolved', closed_at = now()")
            .execute(&site.owner)
            .await
            .unwrap();
        let erase = ["delivery", "erase", "paddle/evt_1", "--json"];
        assert!(json_of(&site, &settings, &erase).await.0.status.success());
        assert_eq!(site.number(SAYING).await, 0);
        site.state(exchange::VERIFIED, vec![dispute_too_long()]).await;
        assert_eq!(the_open_letter(&site).await, letter);
        assert_eq!(
            site.number("select count(*) from dead_letters where length(body) > 10000 and erased_at is null")
                .await,
            1
        );
        fleet.terminate().await;
    });
}
