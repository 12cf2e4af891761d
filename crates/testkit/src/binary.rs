//! The binary as a child process, with nothing of this process's environment but the path.

use crate::Site;
use crate::wait::eventually;
use secrecy::ExposeSecret;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// The environment that a child is given besides its servers: secrets, the configuration's path.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub Vec<(String, String)>);

impl Settings {
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }
}

/// Where it answers. One that is started again may be given those of the one before.
#[derive(Debug, Clone)]
pub struct Addresses {
    http: String,
    admin: String,
}

impl Addresses {
    /// Two ports that are free now. Somebody else may take one in between; so rarely that a test may fail by it.
    pub fn free() -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [http, admin] = listeners.map(|listener| listener.local_addr().expect("it is bound").to_string());
        Self { http, admin }
    }

    pub fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }
}

/// A running `bursar`.
pub struct Bursar {
    child: Child,
    pub addresses: Addresses,
}

impl Bursar {
    /// `bursar <arguments>` on the site's servers, ready: `/readyz` has said so.
    pub async fn start(site: &Site, settings: &Settings, arguments: &[&str]) -> Self {
        Self::start_at(Addresses::free(), site, settings, arguments).await
    }

    pub async fn start_at(
        addresses: Addresses,
        site: &Site,
        settings: &Settings,
        arguments: &[&str],
    ) -> Self {
        let child = fleet(&addresses, site, settings, arguments).spawn().expect("the binary can be started");
        let mut bursar = Self { child, addresses };
        bursar.until_ready().await;
        bursar
    }

    /// As [`Bursar::start`], with a standard error that nobody reads.
    pub async fn start_unread(site: &Site, settings: &Settings, arguments: &[&str]) -> Self {
        let mut bursar = Self::start_unread_child(site, settings, arguments);
        bursar.until_ready().await;
        bursar
    }

    /// As [`Bursar::start`], with what it logs: the whole of it, once it has ended.
    pub async fn start_heard(
        site: &Site,
        settings: &Settings,
        arguments: &[&str],
    ) -> (Self, JoinHandle<String>) {
        let mut bursar = Self::start_unread_child(site, settings, arguments);
        let mut stderr = bursar.child.stderr.take().expect("it is piped");
        let heard = tokio::spawn(async move {
            let mut log = Vec::new();
            drop(stderr.read_to_end(&mut log).await);
            String::from_utf8_lossy(&log).into_owned()
        });
        bursar.until_ready().await;
        (bursar, heard)
    }

    fn start_unread_child(site: &Site, settings: &Settings, arguments: &[&str]) -> Self {
        let addresses = Addresses::free();
        let mut fleet = fleet(&addresses, site, settings, arguments);
        let child = fleet.stderr(Stdio::piped()).spawn().expect("the binary can be started");
        Self { child, addresses }
    }

    /// As [`Bursar::start`], in a process that may have so many files and connections open.
    pub async fn start_with_descriptors(
        site: &Site,
        settings: &Settings,
        arguments: &[&str],
        descriptors: u32,
    ) -> Self {
        let addresses = Addresses::free();
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script]).arg(path());
        let shell = prepare(shell, site, settings, arguments);
        let child = at(&addresses, shell).spawn().expect("the shell can be started");
        let mut bursar = Self { child, addresses };
        bursar.until_ready().await;
        bursar
    }

    /// Closes the standard error that nobody reads.
    pub fn close_stderr(&mut self) {
        drop(self.child.stderr.take());
    }

    /// As [`Bursar::run`], with a standard error that nobody reads any more.
    pub async fn run_unheard(site: &Site, settings: &Settings, arguments: &[&str]) -> Output {
        let mut command = command(site, settings, arguments);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the binary can be started");
        drop(child.stderr.take());
        let ended = tokio::time::timeout(crate::DEADLINE, child.wait_with_output()).await;
        ended.expect("it ends").expect("its output")
    }

    async fn until_ready(&mut self) {
        let client = reqwest::Client::new();
        let ready = self.addresses.admin("/readyz");
        eventually("the binary to be ready", async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "the binary ended with {status} before it was ready: run with BURSAR_LOG=info to see why"
                );
            }
            let answer = client.get(&ready).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    pub fn process_id(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    /// SIGKILL, without any chance to settle something.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// SIGTERM, then waits for its end.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().expect("it is running").to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("the command kill");
        assert!(sent.success());
        let ended = tokio::time::timeout(crate::DEADLINE, self.child.wait()).await;
        ended.expect("it drains and exits on SIGTERM").expect("its status")
    }

    /// Begins a command of the binary, for a test that ends it.
    pub fn spawn(site: &Site, settings: &Settings, arguments: &[&str]) -> Child {
        let mut command = command(site, settings, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command.spawn().expect("the binary can be started")
    }

    /// Runs a command of the binary to its end.
    pub async fn run(site: &Site, settings: &Settings, arguments: &[&str]) -> Output {
        command(site, settings, arguments).output().await.expect("the binary can be started")
    }
}

fn fleet(addresses: &Addresses, site: &Site, settings: &Settings, arguments: &[&str]) -> Command {
    at(addresses, command(site, settings, arguments))
}

fn at(addresses: &Addresses, mut command: Command) -> Command {
    command
        .env("BURSAR_HTTP_ADDR", &addresses.http)
        .env("BURSAR_ADMIN_ADDR", &addresses.admin)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command
}

fn command(site: &Site, settings: &Settings, arguments: &[&str]) -> Command {
    prepare(Command::new(path()), site, settings, arguments)
}

fn prepare(mut command: Command, site: &Site, settings: &Settings, arguments: &[&str]) -> Command {
    command
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("BURSAR_DATABASE_URL", site.database_url.expose_secret())
        .env("BURSAR_MIGRATE_URL", site.owner_url.expose_secret())
        .env("BURSAR_AMQP_URL", site.amqp_url.expose_secret())
        .env("USER", "tester")
        .env("BURSAR_NAMESPACE", site.namespace.as_str())
        .env("BURSAR_LOG", std::env::var("BURSAR_LOG").unwrap_or_else(|_| "off".to_owned()))
        .envs(settings.0.iter().map(|(name, value)| (name, value)));
    command
}

/// `BURSAR_BIN`, else the one that was built beside this test.
fn path() -> PathBuf {
    let path = std::env::var_os("BURSAR_BIN").map(PathBuf::from).unwrap_or_else(|| {
        let test = std::env::current_exe().expect("this process has a path");
        let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/<test>");
        profile.join("bursar")
    });
    assert!(
        path.is_file(),
        "expected the binary at {}: build it with `cargo build --bin bursar`, or run the tests by deploy/test.sh, which does",
        path.display()
    );
    path
}
