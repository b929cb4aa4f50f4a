//! An encrypted backup never writes plaintext of its content to a disk: every write of the program and
//! of its children is watched.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::toml;
use common::{Site, ZBACKUP, noise, run, write};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Known content. It is so rare in noise that gzip stores the noise with it, where it can be seen.
const MARKER: &str = "ThisIsPlaintext!";
/// How strace shows the start of a gzip stream of ours, with or without what follows.
const GZIP: &str = r"\37\213\10\0\0\0\0\0\0\3";
const DATABASE_PASSWORD: &str = "PasswordOfTheDatabase";

fn marked(length: usize, seed: u64) -> Vec<u8> {
    let mut content = noise(length, seed);
    for piece in content.chunks_exact_mut(3000) {
        piece[..MARKER.len()].copy_from_slice(MARKER.as_bytes());
    }
    content
}

/// What was seen of a backup.
#[derive(Default)]
struct Seen {
    /// Bytes written to each file.
    written: BTreeMap<String, u64>,
    /// Files that plaintext was written to, and what shows it.
    plaintext: Vec<(String, &'static str)>,
    /// Files that were opened for writing, as strace shows the call.
    opened: Vec<String>,
    /// Calls that could write what cannot be seen here.
    unseen: Vec<String>,
}

/// Makes a backup, and watches it.
fn watch(encrypted: bool) -> (Site, Seen) {
    let mut site = Site::new();
    site.encrypt(encrypted);
    write(&site.path("media/marked"), marked(3 << 20, 21));
    write(
        &site.path("media/text"),
        format!("{MARKER}\n").repeat(20_000),
    );
    write(&site.path("security/key"), marked(400_000, 22));
    write(&site.path("priv/zotonic_site.config"), marked(400_000, 23));
    write(&site.path("table"), marked(2 << 20, 24));
    site.fake_dump(&format!(
        "cat \"$PGPASSFILE\" >/dev/null; printf -- '--\\n-- PostgreSQL database dump\\n--\\nCOPY s.t FROM stdin;\\n'; \
         cat '{}'; printf -- '\\n\\\\.\\n--\\n-- PostgreSQL database dump complete\\n--\\n'",
        site.path("table").display()
    ));
    site.set_database(&format!(
        "user = \"u\"\ndbname = \"d\"\npassword = \"{DATABASE_PASSWORD}\"\npg_dump = {}\n",
        toml(site.path("pg_dump").to_str().unwrap())
    ));
    // A file for each thread: in a common one the calls of two are mixed.
    let traces = site.path("traces");
    fs::create_dir(&traces).unwrap();
    let mut command = site.command("strace");
    command
        .args(["--follow-forks", "--output-separately", "--decode-fds=path", "--string-limit=4194304"])
        .args(["--signal=none", "--quiet=all", "--seccomp-bpf"])
        .arg(
            "--trace=open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,\
             copy_file_range,splice,tee,vmsplice,memfd_create,io_uring_setup,io_submit,mmap,ftruncate,\
             rename,renameat,renameat2,link,linkat,mknod,mknodat",
        )
        .arg("--output")
        .arg(traces.join("thread"))
        .args([ZBACKUP, "backup", "--config"])
        .arg(site.config());
    run(&mut command).good();
    let mut seen = Seen::default();
    for (_, trace) in common::tree(&traces).into_values() {
        seen.read(&String::from_utf8(trace).unwrap());
    }
    (site, seen)
}

impl Seen {
    fn read(&mut self, trace: &str) {
        for line in trace.lines() {
            // "call(arguments) = result"
            let Some((call, arguments)) = line.split_once('(') else {
                continue;
            };
            match call {
                "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" => {
                    // "3</path>, "…", 12) = 12"; a pipe has no path.
                    let path = arguments.split_once('<').map_or("", |(_, rest)| rest);
                    let path = path.split_once(">, ").map_or(path, |(path, _)| path);
                    if !path.starts_with('/') || path == "/dev/null" {
                        continue;
                    }
                    assert!(
                        !line.contains("\"..."),
                        "strace does not show all of a write"
                    );
                    let count = line.rsplit("= ").next().unwrap();
                    // What it says, to the files that the test gave it for that.
                    let is_said = arguments.starts_with("1<") || arguments.starts_with("2<");
                    if !is_said {
                        *self.written.entry(path.into()).or_default() +=
                            count.parse::<u64>().unwrap_or(0);
                    }
                    for sign in [MARKER, GZIP] {
                        if arguments.contains(sign) {
                            self.plaintext.push((path.into(), sign));
                        }
                    }
                }
                "open" | "openat" | "openat2" | "creat" => {
                    let writes = ["O_WRONLY", "O_RDWR", "O_CREAT"]
                        .iter()
                        .any(|flag| line.contains(flag));
                    if (writes || call == "creat") && !line.contains(" = -1 ") {
                        self.opened.push(line.into());
                    }
                }
                "mmap" => {
                    if line.contains("MAP_SHARED")
                        && line.contains("PROT_WRITE")
                        && !line.contains("MAP_ANONYMOUS")
                    {
                        self.unseen.push(line.into());
                    }
                }
                // A memory file is on no disk.
                "ftruncate" | "rename" | "renameat" | "renameat2" | "memfd_create" => {}
                _ => self.unseen.push(line.into()),
            }
        }
    }
}

fn is_in(path: &str, folder: &Path) -> bool {
    Path::new(path).starts_with(folder)
}

#[test]
fn the_watch_sees_the_plaintext_of_a_backup_that_is_not_encrypted() {
    let (site, seen) = watch(false);
    for part in [".sql.gz", "config-", "/site-"] {
        for sign in [MARKER, GZIP] {
            assert!(
                seen.plaintext
                    .iter()
                    .any(|(path, found)| path.contains(part) && found == &sign),
                "{sign} is not seen in {part}: the other test proves nothing"
            );
        }
    }
    // All of what is stored passed by here.
    for key in ["database", "config_files", "files"] {
        let name = site
            .catalog()
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .clone();
        let part = site.part(&name, key);
        let file = part.file_name().unwrap().to_str().unwrap().to_owned();
        let written = seen
            .written
            .iter()
            .find(|(path, _)| path.ends_with(&format!("/{file}")));
        assert_eq!(
            *written.unwrap().1,
            part.metadata().unwrap().len(),
            "{file}"
        );
    }
}

#[test]
fn an_encrypted_backup_writes_no_plaintext_and_only_where_it_should() {
    let (site, seen) = watch(true);
    assert!(seen.plaintext.is_empty(), "{:?}", seen.plaintext);
    assert!(seen.unseen.is_empty(), "{:#?}", seen.unseen);
    let (backups, tmp) = (site.backups(), site.tmp());
    let is_passfile = |path: &str| path.starts_with("/memfd:zbackup");
    for path in seen.written.keys() {
        assert!(
            is_in(path, &backups) || is_passfile(path),
            "{path} is written to"
        );
    }
    // What is written there is what is in the end there, and little else.
    let stored: u64 = common::tree(&backups)
        .values()
        .map(|(_, content)| content.len() as u64)
        .sum();
    let written: u64 = seen.written.values().sum();
    assert!(
        (stored..stored + 4096).contains(&written),
        "{written} bytes are written, {stored} stored"
    );

    for line in &seen.opened {
        let is_nameless = line.contains("O_TMPFILE") && line.contains(tmp.to_str().unwrap());
        let result = line.rsplit("= ").next().unwrap();
        let path = result
            .split_once('<')
            .unwrap()
            .1
            .trim_end_matches("(deleted)")
            .trim_end_matches('>');
        assert!(
            is_nameless || is_in(path, &backups) || ["/dev/null", "/dev/tty"].contains(&path),
            "{line}"
        );
    }
    let passfile = seen.written.keys().filter(|path| is_passfile(path)).count();
    assert_eq!(passfile, 1, "{:?}", seen.written);
    assert!(common::tree(&tmp).is_empty());
}
