//! `[token_service]`: which parts of the token service a trust domain uses.

use std::str::FromStr;

use marque_spiffe::Environment;

use crate::fields::{Fields, Log};

/// What the token service of a trust domain offers. Whatever is off is refused as if it did not exist, and its metadata
/// does not name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenServiceSettings {
    /// Tokens bound to the key of a DPoP proof (RFC 9449).
    pub dpop: bool,
    /// Whether a DPoP proof needs a nonce of ours.
    pub dpop_nonce: NonceDemand,
    /// Whether the proof beside a client attestation needs a challenge of ours.
    pub attestation_challenge: NonceDemand,
    /// Client authentication by X.509-SVID, and tokens bound to it (RFC 8705).
    pub mutual_tls: bool,
    /// Client authentication by WIT-SVID with a proof of possession: still a draft.
    pub wit_client_authentication: bool,
    /// The deferred token response: a draft.
    pub deferred: bool,
    /// The polling form of OpenID CIBA.
    pub ciba: bool,
    /// Introspection answers as JWT (RFC 9701).
    pub jwt_introspection: bool,
    /// Token status lists: a draft.
    pub token_status_list: bool,
    /// Transaction tokens: a draft.
    pub transaction_tokens: bool,
    /// Identity chaining across domains: a draft.
    pub identity_chaining: bool,
    /// Identity assertion authorization grants (ID-JAG): a draft.
    pub id_jag: bool,
    /// How many verified JWT-SVIDs are remembered, so that the next request with the same one costs no signature check;
    /// 0 for none.
    pub verified_svids: u32,
}

/// Whether a proof needs a nonce of the token service (RFC 9449 §8), or a challenge, which is the same under another name
/// (draft-ietf-oauth-attestation-based-client-auth-10, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceDemand {
    /// It does.
    Required,
    /// It may come without.
    Optional,
}

impl FromStr for NonceDemand {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err("is neither `required` nor `optional`"),
        }
    }
}

impl TokenServiceSettings {
    /// What is offered where the document does not say. In production, what is still a draft has to be asked for, but
    /// for the deferred response, without which nobody could wait for an approval, and the status list.
    pub const fn of(environment: Environment) -> Self {
        let drafts = matches!(environment, Environment::NonProduction);
        let demand = if drafts { NonceDemand::Optional } else { NonceDemand::Required };
        Self {
            dpop: true,
            dpop_nonce: demand,
            attestation_challenge: demand,
            mutual_tls: true,
            wit_client_authentication: drafts,
            deferred: true,
            ciba: true,
            jwt_introspection: true,
            token_status_list: true,
            transaction_tokens: drafts,
            identity_chaining: drafts,
            id_jag: drafts,
            verified_svids: 4096,
        }
    }
}

/// Reads `[token_service]`, or takes the defaults where it is absent.
pub(super) fn read(
    top: &mut Fields<'_, '_>,
    environment: Environment,
    log: &mut Log<'_>,
) -> TokenServiceSettings {
    let mut settings = TokenServiceSettings::of(environment);
    let Some(mut table) = top.optional_table("token_service", log) else { return settings };
    for (key, switch) in [
        ("dpop", &mut settings.dpop),
        ("mutual_tls", &mut settings.mutual_tls),
        ("wit_client_authentication", &mut settings.wit_client_authentication),
        ("deferred", &mut settings.deferred),
        ("ciba", &mut settings.ciba),
        ("jwt_introspection", &mut settings.jwt_introspection),
        ("token_status_list", &mut settings.token_status_list),
        ("transaction_tokens", &mut settings.transaction_tokens),
        ("identity_chaining", &mut settings.identity_chaining),
        ("id_jag", &mut settings.id_jag),
    ] {
        if let Some(field) = table.optional_switch(key, log) {
            *switch = field.value;
        }
    }
    for (key, demand) in [
        ("dpop_nonce", &mut settings.dpop_nonce),
        ("attestation_challenge", &mut settings.attestation_challenge),
    ] {
        if let Some(chosen) = table.optional_text(key, log) {
            *demand = chosen;
        }
    }
    if let Some(number) = table.optional_number("verified_svids", log) {
        settings.verified_svids = number;
    }
    table.finish(log);
    settings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Finding, TrustDomainDocument};

    const DOCUMENT: &str = include_str!("../folder/tests/trust-domain.toml");

    fn with(lines: &str) -> Result<TokenServiceSettings, Vec<Finding>> {
        let document = format!("{DOCUMENT}\n[token_service]\n{lines}\n");
        let document = TrustDomainDocument::parse(Path::new("trust-domain.toml"), &document)?;
        Ok(*document.token_service())
    }

    #[test]
    fn drafts_are_to_be_asked_for_in_production() {
        let production = TokenServiceSettings::of(Environment::Production);
        assert!(!production.transaction_tokens && !production.id_jag && production.dpop);
        assert!(TokenServiceSettings::of(Environment::NonProduction).transaction_tokens);
    }

    #[test]
    fn production_demands_nonces_and_challenges_unless_it_says_otherwise() {
        type Demand = fn(&TokenServiceSettings) -> NonceDemand;
        let demands: [(&str, Demand); 2] = [
            ("dpop_nonce", |settings| settings.dpop_nonce),
            ("attestation_challenge", |settings| settings.attestation_challenge),
        ];
        for (key, demand) in demands {
            let of = |environment| demand(&TokenServiceSettings::of(environment));
            assert_eq!(of(Environment::Production), NonceDemand::Required);
            assert_eq!(of(Environment::NonProduction), NonceDemand::Optional);
            for (text, chosen) in
                [("optional", NonceDemand::Optional), ("required", NonceDemand::Required)]
            {
                let settings = with(&format!("{key} = \"{text}\"")).unwrap();
                assert_eq!(demand(&settings), chosen, "{key}");
                let other = demands.iter().find(|(other, _)| *other != key).unwrap().1;
                assert_eq!(other(&settings), other(&with("").unwrap()), "{key} is its own");
            }
            for wrong in ["\"Required\"", "\"\"", "true"] {
                assert!(with(&format!("{key} = {wrong}")).is_err(), "{key} = {wrong}");
            }
        }
    }

    #[test]
    fn each_switch_is_its_own_and_an_unknown_one_is_refused() {
        let all = with("").unwrap();
        assert!(!with("dpop = false").unwrap().dpop);
        assert_eq!(with("ciba = false").unwrap(), TokenServiceSettings { ciba: false, ..all });
        assert_eq!(with("verified_svids = 0").unwrap().verified_svids, 0);
        assert!(with("verified_svids = -1").is_err());
        assert!(with("id_jag = 1").is_err());
        assert!(with("dpopp = true").is_err());
    }
}
