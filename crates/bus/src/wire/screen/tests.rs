//! The screen is held against the client's own parser, of the same version: what it lets pass, and what it makes of the rest.

use super::*;
use crate::incoming::Incoming;
use amq_protocol::frame::{AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{AMQPMethod, AMQPProperties, Deliver};
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, LongString};
use lapin::BasicProperties;
use lapin::message::Delivery;
use proptest::collection::vec;
use proptest::prelude::*;

const CHANNEL: u16 = 7;

/// A message as the broker sends it.
fn message(routing_key: &[u8], properties: &[u8], body: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    let short = |bytes: &[u8]| [&[bytes.len() as u8], bytes].concat();
    let before = [&DELIVER[..], &short(b"tag"), &[0, 0, 0, 0, 0, 0, 0, 9, 1]].concat();
    let method = [before, short(b"shop.inbound"), short(routing_key)].concat();
    frame(&mut sent, METHOD, CHANNEL, &method);
    let length = (body.len() as u64).to_be_bytes();
    frame(&mut sent, CONTENT_HEADER, CHANNEL, &[&[0, 60, 0, 0], &length[..], properties].concat());
    for part in body.chunks(FRAME_MAX - AROUND) {
        frame(&mut sent, BODY, CHANNEL, part);
    }
    sent
}

fn screened(bytes: &[u8], chunk: usize) -> Vec<u8> {
    let (mut screen, mut out) = (Screen::new(0), Vec::new());
    for part in bytes.chunks(chunk) {
        screen.push(part, &mut out).expect("no frame is too large");
    }
    out
}

/// As the client reads it. Whatever it cannot parse fails the test.
fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("the client can parse it");
        assert!(bytes.len() - rest.len() <= FRAME_MAX, "the client takes no larger frame");
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// As the loop receives it.
fn received(bytes: &[u8]) -> Incoming {
    let mut frames = parsed(bytes).into_iter();
    let Some(AMQPFrame::Method(CHANNEL, AMQPClass::Basic(AMQPMethod::Deliver(Deliver { routing_key, .. })))) =
        frames.next()
    else {
        panic!("a message begins with its delivery")
    };
    let Some(AMQPFrame::Header(CHANNEL, header)) = frames.next() else { panic!("then come properties") };
    let body = frames.flat_map(|frame| match frame {
        AMQPFrame::Body(CHANNEL, body) => body,
        frame => panic!("then nothing but its body, not {frame}"),
    });
    let body: Vec<u8> = body.collect();
    assert_eq!(body.len() as u64, header.body_size, "the client waits for as much as it was told");
    delivered(routing_key.as_str(), header.properties, body)
}

fn delivered(routing_key: &str, properties: AMQPProperties, data: Vec<u8>) -> Incoming {
    // The client's own is made by the client alone; these are its parts.
    let mut delivery = Delivery::mock(9, "shop.inbound".into(), routing_key.into(), true, data);
    delivery.properties = properties;
    delivery.into()
}

fn table(entries: &[&[u8]]) -> Vec<u8> {
    let entries = entries.concat();
    [&(entries.len() as u32).to_be_bytes()[..], &entries].concat()
}

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[name.len() as u8], name, value].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    [&b"S"[..], &(text.len() as u32).to_be_bytes(), text].concat()
}

/// Lists in lists, or tables in tables.
fn nested(letter: u8, depth: usize) -> Vec<u8> {
    let mut value = vec![b'V'];
    for _ in 0..depth {
        if letter == b'F' {
            value = entry(b"n", &value);
        }
        value = [&[letter][..], &(value.len() as u32).to_be_bytes(), &value].concat();
    }
    value
}

fn headers(entries: &[&[u8]]) -> Vec<u8> {
    [&0x2000_u16.to_be_bytes()[..], &table(entries)].concat()
}

const UUID: [u8; 16] =
    [0x01, 0x8f, 0x3c, 0xff, 0xc0, 0x80, 0x70, 0x01, 0x8f, 0x3c, 0xff, 0xc0, 0x80, 0x70, 9, 8];

