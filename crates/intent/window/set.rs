//! The calendars of one trust domain's folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::calendar::{Calendar, CalendarName, MAX_CALENDAR_BYTES};
use crate::playbook::{PlaybookFinding, read_with, toml_files};

/// How many calendars a folder may hold.
const MAX_CALENDARS: usize = 64;

/// Every calendar of one trust domain, by name.
#[derive(Debug, Clone, Default)]
pub struct CalendarSet(BTreeMap<CalendarName, Arc<Calendar>>);

impl CalendarSet {
    /// Reads `<name>.toml` for every calendar in `dir`. A folder that is not there holds none.
    ///
    /// # Errors
    /// Everything that is wrong in the folder: a calendar that silently fell out would let through what it forbids.
    pub fn load(dir: &Path) -> Result<Self, Vec<PlaybookFinding>> {
        let (mut calendars, mut findings) = (BTreeMap::new(), Vec::new());
        for file in toml_files(dir)? {
            let calendar = match read_with(&file, MAX_CALENDAR_BYTES, Calendar::parse) {
                Ok(calendar) => calendar,
                Err(errors) => {
                    findings.extend(errors);
                    continue;
                }
            };
            let finding =
                |message: String| PlaybookFinding { file: file.clone(), line: None, message };
            if file.file_stem().is_none_or(|stem| stem != calendar.name().as_str()) {
                let name = calendar.name();
                findings
                    .push(finding(format!("the file is named after its calendar: `{name}.toml`")));
            }
            if calendars.len() >= MAX_CALENDARS {
                findings
                    .push(finding(format!("the folder has more than {MAX_CALENDARS} calendars")));
            }
            calendars.insert(calendar.name().clone(), Arc::new(calendar));
        }
        if findings.is_empty() { Ok(Self(calendars)) } else { Err(findings) }
    }

    /// One calendar.
    #[must_use]
    pub fn find(&self, name: &CalendarName) -> Option<&Arc<Calendar>> {
        self.0.get(name)
    }

    /// Every calendar, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Calendar>> {
        self.0.values()
    }
}

impl FromIterator<Calendar> for CalendarSet {
    fn from_iter<I: IntoIterator<Item = Calendar>>(calendars: I) -> Self {
        let named = |calendar: Calendar| (calendar.name().clone(), Arc::new(calendar));
        Self(calendars.into_iter().map(named).collect())
    }
}
