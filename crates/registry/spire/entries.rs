//! `spire-server entry show -output json`.

use super::read::{Members, SpireError, elements, json};

/// The most entries of one file.
pub const MAX_SPIRE_ENTRIES: usize = 1_000_000;

/// A registration entry as SPIRE has it; what is absent is empty, 0 or false.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpireEntry {
    /// Its id: a UUID, or what whoever made it chose.
    pub id: String,
    /// The identity, as a SPIFFE ID in text form.
    pub spiffe_id: String,
    /// Below which node or entry it is.
    pub parent_id: String,
    /// `kind:value`.
    pub selectors: Vec<String>,
    /// Seconds; 0 is the server's default.
    pub x509_svid_ttl: u64,
    /// Seconds; 0 is the server's default.
    pub jwt_svid_ttl: u64,
    /// Trust domains, by name.
    pub federates_with: Vec<String>,
    /// Whether its holder may administer the server.
    pub admin: bool,
    /// Whether its holder is a server below this one.
    pub downstream: bool,
    /// Seconds since 1970; 0 is never.
    pub expires_at: u64,
    /// DNS names of its X.509-SVIDs.
    pub dns_names: Vec<String>,
    /// Whether its SVIDs are put into a store by a plug-in.
    pub store_svid: bool,
    /// Tells several identities of one workload apart.
    pub hint: String,
    /// Whether each of its JWT-SVIDs is to be a new one, with a `jti`.
    pub jwt_svid_include_jti: bool,
    /// Members that are not known and say something.
    pub unknown: Vec<String>,
}

/// Reads entries: `{"entries": […]}`, a list, or one entry.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_spire_entries(bytes: &[u8]) -> Result<Vec<SpireEntry>, SpireError> {
    let document = json(bytes)?;
    let found = elements(&document, "entries", "spiffe_id", MAX_SPIRE_ENTRIES)?;
    let entries = found
        .into_iter()
        .enumerate()
        .map(|(index, value)| entry(Members::of(value, format!("entry {}", index + 1))?));
    entries.collect()
}

fn entry(mut members: Members<'_>) -> Result<SpireEntry, SpireError> {
    let id = members.text("id")?;
    let spiffe_id = members.spiffe_id("spiffe_id")?;
    let parent_id = members.spiffe_id("parent_id")?;
    let mut selectors = Vec::new();
    for value in members.list("selectors")? {
        let mut parts = Members::of(value, format!("a selector of `{spiffe_id}`"))?;
        selectors.push(format!("{}:{}", parts.text("type")?, parts.text("value")?));
    }
    let both = members.number("ttl")?;
    let or_both = |own: u64| if own == 0 { both } else { own };
    let x509_svid_ttl = or_both(members.number("x509_svid_ttl")?);
    let jwt_svid_ttl = or_both(members.number("jwt_svid_ttl")?);
    let federates_with = members.texts("federates_with")?;
    let federates_with =
        federates_with.iter().map(|name| super::read::trust_domain_name(name).to_owned()).collect();
    let admin = members.switch("admin")?;
    let downstream = members.switch("downstream")?;
    let expires_at = members.number("expires_at")?;
    let dns_names = members.texts("dns_names")?;
    let store_svid = members.switch("store_svid")?;
    let hint = members.text("hint")?;
    // Neither says anything about who is who.
    members.take("revision_number");
    members.take("created_at");
    let attributes = members.message("additional_attributes")?;
    let mut unknown = members.rest();
    let mut jwt_svid_include_jti = false;
    if let Some(mut attributes) = attributes {
        jwt_svid_include_jti = attributes.switch("jwt_svid_include_jti")?;
        // Nothing is made before somebody asks for it, here.
        attributes.switch("disable_x509_svid_prefetch")?;
        let rest = attributes.rest().into_iter();
        unknown.extend(rest.map(|name| format!("additional_attributes.{name}")));
    }
    Ok(SpireEntry {
        id,
        spiffe_id,
        parent_id,
        selectors,
        x509_svid_ttl,
        jwt_svid_ttl,
        federates_with,
        admin,
        downstream,
        expires_at,
        dns_names,
        store_svid,
        hint,
        jwt_svid_include_jti,
        unknown,
    })
}
