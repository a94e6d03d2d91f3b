//! What of its parent's rights a token gets: requested ∩ parent ∩ client ceiling ∩ target policy.
//!
//! Who asks for more than that intersection is refused, who asks for nothing gets all of it, and an empty intersection is
//! a refusal and no token. The parent is an approved grant or a token; one function compares them all ([`Rights`]).

use std::collections::BTreeSet;

use jiff::Timestamp;
use marque_intent::{
    AuthorizationDetail, Denial, DenialCode, Dimension, Grant, Rights, Scope,
    Wanted as WantedRights, Widening, looks_like_secret,
};

use super::{Refusal, room::has_room};
use crate::{Asked, OAuthErrorCode, ceilings::Ceilings};

/// From what rights somebody asks for some.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) parent: &'a Rights,
    pub(crate) ceilings: Ceilings<'a>,
    /// What a scope outside of the parent is refused with.
    pub(crate) exceeded: DenialCode,
}

/// What of a parent's rights is wanted and may be had, until the times are known.
#[derive(Debug)]
pub(crate) struct Granted<'a> {
    parent: &'a Rights,
    wanted: WantedRights,
    pub(crate) audiences: BTreeSet<String>,
}

impl<'a> Asking<'a> {
    /// Checks what was asked for by name, and fills in what was not.
    pub(crate) fn granted(&self) -> Result<Granted<'a>, Refusal> {
        let resources = self.resources();
        let audiences = self.audiences(resources.as_ref())?;
        let scopes = self.scopes(&audiences)?;
        let wanted = WantedRights {
            audiences: Some(audiences.clone()),
            scopes: Some(scopes),
            resources,
            ..self.asked.wanted()
        };
        self.may_have_details(&wanted)?;
        Ok(Granted { parent: self.parent, wanted, audiences })
    }

    /// Whether the details that were asked for are within the parent's. Whoever waits for an approver learns it at once.
    fn may_have_details(&self, wanted: &WantedRights) -> Result<(), Refusal> {
        if !self.asked.has_details() {
            return Ok(());
        }
        let known: BTreeSet<&str> = identifiers(&self.parent.authorization_details).collect();
        let asked = self.asked.authorization_details.as_deref().unwrap_or_default();
        if identifiers(asked).any(|name| !known.contains(name) && looks_like_secret(name)) {
            let detail = "an identifier looks like a secret";
            return Err(Refusal::details(Denial::new(DenialCode::InvalidRequest, detail)));
        }
        match self.parent.narrowed(wanted) {
            Ok(rights) => has_room(&rights),
            Err(widening) => Err(Refusal::details(widening.denial())),
        }
    }

    /// The resources that `resource` names, where they are no audiences; `None` where none was named.
    fn resources(&self) -> Option<BTreeSet<String>> {
        let named = |resource: &&String| !self.parent.audiences.contains(*resource);
        let resources: BTreeSet<String> =
            self.asked.resources.iter().filter(named).cloned().collect();
        (!resources.is_empty()).then_some(resources)
    }

    /// The audiences that were asked for, else all that the ceilings leave of the parent's.
    fn audiences(&self, resources: Option<&BTreeSet<String>>) -> Result<BTreeSet<String>, Refusal> {
        let may = |audience: &&String| self.ceilings.permit_audience(audience);
        let targets = |resource: &&String| self.parent.audiences.contains(*resource);
        let asked: BTreeSet<&String> = self
            .asked
            .audiences
            .iter()
            .chain(self.asked.resources.iter().filter(targets))
            .collect();
        let known = |audience: &&String| self.parent.audiences.contains(*audience);
        let strays = resources.is_some_and(|named| !named.is_subset(&self.parent.resources));
        if strays || !asked.iter().all(|audience| known(audience) && may(audience)) {
            return Err(Refusal::target("a target is outside of what may be had"));
        }
        let audiences: BTreeSet<String> = if asked.is_empty() {
            self.parent.audiences.iter().filter(may).cloned().collect()
        } else {
            asked.into_iter().cloned().collect()
        };
        if audiences.is_empty() {
            return Err(Refusal::target("no audience is left"));
        }
        Ok(audiences)
    }

    /// The scopes that were asked for, else all that ceilings and targets leave of the parent's.
    fn scopes(&self, audiences: &BTreeSet<String>) -> Result<BTreeSet<Scope>, Refusal> {
        let may = |scope: &&Scope| self.ceilings.permit_scope(scope, audiences);
        let scopes: BTreeSet<Scope> = match &self.asked.scopes {
            Some(asked) => {
                if !asked.iter().all(|scope| self.parent.scopes.contains(scope) && may(&scope)) {
                    return Err(Refusal::scope(self.exceeded));
                }
                asked.clone()
            }
            None => self.parent.scopes.iter().filter(may).cloned().collect(),
        };
        if scopes.is_empty() && !self.parent.scopes.is_empty() {
            return Err(Refusal::scope(self.exceeded));
        }
        Ok(scopes)
    }
}

