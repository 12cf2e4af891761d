//! The HTTP routes of the front door. Every answer that is not success is a problem document (RFC 9457).

use crate::access::Access;
use crate::body::Room;
use crate::door::{Caller, DoorLimits, Why, count};
use crate::headers::{single, text};
use crate::intake::{Intake, Rejected};
use crate::problem::problem;
use crate::tokens::Scope;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// The label of requests to no route of ours.
const OTHER: &str = "other";

type MaybeCaller = Option<Extension<Caller>>;

#[derive(Clone)]
struct Routes {
    intake: Intake,
    access: Arc<Access>,
    room: Room,
}

/// `POST /webhooks/{processor}` and `POST /v1/facts`.
pub fn routes(intake: Intake, access: Arc<Access>, limits: &DoorLimits) -> Router {
    Router::new()
        .route("/webhooks/{processor}", post(webhook))
        .route("/v1/facts", post(facts))
        .with_state(Routes { intake, access, room: Room::new(limits) })
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "nothing is served here".to_owned()) })
        .method_not_allowed_fallback(wrong_method)
}

/// For every route of the front door, whoever adds it.
pub async fn wrong_method() -> Response {
    problem(StatusCode::METHOD_NOT_ALLOWED, "this route takes another method".to_owned())
}

async fn webhook(
    State(routes): State<Routes>,
    caller: MaybeCaller,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let name = match path_text(path) {
        Ok(name) => name,
        Err(refused) => return answered(OTHER, Err(refused)),
    };
    let Some(processor) = processors::find(&name) else {
        let known = processors::ALL.map(|processor| processor.name).join(", ");
        let unknown = problem(StatusCode::NOT_FOUND, format!("expected a processor of {known}"));
        return answered(OTHER, Err(unknown));
    };
    let answer = routes.take_webhook(processor, caller.as_deref(), request).await;
    answered(processor.name, answer)
}

async fn facts(State(routes): State<Routes>, caller: MaybeCaller, request: Request) -> Response {
    answered("facts", routes.take_facts(caller.as_deref(), request).await)
}

impl Routes {
    /// Reads nothing of the body before the headers have the form of a signature.
    async fn take_webhook(
        &self,
        processor: &processors::Processor,
        caller: Option<&Caller>,
        request: Request,
    ) -> Result<usize, Response> {
        let (head, body) = request.into_parts();
        let received_at = OffsetDateTime::now_utc();
        for name in processor.signature_headers {
            single(&head.headers, name)?;
        }
        let headers = |name: &str| text(&head.headers, name);
        self.intake.check_headers(processor, &headers, received_at).map_err(refusal)?;
        let body = self.room.receive(body, caller).await?;
        self.intake.verify(processor, &headers, &body.bytes, received_at).map_err(refusal)?;
        let _room = self.room.work_on(&body).await?;
        let envelopes =
            self.intake.translate(processor, &headers, &body.bytes, received_at).map_err(refusal)?;
        drop(body);
        self.accept(envelopes).await
    }

    async fn take_facts(&self, caller: Option<&Caller>, request: Request) -> Result<usize, Response> {
        let (head, body) = request.into_parts();
        let token = self.access.admit(&head.headers, caller, Scope::Facts)?;
        let body = self.room.receive(body, caller).await?;
        let _room = self.room.work_on(&body).await?;
        let trace = text(&head.headers, bus::header::TRACEPARENT);
        let now = OffsetDateTime::now_utc();
        let envelopes = self.intake.read_facts(token, trace, &body.bytes, now).map_err(refusal)?;
        drop(body);
        self.accept(envelopes).await
    }

    async fn accept(&self, envelopes: Vec<domain::Envelope>) -> Result<usize, Response> {
        let count = envelopes.len();
        self.intake.facts.state(envelopes).await.map_err(|nowhere| refusal(nowhere.into()))?;
        Ok(count)
    }
}

/// The text of a path's part, decoded.
///
/// # Errors
/// The answer to send: the path is not UTF-8.
#[expect(clippy::result_large_err, reason = "the error is the answer, and goes straight out")]
pub fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, Response> {
    let refused = |_| {
        count("http", Why::Path);
        problem(StatusCode::BAD_REQUEST, "expected a path in UTF-8, got one that is none".to_owned())
    };
    path.map(|Path(text)| text).map_err(refused)
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

fn answered(door: &'static str, answer: Result<usize, Response>) -> Response {
    let response = match answer {
        Ok(count) => {
            let body = json!({ "accepted": count }).to_string();
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(response) => response,
    };
    let status = response.status();
    let label = status.as_u16().to_string();
    metrics::counter!("bursar_received_total", "door" => door, "status" => label).increment(1);
    if status.is_server_error() {
        tracing::warn!(door, status = status.as_u16(), "delivery not accepted");
    } else if status.is_client_error() {
        note_refused(door, status);
    }
    response
}

/// Any sender can send what is refused, any number of times: the log says it once a second, the metric counts all.
fn note_refused(door: &'static str, status: StatusCode) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let (mut told, now) = (TOLD.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    if told.is_none_or(|told| now - told >= Duration::from_secs(1)) {
        *told = Some(now);
        tracing::warn!(
            door,
            status = status.as_u16(),
            "delivery not accepted; further refusals of this second are not logged"
        );
    }
}
