//! `[[oidc_issuers]]`: who vouches for people (OpenID Connect).
//!
//! An issuer is one of a trust domain and, with it, of an environment: the environment that is stated has to be the own
//! one, so that nobody's login to one environment says anything in the other. Where its keys come from is written out;
//! nothing is discovered. Absent: fetching anything.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use marque_spiffe::{BundleEndpointUrl, Environment};

use super::issuer_keys::{self, IssuerKeys, Name, duration};
use crate::fields::{Fields, Lined, Log};

/// How many issuers a trust domain may have.
pub const MAX_OIDC_ISSUERS: usize = 16;
const MAX_AUDIENCES: usize = 16;
const MAX_REQUIRED_CLAIMS: usize = 16;
const MAX_AGE: Duration = Duration::from_hours(24);
const DEFAULT_AGE: Duration = Duration::from_hours(1);

/// Claims that people write themselves (OpenID Connect Core 1.0, sections 5.1 and 5.7) or that their client does. They say
/// nothing about who somebody is, so nothing is decided by them: not who is in a group, and not whose ID token is taken.
const CHOSEN_CLAIMS: [&str; 19] = [
    "address",
    "birthdate",
    "email",
    "family_name",
    "gender",
    "given_name",
    "locale",
    "middle_name",
    "name",
    "nickname",
    "nonce",
    "phone_number",
    "picture",
    "preferred_username",
    "profile",
    "updated_at",
    "upn",
    "website",
    "zoneinfo",
];

/// Whether people or their client write this claim themselves.
pub(super) fn is_chosen(claim: &str) -> bool {
    CHOSEN_CLAIMS.contains(&claim)
}

/// One of `[[oidc_issuers]]`.
///
/// ```toml
/// [[oidc_issuers]]
/// name = "corp"                          # [a-z0-9-]{1,32}, unique: what `sub` and `delegator_id` begin with
/// environment = "production"             # must be the own one
/// issuer = "https://login.example.org"   # exactly the `iss` of its ID tokens
/// audiences = ["marque-prod"]            # whom its ID tokens are for: one of these and nobody else
/// jwks_uri = "https://login.example.org/jwks"   # or `jwks_file`, below the folder
/// ca_file = "oidc/ca.pem"                # for `jwks_uri`: PEM, below the folder or absolute
/// max_age = "1h"                         # since `iat`; may be absent: 1h; at most 24h
/// max_staleness = "1h"                   # of keys that were fetched; may be absent: 1h; at most 24h
/// groups_claim = "groups"                # may be absent: then nobody is in a group; none of what people say of themselves
///
/// [oidc_issuers.required_claims]         # may be absent; each a text that the ID token has exactly
/// tid = "0190b2f4"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcIssuer {
    name: String,
    issuer: String,
    audiences: BTreeSet<String>,
    keys: IssuerKeys,
    max_age: Duration,
    groups_claim: Option<String>,
    required_claims: BTreeMap<String, String>,
    line: usize,
}

impl OidcIssuer {
    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its issuer identifier, compared byte by byte.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whom its ID tokens are for.
    pub fn audiences(&self) -> &BTreeSet<String> {
        &self.audiences
    }

    /// Where its keys are.
    pub fn keys(&self) -> &IssuerKeys {
        &self.keys
    }

    /// How long after `iat` an ID token is taken.
    pub fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The claim that lists somebody's groups.
    pub fn groups_claim(&self) -> Option<&str> {
        self.groups_claim.as_deref()
    }

