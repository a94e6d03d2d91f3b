//! What must hold for any bytes at all, parser by parser. The fuzz targets feed it bytes that a fuzzer makes up, and
//! `tests/corpora.rs` the corpora that are kept.
//!
//! A check panics when a rule is broken. Refusing bytes is always right; what must not happen is a crash, or that what was
//! accepted reads differently the second time.

#![allow(dead_code, reason = "each fuzz target uses one of the checks")]

use std::str::from_utf8;

use jiff::Timestamp;
use marque_attest::cgroup::{CgroupRoot, Cgroups, ContainerId};
use marque_audit::Correlation;
use marque_audit::folder::TilePath;
use marque_audit::{CosignerKey, Hash, TlogProof, VerifierKey, witness};
use marque_authority::{DownstreamRequest, DownstreamRequestError};
use marque_dpop::{HttpUri, MAX_JTI_BYTES, ProofRequest, UnverifiedProof};
use marque_exchange::{
    IntrospectionRequest, MAX_DETAILS_BYTES, MAX_DETAILS_DEPTH, MAX_FORM_BYTES, MAX_FORM_FIELDS,
    MAX_FORM_NAME_BYTES, MAX_FORM_VALUE_BYTES, OneHeader, Presented, TokenRequest,
    UnverifiedAttestationProof, UnverifiedWorkloadProof,
};
use marque_intent::{
    Calendar, Circumstances, Digest, Evidence, Exception, ExceptionStanding, Grant, IntentRequest,
    KillRecord, KillScope, MAX_ARGUMENT_SCHEMAS, MAX_CALENDAR_BYTES, MAX_EXCEPTION,
    MAX_EXCEPTION_RUNS, MAX_GRANT_BYTES, MAX_PLAYBOOK_BYTES, MAX_TOKEN_LIFETIME, MAX_USES,
    Playbook, Requester, Rights, Schedule, Severity, Standing, Wanted, Window, lint, playbook_diff,
    resolve,
};
use marque_inventory::{FingerprintKey, Format, MAX_FOUND};
use marque_registry::{
    IdTemplate, MAX_SPIRE_BUNDLES, MAX_SPIRE_ENTRIES, ValuePattern, parse_spire_bundles,
    parse_spire_entries,
};
use marque_spiffe::{
    Bundle, BundleMap, BundleSource as _, Environment, SpiffeId, TrustDomain, UnverifiedJwtSvid,
    UnverifiedWitSvid, UnverifiedX509Svid,
};
use marque_ssf::{EventType, MAX_SET_BYTES, Subject, UnverifiedSet};
use serde_json::Value;

/// A caller may name a trace and nothing else: the request's own id stays, and what is believed is in the text.
pub(crate) fn traceparent(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let own = Correlation::begin([7; 16]);
    let hinted = own.hinted(Some(text));
    assert_eq!(hinted.request, own.request);
    match hinted.parent {
        Some(parent) => {
            let named = format!("-{}-", hinted.trace);
            assert!(text.contains(&named) && parent.as_bytes() != &[0; 8]);
            assert_eq!(
                own.hinted(Some(&format!("00-{}-0000000000000001-01", hinted.trace))).trace,
                hinted.trace
            );
        }
        None => assert_eq!(hinted, own),
    }
}

/// What SPIRE printed is read within its limits; a bundle that comes of it reads as one, and is of the trust domain that it
/// names.
pub(crate) fn spire(bytes: &[u8]) {
    if let Ok(entries) = parse_spire_entries(bytes) {
        assert!(entries.len() <= MAX_SPIRE_ENTRIES);
        for entry in &entries {
            assert!(entry.selectors.iter().all(|selector| selector.contains(':')));
        }
    }
    let Ok(bundles) = parse_spire_bundles(bytes) else { return };
    assert!(bundles.len() <= MAX_SPIRE_BUNDLES);
    for found in bundles {
        let Ok(bundle) = found.to_bundle() else { continue };
        let name: TrustDomain = found.trust_domain.parse().expect("a bundle has a trust domain");
        let document = bundle.to_document().to_string();
        let again = Bundle::parse(name, document.as_bytes()).expect("what was written is read");
        assert_eq!(again, bundle);
    }
}

