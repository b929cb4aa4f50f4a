//! Uploads the backups of a folder that are not in the store yet.

mod clean;
mod lists;

use super::download::hash;
use super::journal::Journal;
use super::location::Offsite;
use super::store::Store;
use super::upload::{Arrived, Source, finish, forget, forget_unknown, is_file, send};
use super::{CLOCKS_DIFFER, Known, Problem, Runtime, is_of_the_future, is_same, known};
use crate::catalog::{BackupName, Catalog, Entry, Part, PartName, StoredPart};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Monitor, Phase};
use crate::stream::seems;
use crate::verify;
use lists::Published;
use serde::Serialize;
use std::cell::RefCell;
use std::path::Path;

/// What to upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// Only the backups of these names; all when none is named.
    pub names: Vec<String>,
    /// Only these parts of them; all when none is named.
    pub parts: Vec<Part>,
}

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// Where to.
    pub store: String,
    /// What is there now and was not before, newest first.
    pub uploaded: Vec<PushedBackup>,
    /// What was there already.
    pub already: Vec<BackupName>,
    /// Files that newer backups have replaced.
    pub removed: Vec<String>,
    /// Backups that are not there.
    pub problems: Vec<Problem>,
    /// What a person should look at.
    pub warnings: Vec<String>,
}

/// A backup that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushedBackup {
    /// Its name.
    pub name: BackupName,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
    /// The length of its files.
    pub bytes: u64,
}

/// Uploads the backups of a folder that are not in the store yet, newest first, and notes that in their
/// list.
///
/// # Errors
/// Any of [`Error`]. Backups that were complete in the store before stay so, and what was uploaded of
/// others is taken back, or taken up by the next push.
pub fn push(
    folder: &Path,
    offsite: &Offsite,
    options: &PushOptions,
    monitor: &Monitor,
) -> Result<Pushed> {
    monitor.check()?;
    let store = Store::new(offsite)?;
    let (entries, refused) = Catalog::load(folder)?.entries();
    for name in &options.names {
        if !entries.iter().any(|entry| entry.name.as_str() == name) {
            return Err(verify::unknown(name, &entries, Some(folder)));
        }
    }
    let is_wanted =
        |name: &str| options.names.is_empty() || options.names.iter().any(|n| n == name);
    let entries = entries
        .into_iter()
        .filter(|entry| is_wanted(entry.name.as_str()))
        .map(|entry| with_parts(entry, &options.parts))
        .filter(|entry| entry.parts().next().is_some())
        .collect();
    let problems = refused
        .into_iter()
        .filter(|_| options.names.is_empty())
        .map(|refused| Problem {
            name: refused.name,
            kind: ErrorKind::Damaged,
            reason: refused.reason,
        })
        .collect();
    let journal = RefCell::new(Journal::open(folder, &store.location.id())?);
    let runtime = Runtime::new()?;
    let mut push = Push {
        store: &store,
        folder,
        journal: &journal,
        parts: &options.parts,
        monitor,
        marks: Vec::new(),
        pushed: Pushed {
            store: store.location.to_string(),
            uploaded: Vec::new(),
            already: Vec::new(),
            removed: Vec::new(),
            problems,
            warnings: Vec::new(),
        },
    };
    let done = runtime.run(monitor, push.run(entries));
    let pushed = push.pushed;
    runtime.clean_up(async {
        let begun = journal.borrow().begun().to_vec();
        for begun in begun {
            // What cannot be taken back now stays in the journal for the next push.
            if forget(&store, &journal, &begun).await.is_err() {
                return;
            }
        }
        let _ = forget_unknown(&store, &journal).await;
    });
    runtime.end();
    done.map(|()| pushed)
}

