//! Copies in an object store over a bad line, and pushes that are stopped.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::proxy::{BIG, Fault, Proxy, behind};
use common::store::Store;
use common::{PATIENCE, Running, SOON, Site, noise, tree, until, write};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The third part does not arrive: a push stays in the middle, for as long as it has patience.
const STUCK: Fault = Fault::Refuse {
    words: "partNumber=3",
    answer: "",
    times: u32::MAX,
};

/// Where it is noted what is being uploaded.
fn journal_path(site: &Site) -> Option<PathBuf> {
    let mut files = fs::read_dir(site.backups()).unwrap();
    files.find_map(|entry| {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap();
        name.contains("backup.json.upload").then_some(path)
    })
}

/// What is noted of the uploads under way.
fn journal(site: &Site) -> String {
    journal_path(site).map_or_else(String::new, |file| fs::read_to_string(file).unwrap())
}

#[test]
fn an_interrupt_takes_back_what_was_uploaded() {
    for signal in ["INT", "TERM"] {
        let (store, proxy, site) = behind("");
        site.backup();
        let kept = site.kept();
        proxy.set(Fault::Slow(Duration::from_millis(100)));
        let running = Running::start(&mut site.zbackup("push"));
        until("a part is on its way", || {
            proxy
                .requests()
                .iter()
                .any(|request| request.contains("partNumber"))
        });
        std::thread::sleep(Duration::from_millis(300));
        running.signal(signal);
        proxy.set(Fault::None);
        running.wait(SOON * 3).expect(1, &["cancelled"]);
        assert_eq!(store.uploads(), [""; 0]);
        assert!(store.names().is_empty());
        kept.check();
    }
}

#[test]
fn a_push_goes_on_where_a_killed_one_stopped() {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(STUCK);
    let running = Running::start(&mut site.zbackup("push"));
    let of_big = |line: &&str| line.contains("\"number\":1");
    until("a part has arrived", || {
        journal(&site).lines().any(|line| of_big(&line))
    });
    running.signal("KILL");
    running.wait(SOON);
    assert!(!store.uploads().is_empty());
    proxy.set(Fault::None);
    proxy.requests();
    site.run("push").good();
    let parts = proxy
        .requests()
        .iter()
        .filter(|request| request.contains("partNumber"))
        .count();
    assert!(parts < 3, "{parts} parts were sent again");
    assert_eq!(store.uploads(), [""; 0]);
    store.is_copy_of(&site);
}

#[test]
fn what_a_killed_push_left_of_an_older_backup_is_taken_back() {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(STUCK);
    let running = Running::start(&mut site.zbackup("push"));
    until("it has begun", || !store.uploads().is_empty());
    running.signal("KILL");
    running.wait(SOON);
    proxy.set(Fault::None);
    std::thread::sleep(Duration::from_millis(1100));
    write(&site.path("media/big"), noise(BIG, 4));
    site.backup();
    site.run("push").good();
    assert_eq!(store.uploads(), [""; 0]);
    store.is_copy_of(&site);
}

/// A push was killed before it heard what the store calls its upload.
fn with_an_upload_that_nobody_knows() -> (Store, Site) {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(Fault::LoseAfter {
        words: "?uploads",
        is_lost: false,
    });
    let running = Running::start(&mut site.zbackup("push"));
    until("it has begun", || !store.uploads().is_empty());
    running.signal("KILL");
    running.wait(SOON);
    proxy.set(Fault::None);
    (store, site)
}

#[test]
fn an_upload_whose_name_nobody_heard_is_taken_back() {
    let (store, site) = with_an_upload_that_nobody_knows();
    site.run("push").good();
    assert_eq!(store.uploads(), [""; 0]);
    store.is_copy_of(&site);
}

#[test]
fn what_another_machine_is_just_uploading_goes_on() {
    let (store, site) = with_an_upload_that_nobody_knows();
    // As if that had been hours ago; and now another one is at it.
    let path = journal_path(&site).unwrap();
    let now = common::now();
    let said = journal(&site);
    let (line, _) = said.split_once("\"at\":").unwrap();
    site.run("push").good();
    assert_eq!(store.uploads(), [""; 0]);
    fs::write(&path, format!("{line}\"at\":{}}}}}\n", now - 7200)).unwrap();
    let (_, file) = line.split_once("\"name\":\"").unwrap();
    store.begin(file.split_once('"').unwrap().0);
    site.run("push").good();
    assert_eq!(store.uploads().len(), 1);
    assert_eq!(journal_path(&site), None, "it was looked for");
}

