//! Copies in an object store: what goes there comes back, whatever happens on the way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::proxy::{BIG, Fault, Proxy, behind};
use common::store::{Store, certificate, env};
use common::{PATIENCE, Running, SOON, Site, noise, run, tree, until, write};
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn what_is_pushed_is_pulled_byte_for_byte() {
    for is_encrypted in [false, true] {
        let store = Store::new();
        let mut site = store.site();
        write(&site.path("media/big"), noise(BIG, 1));
        site.encrypt(is_encrypted);
        let name = site.backup();
        assert_eq!(site.catalog()[&name]["is_filestore_uploaded"], false);
        let before = fs::read(site.part(&name, "files")).unwrap();

        let pushed = site.run("push --json").good().json();
        assert_eq!(pushed["uploaded"][0]["name"], name.as_str(), "{pushed}");
        assert_eq!(pushed["problems"], json!([]));
        store.is_copy_of(&site);
        assert_eq!(store.uploads(), [""; 0]);
        assert_eq!(site.catalog()[&name]["is_filestore_uploaded"], true);
        assert_eq!(store.list(), site.catalog());
        assert_eq!(fs::read(site.part(&name, "files")).unwrap(), before);
        let file = site.part(&name, "files");
        let head = store.head(file.file_name().unwrap().to_str().unwrap());
        let hash = format!("x-amz-meta-sha256: {}", common::sha256(&file));
        assert!(head.contains(&hash), "{head}");

        let again = site.run("push --json").good().json();
        assert_eq!(again["uploaded"], json!([]));
        assert_eq!(again["already"], json!([name]));

        let mut other = store.elsewhere();
        other.encrypt(is_encrypted);
        let listed = other.run("list --offsite").good();
        assert!(listed.stdout.contains(&name), "{listed:?}");
        assert!(!other.backups().exists());
        let pulled = other.run("pull --json").good().json();
        assert_eq!(pulled["newest"]["name"], name.as_str());
        assert_eq!(pulled["newest"]["is_proven"], true);
        assert_eq!(pulled["newest"]["is_new"], true);
        common::assert_same(&tree(&other.backups()), &tree(&site.backups()));
        other.run("verify").good();
        let again = other.run("pull --json").good().json();
        assert_eq!(again["pulled"], json!([]));
        assert_eq!(again["newest"]["is_new"], false);
    }
}

#[test]
fn the_newest_goes_first_and_its_files_before_the_list() {
    let (store, proxy, site) = behind("");
    // Of some other day, and so older.
    let old = site.backup();
    site.edit_catalog(|catalog| {
        let mut entry = catalog[&old].take();
        for (key, part) in [
            ("database", ".sql.gz"),
            ("files", ".tar.gz"),
            ("config_files", ".tar.gz"),
        ] {
            if !entry[key].is_null() {
                let start = if key == "config_files" { "config-" } else { "" };
                let from = entry[key].as_str().unwrap().to_owned();
                entry[key] = format!("{start}site-w9{part}").into();
                fs::rename(
                    site.backups().join(from),
                    site.backups().join(entry[key].as_str().unwrap()),
                )
                .unwrap();
            }
        }
        entry["timestamp"] = (entry["timestamp"].as_i64().unwrap() - 86400).into();
        *catalog = json!({"site-w9": entry});
    });
    let new = site.backup();
    site.run("push").good();
    let requests = proxy.requests();
    let at = |what: &str, name: &str| {
        let is_it = |request: &&String| request.starts_with(what) && request.contains(name);
        requests
            .iter()
            .rposition(|request| is_it(&request))
            .unwrap()
    };
    let first_list = requests
        .iter()
        .position(|request| request.starts_with("PUT ") && request.contains("backup.json"))
        .unwrap();
    let new_file = format!("/{new}.tar.gz?uploadId");
    assert!(at("POST", &new_file) < first_list, "{requests:#?}");
    assert!(at("POST", &format!("/config-{new}.tar.gz?uploadId")) < first_list);
    let old_begins = requests
        .iter()
        .position(|request| request.starts_with("PUT") && request.contains("site-w9.tar.gz"))
        .unwrap();
    assert!(first_list < old_begins, "{requests:#?}");
    assert!(at("POST", "/site-w9.tar.gz?uploadId") < at("PUT", "backup.json"));
    store.is_copy_of(&site);
}

