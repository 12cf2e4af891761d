use super::*;

const TOO_LARGE: &str = "AMQP soft error: PRECONDITION-FAILED: PRECONDITION_FAILED - message size 16 is larger than configured max size 10";

fn unconfirmed(own: &[(&str, &str)], body: &[u8]) -> Unconfirmed {
    let headers = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Unconfirmed::from(Message {
        exchange: "shop.dead".to_owned(),
        routing_key: "idle".to_owned(),
        message_id: "m-1".to_owned(),
        content_type: "text/plain".to_owned(),
        headers,
        body: body.to_vec(),
    })
}

fn fail(message: &mut Unconfirmed, why: &str) {
    message.failed("idle", &PublishError::Objected(why.to_owned()));
}

#[test]
fn a_letter_that_the_broker_finds_too_large_goes_without_what_cannot_be_read() {
    let mut letter =
        unconfirmed(&[(header::UNREADABLE, "8"), (header::DEAD_REASON, "odd")], b"\0\0ppppppthe body");
    fail(&mut letter, TOO_LARGE);
    assert_eq!(letter.message.body, b"the body");
    assert_eq!(letter.message.headers.get(header::UNREADABLE), None);
    assert_eq!(letter.message.headers[header::DEAD_REASON], "odd");
}

#[test]
fn a_body_beyond_the_brokers_limit_is_cut_with_a_note() {
    let mut letter = unconfirmed(&[(header::DEAD_REASON, "odd")], b"a body that is long");
    fail(&mut letter, TOO_LARGE);
    assert_eq!(letter.message.body, b"a body tha");
    let reason = &letter.message.headers[header::DEAD_REASON];
    assert!(reason.contains("of this one's 19 bytes only the first") && reason.ends_with("odd"), "{reason}");
    let mut resting = unconfirmed(&[(header::ATTEMPTS, "[]")], b"a body that is long");
    fail(&mut resting, TOO_LARGE);
    assert_eq!(resting.message.body, b"a body tha");
    assert!(resting.message.headers[header::ATTEMPTS].contains("19 bytes"));
}

#[test]
fn no_other_objection_costs_a_body_anything() {
    let own = [("theirs", "x"), (header::DEAD_REASON, "odd")];
    let mut letter = unconfirmed(&own, b"a body that is long");
    for _ in 0..OBJECTIONS_MAX {
        fail(&mut letter, "INTERNAL-ERROR");
        letter.failed("idle", &PublishError::Refused);
    }
    assert_eq!(letter.message.body, b"a body that is long");
    assert_eq!(letter.message.headers.len(), 1);
    assert_eq!(size_max("message size 11 is larger than max size 10"), Some(10));
    assert_eq!(size_max("max size none"), None);
}