fn identifiers(details: &[AuthorizationDetail]) -> impl Iterator<Item = &str> {
    details.iter().filter_map(|detail| detail.identifier.as_deref())
}

impl Granted<'_> {
    /// The rights, for a token of this time: handed on to another agent where `delegated`.
    pub(crate) fn rights(
        mut self,
        issued_at: Timestamp,
        expires_at: Timestamp,
        delegated: bool,
    ) -> Result<Rights, Refusal> {
        // A clock that stepped back a little is no wider right.
        self.wanted.not_before = Some(issued_at.max(self.parent.not_before));
        self.wanted.not_after = Some(expires_at);
        let rights = if delegated {
            self.parent.delegated(&self.wanted)
        } else {
            self.parent.narrowed(&self.wanted)
        };
        rights.map_err(Refusal::widening)
    }
}

/// The audiences in the order of the grant, so that a token names first what the playbook names first.
pub(super) fn ordered_audiences(rights: &Rights, grant: &Grant) -> Vec<String> {
    let first = |audience: &&String| rights.audiences.contains(*audience);
    grant.audiences.iter().filter(first).cloned().collect()
}

/// `scope`, in the order of the grant.
pub(super) fn ordered_scope(rights: &Rights, grant: &Grant) -> String {
    let first = |scope: &&Scope| rights.scopes.contains(*scope);
    grant.scopes.iter().filter(first).map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

impl Refusal {
    fn target(detail: &'static str) -> Self {
        Self {
            code: OAuthErrorCode::InvalidTarget,
            description: "the target is not what the grant is for",
            denial: Denial::new(DenialCode::AudienceNotAllowed, detail),
        }
    }

    fn scope(code: DenialCode) -> Self {
        Self {
            code: OAuthErrorCode::InvalidScope,
            description: "the scope is wider than the grant",
            denial: Denial::new(code, "a scope is outside of what may be had"),
        }
    }

    /// Details that are wider than the parent's, or that cannot be compared with them.
    const fn details(denial: Denial) -> Self {
        Self {
            code: OAuthErrorCode::InvalidAuthorizationDetails,
            description: "the details are not a part of what was granted",
            denial,
        }
    }

    /// More than the parent has in some dimension, or as much where less is due.
    pub(crate) fn widening(widening: Widening) -> Self {
        let (code, description) = match widening.dimension {
            Dimension::Audiences | Dimension::Resources => {
                (OAuthErrorCode::InvalidTarget, "the targets are not a part of the parent's")
            }
            Dimension::Scopes => {
                (OAuthErrorCode::InvalidScope, "the scope is not a part of the parent's")
            }
            Dimension::Depth => {
                (OAuthErrorCode::AccessDenied, "the token may not be handed on, or not any further")
            }
            _ => (
                OAuthErrorCode::InvalidAuthorizationDetails,
                "the rights are not a part of the parent's",
            ),
        };
        Self { code, description, denial: widening.denial() }
    }
}
