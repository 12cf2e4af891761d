//! What answers have in common: which of them say that something was done, that nothing was, or neither.
//! <https://docs.stripe.com/api/errors>, <https://docs.stripe.com/error-low-level>

use crate::api::{ApiAnswer, ApiRefusal, RawAnswer};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The same key was sent with other parameters, or is in work.
const IDEMPOTENCY_ERROR: &str = "idempotency_error";

/// The answer to a question. Nothing is done by asking: whatever is unclear is worth asking again.
pub(super) fn read<T: DeserializeOwned>(answer: RawAnswer<'_>) -> ApiAnswer<T> {
    if answer.status == 200 {
        return object(answer);
    }
    let refusal = refusal(answer);
    match (answer.status, refusal.code.as_str()) {
        // Also where the key is of the other mode: the field tells nothing of that.
        (404, "resource_missing") => ApiAnswer::Absent(refusal),
        (400 | 402, _) => ApiAnswer::Refused(refusal),
        (401 | 403, _) => ApiAnswer::NotPermitted(refusal),
        (409 | 429, _) => ApiAnswer::NotNow(refusal),
        _ => ApiAnswer::Unclear(refusal),
    }
}

/// The answer to what changes something. As for a question, but for what a key may have done before: a conflict says that a
/// call with this key is in work, and other parameters that one was carried out.
pub(super) fn read_change<T: DeserializeOwned>(answer: RawAnswer<'_>) -> ApiAnswer<T> {
    match read(answer) {
        ApiAnswer::NotNow(refusal) if refusal.status == 409 => ApiAnswer::Unclear(refusal),
        ApiAnswer::Refused(refusal) if refusal.kind == IDEMPOTENCY_ERROR => ApiAnswer::Unclear(refusal),
        other => other,
    }
}

fn object<T: DeserializeOwned>(answer: RawAnswer<'_>) -> ApiAnswer<T> {
    match serde_json::from_slice(answer.body) {
        Ok(object) => ApiAnswer::Is(object),
        Err(why) => ApiAnswer::Unclear(ApiRefusal {
            code: "unreadable_answer".to_owned(),
            message: why.to_string(),
            ..refusal(answer)
        }),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    param: Option<String>,
    message: Option<String>,
}

fn refusal(answer: RawAnswer<'_>) -> ApiRefusal {
    let ErrorAnswer { error } = serde_json::from_slice(answer.body).unwrap_or_default();
    ApiRefusal {
        status: answer.status,
        kind: error.kind.unwrap_or_default(),
        code: error.code.unwrap_or_default(),
        field: error.param,
        message: error.message.unwrap_or_default(),
        request_id: answer.header("request-id").map(str::to_owned),
        may_repeat: answer.header("stripe-should-retry").and_then(|text| text.parse().ok()),
        is_replayed: answer.header("idempotent-replayed") == Some("true"),
    }
}
