//! `token`: a new bearer token and the line that configures it.

use crate::output::{say, say_json};
use anyhow::Result;
use clap::Args;
use ingester::Scope;
use rand::RngCore;
use serde_json::json;
use std::process::ExitCode;

#[derive(Args)]
pub struct TokenArguments {
    /// Whose it is; shown in logs
    name: String,
    /// facts, accounts:read, refunds:request
    #[arg(long, value_delimiter = ',', default_value = "facts")]
    scopes: Vec<Scope>,
    /// Sources that it alone may use, such as gateway or gateway/*
    #[arg(long, value_delimiter = ',')]
    sources: Vec<String>,
}

pub fn make(arguments: &TokenArguments, json: bool) -> Result<ExitCode> {
    let mut random = [0u8; 32];
    rand::rng().fill_bytes(&mut random);
    let token = format!("bsr_{}", random.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let scopes = arguments.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("+");
    let mut line = format!("{}:{scopes}:{}", arguments.name, ingester::hash(&token));
    if !arguments.sources.is_empty() {
        line = format!("{line}@{}", arguments.sources.join("|"));
    }
    ingester::Token::parse(&line)?;
    if json {
        say_json(&json!({ "token": token, "BURSAR_API_TOKENS": line }))?;
    } else {
        say(&format!("The token, shown this once:\n  {token}\nIts line for BURSAR_API_TOKENS:\n  {line}"));
    }
    Ok(ExitCode::SUCCESS)
}
