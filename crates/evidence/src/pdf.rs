//! The pack as a PDF for people: A4, black on white, nothing smaller than 12 points, within what processors take.

mod chart;
mod fonts;
mod page;
mod render;
mod sections;
mod table;
mod text;

use crate::pack::Pack;
use page::Flow;
use sections::Checked;
use table::Limits;

/// A processor takes 4.5 MB of evidence in all. Source: docs.stripe.com/disputes/best-practices.
pub const BYTES_MAX: usize = 4_000_000;

/// Mastercard takes no more. Same source.
pub const PAGES_MAX: usize = 19;

/// A PDF and how many pages it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdf {
    pub bytes: Vec<u8>,
    pub pages: usize,
}

/// Why there is no PDF. Each is a defect of the product: no pack should lead to it.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    #[error("the PDF cannot be written: {0}")]
    Written(String),
    #[error(
        "expected at most {PAGES_MAX} pages and {BYTES_MAX} bytes, got {pages} pages and {bytes} bytes although \
         every list was cut to the shortest; the JSON document can be made"
    )]
    TooLarge { pages: usize, bytes: usize },
}

/// How much of each list and cell is shown, from all that is readable down to what always fits.
const LIMITS: [Limits; 12] = [
    Limits { rows: 120, lines: 8 },
    Limits { rows: 90, lines: 8 },
    Limits { rows: 70, lines: 8 },
    Limits { rows: 55, lines: 8 },
    Limits { rows: 42, lines: 8 },
    Limits { rows: 32, lines: 8 },
    Limits { rows: 24, lines: 6 },
    Limits { rows: 16, lines: 6 },
    Limits { rows: 10, lines: 5 },
    Limits { rows: 6, lines: 4 },
    Limits { rows: 4, lines: 3 },
    Limits { rows: 2, lines: 2 },
];

impl Pack {
    /// A PDF within [`PAGES_MAX`] and [`BYTES_MAX`], whatever the pack holds. The same pack gives the same bytes.
    ///
    /// # Errors
    /// None is expected: see [`PdfError`].
    pub fn to_pdf(&self) -> Result<Pdf, PdfError> {
        let (mut pages, mut bytes) = (0, 0);
        let checked = Checked::of(self);
        for limits in LIMITS {
            let flow = self.laid_out(&checked, limits);
            pages = flow.pages.len();
            if pages > PAGES_MAX {
                continue;
            }
            let written = render::write(self, &flow.pages)?;
            bytes = written.len();
            if bytes <= BYTES_MAX {
                return Ok(Pdf { bytes: written, pages });
            }
        }
        Err(PdfError::TooLarge { pages, bytes })
    }

    fn laid_out(&self, checked: &Checked, limits: Limits) -> Flow {
        let mut flow = Flow::new();
        sections::draw(&mut flow, self, checked, limits);
        flow.number(&self.title());
        flow
    }

    fn title(&self) -> String {
        format!("Dispute {}", self.dispute.id)
    }
}
