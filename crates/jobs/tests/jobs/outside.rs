//! The outside: a server on loopback that has moods, remembers every call, and tells the truth when it is asked.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

/// What became of a call, as the server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Executed,
    /// Nothing came of it, for good.
    Refused,
    /// Somebody asked about it before it came: it is refused, whenever it comes.
    Void,
}

/// How the server behaves towards one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Prompt,
    /// Does it, and answers when nobody waits any more.
    Late,
    /// Does it, and breaks off in the middle of its answer.
    BreaksOff,
    /// Does nothing, and closes without a word.
    Mute,
    /// Says no.
    Refuses,
    /// Does it, and answers twice.
    Twice,
    /// Does it, and is gone for a while, answer and all.
    Dies,
    /// Does it, and says that something went wrong.
    Confused,
}

impl Mood {
    const ALL: [Mood; 8] = [
        Mood::Prompt,
        Mood::Late,
        Mood::BreaksOff,
        Mood::Mute,
        Mood::Refuses,
        Mood::Twice,
        Mood::Dies,
        Mood::Confused,
    ];
}

/// Which moods a server has.
#[derive(Debug, Clone, Copy)]
pub enum Temper {
    /// Of all of them, by a seed.
    Moody(u64),
    /// Answers each after so long.
    Steady(fn(&str) -> Duration),
    /// Answers calls for `slow` once so many others are answered.
    Holding(usize),
    Always(Mood),
}

#[derive(Default)]
struct Book {
    /// By the job's id and the attempt.
    calls: BTreeMap<(String, u32), Fate>,
    /// Those of which somebody was told that they failed.
    told: BTreeSet<(String, u32)>,
    /// What must never be, in words.
    wrongs: Vec<String>,
    under_way: BTreeMap<String, u32>,
    under_way_max: BTreeMap<String, u32>,
    all_max: u32,
    /// The keys of calls in the order in which they were answered.
    answered: Vec<String>,
}

impl Book {
    /// A call comes in. Another one for the same intent may come only where every earlier one is known to have failed.
    fn comes(&mut self, id: &str, attempt: u32, would: Fate) -> Fate {
        let key = (id.to_owned(), attempt);
        match self.calls.get(&key) {
            Some(Fate::Void) => return Fate::Void,
            Some(fate) => {
                self.wrongs.push(format!("{id}: attempt {attempt} came twice, the first was {fate:?}"))
            }
            None => {}
        }
        for ((other, number), fate) in &self.calls {
            let is_known = self.told.contains(&(other.clone(), *number));
            if other == id && *number != attempt && !(is_known && *fate != Fate::Executed) {
                let known = if is_known { "told" } else { "told to nobody" };
                self.wrongs.push(format!(
                    "{id}: attempt {attempt} came after attempt {number} was {fate:?}, {known}"
                ));
            }
        }
        self.calls.insert(key, would);
        would
    }

    fn begins(&mut self, key: &str) {
        let count = self.under_way.entry(key.to_owned()).or_default();
        *count += 1;
        let max = self.under_way_max.entry(key.to_owned()).or_default();
        *max = (*max).max(*count);
        self.all_max = self.all_max.max(self.under_way.values().sum());
    }

    fn ends(&mut self, key: &str) {
        *self.under_way.get_mut(key).unwrap() -= 1;
        self.answered.push(key.to_owned());
    }
}

struct Shared {
    temper: Temper,
    book: Mutex<Book>,
    asked: AtomicU64,
    /// A call has come in.
    came: Notify,
    dies: Notify,
    stop: CancellationToken,
}

/// Ends with its last handle.
#[derive(Clone)]
pub struct Outside {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

impl Outside {
    pub async fn open(temper: Temper) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (book, stop) = (Mutex::default(), CancellationToken::new());
        let guard = Arc::new(stop.clone().drop_guard());
        let shared = Arc::new(Shared {
            temper,
            book,
            asked: AtomicU64::new(0),
            came: Notify::new(),
            dies: Notify::new(),
            stop,
        });
        tokio::spawn(listen(listener, address, shared.clone()));
        Self { address, shared, _stop: guard }
    }

    /// What must never be and was.
    pub fn wrongs(&self) -> Vec<String> {
        self.shared.book.lock().unwrap().wrongs.clone()
    }

    pub fn executed(&self, id: &str) -> usize {
        self.count(id, Fate::Executed)
    }

    pub fn count(&self, id: &str, fate: Fate) -> usize {
        let book = self.shared.book.lock().unwrap();
        book.calls.iter().filter(|((other, _), known)| other == id && **known == fate).count()
    }

    pub fn calls(&self) -> usize {
        self.shared.book.lock().unwrap().calls.len()
    }

    /// The most calls under way at once: of each key, and of all.
    pub fn most(&self) -> (BTreeMap<String, u32>, u32) {
        let book = self.shared.book.lock().unwrap();
        (book.under_way_max.clone(), book.all_max)
    }

    /// The next call that comes in from now on.
    pub fn came(&self) -> Notified<'_> {
        self.shared.came.notified()
    }
}

