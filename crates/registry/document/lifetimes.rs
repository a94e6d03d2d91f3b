//! `[lifetimes]` and `[tokens]`: how long keys, SVIDs and access tokens live, and how such a length is read.

use std::time::Duration;

use crate::fields::{Fields, Lined, Log};
use crate::lifetime::Lifetime;

/// `[lifetimes]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifetimeSettings {
    pub(super) authority: Lifetime,
    pub(super) x509_svid: Lifetime,
    pub(super) jwt_svid: Lifetime,
    pub(super) wit_svid: Lifetime,
    pub(super) refresh_hint: Lifetime,
}

const MAX_AUTHORITY: Duration = Duration::from_hours(3_650 * 24);
const MAX_X509_SVID: Duration = Duration::from_hours(24);
const MAX_JWT_SVID: Duration = Duration::from_hours(1);
const MAX_REFRESH_HINT: Duration = Duration::from_hours(24);
pub(super) const MAX_ACCESS_TOKEN: Duration = Duration::from_hours(1);

/// An X.509-SVID at most this part of its authority's life is never cut short by a rotation that
/// starts when a sixth is left.
const SVIDS_PER_AUTHORITY: u32 = 6;

pub(super) fn read(mut table: Fields<'_, '_>, log: &mut Log<'_>) -> Option<LifetimeSettings> {
    let authority = lifetime(&mut table, "authority", MAX_AUTHORITY, log);
    let x509_svid = lifetime(&mut table, "x509_svid", MAX_X509_SVID, log);
    let jwt_svid = lifetime(&mut table, "jwt_svid", MAX_JWT_SVID, log);
    let wit_svid = optional_lifetime(&mut table, "wit_svid", MAX_X509_SVID, log);
    let refresh_hint = lifetime(&mut table, "refresh_hint", MAX_REFRESH_HINT, log);
    table.finish(log);
    let authority = authority?;
    let svids = [
        ("x509_svid", x509_svid.as_ref()),
        ("jwt_svid", jwt_svid.as_ref()),
        ("wit_svid", wit_svid.as_ref()),
    ];
    for (name, svid) in svids {
        if let Some(svid) = svid.filter(|svid| {
            svid.value.as_duration().saturating_mul(SVIDS_PER_AUTHORITY)
                > authority.value.as_duration()
        }) {
            let message = format!("`{name}` in [lifetimes] must be at most a sixth of `authority`");
            log.at(svid.line, message);
        }
    }
    let (x509_svid, jwt_svid, refresh_hint) = (x509_svid?, jwt_svid?, refresh_hint?);
    if let Some(most) = too_long_for_rotation(refresh_hint.value, authority.value) {
        log.at(refresh_hint.line, most);
    }
    Some(LifetimeSettings {
        authority: authority.value,
        x509_svid: x509_svid.value,
        jwt_svid: jwt_svid.value,
        wit_svid: wit_svid.unwrap_or(x509_svid).value,
        refresh_hint: refresh_hint.value,
    })
}

/// The next key is prepared when half of the authority's life is left and signs when a sixth is, or 30 and 7 days: between
/// the two it is published for three times the refresh hint, counted in whole seconds.
fn too_long_for_rotation(refresh_hint: Lifetime, authority: Lifetime) -> Option<String> {
    let day = Duration::from_hours(24);
    let authority = authority.as_duration();
    let published = (authority / 2).min(day * 30).saturating_sub((authority / 6).min(day * 7));
    let longest = published.saturating_sub(Duration::from_secs(1)).as_secs() / 3;
    if refresh_hint.as_duration() <= Duration::from_secs(longest) {
        return None;
    }
    Some(match longest {
        0 => "`authority` in [lifetimes] is too short: its next key would sign before three times `refresh_hint` after it \
              was published; give `authority` at least 12s"
            .to_owned(),
        longest => format!(
            "`refresh_hint` in [lifetimes] is too long for `authority`: the next key signs before three times as long after it \
             was published; give it at most {longest}s, or a longer `authority`"
        ),
    })
}

/// An access token outlives the key that signed it, which stays published for that long: not so long that keys pile up.
pub(super) fn tokens(
    mut table: Fields<'_, '_>,
    lifetimes: Option<LifetimeSettings>,
    log: &mut Log<'_>,
) -> Option<Lifetime> {
    let max_lifetime = lifetime(&mut table, "max_lifetime", MAX_ACCESS_TOKEN, log);
    table.finish(log);
    if let (Some(max_lifetime), Some(lifetimes)) = (&max_lifetime, lifetimes)
        && max_lifetime.value.as_duration().saturating_mul(SVIDS_PER_AUTHORITY)
            > lifetimes.authority.as_duration()
    {
        let message =
            "`max_lifetime` in [tokens] must be at most a sixth of `authority` in [lifetimes]";
        log.at(max_lifetime.line, message);
    }
    max_lifetime.map(|field| field.value)
}

fn lifetime(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    limit: Duration,
    log: &mut Log<'_>,
) -> Option<Lined<Lifetime>> {
    let field = table.lined_text(key, log)?;
    within(field, key, limit, log)
}

/// As [`lifetime`], for a field that may be absent.
pub(super) fn optional_lifetime(
    table: &mut Fields<'_, '_>,
    key: &'static str,
    limit: Duration,
    log: &mut Log<'_>,
) -> Option<Lined<Lifetime>> {
    let field = table.optional_lined_text(key, log)?;
    within(field, key, limit, log)
}

fn within(
    field: Lined<Lifetime>,
    key: &'static str,
    limit: Duration,
    log: &mut Log<'_>,
) -> Option<Lined<Lifetime>> {
    if field.value.as_duration() <= limit {
        return Some(field);
    }
    let limit = Lifetime::try_from(limit).map_or_else(|e| e.to_string(), |l| l.to_string());
    log.at(field.line, format!("`{key}` must be at most {limit}"));
    None
}
