//! All templates of a trust domain, found by what a caller has and by what they may give.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use marque_spiffe::{Selector, SelectorSet, SpiffeId};

use super::{Derived, Template, TemplateRefusal};
use crate::entry::EntryId;
use crate::error::RegistryError;

/// The templates of one trust domain, no two of which may give the same SPIFFE ID.
#[derive(Default)]
pub(crate) struct Templates {
    /// As they are written.
    all: Vec<Arc<Template>>,
    by_id: HashMap<EntryId, Arc<Template>>,
    /// Each under one of its fixed selectors.
    filed: HashMap<Selector, Vec<Arc<Template>>>,
    by_first_segment: HashMap<String, Vec<Arc<Template>>>,
}

/// What one template gives to a caller that has its fixed selectors, or why not.
#[derive(Debug, Clone)]
pub struct Derivation {
    /// The template.
    pub template: Arc<Template>,
    /// What comes of it.
    pub outcome: Result<Derived, TemplateRefusal>,
}

impl Templates {
    /// # Errors
    /// For the first two with one id, or that overlap.
    pub(crate) fn new(templates: Vec<Template>) -> Result<Self, RegistryError> {
        let mut set = Self::default();
        for template in templates {
            let template = Arc::new(template);
            let id = template.id().clone();
            if set.by_id.insert(id.clone(), Arc::clone(&template)).is_some() {
                return Err(RegistryError::DuplicateId(id));
            }
            let first = template.spiffe_id().first_segment().to_owned();
            let near = set.by_first_segment.entry(first).or_default();
            if let Some(other) = near.iter().find(|other| other.overlaps(&template)) {
                let first = other.id().clone();
                return Err(RegistryError::Overlapping { first, second: id });
            }
            near.push(Arc::clone(&template));
            // INVARIANT: a template has at least one fixed selector, so none is left out.
            if let Some(selector) = template.selectors().iter().next() {
                set.filed.entry(selector.clone()).or_default().push(Arc::clone(&template));
            }
            set.all.push(template);
        }
        Ok(set)
    }

    pub(crate) fn all(&self) -> &[Arc<Template>] {
        &self.all
    }

    pub(crate) fn get(&self, id: &EntryId) -> Option<&Arc<Template>> {
        self.by_id.get(id)
    }

    /// The template that may give this SPIFFE ID; there is never more than one.
    pub(crate) fn covering(&self, id: &SpiffeId) -> Option<&Arc<Template>> {
        let near = self.by_first_segment.get(id.segments().next()?)?;
        near.iter().find(|template| template.may_give(id))
    }

    /// What each template whose fixed selectors the caller has gives to it.
    pub(crate) fn derive(&self, caller: &SelectorSet) -> Vec<Derivation> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let applying = caller
            .iter()
            .filter_map(|selector| self.filed.get(selector))
            .flatten()
            .filter(|template| template.selectors().is_subset(caller));
        let derive = |template: &Arc<Template>| Derivation {
            template: Arc::clone(template),
            outcome: template.derive(caller),
        };
        applying.map(derive).collect()
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Selectors are not for logs.
        f.debug_struct("Templates").field("count", &self.all.len()).finish_non_exhaustive()
    }
}
