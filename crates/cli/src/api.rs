//! `GET /v1/accounts/{id}`: what a gateway needs before it serves a call.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use domain::AccountId;
use ingester::{Access, Caller, Scope, path_text, problem};
use ledger::read::AccountView;
use std::sync::Arc;

#[derive(Clone)]
struct Api {
    pool: db::Pool,
    access: Arc<Access>,
}

pub fn routes(pool: db::Pool, access: Arc<Access>) -> Router {
    Router::new().route("/v1/accounts/{id}", get(account)).with_state(Api { pool, access })
}

async fn account(
    State(api): State<Api>,
    caller: Option<Extension<Caller>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    match api.read_account(id, caller.as_deref(), &headers).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(response) => response,
    }
}

impl Api {
    async fn read_account(
        &self,
        id: Result<Path<String>, PathRejection>,
        caller: Option<&Caller>,
        headers: &HeaderMap,
    ) -> Result<String, Response> {
        self.access.admit(headers, caller, Scope::AccountsRead)?;
        let id = AccountId::new(path_text(id)?)
            .map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))?;
        let account = ledger::read::account(&self.pool, &id).await.map_err(|error| {
            tracing::warn!(%error, "cannot read an account");
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database does not answer: try again later".to_owned(),
            )
        })?;
        // Nobody has spoken of it yet: the gateway is told zero balances and `"known": false`, as an operator is.
        let account = account.unwrap_or_else(|| AccountView::unknown(id));
        serde_json::to_string(&account)
            .map_err(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}
