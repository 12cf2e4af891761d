//! One window of messages: all are published before the first confirm is awaited.

use super::error::{PublishError, Published};
use crate::message::Message;
use futures_util::future::{MaybeDone, maybe_done};
use lapin::options::BasicPublishOptions;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Channel, Confirmation, ErrorKind};
use std::collections::HashSet;
use std::pin::Pin;

/// Messages in flight on the channel. A `multiple` confirm costs the client a scan of them, so more is not faster.
pub(super) const WINDOW: usize = 512;

/// Publishes a window and awaits every confirm of it; outcomes in the order of the messages.
pub(super) async fn confirm_window(channel: &Channel, window: &[&Message]) -> lapin::Result<Vec<Published>> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut sends: Vec<Pin<Box<MaybeDone<_>>>> = window
        .iter()
        .map(|message| {
            Box::pin(maybe_done(channel.basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                options,
                &message.body,
                message.properties(),
            )))
        })
        .collect();
    // The first poll numbers a message and queues its frames: once each, in order, none waiting for another.
    for send in &mut sends {
        let _ = futures_util::poll!(send.as_mut());
    }
    let mut confirms = Vec::with_capacity(window.len());
    for mut send in sends {
        send.as_mut().await;
        confirms.extend(send.as_mut().take_output());
    }
    let mut confirmations = Vec::with_capacity(window.len());
    for confirm in confirms {
        confirmations.push(confirm?.await?);
    }
    Ok(outcomes(window, confirmations))
}

/// Matches returned messages to what was published by their id: the confirm they hang on may be another's.
fn outcomes(window: &[&Message], confirmations: Vec<Confirmation>) -> Vec<Published> {
    let mut returned = HashSet::new();
    let mut outcomes = Vec::with_capacity(window.len());
    for confirmation in confirmations {
        let (outcome, message) = match confirmation {
            Confirmation::Ack(message) => (Ok(()), message),
            Confirmation::Nack(message) => (Err(PublishError::Refused), message),
            // Only a channel without confirms answers so.
            Confirmation::NotRequested => {
                (Err(PublishError::Unavailable("confirms are off".to_owned())), None)
            }
        };
        outcomes.push(outcome);
        returned.extend(message.and_then(|message| {
            message.delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned())
        }));
    }
    if !returned.is_empty() {
        mark_unroutable(window, &returned, &mut outcomes);
    }
    outcomes
}

fn mark_unroutable(window: &[&Message], returned: &HashSet<String>, outcomes: &mut [Published]) {
    for (message, outcome) in window.iter().zip(outcomes) {
        if returned.contains(&message.message_id) {
            *outcome = Err(PublishError::Unroutable {
                exchange: message.exchange.clone(),
                routing_key: message.routing_key.clone(),
            });
        }
    }
}

/// An error that ends the connection and is not an operator's wish; or the channel, over what a message says of itself: one that
/// is larger than the broker takes.
pub(super) fn is_objection(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    match error.kind() {
        AMQPErrorKind::Hard(hard) => *hard != AMQPHardError::CONNECTIONFORCED,
        AMQPErrorKind::Soft(soft) => *soft == AMQPSoftError::PRECONDITIONFAILED,
    }
}
