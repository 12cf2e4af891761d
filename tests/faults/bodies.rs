//! Messages that nobody can settle, among those that everybody can.

use super::load::Load;
use super::place::{Aftermath, Place};
use bus::{Message, exchange};
use domain::Fact;
use testkit::facts::{envelope, payment, usage};

const MEBIBYTE: usize = 1024 * 1024;

const JSON: &str = "application/cloudevents+json";

/// Not JSON, not UTF-8, JSON of something else, a mebibyte of nothing; and a fact as long as that.
pub async fn malformed(place: &mut Place, load: &Load) -> Aftermath {
    let bodies = [
        b"no JSON".to_vec(),
        vec![0xff, 0xfe, 0x00],
        br#"{"what": "is this"}"#.to_vec(),
        br#"[]"#.to_vec(),
        Vec::new(),
        vec![b'x'; MEBIBYTE],
        format!("[{}]", "[".repeat(100_000)).into_bytes(),
    ];
    let mut dead = Vec::new();
    // At each door, and behind it.
    for to in [exchange::VERIFIED, exchange::INBOUND, exchange::FACTS] {
        for (number, body) in bodies.iter().enumerate() {
            let id = format!("{}-malformed-{to}-{number}", load.name());
            load.publish(vec![message(place, to, &id, body.clone())]).await;
            dead.push(id);
        }
    }
    load.publish_large(MEBIBYTE).await;
    Aftermath { dead, ..Aftermath::default() }
}

/// Each kind of poison there is, spread evenly among facts that are good.
pub async fn poison(place: &mut Place, load: &Load) -> Aftermath {
    let (good, poison) = place.form.of((5_000, 50), (100_000, 1_000));
    let admitted =
        place.site.texts("select id from inbox where kind = 'fact.usage' order by id limit 1").await;
    let mut dead = Vec::new();
    for number in 0..poison {
        load.flood(good / poison).await;
        let id = format!("{}-poison-{number}", load.name());
        load.publish(vec![poisonous(place, &id, number, &admitted[0])]).await;
        dead.push(id);
    }
    let note = format!("{poison} among {good}");
    Aftermath { dead, notes: vec![note], ..Aftermath::default() }
}

fn poisonous(place: &Place, id: &str, number: usize, admitted: &str) -> Message {
    match number % 5 {
        0 => message(place, exchange::INBOUND, id, b"no JSON".to_vec()),
        1 => message(place, exchange::FACTS, id, b"{}".to_vec()),
        // The same identity with other content.
        2 => {
            let conflict = envelope(&format!("gateway/{admitted}"), usage("somebody", 1_000_000));
            message(place, exchange::INBOUND, id, conflict.to_json().into_bytes())
        }
        // Facts about money come from verified webhooks alone.
        3 => {
            let forged = envelope(&format!("gateway/{id}"), Fact::Payment(payment(id, "somebody")));
            message(place, exchange::INBOUND, id, forged.to_json().into_bytes())
        }
        _ => message(place, exchange::VERIFIED, id, vec![0xff; 100]),
    }
}

fn message(place: &Place, to: &str, id: &str, body: Vec<u8>) -> Message {
    let to = place.site.namespace.name(to);
    let message = Message::new(to, "fact.usage", id.to_owned(), JSON, None, String::new());
    Message { body, ..message }
}
