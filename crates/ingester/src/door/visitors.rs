//! The open connections of a door: how many, from where, and which one is closed for another.

use super::limits::DoorLimits;
use super::proxies::network_of;
use super::refused::{self, Why};
use super::visit::Visit;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Far longer than a request takes to come.
const OLD: Duration = Duration::from_secs(1);

/// How many are closed at once if descriptors are short; connections that waited before a genuine sender take the first.
const OLD_AT_ONCE: usize = 32;

pub struct Visitors {
    pub door: &'static str,
    pub limits: DoorLimits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    visits: HashMap<u64, OpenVisit>,
    /// Connections of an address, or requests in hand of one behind a proxy.
    of_address: HashMap<IpAddr, usize>,
}

struct OpenVisit {
    visit: Arc<Visit>,
    /// None for a proxy, who may have as many connections as there are.
    address: Option<IpAddr>,
}

impl Open {
    /// The connection that the door has waited for longest, of those that `counts` accepts.
    fn longest(
        &self,
        since: impl Fn(&Visit) -> Option<Instant>,
        counts: impl Fn(u64, &OpenVisit) -> bool,
    ) -> Option<u64> {
        let waiting = self.visits.iter().filter(|(id, entry)| counts(**id, entry));
        let waiting = waiting.filter_map(|(id, entry)| Some((since(&entry.visit)?, *id)));
        waiting.min().map(|(_, id)| id)
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Visit>> {
        let entry = self.visits.remove(&id)?;
        if let Some(address) = entry.address {
            self.leave(address);
        }
        Some(entry.visit)
    }

    fn leave(&mut self, address: IpAddr) {
        if let Some(count) = self.of_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
    }

    fn count(&self, address: IpAddr) -> usize {
        self.of_address.get(&address).copied().unwrap_or(0)
    }
}

impl Visitors {
    pub fn new(door: &'static str, limits: DoorLimits) -> Arc<Self> {
        Arc::new(Self { door, limits, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, why: Why) {
        refused::count(self.door, why);
    }

    /// Lets a connection in, where need be for another that the door waits for.
    ///
    /// # Errors
    /// The limit that is reached, if no other connection can be closed for this one.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Guest, Why> {
        let peer = peer.to_canonical();
        let address = (!self.limits.proxies.trusts(peer)).then(|| network_of(peer));
        let mut open = self.open();
        if let Some(address) = address
            && open.count(address) >= self.limits.connections_per_address
        {
            let longest = open.longest(Visit::waiting_since, |_, entry| entry.address == Some(address));
            self.close(&mut open, longest).ok_or(Why::Address)?;
        }
        if open.visits.len() >= self.limits.connections {
            let longest = open.longest(Visit::waiting_since, |_, _| true);
            self.close(&mut open, longest).ok_or(Why::Connections)?;
        }
        open.last_id += 1;
        let (id, visit) = (open.last_id, Arc::new(Visit::new(&self.limits)));
        open.visits.insert(id, OpenVisit { visit: visit.clone(), address });
        if let Some(address) = address {
            *open.of_address.entry(address).or_default() += 1;
        }
        drop(open);
        metrics::gauge!("bursar_door_connections", "door" => self.door).increment(1.0);
        Ok(Guest { visitors: self.clone(), id, peer, visit })
    }

    /// It counts as closed from now on, so that no other connection is closed in its place.
    fn close(&self, open: &mut Open, id: Option<u64>) -> Option<()> {
        let visit = open.remove(id?)?;
        visit.leave.cancel();
        self.count(Why::MadeWay);
        Some(())
    }

    /// Closes some of the connections that the door has waited for longest. The system may say that there are no descriptors
    /// though no connection waits: one that has just been accepted stays open.
    pub fn close_old(&self) {
        let mut open = self.open();
        let since = |visit: &Visit| visit.waiting_since().filter(|since| since.elapsed() >= OLD);
        for _ in 0..OLD_AT_ONCE {
            let longest = open.longest(since, |_, _| true);
            self.close(&mut open, longest);
        }
    }

    /// Closes every connection that the door waits for.
    pub fn close_all(&self) {
        let mut open = self.open();
        while let Some(longest) = open.longest(Visit::waiting_since, |_, _| true) {
            self.close(&mut open, Some(longest));
        }
    }

    /// Closes the connection that has held a part of a body for longest, except the caller's own.
    pub fn close_one_with_a_body(&self, but: u64) {
        let mut open = self.open();
        let longest = open.longest(Visit::holding_since, |id, _| id != but);
        self.close(&mut open, longest);
    }

    /// Counts a request that came through a proxy to the address that it came from.
    ///
    /// # Errors
    /// [`Why::Address`]: this address has as many requests in hand as it may.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<InHand, Why> {
        let mut open = self.open();
        if open.count(address) >= self.limits.connections_per_address {
            return Err(Why::Address);
        }
        *open.of_address.entry(address).or_default() += 1;
        drop(open);
        Ok(InHand { visitors: self.clone(), address })
    }
}

/// A connection that was let in; dropping it lets the next one in.
pub struct Guest {
    pub visitors: Arc<Visitors>,
    pub id: u64,
    pub peer: IpAddr,
    pub visit: Arc<Visit>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.visitors.open().remove(self.id);
        metrics::gauge!("bursar_door_connections", "door" => self.visitors.door).decrement(1.0);
    }
}

