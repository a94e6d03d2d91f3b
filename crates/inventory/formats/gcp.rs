//! The JSON files of Google Cloud: keys of service accounts, logins, and configurations of federation.

use serde_json::Value;

use super::text;
use crate::{Found, Kind, Secret, Standing, looks_privileged};

/// A JSON file that is none of these says nothing, whatever it is.
pub(super) fn credentials(text: &str) -> Vec<Found> {
    serde_json::from_str::<Value>(text).map(|document| credential(&document)).unwrap_or_default()
}

fn credential(document: &Value) -> Vec<Found> {
    let (kind, standing, secret) = match text(document, "type") {
        Some("service_account") => {
            (Kind::GcpServiceAccountKey, Standing::Static, text(document, "private_key"))
        }
        Some("authorized_user") => {
            (Kind::GcpUser, Standing::Static, text(document, "refresh_token"))
        }
        Some("external_account" | "external_account_authorized_user") => {
            (Kind::GcpFederated, Standing::Federated, None)
        }
        Some("impersonated_service_account") => {
            let within = document.get("source_credentials").map(credential).unwrap_or_default();
            let url = text(document, "service_account_impersonation_url");
            let account =
                url.and_then(|url| url.rsplit('/').next()?.strip_suffix(":generateAccessToken"));
            let named = |mut found: Found| {
                found.principal = found.principal.or_else(|| account.map(ToOwned::to_owned));
                found
            };
            return within.into_iter().map(named).collect();
        }
        _ => return Vec::new(),
    };
    if standing == Standing::Static && secret.is_none() {
        return Vec::new();
    }
    let principal = text(document, "client_email").or_else(|| text(document, "account"));
    let project = text(document, "project_id")
        .or_else(|| text(document, "quota_project_id"))
        .or_else(|| principal.and_then(|account| account.split(['@', '.']).nth(1)));
    vec![Found {
        kind,
        name: text(document, "private_key_id").unwrap_or("credentials").chars().take(12).collect(),
        principal: principal.map(ToOwned::to_owned),
        reach: format!("gcp:{}", project.unwrap_or("unknown")),
        standing,
        privileged: principal.is_some_and(looks_privileged),
        secret: secret.map(Secret::new),
    }]
}
