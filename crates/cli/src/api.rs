//! `GET /v1/accounts/{id}`: what a gateway needs before it serves a call.
//!
//! `?view=standing` is the part that a gateway decides by, read by one statement however much an account has bought. Each answer
//! has a strong entity tag of its own bytes: nothing that is told can change without it, whatever changed it.

mod conditional;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use domain::AccountId;
use ingester::{Access, Caller, Scope, path_text, problem};
use ledger::read::{AccountView, StandingView};
use serde::Serialize;
use std::sync::Arc;
use url::form_urlencoded;

#[derive(Clone)]
struct Api {
    pool: db::Pool,
    access: Arc<Access>,
}

pub fn routes(pool: db::Pool, access: Arc<Access>) -> Router {
    Router::new()
        .route("/v1/accounts/{id}", get(account))
        .method_not_allowed_fallback(ingester::wrong_method)
        .with_state(Api { pool, access })
}

async fn account(
    State(api): State<Api>,
    caller: Option<Extension<Caller>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match api.read_account(id, query.as_deref(), caller.as_deref(), &headers).await {
        Ok(body) => conditional::answer(&headers, body),
        Err(response) => response,
    }
}

impl Api {
    async fn read_account(
        &self,
        id: Result<Path<String>, PathRejection>,
        query: Option<&str>,
        caller: Option<&Caller>,
        headers: &HeaderMap,
    ) -> Result<String, Response> {
        self.access.admit(headers, caller, Scope::AccountsRead)?;
        let id = AccountId::new(path_text(id)?)
            .map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))?;
        // Nobody has spoken of it yet: the gateway is told zero balances and `"known": false`, as an operator is.
        match View::asked(query).map_err(|why| problem(StatusCode::BAD_REQUEST, why.to_owned()))? {
            View::Standing => {
                let standing = ledger::read::standing(&self.pool, &id).await.map_err(|e| unread(&e))?;
                json(&standing.unwrap_or_else(|| StandingView::unknown(id)))
            }
            View::Whole => {
                let account = ledger::read::account(&self.pool, &id).await.map_err(|e| unread(&e))?;
                json(&account.unwrap_or_else(|| AccountView::unknown(id)))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// With lots and payments.
    Whole,
    Standing,
}

impl View {
    /// What else the query says is for others.
    fn asked(query: Option<&str>) -> Result<Self, &'static str> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut views = pairs.filter(|(name, _)| name == "view").map(|(_, view)| view);
        match (views.next().as_deref(), views.next()) {
            (None, _) => Ok(View::Whole),
            (Some("standing"), None) => Ok(View::Standing),
            (Some("standing"), Some(_)) => Err("expected one view, got several"),
            (Some(_), _) => Err("expected view=standing, or no view for the whole account; got another"),
        }
    }
}

fn unread(error: &db::Error) -> Response {
    tracing::warn!(%error, "cannot read an account");
    let detail = "the database does not answer: try again later";
    problem(StatusCode::SERVICE_UNAVAILABLE, detail.to_owned())
}

#[expect(clippy::result_large_err, reason = "the error is the answer, and goes straight out")]
fn json(view: &impl Serialize) -> Result<String, Response> {
    serde_json::to_string(view).map_err(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_one_view_or_none() {
        let check = |query: Option<&str>, expect: Option<View>| {
            assert_eq!(View::asked(query).ok(), expect, "{query:?}");
        };
        check(None, Some(View::Whole));
        check(Some(""), Some(View::Whole));
        check(Some("trace=1"), Some(View::Whole));
        check(Some("view=standing"), Some(View::Standing));
        check(Some("trace=1&view=st%61nding"), Some(View::Standing));
        check(Some("view="), None);
        check(Some("view"), None);
        check(Some("view=Standing"), None);
        check(Some("view=lots"), None);
        check(Some("view=standing&view=standing"), None);
    }
}
