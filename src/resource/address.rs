//! Addresses that mean something else to a proxy than to who wrote them down: its own machine, its own network, or
//! nobody. Whoever may name endpoints could reach with them what was never meant to be reached from outside, such as a
//! proxy's admin interface or a cloud's metadata service (CVE-2021-25737 is Kubernetes' own story of it).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address means that is not just any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The proxy's own machine.
    Loopback,
    /// What only the proxy's own network segment, or machine, has: metadata services among it.
    LinkLocal,
    /// No address: whoever connects to it reaches itself.
    Unspecified,
    /// A group of addresses.
    Multicast,
}

impl Special {
    /// In words.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Unspecified => "an unspecified address",
            Self::Multicast => "a multicast or broadcast address",
        }
    }
}

/// What is special about an address, an IPv4 one in an IPv6 one's clothes included.
pub fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address).or_else(|| embedded(address).and_then(special_v4)),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    // RFC 6890: all of 0.0.0.0/8 is "this host on this network".
    match address {
        _ if address.octets()[0] == 0 => Some(Special::Unspecified),
        _ if address.is_loopback() => Some(Special::Loopback),
        _ if address.is_link_local() => Some(Special::LinkLocal),
        _ if address.is_multicast() || address.is_broadcast() => Some(Special::Multicast),
        _ => None,
    }
}

/// Where a well-known cloud has its metadata service, though not within fe80::/10.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    match address {
        _ if address.is_unspecified() => Some(Special::Unspecified),
        _ if address.is_loopback() => Some(Special::Loopback),
        _ if address.is_unicast_link_local() || address == METADATA => Some(Special::LinkLocal),
        _ if address.is_multicast() => Some(Special::Multicast),
        _ => None,
    }
}

/// The IPv4 address that is reached by an IPv6 one: mapped (RFC 4291, 2.5.5.2), compatible (2.5.5.1), by NAT64 (RFC
/// 6052) or by 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_is_so_in_whatever_way_it_is_written() {
        let cases = [
            ("127.0.0.1", Some(Special::Loopback)),
            ("127.255.255.254", Some(Special::Loopback)),
            ("::1", Some(Special::Loopback)),
            ("::ffff:127.0.0.1", Some(Special::Loopback)),
            ("::127.0.0.1", Some(Special::Loopback)),
            ("64:ff9b::7f00:1", Some(Special::Loopback)),
            ("2002:7f00:1::", Some(Special::Loopback)),
            ("169.254.169.254", Some(Special::LinkLocal)),
            ("::ffff:169.254.169.254", Some(Special::LinkLocal)),
            ("64:ff9b::a9fe:a9fe", Some(Special::LinkLocal)),
            ("2002:a9fe:a9fe::1", Some(Special::LinkLocal)),
            ("fe80::1", Some(Special::LinkLocal)),
            ("febf::1", Some(Special::LinkLocal)),
            ("fd00:ec2::254", Some(Special::LinkLocal)),
            ("0.0.0.0", Some(Special::Unspecified)),
            ("0.1.2.3", Some(Special::Unspecified)),
            ("::", Some(Special::Unspecified)),
            ("::ffff:0.0.0.0", Some(Special::Unspecified)),
            ("224.0.0.1", Some(Special::Multicast)),
            ("239.1.2.3", Some(Special::Multicast)),
            ("255.255.255.255", Some(Special::Multicast)),
            ("ff02::1", Some(Special::Multicast)),
            ("::ffff:224.0.0.1", Some(Special::Multicast)),
            ("10.0.0.1", None),
            ("192.168.1.1", None),
            ("169.253.1.1", None),
            ("128.0.0.1", None),
            ("::ffff:10.0.0.1", None),
            ("64:ff9b::a00:1", None),
            ("fd00::1", None),
            ("fec0::1", None),
            ("2001:db8::1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(special(text.parse().unwrap()), expected, "{text}");
        }
    }
}