#[test]
fn what_the_client_can_read_goes_on_as_it_is() {
    let mut headers = FieldTable::default();
    let list = FieldArray::from(vec![AMQPValue::Void, AMQPValue::LongString(LongString::from(&b"\xff"[..]))]);
    headers.insert("list".into(), AMQPValue::FieldArray(list));
    headers.insert("tall".into(), AMQPValue::Timestamp(7));
    let properties = BasicProperties::default()
        .with_message_id("ü-1".into())
        .with_timestamp(5)
        .with_headers(headers)
        .with_cluster_id("c".into());
    let header = amq_protocol::frame::AMQPContentHeader { class_id: 60, body_size: 200_000, properties };
    let mut sent = message(b"fact.usage", &[0, 0], &[7; 200_000]);
    for frame in [AMQPFrame::Header(CHANNEL, header), AMQPFrame::Heartbeat] {
        sent = gen_frame(&frame)(sent.into()).expect("it fits").into_inner().0;
    }
    for chunk in [1, 7, 4_000, usize::MAX] {
        assert!(screened(&sent, chunk) == sent, "in chunks of {chunk}");
    }
}

#[test]
fn each_property_that_the_client_cannot_read_is_set_aside_with_its_bytes() {
    let check = |properties: &[u8], told: &str| {
        let sent = [message(b"a.b", properties, b"body"), message(b"a.b", &[0, 0], b"next")].concat();
        for chunk in [1, 13, usize::MAX] {
            let out = screened(&sent, chunk);
            let next = message(b"a.b", &[0, 0], b"next");
            let Some(first) = out.strip_suffix(&next[..]) else { panic!("its neighbour goes on as it is") };
            let came = received(first);
            let unreadable = came.unreadable.as_ref().expect("it says so");
            assert_eq!((&came.body[..], &unreadable.properties[..]), (&b"body"[..], properties));
            assert!(unreadable.reason().contains(told), "{}", unreadable.reason());
            assert!(came.headers.keys().all(|name| !name.starts_with(header::OWN)), "{:?}", came.headers);
        }
    };
    let short = [&[16], &UUID[..]].concat();
    let texts = [(15, "content type"), (14, "content encoding"), (10, "correlation id"), (9, "reply-to")];
    let others =
        [(8, "expiration"), (7, "message id"), (5, "type"), (4, "user id"), (3, "app id"), (2, "cluster id")];
    for (bit, name) in texts.into_iter().chain(others) {
        let told = format!("the {name} \"0x018f3cffc08070018f3cffc080700908\" is no UTF-8");
        check(&[&(1_u16 << bit).to_be_bytes()[..], &short].concat(), &told);
    }
    check(&headers(&[&entry(&UUID, b"V")]), "the header \"0x018f");
    check(
        &headers(&[&entry(b"deep", &nested(b'A', 3_000))]),
        "the header \"deep\" has lists in lists deeper",
    );
    check(
        &headers(&[&entry(b"deep", &nested(b'F', 3_000))]),
        "the header \"deep\" has lists in lists deeper",
    );
    check(
        &headers(&[&entry(b"in", &[&b"F"[..], &table(&[&entry(b"\xff", b"V")])].concat())]),
        "\"in\" is no UTF-8",
    );
    check(&headers(&[&entry(b"odd", b"?")]), "bytes at the end are malformed");
    check(&headers(&[&entry(b"in", b"A\0\0\0\x01?")]), "the header \"in\" is malformed");
    check(&[0x80, 0, 200, 1], "bytes at the end are malformed");
    check(&[0, 0, 1, 2, 3], "3 bytes at the end are malformed");
    check(&[0x80], "1 bytes at the end are malformed");
    check(&headers(&[&entry(b"much", &text(&[b'x'; FRAME_MAX]))]), "more than fit a frame");
}

