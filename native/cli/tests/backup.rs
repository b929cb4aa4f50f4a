//! What a backup is made of, and what becomes of the one before it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{
    DUMP, Noon, SOON, Site, ZBACKUP, busy, mode, now, set_mode, sh, sha256, tar_content, tar_names,
    tree, until, write, zbackup,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

// What is made ------------------------------------------------------------------------------------

#[test]
fn a_site_without_a_database_is_backed_up_listed_and_proven() {
    let site = Site::new();
    let name = format!("site-{}", Noon::slot(&site.zone));
    site.run("backup")
        .expect(0, &[&name, "files", "configuration"]);
    assert_eq!(
        tree(&site.backups()).keys().collect::<Vec<_>>(),
        [
            Path::new("backup.json"),
            Path::new(&format!("config-{name}.tar.gz")),
            Path::new(&format!("{name}.tar.gz")),
        ]
    );
    site.run("list")
        .expect(0, &[&name, "files", "configuration"])
        .without(&["missing"]);
    let proven = [name.as_str(), "proven", "hash", "gzip"];
    site.run("verify").expect(0, &proven).without(&["NOT"]);
    site.run(&format!("verify {name}")).expect(0, &proven);
    let dir = site.backups();
    zbackup([Path::new("verify"), Path::new("--dir"), &dir]).expect(0, &proven);

    let media = site.part(&name, "files");
    assert_eq!(
        tar_names(&media),
        ["2026/", "2026/11/", "2026/11/photo.jpg", "a.txt", "empty"]
    );
    assert_eq!(tar_content(&media, "a.txt"), "hello\n".repeat(1000));
    sh(
        "mkdir \"$1\"; tar -xzf \"$2\" -C \"$1\"; diff -r \"$1\" \"$3\"",
        &[&site.path("unpacked"), &media, &site.path("media")],
    )
    .good();
}

#[test]
fn the_list_has_the_fields_that_zotonic_reads() {
    for encrypted in [false, true] {
        let mut site = Site::new();
        site.encrypt(encrypted);
        site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
        let before = now();
        let name = site.backup();
        let entry = &site.catalog()[&name];
        let end = if encrypted { ".enc" } else { "" };
        for (key, file) in [
            ("database", format!("{name}.sql.gz{end}")),
            ("config_files", format!("config-{name}.tar.gz{end}")),
            ("files", format!("{name}.tar.gz{end}")),
        ] {
            assert_eq!(entry[key], json!(file));
            let hash = sha256(&site.backups().join(&file));
            assert_eq!(entry[&format!("{key}_hash")], json!(hash), "{key}");
        }
        assert_eq!(entry["is_encrypted"], json!(encrypted));
        assert_eq!(entry["is_filestore_uploaded"], json!(false));
        let timestamp = entry["timestamp"].as_i64().unwrap();
        assert!((before..=now()).contains(&timestamp));
    }
}

#[test]
fn the_name_is_of_the_day_in_the_time_zone_of_the_site() {
    // Never the same day in both.
    let zones = ["Pacific/Kiritimati", "Etc/GMT+12"];
    let mut names = Vec::new();
    for zone in zones {
        let mut site = Site::new();
        site.set("timezone", &format!("\"{zone}\""));
        // Twice, should midnight fall between the two clocks.
        let (before, name, after) = (Noon::slot(zone), site.backup(), Noon::slot(zone));
        assert!(
            name == format!("site-{before}") || name == format!("site-{after}"),
            "{name} in {zone}"
        );
        names.push(name);
        // Without a setting it is the time zone of the machine.
        let mut site = Site::new();
        site.unset("timezone");
        site.env.push(("TZ".into(), zone.into()));
        let (before, name, after) = (Noon::slot(zone), site.backup(), Noon::slot(zone));
        assert!(
            name == format!("site-{before}") || name == format!("site-{after}"),
            "{name} in {zone}"
        );
    }
    assert_ne!(names[0], names[1]);
    let mut site = Site::new();
    site.set("timezone", "\"Mars/Olympus\"");
    site.run("backup")
        .expect(2, &["Mars/Olympus", "time zone", "Europe/Amsterdam"]);
}