fn with_parts(mut entry: Entry, parts: &[Part]) -> Entry {
    entry.database = entry
        .database
        .filter(|_| is_asked_for(parts, Part::Database));
    entry.config = entry.config.filter(|_| is_asked_for(parts, Part::Config));
    entry.files = entry.files.filter(|_| is_asked_for(parts, Part::Files));
    if entry.files.is_none() {
        entry.files_timestamp = None;
    }
    entry
}

/// A backup with the parts of it that were not asked for and that are in the store already.
fn with_kept(mut entry: Entry, there: Option<&Entry>, parts: &[Part]) -> Entry {
    let is_same =
        |there: &&Entry| there.timestamp == entry.timestamp && there.is_ours() == entry.is_ours();
    if let Some(there) = there.filter(is_same) {
        if !is_asked_for(parts, Part::Database) {
            entry.database.clone_from(&there.database);
        }
        if !is_asked_for(parts, Part::Config) {
            entry.config.clone_from(&there.config);
        }
        if !is_asked_for(parts, Part::Files) {
            entry.files.clone_from(&there.files);
            entry.files_timestamp = there.files_timestamp;
        }
    }
    entry
}

fn is_asked_for(parts: &[Part], part: Part) -> bool {
    parts.is_empty() || parts.contains(&part)
}

struct Push<'a> {
    store: &'a Store,
    folder: &'a Path,
    journal: &'a RefCell<Journal>,
    parts: &'a [Part],
    monitor: &'a Monitor,
    /// What is in the store, to be noted in the local list.
    marks: Vec<(BackupName, i64)>,
    pushed: Pushed,
}

