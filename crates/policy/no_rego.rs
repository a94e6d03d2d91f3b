//! In place of policies in Rego, in a build without the feature `rego`: a folder that has some is refused. What somebody
//! wrote to refuse is never left out in silence.

use std::path::PathBuf;

use crate::decision::{PolicyError, SlowRules};
use crate::finding::PolicyFinding;
use crate::veto::Veto;

/// Nobody has any.
#[derive(Debug)]
pub(crate) enum RegoPolicies {}

impl RegoPolicies {
    /// `None`.
    ///
    /// # Errors
    /// Every file, if there is one.
    pub(crate) fn parse(files: &[(PathBuf, String)]) -> Result<Option<Self>, Vec<PolicyFinding>> {
        let message = "is a policy in Rego, and this binary was built without the feature `rego`: use one with it, or \
                       take the file out of the folder";
        let found = |(file, _): &(PathBuf, String)| PolicyFinding::new(file, None, message);
        if files.is_empty() { Ok(None) } else { Err(files.iter().map(found).collect()) }
    }
}

impl SlowRules for RegoPolicies {
    fn veto(&self, _: &serde_json::Value) -> Result<Option<Veto>, PolicyError> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_rego_is_refused_and_one_without_is_not() {
        let files = [("policy/own.rego".into(), "package marque".to_owned())];
        let found = RegoPolicies::parse(&files).unwrap_err();
        assert!(found[0].to_string().starts_with("policy/own.rego: is a policy in Rego, and"));
        assert!(RegoPolicies::parse(&[]).unwrap().is_none());
    }
}
