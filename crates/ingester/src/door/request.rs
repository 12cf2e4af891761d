//! What every request at a door has, whatever its route: an id, an answer where its handler panics, and where the answer is a
//! problem document, the id in it.
//!
//! Two layers that the same crate offers are not used. Its time limit is one for a whole request, while here each phase has
//! its own and a slow peer is distinguished from a handler that hangs ([`super::visit`]). Its limit of a body knows a
//! number of bytes, while [`crate::body`] gives room to all bodies together and closes the connection that has held some for
//! longest.

use crate::problem::{Problem, problem};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use std::any::Any;
use tower_http::catch_panic::{CatchPanicLayer, ResponseForPanic};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tracing::Instrument;
use uuid::Uuid;

/// The header that names a request, coming and going.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids are not taken over: they stand in every line of the log.
const ID_MAX: usize = 64;

/// The routes of a door, with what every request has.
pub fn with_request_ids(door: &'static str, routes: Router) -> Router {
    let header = || REQUEST_ID.clone();
    // The last one that is added is the first that a request comes to.
    routes
        .layer(CatchPanicLayer::custom(Panicked { door }))
        .layer(middleware::from_fn(with_its_id))
        .layer(PropagateRequestIdLayer::new(header()))
        .layer(SetRequestIdLayer::new(header(), FreshId))
        .layer(middleware::map_request(without_odd_id))
}

/// An id that is not short and plain is whatever a stranger likes to see in our logs: another one is made.
async fn without_odd_id(mut request: Request) -> Request {
    let is_plain = |id: &HeaderValue| {
        let is_of_an_id = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
        (1..=ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_of_an_id)
    };
    let mut ids = request.headers().get_all(&REQUEST_ID).iter();
    let is_one = ids.next().is_none_or(is_plain) && ids.next().is_none();
    if !is_one {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

/// Makes the id of a request that brought none.
#[derive(Clone, Copy)]
struct FreshId;

impl MakeRequestId for FreshId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let id = Uuid::now_v7().simple().to_string();
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}

/// Whatever is logged about the request has its id, and so has the document that says what is wrong with it.
async fn with_its_id(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>();
    let id = id.and_then(|id| id.header_value().to_str().ok()).unwrap_or_default().to_owned();
    // As an error, so that no filter leaves it out.
    let span = tracing::error_span!("request", request_id = id);
    let mut answer = next.run(request).instrument(span).await;
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        // Its length is another one now.
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        *answer.body_mut() = Body::from(problem.text(Some(&id)));
    }
    answer
}

/// Answers for a handler that panicked: the door lives, and so does the connection.
#[derive(Clone, Copy)]
struct Panicked {
    door: &'static str,
}

impl ResponseForPanic for Panicked {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send>) -> Response {
        let (door, why) = (self.door, bus::panic_text(&*panic));
        metrics::counter!("bursar_door_panics_total", "door" => door).increment(1);
        tracing::error!(door, panic = why, "a request ended by a panic");
        let detail = "Bursar failed over this request, which is a bug: its log has it under the request's id";
        problem(StatusCode::INTERNAL_SERVER_ERROR, detail.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::Value;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    fn routes() -> Router {
        let refuses = || async {
            tracing::warn!("refused");
            problem(StatusCode::NOT_FOUND, "not here".to_owned())
        };
        let panics = || async {
            let reasons: [&str; 0] = [];
            reasons[reasons.len()].to_owned()
        };
        let routes = Router::new().route("/", get("done")).route("/refuses", get(refuses));
        with_request_ids("test", routes.route("/panics", get(panics)))
    }

    /// The answer to a request that bears these ids: its status, its own id, and its body.
    async fn asked(path: &str, ids: &[&[u8]]) -> (StatusCode, String, String) {
        let mut request = Request::builder().uri(path);
        for id in ids {
            request = request.header(&REQUEST_ID, HeaderValue::from_bytes(id).expect("a header"));
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = TowerToHyperService::new(routes()).call(request).await.expect("it cannot fail");
        let id = answer.headers()[&REQUEST_ID].to_str().expect("it is plain").to_owned();
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("it is there").to_bytes();
        (status, id, String::from_utf8(body.to_vec()).expect("it is text"))
    }

    #[tokio::test]
    async fn an_id_that_is_short_and_plain_stays_and_any_other_is_made_anew() {
        for id in ["a", "0af7651916cd43dd8448eb211c80319c", "Root=1-67-a_b.c:d/e+f=", &"x".repeat(ID_MAX)] {
            assert_eq!(asked("/", &[id.as_bytes()]).await.1, id);
        }
        let long = "x".repeat(ID_MAX + 1);
        let odd: [&[&[u8]]; 7] =
            [&[], &[b""], &[b"a b"], &[b"a\"b"], &[b"\xff"], &[b"a", b"a"], &[long.as_bytes()]];
        let mut made = Vec::new();
        for ids in odd {
            let (_, id, _) = asked("/", ids).await;
            assert_eq!(id.parse::<Uuid>().map(|id| id.get_version_num()), Ok(7), "{ids:?}");
            made.push(id);
        }
        made.sort();
        made.dedup();
        assert_eq!(made.len(), odd.len(), "each has one of its own");
    }

    #[tokio::test]
    async fn a_problem_document_names_its_request() {
        let (status, id, body) = asked("/refuses", &[b"req_1"]).await;
        let document: Value = serde_json::from_str(&body).expect("it is JSON");
        assert_eq!((status, id.as_str()), (StatusCode::NOT_FOUND, "req_1"));
        assert_eq!((&document["request_id"], &document["detail"]), (&"req_1".into(), &"not here".into()));
    }

    /// What is logged meanwhile.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_counted_and_logged_and_the_log_names_its_request() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counted = recorder.handle();
        let _recorder = metrics::set_default_local_recorder(&recorder);
        let heard = Heard::default();
        let writer = heard.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _log = tracing::subscriber::set_default(log);
        let (status, _, body) = asked("/panics", &[b"req_2"]).await;
        asked("/refuses", &[b"req_3"]).await;
        let document: Value = serde_json::from_str(&body).expect("it is JSON");
        assert_eq!((status, &document["status"]), (StatusCode::INTERNAL_SERVER_ERROR, &500.into()));
        assert_eq!(document["request_id"], "req_2");
        assert!(!body.contains("index out of bounds"), "what it panicked over is nobody's business: {body}");
        let counted = counted.render();
        assert!(counted.contains("bursar_door_panics_total{door=\"test\"} 1"), "{counted}");
        let log = String::from_utf8(heard.0.lock().expect("nobody panicked").clone()).expect("it is text");
        for (id, said) in [("req_2", "ended by a panic"), ("req_3", "refused")] {
            let line = log.lines().find(|line| line.contains(said));
            assert!(line.is_some_and(|line| line.contains(&format!("request_id=\"{id}\""))), "{log}");
        }
    }
}
