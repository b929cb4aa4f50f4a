//! What a person is told: help, wrong usage, mistakes in `site.toml`, and output that nobody takes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{DUMP, Running, SOON, Site, ZBACKUP, mode, set_mode, sh, write, zbackup};
use std::path::Path;

const COMMANDS: [&str; 4] = ["backup", "list", "verify", "decrypt"];

#[test]
fn every_command_has_help() {
    let all = zbackup(["--help"]).good();
    assert!(all.stdout.contains("Exit codes"), "{all:#?}");
    for command in COMMANDS {
        assert!(all.stdout.contains(command), "{command} in {all:#?}");
        for ask in ["--help", "-h"] {
            let ran = zbackup([command, ask]).good();
            assert!(ran.stdout.contains("Usage: zbackup"), "{ran:#?}");
        }
        zbackup(["help", command]).good();
    }
    zbackup(["--version"]).expect(0, &["zbackup 0."]);
}

#[test]
fn wrong_usage_exits_with_2() {
    for words in [
        "",
        "frobnicate",
        "backup",
        "list",
        "verify",
        "decrypt",
        "backup --config",
        "backup --config x --nonsense",
        "list --config x --dir y",
        "verify --config x --dir y",
        "decrypt a b",
        "decrypt a --password secret",
    ] {
        let ran = zbackup(words.split_whitespace()).expect(2, &["--help"]);
        assert!(
            ran.stdout.is_empty() && !ran.stderr.is_empty(),
            "{words}: {ran:#?}"
        );
    }
}

/// A program that reads JSON gets that, whatever was wrong with the command.
#[test]
fn wrong_usage_is_json_where_that_was_asked_for() {
    for words in [
        "--json",
        "backup --json",
        "list --json",
        "list --json --config x --dir y",
        "verify --config x --json --nonsense",
        "restore --json --yes --trust-dump",
        "restore x --json --config y --only everything --yes --trust-dump",
        "list --json --config /nowhere/site.toml",
    ] {
        let ran = zbackup(words.split_whitespace()).expect(2, &[]);
        let json = ran.json();
        assert!(ran.stderr.is_empty(), "{words}: {ran:#?}");
        assert!(
            json["error"].is_string() && json["message"].is_string(),
            "{words}: {ran:#?}"
        );
        assert!(!ran.stdout.contains("\\u001b"), "{words}: {ran:#?}");
    }
    let ran = zbackup(["list", "--json"]).expect(2, &[]);
    assert_eq!(ran.json()["error"], "usage");
    // Help is help.
    zbackup(["list", "--json", "--help"]).expect(0, &["Usage: zbackup list"]);
}

#[test]
fn a_missing_site_toml_is_named() {
    for command in ["backup", "list", "verify"] {
        let ran = zbackup([command, "--config", "/nowhere/site.toml"]);
        ran.expect(2, &["/nowhere/site.toml", "No such file"]);
    }
    zbackup(["list", "--dir", "/nowhere"]).expect(1, &["/nowhere", "No such file"]);
}

/// A `site.toml` of this text is refused with these words.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let site = Site::new();
    write(&site.config(), text);
    let words = [&["site.toml"], words].concat();
    for command in ["backup", "list", "verify"] {
        site.run(command).expect(2, &words);
    }
    assert!(!site.backups().exists());
}

#[test]
fn mistakes_in_site_toml_are_named_with_their_line() {
    let good = "site = \"site\"\nbackup_dir = \"backup\"\nmedia_dir = \"media\"\n";
    refused(
        &format!("{good}media_folder = \"x\"\n"),
        &["line 4", "media_folder", "media_dir"],
    );
    refused(
        &format!("{good}[database]\nuser = \"u\"\ndbname = \"d\"\npasword = \"x\"\n"),
        &["line 7", "pasword"],
    );
    refused("site = \"site\"\n", &["backup_dir", "missing"]);
    refused("backup_dir = \"backup\"\n", &["site", "missing"]);
    refused(
        &format!("{good}[database]\nuser = \"u\"\n"),
        &["line 4", "dbname", "missing"],
    );
    refused(
        &format!("{good}security_dir = 5\n"),
        &["line 4", "security_dir"],
    );
    refused(
        &format!("{good}config_files = \"one\"\n"),
        &["line 4", "config_files", "sequence"],
    );
    refused(
        &format!("{good}[database]\nuser = \"u\"\ndbname = \"d\"\nport = 70000\n"),
        &["line 7", "port"],
    );
    refused(&format!("{good}this is no TOML\n"), &["line 4"]);
    refused(
        &format!("{good}site = \"again\"\n"),
        &["line 4", "site", "duplicate"],
    );
    refused(
        "site = \"a/b\"\nbackup_dir = \"backup\"\n",
        &["line 1", "a/b", "name of a site"],
    );
    refused(
        "site = \"\"\nbackup_dir = \"backup\"\n",
        &["line 1", "name of a site"],
    );
    refused(
        "site = \"../x\"\nbackup_dir = \"backup\"\n",
        &["line 1", "../x"],
    );
}

