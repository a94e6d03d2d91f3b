//! Connections counted by the address that they come from, so that one host cannot hold all of them.
//!
//! An IPv6 host has a whole /64 to choose its address from, and a site often a /56 of those, so both are counted. Whoever
//! has more networks than one can hold more. Deliberately absent: addresses that a proxy reports; behind a proxy everybody
//! has its address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// How many connections each address has open.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    open: Mutex<HashMap<Network, usize>>,
}

/// What connections are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    /// An IPv4 address, however it is written, or the /64 of an IPv6 address.
    Host(IpAddr),
    /// The /56 of an IPv6 address.
    Site(Ipv6Addr),
}

/// The place of one connection, which is free again when it is dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    addresses: Arc<Addresses>,
    networks: Vec<Network>,
}

impl Addresses {
    /// A place for one more connection from there, unless it has so many already, which is the most that it may have.
    pub(super) fn place(self: &Arc<Self>, from: IpAddr, most: usize) -> Option<AddressPlace> {
        let networks = networks(from);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |network: &Network| {
            let most = match network {
                Network::Host(_) => most,
                Network::Site(_) => most.saturating_mul(2),
            };
            open.get(network).is_some_and(|count| *count >= most.max(1))
        };
        if networks.iter().any(full) {
            return None;
        }
        for network in &networks {
            *open.entry(*network).or_insert(0) += 1;
        }
        Some(AddressPlace { addresses: Arc::clone(self), networks })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        for network in &self.networks {
            if let Some(count) = open.get_mut(network) {
                *count -= 1;
                if *count == 0 {
                    open.remove(network);
                }
            }
        }
    }
}

fn networks(address: IpAddr) -> Vec<Network> {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => vec![Network::Host(address)],
        IpAddr::V6(address) => {
            let first =
                |bits: u32| Ipv6Addr::from(u128::from(address) & (u128::MAX << (128 - bits)));
            vec![Network::Host(first(64).into()), Network::Site(first(56))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_no_more_and_gets_them_back() {
        let addresses = Arc::new(Addresses::default());
        let (here, there): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let one = addresses.place(here, 2).unwrap();
        let two = addresses.place(here, 2).unwrap();
        assert!(addresses.place(here, 2).is_none());
        assert!(addresses.place(there, 2).is_some(), "others have their own");
        drop(addresses.place(here, 3).expect("more are allowed from now on"));
        drop(one);
        assert!(addresses.place(here, 1).is_none(), "fewer are allowed, and one is open still");
        let three = addresses.place(here, 2).unwrap();
        drop((two, three));
        assert!(addresses.open.lock().unwrap().is_empty(), "nobody is remembered for nothing");
    }

    #[test]
    fn one_host_is_one_host_however_its_address_is_written() {
        let addresses = Arc::new(Addresses::default());
        let place = |text: &str| addresses.place(text.parse().unwrap(), 1);
        let _one = place("2001:db8::1").unwrap();
        assert!(place("2001:db8::ffff:1").is_none(), "the same /64");
        assert!(place("2001:db8:0:1::1").is_some(), "another");
        let _mapped = place("::ffff:192.0.2.1").unwrap();
        assert!(place("192.0.2.1").is_none());
        assert!(place("::ffff:192.0.2.2").is_some());
    }

    #[test]
    fn a_site_with_many_networks_has_twice_the_places_of_a_host_and_no_more() {
        let addresses = Arc::new(Addresses::default());
        let place = |network: u16| {
            addresses.place(format!("2001:db8:0:{network:x}::1").parse().unwrap(), 2)
        };
        let held: Vec<_> = (0..4).map(|network| place(network).unwrap()).collect();
        assert!(place(4).is_none(), "the fifth of one /56");
        assert!(place(0x100).is_some(), "the next /56");
        drop(held);
        assert!(place(4).is_some());
        assert!(addresses.open.lock().unwrap().is_empty(), "nobody is remembered for nothing");
    }
}
