//! Which unrecognised deliveries a command is about, and the look through them.

use crate::output::progress::ProgressLine;
use crate::session::Session;
use anyhow::Result;
use clap::Args;
use db::Doing;
use gate::{Today, UnrecognisedDelivery, UnrecognisedFilter, UnrecognisedPlace};
use serde_json::{Value, json};
use std::ops::ControlFlow;

/// Which deliveries.
#[derive(Args)]
pub struct WhichUnrecognised {
    /// Only this processor's
    #[arg(long, value_name = "PROCESSOR")]
    processor: Option<String>,
    /// Only events of this type, by the processor's own name
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only this one, as causes are written (paddle/evt_01h8...) or by the event's id alone; may be given several times
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
}

impl WhichUnrecognised {
    /// As the audit keeps it.
    pub fn document(&self) -> Value {
        json!({ "processor": self.processor, "type": self.event_type, "ids": self.ids })
    }

    fn filter(&self) -> UnrecognisedFilter {
        UnrecognisedFilter {
            processor: self.processor.clone(),
            event_type: self.event_type.clone(),
            ids: self.ids.clone(),
        }
    }
}

/// Deliveries read at a time: a body may have a megabyte.
const PAGE: usize = 50;

/// Shows each delivery to `look`, the oldest first, with what today's code makes of it, until it has seen enough.
pub async fn look_through(
    session: &Session,
    which: &WhichUnrecognised,
    mut look: impl FnMut(UnrecognisedDelivery, Today) -> ControlFlow<()>,
) -> Result<()> {
    let (filter, settings) = (which.filter(), session.config.settings());
    let mut connection = session.pool.acquire().await.doing("taking a connection")?;
    let line = ProgressLine::new();
    let (mut place, mut seen) = (UnrecognisedPlace::beginning(), 0_i64);
    loop {
        let page = gate::unrecognised(&mut connection, &filter, &place, PAGE as i64).await?;
        let is_last = page.len() < PAGE;
        seen += page.len() as i64;
        line.count("deliveries looked through", seen);
        if let Some(last) = page.last() {
            place = UnrecognisedPlace::after(last);
        }
        for delivery in page {
            let today = delivery.today(&settings);
            if look(delivery, today).is_break() {
                line.clear();
                return Ok(());
            }
        }
        if is_last {
            line.clear();
            return Ok(());
        }
    }
}