    /// Claims that an ID token must have, as texts.
    pub fn required_claims(&self) -> &BTreeMap<String, String> {
        &self.required_claims
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Reads `[[oidc_issuers]]`.
pub(super) fn read(
    tables: Vec<Fields<'_, '_>>,
    environment: Option<Environment>,
    log: &mut Log<'_>,
) -> Vec<OidcIssuer> {
    if let Some(table) = tables.get(MAX_OIDC_ISSUERS) {
        log.at(table.line(), format!("more than {MAX_OIDC_ISSUERS} tables [oidc_issuers]"));
    }
    let mut seen = Seen::default();
    tables.into_iter().filter_map(|table| issuer(table, environment, &mut seen, log)).collect()
}

#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    issuers: BTreeSet<String>,
}

fn issuer(
    mut table: Fields<'_, '_>,
    own: Option<Environment>,
    seen: &mut Seen,
    log: &mut Log<'_>,
) -> Option<OidcIssuer> {
    let line = table.line();
    let name: Option<Lined<Name>> = table.lined_text("name", log);
    let environment: Option<Lined<Environment>> = table.lined_text("environment", log);
    let issuer: Option<Lined<BundleEndpointUrl>> = table.lined_text("issuer", log);
    let audiences: Vec<Text> = table.required_texts("audiences", log);
    let keys = issuer_keys::read(&mut table, log);
    let max_age = duration(&mut table, "max_age", (DEFAULT_AGE, MAX_AGE), log);
    let groups_claim: Option<ClaimName> = table.optional_text("groups_claim", log);
    let required_claims = table
        .optional_table("required_claims", log)
        .map(|table| table.all_texts::<Text>(log))
        .unwrap_or_default();
    table.finish(log);
    let (name, environment, issuer) = (name?, environment?, issuer?);
    if own.is_some_and(|own| own != environment.value) {
        let message = format!(
            "environment_boundary: `{}` is of {}, and nobody's login crosses from one environment to the other",
            name.value.0, environment.value
        );
        log.at(environment.line, message);
        return None;
    }
    if !seen.names.insert(name.value.0.clone()) {
        log.at(name.line, "`name` in [oidc_issuers] is used twice");
    }
    let url = issuer.value.as_str();
    if url.contains('?') {
        log.at(issuer.line, "`issuer` in [oidc_issuers] has a query, which no issuer has");
    }
    if !seen.issuers.insert(url.to_owned()) {
        log.at(issuer.line, "`issuer` in [oidc_issuers] is used twice");
    }
    if audiences.is_empty() || audiences.len() > MAX_AUDIENCES {
        log.at(line, format!("`audiences` in [oidc_issuers] has 1 to {MAX_AUDIENCES} entries"));
    }
    if required_claims.len() > MAX_REQUIRED_CLAIMS {
        let message = format!("more than {MAX_REQUIRED_CLAIMS} of [required_claims]");
        log.at(line, message);
    }
    let decisive = groups_claim.iter().map(|ClaimName(claim)| claim).chain(required_claims.keys());
    for claim in decisive.filter(|claim| is_chosen(claim)) {
        let message = format!(
            "`{claim}` in [oidc_issuers] is what people say of themselves: nothing is decided by it"
        );
        log.at(line, message);
    }
    Some(OidcIssuer {
        name: name.value.0,
        issuer: url.to_owned(),
        audiences: audiences.into_iter().map(|Text(audience)| audience).collect(),
        keys: keys?,
        max_age: max_age?,
        groups_claim: groups_claim.map(|ClaimName(claim)| claim),
        required_claims: required_claims
            .into_iter()
            .map(|(claim, Text(value))| (claim, value))
            .collect(),
        line,
    })
}

/// A text of a claim.
pub(super) struct Text(pub(super) String);

impl FromStr for Text {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err("is not a text of 1 to 256 bytes on one line")
    }
}

/// The name of a claim.
pub(super) struct ClaimName(pub(super) String);

impl FromStr for ClaimName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err("is not the name of a claim")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::issuer_keys::DEFAULT_STALENESS;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
    const ISSUER: &str = r#"
