//! What the list of the store and that of the folder say of an upload.

use super::super::is_same;
use super::super::store::{List, Written};
use super::{Push, is_newer, with_kept};
use crate::catalog::{BackupFolder, BackupName, Catalog, Entry, FILE_NAME};
use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// How often a list is read again that others write as well.
const MOST_CONFLICTS: u32 = 20;
/// How long a backup that is being made may keep us from noting what was uploaded.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// What became of an entry.
pub(super) enum Published {
    /// The entry of that name that was there before, and the list as it is now.
    Done {
        before: Option<Box<Entry>>,
        list: Catalog,
    },
    /// A newer one came meanwhile, made at that time.
    Superseded(i64),
}

impl Push<'_> {
    /// Puts an entry in the list of the store, and leaves the others as they are.
    pub(super) async fn publish(&mut self, entry: &Entry) -> Result<Published> {
        let mut uploaded = entry.clone();
        uploaded.is_filestore_uploaded = true;
        let began = Instant::now();
        let mut replaced = None;
        let mut conflicts = 0;
        while conflicts < MOST_CONFLICTS {
            let mut list = self.store.list().await?;
            self.keep_aside(&list).await?;
            let before = list.catalog.get(&uploaded.name);
            let entry = with_kept(uploaded.clone(), before.as_ref(), self.parts);
            if let Some(newer) = before
                .as_ref()
                .filter(|before| is_newer(list.written, before, &entry))
            {
                return Ok(Published::Superseded(newer.timestamp));
            }
            if replaced.is_some() && before.as_ref().is_some_and(|now| is_same(now, &entry)) {
                // It was written, though the answer did not come.
                return Ok(Published::Done {
                    before: replaced.flatten(),
                    list: list.catalog,
                });
            }
            replaced = Some(before.map(Box::new));
            list.catalog.set(entry.clone())?;
            let text = serde_json::to_vec(&list.catalog)
                .map_err(|error| Error::Internal(format!("the list of the store: {error}")))?;
            match self.store.write_list(&list, text).await? {
                Written::Done => {
                    return Ok(Published::Done {
                        before: replaced.flatten(),
                        list: list.catalog,
                    });
                }
                Written::Conflict => conflicts += 1,
                // The files are there already: not to be left without the list for one broken connection.
                Written::Unknown(_) if began.elapsed() < self.store.patience => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Written::Unknown(error) => {
                    let doing = "cannot write the list of backups in";
                    return Err(self.store.fail(doing, &error));
                }
            }
            // Not all at the same time again.
            let mut random = [0];
            let _ = getrandom::fill(&mut random);
            tokio::time::sleep(Duration::from_millis(20 + 2 * u64::from(random[0]))).await;
        }
        Err(Error::Offsite {
            kind: ErrorKind::Store,
            message: format!(
                "the list of backups in {} is written by others all the time: does more than one machine \
                 upload to the same prefix?",
                self.store.location
            ),
        })
    }

    /// What is not a list is not lost: it may tell somebody something.
    pub(super) async fn keep_aside(&mut self, list: &List) -> Result<()> {
        if let Some(damaged) = &list.damaged {
            let hash = hex::encode(Sha256::digest(damaged));
            let aside = format!("{FILE_NAME}.damaged-{}", &hash[..8]);
            self.store.write(&aside, damaged.clone()).await?;
            let warning = format!(
                "backup.json in {} was damaged; it is kept there as {aside} and a new list was begun",
                self.store.location
            );
            if !self.pushed.warnings.contains(&warning) {
                self.pushed.warnings.push(warning);
            }
        }
        Ok(())
    }

    /// Notes in the local list what is in the store.
    pub(super) async fn mark(&mut self) {
        if let Err(error) = self.try_to_mark().await {
            self.pushed.warnings.push(format!(
                "the backups are uploaded, but the local list does not say so: {error}; the next push notes it"
            ));
        }
    }

    async fn try_to_mark(&self) -> Result<()> {
        let catalog = Catalog::load(self.folder)?;
        let is_marked = |(name, _): &(BackupName, i64)| {
            let entry = catalog.get(name);
            entry.is_none_or(|entry| entry.is_filestore_uploaded)
        };
        if self.marks.iter().all(is_marked) {
            return Ok(());
        }
        let began = Instant::now();
        loop {
            match BackupFolder::open(self.folder) {
                Err(Error::InProgress { .. }) if began.elapsed() < LOCK_PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                folder => return folder?.set_uploaded(&self.marks),
            }
        }
    }
}
