//! The keys of the signing authorities as operators see and change them.
//!
//! Absent on purpose: the rules of their lives, which are the authority's own.

use jiff::Timestamp;
use marque_authority::{AuthorityView, CertificateRequest, SignedAuthority};
use marque_intent::Reason;
use marque_keys::{KeyPurpose, SlotId};
use serde::Serialize;
use tonic::{Code, Request, Response, Status};

use super::super::proto::admin as proto;
use super::super::proto::admin::change_authority_request::Step;
use super::super::time::{duration, from_timestamp, timestamp};
use super::{AdminService, requests, upstream};
use crate::error;

/// A step in the life of a key, as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityChange {
    /// What.
    pub wish: AuthorityWish,
    /// Why; there is one for whatever may break something.
    pub reason: Option<Reason>,
}

/// What somebody wants done with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityWish {
    /// Make the next one of a purpose, and publish it.
    Prepare(KeyPurpose),
    /// Let it sign.
    Activate {
        /// The key.
        slot: SlotId,
        /// Whether it may be too new for those who fetch the bundle.
        at_once: bool,
    },
    /// Give it up.
    Taint(SlotId),
    /// Take it out of the bundle.
    Revoke(SlotId),
    /// Publish the key of the last request with the certificate that somebody else signed.
    Import(SignedAuthority),
}

/// A request for a certificate as an operator sees it, and in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateRequestView {
    /// The key that the certificate is for.
    pub key: String,
    /// The request (PKCS #10), PEM.
    pub csr_pem: String,
    /// How long the certificate should last, in seconds.
    pub lifetime_seconds: u64,
    /// How many other CA certificates it should permit below it.
    pub path_length: u32,
}

impl From<CertificateRequest> for CertificateRequestView {
    fn from(CertificateRequest { slot, pem, lifetime, path_length }: CertificateRequest) -> Self {
        Self {
            key: slot.to_string(),
            csr_pem: pem,
            lifetime_seconds: lifetime.as_secs(),
            path_length: path_length.into(),
        }
    }
}

/// A key as an operator sees it, and in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningKeyView {
    /// Its name.
    pub key: String,
    /// What it is for.
    pub purpose: String,
    /// `prepared`, `active`, `old`, `revoked` or `retired`; `followed` for one of the upstream.
    pub state: String,
    /// Whether it is believed to be in wrong hands.
    pub tainted: bool,
    /// What those who verify find it by.
    pub key_id: String,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// For a prepared key: from when on it may be activated.
    pub usable_from: Option<Timestamp>,
    /// Since when it signs or from when on it did.
    pub activated_at: Option<Timestamp>,
    /// Since when another key signs in its place.
    pub replaced_at: Option<Timestamp>,
    /// Since when it is tainted.
    pub tainted_at: Option<Timestamp>,
    /// Since when it is no longer published.
    pub left_at: Option<Timestamp>,
    /// When it ends.
    pub ends_at: Option<Timestamp>,
    /// What the clock does next with it; empty for nothing.
    pub next: String,
    /// When the clock does that.
    pub next_at: Option<Timestamp>,
    /// The upstream whose key this is; empty for an own one.
    pub upstream: String,
}

impl AdminService {
    pub(super) async fn authorities(
        &self,
        request: Request<proto::ListAuthoritiesRequest>,
    ) -> Result<Response<proto::ListAuthoritiesResponse>, Status> {
        self.operator("ListAuthorities", &request).await?;
        let proto::ListAuthoritiesRequest {} = request.into_inner();
        Ok(Response::new(proto::ListAuthoritiesResponse { keys: self.keys() }))
    }

    pub(super) async fn step_authority(
        &self,
        request: Request<proto::ChangeAuthorityRequest>,
    ) -> Result<Response<proto::ChangeAuthorityResponse>, Status> {
        let operator = self.operator("ChangeAuthority", &request).await?;
        let change = change(request.into_inner())?;
        let key = self.door.change_authority(change, operator).await.map_err(error::admin)?;
        Ok(Response::new(proto::ChangeAuthorityResponse { key, keys: self.keys() }))
    }

    /// The own keys, and those of the upstream.
    fn keys(&self) -> Vec<proto::SigningKey> {
        let own = self.door.authorities().into_iter().map(signing_key);
        own.chain(self.door.upstream().into_iter().flat_map(upstream::keys)).collect()
    }

    pub(super) async fn request_certificate(
        &self,
        request: Request<proto::RequestAuthorityCertificateRequest>,
    ) -> Result<Response<proto::RequestAuthorityCertificateResponse>, Status> {
        self.operator("RequestAuthorityCertificate", &request).await?;
        let proto::RequestAuthorityCertificateRequest {} = request.into_inner();
        let asked = self.door.request_certificate().await.map_err(error::admin)?;
        let CertificateRequest { slot, pem, lifetime, path_length } = asked;
        Ok(Response::new(proto::RequestAuthorityCertificateResponse {
            key: slot.to_string(),
            csr_pem: pem,
            lifetime: Some(duration(lifetime)),
            path_length: path_length.into(),
        }))
    }
}