#[test]
fn what_of_it_can_be_read_is_there_to_be_used() {
    let flags: u16 = 1 << 15 | 1 << 13 | 1 << 7 | 1 << 4;
    let table = table(&[
        &entry(b"\xfe", &text(b"lost")),
        &entry(b"bursar-unreadable", &text(b"forged")),
        &entry(b"traceparent", &text(b"00-x")),
        &entry(b"x-delivery-count", &[&b"l"[..], &5_i64.to_be_bytes()].concat()),
    ]);
    let texts = |texts: [&[u8]; 3]| texts.map(|text| [&[text.len() as u8], text].concat());
    let [kind, id, user] = texts([b"text/plain", &UUID, b"guest"]);
    let properties = [&flags.to_be_bytes()[..], &kind, &table, &id, &user].concat();
    let came = received(&screened(&message(b"a\xffb", &properties, b""), usize::MAX));
    assert_eq!(came.message_id, None);
    assert_eq!(came.content_type.as_deref(), Some("text/plain"));
    assert_eq!(came.user_id.as_deref(), Some("guest"));
    assert_eq!(came.routing_key, "a\u{fffd}b");
    assert_eq!(came.returns, 5, "what the broker counts counts");
    assert_eq!(came.headers["traceparent"], "00-x");
    assert!(!came.headers.contains_key(header::UNREADABLE));
    assert!(came.body.is_empty());
    let unreadable = came.unreadable.expect("it says so");
    assert_eq!((&unreadable.routing_key[..], &unreadable.exchange[..]), (&b"a\xffb"[..], &b""[..]));
    let reason = unreadable.reason();
    assert!(reason.contains("the routing key \"0x61ff62\" is no UTF-8, the header \"0xfe\" is"), "{reason}");
}

#[test]
fn nobody_else_can_say_that_a_message_is_unreadable() {
    for mark in ["4", "0:4", ":4"] {
        let properties = headers(&[&entry(b"bursar-unreadable", &text(mark.as_bytes()))]);
        let came = received(&screened(&message(b"a.b", &properties, b"body"), usize::MAX));
        assert_eq!((came.unreadable, &came.body[..]), (None, &b"body"[..]));
    }
}

/// What the broker counts is another the next time; a letter is one nevertheless.
#[test]
fn a_message_that_is_delivered_again_is_the_same() {
    let identity = |entries: &[&[u8]]| {
        let properties = headers(entries);
        UnreadableProperties { properties, ..UnreadableProperties::default() }.identity()
    };
    let (bad, count) = (entry(b"\xff", b"V"), entry(b"x-delivery-count", b"B\x07"));
    assert_eq!(identity(&[&bad]), identity(&[&bad, &count]));
    let other = entry(b"a", b"V");
    assert_eq!(identity(&[&other, &bad]), identity(&[&bad, &count, &other]));
    assert_ne!(identity(&[&bad]), identity(&[&bad, &bad]));
    assert_ne!(identity(&[&bad]), identity(&[&entry(b"\xfe", b"V")]));
}

/// The client's threads have the stack that the standard library gives them, and cannot be given another.
#[test]
fn what_passes_is_parsed_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    let parsing = small.spawn(|| {
        for letter in [b'A', b'F'] {
            let sent = message(b"a.b", &headers(&[&entry(b"deep", &nested(letter, 32))]), b"");
            let out = screened(&sent, usize::MAX);
            assert!(out == sent, "so many are let pass");
            parsed(&out);
        }
    });
    assert!(parsing.expect("a thread").join().is_ok());
}

#[test]
fn a_frame_has_the_size_that_client_and_server_agreed_upon() {
    let tune = |asked, told: u32| {
        let (mut screen, mut sent) = (Screen::new(asked), Vec::new());
        let method =
            connection::AMQPMethod::Tune(connection::Tune { channel_max: 9, frame_max: told, heartbeat: 60 });
        let frame = AMQPFrame::Method(0, AMQPClass::Connection(method));
        sent = gen_frame(&frame)(sent.into()).expect("it fits").into_inner().0;
        screen.push(&sent, &mut Vec::new()).expect("it is small");
        screen.frame_max
    };
    assert_eq!(
        [tune(0, 9_000), tune(8_000, 9_000), tune(9_500, 9_000), tune(9_500, 0)],
        [9_000, 8_000, 9_000, 9_500]
    );
    assert_eq!([tune(0, 0), tune(1, 1), tune(0, u32::MAX)], [HELD_MAX, FRAME_MIN, HELD_MAX]);
    let mut screen = Screen::new(0);
    let huge = [&[METHOD, 0, 0][..], &u32::MAX.to_be_bytes()].concat();
    assert!(screen.push(&huge, &mut Vec::new()).is_err(), "nothing is held without a limit");
    let mut out = Vec::new();
    Screen::new(0).push(b"AMQP\0\0\x09\x01rest", &mut out).expect("it is small");
    assert!(out.starts_with(b"AMQP\0\0\x09\x01"), "the server's answer to another version");
}

