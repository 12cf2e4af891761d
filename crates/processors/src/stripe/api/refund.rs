//! Refunds: <https://docs.stripe.com/refunds>.

use super::{answer, get, in_path};
use crate::api::{ApiAnswer, RawAnswer, Request};
use serde::Deserialize;

/// What of a refund decides. `status` is an open list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Refund {
    pub id: String,
    /// In the currency's minor unit.
    pub amount: i64,
    pub currency: String,
    pub status: Option<String>,
    pub failure_reason: Option<String>,
}

/// Asks for a refund by its id.
pub fn retrieve_refund(refund: &str) -> Request {
    get(format!("/v1/refunds/{}", in_path(refund)))
}

/// Reads the answer to [`retrieve_refund`].
pub fn read_refund(answer: RawAnswer<'_>) -> ApiAnswer<Refund> {
    answer::read(answer)
}
