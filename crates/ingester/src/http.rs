//! The HTTP routes of the front door. Every answer that is not success is a problem document (RFC 9457).

use crate::intake::{Intake, Rejected};
use crate::tokens::{Scope, Tokens};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

/// Larger bodies are refused. Paddle's and Stripe's largest are some tens of kilobytes.
pub(crate) const BODY_MAX: usize = 1024 * 1024;

/// A body that is not there within this was given up by its sender.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests in hand at once; more are told to come again. It bounds what their bodies take in memory.
const REQUESTS_MAX: usize = 512;

#[derive(Clone)]
struct Door {
    intake: Intake,
    tokens: Arc<Tokens>,
    room: Arc<Semaphore>,
}

/// `POST /webhooks/{processor}` and `POST /v1/facts`.
pub fn routes(intake: Intake, tokens: Arc<Tokens>) -> Router {
    Router::new()
        .route("/webhooks/{processor}", post(webhook))
        .route("/v1/facts", post(facts))
        .with_state(Door { intake, tokens, room: Arc::new(Semaphore::new(REQUESTS_MAX)) })
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "nothing is served here".to_owned()) })
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this route takes another method".to_owned())
        })
}

async fn webhook(State(door): State<Door>, Path(name): Path<String>, request: Request) -> Response {
    let Some(processor) = processors::find(&name) else {
        let known = processors::ALL.map(|processor| processor.name).join(", ");
        return problem(StatusCode::NOT_FOUND, format!("expected a processor of {known}"));
    };
    let answer = match door.room.try_acquire() {
        Ok(_room) => door.take_webhook(processor, request).await,
        Err(_) => Err(full()),
    };
    answered(processor.name, answer)
}

async fn facts(State(door): State<Door>, request: Request) -> Response {
    let answer = match door.room.try_acquire() {
        Ok(_room) => door.take_facts(request).await,
        Err(_) => Err(full()),
    };
    answered("facts", answer)
}

fn full() -> Response {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{REQUESTS_MAX} requests are in hand: send it again later"),
    )
}

impl Door {
    async fn take_webhook(
        &self,
        processor: &processors::Processor,
        request: Request,
    ) -> Result<usize, Response> {
        let (head, body) = request.into_parts();
        let body = read_body(body).await?;
        let received_at = OffsetDateTime::now_utc();
        let headers = |name: &str| text(&head.headers, name);
        let envelopes = self.intake.read_webhook(processor, &headers, &body, received_at).map_err(refusal)?;
        self.accept(envelopes).await
    }

    async fn take_facts(&self, request: Request) -> Result<usize, Response> {
        let (head, body) = request.into_parts();
        let token = self.tokens.bearer(text(&head.headers, "authorization").as_deref()).ok_or_else(|| {
            problem(
                StatusCode::UNAUTHORIZED,
                "expected a known bearer token in the header Authorization".to_owned(),
            )
        })?;
        if !token.scopes.contains(&Scope::Facts) {
            return Err(problem(
                StatusCode::FORBIDDEN,
                format!("this token has not the scope {}", Scope::Facts.as_str()),
            ));
        }
        let body = read_body(body).await?;
        let trace = text(&head.headers, bus::header::TRACEPARENT);
        let envelopes =
            self.intake.read_facts(token, trace, &body, OffsetDateTime::now_utc()).map_err(refusal)?;
        self.accept(envelopes).await
    }

    async fn accept(&self, envelopes: Vec<domain::Envelope>) -> Result<usize, Response> {
        let count = envelopes.len();
        self.intake.make_durable(envelopes).await.map_err(refusal)?;
        Ok(count)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

async fn read_body(body: Body) -> Result<Vec<u8>, Response> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
    match read {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("expected a body of at most {BODY_MAX} bytes"),
        )),
        Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "the body broke off".to_owned())),
        Err(_) => Err(problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    }
}

fn refusal(rejected: Rejected) -> Response {
    let status = match rejected {
        Rejected::Malformed(_) => StatusCode::BAD_REQUEST,
        Rejected::Unverified(_) => StatusCode::UNAUTHORIZED,
        Rejected::Forbidden(_) => StatusCode::FORBIDDEN,
        Rejected::NowhereDurable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, rejected.to_string())
}

/// A problem document. The detail says what was expected, what came and what to do; of the body no more than a fact's id and
/// source.
pub fn problem(status: StatusCode, detail: String) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

fn answered(door: &'static str, answer: Result<usize, Response>) -> Response {
    let response = match answer {
        Ok(count) => {
            let body = json!({ "accepted": count }).to_string();
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(response) => response,
    };
    let status = response.status().as_u16();
    metrics::counter!("bursar_received_total", "door" => door, "status" => status.to_string()).increment(1);
    if !response.status().is_success() {
        tracing::warn!(door, status, "delivery not accepted");
    }
    response
}