/// A SPIFFE ID that is accepted is written as it was read, and keeps its limits (ID-7, ID-8, ID-9).
pub(crate) fn spiffe_id(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(id) = text.parse::<SpiffeId>() else { return };
    assert_eq!(id.to_string(), text, "nothing is folded or normalised");
    assert!(text.len() <= 2048 && id.trust_domain().as_str().len() <= 255);
    let name = id.trust_domain().as_str();
    assert!(!name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert_eq!(id.trust_domain().id().to_string(), format!("spiffe://{name}"));
    assert!(id.segments().all(|segment| !matches!(segment, "" | "." | "..")));
    let segments: Vec<_> = id.segments().collect();
    let again = SpiffeId::from_segments(id.trust_domain(), &segments);
    assert_eq!(again.as_ref(), Ok(&id), "the parts make the whole");
}

/// A SET that is read is within its limits, is about one subject that is written as it was read, and is never an access
/// token (RFC 8417, SSF 1.0 section 4).
pub(crate) fn security_event(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(set) = UnverifiedSet::parse(text) else { return };
    assert!(text.len() <= MAX_SET_BYTES);
    let subject = set.dangerous_unverified_subject();
    assert_eq!(Subject::parse(&subject.to_value()).as_ref(), Ok(subject));
    let event = set.dangerous_unverified_event();
    assert_eq!(EventType::of_uri(&event.kind().uri()), Some(event.kind()));
}

/// A file of credentials, whatever its format, is refused or gives a bounded number of them; what is shown of a secret has a
/// fixed length. The first byte says which format it is read as.
pub(crate) fn inventory_file(bytes: &[u8]) {
    const FORMATS: [Format; 12] = [
        Format::AwsCredentials,
        Format::AwsConfig,
        Format::GoogleCloud,
        Format::Kubeconfig,
        Format::Netrc,
        Format::Npmrc,
        Format::Pypirc,
        Format::DockerConfig,
        Format::GithubWorkflow,
        Format::GitlabCi,
        Format::Environment,
        Format::GitCredentials,
    ];
    let Some((first, text)) = bytes.split_first() else { return };
    let place = usize::from(first.wrapping_sub(b'a'));
    let Some(format) = FORMATS.get(place) else { return };
    let Ok(found) = format.parse(text) else { return };
    assert!(found.len() <= MAX_FOUND);
    let key = FingerprintKey::new(&[7; 16]).expect("a key");
    for one in &found {
        assert!(!one.reach.is_empty());
        let shown = one.secret.as_ref().map(|secret| key.fingerprint(secret).to_string());
        assert!(shown.is_none_or(|shown| shown.len() == 16));
    }
}

/// A bundle that is accepted and written is the same bundle (TB-1 to TB-5), and within its limits.
pub(crate) fn bundle(bytes: &[u8]) {
    let trust_domain: TrustDomain = "fuzz.example.org".parse().expect("a trust domain");
    let Ok(bundle) = Bundle::parse(trust_domain.clone(), bytes) else { return };
    let keys = bundle.x509_authorities().len()
        + bundle.jwt_authorities().len()
        + bundle.wit_authorities().len();
    assert!(keys <= Bundle::MAX_KEYS);
    assert!(bundle.jwt_authorities().keys().all(|kid| !bundle.wit_authorities().contains_key(kid)));
    let written = bundle.to_document().to_string();
    let again = Bundle::parse(trust_domain, written.as_bytes()).expect("what we write we can read");
    assert_eq!(again, bundle);
}

/// A chain that is accepted has the identity of its first certificate, whichever way it came in (X5-1, X5-2).
pub(crate) fn x509_svid(bytes: &[u8]) {
    let Ok(svid) = UnverifiedX509Svid::parse_der_concat(bytes) else { return };
    let id = svid.id().clone();
    assert!(id.has_path(), "a leaf's ID has a path");
    // No authority stands behind bytes that were made up.
    let bundle = Bundle::builder(id.trust_domain().clone()).build();
    assert!(svid.verify(&bundle, jiff::Timestamp::UNIX_EPOCH).is_err());
}

/// A request that is accepted is within its limits, has a name that a certificate may have, and is that one request alone.
pub(crate) fn downstream_request(bytes: &[u8]) {
    let Ok(request) = DownstreamRequest::from_der(bytes) else { return };
    assert!(bytes.len() <= DownstreamRequest::MAX_BYTES);
    let name = request.common_name();
    assert!((1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control));
    assert_eq!(DownstreamRequest::from_der(bytes).as_ref(), Ok(&request));
    let more = [bytes, &[0]].concat();
    assert_eq!(DownstreamRequest::from_der(&more), Err(DownstreamRequestError::Malformed));
}

/// A token that is accepted names a workload and is verified by nobody's key (JW-1 to JW-6).
pub(crate) fn jwt_svid(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(svid) = UnverifiedJwtSvid::parse(text) else { return };
    assert!(svid.id().has_path());
    assert_eq!(text.bytes().filter(|byte| *byte == b'.').count(), 2, "compact serialisation");
    let bundle = Bundle::builder(svid.trust_domain().clone()).build();
    assert!(svid.verify(&bundle, "https://fuzz.example.org", jiff::Timestamp::UNIX_EPOCH).is_err());
}

/// A container that a cgroup file names stands in the file, whole.
pub(crate) fn cgroup(bytes: &[u8]) {
    let Ok(cgroups) = Cgroups::parse(bytes) else { return };
    for root in ["/", "/user.slice/user-1000.slice/user@1000.service"] {
        let Ok(Some(container)) = cgroups.container(&CgroupRoot::new(root)) else { continue };
        let id = container.id().as_str();
        assert!(ContainerId::new(id).is_some());
        assert!(bytes.windows(id.len()).any(|window| window == id.as_bytes()));
    }
}

/// A token that is accepted names a workload and is verified by nobody's key (WI-1 to WI-4).
pub(crate) fn wit_svid(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(svid) = UnverifiedWitSvid::parse(text) else { return };
    assert!(svid.id().has_path());
    assert!(UnverifiedJwtSvid::parse(text).is_err(), "no token is of both kinds");
    let bundle = Bundle::builder(svid.trust_domain().clone()).build();
    assert!(svid.verify(&bundle, jiff::Timestamp::UNIX_EPOCH).is_err());
}

/// A proof that verifies is for the request that it was verified for, is remembered for as long as it is accepted, and keeps
/// its limits (RFC 9449 §4.3); a URI that is read is its own normal form.
pub(crate) fn dpop_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(uri) = text.parse::<HttpUri>() {
        assert_eq!(uri.as_str().parse::<HttpUri>().as_ref(), Ok(&uri), "normal once is normal");
    }
    let uri = "https://server.example.com/token".parse().expect("a URI");
    let now = jiff::Timestamp::from_second(1_562_262_616).expect("a time");
    for access_token in [None, Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")] {
        let Ok(proof) = UnverifiedProof::parse(text) else { return };
        assert!(!text.contains(','), "a list is no proof");
        let request = ProofRequest { method: "POST", uri: &uri, access_token, now };
        let Ok(proof) = proof.verify(&request) else { continue };
        assert!((1..=MAX_JTI_BYTES).contains(&proof.jti().len()));
        assert!(proof.accepted_until() >= now);
        let other = ProofRequest { method: "GET", ..request };
        let again = UnverifiedProof::parse(text).expect("what was read before");
        assert!(again.verify(&other).is_err(), "for one method alone");
    }
}