[[oidc_issuers]]
name = "corp"
environment = "non-production"
issuer = "https://login.example.org"
audiences = ["marque-prod"]
jwks_uri = "https://login.example.org/jwks"
ca_file = "oidc/ca.pem"
"#;

    fn parse(lines: &str) -> Result<Vec<OidcIssuer>, Vec<Finding>> {
        let document = format!("{DOCUMENT}\n{lines}\n");
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)?;
        Ok(document.oidc_issuers().to_vec())
    }

    #[test]
    fn an_issuer_is_read_with_its_defaults() {
        let issuers = parse(ISSUER).unwrap();
        let [issuer] = issuers.as_slice() else { panic!("one issuer") };
        assert_eq!((issuer.name(), issuer.issuer()), ("corp", "https://login.example.org"));
        assert_eq!(issuer.max_age(), DEFAULT_AGE);
        assert_eq!((issuer.groups_claim(), issuer.required_claims().len()), (None, 0));
        let IssuerKeys::Fetched { url, ca_file, max_staleness } = issuer.keys() else { panic!() };
        assert_eq!(url.as_str(), "https://login.example.org/jwks");
        assert_eq!(
            (ca_file.as_path(), *max_staleness),
            (Path::new("oidc/ca.pem"), DEFAULT_STALENESS)
        );
    }

    #[test]
    fn everything_of_an_issuer_is_read() {
        let lines = ISSUER.replace(
            "jwks_uri = \"https://login.example.org/jwks\"\nca_file = \"oidc/ca.pem\"",
            "jwks_file = \"oidc/corp.json\"\nmax_age = \"5m\"\ngroups_claim = \"roles\"\n\n\
             [oidc_issuers.required_claims]\ntid = \"0190b2f4\"\n\"https://x/env\" = \"prod\"",
        );
        let issuers = parse(&lines).unwrap();
        let issuer = &issuers[0];
        assert_eq!(issuer.keys().file(), Some(Path::new("oidc/corp.json")));
        assert_eq!(issuer.max_age(), Duration::from_secs(300));
        assert_eq!(issuer.groups_claim(), Some("roles"));
        assert_eq!(issuer.required_claims()["https://x/env"], "prod");
    }

    #[test]
    fn an_issuer_is_of_the_own_environment() {
        let findings = parse(&ISSUER.replace("\"non-production\"", "\"production\"")).unwrap_err();
        assert!(findings[0].to_string().contains("environment_boundary"), "{findings:?}");
    }

    #[test]
    fn what_is_no_issuer_is_refused() {
        for (from, to, because) in [
            ("name = \"corp\"", "name = \"Corp\"", "a-z"),
            ("name = \"corp\"", "name = \"spiffe\"", "spiffe"),
            ("name = \"corp\"", &format!("name = \"{}\"", "a".repeat(33)), "32"),
            ("name = \"corp\"", "", "`name`"),
            ("https://login.example.org\"\naud", "http://login.example.org\"\naud", "https"),
            ("https://login.example.org\"\naud", "https://a@login.example.org\"\naud", "user info"),
            ("https://login.example.org\"\naud", "https://login.example.org?x=1\"\naud", "query"),
            ("https://login.example.org\"\naud", "https://login.example.org/#x\"\naud", "fragment"),
            ("audiences = [\"marque-prod\"]", "audiences = []", "1 to 16"),
            ("audiences = [\"marque-prod\"]", "", "missing"),
            ("audiences = [\"marque-prod\"]", "audiences = [\"\"]", "1 to 256"),
            ("ca_file = \"oidc/ca.pem\"", "", "`ca_file`"),
            ("ca_file = \"oidc/ca.pem\"", "ca_file = \"../ca.pem\"", "folder"),
            ("jwks_uri = \"https", "jwks_uri = \"http", "https"),
            ("ca_file = \"oidc/ca.pem\"", "ca_file = \"a\"\njwks_file = \"b\"", "exactly one"),
            (
                "jwks_uri = \"https://login.example.org/jwks\"",
                "jwks_file = \"a\"",
                "for a `jwks_uri`",
            ),
            (
                "jwks_uri = \"https://login.example.org/jwks\"\nca_file = \"oidc/ca.pem\"",
                "",
                "exactly one",
            ),
            ("ca_file", "max_age = \"25h\"\nca_file", "at most"),
            ("ca_file", "max_staleness = \"25h\"\nca_file", "at most"),
            ("ca_file", "max_staleness = \"forever\"\nca_file", "max_staleness"),
            ("ca_file", "discovery = true\nca_file", "unknown field"),
            ("ca_file", "groups_claim = \"\"\nca_file", "name of a claim"),
            ("ca_file", "required_claims = {a = 1}\nca_file", "a text"),
            ("ca_file", "required_claims = {email = \"a@b.c\"}\nca_file", "say of themselves"),
            ("ca_file", "groups_claim = \"nickname\"\nca_file", "say of themselves"),
        ] {
            assert!(ISSUER.contains(from), "{from}");
            let findings = parse(&ISSUER.replacen(from, to, 1)).unwrap_err();
            let said = findings.iter().any(|finding| finding.to_string().contains(because));
            assert!(said, "{to}: {findings:?}");
        }
        let twice = format!("{ISSUER}{ISSUER}");
        let findings = parse(&twice).unwrap_err();
        assert_eq!(findings.len(), 2, "{findings:?}");
        let many: String = (0..=MAX_OIDC_ISSUERS)
            .map(|at| ISSUER.replace("corp", &format!("c{at}")).replace("login", &format!("l{at}")))
            .collect();
        assert!(parse(&many).unwrap_err()[0].to_string().contains("more than 16"));
    }
}
