//! Copies from a store that says what it likes: a small one that runs here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Scratch, noise, password, script, stdout};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbackup_core::catalog::{BackupName, Part};
use zbackup_core::error::{Error, ErrorKind};
use zbackup_core::offsite::{self, Offsite, PullOptions, Pulled};
use zbackup_core::progress::Monitor;
use zbackup_core::site::SiteName;
use zbackup_core::stream::{Effort, Sealer, StreamWriter};
use zbackup_core::verify;

const WORD: &str = "correct horse";
/// A night, and the one of a week later.
const THEN: i64 = 1_700_000_000;
const NOW: i64 = THEN + 7 * 86_400;

/// How a store answers for one file.
#[derive(Clone, Copy)]
enum Odd {
    /// It says that the file is so long.
    Length(u64),
    /// It may not be read.
    Forbidden,
    /// A byte now and then.
    Slow,
    /// As a server does that is no store.
    NoStore,
}

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;
type Odds = Arc<Mutex<BTreeMap<String, Odd>>>;

struct Store {
    files: Files,
    odds: Odds,
    port: u16,
    list: Mutex<Map<String, Value>>,
}

impl Store {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (files, odds) = (Files::default(), Odds::default());
        let theirs = (files.clone(), odds.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, odds) = theirs.clone();
                // Whoever asked may be gone.
                std::thread::spawn(move || answer(stream, &files, &odds).ok());
            }
        });
        Self {
            files,
            odds,
            port,
            list: Mutex::default(),
        }
    }

    /// With a timeout that is long enough for a machine that stands still for a while.
    fn offsite(&self) -> Offsite {
        self.offsite_with(30)
    }

    fn offsite_with(&self, timeout: u32) -> Offsite {
        serde_json::from_value(json!({
            "url": "s3://bucket/site", "endpoint": format!("http://127.0.0.1:{}", self.port),
            "access_key_id": "id", "secret_access_key": "secret", "timeout": timeout, "patience": 0
        }))
        .unwrap()
    }

    fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        let mut files = self.files.lock().unwrap();
        files.insert(name.into(), content.into());
    }

    fn is_odd(&self, name: &str, odd: Odd) {
        self.odds.lock().unwrap().insert(name.into(), odd);
    }

    fn list(&self, name: &str, entry: Value) {
        let mut list = self.list.lock().unwrap();
        list.insert(name.into(), entry);
        self.put("backup.json", serde_json::to_vec(&*list).unwrap());
    }

    /// A dump that is listed as of this module.
    fn dump(&self, name: &str, timestamp: i64, content: &[u8], end: &str) -> Value {
        let file = format!("{name}.sql.gz{end}");
        self.put(&file, content);
        let entry = json!({
            "timestamp": timestamp, "database": file, "database_size": content.len(),
            "database_hash": hex::encode(Sha256::digest(content)), "is_encrypted": !end.is_empty(),
            "writer": "zbackup"
        });
        self.list(name, entry.clone());
        entry
    }

    fn pull(&self, folder: &Scratch, options: &PullOptions) -> Result<Pulled, Error> {
        offsite::pull(folder.path(), &self.offsite(), options, &Monitor::silent())
    }

    #[track_caller]
    fn pulled(&self, folder: &Scratch, options: &PullOptions) -> Pulled {
        let pulled = self.pull(folder, options).unwrap();
        assert_eq!(pulled.problems, [], "{pulled:?}");
        pulled
    }

    /// Nothing came, and the folder is as it was. Why.
    #[track_caller]
    fn refused(&self, folder: &Scratch, options: &PullOptions) -> (ErrorKind, String) {
        let before = content(folder);
        let pulled = self.pull(folder, options).unwrap();
        assert_eq!(pulled.pulled, [], "{pulled:?}");
        assert_eq!(content(folder), before);
        let [problem] = &pulled.problems[..] else {
            panic!("{pulled:?}");
        };
        (problem.kind, problem.reason.clone())
    }
}

