//! Deadlines of evidence: operators are told once for each step, whoever looks and whoever dies at it; what was answered is cleared,
//! and another deadline is told anew. And silence that decides.

use super::payloads::{
    StripeDispute, early_fraud_warning, paddle_adjustment, paddle_purchase, stripe_purchase,
};
use super::{Fleet, settled};
use crate::binary::{Configuration, settings};
use crate::ledger::ledger_with;
use bus::exchange;
use disputes::deadlines::{DisputeWatch, UNRECOGNISED};
use disputes::silence;
use domain::fact::{Dispute, DisputeStatus};
use domain::{Envelope, Fact};
use facts::FactWriter;
use gate::{Door, Gate};
use jobs::watch::{AlertWatcher, raised};
use std::fs;
use std::path::Path;
use std::time::Duration;
use testkit::facts::{catalog, dispute, envelope, payment};
use testkit::{Bursar, Site, run, run_within, within};
use time::OffsetDateTime;

const LIMIT: Duration = Duration::from_secs(240);

const DAY: time::Duration = time::Duration::DAY;

/// How often each alert was raised and cleared: `<deadline in days from the first> <hours before>h <raised> <cleared>`.
async fn told(site: &Site) -> Vec<String> {
    site.texts(
        "select (data ->> 'dispute') || ' ' || (data ->> 'hours_before') || 'h before '
                || to_char((data ->> 'evidence_due_by')::timestamptz at time zone 'UTC', 'DD')
                || ': raised ' || count(*) filter (where type = 'alert.raised')
                || ', cleared ' || count(*) filter (where type = 'alert.cleared')
         from events where data ->> 'alert' = 'dispute_deadline'
         group by data ->> 'dispute', data ->> 'hours_before', data ->> 'evidence_due_by'
         order by data ->> 'evidence_due_by', (data ->> 'hours_before')::int desc",
    )
    .await
}

async fn until_told(site: &Site, expect: &[String]) {
    let mut last = Vec::new();
    let found = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            last = told(site).await;
            if last == expect {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let is_found = found.await.is_ok();
    assert!(is_found, "expected {expect:#?}, got {last:#?}");
}

/// Whoever raises the alert of the last day takes his time about it, with everything but the commit done.
const SLOW: &str = "
    create function take_time() returns trigger language plpgsql as $$
    begin
        if new.about like '% 24h' then perform pg_sleep(3); end if;
        return new;
    end $$;
    create trigger take_time before insert on alerts for each row execute function take_time()";

/// The port from which the process speaks to Postgres that raises an alert at this moment.
const FIRING: &str = "select client_port::bigint from pg_stat_activity
                      where datname = current_database() and wait_event = 'PgSleep' limit 1";

/// Which of the processes has a connection from this port.
fn process_of(processes: &[Bursar], port: i64) -> usize {
    let connections =
        fs::read_to_string("/proc/net/tcp").unwrap() + &fs::read_to_string("/proc/net/tcp6").unwrap();
    let local = format!(":{port:04X}");
    let sockets: Vec<String> = connections
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let is_local = fields.nth(1)?.ends_with(&local);
            let socket = fields.nth(7)?;
            (is_local && socket != "0").then(|| format!("socket:[{socket}]"))
        })
        .collect();
    let has = |process: &Bursar| {
        let folder = Path::new("/proc").join(process.process_id().to_string()).join("fd");
        let files = fs::read_dir(folder).unwrap();
        files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.to_str() == Some(socket)))
    };
    processes.iter().position(has).expect("one of the processes is connected from there")
}

fn says(event: &str, status: DisputeStatus, at: OffsetDateTime, due: Option<OffsetDateTime>) -> Envelope {
    let fact = Dispute { evidence_due_by: due, occurred_at: at, ..dispute("dp_1", "paddle:txn_1", status) };
    envelope(&format!("paddle/{event}"), Fact::Dispute(fact))
}

