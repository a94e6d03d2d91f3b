//! `[[template]]` in the files of `entries/`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use super::{IdTemplate, MAX_TEMPLATE_IDENTITIES, Placeholder, Template, ValuePattern};
use crate::entry::{EntryId, EntrySource};
use crate::fields::{Fields, Log};
use crate::folder::content;
use crate::lifetime::Lifetime;

/// How long the id of a template may be: those of what it makes are longer.
const MAX_ID: usize = 80;
const DEFAULT_WINDOW: Duration = Duration::from_hours(24);
const SHORTEST_WINDOW: Duration = Duration::from_secs(10);
const LONGEST_WINDOW: Duration = Duration::from_hours(30 * 24);

/// Reads one template; what is wrong is in the log.
pub(crate) fn read(mut table: Fields<'_, '_>, file: &Path, log: &mut Log<'_>) -> Option<Template> {
    let line = table.line();
    let id: Option<EntryId> = table.text("id", log);
    let spiffe_id: Option<IdTemplate> = table.text("spiffe_id", log);
    let max_identities = max_identities(&mut table, log);
    let window = window(&mut table, log);
    let values = values(&mut table, spiffe_id.as_ref(), log);
    let prefix = spiffe_id.as_ref().and_then(|id| id.literal_prefix().ok());
    let content = content(table, prefix, log);
    let (id, content) = (id?, content?);
    if id.as_str().len() > MAX_ID {
        log.at(line, format!("the `id` of a template has at most {MAX_ID} characters"));
        return None;
    }
    if !content.dns_names.is_empty() {
        let why = "a template has no `dns_names`: all of its identities would have the same";
        log.at(line, why);
        return None;
    }
    let source = EntrySource::File { path: file.to_owned(), line };
    let shape = content.into_entry(id, source);
    let shape = shape.map_err(|error| log.at(line, error.to_string())).ok()?;
    Some(Template {
        id: spiffe_id?,
        values: values?,
        max_identities: max_identities?,
        window: window?,
        shape,
    })
}

fn max_identities(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<NonZeroU32> {
    let line = table.line();
    let found = table.optional_lined_number("max_identities", log);
    let Some(found) = found else {
        if !table.has("max_identities") {
            log.at(line, "`max_identities` in [template] is missing: say how many it may give");
        }
        return None;
    };
    let number = NonZeroU32::new(found.value).filter(|n| n.get() <= MAX_TEMPLATE_IDENTITIES);
    if number.is_none() {
        let what = format!("`max_identities` in [template] is 1 to {MAX_TEMPLATE_IDENTITIES}");
        log.at(found.line, what);
    }
    number
}

fn window(table: &mut Fields<'_, '_>, log: &mut Log<'_>) -> Option<Lifetime> {
    let Some(found) = table.optional_lined_text::<Lifetime>("window", log) else {
        return if table.has("window") { None } else { Lifetime::try_from(DEFAULT_WINDOW).ok() };
    };
    if (SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&found.value.as_duration()) {
        return Some(found.value);
    }
    log.at(found.line, "`window` in [template] is 10s to 30d");
    None
}

fn values(
    table: &mut Fields<'_, '_>,
    id: Option<&IdTemplate>,
    log: &mut Log<'_>,
) -> Option<BTreeMap<Placeholder, ValuePattern>> {
    let Some(values) = table.optional_table("values", log) else {
        return (!table.has("values")).then(BTreeMap::new);
    };
    let line = values.line();
    let mut read = BTreeMap::new();
    let mut is_whole = true;
    for (name, pattern) in values.all_texts::<ValuePattern>(log) {
        let placeholder = name.parse().ok();
        let used = |placeholder: &Placeholder| {
            id.is_none_or(|id| id.placeholders().any(|used| used == *placeholder))
        };
        match placeholder.filter(used) {
            Some(placeholder) => {
                read.insert(placeholder, pattern);
            }
            None => {
                is_whole = false;
                let name: String = name.chars().take(80).collect();
                log.at(line, format!("`{name}` in [values] is no placeholder of `spiffe_id`"));
            }
        }
    }
    is_whole.then_some(read)
}
