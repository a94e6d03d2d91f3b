//! `marque playbook new`: a commented playbook to begin with.

use clap::Args;
use marque_intent::PlaybookId;
use marque_spiffe::TrustDomain;
use serde::Serialize;

use super::super::Session;
use super::super::failure::Failure;
use crate::templates::{ALL, Own, Template};

/// Write a commented playbook to standard output, from one of the shipped templates
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  marque playbook new --list
  marque playbook new flush-cache > trust-domains/prod.example.org/playbooks/flush-cache.toml
  marque playbook new rotate-web --template certificate-rotation --trust-domain-name stage.example.org")]
pub(super) struct NewArgs {
    /// The id of the new playbook, after which its file is named
    #[arg(value_name = "PLAYBOOK", required_unless_present = "list")]
    id: Option<PlaybookId>,
    /// List the templates instead
    #[arg(long)]
    list: bool,
    /// What to begin with
    #[arg(long, default_value = "minimal", value_name = "NAME")]
    template: String,
    /// The trust domain that it belongs to
    #[arg(long, default_value = "prod.example.org", value_name = "NAME")]
    trust_domain_name: TrustDomain,
    /// The tenant of the trust domain
    #[arg(long, default_value = "example")]
    tenant: String,
    /// Who answers for it, written `kind:name`
    #[arg(long, default_value = "group:platform-sre")]
    owner: String,
    /// The day on which its review is due
    #[arg(long, default_value = "2027-03-01", value_name = "DAY")]
    review_by: jiff::civil::Date,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: &'static str,
}

impl NewArgs {
    pub(super) fn run(self, session: &mut Session) -> Result<(), Failure> {
        let about = |template: &Template| Listed {
            name: template.name,
            about: template.text.lines().next().unwrap_or_default().trim_start_matches("# "),
        };
        let listed: Vec<_> = ALL.iter().map(about).collect();
        let Some(id) = self.id.filter(|_| !self.list) else {
            return session.output.show(&listed, |listed| {
                listed.iter().map(|one| format!("{:32}  {}\n", one.name, one.about)).collect()
            });
        };
        let template = Template::find(&self.template).ok_or_else(|| {
            Failure::usage(format!("there is no template `{}`", self.template))
                .next("see which there are with `marque playbook new --list`")
        })?;
        let review_by = self.review_by.to_string();
        let own = Own {
            id: id.as_str(),
            trust_domain: self.trust_domain_name.as_str(),
            tenant: &self.tenant,
            owner: &self.owner,
            review_by: &review_by,
        };
        session.output.show(&template.fill(&own), Clone::clone)
    }
}
