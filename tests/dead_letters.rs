//! The dead-letters worker: whatever a worker or the broker gave up on is a row with everything in it, once, whatever it looks
//! like and whatever dies on the way.

use crate::payloads::paddle_payload;
use bus::{Context, Message, REPLAYED, exchange, header, queue};
use dead_letters::acts::{self, ActRequest, NoteTarget, ReplayPace};
use dead_letters::read::{self, Filter, LetterView};
use dead_letters::{DeadLetters, LetterRetention, purge};
use domain::{Envelope, Fact};
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use secrecy::ExposeSecret;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::facts::{envelope, grant, payment, refund, usage};
use testkit::{DeathStep, Post, Relay, Running, Site, eventually, run};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use uuid::Uuid;

pub const FIRST: OffsetDateTime = datetime!(2026-11-20 10:00:00.25 UTC);
pub const DEAD: OffsetDateTime = datetime!(2026-11-20 10:01:11.5 UTC);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const LETTERS: &str = "select count(*) from dead_letters";
pub const OPEN: &str = "select count(*) from dead_letters where state = 'open'";

/// A letter as the loop writes it.
pub struct Dead {
    pub worker: &'static str,
    pub queue: &'static str,
    pub code: &'static str,
    pub reason: String,
    pub at: OffsetDateTime,
    pub routing_key: String,
    pub message_id: String,
    pub content_type: &'static str,
    pub user: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Dead {
    /// Of a fact that the ledger gave up on.
    pub fn of(fact: &Envelope) -> Self {
        Self {
            worker: "ledger",
            queue: ledger::QUEUE,
            code: "unknown",
            reason: format!("nobody foresaw {}", fact.cause),
            at: DEAD,
            routing_key: fact.fact.kind().as_str().to_owned(),
            message_id: fact.cause.id.clone(),
            content_type: domain::envelope::CONTENT_TYPE,
            user: None,
            headers: BTreeMap::new(),
            body: fact.to_json().into_bytes(),
        }
    }

    pub fn message(self, site: &Site) -> Message {
        let time = |at: OffsetDateTime| at.format(&Rfc3339).unwrap();
        let exchange = match self.queue {
            queue::INGESTER => exchange::RAW,
            queue::GATE => exchange::VERIFIED,
            queue::GATE_INBOUND => exchange::INBOUND,
            _ => exchange::FACTS,
        };
        let attempts = json!([
            { "at": time(FIRST), "why": "the first" },
            { "at": time(self.at), "why": self.reason },
        ]);
        let own = [
            (header::EXCHANGE, site.namespace.name(exchange)),
            (header::ROUTING_KEY, self.routing_key),
            (header::FIRST_FAILED_AT, time(FIRST)),
            (header::ATTEMPTS, attempts.to_string()),
            (header::DEAD_WORKER, self.worker.to_owned()),
            (header::DEAD_QUEUE, self.queue.to_owned()),
            (header::DEAD_CODE, self.code.to_owned()),
            (header::DEAD_REASON, self.reason),
            (header::DEAD_AT, time(self.at)),
        ];
        let mut headers = self.headers;
        headers.extend(own.map(|(name, value)| (name.to_owned(), value)));
        headers.extend(self.user.map(|user| (header::USER.to_owned(), user)));
        Message {
            exchange: site.namespace.name(exchange::DEAD),
            routing_key: self.worker.to_owned(),
            message_id: self.message_id,
            content_type: self.content_type.to_owned(),
            headers,
            body: self.body,
        }
    }
}

pub fn spent(id: &str, credits: i64) -> Envelope {
    envelope(&format!("gateway/{id}"), usage("acct_1", credits))
}

pub async fn bury(site: &Site, letters: impl IntoIterator<Item = Dead>) {
    let messages = letters.into_iter().map(|letter| letter.message(site)).collect();
    site.publisher.publish_all(messages).await.unwrap();
}

fn worker() -> DeadLetters {
    DeadLetters::new(processors::Settings::default(), &bursar::workers::NAMES)
}

fn start(site: &Site) -> Running {
    site.start(worker(), 1)
}

/// Every letter, the oldest first, once the queue is empty and so many are there.
pub async fn recorded(site: &Site, count: i64) -> Vec<LetterView> {
    loop {
        let running = start(site);
        site.until(LETTERS, count).await;
        site.until_depth(queue::DEAD_LETTERS, 0).await;
        running.stop().await;
        // What it had been given and had not taken up is there again.
        if site.depth(queue::DEAD_LETTERS).await == 0 {
            break;
        }
    }
    let ids: Vec<Uuid> = sqlx::query_scalar("select letter from dead_letters order by message_id, letter")
        .fetch_all(&site.pool)
        .await
        .unwrap();
    assert_eq!(ids.len() as i64, count);
    let mut letters = Vec::new();
    for id in ids {
        letters.push(read::letter(&site.pool, id).await.unwrap().unwrap());
    }
    letters
}

#[test]
fn a_letter_is_kept_with_everything_that_is_known_of_it() {
    run(async |site| {
        let traced = Envelope {
            traceparent: Some(TRACE.to_owned()),
            ..envelope("paddle/evt_1", Fact::Payment(payment("txn_1", "acct_1")))
        };
        let raw = paddle_payload("transaction.completed");
        let rows = [
            Dead { message_id: "1".to_owned(), queue: queue::GATE, worker: "gate", ..Dead::of(&traced) },
            Dead {
                message_id: "2".to_owned(),
                queue: queue::GATE_INBOUND,
                worker: "gate",
                code: "forbidden",
                user: Some("shop".to_owned()),
                headers: [("colour", "blue"), ("traceparent", TRACE)]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
                ..Dead::of(&envelope("shop/g_1", grant("acct_2", 70)))
            },
            Dead {
                message_id: "3".to_owned(),
                ..Dead::of(&envelope("paddle/evt_3", Fact::Movement(refund("adj_1", "txn_1", 250))))
            },
            Dead {
                message_id: "4".to_owned(),
                worker: "ingester",
                queue: queue::INGESTER,
                routing_key: "raw.paddle".to_owned(),
                content_type: "application/json",
                body: raw.to_string().into_bytes(),
                ..Dead::of(&spent("unused", 1))
            },
            Dead {
                message_id: "5".to_owned(),
                content_type: domain::envelope::CONTENT_TYPE_BATCH,
                body: Envelope::batch_to_json(&[&spent("use_1", 3), &spent("use_2", 4)]).into_bytes(),
                ..Dead::of(&spent("unused", 1))
            },
            Dead {
                message_id: "6".to_owned(),
                code: "malformed",
                body: br#"{"type":"fact.nobody","source":"shop","id":"n_1","data":{"account":"acct_6"}}"#
                    .to_vec(),
                ..Dead::of(&spent("unused", 1))
            },
        ];
        bury(&site, rows).await;
        let letters = recorded(&site, 6).await;
        let about = |view: &LetterView| {
            let line = &view.line;
            let money = line.money.as_ref().map(ToString::to_string);
            [
                Some(view.queue.clone()),
                line.fact_type.clone(),
                line.fact.clone(),
                line.account.clone(),
                line.payment.clone(),
                money,
                line.credits.clone(),
            ]
            .map(|text| text.unwrap_or_default())
            .join(" | ")
        };
        let told: Vec<String> = letters.iter().map(about).collect();
        assert_eq!(
            told,
            [
                "gate | fact.payment | paddle/evt_1 | acct_1 | paddle:txn_1 | 10.00 USD | ",
                "gate.inbound | fact.grant | shop/g_1 | acct_2 |  |  | 70",
                "ledger | fact.movement | paddle/evt_3 |  | paddle:txn_1 | 2.50 USD | ",
                &format!(
                    "ingester | fact.payment | paddle/{} | acct_42 | paddle:{} | {} USD | ",
                    raw["event_id"].as_str().unwrap(),
                    raw["data"]["id"].as_str().unwrap(),
                    letters[3].line.money.as_ref().unwrap().amount,
                ),
                "ledger | fact.usage | gateway/use_1 | acct_1 |  |  | 3",
                "ledger | fact.nobody | shop/n_1 | acct_6 |  |  | ",
            ]
        );
        assert_eq!(letters[0].traceparent.as_deref(), Some(TRACE), "of the fact");

        let letter = &letters[1];
        let line = &letter.line;
        assert_eq!(
            (line.state.as_str(), line.worker.as_str(), line.code.as_str()),
            ("open", "gate", "forbidden")
        );
        assert_eq!((line.reason.as_str(), line.copies, line.attempts), ("nobody foresaw shop/g_1", 1, 2));
        assert_eq!((line.dead_at, letter.first_failed_at), (DEAD, FIRST));
        let attempts: Vec<_> = letter.attempts_made.iter().map(|made| (made.at, made.why.as_str())).collect();
        assert_eq!(attempts, [(FIRST, "the first"), (DEAD, "nobody foresaw shop/g_1")]);
        assert_eq!(letter.exchange, site.namespace.name(exchange::INBOUND));
        assert_eq!((letter.routing_key.as_str(), letter.message_id.as_str()), ("fact.grant", "2"));
        assert_eq!(letter.content_type.as_deref(), Some(domain::envelope::CONTENT_TYPE));
        assert_eq!((letter.user_id.as_deref(), letter.traceparent.as_deref()), (Some("shop"), Some(TRACE)));
        let headers: Vec<_> =
            letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("colour", "blue"), ("traceparent", TRACE)]);
        assert_eq!(letter.body, envelope("shop/g_1", grant("acct_2", 70)).to_json().into_bytes());
        assert_eq!((letter.previous, letter.next.len(), letter.delivery_stored), (None, 0, false));
        assert_eq!(line.fingerprint.len(), 12);
    });
}

