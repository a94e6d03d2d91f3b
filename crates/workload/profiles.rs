/// Which profiles of the Workload API an edge serves; one that it does not serve is `Unimplemented` there, before anybody
/// is attested (WA-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profiles {
    /// X.509-SVIDs and the bundles that verify them.
    pub x509: bool,
    /// JWT-SVIDs, the bundles that verify them, and validation.
    pub jwt: bool,
    /// WIT-SVIDs and the bundles that verify them.
    pub wit: bool,
}

impl Profiles {
    /// Every profile.
    pub const ALL: Self = Self { x509: true, jwt: true, wit: true };
}
