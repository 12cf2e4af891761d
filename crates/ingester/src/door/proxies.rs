//! Proxies that stand in front of a door, and the address that they name for a request.

use axum::http::HeaderMap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// One address of IPv4 is one customer of a provider, a /64 of IPv6 is one too.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// Proxies that stand in front, and the header in which they name their clients. No other peer's header is believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    networks: Vec<IpNet>,
    header: ProxyHeader,
}

/// The one header that the proxies write. The other is whatever a stranger put there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

impl ProxyHeader {
    fn name(self) -> &'static str {
        match self {
            ProxyHeader::XForwardedFor => "x-forwarded-for",
            ProxyHeader::Forwarded => "forwarded",
        }
    }

    /// The address in one element of the header's list.
    fn address(self, element: &str) -> Option<IpAddr> {
        match self {
            ProxyHeader::XForwardedFor => read_address(element),
            ProxyHeader::Forwarded => {
                let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
                let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
                read_address(node.trim().trim_matches('"'))
            }
        }
    }
}

/// An address, with or without a port, as proxies write it.
fn read_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

impl Proxies {
    /// Each an address or a network such as `10.0.0.0/8`.
    ///
    /// # Errors
    /// A text that is neither an address nor a network.
    pub fn parse(networks: &[String], header: ProxyHeader) -> Result<Self, String> {
        let read = |text: &String| {
            let network = text.parse::<IpNet>().ok();
            let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            network
                .ok_or_else(|| format!("expected an address or a network such as 10.0.0.0/8, got {text:?}"))
        };
        Ok(Self { networks: networks.iter().map(read).collect::<Result<_, _>>()?, header })
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// From the nearest on: the first that is no proxy of ours. What stands before it was written by strangers, and what
    /// cannot be read ends the search at the last who could be.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer;
        // Each element by itself: of one that a stranger wrote nothing reaches those that the proxies added.
        let lines: Vec<&[u8]> =
            headers.get_all(self.header.name()).iter().map(|line| line.as_bytes()).collect();
        let elements = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        let mut hops =
            elements.map(|element| str::from_utf8(element).ok().and_then(|text| self.header.address(text)));
        while self.trusts(nearest) {
            match hops.next() {
                Some(Some(address)) => nearest = address,
                Some(None) | None => break,
            }
        }
        nearest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[track_caller]
    fn check(header: ProxyHeader, peer: &str, lines: &[(&'static str, &str)], expect: &str) {
        let lines: Vec<_> = lines.iter().map(|(name, line)| (*name, line.as_bytes())).collect();
        check_bytes(header, peer, &lines, expect);
    }

    #[track_caller]
    fn check_bytes(header: ProxyHeader, peer: &str, lines: &[(&'static str, &[u8])], expect: &str) {
        let proxies = ["10.0.0.0/8", "2001:db8:aa::1"].map(str::to_owned);
        let proxies = Proxies::parse(&proxies, header).unwrap();
        let line = |(name, line): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(line).unwrap())
        };
        let headers = lines.iter().map(line).collect();
        let client = proxies.client(peer.parse().unwrap(), &headers);
        assert_eq!(client, expect.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let check = |peer, lines: &[_], expect| check(ProxyHeader::XForwardedFor, peer, lines, expect);
        let name = "x-forwarded-for";
        check("192.0.2.1", &[(name, "198.51.100.1")], "192.0.2.1");
        check("10.0.0.1", &[(name, "198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(name, "203.0.113.9, 198.51.100.1, 10.1.1.1")], "198.51.100.1");
        check("10.0.0.1", &[(name, "203.0.113.9"), (name, "198.51.100.1")], "198.51.100.1");
        check("10.0.0.1", &[(name, "198.51.100.1, unknown")], "10.0.0.1");
        check("10.0.0.1", &[(name, "198.51.100.1, ")], "10.0.0.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[(name, "10.0.0.2,10.0.0.3")], "10.0.0.2");
        check("10.0.0.1", &[(name, "198.51.100.1:443")], "198.51.100.1");
        check("10.0.0.1", &[(name, "[2001:db8::1]:443")], "2001:db8::1");
        check("10.0.0.1", &[(name, "::ffff:198.51.100.1")], "198.51.100.1");
        check("2001:db8:aa::1", &[(name, "2001:db8::1")], "2001:db8::1");
        // The header that these proxies do not write.
        check("10.0.0.1", &[("forwarded", "for=198.51.100.1")], "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_where_the_proxies_write_it() {
        let check = |line, expect| check(ProxyHeader::Forwarded, "10.0.0.1", &[("forwarded", line)], expect);
        check("for=198.51.100.1", "198.51.100.1");
        check("for=203.0.113.9, For=\"198.51.100.1:80\";proto=https;by=10.0.0.2", "198.51.100.1");
        check("proto=https;for=\"[2001:db8::1]\"", "2001:db8::1");
        check("for=\"[2001:db8::1]:4711\"", "2001:db8::1");
        check("for=_hidden", "10.0.0.1");
        check("proto=https", "10.0.0.1");
    }

    #[test]
    fn what_a_stranger_wrote_hides_nobody_that_a_proxy_added() {
        let (name, standard) = ("x-forwarded-for", "forwarded");
        let check = |lines: &[_], expect| check_bytes(ProxyHeader::XForwardedFor, "10.0.0.1", lines, expect);
        check(&[(name, b"\xff, 198.51.100.1")], "198.51.100.1");
        check(&[(name, b"caf\xc3\xa9, 198.51.100.1, 10.1.1.1")], "198.51.100.1");
        check(&[(name, b"\xff"), (name, b"198.51.100.1")], "198.51.100.1");
        check(&[(name, b"203.0.113.9, \xff, 10.1.1.1")], "10.1.1.1");
        check(&[(name, b"198.51.100.1, \xff")], "10.0.0.1");
        let check = |lines: &[_], expect| check_bytes(ProxyHeader::Forwarded, "10.0.0.1", lines, expect);
        check(&[(standard, b"for=\"\xff\", for=198.51.100.1")], "198.51.100.1");
        check(&[(standard, b"for=\"a, for=198.51.100.1")], "198.51.100.1");
    }

    #[test]
    fn an_address_of_ipv6_counts_with_its_network() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        let wrong = Proxies::parse(&["10.0.0.0/40".to_owned()], ProxyHeader::default()).unwrap_err();
        assert!(wrong.contains("10.0.0.0/40"), "{wrong}");
    }
}
