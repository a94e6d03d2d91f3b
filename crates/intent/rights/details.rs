//! RFC 9396 `authorization_details`: one comparator for each type (specs/oauth.md 8).
//!
//! A detail is never compared as JSON. Each entry of the child must be within one entry of the parent, whole: what one
//! entry permits is never put together from two. Absent: types of which nothing is known but their name.

use std::collections::BTreeSet;

use super::{Dimension, Widening, path};
use crate::grant::AuthorizationDetail;

/// The most details that a grant or a token may have.
pub const MAX_DETAILS: usize = 64;
const DIMENSION: Dimension = Dimension::AuthorizationDetails;

/// Whether one entry is within another of the same type.
type Comparator = fn(&AuthorizationDetail, &AuthorizationDetail) -> Result<(), Widening>;

/// The comparators of types that have one of their own, by `type`. Names that begin with `marque_` are Marque's, and
/// one that stands here with no comparator is never compared.
const OF_TYPES: &[(&str, Option<Comparator>)] = &[("marque_intent", None)];

/// The comparator of a type: its own, else the one of the common members, which are all that an entry may have
/// ([`AuthorizationDetail`] reads no other). `None` is a type that cannot be compared.
fn comparator(kind: &str) -> Option<Comparator> {
    match OF_TYPES.iter().find(|(name, _)| *name == kind) {
        Some((_, comparator)) => *comparator,
        None if kind.starts_with("marque_") => None,
        None => Some(common_members),
    }
}

/// Whether each of the child's entries is within one of the parent's.
pub(super) fn covers(
    parent: &[AuthorizationDetail],
    child: &[AuthorizationDetail],
) -> Result<(), Widening> {
    if child.len() > MAX_DETAILS {
        return Err(Widening::incomparable(DIMENSION));
    }
    // A resource server takes no details for no restriction.
    if child.is_empty() != parent.is_empty() {
        return Err(Widening::exceeds(DIMENSION));
    }
    // What is wider is said before what cannot be compared, so that the order of entries decides nothing.
    let mut why = Ok(());
    for entry in child {
        match within_one(parent, entry) {
            Err(widening) if widening == Widening::exceeds(DIMENSION) => return Err(widening),
            Err(widening) => why = Err(widening),
            Ok(()) => {}
        }
    }
    why
}

fn within_one(parent: &[AuthorizationDetail], entry: &AuthorizationDetail) -> Result<(), Widening> {
    let Some(compare) = comparator(&entry.kind) else {
        return Err(Widening::incomparable(DIMENSION));
    };
    let mut of_type = parent.iter().filter(|candidate| candidate.kind == entry.kind).peekable();
    if of_type.peek().is_none() {
        return Err(Widening::exceeds(DIMENSION));
    }
    let mut why = Widening::incomparable(DIMENSION);
    for candidate in of_type {
        match compare(candidate, entry) {
            Ok(()) => return Ok(()),
            Err(widening) if widening == Widening::exceeds(DIMENSION) => why = widening,
            Err(_) => {}
        }
    }
    Err(why)
}

/// The members of RFC 9396 section 2.2: lists are subsets and left out by both or by neither, because a list that is
/// left out may mean everything to one server and nothing to another; the identifier is equal or below by segments.
fn common_members(
    parent: &AuthorizationDetail,
    child: &AuthorizationDetail,
) -> Result<(), Widening> {
    let AuthorizationDetail { kind: _, locations, actions, datatypes, identifier, privileges } =
        parent;
    subset(locations, &child.locations)?;
    subset(actions, &child.actions)?;
    subset(datatypes, &child.datatypes)?;
    subset(privileges, &child.privileges)?;
    match (identifier, &child.identifier) {
        (None, None) => Ok(()),
        (Some(ours), Some(theirs)) => path::covers(ours, theirs, DIMENSION),
        (Some(_), None) => Err(Widening::exceeds(DIMENSION)),
        (None, Some(_)) => Err(Widening::incomparable(DIMENSION)),
    }
}

fn subset(parent: &BTreeSet<String>, child: &BTreeSet<String>) -> Result<(), Widening> {
    match (parent.is_empty(), child.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Widening::incomparable(DIMENSION)),
        (false, true) => Err(Widening::exceeds(DIMENSION)),
        (false, false) if child.is_subset(parent) => Ok(()),
        (false, false) => Err(Widening::exceeds(DIMENSION)),
    }
}