/// Whoever takes away what others rely on, or what they may not know yet, says why.
fn change(message: proto::ChangeAuthorityRequest) -> Result<AuthorityChange, Status> {
    let proto::ChangeAuthorityRequest { reason, step } = message;
    let slot = |field, text: &str| {
        text.parse::<SlotId>().map_err(|error| error::malformed_field(field, &error))
    };
    let wish = match step.ok_or_else(|| error::missing_field("step"))? {
        Step::Prepare(purpose) => AuthorityWish::Prepare(key_purpose(&purpose)?),
        Step::Activate(key) => {
            AuthorityWish::Activate { slot: slot("activate", &key)?, at_once: false }
        }
        Step::ActivateNow(key) => {
            AuthorityWish::Activate { slot: slot("activate_now", &key)?, at_once: true }
        }
        Step::Taint(key) => AuthorityWish::Taint(slot("taint", &key)?),
        Step::Revoke(key) => AuthorityWish::Revoke(slot("revoke", &key)?),
        Step::Import(pem) => {
            AuthorityWish::Import(SignedAuthority::from_pem(pem.as_bytes()).map_err(|refused| {
                error::coded(Code::InvalidArgument, refused.to_string(), refused.code())
            })?)
        }
    };
    let may_go_without = matches!(
        wish,
        AuthorityWish::Prepare(_)
            | AuthorityWish::Import(_)
            | AuthorityWish::Activate { at_once: false, .. }
    );
    let reason =
        if reason.is_empty() && may_go_without { None } else { Some(requests::reason(&reason)?) };
    Ok(AuthorityChange { wish, reason })
}

fn key_purpose(text: &str) -> Result<KeyPurpose, Status> {
    let found = KeyPurpose::ALL.into_iter().find(|purpose| purpose.as_str() == text);
    found.ok_or_else(|| error::malformed_field("prepare", &UnknownPurpose))
}

/// The text names no purpose of a key.
#[derive(Debug, thiserror::Error)]
#[error("a key is for `x509-authority`, `jwt-svid`, `wit-svid` or `access-token`")]
struct UnknownPurpose;

fn signing_key(view: AuthorityView) -> proto::SigningKey {
    let AuthorityView {
        slot,
        state,
        key_id,
        created_at,
        ends_at,
        activated_at,
        replaced_at,
        tainted_at,
        left_at,
        usable_from,
        next,
    } = view;
    proto::SigningKey {
        key: slot.to_string(),
        purpose: slot.purpose().to_string(),
        state: state.to_string(),
        key_id,
        published_at: Some(timestamp(created_at)),
        usable_from: usable_from.map(timestamp),
        activated_at: activated_at.map(timestamp),
        replaced_at: replaced_at.map(timestamp),
        tainted_at: tainted_at.map(timestamp),
        left_at: left_at.map(timestamp),
        ends_at: ends_at.map(timestamp),
        next: next.map(|(step, _)| step.as_str().to_owned()).unwrap_or_default(),
        next_at: next.map(|(_, at)| timestamp(at)),
        upstream: String::new(),
    }
}

impl From<proto::SigningKey> for SigningKeyView {
    fn from(message: proto::SigningKey) -> Self {
        let proto::SigningKey {
            key,
            purpose,
            state,
            key_id,
            published_at,
            usable_from,
            activated_at,
            replaced_at,
            tainted_at,
            left_at,
            ends_at,
            next,
            next_at,
            upstream,
        } = message;
        let tainted_at = tainted_at.and_then(from_timestamp);
        Self {
            key,
            purpose,
            state,
            tainted: tainted_at.is_some(),
            key_id,
            published_at: published_at.and_then(from_timestamp),
            usable_from: usable_from.and_then(from_timestamp),
            activated_at: activated_at.and_then(from_timestamp),
            replaced_at: replaced_at.and_then(from_timestamp),
            tainted_at,
            left_at: left_at.and_then(from_timestamp),
            ends_at: ends_at.and_then(from_timestamp),
            next,
            next_at: next_at.and_then(from_timestamp),
            upstream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(step: Option<Step>, reason: &str) -> Result<AuthorityChange, String> {
        let message = proto::ChangeAuthorityRequest { reason: reason.to_owned(), step };
        change(message).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn whatever_may_break_something_says_why() {
        let key = || "jwt-svid-a-1".to_owned();
        for step in [Step::ActivateNow(key()), Step::Taint(key()), Step::Revoke(key())] {
            let refused = read(Some(step.clone()), "").unwrap_err();
            assert!(refused.contains("`reason` is missing"), "{refused}");
            assert!(read(Some(step), "the host was read").unwrap().reason.is_some());
        }
        assert_eq!(read(Some(Step::Activate(key())), "").unwrap().reason, None);
        assert!(read(Some(Step::Prepare("wit-svid".to_owned())), "").is_ok());
    }

    #[test]
    fn what_names_no_key_or_purpose_is_refused_with_its_field() {
        for (step, expected) in [
            (None, "`step` is missing"),
            (Some(Step::Prepare("tls".to_owned())), "`prepare` is malformed"),
            (Some(Step::Activate("jwt-svid".to_owned())), "`activate` is malformed"),
            (Some(Step::Taint("jwt-svid-c-1".to_owned())), "`taint` is malformed"),
            (Some(Step::Revoke(String::new())), "`revoke` is malformed"),
        ] {
            let refused = read(step, "a drill").unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