async fn listen(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut listener = Some(listener);
    loop {
        let Some(open) = &listener else {
            tokio::time::sleep(Duration::from_millis(40)).await;
            listener = TcpListener::bind(address).await.ok();
            continue;
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.dies.notified() => listener = None,
            accepted = open.accept() => {
                if let Ok((stream, _)) = accepted {
                    let shared = shared.clone();
                    tokio::spawn(async move { drop(serve(stream, &shared).await) });
                }
            }
        }
    }
}

/// `POST /calls/<key>/<id>/<attempt>` calls, `GET` of the same asks.
async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let [_, key, id, attempt] = parts[..] else { return Ok(()) };
    let attempt: u32 = attempt.parse().unwrap_or_default();
    match method {
        "POST" => call(stream, shared, key, id, attempt).await,
        _ => ask(stream, shared, id, attempt).await,
    }
}

async fn call(
    mut stream: TcpStream,
    shared: &Shared,
    key: &str,
    id: &str,
    attempt: u32,
) -> std::io::Result<()> {
    let mood = shared.mood("call", id, attempt);
    let would = match mood {
        // Of what is never taken nothing ever comes.
        _ if id.starts_with("never") => Fate::Refused,
        Mood::Mute | Mood::Refuses => Fate::Refused,
        _ => Fate::Executed,
    };
    let fate = {
        let mut book = shared.book.lock().unwrap();
        book.begins(key);
        book.comes(id, attempt, would)
    };
    shared.came.notify_waiters();
    match shared.temper {
        Temper::Steady(after) => tokio::time::sleep(after(key)).await,
        Temper::Holding(others) => shared.hold(key, others).await,
        Temper::Moody(_) | Temper::Always(_) => {}
    }
    if fate != Fate::Executed && matches!(mood, Mood::Prompt | Mood::Refuses | Mood::Twice) {
        shared.book.lock().unwrap().told.insert((id.to_owned(), attempt));
    }
    let answered = answer(&mut stream, shared, mood, fate).await;
    shared.book.lock().unwrap().ends(key);
    answered
}

async fn answer(stream: &mut TcpStream, shared: &Shared, mood: Mood, fate: Fate) -> std::io::Result<()> {
    let whole = match fate {
        Fate::Executed => response(200, "executed"),
        Fate::Refused | Fate::Void => response(422, "refused"),
    };
    match mood {
        Mood::Prompt | Mood::Refuses => stream.write_all(&whole).await,
        Mood::Late => {
            tokio::time::sleep(Duration::from_millis(400)).await;
            stream.write_all(&whole).await
        }
        Mood::BreaksOff => stream.write_all(&whole[..whole.len() - 3]).await,
        Mood::Mute => Ok(()),
        Mood::Twice => stream.write_all(&[&whole[..], &whole[..]].concat()).await,
        Mood::Dies => {
            shared.dies.notify_one();
            Ok(())
        }
        Mood::Confused => stream.write_all(&response(500, "?")).await,
    }
}

async fn ask(mut stream: TcpStream, shared: &Shared, id: &str, attempt: u32) -> std::io::Result<()> {
    let mood = shared.mood("ask", id, attempt);
    match mood {
        Mood::Late => tokio::time::sleep(Duration::from_millis(400)).await,
        Mood::Mute => return Ok(()),
        Mood::Confused => return stream.write_all(&response(503, "?")).await,
        _ => {}
    }
    let fate = {
        let mut book = shared.book.lock().unwrap();
        book.told.insert((id.to_owned(), attempt));
        *book.calls.entry((id.to_owned(), attempt)).or_insert(Fate::Void)
    };
    let whole = match fate {
        Fate::Executed => response(200, "executed"),
        Fate::Refused => response(422, "refused"),
        Fate::Void => response(404, "absent"),
    };
    match mood {
        Mood::BreaksOff => stream.write_all(&whole[..whole.len() - 3]).await,
        _ => stream.write_all(&whole).await,
    }
}

impl Shared {
    async fn hold(&self, key: &str, others: usize) {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let book = self.book.lock().unwrap();
            if key != "slow" || book.answered.iter().filter(|key| *key != "slow").count() >= others {
                return;
            }
        }
    }

    fn mood(&self, what: &str, id: &str, attempt: u32) -> Mood {
        match (self.temper, what) {
            (Temper::Steady(_) | Temper::Holding(_), _) => Mood::Prompt,
            (Temper::Always(mood), "call") => mood,
            (Temper::Always(_), _) => Mood::Prompt,
            (Temper::Moody(seed), "call") => {
                let name = format!("{id} {attempt}");
                let seed =
                    name.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
                Mood::ALL[SmallRng::seed_from_u64(seed).random_range(0..Mood::ALL.len())]
            }
            // The same question may be answered the next time.
            (Temper::Moody(seed), _) => {
                let seed = seed.wrapping_add(self.asked.fetch_add(1, Ordering::Relaxed));
                Mood::ALL[SmallRng::seed_from_u64(seed).random_range(0..Mood::ALL.len())]
            }
        }
    }
}

fn response(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}
