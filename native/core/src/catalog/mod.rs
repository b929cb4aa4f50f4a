//! The list of backups in a backup folder: `backup.json`, and how a new backup gets into it.

mod commit;
mod entry;
mod folder;
mod lock;
mod retention;
mod status;

pub use entry::{BackupName, Entry, Part, PartName, StoredPart, Verification};
pub use folder::BackupFolder;
pub use lock::Work;
pub use status::{Failure, LastRestore, Status};

use crate::durable::open_file;
use crate::error::{Error, Result};
use entry::EntryJson;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;

/// The name of the list in a backup folder.
pub const FILE_NAME: &str = "backup.json";

/// The longest list that is read, in bytes. It may come from elsewhere.
const LONGEST: u64 = 16 << 20;

/// What `backup.json` says. Entries that are not understood are kept as they are.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<(String, Box<RawValue>)>,
}

/// How many entries a list has, without keeping any; `None` when it is not a list.
pub(crate) fn count_entries(text: &[u8]) -> Option<usize> {
    struct Count;
    impl<'de> Visitor<'de> for Count {
        type Value = usize;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<usize, A::Error> {
            let mut count = 0;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok(count)
        }
    }
    let mut text = serde_json::Deserializer::from_slice(text);
    text.deserialize_map(Count).ok()
}

/// An entry that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The name that it has in the list.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Catalog {
    /// Reads the list of a backup folder, after a backup that was decided there has been finished. A
    /// folder without a list has no backups.
    ///
    /// # Errors
    /// `Io`; `Damaged` when the list as a whole is not JSON.
    pub fn load(folder: &Path) -> Result<Self> {
        folder::settle(folder)?;
        Self::read(folder)
    }

    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let mut text = Vec::new();
        let read = open_file(&path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text));
        if text.len() as u64 > LONGEST {
            return Err(Error::damaged(
                &path,
                "it is far too long to be a list of backups",
            ));
        }
        match read {
            Ok(_) => serde_json::from_slice(&text).map_err(|error| {
                Error::damaged(
                    &path,
                    format!(
                        "{error}. The backups beside it may be good: try to decrypt or unpack them"
                    ),
                )
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => {
                Ok(Self::default())
            }
            Err(error) => Err(Error::io("cannot read", &path)(error)),
        }
    }

    /// The entries, newest first, and those that cannot be used.
    #[must_use]
    pub fn entries(&self) -> (Vec<Entry>, Vec<Refused>) {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (name, _) in &self.entries {
            *counts.entry(name).or_default() += 1;
        }
        for (name, raw) in &self.entries {
            let parsed = match counts.get(name.as_str()) {
                Some(1) => parse(name, raw),
                _ => Err("it is in the list more than once".into()),
            };
            match parsed {
                Ok(entry) => good.push(entry),
                Err(reason) => bad.push(Refused {
                    name: name.clone(),
                    reason,
                }),
            }
        }
        good.sort_by(|a: &Entry, b| b.timestamp.cmp(&a.timestamp).then(a.name.cmp(&b.name)));
        (good, bad)
    }

    /// The entry of that name, when there is one that can be used.
    #[must_use]
    pub fn get(&self, name: &BackupName) -> Option<Entry> {
        let mut named = self.entries.iter().filter(|(key, _)| key == name.as_str());
        match (named.next(), named.next()) {
            (Some((key, raw)), None) => parse(key, raw).ok(),
            _ => None,
        }
    }

    /// Whether any entry, also one that cannot be used, says something of a file of this name.
    pub(crate) fn mentions(&self, file: &str) -> bool {
        let quoted = serde_json::Value::from(file).to_string();
        self.entries
            .iter()
            .any(|(_, raw)| raw.get().contains(&quoted))
            // Others may write the letters of a name otherwise.
            || self.files().contains(file)
    }

    /// Says of the backup `name` that was made at `timestamp` what its proof came to. Whether that
    /// backup is still there.
    ///
    /// # Errors
    /// `Internal`.
    pub fn note_verified(
        &mut self,
        name: &BackupName,
        timestamp: i64,
        verified: Verification,
    ) -> Result<bool> {
        match self.get(name) {
            Some(mut entry) if entry.timestamp == timestamp => {
                entry.verified = Some(verified);
                self.set(entry)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The files that backups have, those of entries that cannot be used too.
    fn files(&self) -> HashSet<String> {
        let texts = self.entries.iter().filter_map(|(_, raw)| {
            let fields: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(raw.get()).ok()?;
            Some(fields.into_values().filter_map(|value| match value {
                serde_json::Value::String(text) => Some(text),
                _ => None,
            }))
        });
        texts.flatten().collect()
    }

    /// Removes the entry of that name.
    fn remove(&mut self, name: &BackupName) {
        self.entries.retain(|(key, _)| key != name.as_str());
    }

    /// Puts an entry in the place of the one of its name.
    pub(crate) fn set(&mut self, entry: Entry) -> Result<()> {
        let name = entry.name.to_string();
        let json = EntryJson::from(entry);
        let raw = serde_json::value::to_raw_value(&json)
            .map_err(|error| Error::Internal(format!("an entry of the catalog: {error}")))?;
        // All of them: a name that is there twice says nothing.
        self.entries.retain(|(key, _)| *key != name);
        self.entries.push((name, raw));
        Ok(())
    }
}

fn parse(name: &str, raw: &RawValue) -> std::result::Result<Entry, String> {
    let json: EntryJson = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    json.into_entry(BackupName::try_from(name.to_owned())?)
}

impl Serialize for Catalog {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_map(self.entries.iter().map(|(name, raw)| (name, raw)))
    }
}

impl<'de> Deserialize<'de> for Catalog {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Catalog;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map from the names of backups")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Catalog, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Catalog { entries })
            }
        }
        from.deserialize_map(Entries)
    }
}