fn answer(mut stream: TcpStream, files: &Files, odds: &Odds) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut range = None;
    for line in lines {
        let line = line?.to_lowercase();
        if let Some(wanted) = line.strip_prefix("range: bytes=") {
            let (from, to) = wanted.split_once('-').unwrap();
            range = Some(from.parse::<usize>().unwrap()..to.parse::<usize>().unwrap() + 1);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ');
    let is_head = words.next() == Some("HEAD");
    let name = words.next().unwrap_or("").replace("/bucket/site/", "");
    let file = files.lock().unwrap().get(&name).cloned();
    let odd = odds.lock().unwrap().get(&name).copied();
    let all = file.as_ref().map_or(0, Vec::len);
    let error = |code: &str| format!("<Error><Code>{code}</Code></Error>").into_bytes();
    let (status, body) = match (odd, file) {
        (Some(Odd::Forbidden), _) => ("403 No", error("InvalidObjectState")),
        (Some(Odd::NoStore), _) => ("404 No", b"<html>not found</html>".to_vec()),
        (_, None) => ("404 No", error("NoSuchKey")),
        (_, Some(file)) => match range.clone() {
            Some(range) => ("206 Some", file[range].to_vec()),
            None => ("200 All", file),
        },
    };
    let length = match odd {
        Some(Odd::Length(length)) if is_head => length,
        _ => body.len() as u64,
    };
    let range = range.map_or_else(String::new, |range| {
        format!(
            "content-range: bytes {}-{}/{all}\r\n",
            range.start,
            range.end - 1
        )
    });
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\netag: \"x\"\r\n{range}\
         last-modified: Tue, 24 Nov 2026 12:00:00 GMT\r\nconnection: close\r\n\r\n"
    )?;
    if is_head {
        return Ok(());
    }
    if !matches!(odd, Some(Odd::Slow)) {
        return stream.write_all(&body);
    }
    for byte in body {
        stream.write_all(&[byte])?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// What is in the folder, but for what may change by looking.
fn content(folder: &Scratch) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && !path.ends_with(".zbackup.lock"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

/// A dump that is sealed as that of a backup.
fn sealed(sealer: &Sealer, name: &str, timestamp: i64, text: &[u8]) -> Vec<u8> {
    let scratch = Scratch::new();
    let path = scratch.join("sealed");
    let name = BackupName::try_from(name.to_owned()).unwrap();
    let context = Part::Database.context(&name, timestamp);
    let file = std::fs::File::create_new(&path).unwrap();
    let mut writer = StreamWriter::new(file, &path, Effort::Quick, Some(sealer), &context).unwrap();
    writer.write_all(text).unwrap();
    writer.finish().unwrap();
    std::fs::read(path).unwrap()
}

fn with_password() -> PullOptions {
    PullOptions {
        require_encrypted: true,
        password: Some(password(WORD)),
        ..PullOptions::default()
    }
}

#[test]
fn what_does_not_authenticate_replaces_nothing() {
    let sealer = Sealer::new(&password(WORD)).unwrap();
    let store = Store::new();
    let folder = Scratch::new();
    let options = with_password();
    let old = sealed(&sealer, "site-3", THEN, b"old");
    store.dump("site-3", THEN, &old, ".enc");
    assert!(store.pulled(&folder, &options).pulled[0].is_proven);

    let garbage = [b"Z2".to_vec(), noise(4000, 1)].concat();
    let mut changed = sealed(&sealer, "site-3", NOW, b"new");
    *changed.last_mut().unwrap() ^= 1;
    let of_other = sealed(&sealer, "site-4", NOW, b"new");
    // That the same file is here already makes it no newer.
    for wrong in [&garbage, &changed, &of_other, &old] {
        store.dump("site-3", NOW, wrong, ".enc");
        let (kind, reason) = store.refused(&folder, &options);
        assert_eq!(kind, ErrorKind::Damaged, "{reason}");
    }
    let other = Sealer::new(&password("another")).unwrap();
    let foreign = sealed(&other, "site-3", NOW, b"new");
    store.dump("site-3", NOW, &foreign, ".enc");
    let (kind, reason) = store.refused(&folder, &options);
    assert_eq!(kind, ErrorKind::WrongPassword);
    assert!(reason.contains("is kept"), "{reason}");

    // Where there is nothing to lose it comes, and is not said to be proven, later neither.
    let empty = Scratch::new();
    let pulled = store.pulled(&empty, &options);
    assert!(!pulled.pulled[0].is_proven && !pulled.newest.unwrap().is_proven);
    assert!(!store.pulled(&empty, &options).newest.unwrap().is_proven);

    let new = sealed(&sealer, "site-3", NOW + 1, b"new");
    store.dump("site-3", NOW + 1, &new, ".enc");
    assert!(store.pulled(&folder, &options).pulled[0].is_proven);
    assert!(store.pulled(&empty, &options).newest.unwrap().is_proven);
    assert_eq!(content(&folder)["site-3.sql.gz.enc"], new);
}

#[test]
fn a_backup_without_a_database_replaces_none_that_has_one() {
    let store = Store::new();
    let folder = Scratch::new();
    let options = PullOptions::default();
    store.dump("site-3", THEN, b"dump", "");
    store.pulled(&folder, &options);
    store.put("config-site-3.tar.gz", "config");
    store.list(
        "site-3",
        json!({"timestamp": NOW, "config_files": "config-site-3.tar.gz", "writer": "zbackup",
               "config_files_hash": hex::encode(Sha256::digest("config"))}),
    );
    let (_, reason) = store.refused(&folder, &options);
    assert!(reason.contains("no database"), "{reason}");
}

#[test]
fn another_site_in_the_list_is_not_this_one() {
    let store = Store::new();
    store.dump("site-3", THEN, b"own", "");
    store.dump("other-3", NOW, b"of another", "");
    store.dump("site-b-3", NOW, b"of another", "");
    store.list("other-4", json!("nonsense"));
    let options = |names: &[&str]| PullOptions {
        site: Some(SiteName::try_from("site".to_owned()).unwrap()),
        names: names.iter().map(ToString::to_string).collect(),
        ..PullOptions::default()
    };
    for names in [&[][..], &["recent"]] {
        let pulled = store.pulled(&Scratch::new(), &options(names));
        let [backup] = &pulled.pulled[..] else {
            panic!("{pulled:?}");
        };
        assert_eq!(backup.name.as_str(), "site-3");
        assert_eq!(pulled.newest.unwrap().name.as_str(), "site-3");
        assert!(pulled.warnings[0].contains("something else"));
    }
    // Who names it wants it. It is no newest of this site for that.
    let folder = Scratch::new();
    let pulled = store.pulled(&folder, &options(&["other-3"]));
    assert_eq!(pulled.pulled[0].name.as_str(), "other-3");
    assert_eq!(pulled.newest, None);
    let pulled = store.pulled(&folder, &options(&[]));
    assert_eq!(pulled.newest.unwrap().name.as_str(), "site-3");
}

#[test]
fn a_file_in_zotonics_format_is_no_backup_of_this_module() {
    let store = Store::new();
    let old = [b"Z1".to_vec(), noise(4000, 2)].concat();
    store.dump("site-3", NOW, &old, ".enc");
    let folder = Scratch::new();
    let (kind, reason) = store.refused(&folder, &PullOptions::default());
    assert_eq!(kind, ErrorKind::Damaged);
    assert!(reason.contains("old format"), "{reason}");
}

/// One that came before, or that somebody put into the folder.
#[test]
fn nor_is_it_proven_or_restored_as_one() {
    let folder = Scratch::new();
    let [word, text] = [("word", WORD), ("text", "old")]
        .map(|(name, content)| folder.file(name, content.as_bytes()));
    let sealed = folder.join("site-3.sql.gz.enc");
    let mut seal = script("seal_z1.py");
    stdout(seal.args([&word, &text, &sealed]).arg("1000"));
    let hash = hex::encode(Sha256::digest(std::fs::read(sealed).unwrap()));
    for is_ours in [true, false] {
        let mut entry = json!({"timestamp": NOW, "database": "site-3.sql.gz.enc",
                               "database_hash": hash, "is_encrypted": true});
        if is_ours {
            entry["writer"] = "zbackup".into();
        }
        let list = json!({ "site-3": entry }).to_string();
        folder.file("backup.json", list.as_bytes());
        let silent = Monitor::silent();
        let verified = verify::run(folder.path(), &[], Some(&password(WORD)), None, &silent);
        let verified = verified.unwrap();
        let said = verified[0].problem_in_words().unwrap_or_default();
        assert_eq!(said.contains("old format"), is_ours, "{said}");
    }
}

#[test]
fn what_nothing_proves_replaces_nothing_that_is_proven() {
    let store = Store::new();
    let folder = Scratch::new();
    let options = PullOptions::default();
    store.dump("site-3", THEN, b"good", "");
    store.pulled(&folder, &options);
    let unproven = |timestamp, content: &str| {
        store.put("site-3.sql.gz", content);
        let entry = json!({"timestamp": timestamp, "database": "site-3.sql.gz"});
        store.list("site-3", entry);
    };
    unproven(NOW, "anything");
    let (_, reason) = store.refused(&folder, &options);
    assert!(reason.contains("is kept"), "{reason}");
    // It does no harm where there is none, or one that is no better.
    let empty = Scratch::new();
    assert!(!store.pulled(&empty, &options).pulled[0].is_proven);
    unproven(NOW + 1, "another thing");
    assert!(!store.pulled(&empty, &options).pulled[0].is_proven);
}

#[test]
fn one_bad_backup_does_not_stop_the_others() {
    for (odd, kind) in [
        (Odd::Length(1 << 50), ErrorKind::NoSpace),
        (Odd::Forbidden, ErrorKind::Permission),
        (Odd::NoStore, ErrorKind::NotFound),
    ] {
        let store = Store::new();
        let mut entry = store.dump("site-3", NOW, b"bad", "");
        entry.as_object_mut().unwrap().remove("database_size");
        store.list("site-3", entry);
        store.is_odd("site-3.sql.gz", odd);
        store.dump("site-2", THEN, b"good", "");
        let folder = Scratch::new();
        let pulled = store.pull(&folder, &PullOptions::default()).unwrap();
        assert_eq!(pulled.problems[0].kind, kind, "{pulled:?}");
        assert_eq!(pulled.problems.len(), 1, "{pulled:?}");
        assert_eq!(pulled.pulled[0].name.as_str(), "site-2");
        assert_eq!(content(&folder)["site-2.sql.gz"], b"good");
    }
}

#[test]
fn impossible_lengths_are_no_reason_to_panic() {
    let store = Store::new();
    for name in ["site-2", "site-3"] {
        let mut entry = store.dump(name, THEN, b"dump", "");
        entry["database_size"] = u64::MAX.into();
        entry["files"] = format!("{name}.tar.gz").into();
        entry["files_hash"] = "0".repeat(64).into();
        entry["files_size"] = u64::MAX.into();
        store.put(&format!("{name}.tar.gz"), "files");
        store.list(name, entry);
        for end in ["sql.gz", "tar.gz"] {
            store.is_odd(&format!("{name}.{end}"), Odd::Length(u64::MAX));
        }
    }
    let listed = offsite::list(&store.offsite(), &Monitor::silent()).unwrap();
    assert_eq!(listed.backups.len(), 2);
    let folder = Scratch::new();
    let pulled = store.pull(&folder, &PullOptions::default()).unwrap();
    assert_eq!(pulled.problems.len(), 2, "{pulled:?}");
}

#[test]
fn what_never_ends_is_given_up() {
    let store = Store::new();
    store.dump("site-3", NOW, &noise(150, 3), "");
    store.is_odd("site-3.sql.gz", Odd::Slow);
    // All of it would take 30 s; the bytes come too fast for a silence.
    let (store, folder) = (store.offsite_with(5), Scratch::new());
    let options = PullOptions::default();
    let error = offsite::pull(folder.path(), &store, &options, &Monitor::silent()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("slowly"), "{error}");
}

#[test]
fn only_a_store_can_say_that_there_is_no_list() {
    let store = Store::new();
    let folder = Scratch::new();
    let pulled = store.pulled(&folder, &PullOptions::default());
    assert_eq!(pulled.newest, None);
    store.is_odd("backup.json", Odd::NoStore);
    let error = store.pull(&folder, &PullOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("are url and endpoint right?"));
}

#[test]
fn a_list_of_thousands_is_none() {
    let store = Store::new();
    let list = |count: i64| {
        let entries: Map<String, Value> = (0..count)
            .map(|number| (format!("site-{number}"), json!({"timestamp": number})))
            .collect();
        store.put("backup.json", serde_json::to_vec(&entries).unwrap());
        store.pull(&Scratch::new(), &PullOptions::default())
    };
    assert_eq!(list(1000).unwrap().problems.len(), 1000);
    let error = list(1001).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("far too long"), "{error}");
}
