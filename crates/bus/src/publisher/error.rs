//! What becomes of a message that is published.

/// Why a message is not known to be in the broker's hands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It may or may not have arrived.
    #[error("RabbitMQ is away: {0}")]
    Unavailable(String),
    /// One of the messages that shared the connection just then is at fault. It may or may not have arrived.
    #[error("RabbitMQ ended the connection or channel over what was published: {0}")]
    Objected(String),
    /// The broker took it and had no queue for it: the topology is not what it should be.
    #[error("no queue is bound to {exchange} for {routing_key}: run `bursar topology --check`")]
    Unroutable { exchange: String, routing_key: String },
    #[error("RabbitMQ refused the message: a queue is full or failing")]
    Refused,
}

/// Of one message: confirmed, or why it is not known to be.
pub(crate) type Published = Result<(), PublishError>;
