//! Stripe's API: form-encoded questions, JSON answers. Branches on status, type and code, never on the message.

use crate::api::{ApiAnswer, ApiRefusal, Method, Request};
use serde::Deserialize;

/// Fixes the shape of answers, whatever the account's default is. <https://docs.stripe.com/api/versioning>
const VERSION: (&str, &str) = ("stripe-version", "2026-08-26.dahlia");

/// What of a refund decides. `status` is an open list: see <https://docs.stripe.com/refunds>.
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
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // An id is part of the path: nothing in it may lead elsewhere.
    let refund: String = refund.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    Request {
        method: Method::Get,
        path: format!("/v1/refunds/{refund}"),
        headers: vec![(VERSION.0, VERSION.1.to_owned())],
        body: Vec::new(),
        idempotency_key: None,
    }
}

/// Reads the answer to [`retrieve_refund`]. Nothing is done by asking: whatever is no refund is worth asking again.
pub fn read_refund(status: u16, body: &[u8]) -> ApiAnswer<Refund> {
    if status == 200 {
        return match serde_json::from_slice(body) {
            Ok(refund) => ApiAnswer::Is(refund),
            Err(why) => ApiAnswer::Unclear(ApiRefusal {
                status,
                code: "unreadable_answer".to_owned(),
                field: None,
                message: why.to_string(),
            }),
        };
    }
    let refusal = refusal(status, body);
    match (status, refusal.code.as_str()) {
        // Also where the key is of the other mode: the field tells nothing of that.
        (404, "resource_missing") => ApiAnswer::Absent,
        (400..=403, _) => ApiAnswer::Refused(refusal),
        (409 | 429, _) => ApiAnswer::NotNow(refusal),
        _ => ApiAnswer::Unclear(refusal),
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

fn refusal(status: u16, body: &[u8]) -> ApiRefusal {
    let ErrorAnswer { error } = serde_json::from_slice(body).unwrap_or_default();
    ApiRefusal {
        status,
        code: error.code.or(error.kind).unwrap_or_default(),
        field: error.param,
        message: error.message.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refund_is_asked_for_by_its_id_and_nothing_else() {
        let request = retrieve_refund("re_1NiR");
        assert_eq!((request.method, request.path.as_str()), (Method::Get, "/v1/refunds/re_1NiR"));
        assert_eq!(request.headers, [("stripe-version", "2026-08-26.dahlia".to_owned())]);
        assert_eq!(retrieve_refund("../charges?x=").path, "/v1/refunds/___charges_x_");
    }

    #[test]
    fn an_answer_says_no_more_than_is_known() {
        let check = |status: u16, body: &str, expect: &str| {
            let told = match read_refund(status, body.as_bytes()) {
                ApiAnswer::Is(refund) => format!("{} {}", refund.id, refund.status.unwrap_or_default()),
                ApiAnswer::Absent => "absent".to_owned(),
                ApiAnswer::Refused(refusal) => format!("refused {}", refusal.code),
                ApiAnswer::NotNow(refusal) => format!("not now {}", refusal.code),
                ApiAnswer::Unclear(refusal) => format!("unclear {}", refusal.code),
            };
            assert_eq!(told, expect, "{status} {body}");
        };
        let refund = r#"{"id":"re_1","object":"refund","amount":500,"currency":"usd","status":"pending","failure_reason":null,"metadata":{}}"#;
        check(200, refund, "re_1 pending");
        check(200, &refund.replace("pending", "of_next_year"), "re_1 of_next_year");
        check(200, "{", "unclear unreadable_answer");
        let error = |code: &str| {
            format!(r#"{{"error":{{"type":"invalid_request_error","code":"{code}","param":"refund"}}}}"#)
        };
        check(404, &error("resource_missing"), "absent");
        check(404, "<html>", "unclear ");
        check(401, r#"{"error":{"type":"invalid_request_error"}}"#, "refused invalid_request_error");
        check(429, &error("lock_timeout"), "not now lock_timeout");
        check(409, &error("idempotency_key_in_use"), "not now idempotency_key_in_use");
        check(500, &error("api_error"), "unclear api_error");
        check(503, "", "unclear ");
    }
}
