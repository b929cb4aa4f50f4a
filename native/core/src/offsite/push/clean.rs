//! Removes from a store what newer backups have replaced.

use super::{Push, is_asked_for};
use crate::catalog::{BackupName, Catalog, Entry, Part, PartName};
use crate::error::Error;
use crate::offsite::store::Head;

/// A file that no list names may be one that another is just uploading: not when it is so old, in seconds.
const LEFT_BEHIND: i64 = 24 * 60 * 60;

impl Push<'_> {
    /// Removes the files of the backup that was replaced, those that no list names any more. Only what is
    /// still what was replaced: another machine may have put a file there that its list is about to name.
    pub(super) async fn remove_replaced(&mut self, before: Option<Box<Entry>>, list: &Catalog) {
        let Some(before) = before else { return };
        for (part, stored) in before.parts() {
            let name = stored.file.as_str();
            let is_its_own = names(part, &before.name).contains(&stored.file);
            if is_its_own && is_asked_for(self.parts, part) && !list.mentions(name) {
                let is_replaced = |head: &Head| {
                    let is_long = stored.size.is_none_or(|size| size == head.size);
                    is_long && stored.sha256.is_some() && head.sha256 == stored.sha256
                };
                if !self.remove_if(name, is_replaced).await {
                    return;
                }
            }
        }
    }

    /// Removes what a push could not remove any more that was killed after it wrote the list.
    pub(super) async fn remove_left_behind(&mut self) {
        let list = match self.store.list().await {
            Ok(list) => list,
            Err(error) => return self.not_cleaned(&error),
        };
        let Some(written) = list.written else { return };
        for file in left_behind(&list.catalog, &self.marks, self.parts) {
            let is_old = |head: &Head| head.written < written - LEFT_BEHIND;
            if !self.remove_if(file.as_str(), is_old).await {
                return;
            }
        }
    }

    /// Removes a file when it is the one that is meant. Whether that could be told and done.
    async fn remove_if(&mut self, name: &str, is_meant: impl Fn(&Head) -> bool) -> bool {
        let removed = match self.store.head(name).await {
            Ok(Some(head)) if is_meant(&head) => self.store.remove(name).await,
            Ok(_) => return true,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => self.pushed.removed.push(name.to_owned()),
            Err(error) => {
                self.not_cleaned(&error);
                return false;
            }
        }
        true
    }

    /// The backups are there all the same.
    fn not_cleaned(&mut self, error: &Error) {
        self.pushed.warnings.push(format!(
            "files that newer backups have replaced may still be in the store: {error}"
        ));
    }
}

/// The names that the file of a part can have.
fn names(part: Part, name: &BackupName) -> [PartName; 2] {
    [true, false].map(|is_encrypted| part.file_name(name, is_encrypted))
}

/// The files that backups of ours would have if they were encrypted, or were not, or had other parts, and that
/// no list mentions. Only of those that the list has: in another list other files may be the good ones.
fn left_behind(list: &Catalog, marks: &[(BackupName, i64)], parts: &[Part]) -> Vec<PartName> {
    let listed = marks.iter().filter(|(name, timestamp)| {
        list.get(name)
            .is_some_and(|entry| entry.timestamp == *timestamp)
    });
    let files = listed.flat_map(|(name, _)| {
        let parts = Part::ALL
            .into_iter()
            .filter(|part| is_asked_for(parts, *part));
        parts.flat_map(|part| names(part, name))
    });
    files.filter(|file| !list.mentions(file.as_str())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{LIST, catalog, name};
    use super::*;

    #[test]
    fn only_of_backups_that_the_list_has_is_something_left_behind() {
        let left = |list: &str, name_, at, parts: &[Part]| {
            let files = left_behind(&catalog(list), &[(name(name_), at)], parts);
            files.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let others = [
            "site-3.sql.gz.enc",
            "config-site-3.tar.gz.enc",
            "config-site-3.tar.gz",
            "site-3.tar.gz.enc",
            "site-3.tar.gz",
        ];
        assert_eq!(left(LIST, "site-3", 9, &[]), others);
        assert_eq!(
            left(LIST, "site-3", 9, &[Part::Database]),
            ["site-3.sql.gz.enc"]
        );
        // The list of another machine, an older one, and one that is none.
        assert_eq!(left(LIST, "site-2", 9, &[]), [""; 0]);
        assert_eq!(left(LIST, "site-3", 10, &[]), [""; 0]);
        assert_eq!(left("{}", "site-3", 9, &[]), [""; 0]);
        // What another entry has, however it is written.
        let other = r#"{"site-é": {"timestamp": 9, "database": "site-é.sql.gz"},
            "x": {"timestamp": 1, "files": "site-\u00e9.tar.gz"}}"#;
        let left = left(other, "site-é", 9, &[]);
        assert!(!left.contains(&"site-é.tar.gz".into()), "{left:?}");
    }
}
