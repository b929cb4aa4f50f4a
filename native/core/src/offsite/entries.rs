//! What an entry of a list that somebody else may have written can be.

use crate::catalog::{BackupName, Catalog, Entry, PartName};
use std::collections::HashMap;

/// Whose files there are in a list: of which backup a file of a name is, or would be when it were encrypted
/// or were not.
pub(super) struct Owners(HashMap<String, Owner>);

enum Owner {
    One(BackupName),
    Many,
}

impl Owners {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut owners = HashMap::new();
        for entry in catalog.entries().0 {
            for (_, part) in entry.parts() {
                owners
                    .entry(plain(&part.file))
                    .and_modify(|owner| {
                        if !matches!(owner, Owner::One(name) if *name == entry.name) {
                            *owner = Owner::Many;
                        }
                    })
                    .or_insert_with(|| Owner::One(entry.name.clone()));
            }
        }
        Self(owners)
    }

    /// Whether another backup has the file.
    fn is_of_other(&self, name: &BackupName, file: &PartName) -> bool {
        match self.0.get(&plain(file)) {
            None => false,
            Some(Owner::One(owner)) => owner != name,
            Some(Owner::Many) => true,
        }
    }
}

fn plain(file: &PartName) -> String {
    file.as_str().trim_end_matches(".enc").to_owned()
}

/// Why nothing is downloaded for an entry, by itself and by the lists of here and there.
pub(super) fn refusal(
    entry: &Entry,
    here: &Owners,
    there: &Owners,
    require_encrypted: bool,
) -> Option<String> {
    if entry.parts().next().is_none() {
        return Some("it has no files".into());
    }
    for (part, stored) in entry.parts() {
        let file = &stored.file;
        let is_own = *file == part.file_name(&entry.name, file.is_encrypted());
        let is_of_other =
            here.is_of_other(&entry.name, file) || there.is_of_other(&entry.name, file);
        if !is_own || is_of_other {
            return Some(format!("{file} is not the name of its {part}"));
        }
        if require_encrypted && !file.is_encrypted() {
            return Some(format!(
                "{file} is not encrypted, and backups of this site are"
            ));
        }
        if entry.is_ours() && stored.sha256.is_none() && !entry.is_kept(part) {
            return Some(format!("the list has no hash of {file}"));
        }
    }
    None
}

/// Whether a backup of that name is one of the site: `SITE-2` or `SITE-w3`, as Zotonic names them too.
pub(super) fn is_of_site(name: &str, site: &str) -> bool {
    let slot = name
        .strip_prefix(site)
        .and_then(|rest| rest.strip_prefix('-'))
        .map(|slot| slot.strip_prefix('w').unwrap_or(slot));
    slot.is_some_and(|slot| !slot.is_empty() && slot.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::{Value, json};

    fn catalog(list: Value) -> Catalog {
        serde_json::from_value(list).unwrap()
    }

    fn refused(list: Value) -> Option<String> {
        let list = catalog(list);
        let owners = Owners::of(&list);
        let none = Owners::of(&Catalog::default());
        let name = BackupName::try_from("site-3".to_owned()).unwrap();
        let entry = list.get(&name).unwrap();
        refusal(&entry, &none, &owners, false).or_else(|| refusal(&entry, &owners, &none, false))
    }

    #[test]
    fn a_backup_is_of_one_site() {
        for (name, is_of) in [
            ("my-site-3", true),
            ("my-site-w1", true),
            ("my-site-", false),
            ("my-site-w", false),
            ("my-site", false),
            ("my-site-3-1", false),
            ("my-3", false),
            ("other-3", false),
        ] {
            assert_eq!(is_of_site(name, "my-site"), is_of, "{name}");
        }
        assert!(!is_of_site("my-site-3", "my"));
    }

    #[test]
    fn a_file_is_of_one_backup() {
        let own =
            json!({"timestamp": 1, "database": "site-3.sql.gz", "database_hash": "0".repeat(64)});
        assert_eq!(refused(json!({"site-3": own})), None);
        for other in ["site-3.sql.gz", "site-3.sql.gz.enc"] {
            let other = json!({"timestamp": 1, "database": other});
            let said = refused(json!({"site-3": own, "site-4": other})).unwrap();
            assert!(said.contains("not the name"), "{said}");
        }
    }

    #[test]
    fn only_media_that_were_kept_may_have_no_hash() {
        let entry = |key: &str, file: &str| {
            json!({"site-3": {
                "timestamp": 2, "files_timestamp": 1, "writer": "zbackup", key: file
            }})
        };
        assert_eq!(refused(entry("files", "site-3.tar.gz")), None);
        let said = refused(entry("database", "site-3.sql.gz")).unwrap();
        assert!(said.contains("no hash"), "{said}");
    }
}
