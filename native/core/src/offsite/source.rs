//! Where backups are pulled from: a store that is spoken to here, or files that another program fetched.

use super::relay;
use super::store::{Head, List, Store};
use crate::catalog::{BackupFolder, PartName};
use crate::error::Result;
use crate::hash::Sha256Hash;
use crate::progress::Monitor;
use std::path::Path;

pub(super) enum Source<'a> {
    Store(&'a Store),
    /// It has the list, and of the files those that are not in the backup folder.
    Relay(&'a Path),
}

impl Source<'_> {
    /// For messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Store(store) => store.location.to_string(),
            Self::Relay(_) => "the file store".into(),
        }
    }

    pub(super) async fn first_list(&self) -> Result<List> {
        match self {
            Self::Store(store) => store.first_list().await,
            Self::Relay(relay) => relay::read_list(relay),
        }
    }

    pub(super) async fn list(&self) -> Result<List> {
        match self {
            Self::Store(store) => store.list().await,
            Self::Relay(relay) => relay::read_list(relay),
        }
    }

    pub(super) async fn head(&self, name: &str) -> Result<Option<Head>> {
        match self {
            Self::Store(store) => store.head(name).await,
            Self::Relay(relay) => relay::head(relay, name),
        }
    }

    /// Stages a file that looked so. Its hash is the answer; `None` when it was replaced meanwhile.
    pub(super) async fn receive(
        &self,
        file: &PartName,
        head: &Head,
        folder: &BackupFolder,
        monitor: &Monitor,
    ) -> Result<Option<Sha256Hash>> {
        match self {
            Self::Store(store) => {
                let (staged, path) = folder.stage(file)?;
                let to = (staged, path.as_path());
                super::download::receive(store, file.as_str(), head, to, monitor).await
            }
            Self::Relay(relay) => {
                let to = folder.staged(file)?;
                relay::receive(relay, file.as_str(), &to, monitor).map(Some)
            }
        }
    }
}
