//! The sender of a request: the address of the peer, or the one that a trusted proxy names.

use super::proxies::network_of;
use super::visit::Visit;
use super::visitors::{Guest, Visitors};
use axum::http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Who sent a request, and the connection it came by: an extension of each request that a door hands to its routes.
#[derive(Clone)]
pub struct Caller {
    /// The network that limits count it to.
    pub address: IpAddr,
    /// A proxy asks for it. A proxy's connections have no limit by address, so its requests are counted instead.
    pub(super) is_behind_proxy: bool,
    pub(crate) visit: Arc<Visit>,
    visitors: Arc<Visitors>,
    id: u64,
}

impl Caller {
    pub(super) fn new(guest: &Guest, headers: &HeaderMap) -> Self {
        let Guest { visitors, id, peer, visit } = guest;
        let proxies = &visitors.limits.proxies;
        let client = proxies.client(*peer, headers);
        Self {
            address: network_of(client),
            is_behind_proxy: proxies.trusts(*peer) && !proxies.trusts(client),
            visit: visit.clone(),
            visitors: visitors.clone(),
            id: *id,
        }
    }

    /// Closes the other connection that has held a part of a body for longest.
    pub(crate) fn close_another_with_a_body(&self) {
        self.visitors.close_one_with_a_body(self.id);
    }
}