#[cfg(target_os = "linux")]
#[test]
fn a_deadline_is_told_once_by_three_workers_one_of_which_is_killed_while_it_tells() {
    run_within(LIMIT, async |site| {
        sqlx::raw_sql(SLOW).execute(&site.owner).await.unwrap();
        // What other roles do is told to those that may see it.
        let owner: String =
            sqlx::query_scalar("select current_user::text").fetch_one(&site.owner).await.unwrap();
        site.by_server_login(&format!("grant pg_read_all_stats to {owner}")).await;
        super::readers_are_known(&site).await;
        let gate = Gate::new(Door::Verified, site.namespace.clone(), Default::default(), site.readers());
        let workers = [site.start(gate, 1)];
        let ledger = site.start(ledger_with(&site, catalog()), 1);
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let mut processes = Vec::new();
        for _ in 0..3 {
            processes.push(Bursar::start(&site, &settings, &["run", "disputes"]).await);
        }
        let tell = async |facts: Vec<Envelope>| {
            let causes: Vec<_> = facts.iter().map(|fact| fact.cause.clone()).collect();
            site.state(exchange::VERIFIED, facts).await;
            settled(&site, &causes).await;
        };
        let begin = OffsetDateTime::now_utc();
        // A day ahead, and long enough for every process to have looked.
        let due = begin + DAY + time::Duration::seconds(25);
        let bought = envelope("paddle/evt_0", Fact::Payment(payment("txn_1", "a")));
        tell(vec![bought, says("evt_1", DisputeStatus::Open, begin, Some(due))]).await;
        let line = |due: OffsetDateTime, hours: u32, counts: &str| {
            format!("paddle:dp_1 {hours}h before {:02}: {counts}", due.day())
        };
        let once = "raised 1, cleared 0";
        let mut expect = vec![line(due, 168, once), line(due, 72, once)];
        until_told(&site, &expect).await;

        // One is killed in the middle of it, with its change not committed: another tells it, once.
        let port = within(Duration::from_secs(60), "somebody to tell of the last day", async || {
            sqlx::query_scalar::<_, i64>(FIRING).fetch_optional(&site.owner).await.unwrap()
        })
        .await;
        processes.remove(process_of(&processes, port)).kill().await;
        assert_eq!(told(&site).await, expect, "nothing was told yet");
        expect.push(line(due, 24, once));
        until_told(&site, &expect).await;
        // Every process that is left looks once more.
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(told(&site).await, expect);

        // Answered: it is cleared.
        tell(vec![says("evt_2", DisputeStatus::UnderReview, begin + time::Duration::SECOND, Some(due))])
            .await;
        let ended = "raised 1, cleared 1";
        let mut expect = [168, 72, 24].map(|hours| line(due, hours, ended)).to_vec();
        until_told(&site, &expect).await;
        // Asked for once more, with another deadline.
        let later = due + DAY;
        tell(vec![says("evt_3", DisputeStatus::Open, begin + time::Duration::SECOND * 2, Some(later))]).await;
        expect.extend([168, 72].map(|hours| line(later, hours, once)));
        until_told(&site, &expect).await;

        super::assert_proved(&site).await;
        for process in processes {
            assert!(process.terminate().await.success());
        }
        ledger.stop().await;
        for worker in workers {
            worker.stop().await;
        }
    });
}

/// A step of less than an hour is told beside that of the deadline itself.
#[test]
fn steps_of_minutes_are_told_apart() {
    run(async |site| {
        let now = OffsetDateTime::now_utc();
        let case = "insert into disputes (dispute, payment_ids, record, state, evidence_due_by, created_at, updated_at)
                    values ('stripe:dp_1', '{}', '{\"observations\":{}}', 'open', now() - interval '1 minute', now(), now())";
        sqlx::raw_sql(case).execute(&site.owner).await.unwrap();
        let steps = [90, 30].map(|minutes| Duration::from_secs(minutes * 60)).to_vec();
        let mut watcher = AlertWatcher::new(site.context(), "disputes", DisputeWatch::new(steps));
        for _ in 0..2 {
            watcher.look(now).await.unwrap();
        }
        let abouts = "select split_part(about, ' ', 3) from alerts where cleared_at is null order by 1";
        assert_eq!(site.texts(abouts).await, ["0h", "30m", "90m"]);
        // Cleared and raised again.
        sqlx::raw_sql("update disputes set state = 'under_review'").execute(&site.owner).await.unwrap();
        watcher.look(now).await.unwrap();
        assert_eq!(site.texts(abouts).await, Vec::<String>::new());
        sqlx::raw_sql("update disputes set state = 'open'").execute(&site.owner).await.unwrap();
        watcher.look(now).await.unwrap();
        assert_eq!(site.texts(abouts).await, ["0h", "30m", "90m"]);
    });
}

