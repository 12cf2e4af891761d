//! One worked pack, hostile packs, and what must hold of both.

mod compelling;
mod hostile;
mod json;
mod pdf;
mod stripe;
mod worked;