/// A bundle map that is accepted and written is the same map, each bundle under its own name (TB-6, TB-7).
pub(crate) fn bundle_map(bytes: &[u8]) {
    let Ok(map) = BundleMap::parse(bytes) else { return };
    assert!(map.bundles().len() <= BundleMap::MAX_TRUST_DOMAINS);
    for bundle in map.bundles() {
        assert_eq!(map.bundle(bundle.trust_domain()).as_ref(), Some(bundle));
    }
    let written = map.to_document().to_string();
    assert_eq!(BundleMap::parse(written.as_bytes()).expect("what we write we can read"), map);
}

/// The files below `/proc/PID` that pins and attestors read: what parses says what the bytes say.
pub(crate) fn proc_file(bytes: &[u8]) {
    use marque_attest::proc;
    // The name in the file may be anything, so whatever stands before the last `)` changes nothing.
    let stat = proc::parse_stat(bytes);
    let named = [b"1 ) S 2 ".as_slice(), bytes].concat();
    assert!(stat.is_none() || proc::parse_stat(&named) == stat);
    if let Some(status) = proc::parse_status(bytes) {
        let more = [bytes, b"\nUid:\t0\t0\t0\t0\n".as_slice()].concat();
        assert_eq!(proc::parse_status(&more), Some(status), "the first line counts");
    }
    if let Some(arguments) = proc::parse_cmdline(bytes) {
        let again: Vec<u8> = arguments.iter().flat_map(|arg| [*arg, b"\0"].concat()).collect();
        assert_eq!(again, bytes);
    }
    if let Some(variables) = proc::parse_environ(bytes) {
        let again = variables.iter().flat_map(|one| [one.name, b"=", one.value, b"\0"].concat());
        assert_eq!(again.collect::<Vec<u8>>(), bytes);
    }
    if let Some(auxv) = proc::parse_auxv(bytes) {
        assert!(auxv.page_size.is_power_of_two());
        assert_eq!(
            proc::parse_auxv(&[bytes, &[0xff; 16]].concat()),
            Some(auxv),
            "it ends where it ends"
        );
    }
}

