//! `[approver_login]`: how people who approve log in (OpenID Connect, authorization code with PKCE).
//!
//! Approvers are of one trust domain and, with it, of one environment: the environment that is stated has to be the own
//! one. Every endpoint is written out; nothing is discovered. Absent: talking to the provider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use marque_spiffe::{BundleEndpointUrl, Environment};

use super::federation::Readable;
use super::issuer_keys::{self, IssuerKeys, duration};
use super::oidc_issuers::{ClaimName, Text, is_chosen};
use crate::fields::{Fields, Lined, Log};

/// What the keys of the approvers' provider are called among those of other issuers; no issuer can have this name.
pub const APPROVER_LOGIN: &str = "approver_login";
/// How many groups may be mapped.
pub const MAX_APPROVER_GROUPS: usize = 256;
const MAX_NAMES: usize = 16;
const DEFAULT_SESSION: Duration = Duration::from_mins(15);
const MAX_SESSION: Duration = Duration::from_hours(1);
const DEFAULT_FRESH: Duration = Duration::from_mins(5);

/// `[approver_login]`.
///
/// ```toml
/// [approver_login]
/// environment = "production"             # must be the own one
/// issuer = "https://login.example.org"   # exactly the `iss` of its answers and ID tokens
/// authorization_endpoint = "https://login.example.org/auth"
/// token_endpoint = "https://login.example.org/token"
/// jwks_uri = "https://login.example.org/jwks"   # or `jwks_file`, below the folder
/// ca_file = "oidc/ca.pem"                # PEM, below the folder or absolute; for all endpoints
/// client_id = "marque-approvers-prod"    # of this trust domain alone
/// client_secret_file = "/run/secrets/approver-login"   # absent: a public client
/// groups_claim = "groups"                # absent: nobody is in a group
/// scopes = ["groups"]                    # asked for beside `openid`; may be absent
/// mfa_acr = ["urn:example:two-factors"]  # asked for, and taken for more than one factor; may be absent: then `amr` has to say it
/// mfa_max_age = "5m"                     # how old such a login may be where a playbook asks for one; at most 1h
/// session = "15m"                        # how long somebody stays logged in; at most 1h
/// lift_groups = ["sre-leads"]            # whose members may lift kills, with a fresh second factor; may be absent: nobody here
/// iss_parameter = true                   # whether answers without `iss` (RFC 9207) are refused; may be absent: true
///
/// [approver_login.groups]                # the provider's group = the approver group; others count for nothing
/// "sre-leads@example.org" = "sre-leads"
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApproverLogin {
    issuer: String,
    authorization_endpoint: BundleEndpointUrl,
    token_endpoint: BundleEndpointUrl,
    keys: IssuerKeys,
    ca_file: PathBuf,
    client_id: String,
    client_secret_file: Option<PathBuf>,
    groups_claim: Option<String>,
    groups: BTreeMap<String, String>,
    lift_groups: BTreeSet<String>,
    mfa_acr: BTreeSet<String>,
    scopes: BTreeSet<String>,
    mfa_max_age: Duration,
    session: Duration,
    iss_parameter: bool,
    line: usize,
}

impl ApproverLogin {
    /// The provider's issuer identifier, compared byte by byte.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where browsers are sent.
    pub fn authorization_endpoint(&self) -> &BundleEndpointUrl {
        &self.authorization_endpoint
    }

    /// Where codes are redeemed.
    pub fn token_endpoint(&self) -> &BundleEndpointUrl {
        &self.token_endpoint
    }

    /// Where the provider's keys are.
    pub fn keys(&self) -> &IssuerKeys {
        &self.keys
    }

    /// The authorities that the provider's certificate is below.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Who we are to the provider.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The file with the secret of a confidential client.
    pub fn client_secret_file(&self) -> Option<&Path> {
        self.client_secret_file.as_deref()
    }

    /// The claim that lists somebody's groups.
    pub fn groups_claim(&self) -> Option<&str> {
        self.groups_claim.as_deref()
    }

    /// From the provider's groups to approver groups. Text here; whoever approves checks its form.
    pub fn groups(&self) -> &BTreeMap<String, String> {
        &self.groups
    }

    /// The approver groups whose members may ask for a kill to be lifted, and confirm it. Text here.
    pub fn lift_groups(&self) -> &BTreeSet<String> {
        &self.lift_groups
    }

    /// The `acr` values that are asked for, and taken for more than one factor.
    pub fn mfa_acr(&self) -> &BTreeSet<String> {
        &self.mfa_acr
    }

    /// What is asked for beside `openid`.
    pub fn scopes(&self) -> &BTreeSet<String> {
        &self.scopes
    }