/// What is not understood of disputes is kept, and somebody learns of it.
#[test]
fn an_unknown_status_is_kept_and_operators_are_told() {
    run_within(LIMIT, async |site| {
        let fleet = Fleet::open(&site).await;
        fleet.tell("stripe", &stripe_purchase("1", "a")).await;
        fleet.tell("stripe", &StripeDispute::new("1", "1").says("arbitration", 0)).await;
        let kept = "select count(*) from inbox where kind = 'fact.unrecognised'";
        assert_eq!(site.number(kept).await, 1);
        let alert = within(Duration::from_secs(40), "the alert", async || {
            let mut connection = site.pool.acquire().await.unwrap();
            let raised = raised(&mut connection, 100).await.unwrap();
            raised.into_iter().find(|alert| alert.alert == UNRECOGNISED)
        })
        .await;
        assert_eq!((alert.about.as_str(), &alert.details["events"]), ("stripe", &serde_json::json!(1)));
        assert_eq!(alert.details["example"], "evt_1_arbitration_0");
        fleet.end().await;
    });
}

fn writer(site: &Site) -> FactWriter {
    FactWriter {
        namespace: site.namespace.clone(),
        publisher: site.publisher.clone(),
        pool: site.pool.clone(),
    }
}

/// Paddle never says that a case is lost, and an early warning never ends: silence decides, once, and can be taken back.
#[test]
fn silence_decides_and_is_taken_back_by_what_is_said_late() {
    run_within(LIMIT, async |site| {
        let mut fleet = Fleet::open(&site).await;
        let silence_of = Duration::from_secs(120 * 86_400);
        let decide = async |now: OffsetDateTime, expect: i64| {
            silence::step(&site.pool, &writer(&site), silence_of, now).await.unwrap();
            site.until(
                "select count(*) from outcomes where reader = 'disputes' and source = 'bursar/silence'",
                expect,
            )
            .await;
        };
        fleet.tell("paddle", &paddle_purchase("1", "a")).await;
        fleet.tell("paddle", &paddle_adjustment("1", "chargeback", 1, "approved", 1)).await;
        fleet.tell("stripe", &stripe_purchase("2", "b")).await;
        fleet.tell("stripe", &early_fraud_warning("2", "2", 0)).await;
        fleet.tell("stripe", &stripe_purchase("3", "c")).await;
        fleet.tell("stripe", &StripeDispute::new("3", "3").says("needs_response", 0)).await;
        let open = "txn_1 open | access by txn_1, balance by txn_1, checkout by txn_1 | 0 / 0 / 0";
        fleet.check("a", open, &["dispute.opened txn_1", "account.restricted"]).await;

        let chargeback = time::macros::datetime!(2026-11-22 07:01:00 UTC);
        decide(chargeback + DAY * 119, 0).await;
        fleet.check("a", open, &[]).await;
        let later = chargeback + DAY * 130;
        for _ in 0..3 {
            decide(later, 2).await;
        }
        fleet.check("a", "txn_1 lost | - | 0 / 0 / 0", &["dispute.lost txn_1", "account.restored"]).await;
        let nothing_came =
            ["dispute.opened issfr_2", "account.restricted", "dispute.updated issfr_2", "account.restored"];
        fleet.check("b", "issfr_2 prevented | - | 1050 / 0 / 0", &nothing_came).await;
        // Stripe tells the end of its own disputes.
        let all = "du_3 open | access by du_3, balance by du_3, checkout by du_3 | 0 / 0 / 0";
        fleet.check("c", all, &["dispute.opened du_3", "account.restricted"]).await;

        // What was said before the silence was over, and came only now: there was none.
        let mut late = paddle_adjustment("1", "chargeback", 1, "reversed", 2);
        late["occurred_at"] = "2027-03-01T10:00:00.1Z".into();
        fleet.tell("paddle", &late).await;
        fleet.check("a", "txn_1 won | - | 0 / 0 / 0", &["dispute.won txn_1"]).await;
        // Nothing is said twice.
        decide(later, 2).await;
        fleet.end().await;
    });
}