/// Properties that are nearly right: a text that may be none, values of every type and of none, lengths that lie.
fn properties() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop_oneof![3 => "[a-zü]{0,9}".prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..20)];
    let letters = prop_oneof![9 => prop::sample::select(b"tbBsUuIiLlfdDSATFxV".to_vec()), 1 => any::<u8>()];
    let leaf = (letters, vec(any::<u8>(), 0..12)).prop_map(|(letter, rest)| {
        let (length, mut value) = ((rest.len() as u32).to_be_bytes(), vec![letter]);
        let sizes = [("V", 0), ("tbB", 1), ("sUu", 2), ("Iif", 4), ("D", 5), ("LldT", 8)];
        match sizes.iter().find(|(letters, _)| letters.as_bytes().contains(&letter)) {
            Some((_, size)) => value.extend(rest.iter().chain(&[0; 12]).take(*size)),
            None if matches!(letter, b'A' | b'F') => value.extend([0; 4]),
            None => value.extend(length.iter().chain(&rest)),
        }
        value
    });
    let value = leaf.prop_recursive(8, 64, 3, move |inner| {
        let list =
            vec(inner.clone(), 0..3).prop_map(|values| [&b"A"[..], &table(&[&values.concat()])].concat());
        let entries = vec((bytes(), inner), 0..3).prop_map(|entries| {
            let entries: Vec<Vec<u8>> = entries.iter().map(|(name, value)| entry(name, value)).collect();
            [&b"F"[..], &table(&[&entries.concat()])].concat()
        });
        prop_oneof![list, entries]
    });
    let headers = vec((bytes(), value), 0..5).prop_map(|entries| {
        let entries: Vec<Vec<u8>> = entries.iter().map(|(name, value)| entry(name, value)).collect();
        table(&[&entries.concat()])
    });
    let short = || bytes().prop_map(|bytes| [&[bytes.len() as u8], &bytes[..]].concat());
    let texts = vec(short(), 10);
    let damage = vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let cut = prop_oneof![4 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (any::<u16>(), headers, texts, damage, any::<bool>(), cut).prop_map(
        |(flags, headers, texts, damage, harmed, cut)| {
            let mut properties = flags.to_be_bytes().to_vec();
            let mut texts = texts.into_iter();
            for place in (0..14).filter(|place| flags & 1 << (15 - place) != 0) {
                match place {
                    2 => properties.extend(&headers),
                    3 | 4 => properties.push(2),
                    9 => properties.extend([0, 0, 0, 0, 0, 0, 0, 5]),
                    _ => properties.extend(texts.next().into_iter().flatten()),
                }
            }
            for (place, byte) in damage.into_iter().filter(|_| harmed) {
                let place = place.index(properties.len());
                properties[place] = byte;
            }
            properties.truncate(cut.map_or(usize::MAX, |cut| cut.index(properties.len() + 1)));
            properties
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_passes_the_client_can_parse(
        routing_key in prop_oneof![Just(b"fact.usage".to_vec()), vec(any::<u8>(), 0..255)],
        properties in properties(),
        body in vec(any::<u8>(), 0..40),
        chunk in 1_usize..400,
    ) {
        let sent = message(&routing_key, &properties, &body);
        let out = screened(&sent, chunk);
        let came = received(&out);
        prop_assert_eq!(&came.body, &body);
        let is_parsable = parse_frame(&sent[..]).is_ok_and(|(rest, _)| parse_frame(rest).is_ok());
        match came.unreadable {
            Some(unreadable) => {
                prop_assert!(!is_parsable, "only what the client cannot parse is set aside");
                prop_assert_eq!(&unreadable.properties, &properties);
                prop_assert!(unreadable.reason().len() < 4_000);
            }
            None => prop_assert!(out == sent, "everything else is left as it is"),
        }
    }

    #[test]
    fn whatever_the_server_sends_nothing_panics_or_recurses(
        bytes in vec(any::<u8>(), 0..600),
        frames in vec((prop::sample::select(vec![1_u8, 2, 3, 8, 65, 0]), 0_u16..3, vec(any::<u8>(), 0..60)), 0..9),
        chunk in 1_usize..200,
    ) {
        let mut sent = Vec::new();
        for (kind, channel, content) in frames {
            frame(&mut sent, kind, channel, &content);
        }
        sent.extend(bytes);
        let (mut screen, mut out) = (Screen::new(0), Vec::new());
        for part in sent.chunks(chunk) {
            if screen.push(part, &mut out).is_err() {
                break;
            }
        }
    }
}
