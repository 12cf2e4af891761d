//! Why RabbitMQ did not do what it was asked.

use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("RabbitMQ: {0}")]
    Amqp(#[from] lapin::Error),
    #[error("RabbitMQ did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the URL of RabbitMQ: {0}")]
    Url(String),
    /// None of several hosts let us in; whether that passes at any of them.
    #[error("RabbitMQ at none of its hosts: {reasons}")]
    Nowhere { reasons: String, passes: bool },
}

impl BrokerError {
    /// Whether the broker or the way to it is away. A refusal by the broker (an object that exists otherwise, no permission)
    /// does not pass.
    pub fn is_transient(&self) -> bool {
        match self {
            BrokerError::Amqp(error) => !error.is_amqp_soft_error(),
            BrokerError::Timeout(_) => true,
            BrokerError::Url(_) => false,
            BrokerError::Nowhere { passes, .. } => *passes,
        }
    }
}
