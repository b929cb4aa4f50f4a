//! Which backup of the store is the newest that is here, and what is proven of it.

use super::super::{Known, is_of_the_future, known};
use super::{Newest, Pull, Pulled};
use crate::catalog::Entry;
use crate::error::Result;
use crate::part_reader::PartReader;
use crate::stream::{Encryption, seems};

impl Pull<'_> {
    /// The newest backup that is here as it is in the store. What was only made here is not of others.
    pub(super) fn newest(&self) -> Result<Option<Newest>> {
        let (catalog, _) = self.folder.catalog()?;
        let (entries, _) = catalog.entries();
        let Pulled {
            pulled, already, ..
        } = &self.pulled;
        let newest = entries.into_iter().find(|entry| {
            let is_of_store =
                pulled.iter().any(|new| new.name == entry.name) || already.contains(&entry.name);
            is_of_store
                && self.options.is_own(&entry.name)
                && !is_of_the_future(entry)
                && self.is_complete(entry)
        });
        Ok(newest.map(|entry| {
            let new = pulled.iter().find(|new| new.name == entry.name);
            Newest {
                timestamp: entry.timestamp,
                is_proven: new.map_or_else(
                    || self.has_hashes(&entry) && self.opens(&entry),
                    |new| new.is_proven,
                ),
                is_new: new.is_some(),
                name: entry.name,
            }
        }))
    }

    /// Whether the list has a hash of each file as it is stored: none came here then without fitting it.
    pub(super) fn has_hashes(&self, entry: &Entry) -> bool {
        entry.parts().all(|(part, stored)| {
            let encryption = seems(&self.path.join(stored.file.as_str()));
            encryption.is_ok_and(|encryption| {
                matches!(known(entry, part, stored, encryption), Known::Hash(_))
            })
        })
    }

    /// Whether the password, where there is one, opens each file as what it is in the list. What it does not
    /// open came without a proof.
    fn opens(&self, entry: &Entry) -> bool {
        let Some(password) = &self.options.password else {
            return true;
        };
        let quiet = self.monitor.quiet();
        entry.parts().all(|(part, stored)| {
            let is_z2 = seems(&self.path.join(stored.file.as_str()))
                .is_ok_and(|encryption| encryption == Encryption::Z2);
            let open = || PartReader::open(self.path, entry, part, stored, Some(password), &quiet);
            !is_z2 || open().is_ok()
        })
    }
}
