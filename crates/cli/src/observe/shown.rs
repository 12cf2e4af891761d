//! Log lines as they may be read: nothing in one begins another, steers a terminal or hides.

use crate::visible;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// How lines are laid out, and so what may stand in them.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Text { allows_styles: bool },
    Json,
}

/// Whatever writes, in front of it.
pub struct Shown<W> {
    to: W,
    layout: Layout,
}

impl Shown<BoxMakeWriter> {
    pub fn text(to: BoxMakeWriter, allows_styles: bool) -> Self {
        Self { to, layout: Layout::Text { allows_styles } }
    }

    pub fn json(to: BoxMakeWriter) -> Self {
        Self { to, layout: Layout::Json }
    }
}

impl<W: Write> Write for Shown<W> {
    /// An event is written at once, as one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown = match self.layout {
            Layout::Text { allows_styles } => visible::logged(&text, allows_styles),
            Layout::Json => visible::json(&text),
        };
        self.to.write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Shown<M> {
    type Writer = Shown<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Shown { to: self.to.make_writer(), layout: self.layout }
    }
}
