//! `topology`: the broker's objects as data, and whether the broker has them so.

use crate::output::table;
use crate::output::{say, say_json};
use crate::session::Session;
use anyhow::{Context, Result};
use bus::{Queue, QueueKind, Topology};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fmt::Write;
use std::process::ExitCode;

#[derive(Args)]
pub struct TopologyArguments {
    /// Compare with the broker; exit status 1 where it differs
    #[arg(long)]
    check: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = TopologyFormat::Table)]
    format: TopologyFormat,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum TopologyFormat {
    Table,
    Json,
    Mermaid,
}

pub async fn show(session: &Session, arguments: &TopologyArguments) -> Result<ExitCode> {
    let topology = session.topology()?;
    let json = session.json || arguments.format == TopologyFormat::Json;
    if arguments.check {
        return check(session, &topology, json).await;
    }
    match (json, arguments.format) {
        (true, _) => say_json(&document(&topology))?,
        (false, TopologyFormat::Mermaid) => say(&mermaid(&topology)),
        (false, TopologyFormat::Table | TopologyFormat::Json) => say(&tables(&topology)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(session: &Session, topology: &Topology, json: bool) -> Result<ExitCode> {
    let broker = session.broker("topology");
    let differences = topology.check(&broker).await.context("comparing with the broker")?;
    broker.close().await;
    let ok = differences.is_empty();
    if json {
        say_json(&json!({ "ok": ok, "differences": differences }))?;
    } else if ok {
        say(
            "The broker has every exchange and queue as it should be. (AMQP cannot list bindings: they are declared anew whenever a worker starts.)",
        );
    } else {
        for difference in &differences {
            say(&difference.to_string());
        }
        say(
            "What is missing is declared when a worker starts; a queue that differs must be drained and deleted first.",
        );
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn document(topology: &Topology) -> serde_json::Value {
    let queues: Vec<_> = topology
        .queues
        .iter()
        .map(|queue| {
            let arguments: serde_json::Map<_, _> =
                queue.arguments().into_iter().map(|(key, value)| (key, value.into())).collect();
            json!({ "name": queue.name, "kind": queue.kind, "reader": queue.reader, "arguments": arguments })
        })
        .collect();
    json!({ "exchanges": topology.exchanges, "queues": queues, "bindings": topology.bindings })
}

fn tables(topology: &Topology) -> String {
    let exchanges =
        topology.exchanges.iter().map(|exchange| vec![exchange.name.clone(), exchange.what.to_owned()]);
    let queues = topology.queues.iter().map(|queue| {
        let bound: Vec<String> = topology
            .bindings
            .iter()
            .filter(|binding| binding.queue == queue.name)
            .map(|binding| format!("{} {}", binding.exchange, binding.routing_key))
            .collect();
        let arguments: Vec<String> = queue
            .arguments()
            .into_iter()
            .map(|(key, value)| format!("{}={value}", key.trim_start_matches("x-")))
            .collect();
        vec![queue.name.clone(), reader(queue).to_owned(), bound.join("\n"), arguments.join("\n")]
    });
    format!(
        "{}\n{}",
        table::plain(&["exchange (topic, durable)", "what"], exchanges),
        table::plain(&["queue (durable)", "read by", "bound to", "arguments"], queues)
    )
}

fn reader(queue: &Queue) -> &'static str {
    match (queue.reader, queue.kind) {
        (Some(worker), _) => worker,
        (None, QueueKind::Stream) => "subscribers",
        (None, QueueKind::Quorum) => "nobody: it gives back",
    }
}

fn mermaid(topology: &Topology) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for exchange in &topology.exchanges {
        let _ = writeln!(text, "  {0}{{{{{0}}}}}", exchange.name);
    }
    for queue in &topology.queues {
        let _ = writeln!(text, "  {0}[({0})]", queue.name);
        if let Some(reader) = queue.reader {
            let _ = writeln!(text, "  {} --> worker.{reader}([{reader}])", queue.name);
        }
    }
    for binding in &topology.bindings {
        let _ = writeln!(text, "  {} -- \"{}\" --> {}", binding.exchange, binding.routing_key, binding.queue);
    }
    text
}
