//! `resources` and `[[permits]]`: audience, scopes and details, all of it bounded.

use serde::Deserialize;

use crate::grant::Scope;
use crate::playbook::parameters::Parameters;
use crate::playbook::report::{MAX_ITEMS, Report, check_text};
use crate::playbook::template::{Place, Shape, Template, Variable};

/// Fields that nothing enforces yet.
pub(crate) const NOT_YET: &[&str] = &["permits.*.cloud"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermitSection {
    pub(crate) audience: String,
    pub(crate) scopes: Vec<String>,
    #[serde(default)]
    pub(crate) authorization_details: Vec<DetailSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetailSection {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) locations: Vec<String>,
    #[serde(default)]
    pub(crate) actions: Vec<String>,
    #[serde(default)]
    pub(crate) datatypes: Vec<String>,
    pub(crate) identifier: Option<String>,
    #[serde(default)]
    pub(crate) privileges: Vec<String>,
}

/// One object of `authorization_details` before its values are filled in.
#[derive(Debug, Clone)]
pub(crate) struct DetailTemplate {
    pub(crate) kind: String,
    pub(crate) locations: Vec<Template>,
    pub(crate) actions: Vec<String>,
    pub(crate) datatypes: Vec<String>,
    pub(crate) identifier: Option<Template>,
    pub(crate) privileges: Vec<String>,
}

pub(crate) fn templates(
    path: &str,
    texts: &[String],
    shape: Shape,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> Vec<Template> {
    report.require(texts.len() <= MAX_ITEMS, path, format!("has at most {MAX_ITEMS} entries"));
    let indexed = texts.iter().enumerate();
    indexed
        .filter_map(|(index, text)| {
            template(&format!("{path}.{index}"), text, shape, parameters, report)
        })
        .collect()
}

/// A template whose every parameter is declared, always there, one value, and nowhere free to choose a host.
fn template(
    path: &str,
    text: &str,
    shape: Shape,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> Option<Template> {
    let template = report.keep(path, Template::parse(text, shape))?;
    let parameters = parameters?;
    for (variable, place) in template.variables() {
        let Variable::Parameter(name) = variable else {
            let message = format!("`{variable}` would choose a host; only listed parameters may");
            report.require(shape == Shape::Text || place == Place::Rest, path, message);
            continue;
        };
        let Some(found) = parameters.shape(name) else {
            report.refuse(path, format!("`{variable}` is not declared in `parameters`"));
            continue;
        };
        report.require(found.scalar, path, format!("`{variable}` is an array or object"));
        report.require(
            found.required,
            path,
            format!("`{variable}` is optional; list `{name}` in `parameters.required`"),
        );
        let message = format!("`{variable}` would choose a host; give it `enum` or `const`");
        report.require(shape == Shape::Text || place == Place::Rest || found.closed, path, message);
    }
    Some(template)
}

pub(crate) type PermitParts = (Template, Vec<Scope>, Vec<DetailTemplate>);

pub(crate) fn read(
    permits: Vec<PermitSection>,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> Option<PermitParts> {
    let [permit]: [PermitSection; 1] = report.keep(
        "permits",
        permits.try_into().map_err(|permits: Vec<_>| {
            if permits.is_empty() {
                "a playbook permits something"
            } else {
                "more than one permit is not supported yet: one token would carry the scopes of all to each audience"
            }
        }),
    )?;
    let audience = template("permits.0.audience", &permit.audience, Shape::Uri, parameters, report);
    let scopes = scopes(&permit.scopes, report);
    let details = permit
        .authorization_details
        .into_iter()
        .enumerate()
        .filter_map(|(index, detail)| {
            self::detail(
                &format!("permits.0.authorization_details.{index}"),
                detail,
                parameters,
                report,
            )
        })
        .collect();
    Some((audience?, scopes, details))
}

fn scopes(texts: &[String], report: &mut Report<'_>) -> Vec<Scope> {
    const PATH: &str = "permits.0.scopes";
    report.require(!texts.is_empty(), PATH, "names at least one scope");
    report.require(texts.len() <= MAX_ITEMS, PATH, format!("has at most {MAX_ITEMS} scopes"));
    let mut scopes: Vec<Scope> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let path = format!("{PATH}.{index}");
        let Some(scope) = report.parse(&path, text) else { continue };
        if scopes.contains(&scope) {
            report.refuse(&path, format!("`{scope}` is listed twice"));
        } else {
            scopes.push(scope);
        }
    }
    scopes
}

fn detail(
    path: &str,
    detail: DetailSection,
    parameters: Option<&Parameters>,
    report: &mut Report<'_>,
) -> Option<DetailTemplate> {
    let DetailSection { kind, locations, actions, datatypes, identifier, privileges } = detail;
    check_text(report, &format!("{path}.type"), &kind);
    report.require(
        !kind.starts_with("marque_"),
        &format!("{path}.type"),
        "types that begin with `marque_` are Marque's own",
    );
    let limited = !(locations.is_empty()
        && actions.is_empty()
        && datatypes.is_empty()
        && identifier.is_none());
    report.require(limited, path, "says nothing but its type, and so permits all of it");
    for (name, values) in
        [("actions", &actions), ("datatypes", &datatypes), ("privileges", &privileges)]
    {
        let place = format!("{path}.{name}");
        report.require(
            values.len() <= MAX_ITEMS,
            &place,
            format!("has at most {MAX_ITEMS} entries"),
        );
        for value in values {
            check_text(report, &place, value);
            report.require(
                !value.contains(['*', '{', '}']),
                &place,
                format!("`{value}` is not one literal word"),
            );
        }
    }
    let locations =
        templates(&format!("{path}.locations"), &locations, Shape::Uri, parameters, report);
    let identifier = match identifier {
        Some(text) => {
            let place = format!("{path}.identifier");
            report.require(!text.contains('*'), &place, "has a wildcard");
            Some(template(&place, &text, Shape::Text, parameters, report)?)
        }
        None => None,
    };
    Some(DetailTemplate { kind, locations, actions, datatypes, identifier, privileges })
}
