//! A private Postgres and a private RabbitMQ that a test may stop, kill, fill up and start again.
//!
//! They are started by `deploy/local/private-servers.sh`, a child process that obeys a line at a time and ends both when
//! its input ends: whichever way a test goes, nothing of them stays. `private-cluster.sh` does the same for several of each.

use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

/// Set by deploy/test.sh where the servers' programs are missing and it may not install them.
const MISSING: &str = "BURSAR_TEST_PRIVATE_SERVERS";

/// A server that has not started or stopped by then does not. Above what the script itself allows.
const PATIENCE: Duration = Duration::from_secs(150);

pub struct TestServers {
    pub database_url: SecretString,
    pub amqp_url: SecretString,
    // One command at a time.
    talk: Mutex<Talk>,
    script: Child,
}

struct Talk {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl TestServers {
    /// Whether tests may start servers here. If not, the test run has said why.
    pub fn are_to_be_had() -> bool {
        std::env::var(MISSING).map_or(true, |said| said != "missing")
    }

    /// Starts both, on ports of their own that stay the same over restarts.
    pub async fn start() -> Self {
        Self::start_by("private-servers.sh").await
    }

    /// Starts a RabbitMQ of three nodes, and a Postgres of a primary and a synchronous standby. The URLs name all of them.
    pub async fn start_several() -> Self {
        Self::start_by("private-cluster.sh").await
    }

    async fn start_by(script: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local").join(script);
        let mut script = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Whoever kills the test's process group must not kill the one who cleans up after it.
            .process_group(0)
            .spawn()
            .expect("bash runs the script");
        let commands = script.stdin.take().expect("it was asked for");
        let answers = BufReader::new(script.stdout.take().expect("it was asked for")).lines();
        let mut talk = Talk { commands, answers };
        let ready = talk.answer().await;
        let mut words = ready.split(' ').skip(1).map(str::to_owned);
        let mut url = || SecretString::from(words.next().expect("`ready` comes with two URLs"));
        Self { database_url: url(), amqp_url: url(), talk: Mutex::new(talk), script }
    }

    /// As if the machine under it had lost power.
    pub async fn stop_postgres(&self) {
        self.obey("postgres stop-immediate").await;
    }

    /// Returns once it takes connections.
    pub async fn start_postgres(&self) {
        self.obey("postgres start").await;
    }

    pub async fn kill_rabbitmq(&self) {
        self.obey("rabbitmq kill").await;
    }

    /// Returns once it lets a client in.
    pub async fn start_rabbitmq(&self) {
        self.obey("rabbitmq start").await;
    }

    pub async fn rabbitmqctl(&self, arguments: &str) -> String {
        self.obey(&format!("rabbitmq ctl {arguments}")).await
    }

    /// A disk of so many MiB for Postgres, or the same one with another size. None where this process may not mount.
    pub async fn disk(&self, mebibytes: u32) -> Option<PathBuf> {
        let told = self.command(&format!("postgres disk {mebibytes}")).await;
        told.ok().map(PathBuf::from)
    }

    /// One of the script's own commands.
    pub async fn obey(&self, command: &str) -> String {
        self.command(command).await.unwrap_or_else(|why| panic!("the private servers: {why}"))
    }

    async fn command(&self, command: &str) -> Result<String, String> {
        let mut talk = self.talk.lock().await;
        talk.commands.write_all(format!("{command}\n").as_bytes()).await.expect("the script listens");
        let answer = talk.answer().await;
        match answer.split_once(' ') {
            Some(("ok", said)) => Ok(said.trim().to_owned()),
            _ => Err(answer),
        }
    }

    /// Ends both and removes what they wrote. Dropping does so too, without waiting for it.
    pub async fn end(self) {
        let Self { talk, mut script, .. } = self;
        drop(talk);
        let ended = tokio::time::timeout(PATIENCE, script.wait()).await.expect("the script ends");
        assert!(ended.expect("its status").success(), "the private servers were not cleaned up: see above");
    }
}

impl Talk {
    async fn answer(&mut self) -> String {
        let answer = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
        let line = answer.expect("the script answers in time").expect("its answers can be read");
        line.expect("the private servers came up; what is missing is said above")
    }
}
