//! The mappings, rule by rule: a payload, what is changed in it, and what it then says.

mod bodies;
mod generic;
mod paddle;
mod stripe;

use super::*;
use domain::fact::LinkProof;
use secrecy::SecretString;
use serde_json::json;

type Changes<'a> = &'a [(&'a str, Value)];

/// Sets what stands at a path such as `data.items.0.quantity`; `Value::Null` is what a removed field reads as too.
fn change(payload: &mut Value, changes: Changes<'_>) {
    for (path, value) in changes {
        let pointer = format!("/{}", path.replace('.', "/"));
        match payload.pointer_mut(&pointer) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, name) =
                    path.rsplit_once('.').map_or(("", *path), |(parent, name)| (parent, name));
                let parent =
                    if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
                payload.pointer_mut(&parent).unwrap()[name] = value.clone();
            }
        }
    }
}

fn changed(processor: &str, name: &str, changes: Changes<'_>) -> Vec<u8> {
    let mut payload = payload(processor, name);
    change(&mut payload, changes);
    serde_json::to_vec(&payload).unwrap()
}

fn check_in(settings: &Settings, processor: &str, name: &str, changes: Changes<'_>, expect: &str) {
    let body = changed(processor, name, changes);
    let got =
        translate(processor, settings, &body).map_or_else(|why| format!("refused {why}"), |e| in_words(&e));
    assert!(is_told(&got, expect), "{processor}/{name} with {changes:?}:\n  {got}\ninstead of\n  {expect}");
}

fn check(processor: &str, name: &str, changes: Changes<'_>, expect: &str) {
    check_in(&Settings::default(), processor, name, changes, expect);
}

fn only_payment(
    settings: &Settings,
    processor: &str,
    name: &str,
    changes: Changes<'_>,
) -> domain::fact::Payment {
    let envelopes = translate(processor, settings, &changed(processor, name, changes)).unwrap();
    match &envelopes[0].fact {
        Fact::Payment(payment) => payment.clone(),
        other => panic!("expected a payment, got {other:?}"),
    }
}