#[test]
fn a_way_that_cuts_delays_and_fails_for_a_while_is_no_way_to_fail() {
    let answer = |status: &str, code: &str| Fault::Answer {
        status: status.into(),
        body: format!("<Error><Code>{code}</Code><Message>later</Message></Error>"),
        times: 6,
    };
    for fault in [
        Fault::Cut {
            after: 3 << 20,
            times: 5,
        },
        Fault::Cut {
            after: 100,
            times: 3,
        },
        Fault::CutDown {
            after: 10,
            times: 4,
        },
        Fault::Slow(Duration::from_millis(2)),
        answer("503 Slow Down", "SlowDown"),
        answer("500 Internal Server Error", "InternalError"),
        answer("429 Too Many Requests", "TooManyRequests"),
    ] {
        let (store, proxy, site) = behind("");
        site.backup();
        proxy.set(fault.clone());
        let ran = Running::start(&mut site.zbackup("push")).wait(PATIENCE);
        assert_eq!(ran.status.code(), Some(0), "{fault:?}: {ran:#?}");
        if !matches!(fault, Fault::Slow(_)) {
            assert_ne!(proxy.fault(), fault, "it did not happen");
        }
        store.is_copy_of(&site);
        assert_eq!(store.uploads(), [""; 0]);
    }
}

#[test]
fn a_download_goes_on_after_a_cut() {
    let (store, proxy, site) = behind("");
    site.backup();
    site.run("push").good();
    for fault in [
        Fault::CutDown {
            after: 3 << 20,
            times: 4,
        },
        Fault::CutDown {
            after: 10,
            times: 4,
        },
        Fault::Slow(Duration::from_millis(1)),
    ] {
        let mut other = store.elsewhere();
        store.give(&mut other, &proxy.endpoint());
        proxy.set(fault);
        other.run("pull").good();
        common::assert_same(&tree(&other.backups()), &tree(&site.backups()));
    }
}

#[test]
fn what_changes_on_the_way_up_is_sent_again() {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(Fault::ChangeUp { times: 3 });
    site.run("push").good();
    assert_eq!(proxy.fault(), Fault::ChangeUp { times: 0 });
    store.is_copy_of(&site);
}

#[test]
fn what_changes_all_the_time_on_the_way_up_is_not_listed() {
    let (store, proxy, site) = behind(", patience = 2");
    let name = site.backup();
    proxy.set(Fault::ChangeUp { times: u32::MAX });
    let ran = Running::start(&mut site.zbackup("push")).wait(PATIENCE);
    assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
    assert!(!store.names().contains("backup.json"));
    assert_eq!(store.uploads(), [""; 0]);
    assert_eq!(site.catalog()[&name]["is_filestore_uploaded"], false);
}

#[test]
fn what_changes_on_the_way_down_is_refused_and_not_kept() {
    let (store, proxy, site) = behind("");
    site.backup();
    site.run("push").good();
    let mut other = store.elsewhere();
    store.give(&mut other, &proxy.endpoint());
    proxy.set(Fault::ChangeDown { times: 1 });
    other.run("pull").expect(4, &["was changed"]);
    assert!(
        tree(&other.backups()).is_empty(),
        "{:?}",
        tree(&other.backups()).keys()
    );
    other.run("pull").good();
}

#[test]
fn a_list_is_written_though_the_line_breaks_in_the_middle_of_it() {
    let is_lost = Fault::LoseAnswer {
        words: "if-match: ",
        times: 1,
        is_due: false,
    };
    let is_cut = Fault::Refuse {
        words: "if-match: ",
        answer: "",
        times: 2,
    };
    for fault in [is_lost, is_cut] {
        let (store, proxy, mut site) = behind("");
        site.backup();
        site.run("push").good();
        // The files of the next one have other names: those of this one must go.
        site.encrypt(true);
        std::thread::sleep(Duration::from_millis(1100));
        site.backup();
        proxy.set(fault);
        let ran = Running::start(&mut site.zbackup("push")).wait(PATIENCE);
        assert_eq!(ran.status.code(), Some(0), "{ran:#?}");
        let happened = matches!(
            proxy.fault(),
            Fault::LoseAnswer { times: 0, .. } | Fault::Refuse { times: 0, .. }
        );
        assert!(happened);
        store.is_copy_of(&site);
    }
}

#[test]
fn an_upload_whose_beginning_is_told_twice_is_there_once() {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(Fault::LoseAnswer {
        words: "?uploads",
        times: 2,
        is_due: false,
    });
    site.run("push").good();
    assert!(matches!(proxy.fault(), Fault::LoseAnswer { times: 0, .. }));
    assert_eq!(store.uploads(), [""; 0]);
    store.is_copy_of(&site);
}

const FORGOTTEN: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 42\r\nConnection: close\r\n\r\n\
                         <Error><Code>NoSuchUpload</Code></Error>\r\n";

#[test]
fn a_store_that_never_knows_an_upload_is_given_up() {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(Fault::Refuse {
        words: "partNumber",
        answer: FORGOTTEN,
        times: u32::MAX,
    });
    let ran = Running::start(&mut site.zbackup("push")).wait(PATIENCE);
    ran.expect(1, &["does not know it"]);
    assert_eq!(store.uploads(), [""; 0]);
    assert!(store.names().is_empty());
}

