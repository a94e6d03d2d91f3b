//! Settings that make no verifier, and the metadata that the good ones make.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use marque_verify::{
    Binding, Freshness, KillCheck, Presentation, SettingsError, StatusCheck, VerifierSettings,
};
use serde_json::json;

use crate::support::{Documents, ISSUER, RESOURCE, Stage};

#[test]
fn settings_out_of_bounds_make_no_verifier() {
    let limit = SettingsError::Limit;
    type Change = fn(&mut VerifierSettings);
    let table: [(Change, SettingsError); 15] = [
        (|it| it.origin = "api.example.org".into(), SettingsError::Origin),
        (|it| it.origin = "https://".into(), SettingsError::Origin),
        (|it| it.origin = "https://api.example.org/".into(), SettingsError::Origin),
        (|it| it.scopes = vec!["a b".into()], SettingsError::Scope),
        (|it| it.scopes = vec!["\"".into()], SettingsError::Scope),
        (|it| it.detail_types = vec![String::new()], SettingsError::Scope),
        (|it| it.limits.leeway = Duration::from_secs(61), limit("leeway")),
        (|it| it.limits.token_life = Duration::ZERO, limit("token_life")),
        (|it| it.limits.keys.stale_after = Duration::from_secs(299), limit("keys")),
        (|it| it.limits.keys.stale_after = Duration::ZERO, limit("keys")),
        (|it| it.limits.status.stale_after = Duration::from_secs(14), limit("status")),
        (|it| it.limits.retry_after = Duration::ZERO, limit("retry_after")),
        (|it| it.limits.replays = 0, limit("replays")),
        (
            |it| {
                let (refresh_after, stale_after) = (Duration::from_secs(2), Duration::from_secs(1));
                it.kills = KillCheck::Required(Freshness { refresh_after, stale_after });
            },
            limit("kills"),
        ),
        (
            |it| (it.kills, it.status) = (KillCheck::required(), StatusCheck::Off),
            SettingsError::KillsWithoutStatus,
        ),
    ];
    for (change, error) in table {
        let mut settings =
            VerifierSettings::new(ISSUER.parse().unwrap(), RESOURCE.parse().unwrap());
        change(&mut settings);
        let made = settings.verifier(Arc::new(Documents::default()));
        assert_eq!(made.err(), Some(error));
    }
}

#[test]
fn oauth_10_the_metadata_says_who_the_server_is_and_has_no_empty_member() {
    let stage = Stage::new();
    assert_eq!(stage.verifier.metadata_path(), "/.well-known/oauth-protected-resource");
    let metadata = stage.verifier.metadata();
    assert_eq!(metadata["resource"], RESOURCE);
    assert_eq!(metadata["authorization_servers"], json!([ISSUER]));
    assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    assert_eq!(metadata["dpop_bound_access_tokens_required"], false);
    assert!(metadata.get("scopes_supported").is_none(), "{metadata}");
    let stage = Stage::with(|settings| {
        settings.resource = "https://api.example.org/v1".parse().unwrap();
        settings.binding = Binding::Dpop;
        settings.scopes = vec!["a".into(), "b".into()];
        settings.detail_types = vec!["file".into()];
    });
    assert_eq!(stage.verifier.metadata_path(), "/.well-known/oauth-protected-resource/v1");
    let metadata = stage.verifier.metadata();
    assert_eq!(metadata["scopes_supported"], json!(["a", "b"]));
    assert_eq!(metadata["authorization_details_types_supported"], json!(["file"]));
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
}

#[tokio::test]
async fn oauth_10_what_is_refused_for_its_binding_is_neither_in_the_metadata_nor_asked_for() {
    for (binding, dpop, certificates, schemes) in [
        (Binding::Optional, true, true, &["Bearer ", "DPoP "][..]),
        (Binding::Required, true, true, &["Bearer ", "DPoP "]),
        (Binding::Dpop, true, false, &["DPoP "]),
        (Binding::Certificate, false, true, &["Bearer "]),
    ] {
        let stage = Stage::with(|settings| settings.binding = binding);
        let metadata = stage.verifier.metadata();
        let has = |name: &str| metadata.get(name).is_some();
        assert_eq!(has("dpop_signing_alg_values_supported"), dpop, "{binding:?}");
        assert_eq!(has("tls_client_certificate_bound_access_tokens"), certificates, "{binding:?}");
        let uri = "/".parse().unwrap();
        let nothing = Presentation::new(&Method::GET, &uri, &HeaderMap::new(), None);
        let refused = stage.verifier.verify(&nothing, &[]).await.unwrap_err();
        let challenges = refused.challenges();
        assert_eq!(challenges.len(), schemes.len(), "{binding:?}: {challenges:?}");
        for (challenge, scheme) in challenges.iter().zip(schemes) {
            assert!(challenge.to_str().unwrap().starts_with(scheme), "{binding:?}: {challenge:?}");
        }
    }
}
