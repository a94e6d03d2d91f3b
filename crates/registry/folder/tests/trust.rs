//! `[[federation]]`, `federates_with` and `crls/`.

use std::time::Duration;

use marque_testkit::{START, ScratchTrustDomain};
use tempfile::TempDir;

use super::super::trust::{MAX_BUNDLE_BYTES, MAX_CRL_BYTES, MAX_CRLS};
use super::{DOCUMENT, ENTRY, TrustDomainFolder, findings, folder, starts_match};
use crate::{BundleEndpointProfile, MAX_FEDERATIONS, TrustDomainDocument};

const FEDERATION: &str = "\n[[federation]]\ntrust_domain = \"partner.example.org\"\nenvironment = \"non-production\"\nbundle = \"federation/partner.json\"\n";

/// A folder that federates with `partner.example.org`, and that trust domain.
fn federating(document: &str, entries: &[(&str, &str)]) -> (TempDir, ScratchTrustDomain) {
    let folder = folder(document, entries);
    let partner = ScratchTrustDomain::new("partner.example.org");
    std::fs::create_dir(folder.path().join("federation")).unwrap();
    let document = partner.bundle().to_document().to_string();
    std::fs::write(folder.path().join("federation/partner.json"), document).unwrap();
    (folder, partner)
}

#[test]
fn the_bundle_of_a_federated_trust_domain_is_read_and_entries_may_name_it() {
    let entry = format!("{ENTRY}federates_with = [\"partner.example.org\"]\n");
    let (folder, partner) = federating(&format!("{DOCUMENT}{FEDERATION}"), &[("a.toml", &entry)]);
    let loaded = TrustDomainFolder::load(folder.path()).unwrap();
    assert_eq!(loaded.federated, [partner.bundle()]);
    let names = loaded.entries[0].federates_with();
    assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["partner.example.org"]);
}

#[test]
fn an_entry_that_names_a_trust_domain_outside_of_federation_is_a_finding() {
    for (name, expected) in [
        ("stranger.example.org", "which is in no [[federation]]"),
        ("example.org", "which is in no [[federation]]"),
        ("spiffe://partner.example.org", "`federates_with` in [entry]"),
    ] {
        let entry = format!("{ENTRY}federates_with = [\"{name}\"]\n");
        let (folder, _) = federating(&format!("{DOCUMENT}{FEDERATION}"), &[("a.toml", &entry)]);
        let found = findings(&folder);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        assert!(found[0].starts_with("entries/a.toml:"), "{found:?}");
    }
}

#[test]
fn no_federation_crosses_the_firebreak() {
    let across = FEDERATION.replace("\"non-production\"", "\"production\"");
    let (folder, _) = federating(&format!("{DOCUMENT}{across}"), &[]);
    starts_match(
        &findings(&folder),
        &["trust-domain.toml:30: environment_boundary: `partner.example.org` is production"],
    );
    // And the other way round.
    let production = DOCUMENT.replace("\"non-production\"", "\"production\"");
    let (folder, _) = federating(&format!("{production}{FEDERATION}"), &[]);
    let found = findings(&folder);
    assert!(found.len() == 1 && found[0].contains("environment_boundary"), "{found:?}");
}