#[test]
fn a_file_that_says_of_itself_that_it_is_right_is_read_back() {
    let (store, _proxy, site) = behind("");
    let name = site.backup();
    let file = site.part(&name, "files");
    let mut damaged = fs::read(&file).unwrap();
    damaged[1000] ^= 1;
    // As one whose last part was damaged, by a push that was killed before it looked.
    let header = format!("x-amz-meta-sha256: {}", common::sha256(&file));
    let stored = file.file_name().unwrap().to_str().unwrap();
    store.put_with(stored, damaged, &["--header", &header]);
    assert!(store.head(stored).contains(&header));
    site.run("push").good();
    store.is_copy_of(&site);
}

#[test]
fn a_part_that_was_sent_of_a_damaged_file_is_sent_again() {
    let (store, proxy, site) = behind("");
    push_of_a_damaged_file_is_killed(&proxy, &site);
    site.run("push").good();
    store.is_copy_of(&site);
}

#[test]
fn an_upload_that_the_store_forgets_begins_again() {
    let (store, proxy, site) = behind("");
    push_of_a_damaged_file_is_killed(&proxy, &site);
    proxy.set(Fault::Refuse {
        words: "partNumber",
        answer: FORGOTTEN,
        times: 1,
    });
    site.run("push").good();
    assert!(matches!(proxy.fault(), Fault::Refuse { times: 0, .. }));
    store.is_copy_of(&site);
}

/// After it has sent most of the file, of which the first part was damaged meanwhile.
fn push_of_a_damaged_file_is_killed(proxy: &Proxy, site: &Site) {
    let name = site.backup();
    let file = site.part(&name, "files");
    let good = fs::read(&file).unwrap();
    let mut damaged = good.clone();
    damaged[1000] ^= 1;
    fs::write(&file, damaged).unwrap();
    proxy.set(STUCK);
    let running = Running::start(&mut site.zbackup("push"));
    let of_first = |line: &str| line.contains("\"number\":0") && line.contains("proven");
    until("the first part of it has arrived", || {
        let journal = journal(site);
        journal.contains(".tar.gz\"") && journal.lines().filter(|line| of_first(line)).count() > 1
    });
    running.signal("KILL");
    running.wait(SOON);
    fs::write(&file, good).unwrap();
    proxy.set(Fault::None);
}

#[test]
fn a_newer_backup_that_comes_meanwhile_keeps_its_files() {
    let (store, proxy, site) = behind("");
    let name = site.backup();
    site.run("push").good();
    let stored = format!("{name}.tar.gz");
    let there = store.get(&stored);
    std::thread::sleep(Duration::from_millis(1100));
    write(&site.path("media/big"), noise(BIG, 5));
    site.backup();
    proxy.set(STUCK);
    let running = Running::start(&mut site.zbackup("push"));
    until("it uploads", || !store.uploads().is_empty());
    store.edit_list(|list| list[&name]["timestamp"] = (common::now() + 1000).into());
    proxy.set(Fault::None);
    running.wait(PATIENCE).expect(1, &["newer", &name]);
    assert!(store.get(&stored) == there);
    assert_eq!(store.uploads(), [""; 0]);
}

#[test]
fn a_list_that_is_damaged_on_its_way_is_not_written_back() {
    for (from, to) in [("{\"other", "]\"other"), ("\"odd\": 1", "\"odd\": 2")] {
        let (store, proxy, site) = behind("");
        let name = site.backup();
        store.put("backup.json", r#"{"other": {"timestamp": 1, "odd": 1}}"#);
        proxy.set(Fault::Replace { from, to, times: 1 });
        site.run("push").good();
        assert!(matches!(proxy.fault(), Fault::Replace { times: 0, .. }));
        let list = store.list();
        assert_eq!(list["other"]["odd"], 1, "{list}");
        assert!(list[&name].is_object(), "{list}");
    }
}

const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 40\r\nConnection: close\r\n\r\n\
                       <Error><Code>AccessDenied</Code></Error>";

#[test]
fn a_key_that_may_not_remove_uploads_all_the_same() {
    let (store, proxy, mut site) = behind("");
    let name = site.backup();
    site.run("push").good();
    site.encrypt(true);
    std::thread::sleep(Duration::from_millis(1100));
    site.backup();
    proxy.set(Fault::Refuse {
        words: "DELETE /",
        answer: REFUSED,
        times: u32::MAX,
    });
    site.run("push").expect(0, &["may still be in the store"]);
    assert!(store.names().contains(&format!("{name}.tar.gz")));
    assert_eq!(store.list(), site.catalog());
}

#[test]
fn parts_that_the_store_has_lost_are_sent_again() {
    let (store, proxy, site) = behind("");
    site.backup();
    proxy.set(Fault::Refuse {
        words: "<CompleteMultipartUpload",
        answer: "HTTP/1.1 400 Bad Request\r\nContent-Length: 39\r\nConnection: close\r\n\r\n\
                 <Error><Code>InvalidPart</Code></Error>",
        times: 1,
    });
    site.run("push").good();
    assert!(matches!(proxy.fault(), Fault::Refuse { times: 0, .. }));
    assert_eq!(store.uploads(), [""; 0]);
    store.is_copy_of(&site);
}
