//! What workloads get beside the own bundle: the present bundles of other trust domains, and revocation lists of the own
//! authorities, which are read with the folder.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use marque_authority::Trusted;
use marque_spiffe::{Bundle, Environment, RevocationList};
use marque_workload::BundleSet;

use crate::federation::FederatedBundles;

/// How long before it is out of date a revocation list is warned of.
const WARNING_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Bundles of others and lists of the own revoked certificates.
#[derive(Debug)]
pub(super) struct Foreign {
    bundles: Arc<FederatedBundles>,
    lists: Vec<RevocationList>,
}

impl Foreign {
    /// Follows the bundles, and has lists of those which an authority in the own bundle signed. Verifiers that have a list
    /// want one for each authority of a chain, so that one of somebody else would only make them refuse everything.
    pub(super) fn new(
        bundles: Arc<FederatedBundles>,
        mut lists: Vec<RevocationList>,
        own: &Bundle,
    ) -> Self {
        lists.retain(|list| {
            let signed = list.is_signed_by(own);
            if !signed {
                let (issuer, trust_domain) = (list.issuer(), own.trust_domain());
                tracing::warn!(
                    issuer,
                    %trust_domain,
                    "left out a revocation list that no authority of the trust domain signed"
                );
            }
            signed
        });
        Self { bundles, lists }
    }

    /// Nobody's.
    pub(super) fn none(environment: Environment) -> Self {
        Self { bundles: Arc::new(FederatedBundles::new(environment, [])), lists: Vec::new() }
    }

    /// The own bundle with what is here. A list goes with the authority that signed it.
    pub(super) fn with(&self, own: Trusted) -> BundleSet {
        let Trusted { bundle, untainted, alarms } = own;
        let lists = self.lists.iter().filter(|list| list.is_signed_by(&bundle));
        let crls: Vec<_> = lists.map(|list| Arc::clone(list.der())).collect();
        let others = Arc::clone(&self.bundles.subscribe().borrow());
        BundleSet::new(bundle, others.values().cloned())
            .with_crls(crls)
            .with_untainted(untainted, alarms)
    }

    /// The bundles of others.
    pub(super) fn bundles(&self) -> &FederatedBundles {
        &self.bundles
    }

    /// Lists that are out of date, or will be soon: then verifiers refuse everything. A new file is read by a reload.
    pub(super) fn outdated(&self, now: Timestamp) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter().filter(move |list| list.next_update() <= now + WARNING_AHEAD)
    }
}

#[cfg(test)]
mod tests {
    use marque_testkit::{START, ScratchTrustDomain};

    use super::*;

    fn trusted(own: &ScratchTrustDomain) -> Trusted {
        let bundle = own.bundle();
        Trusted { untainted: Arc::clone(&bundle), bundle, alarms: 0 }
    }

    fn others(bundles: impl IntoIterator<Item = Arc<Bundle>>) -> Arc<FederatedBundles> {
        Arc::new(FederatedBundles::new(Environment::NonProduction, bundles))
    }

    fn list(domain: &ScratchTrustDomain, next_update: Timestamp) -> RevocationList {
        let der = domain.root().revocation_list(&[&[7]], START, next_update);
        RevocationList::parse_file(&der).unwrap().remove(0)
    }

    #[test]
    fn a_list_that_no_own_authority_signed_is_left_out() {
        let (own, partner) =
            (ScratchTrustDomain::new("example.org"), ScratchTrustDomain::new("partner.org"));
        let namesake = ScratchTrustDomain::new("example.org");
        let end = START + WARNING_AHEAD * 2;
        let lists = [&partner, &own, &namesake].map(|domain| list(domain, end));
        let kept = Arc::clone(lists[1].der());
        let foreign = Foreign::new(others([partner.bundle()]), lists.into(), &own.bundle());
        let set = foreign.with(trusted(&own));
        assert_eq!(set.crls(), [kept]);
        assert_eq!(set.own(), &own.bundle());
        assert_eq!(set.federated().collect::<Vec<_>>(), [&partner.bundle()]);
    }

    #[test]
    fn a_list_is_warned_of_a_day_before_it_is_out_of_date_and_kept() {
        let own = ScratchTrustDomain::new("example.org");
        let end = START + WARNING_AHEAD * 2;
        let foreign = Foreign::new(others([]), vec![list(&own, end)], &own.bundle());
        let at = |now| foreign.outdated(now).count();
        let second = Duration::from_secs(1);
        assert_eq!(at(end - WARNING_AHEAD - second), 0);
        assert_eq!((at(end - WARNING_AHEAD), at(end + second)), (1, 1));
        assert_eq!(foreign.with(trusted(&own)).crls().len(), 1);
    }
}
