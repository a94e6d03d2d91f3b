//! The protected header of a compact JWS.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::json::{Limits, parse_object};
use crate::{Algorithm, JwsError, KeyId};

/// The most members of a header.
pub const MAX_HEADER_MEMBERS: usize = 32;

/// Members that carry or point to a key (a token does not choose its verifier), change how the token is read, or belong
/// to JWE.
const FORBIDDEN: [&str; 8] = ["crit", "b64", "jku", "jwk", "x5u", "x5c", "enc", "zip"];

/// A JWS header: its algorithm is in the list, its `kid` is a key id, and nothing in it points to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    alg: Algorithm,
    kid: Option<KeyId>,
    typ: Option<String>,
    other: BTreeSet<String>,
}

impl Header {
    /// `alg`.
    #[must_use]
    pub const fn alg(&self) -> Algorithm {
        self.alg
    }

    /// `kid`: untrusted until it was found in a key set.
    #[must_use]
    pub const fn kid(&self) -> Option<&KeyId> {
        self.kid.as_ref()
    }

    /// `typ` as it stands: comparing it, with or without `application/`, is the caller's.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The names of every member beside `alg`, `kid` and `typ`; their values were dropped.
    pub fn other_members(&self) -> impl ExactSizeIterator<Item = &str> {
        self.other.iter().map(String::as_str)
    }

    pub(super) fn parse(json: &[u8]) -> Result<Self, JwsError> {
        Self::of(members(json)?)
    }

    /// A header that carries the public key of its signature in `jwk` (RFC 7515 section 4.1.3); gives that member too.
    pub(super) fn parse_with_key(json: &[u8]) -> Result<(Self, Value), JwsError> {
        let mut members = members(json)?;
        let key = members.remove("jwk").ok_or(JwsError::NoKey)?;
        Ok((Self::of(members)?, key))
    }

    fn of(members: Map<String, Value>) -> Result<Self, JwsError> {
        if let Some(name) = FORBIDDEN.into_iter().find(|name| members.contains_key(*name)) {
            return Err(JwsError::ForbiddenMember(name));
        }
        let alg = text(&members, "alg")?
            .ok_or(JwsError::NoAlgorithm)?
            .parse()
            .map_err(JwsError::Algorithm)?;
        let kid = text(&members, "kid")?.map(str::parse).transpose().map_err(JwsError::KeyId)?;
        let typ = text(&members, "typ")?.map(str::to_owned);
        let other =
            members.into_iter().map(|(name, _value)| name).filter(|name| !is_own(name)).collect();
        Ok(Self { alg, kid, typ, other })
    }
}

fn members(json: &[u8]) -> Result<Map<String, Value>, JwsError> {
    let members = parse_object(json, &Limits { max_depth: 4, ..Limits::TOKEN })
        .map_err(JwsError::HeaderJson)?;
    if members.len() > MAX_HEADER_MEMBERS {
        return Err(JwsError::HeaderMembers);
    }
    Ok(members)
}

fn is_own(name: &str) -> bool {
    matches!(name, "alg" | "kid" | "typ")
}

fn text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, JwsError> {
    members.get(name).map(|value| value.as_str().ok_or(JwsError::MemberType(name))).transpose()
}