    /// How old a login with more than one factor may be where one is asked for.
    pub fn mfa_max_age(&self) -> Duration {
        self.mfa_max_age
    }

    /// How long somebody stays logged in.
    pub fn session(&self) -> Duration {
        self.session
    }

    /// Whether an answer has to name its issuer (RFC 9207).
    pub fn iss_parameter(&self) -> bool {
        self.iss_parameter
    }

    /// The line of `trust-domain.toml` on which it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Reads `[approver_login]`.
pub(super) fn read(
    mut table: Fields<'_, '_>,
    own: Option<Environment>,
    log: &mut Log<'_>,
) -> Option<ApproverLogin> {
    let line = table.line();
    let environment: Option<Lined<Environment>> = table.lined_text("environment", log);
    let issuer: Option<Lined<BundleEndpointUrl>> = table.lined_text("issuer", log);
    let authorization_endpoint = table.text("authorization_endpoint", log);
    let token_endpoint = table.text("token_endpoint", log);
    // Of `jwks_uri`, too, where there is one: it is read once more there.
    let ca_file: Option<Readable> = table.text("ca_file", log);
    let keys = issuer_keys::read_beside_ca(&mut table, log);
    let client_id: Option<Text> = table.text("client_id", log);
    let client_secret_file: Option<Readable> = table.optional_text("client_secret_file", log);
    let groups_claim: Option<ClaimName> = table.optional_text("groups_claim", log);
    let mfa_acr: Vec<Text> = table.texts("mfa_acr", log);
    let scopes: Vec<ClaimName> = table.texts("scopes", log);
    let lift_groups: Vec<Text> = table.texts("lift_groups", log);
    let mfa_max_age = duration(&mut table, "mfa_max_age", (DEFAULT_FRESH, MAX_SESSION), log);
    let session = duration(&mut table, "session", (DEFAULT_SESSION, MAX_SESSION), log);
    let iss_parameter = table.optional_switch("iss_parameter", log);
    let groups = table
        .optional_table("groups", log)
        .map(|groups| groups.all_texts::<Text>(log))
        .unwrap_or_default();
    table.finish(log);
    if let Some(environment) = environment.as_ref().filter(|stated| Some(stated.value) != own) {
        let message = format!(
            "environment_boundary: the approvers are of {}, and nobody approves from one environment in the other",
            environment.value
        );
        log.at(environment.line, message);
    }
    if groups.len() > MAX_APPROVER_GROUPS {
        log.at(line, format!("more than {MAX_APPROVER_GROUPS} of [approver_login.groups]"));
    }
    if mfa_acr.len().max(scopes.len()).max(lift_groups.len()) > MAX_NAMES {
        let message =
            format!("`mfa_acr`, `scopes` and `lift_groups` have at most {MAX_NAMES} entries each");
        log.at(line, message);
    }
    if !groups.is_empty() && groups_claim.is_none() {
        log.at(line, "[approver_login.groups] has no meaning without a `groups_claim`");
    }
    if let Some(ClaimName(claim)) = groups_claim.as_ref().filter(|claim| is_chosen(&claim.0)) {
        let message = format!(
            "`{claim}` in [approver_login] is what people say of themselves: nothing is decided by it"
        );
        log.at(line, message);
    }
    environment?;
    let issuer = issuer?;
    if issuer.value.as_str().contains('?') {
        log.at(issuer.line, "`issuer` in [approver_login] has a query, which no issuer has");
    }
    Some(ApproverLogin {
        issuer: issuer.value.as_str().to_owned(),
        authorization_endpoint: authorization_endpoint?,
        token_endpoint: token_endpoint?,
        keys: keys?,
        ca_file: ca_file?.0,
        client_id: client_id?.0,
        client_secret_file: client_secret_file.map(|Readable(file)| file),
        groups_claim: groups_claim.map(|ClaimName(claim)| claim),
        groups: groups.into_iter().map(|(theirs, Text(ours))| (theirs, ours)).collect(),
        lift_groups: lift_groups.into_iter().map(|Text(name)| name).collect(),
        mfa_acr: mfa_acr.into_iter().map(|Text(name)| name).collect(),
        scopes: scopes.into_iter().map(|ClaimName(scope)| scope).collect(),
        mfa_max_age: mfa_max_age?,
        session: session?,
        iss_parameter: iss_parameter.is_none_or(|switch| switch.value),
        line,
    })
}

/// What a finding says where two trust domains of different environments have one client at one provider.
pub fn shared_approvers(client_id: &str, environment: Environment) -> String {
    format!(
        "environment_boundary: `{client_id}` in [approver_login] is the client of a trust domain that is {environment}, and \
         nobody approves from one environment in the other"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");
    const LOGIN: &str = r#"
[approver_login]
environment = "non-production"
issuer = "https://login.example.org"
authorization_endpoint = "https://login.example.org/auth"
token_endpoint = "https://login.example.org/token"
jwks_uri = "https://login.example.org/jwks"
ca_file = "oidc/ca.pem"
client_id = "approvers"
"#;

    fn parse(lines: &str) -> Result<ApproverLogin, Vec<Finding>> {
        let document = format!("{DOCUMENT}\n{lines}\n");
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)?;
        Ok(document.approver_login().unwrap().clone())
    }

    #[test]
    fn a_login_is_read_with_its_defaults() {
        let login = parse(LOGIN).unwrap();
        assert_eq!(login.issuer(), "https://login.example.org");
        assert_eq!((login.session(), login.mfa_max_age()), (DEFAULT_SESSION, DEFAULT_FRESH));
        assert!(login.iss_parameter());
        assert!(login.groups().is_empty() && login.mfa_acr().is_empty());
        assert!(login.lift_groups().is_empty(), "nobody lifts whom the document does not name");
        assert_eq!((login.client_secret_file(), login.groups_claim()), (None, None));
        assert_eq!(login.keys().ca_file(), Some(login.ca_file()));
    }

    #[test]
    fn everything_of_a_login_is_read() {
        let lines = LOGIN.replace(
            "client_id",
            "client_secret_file = \"/run/secrets/x\"\ngroups_claim = \"groups\"\nmfa_acr = [\"two\"]\nlift_groups = [\"sre\"]\nscopes = [\"groups\"]\n\
             mfa_max_age = \"1m\"\nsession = \"1h\"\niss_parameter = false\nclient_id",
        );
        let login = parse(&format!("{lines}\n[approver_login.groups]\n\"a b\" = \"sre\"")).unwrap();
        assert_eq!(login.client_secret_file(), Some(Path::new("/run/secrets/x")));
        assert_eq!(login.groups()["a b"], "sre");
        assert!(login.lift_groups().contains("sre"));
        assert!(login.mfa_acr().contains("two") && login.scopes().contains("groups"));
        assert_eq!(login.mfa_max_age(), Duration::from_mins(1));
        assert_eq!(login.session(), MAX_SESSION);
        assert!(!login.iss_parameter());
    }

    #[test]
    fn what_is_no_login_is_refused() {
        for (from, to, because) in [
            ("\"non-production\"", "\"production\"", "environment_boundary"),
            ("environment = \"non-production\"", "", "missing"),
            ("https://login.example.org\"\nauth", "http://login.example.org\"\nauth", "https"),
            ("https://login.example.org\"\nauth", "https://login.example.org?x\"\nauth", "query"),
            ("https://login.example.org/auth", "http://login.example.org/auth", "https"),
            ("https://login.example.org/token", "http://login.example.org/token", "https"),
            ("ca_file = \"oidc/ca.pem\"", "", "`ca_file`"),
            ("client_id = \"approvers\"", "", "`client_id`"),
            ("client_id", "session = \"2h\"\nclient_id", "at most"),
            ("client_id", "mfa_max_age = \"2h\"\nclient_id", "at most"),
            ("client_id", "groups_claim = \"nickname\"\nclient_id", "say of themselves"),
            ("client_id", "groups = {a = \"b\"}\nclient_id", "without a `groups_claim`"),
            ("client_id", "discovery = true\nclient_id", "unknown field"),
        ] {
            assert!(LOGIN.contains(from), "{from}");
            let findings = parse(&LOGIN.replacen(from, to, 1)).unwrap_err();
            let said = findings.iter().any(|finding| finding.to_string().contains(because));
            assert!(said, "{to}: {findings:?}");
        }
    }

    #[test]
    fn a_mapping_has_its_limits() {
        let group = |at: usize| format!("\"g{at}\" = \"sre\"\n");
        let lines = LOGIN.replace("client_id", "groups_claim = \"groups\"\nclient_id");
        let most: String = (0..MAX_APPROVER_GROUPS).map(group).collect();
        parse(&format!("{lines}\n[approver_login.groups]\n{most}")).unwrap();
        let past = group(MAX_APPROVER_GROUPS);
        let findings =
            parse(&format!("{lines}\n[approver_login.groups]\n{most}{past}")).unwrap_err();
        assert!(findings[0].to_string().contains("more than 256"), "{findings:?}");
        let many: Vec<String> = (0..=MAX_NAMES).map(|at| format!("\"a{at}\"")).collect();
        for key in ["mfa_acr", "lift_groups"] {
            let lines =
                LOGIN.replace("client_id", &format!("{key} = [{}]\nclient_id", many.join(",")));
            assert!(parse(&lines).unwrap_err()[0].to_string().contains("at most 16"), "{key}");
        }
    }
}
