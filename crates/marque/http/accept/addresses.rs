//! Connections counted by the address that they come from, so that one host cannot hold all of them.
//!
//! An IPv6 host has a whole /64 to choose its address from, so that is what is counted. Deliberately absent: addresses
//! that a proxy reports; behind a proxy everybody has its address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// How many connections each address has open.
#[derive(Debug)]
pub(super) struct Addresses {
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection, which is free again when it is dropped.
#[derive(Debug)]
pub(super) struct AddressPlace {
    addresses: Arc<Addresses>,
    host: IpAddr,
}

impl Addresses {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place for one more connection from there, unless it has as many as it may have.
    pub(super) fn place(self: &Arc<Self>, from: IpAddr) -> Option<AddressPlace> {
        let host = host(from);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(host).or_insert(0);
        // A limit of none is refused by configuration; here it would leave an entry behind.
        if *count >= self.most.max(1) {
            return None;
        }
        *count += 1;
        Some(AddressPlace { addresses: Arc::clone(self), host })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.host);
            }
        }
    }
}

/// What counts as one host: an IPv4 address, however it is written, or the /64 of an IPv6 address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_no_more_and_gets_them_back() {
        let addresses = Addresses::new(2);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let one = addresses.place(here).unwrap();
        let two = addresses.place(here).unwrap();
        assert!(addresses.place(here).is_none());
        assert!(addresses.place("192.0.2.2".parse().unwrap()).is_some(), "others have their own");
        drop(one);
        let three = addresses.place(here).unwrap();
        drop((two, three));
        assert!(addresses.open.lock().unwrap().is_empty(), "nobody is remembered for nothing");
    }

    #[test]
    fn one_host_is_one_host_however_its_address_is_written() {
        let addresses = Addresses::new(1);
        let place = |text: &str| addresses.place(text.parse().unwrap());
        let _one = place("2001:db8::1").unwrap();
        assert!(place("2001:db8::ffff:1").is_none(), "the same /64");
        assert!(place("2001:db8:0:1::1").is_some(), "another");
        let _mapped = place("::ffff:192.0.2.1").unwrap();
        assert!(place("192.0.2.1").is_none());
        assert!(place("::ffff:192.0.2.2").is_some());
    }
}
