//! `GET /v1/accounts/{id}`: what a gateway needs before it serves a call.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::AccountId;
use ingester::{Scope, Tokens, problem};
use ledger::read::AccountView;
use std::sync::Arc;

#[derive(Clone)]
struct Api {
    pool: db::Pool,
    tokens: Arc<Tokens>,
}

pub fn routes(pool: db::Pool, tokens: Arc<Tokens>) -> Router {
    Router::new().route("/v1/accounts/{id}", get(account)).with_state(Api { pool, tokens })
}

async fn account(State(api): State<Api>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match api.read_account(&id, &headers).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(response) => response,
    }
}

impl Api {
    async fn read_account(&self, id: &str, headers: &HeaderMap) -> Result<String, Response> {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = self.tokens.bearer(authorization).ok_or_else(|| {
            problem(
                StatusCode::UNAUTHORIZED,
                "expected a known bearer token in the header Authorization".to_owned(),
            )
        })?;
        if !token.scopes.contains(&Scope::AccountsRead) {
            let scope = Scope::AccountsRead.as_str();
            return Err(problem(StatusCode::FORBIDDEN, format!("this token has not the scope {scope}")));
        }
        let id = AccountId::new(id).map_err(|error| problem(StatusCode::BAD_REQUEST, error.to_string()))?;
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