#[test]
fn files_that_were_replaced_are_removed_and_those_of_others_are_not() {
    let store = Store::new();
    let mut site = store.site();
    let name = site.backup();
    store.put("other.tar.gz", "of others");
    store.put(
        "backup.json",
        r#"{"other": {"timestamp": 1, "files": "other.tar.gz", "odd": [1, {"x": null}]}, "junk": 7}"#,
    );
    site.run("push").good();
    site.encrypt(true);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(site.backup(), name);
    let said = site.run("push").good();
    assert!(
        said.stdout.contains(&format!("{name}.tar.gz was replaced")),
        "{said:?}"
    );
    let mut names: Vec<String> = store.names().into_iter().collect();
    names.sort();
    let mut expected = vec![
        "backup.json".to_owned(),
        format!("config-{name}.tar.gz.enc"),
        "other.tar.gz".to_owned(),
        format!("{name}.tar.gz.enc"),
    ];
    expected.sort();
    assert_eq!(names, expected);
    let list = store.list();
    assert_eq!(list["other"]["odd"], json!([1, {"x": null}]));
    assert_eq!(list["junk"], 7);
    assert_eq!(list[&name]["is_encrypted"], true);
}

#[test]
fn what_another_machine_has_put_in_the_place_of_what_was_replaced_stays() {
    let store = Store::new();
    let mut site = store.site();
    let name = site.backup();
    site.run("push").good();
    site.encrypt(true);
    std::thread::sleep(Duration::from_millis(1100));
    site.backup();
    // Another has completed its files, and has not yet written the list.
    store.put(&format!("{name}.tar.gz"), "of another");
    site.run("push").good();
    assert_eq!(store.get(&format!("{name}.tar.gz")), b"of another");
    assert_eq!(store.list(), site.catalog());
}

#[test]
fn two_machines_that_push_at_once_lose_nothing() {
    let store = Store::new();
    for round in 0..3 {
        let sites: Vec<Site> = (0..4)
            .map(|number| {
                let mut site = store.site();
                site.set("site", &format!("\"s{round}{number}\""));
                site
            })
            .collect();
        let names: Vec<String> = sites.iter().map(Site::backup).collect();
        let running: Vec<Running> = sites
            .iter()
            .map(|site| Running::start(&mut site.zbackup("push")))
            .collect();
        for running in running {
            running.wait(PATIENCE).good();
        }
        let list = store.list();
        for name in names {
            assert!(list[&name].is_object(), "{name} is lost: {list}");
        }
    }
}

#[test]
fn a_newer_backup_of_the_same_name_is_not_overwritten() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.run("push").good();
    store.edit_list(|list| list[&name]["timestamp"] = (common::now() + 1000).into());
    let there = store.get(&format!("{name}.tar.gz"));
    std::thread::sleep(Duration::from_millis(1100));
    site.backup();
    site.run("push").expect(1, &["newer", &name]);
    assert!(store.get(&format!("{name}.tar.gz")) == there);
}

#[test]
fn a_list_that_was_not_written_is_written_by_the_next_push() {
    let (store, proxy, site) = behind("");
    let name = site.backup();
    site.run("push").good();
    let old = store.list();
    std::thread::sleep(Duration::from_millis(1100));
    write(&site.path("media/new"), "new");
    site.backup();
    site.run("push").good();
    // As if it had been killed between the files and the list.
    store.put("backup.json", old.to_string());
    site.edit_catalog(|catalog| catalog[&name]["is_filestore_uploaded"] = false.into());
    let other = store.elsewhere();
    other.run("pull").expect(4, &["not copied", "of another"]);
    assert!(!other.backups().join("backup.json").exists());
    proxy.requests();
    site.run("push").good();
    let requests = proxy.requests();
    assert!(
        !requests
            .iter()
            .any(|request| request.contains("partNumber")),
        "{requests:#?}"
    );
    assert_eq!(store.list(), site.catalog());
    other.run("pull").good();
}

#[test]
fn one_push_at_a_time() {
    let (_store, proxy, site) = behind("");
    site.backup();
    proxy.set(Fault::Slow(Duration::from_millis(30)));
    let running = Running::start(&mut site.zbackup("push"));
    until("it has begun", || {
        proxy
            .requests()
            .iter()
            .any(|request| request.contains("partNumber"))
    });
    site.run("push").expect(1, &["being uploaded already"]);
    // But a backup is not kept waiting.
    site.backup();
    proxy.set(Fault::None);
    running.wait(PATIENCE).good();
}

#[test]
fn a_backup_that_is_being_made_does_not_keep_the_others_here() {
    let (mut site, running) = common::busy();
    let store = Store::new();
    store.give(&mut site, &env("ENDPOINT"));
    let said = site
        .run("push")
        .expect(0, &["uploaded", "the next push notes it"]);
    assert!(said.stdout.contains("uploaded"));
    assert!(store.names().contains("backup.json"));
    running.signal("INT");
    running.wait(SOON);
    site.run("push").good().without(&["warning"]);
    let catalog = site.catalog();
    let (_, entry) = catalog.as_object().unwrap().iter().next().unwrap();
    assert_eq!(entry["is_filestore_uploaded"], true);
}