#[test]
fn mistakes_about_encryption_name_the_settings_there_are() {
    let good = "site = \"site\"\nbackup_dir = \"backup\"\nmedia_dir = \"media\"\n";
    refused(
        &format!("{good}[encryption]\n"),
        &["line 4", "encryption", "password_file"],
    );
    refused(
        &format!("{good}[encryption]\npasswd = \"x\"\n"),
        &["line 5", "passwd", "password_file"],
    );
    refused(
        &format!("{good}[encryption]\npassword = \"x\"\npassword_file = \"y\"\n"),
        &["encryption", "password_file"],
    );
    refused(
        &format!("{good}[encryption]\npassword = \"\"\n"),
        &["encryption password is empty"],
    );
}

#[test]
fn a_site_toml_that_is_not_text_is_said() {
    let site = Site::new();
    write(&site.config(), b"site = \"\xff\xfe\"\n");
    site.run("list").expect(2, &["site.toml", "UTF-8"]);
}

#[test]
fn a_mistake_beside_a_password_does_not_show_the_password() {
    let good = "site = \"site\"\nbackup_dir = \"backup\"\n";
    let database = format!("{good}[database]\nuser = \"u\"\ndbname = \"d\"\n");
    for text in [
        format!("{database}password = 53417319\n"),
        format!("{database}password = \"53417319\n"),
        format!("{database}password = 'a'53417319'\n"),
        format!("{database}password = \"53417319\\x\"\n"),
        format!("{database}pasword = \"53417319\"\n"),
        format!("{database}password = \"53417319\" # the old one: \u{7}\n"),
        format!("{database}password = \"53417319\"\npassword = \"53417319\"\n"),
        format!("{good}[encryption]\npassword = [\"53417319\"]\n"),
        format!("{good}[encryption]\npassphrase = \"53417319\"\n"),
        format!("{good}encryption = \"53417319\"\n"),
    ] {
        let site = Site::new();
        write(&site.config(), &text);
        for command in ["list", "list --json"] {
            site.run(command)
                .expect(2, &["site.toml"])
                .without(&["53417319"]);
        }
    }
}

#[test]
fn a_password_that_looks_like_a_key_is_not_shown() {
    for wrong in [
        "password \"c2VjcmV0cGFzcw==\"",
        "password: \"c2VjcmV0cGFzcw=x\"",
    ] {
        let site = Site::new();
        let text = format!("site = \"s\"\nbackup_dir = \"b\"\n[database]\n{wrong}\n");
        write(&site.config(), &text);
        let ran = site.run("backup").expect(2, &["line 4"]);
        assert!(!ran.stderr.contains("c2VjcmV0"), "{ran:#?}");
    }
}

#[test]
fn secrets_that_others_can_read_are_warned_of() {
    let mut site = Site::new();
    site.set_database("user = \"u\"\ndbname = \"d\"\npassword = \"x\"\n");
    set_mode(&site.config(), 0o644);
    site.run("list --dir .").expect(2, &[]); // both are too many
    std::fs::create_dir(site.backups()).unwrap();
    site.run("list")
        .expect(0, &["warning", "site.toml", "chmod 600"]);
    set_mode(&site.config(), 0o600);
    site.run("list").good().without(&["warning"]);

    let mut site = Site::new();
    site.encrypt(true);
    set_mode(&site.path("password"), 0o644);
    assert_eq!(mode(&site.path("password")), 0o644);
    site.run("backup")
        .expect(0, &["warning", "password", "chmod 600"]);
    set_mode(&site.path("password"), 0o600);
    site.run("backup").good().without(&["warning"]);
}

#[test]
fn paths_in_site_toml_start_at_its_folder() {
    let mut site = Site::new();
    site.encrypt(true);
    let mut command = site.command(ZBACKUP);
    command
        .current_dir("/")
        .args(["backup", "--config"])
        .arg(site.config());
    Running::start(&mut command).wait(SOON * 3).good();
    assert!(site.backups().join("backup.json").exists());
    let mut command = site.command(ZBACKUP);
    command
        .current_dir(site.path(""))
        .args(["verify", "--config", "site.toml"]);
    Running::start(&mut command).wait(SOON * 3).good();
}

#[test]
fn a_relative_pg_dump_starts_there_too() {
    let mut site = Site::with_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    site.set_database("user = \"u\"\ndbname = \"d\"\npg_dump = \"./pg_dump\"\n");
    let mut command = site.command(ZBACKUP);
    command
        .current_dir("/")
        .args(["backup", "--config"])
        .arg(site.config());
    Running::start(&mut command).wait(SOON * 3).good();
}