impl Push<'_> {
    async fn run(&mut self, entries: Vec<Entry>) -> Result<()> {
        let list = self.store.first_list().await?;
        if let Err(error) = forget_unknown(self.store, self.journal).await {
            self.pushed.warnings.push(format!(
                "what a push that was killed had uploaded cannot be looked for: {error}"
            ));
        }
        self.keep_aside(&list).await?;
        let mut wanted = Vec::new();
        for entry in entries {
            let there = list.catalog.get(&entry.name);
            match there {
                Some(there) if is_newer(list.written, &there, &entry) => {
                    self.superseded(&entry, there.timestamp);
                }
                Some(there)
                    if is_same(&there, &with_kept(entry.clone(), Some(&there), self.parts)) =>
                {
                    match self.is_there(&entry).await? {
                        There::Yes => {
                            self.marks.push((entry.name.clone(), entry.timestamp));
                            self.pushed.already.push(entry.name);
                        }
                        There::Other(file) => self.differs(&entry, &file),
                        There::No => wanted.push(entry),
                    }
                }
                _ => wanted.push(entry),
            }
        }
        let total = wanted.iter().map(|entry| self.length(entry)).sum();
        self.monitor.begin(Phase::Upload, Some(total))?;
        for entry in wanted {
            self.newest_of(entry).await?;
        }
        self.mark().await;
        self.remove_left_behind().await;
        Ok(())
    }

    fn length(&self, entry: &Entry) -> u64 {
        let path = |part: &StoredPart| self.folder.join(part.file.as_str());
        entry
            .parts()
            .filter_map(|(_, part)| path(part).metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    fn problem(&mut self, entry: &Entry, kind: ErrorKind, reason: String) {
        self.pushed.problems.push(Problem {
            name: entry.name.to_string(),
            kind,
            reason,
        });
    }

    fn superseded(&mut self, entry: &Entry, timestamp: i64) {
        self.problem(entry, ErrorKind::Exists, superseded(timestamp));
    }

    /// The same backup, of which nobody can tell whose file is right: the one there is not replaced.
    fn differs(&mut self, entry: &Entry, file: &PartName) {
        let reason = format!(
            "{file} has another length than its copy in the store, and no hash tells which of them is right: \
             look at both (a disk that was full may have cut it), and remove the wrong one"
        );
        self.problem(entry, ErrorKind::Damaged, reason);
    }

    /// Whether all files of an entry are in the store as they are here.
    async fn is_there(&self, entry: &Entry) -> Result<There> {
        let mut there = There::Yes;
        for (part, stored) in entry.parts() {
            let Some(head) = self.store.head(stored.file.as_str()).await? else {
                there = There::No;
                continue;
            };
            let path = self.folder.join(stored.file.as_str());
            let here = path.metadata().ok().map(|metadata| metadata.len());
            // A file that is gone here is all the better there.
            let Some(size) = here.or(stored.size) else {
                continue;
            };
            let encryption = seems(&path);
            match encryption.map(|encryption| known(entry, part, stored, encryption)) {
                Ok(Known::Hash(hash)) if is_file(&head, size, hash) => {}
                Ok(Known::Hash(_)) => there = There::No,
                _ if head.size == size => {}
                _ if here.is_none() => there = There::No,
                _ => return Ok(There::Other(stored.file.clone())),
            }
        }
        Ok(there)
    }

    /// Uploads a backup; when it is replaced meanwhile, the one that replaced it.
    async fn newest_of(&mut self, mut entry: Entry) -> Result<()> {
        loop {
            let failed = match self.upload(&entry).await {
                Ok(()) => return Ok(()),
                // Of this backup, and not of the store.
                Err(error @ (Error::Damaged { .. } | Error::Usage(_) | Error::Io { .. }))
                    if is_of_backup(&error) =>
                {
                    error
                }
                Err(error) => return Err(error),
            };
            self.forget_all(&entry).await?;
            let now = Catalog::load(self.folder)?.get(&entry.name);
            match now.map(|entry| with_parts(entry, self.parts)) {
                Some(now) if !is_same(&now, &entry) => entry = now,
                _ => {
                    self.problem(&entry, failed.kind(), failed.to_string());
                    return Ok(());
                }
            }
        }
    }

    async fn forget_all(&self, entry: &Entry) -> Result<()> {
        let begun = self.journal.borrow().begun().to_vec();
        for begun in begun {
            if entry
                .parts()
                .any(|(_, part)| part.file.as_str() == begun.name)
            {
                forget(self.store, self.journal, &begun).await?;
            }
        }
        Ok(())
    }

    async fn upload(&mut self, entry: &Entry) -> Result<()> {
        let mut arrived = Vec::new();
        for (part, stored) in entry.parts() {
            let name = stored.file.as_str();
            let path = self.folder.join(name);
            let size = path
                .metadata()
                .map_err(Error::io("cannot read", &path))?
                .len();
            let sha256 = match known(entry, part, stored, seems(&path)?) {
                Known::Hash(hash) => hash,
                Known::Inside(_) | Known::Nothing => super::hash_of(&path, self.monitor)?,
            };
            let head = self.store.head(name).await?;
            if let Some(head) = head.filter(|head| is_file(head, size, sha256)) {
                // It had arrived, and then something happened before the list was written. So nobody knows
                // whether it was proven: what the file says of itself does not prove it.
                let there = hash(self.store, name, head.e_tag.as_ref(), size).await?;
                if there == sha256 {
                    self.monitor.add(size)?;
                    continue;
                }
            }
            let source = Source { path, name, sha256 };
            let file = self.send(&source).await?;
            arrived.push((source, file));
        }
        // The last look before files of that name are replaced.
        let list = self.store.list().await?;
        if let Some(there) = list.catalog.get(&entry.name)
            && is_newer(list.written, &there, entry)
        {
            self.forget_all(entry).await?;
            self.superseded(entry, there.timestamp);
            return Ok(());
        }
        for (source, file) in arrived {
            if !finish(self.store, self.journal, file).await? {
                let file = self.send(&source).await?;
                if !finish(self.store, self.journal, file).await? {
                    return Err(Error::Offsite {
                        kind: ErrorKind::Store,
                        message: format!(
                            "cannot upload {} to {}: the store loses what is sent to it",
                            source.name, self.store.location
                        ),
                    });
                }
            }
        }
        match self.publish(entry).await? {
            Published::Done { before, list } => {
                self.marks.push((entry.name.clone(), entry.timestamp));
                self.pushed.uploaded.push(PushedBackup {
                    name: entry.name.clone(),
                    timestamp: entry.timestamp,
                    bytes: self.length(entry),
                });
                self.remove_replaced(before, &list).await;
                Ok(())
            }
            Published::Superseded(timestamp) => {
                self.superseded(entry, timestamp);
                Ok(())
            }
        }
    }

    async fn send(&self, source: &Source<'_>) -> Result<Arrived> {
        let sent = send(self.store, self.journal, source, self.monitor).await?;
        sent.ok_or_else(|| {
            Error::damaged(
                &source.path,
                "its hash is not that of the backup: it was changed or replaced",
            )
        })
    }
}

/// Whether the files of a backup are in the store.
enum There {
    Yes,
    No,
    /// This one is another, and nothing tells which is right.
    Other(PartName),
}

/// Why a backup does not go to a store that has a newer one of its name.
pub(super) fn superseded(timestamp: i64) -> String {
    format!(
        "the store has a newer backup of this name, of {timestamp} (Unix time): another machine makes \
         backups of this site"
    )
}

/// Whether the backup of the store, whose list was written then, is the newer one. One from the future is not:
/// it would stay for ever. But when the store wrote it that late as well, it is our clock that is wrong.
pub(super) fn is_newer(written: Option<i64>, there: &Entry, here: &Entry) -> bool {
    let was_future = written.is_none_or(|at| there.timestamp > at.saturating_add(CLOCKS_DIFFER));
    there.timestamp > here.timestamp && !(is_of_the_future(there) && was_future)
}

/// Whether an error is about a file of the backup: the next backup may be good.
fn is_of_backup(error: &Error) -> bool {
    !matches!(error, Error::Io { doing, .. } if *doing == "cannot write")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    pub(super) const LIST: &str =
        r#"{"site-3": {"timestamp": 9, "writer": "zbackup", "database": "site-3.sql.gz"}}"#;

    pub(super) fn catalog(json: &str) -> Catalog {
        serde_json::from_str(json).unwrap()
    }

    pub(super) fn name(name: &str) -> BackupName {
        name.to_owned().try_into().unwrap()
    }

    #[test]
    fn parts_that_were_not_asked_for_stay_in_the_list() {
        let whole = r#"{"site-3": {"timestamp": 9, "writer": "z", "database": "site-3.sql.gz",
            "files": "site-3.tar.gz", "files_timestamp": 5}}"#;
        let there = catalog(whole).get(&name("site-3")).unwrap();
        let here = with_parts(there.clone(), &[Part::Database]);
        assert!(here.files.is_none());
        assert_eq!(
            with_kept(here.clone(), Some(&there), &[Part::Database]),
            there
        );
        assert_eq!(with_kept(here.clone(), Some(&there), &[]), here);
        let mut older = there.clone();
        older.timestamp = 8;
        assert_eq!(
            with_kept(here.clone(), Some(&older), &[Part::Database]),
            here
        );
    }

    #[test]
    fn a_clock_that_is_slow_does_not_make_the_newer_one_older() {
        let at = |timestamp| {
            let mut entry = catalog(LIST).get(&name("site-3")).unwrap();
            entry.timestamp = timestamp;
            entry
        };
        let now = jiff::Timestamp::now().as_second();
        assert!(is_newer(Some(now), &at(now), &at(now - 9)));
        assert!(!is_newer(Some(now), &at(now - 9), &at(now)));
        // Ten days ahead, to a store that writes today; and to one that was there ten days later too.
        let later = now + 10 * 86_400;
        assert!(!is_newer(Some(now), &at(later), &at(now)));
        assert!(!is_newer(None, &at(later), &at(now)));
        assert!(is_newer(Some(later), &at(later), &at(now)));
    }
}