#[test]
fn the_own_trust_domain_a_repeated_one_and_a_path_elsewhere_are_findings() {
    let changed = |from: &str, to: &str| FEDERATION.replace(from, to);
    let bundle = "federation/partner.json";
    for (tables, expected) in [
        (changed("partner.example.org", "example.org"), "is the own one"),
        (FEDERATION.repeat(2), "is used twice"),
        (changed(bundle, "../partner.json"), "is not a path below"),
        (changed(bundle, "/etc/partner.json"), "is not a path below"),
        (changed(bundle, "federation/./../x"), "is not a path below"),
        (changed(bundle, ""), "is not a path below"),
        (
            changed("environment = \"non-production\"\n", ""),
            "`environment` in [federation] is missing",
        ),
        (changed("bundle =", "colour = 1\nbundle ="), "unknown field `colour` in [federation]"),
        (changed(bundle, "federation/missing.json"), "cannot be read"),
    ] {
        let (folder, _) = federating(&format!("{DOCUMENT}{tables}"), &[]);
        let found = findings(&folder);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn a_bundle_that_does_not_read_strictly_is_a_finding() {
    let (folder, partner) = federating(&format!("{DOCUMENT}{FEDERATION}"), &[]);
    let file = folder.path().join("federation/partner.json");
    let mut twice = partner.bundle().to_document().to_string();
    twice.insert_str(1, "\"keys\": [],");
    for (text, expected) in [
        ("{", "not a strict JSON object"),
        ("{}", "has no array `keys`"),
        (twice.as_str(), "not a strict JSON object"),
    ] {
        std::fs::write(&file, text).unwrap();
        let found = findings(&folder);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        assert!(found[0].starts_with("federation/partner.json:"), "{found:?}");
    }
}

#[test]
fn as_many_federations_as_the_limit_and_no_more() {
    let tables = |count: usize| -> String {
        let one = |number| FEDERATION.replace("partner.example", &format!("p{number}.example"));
        (0..count).map(one).collect()
    };
    let parse = |count| {
        let text = format!("{DOCUMENT}{}", tables(count));
        TrustDomainDocument::parse("trust-domain.toml".as_ref(), &text)
    };
    assert_eq!(parse(MAX_FEDERATIONS).unwrap().federation().len(), MAX_FEDERATIONS);
    let found = parse(MAX_FEDERATIONS + 1).unwrap_err();
    assert!(found.len() == 1 && found[0].message.contains("more than 64"), "{found:?}");
}

#[test]
fn bundles_at_the_size_limit_together_are_read_and_one_byte_more_is_a_finding() {
    let second = FEDERATION.replace("partner", "other");
    let (folder, partner) = federating(&format!("{DOCUMENT}{FEDERATION}{second}"), &[]);
    let document = partner.bundle().to_document().to_string();
    let padded = |size: usize| format!("{document}{}", " ".repeat(size - document.len()));
    let write = |name: &str, text: String| {
        std::fs::write(folder.path().join("federation").join(name), text).unwrap();
    };
    write("partner.json", padded(MAX_BUNDLE_BYTES / 2));
    write("other.json", padded(MAX_BUNDLE_BYTES / 2));
    assert_eq!(TrustDomainFolder::load(folder.path()).unwrap().federated.len(), 2);
    write("other.json", padded(MAX_BUNDLE_BYTES / 2 + 1));
    let found = findings(&folder);
    assert!(found.len() == 1 && found[0].contains("more than 1048576"), "{found:?}");
}

fn crl(serials: usize) -> Vec<u8> {
    let serials: Vec<[u8; 16]> =
        (0..serials).map(|number| (number as u128 + 1).to_be_bytes()).collect();
    let serials: Vec<&[u8]> = serials.iter().map(<[u8; 16]>::as_slice).collect();
    let domain = ScratchTrustDomain::new("example.org");
    domain.root().revocation_list(&serials, START, START + std::time::Duration::from_secs(60))
}

fn with_crls(lists: &[(String, Vec<u8>)]) -> TempDir {
    let folder = folder(DOCUMENT, &[]);
    std::fs::create_dir(folder.path().join("crls")).unwrap();
    for (name, bytes) in lists {
        std::fs::write(folder.path().join("crls").join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn revocation_lists_are_read_in_the_order_of_their_files() {
    let (one, two) = (crl(1), crl(2));
    let folder = with_crls(&[
        ("b.crl".to_owned(), one.clone()),
        ("a.crl".to_owned(), two.clone()),
        ("notes.txt".to_owned(), b"not read".to_vec()),
    ]);
    let loaded = TrustDomainFolder::load(folder.path()).unwrap();
    let ders: Vec<_> = loaded.revocation_lists.iter().map(|list| list.der().to_vec()).collect();
    assert_eq!(ders, [two, one]);
}

#[test]
fn a_file_in_crls_without_a_revocation_list_is_a_finding() {
    let folder = with_crls(&[("a.pem".to_owned(), b"-----BEGIN CERTIFICATE-----".to_vec())]);
    let found = findings(&folder);
    assert!(found.len() == 1 && found[0].starts_with("crls/a.pem: holds"), "{found:?}");
}

#[test]
fn as_many_revocation_lists_as_the_limits_and_no_more() {
    let list = crl(1);
    let files = |count| (0..count).map(|n| (format!("{n}.crl"), list.clone())).collect::<Vec<_>>();
    let most = TrustDomainFolder::load(with_crls(&files(MAX_CRLS)).path()).unwrap();
    assert_eq!(most.revocation_lists.len(), MAX_CRLS);
    let found = findings(&with_crls(&files(MAX_CRLS + 1)));
    assert!(found.len() == 1 && found[0].contains("holds 65 revocation lists"), "{found:?}");
    // Two that are within what a file may have, and together are not.
    let large = crl(MAX_CRL_BYTES / 32);
    assert!(large.len() > MAX_CRL_BYTES / 2 && large.len() < MAX_CRL_BYTES, "{}", large.len());
    let one = [("a.crl".to_owned(), large.clone())];
    TrustDomainFolder::load(with_crls(&one).path()).unwrap();
    let found = findings(&with_crls(&[one[0].clone(), ("b.crl".to_owned(), large)]));
    assert!(found.len() == 1 && found[0].contains("more than 1048576"), "{found:?}");
}

const FETCHED: &str = "\n[[federation]]\ntrust_domain = \"partner.example.org\"\nenvironment = \"non-production\"\nurl = \"https://partner.example.org/bundle\"\nprofile = \"https_web\"\nca_file = \"federation/ca.pem\"\n";
const BY_SVID: &str = "\n[[federation]]\ntrust_domain = \"partner.example.org\"\nenvironment = \"non-production\"\nbundle = \"federation/partner.json\"\nurl = \"https://partner.example.org/bundle\"\nprofile = \"https_spiffe\"\nendpoint_spiffe_id = \"spiffe://partner.example.org/server\"\n";

/// As [`federating`], with a certificate authority for `https_web`.
fn fetching(tables: &str) -> TempDir {
    let (folder, _) = federating(&format!("{DOCUMENT}{tables}"), &[]);
    let pem = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    std::fs::write(folder.path().join("federation/ca.pem"), pem).unwrap();
    folder
}

#[test]
fn fe_4_an_endpoint_is_read_as_it_is_written() {
    let loaded = TrustDomainFolder::load(fetching(FETCHED).path()).unwrap();
    assert!(loaded.federated.is_empty(), "nothing to begin with");
    let [federation] = loaded.document.federation() else { panic!("one") };
    let endpoint = federation.endpoint().unwrap();
    assert_eq!(endpoint.url.as_str(), "https://partner.example.org/bundle");
    let ca_file = "federation/ca.pem".into();
    assert_eq!(endpoint.profile, BundleEndpointProfile::HttpsWeb { ca_file });
    assert_eq!(
        endpoint.max_staleness,
        Duration::from_hours(72),
        "what holds where nothing is said"
    );

    let loaded = TrustDomainFolder::load(fetching(BY_SVID).path()).unwrap();
    assert_eq!(loaded.federated.len(), 1);
    let endpoint = loaded.document.federation()[0].endpoint().unwrap();
    let endpoint_spiffe_id = "spiffe://partner.example.org/server".parse().unwrap();
    assert_eq!(endpoint.profile, BundleEndpointProfile::HttpsSpiffe { endpoint_spiffe_id });

    // Authorities of the host are read where the fetching is done.
    let elsewhere = FETCHED.replace("federation/ca.pem", "/etc/ssl/certs/ca-certificates.crt");
    TrustDomainFolder::load(fetching(&elsewhere).path()).unwrap();
    // A bundle to begin with is welcome under `https_web`, too.
    let both = FETCHED.replace("url =", "bundle = \"federation/partner.json\"\nurl =");
    assert_eq!(TrustDomainFolder::load(fetching(&both).path()).unwrap().federated.len(), 1);
}

#[test]
fn oauth_4_9_how_long_a_bundle_may_go_unrefreshed_is_bounded_on_both_sides() {
    let with = |text: &str| {
        let staleness = format!("max_staleness = \"{text}\"\nprofile");
        FETCHED.replace("profile", &staleness)
    };
    for (text, seconds) in [("5m", 300), ("1h", 3600), ("30d", 30 * 24 * 3600)] {
        let loaded = TrustDomainFolder::load(fetching(&with(text)).path()).unwrap();
        let endpoint = loaded.document.federation()[0].endpoint().unwrap();
        assert_eq!(endpoint.max_staleness, Duration::from_secs(seconds), "{text}");
    }
    for text in ["4m 59s", "30d 1s", "0s", "forever", ""] {
        let found = TrustDomainFolder::load(fetching(&with(text)).path()).unwrap_err();
        assert!(found.iter().any(|f| f.to_string().contains("max_staleness")), "{text}: {found:?}");
    }
    // A file alone is refreshed by whoever put it there.
    let file = FETCHED
        .replace("url = \"https://partner.example.org/bundle\"\n", "")
        .replace("profile = \"https_web\"\n", "")
        .replace("ca_file = \"federation/ca.pem\"\n", "max_staleness = \"1h\"\n");
    let found = TrustDomainFolder::load(fetching(&file).path()).unwrap_err();
    let said = "`max_staleness` in [federation] is for a `url`, and there is none";
    assert!(found.iter().any(|f| f.to_string().contains(said)), "{found:?}");
}

#[test]
fn fe_4_nothing_about_an_endpoint_is_inferred() {
    let web = |from: &str, to: &str| FETCHED.replace(from, to);
    let svid = |from: &str, to: &str| BY_SVID.replace(from, to);
    let server = "spiffe://partner.example.org/server";
    let url = "url = \"https://partner.example.org/bundle\"\n";
    for (tables, expected) in [
        (web("profile = \"https_web\"\n", ""), "`profile` in [federation] is missing"),
        (web("https_web", "web"), "is neither `https_web` nor `https_spiffe`"),
        (web("ca_file = \"federation/ca.pem\"\n", ""), "`ca_file` in [federation] is missing"),
        (web("ca.pem", "missing.pem"), "cannot be read"),
        (web("ca.pem", "partner.json"), "holds no certificate in PEM"),
        (web("federation/ca.pem", "../ca.pem"), "is neither absolute nor a path below"),
        (
            web("ca_file", &format!("endpoint_spiffe_id = \"{server}\"\nca_file")),
            "`endpoint_spiffe_id` in [federation] has no meaning with `https_web`",
        ),
        (
            svid("profile", "ca_file = \"federation/ca.pem\"\nprofile"),
            "`ca_file` in [federation] has no meaning with `https_spiffe`",
        ),
        (
            svid(&format!("endpoint_spiffe_id = \"{server}\"\n"), ""),
            "`endpoint_spiffe_id` in [federation] is missing",
        ),
        (
            svid(&format!("{server}\""), "spiffe://partner.example.org\""),
            "no server can have `spiffe://partner.example.org`",
        ),
        (
            svid(server, "spiffe://stranger.example.org/server"),
            "`stranger.example.org` is in no [federation]",
        ),
        (
            svid(&format!("{url}profile = \"https_spiffe\"\n"), ""),
            "`endpoint_spiffe_id` in [federation] is for a `url`",
        ),
    ] {
        let found = findings(&fetching(&tables));
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
    // Without a URL each of them says so, and the file is all there could be.
    let found = findings(&fetching(&web(url, "")));
    let expected = ["`bundle` in [federation] is missing", "`profile` in", "`ca_file` in"];
    assert_eq!(found.len(), 3, "{found:?}");
    for text in expected {
        assert!(found.iter().any(|finding| finding.contains(text)), "{text}: {found:?}");
    }
}

#[test]
fn fe_5_an_endpoint_has_an_https_url_without_user_info() {
    for (url, expected) in [
        ("http://partner.example.org/bundle", "does not begin with https://"),
        ("https://user:secret@partner.example.org/bundle", "has user info"),
    ] {
        let tables = FETCHED.replace("https://partner.example.org/bundle", url);
        let found = findings(&fetching(&tables));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn fe_7_an_endpoint_with_an_svid_needs_a_bundle_to_begin_with() {
    let without = BY_SVID.replace("bundle = \"federation/partner.json\"\n", "");
    let found = findings(&fetching(&without));
    assert!(
        found.len() == 1 && found[0].contains("`bundle` in [federation] is missing"),
        "{found:?}"
    );
    // Unless somebody else whose bundle is there speaks for the trust domain: the own one, or another.
    let own = without.replace("spiffe://partner.example.org/server", "spiffe://example.org/server");
    TrustDomainFolder::load(fetching(&own).path()).unwrap();
}

#[test]
fn an_authority_that_names_the_other_environment_is_a_finding() {
    let (folder, partner) = federating(&format!("{DOCUMENT}{FEDERATION}"), &[]);
    let mut params = partner.ca_params();
    params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "production");
    let authority = marque_testkit::ScratchCa::root(params).certificate().clone();
    let bundle = marque_spiffe::Bundle::builder(partner.trust_domain().clone());
    let document = bundle.x509_authority(authority).unwrap().build().to_document().to_string();
    std::fs::write(folder.path().join("federation/partner.json"), document).unwrap();
    let found = findings(&folder);
    assert!(found.len() == 1 && found[0].contains("environment_boundary"), "{found:?}");
}

const ISSUER: &str = "\n[[oidc_issuers]]\nname = \"corp\"\nenvironment = \"non-production\"\nissuer = \"https://login.example.org\"\naudiences = [\"marque\"]\njwks_file = \"oidc/corp.json\"\n";

#[test]
fn the_keys_of_an_issuer_of_id_tokens_are_read_and_have_names() {
    let folder = folder(&format!("{DOCUMENT}{ISSUER}"), &[]);
    let missing = findings(&folder);
    assert!(missing.len() == 1 && missing[0].contains("cannot be read"), "{missing:?}");
    std::fs::create_dir(folder.path().join("oidc")).unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("oidc/corp.json"), text).unwrap();
    let signer = marque_testkit::ScratchSigner::generate("corp-1");
    let public = marque_jose::Signer::public_key(&signer).clone();
    let mut key = marque_jose::Jwk::for_signatures(public, "corp-1".parse().unwrap());
    let set = |key: &marque_jose::Jwk| {
        marque_jose::JwkSet { keys: vec![key.clone()] }.to_value().to_string()
    };
    write(&set(&key));
    let loaded = TrustDomainFolder::load(folder.path()).unwrap();
    assert_eq!(loaded.issuer_keys["corp"].keys, [key.clone()]);
    key.kid = None;
    for (text, expected) in [
        (set(&key), "no key with a `kid`"),
        ("{\"keys\": []}".to_owned(), "no key with a `kid`"),
        ("{}".to_owned(), "no array `keys`"),
        ("[".to_owned(), "strict JSON"),
    ] {
        write(&text);
        let found = findings(&folder);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        assert!(found[0].starts_with("oidc/corp.json"), "{found:?}");
    }
}

#[test]
fn the_authorities_of_an_issuers_keys_are_looked_at() {
    let fetched = ISSUER.replace(
        "jwks_file = \"oidc/corp.json\"",
        "jwks_uri = \"https://login.example.org/jwks\"\nca_file = \"oidc/ca.pem\"",
    );
    let folder = folder(&format!("{DOCUMENT}{fetched}"), &[]);
    std::fs::create_dir(folder.path().join("oidc")).unwrap();
    std::fs::write(folder.path().join("oidc/ca.pem"), "nothing").unwrap();
    let found = findings(&folder);
    assert!(found.len() == 1 && found[0].contains("no certificate"), "{found:?}");
}
