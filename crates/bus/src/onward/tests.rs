use super::*;
use crate::returned::{Returned, shortened};
use time::macros::datetime;
use uuid::Uuid;

const NOW: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

fn incoming() -> Incoming {
    let headers = [("traceparent", "00-x"), ("x-death", "1"), ("bursar-replay", "forged")];
    Incoming {
        exchange: "shop.inbound".to_owned(),
        routing_key: "fact.usage".to_owned(),
        message_id: Some("m-1".to_owned()),
        content_type: Some("text/plain".to_owned()),
        user_id: Some("gateway".to_owned()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        returned: None,
        death: None,
        returns: 0,
        unreadable: None,
        body: b"body".to_vec(),
    }
}

/// As the broker delivers it out of the queue it was put into.
fn delivered(message: Message) -> Incoming {
    Incoming {
        exchange: message.exchange,
        routing_key: message.routing_key,
        message_id: Some(message.message_id),
        content_type: Some(message.content_type),
        user_id: None,
        headers: message.headers,
        returned: None,
        death: None,
        returns: 0,
        unreadable: None,
        body: message.body,
    }
}

fn namespace() -> Namespace {
    Namespace::new("shop").unwrap()
}

#[test]
fn a_message_that_comes_back_is_what_it_first_was() {
    let first = incoming().restored(&namespace());
    let failed = [Attempt { at: NOW, why: "no luck".to_owned() }];
    let payload = Payload { content_type: None, body: first.body.clone() };
    let to = Destination { exchange: String::new(), routing_key: "shop.gate".to_owned() };
    let again = delivered(first.on_its_way(to, payload, &failed, None, NOW)).restored(&namespace());
    let returned = again.returned.clone().unwrap();
    assert_eq!(returned, Returned { first_failed_at: NOW, attempts: failed.to_vec(), replayed: None });
    assert_eq!(
        Incoming { returned: None, ..again.clone() },
        Incoming { headers: again.headers.clone(), ..first }
    );
    let names: Vec<_> = again.headers.keys().collect();
    assert_eq!(names, ["traceparent"], "neither the broker's nor the fleet's");

    let replayed = ReplayedLetter { replay: Uuid::now_v7(), letter: Uuid::now_v7() };
    let letter = Incoming { returned: Some(Returned { replayed: Some(replayed), ..returned }), ..again };
    let replay = delivered(letter.replay(&namespace(), "gate")).restored(&namespace()).returned.unwrap();
    assert_eq!(replay, Returned { first_failed_at: NOW, attempts: vec![], replayed: Some(replayed) });
}

/// A publisher may fill a frame with small headers. What goes on has more to say than that.
#[test]
fn what_goes_on_fits_a_frame_however_many_headers_it_had() {
    let mut message = incoming();
    message.headers = (0..14_540).map(|number| (format!("{number:x}"), String::new())).collect();
    let why = "\"".repeat(40_000);
    let attempts: Vec<Attempt> = (0..11).map(|_| Attempt::new(NOW, &why)).collect();
    let death = Death {
        worker: "gate".to_owned(),
        queue: "gate".to_owned(),
        code: "unknown".to_owned(),
        reason: shortened(why, 32 * 1024),
        at: Some(NOW),
    };
    let payload = Payload { content_type: None, body: message.body.clone() };
    let to = Destination { exchange: "shop.dead".to_owned(), routing_key: "gate".to_owned() };
    let letter = message.on_its_way(to, payload, &attempts, Some(&death), NOW);
    let size: usize = letter.headers.iter().map(|(name, value)| 6 + name.len() + value.len()).sum();
    assert!((100 * 1024..=HEADERS_MAX).contains(&size), "{size}");
    let back = delivered(letter).restored(&namespace());
    assert_eq!(back.attempts(), attempts);
    assert_eq!(back.death, Some(death));
}

#[test]
fn nobody_else_can_say_that_a_message_was_put_back() {
    let by = |exchange: &str| {
        let mut message = incoming();
        message.exchange = exchange.to_owned();
        message.headers.insert(header::FIRST_FAILED_AT.to_owned(), time_text(NOW));
        message.headers.insert(header::USER.to_owned(), "root".to_owned());
        message
    };
    let user = |message: Incoming| message.restored(&namespace()).user_id;
    assert_eq!(user(by("")).as_deref(), Some("root"));
    assert_eq!(user(by("shop.dead")).as_deref(), Some("root"));
    for exchange in ["shop.inbound", "other.dead"] {
        let read = by(exchange).restored(&namespace());
        assert_eq!((read.returned, read.user_id.as_deref()), (None, Some("gateway")), "{exchange}");
        assert!(read.headers.keys().all(|name| !name.starts_with(header::OWN)));
    }
}

#[test]
fn what_the_broker_gave_up_on_says_where_it_lay() {
    let mut message = incoming();
    message.exchange = "shop.dead".to_owned();
    message.routing_key = "gate".to_owned();
    let death = [
        ("x-first-death-queue", "shop.gate.inbound"),
        ("x-first-death-reason", "maxlen"),
        ("bursar-worker", "forged"),
    ];
    message.headers.extend(death.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let death = message.restored(&namespace()).death.unwrap();
    assert_eq!((&*death.worker, &*death.queue, &*death.code), ("gate", "gate.inbound", "broker_maxlen"));
}

#[test]
fn what_was_laid_aside_comes_back_with_where_it_lay_and_how_it_came() {
    let mut message = incoming();
    message.exchange = "shop.dead".to_owned();
    message.routing_key = "gate".to_owned();
    let death = [
        (header::DEATH_QUEUE, "shop.gate.inbound"),
        (header::DEATH_REASON, "rejected"),
        (header::DEATH_EXCHANGE, "shop.inbound"),
        (header::DEATH_ROUTING_KEY, "fact.usage"),
    ];
    message.headers.extend(death.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let restored = message.clone().restored(&namespace());
    let aside = message.laid_aside(&namespace(), NOW).unwrap();
    assert!(aside.headers.keys().all(|name| !name.starts_with("x-")), "{aside:?}");
    let back = delivered(aside).restored(&namespace());
    assert_eq!(back.death, restored.death.map(|death| Death { at: Some(NOW), ..death }));
    let came =
        |message: &Incoming| (message.exchange.clone(), message.routing_key.clone(), message.user_id.clone());
    assert_eq!(came(&back), ("shop.inbound".into(), "fact.usage".into(), Some("gateway".into())));
    assert_eq!(incoming().laid_aside(&namespace(), NOW), None, "no dead letter");
}
