//! The commands. Each listing command takes `--json`: one JSON document on stdout, logs on stderr.
//! Exit status: 0 done; 1 something failed, or an id is not known; 2 wrong usage, or not what was expected was found.

pub mod account;
mod account_acts;
mod account_forget;
mod account_restrict;
mod act;
mod acts;
mod audit;
mod bench;
mod bulk;
mod config;
mod delivery;
mod demo;
mod dispute;
mod dlq;
mod doctor;
mod events;
mod fact;
mod grant;
mod hand_over;
mod manual;
mod moment;
mod payment;
mod payment_acts;
mod payment_state;
mod rebuild;
mod restate;
mod roll_forward;
mod send;
mod token;
mod topology;
mod undelivered;
mod unrecognised;
mod up;
mod verify;

use crate::config::Config;
use crate::observe;
use crate::session::Session;
use crate::workers::{self, Worker};
use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Bursar keeps prepaid credits true: it turns the events of a payment processor into an exactly-once, double-entry
/// credit ledger.
#[derive(Parser)]
#[command(name = "bursar", version, max_term_width = 110, propagate_version = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Print one JSON document on stdout instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Configuration: environment first (BURSAR_DATABASE_URL, BURSAR_AMQP_URL, ...), then bursar.toml \
(BURSAR_CONFIG), then defaults; see `bursar config show`.\nExit status: 0 done; 1 something failed, or an id is not known; 2 wrong usage, or not what was expected was found.";

#[derive(Subcommand)]
enum Command {
    /// Migrate, declare the topology and run the workers in one process, until SIGTERM
    Up {
        #[arg(long, value_delimiter = ',', help = format!(
            "Which workers, separated by commas (all by default): {}",
            workers::NAMES.join(", ")
        ))]
        workers: Vec<Worker>,
    },
    /// Run one worker until SIGTERM
    Run {
        #[arg(help = workers::NAMES.join(", "))]
        worker: Worker,
    },
    /// Bring the database's tables to what this version needs, as their owner (BURSAR_MIGRATE_URL, else BURSAR_DATABASE_URL)
    Migrate {
        /// The role that runs the fleet: grant it what that needs, and nothing more (default: the user of BURSAR_DATABASE_URL)
        #[arg(long, value_name = "ROLE")]
        grant_to: Option<String>,
    },
    /// Print the broker's exchanges, queues and bindings, or compare the broker with them
    Topology(topology::TopologyArguments),
    /// Watch real payloads become credits, be refunded, be repeated, and be told to a subscriber
    Demo {
        /// Leave the fleet running afterwards, until Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Sign a payload as the processor would and post it to the front door
    Send(send::SendArguments),
    /// Accounts: balances, standing, lots, statement; adjust credits, link customers, restrict and restore
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Payments: what is known of each, and which gave no credits; deliver, move, value
    #[command(subcommand)]
    Payment(payment::PaymentCommand),
    /// Disputes and warnings: what is due by when, what happened, what they restrict; evidence; close, reopen, note
    #[command(subcommand)]
    Dispute(dispute::DisputeCommand),
    /// Give an account credits for no money
    Grant(grant::GrantArguments),
    /// Facts: what was stated, what became of it, and what it caused
    #[command(subcommand)]
    Fact(fact::FactCommand),
    /// Facts for their readers: hand over what was admitted before a worker read them
    #[command(subcommand)]
    Facts(hand_over::FactsCommand),
    /// Events as they go out
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Prove the ledger's invariants, rebuild it from its facts, roll a month forward, list operators' acts
    #[command(subcommand)]
    Ledger(verify::LedgerCommand),
    /// Deliveries as they came: show or erase the stored body
    #[command(subcommand)]
    Delivery(delivery::DeliveryCommand),
    /// Deliveries that nobody understood when they came: list them, plan and replay those that this version understands
    #[command(subcommand)]
    Unrecognised(unrecognised::UnrecognisedCommand),
    /// Dead letters: look, plan, replay, edit, discard
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// What operators did, to anything, the latest first: when, who, what, about what, why, and what became of it
    #[command(after_help = audit::HELP)]
    Audit(audit::AuditArguments),
    /// Measure throughput, latency and memory, and the machine's own ceilings beside them
    Bench(bench::BenchArguments),
    /// Check that everything the fleet needs is there
    Doctor,
    /// The effective configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make a bearer token for the HTTP interface, and the line that configures it
    Token(token::TokenArguments),
    /// Print what a shell needs to complete commands and options
    #[command(after_help = manual::COMPLETIONS_HELP)]
    Completions(manual::Completions),
    /// Print the manual page, or write one for each command
    Man(manual::Man),
}

