use std::{collections::BTreeSet, sync::Arc};

use marque_spiffe::{UnverifiedX509Svid, X509SvidError};
use marque_testkit::START;
use rustls::pki_types::UnixTime;

use super::*;
use crate::{
    Authority, SelfCheckError,
    certificate::{self, Extensions},
    testing::{HOUR, House, authority, config, id, later, x509_template},
};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn refusal(authority: &Authority, template: &X509SvidTemplate) -> TemplateError {
    match authority.mint_x509_svid(template, START).unwrap_err() {
        AuthorityError::Template(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn dns(name: &str) -> DnsName {
    name.parse().unwrap()
}

#[test]
fn an_x509_svid_has_one_uri_an_empty_subject_and_the_two_usages() {
    let authority = authority();
    let svid = authority.mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    assert_eq!(svid.chain.len(), 1, "the root stays out of the chain");
    let certificate = certificate::read(&svid.chain[0]).unwrap();
    let extensions = Extensions::read(&certificate).unwrap();
    assert_eq!(certificate.subject().to_string(), "");
    assert_eq!(certificate.raw_serial().len(), 16);
    let (critical, names) = extensions.names.unwrap();
    assert_eq!(format!("{names:?}"), r#"[URI("spiffe://prod.example.org/agent/a")]"#);
    assert!(critical);
    let (critical, key_usage) = extensions.key_usage.unwrap();
    assert_eq!((critical, key_usage.to_string().as_str()), (true, "Digital Signature"));
    let purposes = extensions.extended_key_usage.unwrap();
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    assert!(!extensions.basic_constraints.unwrap().1.ca);
    let bundle = authority.bundle();
    let root = certificate::read(&bundle.x509_authorities()[0]).unwrap();
    assert_eq!(extensions.authority_key_id, Extensions::read(&root).unwrap().subject_key_id);
}

#[test]
fn the_private_key_is_that_of_the_certificate() {
    let svid = authority().mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &svid.private_key.expose_der().into(),
        &rcgen::PKCS_ECDSA_P256_SHA256,
    )
    .unwrap();
    let certificate = certificate::read(&svid.chain[0]).unwrap();
    assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
}

#[test]
fn every_svid_has_its_own_key_and_serial_number() {
    let authority = authority();
    let svids: Vec<_> = (0..8)
        .map(|_| authority.mint_x509_svid(&x509_template("/agent/a"), START).unwrap().chain)
        .collect();
    let serials: BTreeSet<_> = svids
        .iter()
        .map(|chain| certificate::read(&chain[0]).unwrap().raw_serial().to_vec())
        .collect();
    let keys: BTreeSet<_> = svids
        .iter()
        .map(|chain| certificate::read(&chain[0]).unwrap().public_key().raw.to_vec())
        .collect();
    assert_eq!((serials.len(), keys.len()), (8, 8));
}

#[test]
fn a_public_key_from_elsewhere_gets_a_certificate_and_no_private_key() {
    let authority = authority();
    let (_, public_key) = PrivateKeyPkcs8::generate().unwrap();
    let chain =
        authority.mint_x509_svid_for(&x509_template("/agent/a"), &public_key, START).unwrap();
    let svid =
        UnverifiedX509Svid::parse_chain(chain).unwrap().verify(&authority.bundle(), START).unwrap();
    assert_eq!(*svid.id(), id("/agent/a"));
    assert_eq!(svid.public_key().point().unwrap(), public_key.as_point());
}

#[test]
fn a_lifetime_is_capped_by_the_ceiling_and_by_the_end_of_the_root() {
    let authority = authority();
    let ends = |lifetime, now| {
        let svid = authority
            .mint_x509_svid(&X509SvidTemplate { lifetime, ..x509_template("/agent/a") }, now)
            .unwrap();
        let verified = UnverifiedX509Svid::parse_chain(svid.chain)
            .unwrap()
            .verify(&authority.bundle(), now)
            .unwrap();
        assert_eq!(
            (verified.not_before(), verified.not_after()),
            (svid.not_before, svid.not_after)
        );
        svid.not_after
    };
    assert_eq!(ends(seconds(60), START), later(60));
    assert_eq!(ends(Duration::from_millis(60_999), START + Duration::from_millis(999)), later(60));
    assert_eq!(ends(HOUR, START), later(3600));
    assert_eq!(ends(HOUR + seconds(1), START), later(3600));
    assert_eq!(ends(Duration::MAX, START), later(3600));
    assert_eq!(authority.ends_at(), later(24 * 3600));
    assert_eq!(ends(HOUR, later(24 * 3600 - 3600)), later(24 * 3600));
    assert_eq!(ends(HOUR, later(24 * 3600 - 3599)), later(24 * 3600));
    assert_eq!(ends(HOUR, later(24 * 3600 - 1)), later(24 * 3600));
}

#[test]
fn a_root_at_its_end_mints_nothing() {
    let error =
        authority().mint_x509_svid(&x509_template("/agent/a"), later(24 * 3600)).unwrap_err();
    assert!(
        matches!(&error, AuthorityError::Ended { slot, at } if slot.to_string() == "x509-authority-a-1" && *at == later(24 * 3600)),
        "{error:?}"
    );
}

#[test]
fn an_svid_begins_ten_seconds_before_it_was_minted_but_not_before_the_root() {
    let house = House::default();
    let authority = house.open().unwrap();
    let begins =
        |now| authority.mint_x509_svid(&x509_template("/agent/a"), now).unwrap().not_before;
    assert_eq!(begins(later(100)), later(90));
    assert_eq!(begins(START - seconds(5)), START - seconds(10));
    // A clock that went back behind the root's beginning mints nothing that a verifier would take.
    let error =
        authority.mint_x509_svid(&x509_template("/agent/a"), START - seconds(11)).unwrap_err();
    assert!(
        matches!(
            error,
            AuthorityError::SelfCheck {
                source: SelfCheckError::X509(X509SvidError::NotYetValid { .. }),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_template_of_another_trust_domain_without_a_path_or_lifetime_is_refused() {
    let authority = authority();
    let other = "spiffe://dev.example.org/agent/a".parse().unwrap();
    let template = X509SvidTemplate { spiffe_id: other, ..x509_template("/agent/a") };
    assert!(matches!(refusal(&authority, &template), TemplateError::OtherTrustDomain { .. }));
    let template =
        X509SvidTemplate { spiffe_id: authority.trust_domain().id(), ..x509_template("/agent/a") };
    assert_eq!(refusal(&authority, &template), TemplateError::NoPath);
    for lifetime in [Duration::ZERO, Duration::from_millis(999)] {
        let template = X509SvidTemplate { lifetime, ..x509_template("/agent/a") };
        assert_eq!(refusal(&authority, &template), TemplateError::Lifetime);
    }
}

#[test]
fn the_most_and_longest_dns_names_fit_and_one_more_does_not() {
    let authority = authority();
    let longest =
        |index: usize| dns(&format!("{index:02}{}.org", format!(".{}", "a".repeat(60)).repeat(4)));
    let mut dns_names: Vec<_> = (0..X509SvidTemplate::MAX_DNS_NAMES).map(longest).collect();
    assert!(dns_names[0].as_str().len() >= 250);
    let long_id = id(&"/a".repeat(1000));
    let mut template =
        X509SvidTemplate { spiffe_id: long_id, lifetime: HOUR, dns_names: dns_names.clone() };
    authority.mint_x509_svid(&template, START).unwrap();
    dns_names.push(dns("one.more"));
    template.dns_names = dns_names;
    assert_eq!(refusal(&authority, &template), TemplateError::DnsNames);
}

/// Verifies with rustls-webpki, which shares no code with our own verification.
fn webpki_takes(
    authority: &Authority,
    chain: &[CertificateDer<'static>],
    host: &str,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for root in authority.bundle().x509_authorities() {
        roots.add(root.clone()).unwrap();
    }
    let roots = Arc::new(roots);
    let now = UnixTime::since_unix_epoch(seconds(u64::try_from(START.as_second()).unwrap()));
    let client = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::clone(&roots),
        Arc::clone(&provider),
    );
    client.build().unwrap().verify_client_cert(&chain[0], &chain[1..], now)?;
    let server = rustls::client::WebPkiServerVerifier::builder_with_provider(roots, provider)
        .build()
        .unwrap();
    let name = host.to_owned().try_into().unwrap();
    rustls::client::danger::ServerCertVerifier::verify_server_cert(
        server.as_ref(),
        &chain[0],
        &chain[1..],
        &name,
        &[],
        now,
    )?;
    Ok(())
}

#[test]
fn rustls_takes_an_svid_as_client_and_as_server_of_its_dns_names() {
    let authority = authority();
    let dns_names = vec![dns("api.example.org"), dns("api")];
    let template = X509SvidTemplate { dns_names, ..x509_template("/service/api") };
    let chain = authority.mint_x509_svid(&template, START).unwrap().chain;
    for host in ["api.example.org", "api"] {
        webpki_takes(&authority, &chain, host).unwrap();
    }
    webpki_takes(&authority, &chain, "other.example.org").unwrap_err();
    webpki_takes(&self::authority(), &chain, "api").unwrap_err();
}

#[test]
fn an_authority_of_the_same_name_with_other_keys_does_not_pass_for_this_one() {
    let ours = authority();
    let environment = marque_spiffe::Environment::NonProduction;
    let config = crate::AuthorityConfig { environment, ..config("prod.example.org") };
    let foreign = House::default().open_with(config, START).unwrap();
    let svid = foreign.mint_x509_svid(&x509_template("/agent/a"), START).unwrap();
    let refused = UnverifiedX509Svid::parse_chain(svid.chain)
        .unwrap()
        .verify(&ours.bundle(), START)
        .unwrap_err();
    assert_eq!(refused, X509SvidError::UnknownAuthority(0));
}

#[test]
fn a_constrained_root_is_kept_to_its_own_uris_and_refused_by_webpki() {
    let constrained =
        crate::AuthorityConfig { name_constraints: true, ..config("prod.example.org") };
    let house = House::default();
    let authority = house.open_with(constrained, START).unwrap();
    let root = authority.bundle().x509_authorities()[0].clone();
    let parsed = certificate::read(&root).unwrap();
    let extensions = Extensions::read(&parsed).unwrap();
    assert!(extensions.name_constraints.is_some() && extensions.permits_only("prod.example.org"));
    assert!(!extensions.permits_only("dev.example.org"));
    // What was minted has passed our own verification, which keeps the constraint.
    let dns_names = vec![dns("api.example.org")];
    let template = X509SvidTemplate { dns_names, ..x509_template("/service/api") };
    let chain = authority.mint_x509_svid(&template, START).unwrap().chain;
    let refused = webpki_takes(&authority, &chain, "api.example.org");
    assert!(refused.is_err(), "what `marque check` warns of is not true any more");
    // The next start without the switch goes on with it.
    house.open().unwrap().mint_x509_svid(&template, START).unwrap();
}
