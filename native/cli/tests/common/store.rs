//! The object store that `scripts/with-s3` runs beside the tests, as another client (curl) sees it.

use super::{Ran, Site, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A prefix of its own in the bucket.
pub(crate) struct Store {
    prefix: String,
}

/// What `scripts/with-s3` says.
#[track_caller]
pub(crate) fn env(name: &str) -> String {
    let name = format!("ZBACKUP_TEST_S3_{name}");
    std::env::var(&name).unwrap_or_else(|_| {
        panic!("{name} is not set: run this as scripts/with-s3 cargo test …, as `make test` does")
    })
}

impl Store {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            prefix: format!("test-{}-{number}/site", std::process::id()),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("s3://{}/{}", env("BUCKET"), self.prefix)
    }

    /// Gives the store to a site, reached at this endpoint.
    pub(crate) fn give(&self, site: &mut Site, endpoint: &str) {
        self.give_with(site, endpoint, "");
    }

    /// The same with other settings, as `, timeout = 2`.
    pub(crate) fn give_with(&self, site: &mut Site, endpoint: &str, more: &str) {
        let (id, secret) = (env("ACCESS_KEY_ID"), env("SECRET_ACCESS_KEY"));
        let url = self.url();
        site.set(
            "offsite",
            &format!(
                "{{ url = {url:?}, endpoint = {endpoint:?}, access_key_id = {id:?}, \
                 secret_access_key = {secret:?}{more} }}"
            ),
        );
    }

    /// A new site that has the store.
    pub(crate) fn site(&self) -> Site {
        let mut site = Site::new();
        self.give(&mut site, &env("ENDPOINT"));
        site
    }

    /// A new site that has the store and nothing else: another machine.
    pub(crate) fn elsewhere(&self) -> Site {
        let site = self.site();
        assert!(!site.backups().exists());
        site
    }

    fn curl(&self, path: &str, args: &[&str]) -> Ran {
        let user = format!("{}:{}", env("ACCESS_KEY_ID"), env("SECRET_ACCESS_KEY"));
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user])
            .args(args)
            .arg(format!("{}/{}{path}", env("ENDPOINT"), env("BUCKET")));
        run(&mut curl)
    }

    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let path = format!("/{}/{name}", self.prefix);
        self.curl(&path, &["--output", out.to_str().unwrap()])
            .good();
        fs::read(out).unwrap()
    }

    #[track_caller]
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        self.put_with(name, content, &[]);
    }

    /// The same, with other options of curl.
    #[track_caller]
    pub(crate) fn put_with(&self, name: &str, content: impl AsRef<[u8]>, more: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("in");
        fs::write(&file, content).unwrap();
        let path = format!("/{}/{name}", self.prefix);
        let file = ["--upload-file", file.to_str().unwrap()];
        self.curl(&path, &[&file, more].concat()).good();
    }

    #[track_caller]
    pub(crate) fn remove(&self, name: &str) {
        self.curl(
            &format!("/{}/{name}", self.prefix),
            &["--request", "DELETE"],
        )
        .good();
    }

    /// The headers of a file.
    #[track_caller]
    pub(crate) fn head(&self, name: &str) -> String {
        let path = format!("/{}/{name}", self.prefix);
        self.curl(&path, &["--head"]).good().stdout.to_lowercase()
    }

    /// Whether it is there, with its files: after a start it has the names sooner than the contents.
    pub(crate) fn answers(&self) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("in");
        fs::write(&file, "content").unwrap();
        let path = format!("/{}-answers", self.prefix);
        let up = self.curl(&path, &["--upload-file", file.to_str().unwrap()]);
        up.status.success() && self.curl(&path, &[]).status.success()
    }

    /// The names of the files.
    #[track_caller]
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let prefix = self.prefix.replace('/', "%2F");
        let said = self.curl(&format!("?list-type=2&prefix={prefix}%2F"), &[]);
        elements(&said.good().stdout, "Key")
            .map(|key| key[self.prefix.len() + 1..].to_owned())
            .collect()
    }

    /// Begins an upload, as another machine.
    #[track_caller]
    pub(crate) fn begin(&self, name: &str) {
        let path = format!("/{}/{name}?uploads=", self.prefix);
        self.curl(&path, &["--request", "POST"]).good();
    }

    /// The uploads that are not completed.
    #[track_caller]
    pub(crate) fn uploads(&self) -> Vec<String> {
        let said = self.curl("?uploads=", &[]).good().stdout;
        let keys = elements(&said, "Key").filter(|key| key.starts_with(&self.prefix));
        keys.map(str::to_owned).collect()
    }

    #[track_caller]
    pub(crate) fn list(&self) -> Value {
        serde_json::from_slice(&self.get("backup.json")).unwrap()
    }

    /// Changes the list by hand.
    #[track_caller]
    pub(crate) fn edit_list(&self, edit: impl FnOnce(&mut Value)) {
        let mut list = self.list();
        edit(&mut list);
        self.put("backup.json", list.to_string());
    }

    /// What is here is there, and nothing else.
    #[track_caller]
    pub(crate) fn is_copy_of(&self, site: &Site) {
        let here: BTreeSet<String> = fs::read_dir(site.backups())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(self.names(), here);
        for name in here.iter().filter(|name| *name != "backup.json") {
            let same = self.get(name) == fs::read(site.backups().join(name)).unwrap();
            assert!(same, "{name} differs");
        }
    }
}

/// The file with the certificate of the server.
pub(crate) fn certificate() -> PathBuf {
    env("CA").into()
}

fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, after) = after.split_once(&close)?;
        rest = after;
        Some(text)
    })
}