#[test]
fn the_configuration_has_the_layout_that_a_restore_reads() {
    let mut site = Site::new();
    let elsewhere = site.path("elsewhere.config");
    write(&elsewhere, "[elsewhere].\n");
    symlink("../elsewhere.config", site.path("priv/linked.config")).unwrap();
    site.set(
        "config_files",
        &format!(
            "[\"priv/zotonic_site.config\", \"priv/config.d/extra.config\", \"priv/linked.config\", {elsewhere:?}]"
        ),
    );
    let name = site.backup();
    let config = site.part(&name, "config_files");
    assert_eq!(
        tar_names(&config),
        [
            "config-site/config/priv/zotonic_site.config",
            "config-site/config/config.d/extra.config",
            "config-site/config/priv/linked.config",
            "config-site/config/priv/elsewhere.config",
            "config-site/security/",
            "config-site/security/ssl/",
            "config-site/security/ssl/site.key",
        ]
    );
    // A link was asked for by its name: what it leads to is what is meant.
    assert_eq!(
        tar_content(&config, "config-site/config/priv/linked.config"),
        "[elsewhere].\n"
    );
}

#[test]
fn a_folder_is_no_configuration_file() {
    let mut site = Site::new();
    site.set("config_files", "[\"priv/config.d\"]");
    site.run("backup")
        .expect(2, &["priv/config.d", "is not a file"]);
}

#[test]
fn a_folder_that_holds_other_things_stays_open_to_others() {
    let site = Site::new();
    fs::create_dir(site.backups()).unwrap();
    write(&site.backups().join("of somebody else"), "");
    set_mode(&site.backups(), 0o755);
    site.backup();
    assert_eq!(mode(&site.backups()), 0o755);
}

#[test]
fn no_name_in_the_configuration_leads_upwards() {
    let mut site = Site::new();
    site.set("config_files", "[\"priv/config.d/../zotonic_site.config\"]");
    let config = site.part(&site.backup(), "config_files");
    assert_eq!(
        tar_names(&config)[0],
        "config-site/config/priv/zotonic_site.config"
    );
}

#[test]
fn two_configuration_files_of_one_name_are_refused() {
    let mut site = Site::new();
    write(&site.path("other/zotonic_site.config"), "[].");
    site.set(
        "config_files",
        "[\"priv/zotonic_site.config\", \"other/zotonic_site.config\"]",
    );
    let words = [
        "priv/zotonic_site.config",
        "other/zotonic_site.config",
        "both",
    ];
    site.run("backup").expect(2, &words);
    assert!(!site.backups().join("backup.json").exists());
}