/// What came with a request whose client authenticates by headers alone.
fn by_headers() -> Presented {
    let header = |text| OneHeader::of(std::iter::once(Some(text)));
    Presented {
        workload_identity_token: header("a.b.c"),
        workload_proof_token: header("d.e.f"),
        ..Presented::default()
    }
}

/// A form that is accepted reads like that to another parser as well, and is within its limits (RFC 6749 §3.2).
pub(crate) fn form(bytes: &[u8]) {
    if IntrospectionRequest::parse(bytes, &by_headers()).is_err() {
        return;
    }
    assert!(bytes.len() <= MAX_FORM_BYTES);
    let fields: Vec<_> = form_urlencoded::parse(bytes).collect();
    assert!(fields.len() <= MAX_FORM_FIELDS);
    for (at, (name, value)) in fields.iter().enumerate() {
        assert!(name.len() <= MAX_FORM_NAME_BYTES && value.len() <= MAX_FORM_VALUE_BYTES);
        assert!(!fields.iter().skip(at + 1).any(|(other, _)| other == name), "`{name}` twice");
        assert!(!name.contains('\u{fffd}') || bytes.windows(9).any(|raw| raw == b"%EF%BF%BD"));
    }
    let tokens = fields.iter().filter(|(name, value)| name == "token" && !value.is_empty());
    assert_eq!(tokens.count(), 1, "it is about one token");
}

/// A token request is read or refused by a plain sentence, and prints no token (RFC 6749 §5.2).
pub(crate) fn token_request(bytes: &[u8]) {
    for presented in [Presented::default(), by_headers()] {
        match TokenRequest::parse(bytes, &presented) {
            Ok(request) => {
                let shown = format!("{request:?}");
                let secret = |name: &str| {
                    ["client_assertion", "subject_token", "actor_token", "assertion"]
                        .contains(&name)
                };
                for (name, value) in form_urlencoded::parse(bytes) {
                    let long = value.len() > 40 && secret(&name);
                    assert!(!long || !shown.contains(&*value), "`{name}` is printed");
                }
            }
            Err(error) => {
                let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
                assert!(error.description().bytes().all(plain));
                assert!([400, 401].contains(&error.http_status()), "{error}");
            }
        }
    }
}

