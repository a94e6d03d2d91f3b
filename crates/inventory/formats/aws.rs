//! `~/.aws/credentials` and `~/.aws/config`.

use super::Section;
use crate::{Found, Kind, Secret, Standing, looks_privileged};

pub(super) fn credentials(sections: &[Section]) -> Vec<Found> {
    sections.iter().flat_map(|section| profile(section, &section.name)).collect()
}

/// A profile of `config` is called `profile NAME`; whatever is called otherwise is none, but `default`.
pub(super) fn config(sections: &[Section]) -> Vec<Found> {
    let profiles = sections.iter().filter_map(|section| {
        let name = section.name.strip_prefix("profile ").map(str::trim);
        Some((section, name.or_else(|| (section.name == "default").then_some("default"))?))
    });
    profiles.flat_map(|(section, name)| profile(section, name)).collect()
}

fn profile(section: &Section, name: &str) -> Vec<Found> {
    let role = section.get("role_arn");
    let account = role.and_then(account).or_else(|| section.get("sso_account_id"));
    let reach = format!("aws:{}", account.unwrap_or(name));
    let roles = [role, section.get("sso_role_name"), Some(name)];
    let privileged = roles.into_iter().flatten().any(looks_privileged);
    let found = |kind, standing, principal: Option<&str>, secret| Found {
        kind,
        name: name.to_owned(),
        principal: principal.map(ToOwned::to_owned),
        reach: reach.clone(),
        standing,
        privileged,
        secret,
    };
    let mut all = Vec::new();
    if let Some(secret) = section.get("aws_secret_access_key") {
        let (kind, standing) = match section.get("aws_session_token") {
            Some(_) => (Kind::AwsSession, Standing::ShortLived),
            None => (Kind::AwsAccessKey, Standing::Static),
        };
        let principal = section.get("aws_access_key_id").map(ending);
        all.push(found(kind, standing, principal.as_deref(), Some(Secret::new(secret))));
    }
    if let Some(role) = role {
        all.push(found(Kind::AwsRole, Standing::ShortLived, Some(role), None));
    }
    let elsewhere =
        ["sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];
    if elsewhere.iter().any(|key| section.get(key).is_some()) {
        let principal = section.get("sso_role_name").or(role);
        all.push(found(Kind::AwsFederated, Standing::Federated, principal, None));
    }
    all
}

/// The account of `arn:aws:iam::123456789012:role/…`.
fn account(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| !account.is_empty())
}

/// An access key's id is no secret; its end is enough to find it.
fn ending(id: &str) -> String {
    let kept = id.chars().count().saturating_sub(4);
    format!("…{}", id.chars().skip(kept).collect::<String>())
}