/// A request in hand that is counted to the address behind a proxy.
pub struct InHand {
    visitors: Arc<Visitors>,
    address: IpAddr,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.visitors.open().leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];

    fn visitors(connections: usize, connections_per_address: usize, proxies: &[&str]) -> Arc<Visitors> {
        let proxies: Vec<String> = proxies.iter().map(|text| (*text).to_owned()).collect();
        let proxies = super::super::Proxies::parse(&proxies, Default::default()).unwrap();
        Visitors::new(
            "test",
            DoorLimits { connections, connections_per_address, proxies, ..DoorLimits::default() },
        )
    }

    fn comes(visitors: &Arc<Visitors>, peer: [u8; 4]) -> Guest {
        visitors.admit(peer.into()).map_err(Why::as_str).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_a_full_door_waiting_longest_makes_way() {
        let visitors = visitors(2, 2, &[]);
        let first = comes(&visitors, A);
        tokio::time::advance(Duration::from_millis(5)).await;
        let second = comes(&visitors, A);
        first.visit.asks(false);
        let third = comes(&visitors, B);
        let left = |guest: &Guest| guest.visit.leave.is_cancelled();
        assert_eq!((left(&first), left(&second), left(&third)), (false, true, false));
        third.visit.asks(false);
        assert_eq!(visitors.admit(A.into()).err(), Some(Why::Connections), "what is in work stays");
        drop(second);
        assert_eq!(visitors.admit(A.into()).err(), Some(Why::Connections), "it had left already");
        drop(third);
        comes(&visitors, A);
    }

    #[tokio::test]
    async fn an_address_that_has_its_share_makes_way_for_itself_alone() {
        let visitors = visitors(10, 2, &["192.0.2.2"]);
        let others = comes(&visitors, [198, 51, 100, 1]);
        let own = [comes(&visitors, A), comes(&visitors, A)];
        let third = comes(&visitors, A);
        assert!(!others.visit.leave.is_cancelled());
        assert_eq!(own.iter().filter(|guest| guest.visit.leave.is_cancelled()).count(), 1);
        own.iter().chain([&third]).for_each(|guest| guest.visit.asks(false));
        assert_eq!(visitors.admit(A.into()).err(), Some(Why::Address));
        assert!((0..5).all(|_| visitors.admit(B.into()).is_ok()), "a proxy brings many");
        // A network of IPv6 is one address.
        let six = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 7, 7, 7, last]);
        let guests: Vec<_> = (0..3).map(|last| visitors.admit(six(last)).ok().unwrap()).collect();
        assert_eq!(guests.iter().filter(|guest| guest.visit.leave.is_cancelled()).count(), 1);
    }

    #[tokio::test]
    async fn requests_behind_a_proxy_count_to_where_they_come_from() {
        let visitors = visitors(10, 2, &["192.0.2.2"]);
        let in_hand = [visitors.enter(A.into()), visitors.enter(A.into())];
        assert!(in_hand.iter().all(Result::is_ok));
        assert_eq!(visitors.enter(A.into()).err(), Some(Why::Address));
        drop(in_hand);
        assert!(visitors.enter(A.into()).is_ok());
        assert!(visitors.open().of_address.is_empty());
    }
}