/// `authorization_details` that are accepted are an array of objects with a type, within their limits, and are accepted
/// however they are spelled (RFC 9396 §2); what is refused is refused as what it is.
pub(crate) fn authorization_details(bytes: &[u8]) {
    let asked = |details: &[u8]| {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("subject_token", "a.b.c")
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            .append_key_only("authorization_details")
            .finish();
        let details: String = form_urlencoded::byte_serialize(details).collect();
        TokenRequest::parse(format!("{form}={details}").as_bytes(), &by_headers())
    };
    if let Err(error) = asked(bytes) {
        let named = ["invalid_authorization_details", "invalid_request"];
        assert!(named.contains(&error.code().as_str()), "{error}");
        return;
    }
    // A parameter without a value is one that was not sent.
    if bytes.is_empty() {
        return;
    }
    assert!(bytes.len() <= MAX_DETAILS_BYTES);
    let value: Value = serde_json::from_slice(bytes).expect("JSON to another parser as well");
    let details = value.as_array().expect("an array");
    assert!(!details.is_empty() && depth(&value) <= MAX_DETAILS_DEPTH);
    assert!(details.iter().all(|detail| detail.get("type").is_some_and(Value::is_string)));
    let written = value.to_string();
    // A number may be longer when it is written out.
    assert!(written.len() > MAX_DETAILS_BYTES || asked(written.as_bytes()).is_ok(), "{written}");
}

/// How many arrays and objects are inside of one another.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// A proof is of one kind, and never a token of another (draft-ietf-wimse-wpt).
pub(crate) fn workload_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if UnverifiedWorkloadProof::parse(text).is_err() {
        return;
    }
    assert_eq!(text.bytes().filter(|byte| *byte == b'.').count(), 2, "compact serialisation");
    assert!(UnverifiedAttestationProof::parse(text).is_err());
    assert!(UnverifiedWitSvid::parse(text).is_err() && UnverifiedJwtSvid::parse(text).is_err());
}

/// As above, for the proof beside a client attestation.
pub(crate) fn attestation_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(proof) = UnverifiedAttestationProof::parse(text) else { return };
    assert!(proof.challenge().is_none_or(|challenge| challenge.len() < text.len()));
    assert!(UnverifiedWorkloadProof::parse(text).is_err());
    assert!(UnverifiedWitSvid::parse(text).is_err() && UnverifiedJwtSvid::parse(text).is_err());
}

/// The playbook that the checks below change.
const PLAYBOOK: &str =
    include_str!("../trust-domains/prod.example.org/playbooks/ingress-cert-rotation.toml");

/// A playbook that is accepted reads the same again, differs in nothing from itself, and can be said something about.
pub(crate) fn playbook(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let said = lint(text, Environment::NonProduction, now);
    let Ok(playbook) = Playbook::parse(text) else {
        assert!(said.iter().any(|finding| finding.severity == Severity::Error));
        return;
    };
    assert!(text.len() <= MAX_PLAYBOOK_BYTES);
    assert!(said.iter().all(|finding| finding.severity == Severity::Warning));
    let again = Playbook::parse(&format!("{text}\n# the same\n"));
    // One more comment may be one byte too many.
    let again = again.map_or_else(|_| *playbook.digest(), |again| *again.digest());
    assert_eq!(again, *playbook.digest());
    assert_eq!(playbook_diff(text, text), Ok(Vec::new()));
    assert!((1..=MAX_USES).contains(&playbook.times().uses));
    assert!(playbook.times().token_lifetime() <= MAX_TOKEN_LIFETIME);
    assert!(!playbook.scopes().iter().any(|scope| scope.as_str().contains('*')));
}

/// The shipped playbook with these parameters and one resource, and nothing else that takes a value.
fn playbook_with(properties: toml::Table, required: Vec<toml::Value>, resource: &str) -> String {
    let mut table: toml::Table = toml::from_str(PLAYBOOK).expect("the shipped playbook");
    let mut parameters = toml::Table::new();
    parameters.insert("type".to_owned(), "object".into());
    parameters.insert("additionalProperties".to_owned(), false.into());
    parameters.insert("required".to_owned(), required.into());
    parameters.insert("properties".to_owned(), properties.into());
    let mut permit = toml::Table::new();
    permit.insert("audience".to_owned(), "https://ingress.prod.example.org".into());
    permit.insert("scopes".to_owned(), vec!["secrets.update"].into());
    table.insert("parameters".to_owned(), parameters.into());
    table.insert("permits".to_owned(), vec![toml::Value::from(permit)].into());
    table.insert("resources".to_owned(), vec![resource].into());
    table.to_string()
}