#[test]
fn only_what_is_new_or_missing_is_downloaded() {
    let (store, proxy, mut site) = behind("");
    site.fake_dump(&format!("cat <<'EOF'\n{}EOF", common::DUMP));
    let name = site.backup();
    site.run("push").good();
    let mut other = store.elsewhere();
    store.give(&mut other, &proxy.endpoint());
    other.run("pull recent").good();
    std::thread::sleep(Duration::from_millis(1100));
    site.backup_database_only();
    proxy.requests();
    site.run("push").good();
    let is_files = |request: &String| {
        request.contains(&format!("/{name}.tar.gz")) && request.contains("partNumber")
    };
    assert!(!proxy.requests().iter().any(is_files));
    other.run("pull").good();
    let got = proxy.requests();
    let files = format!("GET /{}", env("BUCKET"));
    let is_files = |request: &&String| {
        request.starts_with(&files) && request.ends_with(&format!("/{name}.tar.gz"))
    };
    assert!(!got.iter().any(|request| is_files(&request)), "{got:#?}");
    common::assert_same(&tree(&other.backups()), &tree(&site.backups()));
    // One that is gone comes again, and no other.
    fs::remove_file(other.backups().join(format!("config-{name}.tar.gz"))).unwrap();
    proxy.requests();
    other.run("pull").good();
    common::assert_same(&tree(&other.backups()), &tree(&site.backups()));
    other
        .run("pull nothing")
        .expect(1, &["no backup named", &name]);
}

#[test]
fn a_damaged_backup_stays_here_and_the_others_go() {
    let store = Store::new();
    let site = store.site();
    let name = site.backup();
    site.edit_catalog(|catalog| {
        let mut old = catalog[&name].clone();
        old["timestamp"] = 1_700_000_000.into();
        old["files"] = "site-w9.tar.gz".into();
        old.as_object_mut().unwrap().remove("config_files");
        catalog["site-w9"] = old;
    });
    let from = site.part(&name, "files");
    fs::copy(&from, site.backups().join("site-w9.tar.gz")).unwrap();
    let mut bytes = fs::read(&from).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&from, bytes).unwrap();
    site.run("push").expect(
        4,
        &["not copied", &name, "its hash is not that of the backup"],
    );
    assert!(store.list()["site-w9"].is_object());
    assert!(store.list()[&name].is_null());
    assert!(!store.names().contains(&format!("config-{name}.tar.gz")));
    assert_eq!(store.uploads(), [""; 0]);
    assert_eq!(site.catalog()["site-w9"]["is_filestore_uploaded"], true);
    assert_eq!(site.catalog()[&name]["is_filestore_uploaded"], false);
}

