//! Log lines on their way to stderr. A thread of its own writes them: nobody who logs waits for whoever reads.
//!
//! A reader that stands still (a pager, a collector that hangs) would otherwise hold up a worker in the middle of a batch,
//! and with the lock of stderr all of them. So many lines wait; what comes on top of them is lost, counted, and said.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait at most: some megabytes.
const WAITING_MAX: usize = 10_000;

/// How long the end of the process waits for what is still to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// Between two looks for a place, where as many lines wait as may.
const FULL: Duration = Duration::from_millis(1);

enum LoggedLine {
    Text(Vec<u8>),
    /// Everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Clone)]
pub struct Lines {
    waiting: SyncSender<LoggedLine>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    pub fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (waiting, lines) = sync_channel(WAITING_MAX);
        let lost = Arc::<AtomicU64>::default();
        let told = lost.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(out, &lines, &told))?;
        Ok(Self { waiting, lost })
    }

    /// Waits until what was logged is written, but not for a reader that stands still.
    pub fn flush(&self) {
        let until = Instant::now() + FLUSH;
        let (done, written) = sync_channel(1);
        let mut flush = LoggedLine::Flush(done);
        while let Err(TrySendError::Full(again)) = self.waiting.try_send(flush) {
            if Instant::now() > until {
                return;
            }
            flush = again;
            thread::sleep(FULL);
        }
        let _ = written.recv_timeout(FLUSH);
    }
}

/// What cannot be written is lost, and that is all.
fn write_all(mut out: impl Write, lines: &Receiver<LoggedLine>, lost: &AtomicU64) {
    for line in lines {
        match line {
            LoggedLine::Text(text) => drop(out.write_all(&text)),
            LoggedLine::Flush(done) => {
                drop(out.flush().and_then(|()| done.send(()).map_err(io::Error::other)))
            }
        }
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            drop(writeln!(out, "{count} log lines were lost: whoever reads them stood still"));
        }
    }
}

impl Write for Lines {
    /// An event is written at once, as one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.waiting.try_send(LoggedLine::Text(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Arc, Mutex, PoisonError};

    /// Takes nothing until it is let go.
    struct Reader {
        held: Option<Receiver<()>>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reader {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            if let Some(held) = self.held.take() {
                let _ = held.recv();
            }
            self.read.lock().unwrap_or_else(PoisonError::into_inner).extend(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_for_a_reader_that_stands_still_and_what_is_lost_is_said() {
        let (go, held): (Sender<()>, _) = channel();
        let read = Arc::<Mutex<Vec<u8>>>::default();
        let reader = Reader { held: Some(held), read: read.clone() };
        let mut lines = Lines::to(reader).expect("a thread");
        let logged = WAITING_MAX + 10;
        for number in 0..logged {
            lines.write_all(format!("{number}\n").as_bytes()).expect("nothing fails");
        }
        drop(go);
        lines.flush();
        let read = read.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&read);
        assert!(text.starts_with("0\n") && text.contains(" log lines were lost"), "{} bytes", text.len());
        let lines = text.lines().filter(|line| line.parse::<usize>().is_ok()).count();
        assert!(lines < logged && lines >= WAITING_MAX, "{lines}");
    }
}