#[test]
fn a_letter_that_comes_twice_is_one_row_that_counts_its_copies() {
    run(async |site| {
        let twice =
            || [Dead::of(&spent("use_1", 1)), Dead::of(&spent("use_1", 1)), Dead::of(&spent("use_2", 1))];
        bury(&site, twice()).await;
        assert_eq!(copies(recorded(&site, 2).await), [("use_1".to_owned(), 2), ("use_2".to_owned(), 1)]);
        bury(&site, twice()).await;
        assert_eq!(copies(recorded(&site, 2).await), [("use_1".to_owned(), 4), ("use_2".to_owned(), 2)]);
        // Another body under the same id is another letter: two parts of one message may die.
        let other = Dead { message_id: "use_1".to_owned(), ..Dead::of(&spent("use_9", 1)) };
        bury(&site, [other]).await;
        recorded(&site, 3).await;
    });
}

fn copies(letters: Vec<LetterView>) -> Vec<(String, i32)> {
    letters.into_iter().map(|letter| (letter.message_id, letter.line.copies)).collect()
}

#[test]
fn one_failure_of_many_messages_is_one_group_with_what_is_at_stake() {
    run(async |site| {
        let usages = (1..=4).map(|number| {
            let fact =
                envelope(&format!("gateway/use_{number}"), usage(&format!("acct_{}", number % 2), number));
            Dead { at: DEAD + Duration::from_secs(number as u64), ..Dead::of(&fact) }
        });
        let payments = (1..=3).map(|number| {
            Dead::of(&envelope(
                &format!("paddle/evt_{number}"),
                Fact::Payment(payment(&format!("txn_{number}"), "acct_1")),
            ))
        });
        bury(&site, usages.chain(payments)).await;
        recorded(&site, 7).await;
        let groups = read::groups(&site.pool, &Filter::default(), 10).await.unwrap();
        let told: Vec<_> = groups
            .iter()
            .map(|group| {
                let money: Vec<String> = group.money.iter().map(ToString::to_string).collect();
                (
                    group.fact_type.as_deref().unwrap(),
                    group.count,
                    group.accounts,
                    money.join(","),
                    group.credits.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [("fact.usage", 4, 2, String::new(), "10"), ("fact.payment", 3, 1, "30.00 USD".to_owned(), "0"),]
        );
        assert_eq!(groups[0].reason, "nobody foresaw *");
        assert_eq!(
            (groups[0].first, groups[0].last),
            (DEAD + Duration::from_secs(1), DEAD + Duration::from_secs(4))
        );
    });
}

/// An odd letter is kept as it is; it must not go around for ever, and not hold up the others of its batch.
#[test]
fn a_letter_is_kept_however_odd_it_is() {
    run(async |site| {
        let plain = || Dead::of(&spent("use_1", 1));
        let odd = |id: &str, body: Vec<u8>| Dead { message_id: id.to_owned(), body, ..plain() };
        // Nothing in it repeats, so that it does not become small.
        let long: String =
            (0..2_000).map(|number: u32| format!("{:08x}", number.wrapping_mul(2_654_435_761))).collect();
        let guess = json!({ "type": long, "source": long, "id": long, "data": { "account": long } });
        let mega = vec![b'x'; 1024 * 1024];
        let rows = [
            odd("01 no UTF-8", vec![0xff, 0xfe, 0x00, 0x80]),
            odd("02 empty", Vec::new()),
            odd("03 large", mega.clone()),
            odd("04 NUL", b"{\"type\":\"fact.\\u0000\",\"id\":\"\\u0000\",\"source\":\"s\\u0000\",\"data\":{\"account\":\"a\\u0000\"}}\0".to_vec()),
            odd("05 NUL in JSON", b"{\"type\":\"fact.\\u0000\",\"id\":\"\\u0000\",\"source\":\"s\\u0000\",\"data\":{\"account\":\"a\\u0000\"}}".to_vec()),
            odd("06 long texts", guess.to_string().into_bytes()),
            odd("07 not an object", b"[1,2,3]".to_vec()),
            odd("08 other types", br#"{"type":7,"source":[],"id":null,"data":"x"}"#.to_vec()),
            Dead {
                reason: "NUL \0 in \u{1F4A3} the reason".to_owned(),
                headers: [("nul".to_owned(), "a\0b".to_owned()), ("traceparent".to_owned(), "\0".to_owned())].into(),
                message_id: "09 NUL\0".to_owned(),
                routing_key: "fact\0".to_owned(),
                user: Some("u\0".to_owned()),
                ..plain()
            },
            Dead { message_id: String::new(), ..plain() },
        ];
        bury(&site, rows).await;
        let mut messages = Vec::new();
        for (number, header, value) in [
            (11, header::ATTEMPTS, "not JSON"),
            (12, header::FIRST_FAILED_AT, "yesterday"),
            (13, header::DEAD_AT, "9999-12-31T23:59:59Z"),
            (14, header::FIRST_FAILED_AT, "0000-01-01T00:00:00Z"),
            (15, header::REPLAY, "no id"),
        ] {
            let mut message = odd(&format!("{number} header"), b"x".to_vec()).message(&site);
            message.headers.insert(header.to_owned(), value.to_owned());
            messages.push(message);
        }
        messages.push(Message {
            message_id: "16 outcome".to_owned(),
            routing_key: REPLAYED.to_owned(),
            ..odd("", b"no outcome".to_vec()).message(&site)
        });
        site.publisher.publish_all(messages).await.unwrap();
        site.post(Post {
            exchange: exchange::DEAD,
            routing_key: "anything".to_owned(),
            body: b"stray".to_vec(),
            ..Post::default()
        })
        .await;
        // It holds an outcome of nothing, which is nobody's letter.
        let outcome = json!([{ "replay": Uuid::now_v7(), "letter": Uuid::now_v7(), "outcome": "a\0b", "at": "2026-11-20T10:00:00Z" }]);
        site.publisher
            .publish_all(vec![Message::new(
                site.namespace.name(exchange::DEAD),
                REPLAYED,
                "17".to_owned(),
                "application/json",
                None,
                outcome.to_string(),
            )])
            .await
            .unwrap();
        let letters = recorded(&site, 17).await;
        for queue in ["retry.50ms", "retry.150ms"] {
            assert_eq!(site.depth(queue).await, 0, "{queue}");
        }
        let with = |start: &str| {
            let found: Vec<_> =
                letters.iter().filter(|letter| letter.message_id.starts_with(start)).collect();
            assert!(!found.is_empty(), "{start}");
            found[0]
        };
        assert_eq!(with("09").line.reason, "NUL \u{fffd} in \u{1F4A3} the reason");
        assert_eq!(with("09").headers["nul"], "a\u{fffd}b");
        assert_eq!((&with("06").line.account, &with("06").line.fact_type), (&None, &None));
        assert_eq!(with("11").attempts_made, []);
        let bodies: Vec<Vec<u8>> = sqlx::query_scalar(
            "select body from dead_letters where message_id < '04' and message_id > '0' order by message_id",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        assert_eq!(bodies, [vec![0xff, 0xfe, 0x00, 0x80], Vec::new(), mega]);
        let stray = letters.iter().find(|letter| letter.body == b"stray").unwrap();
        assert_eq!((stray.line.code.as_str(), stray.queue.as_str()), ("unexplained", ""));
        // All of it can be listed, searched and grouped.
        assert_eq!(read::letters(&site.pool, &Filter::default(), 100).await.unwrap().len(), 17);
        let filter = Filter { text: Some("stray".to_owned()), ..Filter::default() };
        assert_eq!(read::count(&site.pool, &filter).await.unwrap(), 1);
        let groups = read::groups(&site.pool, &Filter::default(), 100).await.unwrap();
        assert_eq!(groups.iter().map(|group| group.count).sum::<i64>(), 17);
    });
}

#[test]
fn what_the_broker_itself_gave_up_on_goes_back_to_the_queue_it_lay_in() {
    run(async |site| {
        let post = |id: &str| Post {
            exchange: exchange::INBOUND,
            routing_key: "fact.usage".to_owned(),
            message_id: Some(id.to_owned()),
            content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
            user_id: Some(site.amqp_user()),
            headers: [
                ("bursar-code".to_owned(), "forged".to_owned()),
                ("colour".to_owned(), "blue".to_owned()),
            ]
            .into(),
            body: spent(id, 5).to_json().into_bytes(),
        };
        site.post(post("1")).await;
        reject(&site, queue::GATE_INBOUND).await;
        // One that has rested on a rung before: the broker says first where it rested.
        site.publisher
            .publish_all(vec![Message {
                exchange: site.namespace.name("retry.50ms"),
                routing_key: site.namespace.name(queue::GATE_INBOUND),
                message_id: "2".to_owned(),
                content_type: domain::envelope::CONTENT_TYPE.to_owned(),
                headers: BTreeMap::from([
                    (header::EXCHANGE.to_owned(), site.namespace.name(exchange::INBOUND)),
                    (header::ROUTING_KEY.to_owned(), "fact.usage".to_owned()),
                    (header::USER.to_owned(), site.amqp_user()),
                    (header::FIRST_FAILED_AT.to_owned(), FIRST.format(&Rfc3339).unwrap()),
                ]),
                body: spent("2", 5).to_json().into_bytes(),
            }])
            .await
            .unwrap();
        site.until_depth(queue::GATE_INBOUND, 1).await;
        reject(&site, queue::GATE_INBOUND).await;

        let letters = recorded(&site, 2).await;
        for letter in &letters {
            assert_eq!(
                (letter.line.worker.as_str(), letter.queue.as_str()),
                ("gate", queue::GATE_INBOUND),
                "{letter:?}"
            );
            assert_eq!(letter.line.code, "broker_rejected");
            assert_eq!(
                (letter.line.account.as_deref(), letter.line.credits.as_deref()),
                (Some("acct_1"), Some("5"))
            );
        }
        let came = |letter: &LetterView| {
            (letter.exchange.clone(), letter.routing_key.clone(), letter.user_id.clone())
        };
        let expect =
            (site.namespace.name(exchange::INBOUND), "fact.usage".to_owned(), Some(site.amqp_user()));
        assert_eq!([came(&letters[0]), came(&letters[1])], [expect.clone(), expect]);
        assert_eq!(letters[1].first_failed_at, FIRST);
        assert_eq!(letters[0].headers.get("colour").map(String::as_str), Some("blue"));
        // A replay carries nothing of the broker's.
        let stored =
            read::stored(&mut site.pool.acquire().await.unwrap(), &Filter::default(), 10).await.unwrap();
        for stored in stored {
            let back = stored.message.replay(&site.namespace, &stored.queue);
            assert_eq!(back.routing_key, site.namespace.name(queue::GATE_INBOUND));
            assert!(back.headers.keys().all(|name| !name.starts_with("x-")), "{back:?}");
        }
    });
}

/// Has the broker give up on the message that waits in a queue.
async fn reject(site: &Site, queue: &str) {
    let channel = site.broker.channel().await.unwrap();
    let name = site.namespace.name(queue);
    let tag = eventually("a message to reject", async || {
        let got = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await.unwrap();
        got.map(|got| got.delivery_tag)
    })
    .await;
    channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await.unwrap();
    drop(channel.close(200, "done".into()).await);
}

#[test]
fn while_postgres_is_away_the_queue_keeps_the_letters() {
    run(async |site| {
        let url = site.database_url.expose_secret().to_owned();
        let relay = Relay::to(&url, 5432);
        let pool = db::pool(&relay.url(&url).into(), 2, "by the relay").unwrap();
        relay.close();
        bury(&site, (0..30).map(|number| Dead::of(&spent(&format!("use_{number}"), 1)))).await;
        let running = site.start_with(Arc::new(worker()), 1, Context { pool, ..site.context() });
        site.until_depth(queue::DEAD_LETTERS, 0).await;
        assert_eq!(site.number(LETTERS).await, 0, "in hand, not acknowledged");
        relay.open();
        site.until(LETTERS, 30).await;
        relay.cut();
        bury(&site, (30..40).map(|number| Dead::of(&spent(&format!("use_{number}"), 1)))).await;
        site.until(LETTERS, 40).await;
        running.stop().await;
        assert_eq!(site.depth(queue::DEAD_LETTERS).await, 0);
        for rung in ["retry.50ms", "retry.150ms"] {
            assert_eq!(site.depth(rung).await, 0, "an outage is no failure: {rung}");
        }
    });
}

#[test]
fn a_worker_that_dies_at_any_step_leaves_each_letter_in_one_row() {
    run(async |site| {
        for (number, step) in DeathStep::ALL.into_iter().enumerate() {
            let ids = [0, 1, 2].map(|letter| format!("use_{number}_{letter}"));
            bury(&site, ids.iter().map(|id| Dead::of(&spent(id, 1)))).await;
            for _ in 0..3 {
                eventually("what the dead one held", async || {
                    (site.depth(queue::DEAD_LETTERS).await >= 3).then_some(())
                })
                .await;
                site.dies_at(step, &worker(), 3).await;
            }
        }
        let count = DeathStep::ALL.len() as i64 * 3;
        for _ in 0..3 {
            let mortal = site.start_mortal(Arc::new(worker()), 2);
            eventually("it to be at work", async || (site.number(LETTERS).await > 3).then_some(())).await;
            mortal.kill();
        }
        let letters = recorded(&site, count).await;
        assert!(
            letters.iter().all(|letter| letter.line.code == "unknown" && letter.attempts_made.len() == 2)
        );
    });
}

/// What the worker itself cannot settle, for a reason that nobody foresaw, goes around until it can: it must not forget on
/// its way why the letter died.
#[test]
fn a_letter_that_could_not_be_recorded_for_a_while_is_recorded_whole() {
    run(async |site| {
        let refuse = "create function refuse_letters() returns trigger language plpgsql as
                      $$ begin raise exception 'not today' using errcode = 'P0001'; end $$;
                      create trigger refuse_letters before insert on dead_letters for each row execute function refuse_letters();";
        sqlx::raw_sql(refuse).execute(&site.owner).await.unwrap();
        let letter = Dead {
            queue: queue::GATE_INBOUND,
            worker: "gate",
            code: "forbidden",
            user: Some("shop".to_owned()),
            headers: [("colour".to_owned(), "blue".to_owned())].into(),
            ..Dead::of(&spent("use_1", 5))
        };
        bury(&site, [letter]).await;
        site.post(Post {
            exchange: exchange::INBOUND,
            routing_key: "fact.usage".to_owned(),
            message_id: Some("use_2".to_owned()),
            content_type: Some(domain::envelope::CONTENT_TYPE.to_owned()),
            body: spent("use_2", 5).to_json().into_bytes(),
            ..Post::default()
        })
        .await;
        reject(&site, queue::GATE_INBOUND).await;
        site.post(Post {
            exchange: exchange::DEAD,
            routing_key: "anybody".to_owned(),
            message_id: Some("use_3".to_owned()),
            body: b"stray".to_vec(),
            ..Post::default()
        })
        .await;
        let running = start(&site);
        // All three rest on the last rung, and have come back from it.
        for _ in 0..2 {
            eventually("letters that rest", async || (site.depth("retry.150ms").await > 0).then_some(()))
                .await;
            site.until_depth("retry.150ms", 0).await;
        }
        sqlx::raw_sql("drop trigger refuse_letters on dead_letters").execute(&site.owner).await.unwrap();
        site.until(LETTERS, 3).await;
        running.stop().await;
        let letters = recorded(&site, 3).await;
        let told: Vec<_> = letters
            .iter()
            .map(|letter| {
                let line = &letter.line;
                (line.worker.as_str(), letter.queue.as_str(), line.code.as_str(), letter.routing_key.as_str())
            })
            .collect();
        assert_eq!(
            told,
            [
                ("gate", "gate.inbound", "forbidden", "fact.usage"),
                ("gate", "gate.inbound", "broker_rejected", "fact.usage"),
                ("anybody", "", "unexplained", "anybody"),
            ]
        );
        let letter = &letters[0];
        assert_eq!(
            (letter.line.dead_at, letter.first_failed_at, letter.attempts_made.len()),
            (DEAD, FIRST, 2)
        );
        assert_eq!(
            (letter.user_id.as_deref(), letter.line.reason.as_str()),
            (Some("shop"), "nobody foresaw gateway/use_1")
        );
        assert_eq!(letter.exchange, site.namespace.name(exchange::INBOUND));
        assert_eq!(letter.headers.get("colour").map(String::as_str), Some("blue"));
        assert!(letters.iter().all(|letter| letter.line.copies == 1));
    });
}

pub fn order(filter: Filter) -> ActRequest {
    ActRequest { by: "ada".to_owned(), reason: Some("mended".to_owned()), filter, expected: None, max: None }
}

/// As the loop tells that a replayed message was settled.
pub fn resolved(site: &Site, replay: Uuid, letter: Uuid) -> Message {
    let outcome =
        json!([{ "replay": replay, "letter": letter, "outcome": "applied", "at": "2026-11-20T11:00:00Z" }]);
    Message::new(
        site.namespace.name(exchange::DEAD),
        REPLAYED,
        format!("{replay}-{letter}"),
        "application/json",
        None,
        outcome.to_string(),
    )
}

/// As the loop writes a message that died again in a replay.
pub fn died_again(site: &Site, dead: Dead, replay: Uuid, letter: Uuid) -> Message {
    let mut message = dead.message(site);
    message.headers.insert(header::REPLAY.to_owned(), replay.to_string());
    message.headers.insert(header::LETTER.to_owned(), letter.to_string());
    message
}

pub async fn states(site: &Site) -> Vec<String> {
    site.texts("select state || coalesce(' ' || outcome, '') from dead_letters order by message_id, letter")
        .await
}

#[test]
fn what_died_again_without_a_replay_is_open_again_and_what_was_discarded_is_not() {
    run(async |site| {
        let dead = |id: &str| Dead::of(&spent(id, 1));
        bury(&site, ["1", "2", "3"].map(dead)).await;
        let letters = recorded(&site, 3).await;
        let id = |number: usize| letters[number].line.letter;
        let now = OffsetDateTime::now_utc();
        let filter = Filter { letters: vec![id(0), id(1)], ..Filter::default() };
        let (replay, _) =
            acts::start_replay(&site.pool, &order(filter), ReplayPace::default(), now).await.unwrap();
        acts::discard(&site.pool, &order(Filter::letter(id(2))), now).await.unwrap();

        // The outcome comes twice, as it may; a copy of an old letter is no new death.
        let told = [id(0), id(0), id(1)].map(|letter| resolved(&site, replay, letter));
        site.publisher.publish_all(told.into()).await.unwrap();
        recorded(&site, 3).await;
        bury(&site, ["1", "2", "3"].map(dead)).await;
        recorded(&site, 3).await;
        assert_eq!(states(&site).await, ["resolved applied", "resolved applied", "discarded mended"]);
        let again = |id: &str| Dead { at: DEAD + Duration::from_secs(3_600), ..dead(id) };
        bury(&site, [again("1"), again("3")]).await;
        recorded(&site, 3).await;
        assert_eq!(states(&site).await, ["open", "resolved applied", "discarded mended"]);
        assert_eq!(
            site.texts("select distinct closed_by from dead_letters where state = 'resolved'").await,
            [format!("replay {replay}")]
        );
    });
}

#[test]
fn what_died_again_in_a_replay_is_another_letter_and_that_word_is_the_last() {
    run(async |site| {
        bury(&site, ["1", "2"].map(|id| Dead::of(&spent(id, 1)))).await;
        let letters = recorded(&site, 2).await;
        let id = |number: usize| letters[number].line.letter;
        let now = OffsetDateTime::now_utc();
        let (replay, count) =
            acts::start_replay(&site.pool, &order(Filter::default()), ReplayPace::default(), now)
                .await
                .unwrap();
        assert_eq!(count, 2);
        let again = |number: usize| {
            let dead = Dead { code: "panic", ..Dead::of(&spent(["1", "2"][number], 1)) };
            died_again(&site, dead, replay, id(number))
        };
        // In one batch and in two, in both orders; each is told twice.
        let first = vec![resolved(&site, replay, id(0)), again(0), again(0), again(1)];
        site.publisher.publish_all(first).await.unwrap();
        recorded(&site, 4).await;
        site.publisher.publish_all(vec![resolved(&site, replay, id(1)), again(1)]).await.unwrap();
        recorded(&site, 4).await;
        assert_eq!(states(&site).await, ["dead_again panic", "open", "dead_again panic", "open"]);
        let views = recorded(&site, 4).await;
        assert_eq!((views[1].previous, &views[0].next[..]), (Some(id(0)), &[views[1].line.letter][..]));
        assert_eq!(site.texts("select distinct state from replay_letters").await, ["dead_again"]);
    });
}

#[test]
fn closed_letters_go_after_their_time_and_open_ones_never() {
    run(async |site| {
        bury(&site, ["1", "2", "3", "4"].map(|id| Dead::of(&spent(id, 1)))).await;
        let letters = recorded(&site, 4).await;
        let id = |number: usize| letters[number].line.letter;
        let day = Duration::from_secs(86_400);
        let now = OffsetDateTime::now_utc();
        // 1 died again as another letter, 2 is discarded, 3 resolved, 4 open.
        acts::discard(&site.pool, &order(Filter::letter(id(1))), now).await.unwrap();
        let filter = Filter { letters: vec![id(0), id(2)], ..Filter::default() };
        let (replay, _) =
            acts::start_replay(&site.pool, &order(filter), ReplayPace::default(), now).await.unwrap();
        let again = died_again(&site, Dead { at: now, ..Dead::of(&spent("1", 1)) }, replay, id(0));
        site.publisher.publish_all(vec![again, resolved(&site, replay, id(2))]).await.unwrap();
        let letters = recorded(&site, 5).await;
        let successor = letters[1].line.letter;
        sqlx::query("update dead_letters set closed_at = $1 where closed_at is not null")
            .bind(now)
            .execute(&site.owner)
            .await
            .unwrap();

        let retention = LetterRetention { resolved: day * 30, discarded: day * 90 };
        let purge_at = async |days: u32, limit: i64| {
            purge(&site.pool, retention, now + day * days, limit).await.unwrap()
        };
        assert_eq!(purge_at(29, 100).await, 0);
        assert_eq!(
            purge_at(31, 100).await,
            1,
            "the resolved one; what goes on as another letter stays with it"
        );
        assert_eq!(states(&site).await, ["dead_again unknown", "open", "discarded mended", "open"]);
        assert_eq!(purge_at(91, 100).await, 1, "the discarded one");
        assert_eq!(purge_at(40_000, 100).await, 0, "open ones never");
        acts::discard(&site.pool, &order(Filter::letter(successor)), now + day * 100).await.unwrap();
        assert_eq!(purge_at(189, 100).await, 0);
        assert_eq!(purge_at(191, 100).await, 1, "the end of the chain first");
        assert_eq!(purge_at(191, 100).await, 1, "then its beginning");
        assert_eq!(states(&site).await, ["open"]);
        assert_eq!(
            site.number("select sum(letters)::bigint from dead_letter_audit where action = 'purge'").await,
            4
        );
        // A part at a time.
        acts::discard(&site.pool, &order(Filter::letter(id(3))), now).await.unwrap();
        assert_eq!(purge_at(91, 0).await, 0);
        assert_eq!(purge_at(91, 1).await, 1);
    });
}

#[test]
fn the_audit_is_append_only_and_tells_who_did_what_and_why() {
    run(async |site| {
        bury(&site, ["1", "2"].map(|id| Dead::of(&spent(id, 1)))).await;
        let letters = recorded(&site, 2).await;
        let id = letters[0].line.letter;
        let now = OffsetDateTime::now_utc();
        acts::note(&site.pool, &NoteTarget::Letter(id), "eve", "looks like a typo", now).await.unwrap();
        let kind = NoteTarget::Fingerprint(letters[0].line.fingerprint.clone());
        acts::note(&site.pool, &kind, "eve", "all of them", now).await.unwrap();
        acts::discard(&site.pool, &order(Filter::letter(id)), now).await.unwrap();
        acts::undo(&site.pool, &order(Filter::letter(id)), now).await.unwrap();
        let view = read::letter(&site.pool, id).await.unwrap().unwrap();
        let told: Vec<_> = view
            .audit
            .iter()
            .rev()
            .map(|line| {
                (line.by.as_str(), line.action.as_str(), line.reason.as_deref().unwrap(), line.letters)
            })
            .collect();
        assert_eq!(
            told,
            [
                ("eve", "note", "looks like a typo", None),
                ("eve", "note", "all of them", None),
                ("ada", "discard", "mended", Some(1)),
                ("ada", "undo", "mended", Some(1)),
            ]
        );
        for statement in [
            "update dead_letter_audit set by = 'nobody'",
            "delete from dead_letter_audit",
            "truncate dead_letter_audit",
        ] {
            assert!(sqlx::query(statement).execute(&site.owner).await.is_err(), "{statement}");
        }
        let unknown = acts::note(&site.pool, &NoteTarget::Letter(Uuid::now_v7()), "eve", "x", now).await;
        assert!(matches!(unknown, Err(acts::ActError::Unknown(_))), "{unknown:?}");
    });
}

#[test]
fn an_act_on_many_is_in_the_audit_of_each_and_in_that_of_no_other() {
    run(async |site| {
        bury(&site, ["1", "2", "3"].map(|id| Dead::of(&spent(id, 1)))).await;
        let letters = recorded(&site, 3).await;
        let kind = letters[0].line.fingerprint.clone();
        let ids: Vec<Uuid> = letters.iter().map(|letter| letter.line.letter).collect();
        let now = OffsetDateTime::now_utc();
        let of_kind = Filter { fingerprint: Some(kind.clone()), ..Filter::default() };
        let two = Filter { letters: ids[..2].to_vec(), ..of_kind.clone() };
        acts::discard(&site.pool, &order(two.clone()), now).await.unwrap();
        acts::undo(&site.pool, &order(two), now).await.unwrap();
        acts::discard(&site.pool, &order(Filter::letter(ids[2])), now).await.unwrap();
        acts::start_replay(&site.pool, &order(of_kind), ReplayPace::default(), now).await.unwrap();
        let told = async |letter: Option<Uuid>, fingerprint: Option<String>| {
            let filter = read::AuditFilter { id: letter, fingerprint, by: None };
            let lines = read::audit(&site.pool, &filter, 100).await.unwrap();
            lines.into_iter().rev().map(|line| line.action).collect::<Vec<_>>()
        };
        assert_eq!(told(Some(ids[0]), None).await, ["discard", "undo", "replay"]);
        assert_eq!(told(Some(ids[2]), None).await, ["discard"]);
        assert_eq!(told(None, Some(kind)).await, ["discard", "undo", "replay"]);
        let shown = read::letter(&site.pool, ids[2]).await.unwrap().unwrap();
        assert_eq!(shown.audit.len(), 1, "what was done with others is not its: {:?}", shown.audit);
        let changed = sqlx::query("delete from dead_letter_audit_letters").execute(&site.owner).await;
        assert!(changed.is_err(), "append-only");
    });
}

#[test]
fn nobody_does_nothing_and_a_replay_that_is_none_releases_nothing() {
    run(async |site| {
        bury(&site, [Dead::of(&spent("1", 1))]).await;
        let id = recorded(&site, 1).await[0].line.letter;
        let now = OffsetDateTime::now_utc();
        for by in ["", " "] {
            let order = ActRequest { by: by.to_owned(), ..order(Filter::letter(id)) };
            let replayed = acts::start_replay(&site.pool, &order, ReplayPace::default(), now).await;
            assert!(matches!(replayed, Err(acts::ActError::Nobody)), "{replayed:?}");
            let noted = acts::note(&site.pool, &NoteTarget::Letter(id), by, "seen", now).await;
            assert!(matches!(noted, Err(acts::ActError::Nobody)), "{noted:?}");
        }
        let none = acts::release(&site.pool, Uuid::now_v7(), now, "ada", now).await;
        assert!(matches!(none, Err(acts::ActError::Replay { .. })), "{none:?}");
        assert_eq!(site.number("select count(*) from dead_letter_audit").await, 0);
    });
}

/// A replay that fails again makes another letter of it, with a new time of death.
#[test]
fn the_oldest_is_what_failed_first_however_late_it_died() {
    run(async |site| {
        let late = Dead { at: DEAD + Duration::from_secs(3_600), ..Dead::of(&spent("1", 1)) };
        let mut young = Dead { at: DEAD, ..Dead::of(&spent("2", 1)) }.message(&site);
        let failed_at = DEAD.format(&Rfc3339).unwrap();
        young.headers.insert(header::FIRST_FAILED_AT.to_owned(), failed_at);
        site.publisher.publish_all(vec![late.message(&site), young]).await.unwrap();
        recorded(&site, 2).await;
        let mut connection = site.pool.acquire().await.unwrap();
        let stored = read::stored(&mut connection, &Filter::default(), 10).await.unwrap();
        assert_eq!(stored[0].fact.as_deref(), Some("gateway/1"));
        let rest = read::stored_after(&mut connection, &Filter::default(), Some(&stored[0]), 10).await;
        assert_eq!(rest.unwrap().len(), 1);
        let lines = read::letters(&site.pool, &Filter::default(), 10).await.unwrap();
        assert_eq!(lines[0].fact.as_deref(), Some("gateway/1"));
        let (open, _) = read::gauges(&mut connection).await.unwrap();
        assert_eq!(open[0].oldest, FIRST);
        drop(connection);
        let first = ActRequest { max: Some(1), ..order(Filter::default()) };
        acts::discard(&site.pool, &first, OffsetDateTime::now_utc()).await.unwrap();
        assert_eq!(site.texts("select id from dead_letters where state = 'discarded'").await, ["1"]);
    });
}