/// What comes of a request for that playbook with these values.
fn granted(playbook: &str, values: &serde_json::Map<String, Value>) -> Option<Grant> {
    let playbook = Playbook::parse(playbook).ok()?;
    let request = serde_json::json!({
        "playbook": "ingress-cert-rotation", "ticket": "CHG-1842", "parameters": values,
    });
    let request = IntentRequest::from_object(request.as_object()?.clone()).ok()?;
    let requester = Requester {
        agent: "spiffe://prod.example.org/agent/cert-rotator".parse().expect("an ID"),
        attestation: None,
        owner: None,
    };
    let circumstances = Circumstances {
        intent_id: "int_00000000000000000000000000".parse().expect("an id"),
        policy_set_digest: Digest::of(b"policies"),
        evidence: Evidence::default(),
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    resolve(&playbook, &request, &requester, circumstances).ok()
}

/// Two lines: the properties of a schema, and values. What is granted has exactly these values, of declared names, and is
/// within the limits of a grant.
pub(crate) fn parameters(bytes: &[u8]) {
    let Some((schema, values)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Ok(properties) = serde_json::from_str::<serde_json::Map<String, Value>>(schema) else {
        return;
    };
    let Ok(values) = serde_json::from_str::<serde_json::Map<String, Value>>(values) else { return };
    let Ok(table) = toml::Table::try_from(&properties) else { return };
    let playbook = playbook_with(table, Vec::new(), "k8s://prod/ns/ingress");
    let Some(grant) = granted(&playbook, &values) else { return };
    assert_eq!(grant.parameters, values);
    assert!(values.keys().all(|name| properties.contains_key(name)));
    assert!(serde_json::to_vec(&grant).expect("JSON").len() <= MAX_GRANT_BYTES);
    let again = granted(&playbook, &values).expect("the same again");
    assert_eq!(again.digest(), grant.digest());
}

/// Two lines: a template, and a value for `params.x`. Whatever the value is, it never becomes structure.
pub(crate) fn template(bytes: &[u8]) {
    let Some((template, value)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let mut property = toml::Table::new();
    property.insert("type".to_owned(), "string".into());
    property.insert("maxLength".to_owned(), 64.into());
    let mut properties = toml::Table::new();
    properties.insert("x".to_owned(), property.into());
    let playbook = playbook_with(properties, vec!["x".into()], template);
    let of = |value: &str| {
        let values = serde_json::json!({ "x": value });
        granted(&playbook, &values.as_object().cloned().unwrap_or_default())
            .and_then(|grant| grant.resources.first().cloned())
    };
    let (Some(plain), Some(resource)) = (of("plain"), of(value)) else { return };
    for structure in ['/', '?', '#', ':', '@', '&', '='] {
        let count = |text: &str| text.matches(structure).count();
        assert_eq!(count(&resource), count(&plain), "`{structure}` of `{resource}`");
    }
    assert!(resource.is_ascii() && resource.len() <= 2048);
    assert!(!resource.split(['/', '?', '#']).any(|segment| matches!(segment, "." | "..")));
}

/// Three lines of rights: each covers itself, and what is covered by what is covered is covered (specs/intents.md 9).
pub(crate) fn rights(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let read = |line: &str| serde_json::from_str::<Rights>(line).ok();
    let Some(all) = text.lines().map(read).collect::<Option<Vec<_>>>() else { return };
    for one in &all {
        let comparable =
            one.tools.values().all(|tool| tool.arguments.len() <= MAX_ARGUMENT_SCHEMAS);
        assert!(!comparable || one.covers(one).is_ok(), "{one:?} does not cover itself");
        for two in &all {
            for three in &all {
                if one.covers(two).is_ok() && two.covers(three).is_ok() {
                    assert!(one.covers(three).is_ok(), "{one:?} {two:?} {three:?}");
                }
            }
        }
    }
}

/// Two lines: rights, and what is wanted of them. What is given is within the rights, and wanted once more it is the same;
/// what is handed on is within them too, and less than them.
pub(crate) fn narrowing(bytes: &[u8]) {
    let Some((rights, wanted)) = from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
    else {
        return;
    };
    let Ok(rights) = serde_json::from_str::<Rights>(rights) else { return };
    let Ok(wanted) = serde_json::from_str::<Wanted>(wanted) else { return };
    if let Ok(less) = rights.narrowed(&wanted) {
        assert!(rights.covers(&less).is_ok(), "{less:?} is more than {rights:?}");
        assert_eq!(less.narrowed(&wanted).as_ref(), Ok(&less), "wanted once more");
        let told = serde_json::to_string(&less).expect("JSON");
        assert_eq!(serde_json::from_str::<Rights>(&told).expect("what we write we read"), less);
    }
    if let Ok(less) = rights.delegated(&wanted) {
        assert!(rights.covers(&less).is_ok() && rights.hands_on(&less).is_ok(), "{less:?}");
        assert_ne!(less, rights, "handed on as it is");
        let depth = |rights: &Rights| rights.on_behalf.as_ref().map_or(0, |one| one.max_depth);
        assert!(depth(&less) < depth(&rights), "{less:?}");
    }
}

/// An exception that is accepted ends, soon enough and for good, and a comment makes no other one of it.
pub(crate) fn exception(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(exception) = Exception::parse(text) else { return };
    assert!((1..=MAX_EXCEPTION_RUNS).contains(&exception.runs().get()));
    let end = exception.expires_at();
    assert_eq!(exception.standing(end), ExceptionStanding::Ended);
    if let Ok(before) = end.checked_sub(MAX_EXCEPTION) {
        let second = std::time::Duration::from_secs(1);
        let earlier = before.checked_sub(second).unwrap_or(Timestamp::MIN);
        assert_eq!(
            exception.standing(earlier),
            ExceptionStanding::NotBegun,
            "it holds for too long"
        );
    }
    for at in instants() {
        assert_eq!(at >= end, exception.standing(at) == ExceptionStanding::Ended);
    }
    if let Ok(again) = Exception::parse(&format!("{text}\n# the same\n")) {
        assert_eq!(again.pin(), exception.pin());
    }
}

/// A proof that is read is written as it was read, and nothing of it is proven by a key that signed nothing.
pub(crate) fn tlog_proof(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert_eq!(TlogProof::parse(&proof.to_text()).expect("what we write we read"), proof);
    let key = VerifierKey::new("example.org/marque/audit", [7; 32]).expect("a key");
    assert!(proof.verify(&key).is_err());
}

/// What a witness answers is a size in its one spelling, or lines of which none is a cosignature of a key that never signed.
pub(crate) fn witness_answer(bytes: &[u8]) {
    if let Some(size) = witness::size(bytes) {
        assert_eq!(format!("{size}\n").as_bytes(), bytes);
    }
    let key = CosignerKey::new("witness.example.org/w1", [7; 32]).expect("a key");
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(read) = text.parse::<CosignerKey>() {
        assert_eq!(read.to_string(), text);
    }
    let note = format!("example.org/marque/audit\n7\n{}\n\n{text}", Hash::of_empty_tree());
    assert!(!matches!(key.find(&note), Ok(Some(_))));
}

/// The name of a tile has one spelling.
pub(crate) fn tile_path(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(tile) = text.parse::<TilePath>() else { return };
    assert_eq!(tile.to_path().to_str(), Some(format!("tile/{text}").as_str()));
    assert!((1..=256).contains(&tile.width()));
}

/// A change window that is accepted is written as it was read, and its next opening is an opening, before which nothing is
/// open; whatever the rule is, that is soon known.
pub(crate) fn window(bytes: &[u8]) {
    let Ok(window) = serde_json::from_slice::<Window>(bytes) else { return };
    let written = serde_json::to_vec(&window).expect("a window can be written");
    assert_eq!(serde_json::from_slice::<Window>(&written).expect("what we write we read"), window);
    let windows = [window];
    let schedule = Schedule::new(&windows, []);
    for from in instants() {
        let Some(opening) = schedule.opening(from) else { continue };
        assert!(opening >= from, "it is not over");
        let open = match schedule.at(opening) {
            Standing::Open { until } => Some(until),
            Standing::Outside { .. } | Standing::Blackout { .. } => None,
        };
        let until = open.expect("it is open");
        assert!(until.is_none_or(|until| until > opening), "for some time");
        if opening > from {
            assert_eq!(schedule.at(from), Standing::Outside { opens_at: Some(opening) });
        }
    }
}

/// A calendar that is accepted is within its limits, says why it forbids what it forbids, and what it lets through again it
/// does not forbid.
pub(crate) fn calendar(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(calendar) = Calendar::parse(text) else { return };
    assert!(bytes.len() <= MAX_CALENDAR_BYTES && calendar.owner().contains(':'));
    let schedule = Schedule::new(&[], [&calendar]);
    for at in instants() {
        let forbidden = matches!(schedule.at(at), Standing::Blackout { .. });
        assert_eq!(forbidden, calendar.reason_at(at).is_some());
        if let Some(opening) = schedule.opening(at) {
            assert!(calendar.reason_at(opening).is_none() && (opening > at) == forbidden);
        }
    }
}

/// Around a change of clocks, in a leap year, and far away.
fn instants() -> impl Iterator<Item = Timestamp> {
    let texts = ["2026-10-25T00:30:00Z", "2028-02-28T23:59:59Z", "2099-12-31T12:00:00Z"];
    texts.into_iter().filter_map(|text| text.parse().ok())
}

/// A kill's scope, its kind and its selector on one line, reads as it is written; so does a record of a kill or a lift, which
/// comes from disk.
pub(crate) fn kill(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(record) = serde_json::from_str::<KillRecord>(text) {
        let written = serde_json::to_string(&record).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<KillRecord>(&written).ok(), Some(record.clone()));
        assert!(record.is_of(&record.order(), record.at()), "a record is of its own order");
        return;
    }
    let (kind, selector) = match text.split_once(' ') {
        Some((kind, selector)) => (kind, Some(selector)),
        None => (text, None),
    };
    let Ok(scope) = KillScope::parse(kind, selector) else { return };
    assert_eq!(scope.kind(), kind);
    let again = KillScope::parse(scope.kind(), scope.selector().as_deref());
    assert_eq!(again.ok(), Some(scope.clone()), "it reads as it is written");
    assert!(scope.selector().is_none_or(|selector| selector.len() <= 2048));
}

/// A template of SPIFFE IDs reads back as it was written, and whatever stands for a selector's value gives one ID of the
/// template's form or none.
pub(crate) fn entry_template(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let (id, value) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(template) = id.parse::<IdTemplate>() else { return };
    assert_eq!(template.to_string(), id);
    let filled = template
        .placeholders()
        .fold(id.to_owned(), |id, place| id.replace(&format!("{{{place}}}"), value));
    if let Ok(spiffe_id) = filled.parse::<SpiffeId>() {
        assert_eq!(spiffe_id.trust_domain(), template.trust_domain());
        // A value with a slash in it would make more segments than the template has.
        if !value.contains('/') {
            assert_eq!(spiffe_id.segments().count(), id.split('/').count() - 3);
        }
    }
    if let Ok(pattern) = value.parse::<ValuePattern>() {
        assert_eq!(pattern.to_string(), value);
        assert!(value.contains('*') || pattern.matches(value));
    }
}

/// A backup is refused, or its manifest names nothing outside of a backup.
pub(crate) fn backup(bytes: &[u8]) {
    let Ok(manifest) = marque::backup::inspect(bytes) else { return };
    for file in &manifest.files {
        assert!(!file.path.contains("..") && !file.path.starts_with('/'));
        assert!(file.bytes <= bytes.len() as u64);
    }
}