pub async fn run(cli: Cli) -> Result<ExitCode> {
    let is_fleet = matches!(cli.command, Command::Up { .. } | Command::Run { .. });
    observe::start_logs(is_fleet)?;
    match &cli.command {
        Command::Token(arguments) => return token::make(arguments, cli.json),
        Command::Completions(arguments) => return manual::completions(Cli::command(), arguments),
        Command::Man(arguments) => return manual::man(Cli::command(), arguments, cli.json),
        _ => {}
    }
    let session = Session::new(Config::load()?, cli.json)?;
    let servers = match &cli.command {
        Command::Migrate { .. } => session.owner_servers(),
        _ => session.servers(),
    };
    if cli.command.needs_postgres() {
        servers.expect_postgres().await?;
    }
    match carry_out(session, cli.command).await {
        Err(error) if !is_fleet => Err(servers.explained(error).await),
        ended => ended,
    }
}

impl Command {
    /// Whether it can do nothing at all without Postgres: then it is said at once why that is not there.
    fn needs_postgres(&self) -> bool {
        match self {
            Command::Account(_)
            | Command::Payment(_)
            | Command::Dispute(_)
            | Command::Grant(_)
            | Command::Fact(_)
            | Command::Facts(_)
            | Command::Ledger(_)
            | Command::Delivery(_)
            | Command::Unrecognised(_)
            | Command::Audit(_)
            | Command::Migrate { .. } => true,
            Command::Dlq(command) => command.needs_postgres(),
            // The fleet waits for its servers, and some look for themselves.
            Command::Up { .. }
            | Command::Run { .. }
            | Command::Topology(_)
            | Command::Demo { .. }
            | Command::Send(_)
            | Command::Events(_)
            | Command::Bench(_)
            | Command::Doctor
            | Command::Config(_)
            | Command::Token(_)
            | Command::Completions(_)
            | Command::Man(_) => false,
        }
    }
}

async fn carry_out(session: Session, command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { workers } if workers.is_empty() => up::run(session, &workers::ALL, true).await,
        Command::Up { workers } => up::run(session, &workers, true).await,
        Command::Run { worker } => up::run(session, &[worker], false).await,
        Command::Migrate { grant_to } => up::migrate(&session, grant_to).await,
        Command::Topology(arguments) => topology::show(&session, &arguments).await,
        Command::Demo { keep } => demo::run(session, keep).await,
        Command::Send(arguments) => send::send(&session, &arguments).await,
        Command::Account(command) => account::run(&session, command).await,
        Command::Payment(command) => payment::run(&session, command).await,
        Command::Dispute(command) => dispute::run(&session, command).await,
        Command::Grant(arguments) => grant::grant(&session, arguments).await,
        Command::Fact(command) => fact::run(&session, command).await,
        Command::Facts(command) => hand_over::run(&session, command).await,
        Command::Events(command) => events::run(&session, command).await,
        Command::Ledger(command) => verify::run(&session, command).await,
        Command::Delivery(command) => delivery::run(&session, command).await,
        Command::Unrecognised(command) => unrecognised::run(&session, command).await,
        Command::Dlq(command) => dlq::run(&session, command).await,
        Command::Audit(arguments) => audit::list(&session, arguments).await,
        Command::Bench(arguments) => bench::run(session, arguments).await,
        Command::Doctor => doctor::examine(&session).await,
        Command::Config(command) => config::run(&session, &command),
        Command::Token(_) | Command::Completions(_) | Command::Man(_) => {
            unreachable!("made above, before a configuration is needed")
        }
    }
}
