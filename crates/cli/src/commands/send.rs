//! `send`: a payload, signed as the processor would sign it, posted to the front door.

use crate::output::{say, say_json};
use crate::session::Session;
use crate::visible;
use anyhow::{Context, Result, bail};
use clap::Args;
use processors::Processor;
use secrecy::SecretString;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use time::OffsetDateTime;

#[derive(Args)]
pub struct SendArguments {
    /// paddle, stripe or generic
    #[arg(value_parser = processor)]
    processor: &'static Processor,
    /// The payload, posted byte for byte; - reads standard input
    file: PathBuf,
    /// Sign with this secret instead of the configured one
    #[arg(long, env = "BURSAR_SEND_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Post it this many times, as a processor that repeats itself
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Where to, instead of the configured address
    #[arg(long, value_name = "URL")]
    to: Option<String>,
}

pub async fn send(session: &Session, arguments: &SendArguments) -> Result<ExitCode> {
    let processor = arguments.processor;
    let body = read(&arguments.file)?;
    let secret = secret(session, processor, arguments.secret.as_deref())?;
    let base = arguments.to.clone().unwrap_or_else(|| format!("http://{}", session.config.http_addr));
    let url = format!("{}/webhooks/{}", base.trim_end_matches('/'), processor.name);
    let mut answers = Vec::new();
    for _ in 0..arguments.times {
        answers.push(post(&url, processor, &secret, &body).await?);
    }
    let accepted = answers.iter().all(|(status, _)| (200..300).contains(status));
    if session.json {
        let answers: Vec<_> =
            answers.iter().map(|(status, body)| json!({ "status": status, "body": body })).collect();
        say_json(&json!({ "accepted": accepted, "answers": answers }))?;
    } else {
        for (status, body) in &answers {
            say(&format!("{status} {}", visible::on_a_line(body)));
        }
    }
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn processor(name: &str) -> Result<&'static Processor, String> {
    let known = processors::ALL.map(|processor| processor.name).join(", ");
    processors::find(name).ok_or_else(|| format!("expected a processor of {known}"))
}

fn read(file: &PathBuf) -> Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut body).context("reading standard input")?;
        return Ok(body);
    }
    std::fs::read(file).with_context(|| format!("reading the payload {}", file.display()))
}

fn secret(session: &Session, processor: &Processor, given: Option<&str>) -> Result<SecretString> {
    if let Some(secret) = given {
        return Ok(SecretString::from(secret.to_owned()));
    }
    let configured = session.config.secrets()?.0.remove(processor.name).unwrap_or_default();
    match configured.into_iter().next() {
        Some(secret) => Ok(secret),
        None => bail!(
            "no secret to sign with: give --secret, or set BURSAR_{}_WEBHOOK_SECRETS",
            processor.name.to_uppercase()
        ),
    }
}

/// Posts one delivery; returns the answer's status and body.
pub async fn post(
    url: &str,
    processor: &Processor,
    secret: &SecretString,
    body: &[u8],
) -> Result<(u16, String)> {
    let headers = (processor.sign)(secret, body, OffsetDateTime::now_utc())?;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).build()?;
    let mut request = client.post(url).header("content-type", "application/json").body(body.to_vec());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer =
        request.send().await.with_context(|| format!("posting to {url}: is `bursar up` running?"))?;
    Ok((answer.status().as_u16(), answer.text().await?))
}
