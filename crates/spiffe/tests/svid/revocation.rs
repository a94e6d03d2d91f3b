//! Certificate revocation lists, read strictly.

use std::time::Duration;

use marque_spiffe::{RevocationList, RevocationListError};
use marque_testkit::{START, ScratchTrustDomain};

fn list(domain: &ScratchTrustDomain) -> Vec<u8> {
    domain.root().revocation_list(&[&[7]], START, START + Duration::from_secs(60))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn a_list_is_read_from_der_and_any_number_from_pem() {
    let domain = ScratchTrustDomain::new("example.org");
    let der = list(&domain);
    let read = RevocationList::parse_file(&der).unwrap();
    let [one] = read.as_slice() else { panic!("one list") };
    assert_eq!(**one.der(), *der);
    assert_eq!(one.next_update(), START + Duration::from_secs(60));
    assert!(one.issuer().contains("example.org"), "{}", one.issuer());
    let two = format!("# comment\n{}{}", pem("X509 CRL", &der), pem("X509 CRL", &der));
    assert_eq!(RevocationList::parse_file(two.as_bytes()).unwrap(), [one.clone(), one.clone()]);
}

#[test]
fn what_is_no_list_is_refused() {
    let domain = ScratchTrustDomain::new("example.org");
    let der = list(&domain);
    let mut longer = der.clone();
    longer.push(0);
    let certificate = domain.root().certificate();
    for (file, expected) in [
        (Vec::new(), RevocationListError::None),
        (b"nothing of the kind".to_vec(), RevocationListError::None),
        (pem("CERTIFICATE", certificate).into_bytes(), RevocationListError::None),
        (
            b"-----BEGIN X509 CRL-----\n!!\n-----END X509 CRL-----\n".to_vec(),
            RevocationListError::Pem,
        ),
        (certificate.to_vec(), RevocationListError::Malformed(0)),
        (longer, RevocationListError::Malformed(0)),
        (der[..der.len() - 1].to_vec(), RevocationListError::Malformed(0)),
        (
            format!("{}{}", pem("X509 CRL", &der), pem("X509 CRL", certificate)).into_bytes(),
            RevocationListError::Malformed(1),
        ),
    ] {
        assert_eq!(RevocationList::parse_file(&file).unwrap_err(), expected);
    }
}

#[test]
fn a_list_without_the_time_of_the_next_one_is_refused() {
    // `nextUpdate` is the second of two times in a row; without it the lengths around it shrink.
    let domain = ScratchTrustDomain::new("example.org");
    let der = list(&domain);
    let time = der.windows(2).rposition(|pair| pair == [0x17, 0x0d]).unwrap();
    // The last time in the list is that of the revoked certificate; the one before the list of them is `nextUpdate`.
    let times: Vec<_> = (0..=time).filter(|at| der[*at..].starts_with(&[0x17, 0x0d])).collect();
    let mut shorter = der;
    shorter.drain(times[1]..times[1] + 15);
    let shrink = |bytes: &mut [u8], at: usize| {
        // Long form of one or two bytes.
        match bytes[at] {
            0x81 => bytes[at + 1] -= 15,
            0x82 => {
                let length = u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]) - 15;
                bytes[at + 1..at + 3].copy_from_slice(&length.to_be_bytes());
            }
            _ => panic!("the long form"),
        }
    };
    let inner = if shorter[1] == 0x81 { 4 } else { 5 };
    shrink(&mut shorter, 1);
    shrink(&mut shorter, inner);
    let refused = RevocationList::parse_file(&shorter).unwrap_err();
    assert_eq!(refused, RevocationListError::NoNextUpdate(0));
}

#[test]
fn a_list_belongs_to_the_authority_that_signed_it_and_not_to_one_of_the_same_name() {
    let domain = ScratchTrustDomain::new("example.org");
    let namesake = ScratchTrustDomain::new("example.org");
    let other = ScratchTrustDomain::new("other.org");
    let [list] = RevocationList::parse_file(&list(&domain)).unwrap().try_into().unwrap();
    assert!(list.is_signed_by(&domain.bundle()));
    assert!(!list.is_signed_by(&namesake.bundle()));
    assert!(!list.is_signed_by(&other.bundle()));
}
