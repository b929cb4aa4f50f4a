//! The schema of a dump: all names in the dump have to be of one schema.

/// The schema that a dump should be of, or that it turns out to be of.
#[derive(Debug, Default)]
pub(in crate::database) struct Schema {
    name: Option<String>,
    is_the_sites: bool,
    is_seen: bool,
    /// The dump names this schema first.
    other: Option<String>,
}

impl Schema {
    pub(in crate::database) fn of_site(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            is_the_sites: true,
            ..Self::default()
        }
    }

    /// True if nothing in the dump is of the site: loading the dump would only empty the site.
    pub(super) fn is_missing(&self) -> bool {
        self.is_the_sites && !self.is_seen
    }

    /// Returns the schema of a dump that is of another site.
    pub(super) fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    /// Notes that the dump names a schema, and refuses another one than before.
    pub(super) fn see(&mut self, seen: &str) -> Result<(), String> {
        let is_first = !self.is_seen;
        self.is_seen = true;
        match &self.name {
            None => {
                self.name = Some(seen.to_owned());
                Ok(())
            }
            Some(name) if name == seen => Ok(()),
            Some(name) if self.is_the_sites => {
                self.other = is_first.then(|| seen.to_owned());
                Err(format!(
                    "the dump is of the schema \"{seen}\", the site's is \"{name}\""
                ))
            }
            Some(name) => Err(format!(
                "the dump is of the schema \"{name}\", and here of \"{seen}\""
            )),
        }
    }
}