#[test]
fn an_empty_list_says_so() {
    let site = Site::new();
    std::fs::create_dir(site.backups()).unwrap();
    let folder = site.backups();
    site.run("list")
        .expect(0, &["no backups in", folder.to_str().unwrap()]);
}

/// Somebody has copied the files alone, and is not to believe that they are nothing.
#[test]
fn files_without_their_list_are_told_of() {
    let mut site = Site::new();
    site.encrypt(true);
    let name = site.backup();
    let folder = site.backups();
    let path = folder.to_str().unwrap();
    let media = site.part(&name, "files");
    let list = std::fs::read(folder.join("backup.json")).unwrap();
    std::fs::remove_file(folder.join("backup.json")).unwrap();
    write(&folder.join("notes.txt"), "not of a backup");
    let words = [
        "no backup.json in",
        path,
        "2 files",
        "copy backup.json too",
        "zbackup decrypt FILE",
    ];
    site.run("list").expect(0, &words);
    zbackup(["list", "--dir", path]).expect(0, &words);
    site.run("verify").expect(1, &words);
    site.run(&format!("verify {name}")).expect(1, &words);
    site.run("restore recent --yes --trust-dump")
        .expect(1, &words);
    site.run(&format!("restore {name} --yes --trust-dump"))
        .expect(1, &words);
    site.run("verify").without(&["there are no backups"]);

    std::fs::remove_file(media).unwrap();
    site.run("list").expect(0, &["1 file there looks like"]);
    // A list that has none is one.
    write(&folder.join("backup.json"), "{}");
    site.run("list").good().without(&["backup.json"]);
    site.run("verify").expect(1, &["there are no backups"]);
    write(&folder.join("backup.json"), list);
    site.run("list").expect(0, &[&name]);
}

#[test]
fn a_password_file_that_is_gone_is_not_needed_by_who_is_asked() {
    let mut site = Site::new();
    site.encrypt(true);
    site.backup();
    std::fs::remove_file(site.path("password")).unwrap();
    let advice = "leave [encryption] out of site.toml to be asked for the password";
    for opens in ["verify", "restore recent --yes --trust-dump"] {
        site.run(opens)
            .expect(2, &["cannot read the password file", advice]);
        site.run(&format!("{opens} --password-file nowhere"))
            .expect(2, &["cannot read the password file"])
            .without(&[advice]);
    }
    // Without it a new backup would lie open.
    site.run("backup")
        .expect(2, &["cannot read the password file"])
        .without(&[advice]);
}

#[test]
fn output_that_nobody_takes_is_no_crash() {
    let site = Site::new();
    site.backup();
    // A reader that is gone, and a full disk.
    for words in ["list", "list --json", "verify", "verify --json"] {
        let gone = site.path("gone");
        let closed = format!(
            "{{ while [ ! -e \"$3\" ]; do :; done; \"$1\" {words} --config \"$2\"; }} | {{ exec <&-; echo >\"$3\"; }}"
        );
        let full = format!("\"$1\" {words} --config \"$2\" >/dev/full || :");
        for script in [closed, full] {
            let ran = sh(&script, &[Path::new(ZBACKUP), &site.config(), &gone]);
            assert!(!ran.stderr.contains("panicked"), "{script}: {ran:#?}");
        }
        std::fs::remove_file(gone).unwrap();
    }
}

#[test]
fn a_backup_is_made_also_when_nobody_hears_of_its_progress() {
    for script in [
        "{ while [ ! -e \"$3.gone\" ]; do :; done; \"$1\" backup --config \"$2\" 2>&1; echo $? >\"$3\"; } \
         | { exec <&-; echo >\"$3.gone\"; }",
        "\"$1\" backup --config \"$2\" 2>/dev/full >/dev/null; echo $? >\"$3\"",
        "\"$1\" backup --config \"$2\" >&- 2>&-; echo $? >\"$3\"",
    ] {
        let site = Site::new();
        let code = site.path("code");
        sh(
            &format!("set +e; {script}"),
            &[Path::new(ZBACKUP), &site.config(), &code],
        );
        common::until("it ended", || {
            std::fs::read_to_string(&code).is_ok_and(|code| code.ends_with('\n'))
        });
        assert_eq!(std::fs::read_to_string(&code).unwrap(), "0\n", "{script}");
        site.run("verify").expect(0, &["proven"]);
    }
}

#[test]
fn a_full_disk_under_the_output_is_a_failure() {
    let site = Site::new();
    site.backup();
    // A script that keeps the list must not believe that it has it.
    let ran = sh(
        "set +e; \"$1\" list --json --config \"$2\" >/dev/full; echo $?",
        &[Path::new(ZBACKUP), &site.config()],
    );
    assert_eq!(ran.stdout, "1\n", "{ran:#?}");
}
