//! A crowd at the door of the real binary: what is genuine is answered, the admin door answers, memory stays. Each prints
//! its figures (`cargo test --test fleet door_crowd -- --nocapture`); all of it stays on this machine and stops by itself.

use crate::binary::{Configuration, deliver, settings};
use crate::door::paddle_body;
use crate::door_slow::{Peer, head, head_with};
use reqwest::StatusCode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::Duration;
use testkit::{Bursar, Settings, run, run_within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

const CROWD: usize = 1_000;

/// Far more than is seen, also on a busy machine: the figure is printed, and this only says that an answer comes.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How often a slow peer sends a byte.
const TICK: Duration = Duration::from_millis(250);

/// Until who was sent away comes again.
const PAUSE: Duration = Duration::from_secs(1);

/// While the crowd is there.
const DELIVERIES: usize = 200;

const LIMIT: Duration = Duration::from_secs(180);

/// Ways of keeping a door busy with little.
#[derive(Clone, Copy)]
enum Way {
    Silent,
    SlowHead,
    SlowBody,
    SlowUnsigned,
}

const WAYS: [Way; 4] = [Way::Silent, Way::SlowHead, Way::SlowBody, Way::SlowUnsigned];

impl Way {
    fn begins(self) -> String {
        match self {
            Way::Silent => String::new(),
            Way::SlowHead => "POST /webhooks/paddle HTTP/1.1\r\nx: ".to_owned(),
            Way::SlowBody => head(b"", 1024 * 1024),
            Way::SlowUnsigned => head_with("", 1024 * 1024),
        }
    }
}

/// Clients that come again whenever they are sent away, on a thread of their own: the genuine sender is not to wait for them
/// here instead of at the door. They end with the value.
struct Crowd(Option<Runtime>);

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Crowd {
    /// Fifty at each address.
    async fn gather(count: usize, to: SocketAddr) -> Self {
        raise_descriptors();
        let crowd = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (here, mut came) = tokio::sync::mpsc::channel(count);
        for number in 0..count {
            let from = [127, 1, 1, 1 + (number / 50) as u8];
            crowd.spawn(pester(WAYS[number % WAYS.len()], from, to, here.clone()));
        }
        for _ in 0..count {
            came.recv().await.unwrap();
        }
        Self(Some(crowd))
    }
}

async fn pester(way: Way, from: [u8; 4], to: SocketAddr, here: tokio::sync::mpsc::Sender<()>) {
    let mut is_first = true;
    loop {
        let Ok(mut peer) = Peer::connect_from(from, to).await else {
            tokio::time::sleep(TICK).await;
            continue;
        };
        if std::mem::take(&mut is_first) {
            here.send(()).await.unwrap();
        }
        let mut open = peer.0.write_all(way.begins().as_bytes()).await.is_ok();
        while open {
            tokio::select! {
                read = peer.0.read_u8() => open = read.is_ok(),
                () = tokio::time::sleep(TICK) => {
                    open = matches!(way, Way::Silent) || peer.0.write_all(b"x").await.is_ok();
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// What the binary has in memory, in MiB: now, and at most so far.
fn memory_mib(bursar: &Bursar) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bursar.process_id())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn http_address(bursar: &Bursar) -> SocketAddr {
    bursar.addresses.http("").trim_start_matches("http://").parse().unwrap()
}

async fn admin(bursar: &Bursar, path: &str) -> (StatusCode, String) {
    let answer = reqwest::get(bursar.addresses.admin(path)).await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// A metric's value, the sum of its lines with these labels.
async fn metric(bursar: &Bursar, beginning: &str) -> u64 {
    let (_, text) = admin(bursar, "/metrics").await;
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
}

/// Delivers one after the other, each by a connection of its own; returns the longest that one took.
async fn worst_latency(bursar: &Bursar, deliveries: usize) -> Duration {
    let mut worst = Duration::ZERO;
    for _ in 0..deliveries {
        let asked = Instant::now();
        let url = bursar.addresses.http("/webhooks/paddle");
        let status = deliver(&reqwest::Client::new(), url, "paddle", paddle_body()).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        worst = worst.max(asked.elapsed());
    }
    worst
}

#[expect(clippy::print_stdout, reason = "figures for whoever asks")]
async fn meets_a_crowd(what: &str, site: &testkit::Site, settings: &Settings) {
    let bursar = Bursar::start(site, settings, &["up"]).await;
    let alone = worst_latency(&bursar, 20).await;
    let (before, _) = memory_mib(&bursar);
    let crowd = Crowd::gather(CROWD, http_address(&bursar)).await;
    let began = Instant::now();
    let worst = worst_latency(&bursar, DELIVERIES).await;
    let held = metric(&bursar, "bursar_door_connections{door=\"http\"}").await;
    let (_, most) = memory_mib(&bursar);
    println!(
        "{what}: {DELIVERIES} webhooks in {:.1?}, worst {worst:.1?} (alone {alone:.1?}); {held} connections held; memory {before} MiB before, {most} MiB at most",
        began.elapsed(),
    );
    assert!(worst < ANSWER_MAX, "{worst:?}");
    assert!(most < before + 96, "{before} MiB before, {most} MiB at most");
    assert_eq!(admin(&bursar, "/healthz").await.0, StatusCode::OK);
    assert_eq!(admin(&bursar, "/readyz").await.0, StatusCode::OK);
    let asked = Instant::now();
    assert!(bursar.terminate().await.success(), "it drains with the crowd at the door");
    println!("{what}: drained in {:.1?}", asked.elapsed());
    drop(crowd);
}

#[test]
fn while_a_thousand_slow_connections_hold_the_door_good_webhooks_are_answered() {
    run_within(LIMIT, async |site| {
        let configuration = Configuration::new("live");
        meets_a_crowd("a thousand slow ones", &site, &settings(&configuration)).await;
    });
}

#[test]
fn a_door_with_less_room_than_the_crowd_answers_good_webhooks_too() {
    run_within(LIMIT, async |site| {
        let configuration = Configuration::new("live").with("[http]\nconnections = 300\n");
        meets_a_crowd("a full door", &site, &settings(&configuration)).await;
    });
}

#[test]
fn silent_connections_up_to_the_last_descriptor_stop_neither_door() {
    run_within(LIMIT, async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let bursar = Bursar::start_with_descriptors(&site, &settings, &["up"], 1024).await;
        raise_descriptors();
        let mut silent = Vec::new();
        for number in 0..1_100 {
            let from = [127, 1, 2, 1 + (number / 50) as u8];
            silent.push(Peer::connect_from(from, http_address(&bursar)).await.unwrap());
        }
        for path in ["/healthz", "/readyz"] {
            let (status, text) = admin(&bursar, path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {text}");
        }
        let worst = worst_latency(&bursar, 20).await;
        let made_way = metric(&bursar, "bursar_door_refused_total{door=\"http\",why=\"made_way\"}").await;
        println!("1,100 silent connections at 1,024 descriptors: worst {worst:.1?}, {made_way} made way");
        assert!(worst < ANSWER_MAX && made_way >= 300, "{worst:?} {made_way}");
        bursar.terminate().await;
    });
}

/// Whatever else took them: the door does not stop, nor does it wait for a new start.
#[test]
fn a_process_without_descriptors_left_makes_room_and_goes_on() {
    run_within(LIMIT, async |site| {
        let configuration = Configuration::new("live");
        let bursar = Bursar::start(&site, &settings(&configuration), &["up"]).await;
        worst_latency(&bursar, 1).await;
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(Peer::connect(http_address(&bursar)).await);
        }
        let opened = std::fs::read_dir(format!("/proc/{}/fd", bursar.process_id())).unwrap().count() as u64;
        let limit = |descriptors| {
            let process = rustix::process::Pid::from_raw(bursar.process_id() as i32);
            let limit = Rlimit { current: descriptors, maximum: descriptors };
            rustix::process::prlimit(process, Resource::Nofile, limit).unwrap();
        };
        limit(Some(opened + 4));
        for _ in 0..50 {
            silent.push(Peer::connect(http_address(&bursar)).await);
        }
        let worst = worst_latency(&bursar, 5).await;
        assert_eq!(admin(&bursar, "/healthz").await.0, StatusCode::OK);
        let met = metric(&bursar, "bursar_door_refused_total{door=\"http\",why=\"descriptors\"}").await;
        println!("no descriptors left, {met} times: worst {worst:.1?}");
        assert!(worst < ANSWER_MAX && met > 0, "{worst:?} {met}");
        bursar.terminate().await;
    });
}

/// Their bodies would take half a gigabyte.
#[test]
fn bodies_that_nobody_can_have_signed_take_no_memory() {
    run(async |site| {
        let configuration = Configuration::new("live");
        let settings = settings(&configuration);
        let bursar = Bursar::start(&site, &settings, &["up"]).await;
        raise_descriptors();
        let (before, _) = memory_mib(&bursar);
        let unsigned = post_all(&bursar, |_| head_with("", 1024 * 1024)).await;
        let (_, most) = memory_mib(&bursar);
        println!(
            "512 unsigned bodies of 1 MiB: {unsigned} of 512 told so, {before} MiB before, {most} MiB at most"
        );
        assert!(most < before + 32, "{before} MiB before, {most} MiB at most");

        // Anybody can write a signature that looks like one: these are read, within the room that there is.
        post_all(&bursar, |_| head(b"", 1024 * 1024)).await;
        let (_, most) = memory_mib(&bursar);
        println!("512 forged ones of 1 MiB: {most} MiB at most");
        assert!(most < before + 96, "{before} MiB before, {most} MiB at most");
        assert_eq!(worst_latency(&bursar, 1).await.as_secs(), 0);
        bursar.terminate().await;
    });
}

/// 512 at a time; returns how many heard that they are refused.
async fn post_all(bursar: &Bursar, head: impl Fn(usize) -> String) -> usize {
    let mut posts = JoinSet::new();
    for number in 0..512 {
        let (to, head) = (http_address(bursar), head(number));
        posts.spawn(async move {
            let mut peer = Peer::connect_from([127, 1, 3, 1 + (number / 50) as u8], to).await.unwrap();
            let body = vec![b' '; 1024 * 1024];
            peer.0.write_all(head.as_bytes()).await.unwrap();
            drop(peer.0.write_all(&body).await);
            let mut answer = [0; 12];
            peer.0.read_exact(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 40")
        });
    }
    posts.join_all().await.into_iter().filter(|told| *told).count()
}