/// The settings of a store, with one of them another.
fn with(site: &mut Site, url: &str, endpoint: &str, id: &str, secret: &str) {
    site.set(
        "offsite",
        &format!(
            "{{ url = {url:?}, endpoint = {endpoint:?}, access_key_id = {id:?}, \
             secret_access_key = {secret:?}, timeout = 20, patience = 2 }}"
        ),
    );
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_changed() {
    let store = Store::new();
    let url = store.url();
    let (endpoint, https) = (env("ENDPOINT"), env("HTTPS"));
    let (id, secret) = (env("ACCESS_KEY_ID"), env("SECRET_ACCESS_KEY"));
    let (reader, reader_secret) = (env("READER_ID"), env("READER_SECRET"));
    let mut site = Site::new();
    site.backup();
    let kept = tree(&site.backups());
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let plain = endpoint.replace("http:", "https:");
    let secure = https.replace("https:", "http:");
    for (url, endpoint, id, secret, code, words) in [
        (
            url.as_str(),
            endpoint.as_str(),
            "nobody",
            secret.as_str(),
            1,
            "access_key_id",
        ),
        (&url, &endpoint, &id, "wrong", 1, "secret_access_key"),
        (
            &url,
            &endpoint,
            &reader,
            &reader_secret,
            1,
            "may not do this",
        ),
        (
            "s3://no-such-bucket/x",
            &endpoint,
            &id,
            &secret,
            1,
            "make the bucket",
        ),
        (&url, &closed, &id, &secret, 1, "cannot be reached"),
        (
            &url,
            "http://no-such-host.invalid",
            &id,
            &secret,
            1,
            "its name is not known here",
        ),
        (&url, &https, &id, &secret, 1, "no secure connection"),
        (&url, &plain, &id, &secret, 1, "no secure connection"),
        (&url, &secure, &id, &secret, 1, "https://"),
        ("nonsense", &endpoint, &id, &secret, 2, "s3://bucket/prefix"),
    ] {
        with(&mut site, url, endpoint, id, secret);
        let ran = site.run("push").expect(code, &[words]);
        let said = ran.without(&[secret]).said();
        assert!(!said.contains("panic"), "{said}");
        common::assert_same(&tree(&site.backups()), &kept);
    }
    site.unset("offsite");
    site.run("push").expect(2, &["[offsite]"]);
    site.run("pull").expect(2, &["[offsite]"]);
    site.run("list --offsite").expect(2, &["[offsite]"]);
}

#[test]
fn what_a_store_says_is_told_with_advice() {
    let (store, proxy, mut site) = behind(", timeout = 20, patience = 2");
    site.backup();
    let kept = tree(&site.backups());
    for (status, code, words) in [
        ("403 Forbidden", "RequestTimeTooSkewed", "clocks"),
        ("403 Forbidden", "AccessDenied", "may not do this"),
        ("403 Forbidden", "QuotaExceeded", "the store is full"),
        ("507 Insufficient Storage", "", "the store is full"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "region"),
        ("301 Moved Permanently", "PermanentRedirect", "region"),
        ("503 Slow Down", "SlowDown", "has no time for us"),
        ("418 Teapot", "Teapot", "418 Teapot"),
        ("200 OK", "Nonsense", "s3://"),
    ] {
        proxy.set(Fault::Answer {
            status: status.into(),
            body: format!("<Error><Code>{code}</Code><Message>\x1b[31mred</Message></Error>"),
            times: u32::MAX,
        });
        let ran = Running::start(&mut site.zbackup("push")).wait(PATIENCE);
        assert_ne!(ran.status.code(), Some(0), "{ran:?}");
        ran.without(&["\x1b"]).expect_words(words, status);
        common::assert_same(&tree(&site.backups()), &kept);
    }
    proxy.set(Fault::Silence);
    store.give_with(&mut site, &proxy.endpoint(), ", timeout = 3, patience = 2");
    let began = Instant::now();
    site.run("push").expect(1, &["not a byte moved for 3 s"]);
    assert!(began.elapsed() < SOON * 3);
    common::assert_same(&tree(&site.backups()), &kept);
}

#[test]
fn one_file_that_may_not_be_seen_does_not_keep_the_others_from_the_list() {
    let (_store, proxy, site) = behind("");
    let name = site.backup();
    site.run("push").good();
    proxy.set(Fault::Refuse {
        words: "HEAD /",
        answer: "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        times: 1,
    });
    site.run("list --offsite").expect(0, &[&name]);
    assert!(matches!(proxy.fault(), Fault::Refuse { times: 0, .. }));
}

#[test]
fn a_secure_connection_is_one() {
    let store = Store::new();
    let mut site = store.site();
    store.give(&mut site, &env("HTTPS"));
    site.env.push((
        "SSL_CERT_FILE".into(),
        certificate().to_str().unwrap().into(),
    ));
    site.backup();
    site.run("push").good();
    store.is_copy_of(&site);
}

#[test]
fn a_bucket_can_be_part_of_the_host_name() {
    let proxy = Proxy::new(&env("ENDPOINT"));
    let mut site = Site::new();
    site.backup();
    for (url, more, first) in [
        (
            "s3://bucket/a/b",
            ", virtual_host = true",
            "GET http://bucket.s3.test/a/b/backup.json",
        ),
        (
            "s3://bucket/a/b",
            "",
            "GET http://s3.test/bucket/a/b/backup.json",
        ),
        ("s3://bucket", "", "GET http://s3.test/bucket/backup.json"),
    ] {
        site.set(
            "offsite",
            &format!(
                "{{ url = {url:?}, endpoint = \"http://s3.test\", access_key_id = \"a\", \
                 secret_access_key = \"b\", patience = 1{more} }}"
            ),
        );
        proxy.set(Fault::Answer {
            status: "403 Forbidden".into(),
            body: String::new(),
            times: 1,
        });
        let mut command: Command = site.zbackup("list --offsite");
        // A way to see where a request goes without a name server.
        command
            .env("http_proxy", proxy.endpoint())
            .env_remove("no_proxy")
            .env_remove("NO_PROXY");
        run(&mut command).expect(1, &["403"]);
        assert_eq!(proxy.requests(), [first]);
    }
}

trait Words {
    fn expect_words(self, words: &str, of: &str);
}

impl Words for common::Ran {
    #[track_caller]
    fn expect_words(self, words: &str, of: &str) {
        assert!(
            self.said().contains(words),
            "{of}: no \"{words}\" in {self:#?}"
        );
    }
}
