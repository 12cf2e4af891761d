//! Problem documents (RFC 9457): every answer that is not success is one.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::time::Duration;

pub(crate) const PROBLEM: &str = "application/problem+json";

/// When to try again, if nothing better is known.
pub(crate) const RETRY_AFTER_S: u64 = 5;

/// A problem document. The detail says what was expected, what came and what to do; of the body no more than a fact's id and
/// source. If another attempt can succeed it says when.
pub fn problem(status: StatusCode, detail: String) -> Response {
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            problem_later(status, detail, Duration::from_secs(RETRY_AFTER_S))
        }
        _ => document(Problem { status, detail }),
    }
}

pub(crate) fn problem_later(status: StatusCode, detail: String, wait: Duration) -> Response {
    let mut answer = document(Problem { status, detail });
    let seconds = HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    answer
}

fn document(problem: Problem) -> Response {
    let kind = [(header::CONTENT_TYPE, PROBLEM)];
    let mut answer = (problem.status, kind, problem.text(None)).into_response();
    answer.extensions_mut().insert(problem);
    answer
}

/// The problem. An answer carries it, so that its door can write the request's id into the document.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub status: StatusCode,
    pub detail: String,
}

impl Problem {
    pub fn text(&self, request_id: Option<&str>) -> String {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut document = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail
        });
        if let Some(id) = request_id {
            document["request_id"] = id.into();
        }
        document.to_string()
    }
}