#[test]
fn folders_and_files_are_private_whatever_the_umask_is() {
    let site = Site::new();
    // The folder that Zotonic made: others can look into it.
    fs::create_dir(site.backups()).unwrap();
    set_mode(&site.backups(), 0o755);
    let script = "umask 0; exec \"$1\" backup --config \"$2\"";
    sh(script, &[Path::new(ZBACKUP), &site.config()]).good();
    assert_eq!(mode(&site.backups()), 0o700);
    for path in tree(&site.backups()).keys() {
        assert_eq!(
            mode(&site.backups().join(path)),
            0o600,
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_staged_and_locked_is_private_too() {
    let (site, running) = busy();
    assert_eq!(mode(&site.backups()), 0o700);
    assert_eq!(mode(&site.backups().join(".staging")), 0o700);
    for path in tree(&site.backups()).keys() {
        let path = site.backups().join(path);
        if path.is_file() {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
    running.signal("INT");
    running.wait(SOON).expect(1, &["cancelled"]);
}

#[test]
fn encrypted_and_plain_files_of_a_name_replace_each_other() {
    let mut site = Site::new();
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let files = |site: &Site| {
        let names: Vec<_> = tree(&site.backups()).into_keys().collect();
        names
    };
    let name = site.backup();
    let plain = files(&site);
    assert_eq!(plain.len(), 4);
    site.encrypt(true);
    site.backup();
    let encrypted = files(&site);
    assert_eq!(
        encrypted,
        [
            "backup.json".into(),
            format!("config-{name}.tar.gz.enc"),
            format!("{name}.sql.gz.enc"),
            format!("{name}.tar.gz.enc"),
        ]
        .map(PathBuf::from)
    );
    for file in &encrypted[1..] {
        let magic = fs::read(site.backups().join(file)).unwrap();
        assert!(magic.starts_with(b"Z2"), "{}", file.display());
    }
    site.run("verify").expect(0, &["authentication"]);
    site.run("list").expect(0, &["yes"]);
    site.encrypt(false);
    site.backup();
    assert_eq!(files(&site), plain);
    site.run("verify").good();
}

#[test]
fn a_part_that_a_site_has_no_more_goes_with_the_next_backup_of_the_name() {
    let mut site = Site::new();
    let name = site.backup();
    site.unset("media_dir");
    site.backup();
    assert!(!site.backups().join(format!("{name}.tar.gz")).exists());
    assert_eq!(site.catalog()[&name]["files"], Value::Null);
    site.run("verify").good();
}

#[test]
fn a_backup_of_only_the_database_keeps_the_media_of_its_day() {
    for encrypted in [false, true] {
        let mut site = Site::new();
        site.encrypt(encrypted);
        site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
        let name = site.backup();
        let first = site.catalog()[&name]["timestamp"].as_i64().unwrap();
        let media = fs::read(site.part(&name, "files")).unwrap();
        assert_eq!(site.catalog()[&name].get("files_timestamp"), None);
        for _ in 0..2 {
            until("the next second", || now() > first + 1);
            site.backup_database_only();
            let entry = &site.catalog()[&name];
            assert!(entry["timestamp"].as_i64().unwrap() > first);
            assert_eq!(entry["files_timestamp"], json!(first));
            assert!(fs::read(site.part(&name, "files")).unwrap() == media);
        }
        site.run("verify").expect(0, &["proven", "files"]);
        site.run("list").expect(0, &["files (of "]);
        let listed = site.run("list --json").good().json();
        assert_eq!(listed["backups"][0]["is_files_present"], json!(true));
        assert_eq!(listed["backups"][0]["files_timestamp"], json!(first));
        // A whole backup is of one time again.
        site.backup();
        assert_eq!(site.catalog()[&name].get("files_timestamp"), None);
    }
}

#[test]
fn a_backup_of_only_the_database_of_a_day_without_media_has_none() {
    let mut site = Site::new();
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let name = site.backup_database_only();
    assert_eq!(site.catalog()[&name]["files"], Value::Null);
    site.run("verify").good();
    // Media that are in the list and not on the disk are not kept.
    let name = site.backup();
    fs::remove_file(site.part(&name, "files")).unwrap();
    site.backup_database_only();
    assert_eq!(site.catalog()[&name]["files"], Value::Null);
    site.run("verify").good();
}

#[test]
fn nothing_to_back_up_is_wrong_usage() {
    let mut site = Site::new();
    for key in ["media_dir", "config_files", "security_dir"] {
        site.unset(key);
    }
    site.run("backup").expect(2, &["nothing to back up"]);
    let mut site = Site::new();
    site.unset("config_files");
    site.unset("security_dir");
    site.run("backup --database-only")
        .expect(2, &["nothing to back up"]);
}

#[test]
fn what_changes_or_cannot_be_read_is_reported_and_stops_nothing() {
    let site = Site::new();
    sh(
        "mkfifo \"$1/pipe\"; ln -s nowhere \"$1/link\"",
        &[&site.path("media")],
    )
    .good();
    let name = format!("site-{}", Noon::slot(&site.zone));
    let ran = site.run("backup").good();
    assert!(
        ran.stderr.contains("pipe") && ran.stderr.contains("FIFO"),
        "{ran:#?}"
    );
    let media = site.part(&name, "files");
    assert!(tar_names(&media).contains(&"link".into()));
    let report = site.run("backup --json").good().json();
    assert_eq!(report["skipped"][0]["path"], json!("pipe"));
    assert!(
        report["skipped"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("FIFO")
    );
}

/// Where the media are a mount of their own a restore stages in them.
#[test]
fn what_a_restore_has_staged_in_the_media_is_not_backed_up() {
    let site = Site::new();
    let staged = ".zbackup-restore-0123456789abcdef-0";
    write(
        &site.path("media").join(staged).join("tree/2026/photo.jpg"),
        "staged",
    );
    // More than there is room for, were it asked.
    let huge = site.path("media").join(staged).join("tree/huge");
    sh("truncate -s 10T \"$1\"", &[&huge]).good();
    // A name that only looks like it, below.
    write(&site.path("media/2026").join(staged), "of the site");
    let name = site.backup();
    let names = tar_names(&site.part(&name, "files"));
    let found: Vec<&String> = names
        .iter()
        .filter(|name| name.contains("zbackup"))
        .collect();
    assert_eq!(found, [&format!("2026/{staged}")]);
    let report = site.run("backup --json").good().json();
    let skipped = report["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 1, "{report:#}");
    assert_eq!(skipped[0]["path"], staged);
    assert!(
        skipped[0]["reason"]
            .as_str()
            .unwrap()
            .contains("interrupted restore")
    );
}

// For programs ---------------------------------------------------------------------------------------

#[test]
fn json_has_the_fields_that_programs_read() {
    let mut site = Site::new();
    site.encrypt(true);
    site.fake_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let report = site.run("backup --json").good().json();
    let name = report["backup"]["name"].as_str().unwrap().to_owned();
    assert!(report["backup"]["timestamp"].is_i64());
    assert_eq!(report["backup"]["is_encrypted"], json!(true));
    for (part, made) in ["database", "config", "files"]
        .into_iter()
        .zip(report["made"].as_array().unwrap())
    {
        assert_eq!(made["part"], json!(part));
        for number in ["source_bytes", "size", "duration_ms"] {
            assert!(made[number].is_u64(), "{made}");
        }
        let file = site.backups().join(made["file"].as_str().unwrap());
        assert_eq!(
            file.metadata().unwrap().len(),
            made["size"].as_u64().unwrap()
        );
        assert_eq!(report["backup"][part]["sha256"], json!(sha256(&file)));
    }
    assert_eq!(report["skipped"], json!([]));
    assert_eq!(report["warnings"], json!([]));

    let list = site.run("list --json").good().json();
    let listed = &list["backups"][0];
    assert_eq!(listed["name"], json!(name));
    assert_eq!(listed["missing"], json!([]));
    assert_eq!(listed["is_filestore_uploaded"], json!(false));
    for present in [
        "is_database_present",
        "is_files_present",
        "is_config_files_present",
    ] {
        assert_eq!(listed[present], json!(true));
    }
    let sizes: u64 = report["made"]
        .as_array()
        .unwrap()
        .iter()
        .map(|made| made["size"].as_u64().unwrap())
        .sum();
    assert_eq!(listed["size"], json!(sizes));
    assert_eq!(list["refused"], json!([]));

    let verified = site.run("verify --json").good().json();
    assert_eq!(verified[0]["name"], json!(name));
    assert_eq!(verified[0]["ok"], json!(true));
    for part in verified[0]["parts"].as_array().unwrap() {
        assert_eq!(part["ok"], json!(true));
        assert_eq!(part["encryption"], json!("z2"));
        assert!(part["contents"]["entries"].is_u64() && part["contents"]["bytes"].is_u64());
        assert_eq!(part["problem"], Value::Null);
    }
}

#[test]
fn errors_are_json_too_where_a_program_reads() {
    let mut site = Site::new();
    site.set("media_dir", "\"no-media\"");
    let ran = site.run("backup --json").expect(1, &[]);
    assert_eq!(ran.json()["error"], json!("not_found"));
    assert!(ran.json()["message"].as_str().unwrap().contains("no-media"));
    let mut site = Site::with_dump("exit 1");
    assert_eq!(
        site.run("backup --json").expect(1, &[]).json()["error"],
        json!("database")
    );
    site.set("typo", "1");
    assert_eq!(
        site.run("backup --json").expect(2, &[]).json()["error"],
        json!("usage")
    );
}
