//! Memory does not grow with the site.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Running, Site, noise, write};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What a backup may take, in kB.
const MOST: u64 = 128 << 10;

/// The program as people run it: unoptimised, gigabytes take minutes. Cargo does nothing when it is
/// built already.
fn release() -> PathBuf {
    if !cfg!(debug_assertions) {
        return common::ZBACKUP.into();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "zbackup",
            "--message-format=json",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "the release build: {said}");
    let messages = String::from_utf8(build.stdout).unwrap();
    let program = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.unwrap_or_else(|| panic!("no program in {messages}"))
}

/// The most memory that a command takes, in kB.
#[track_caller]
fn peak(command: &mut Command) -> u64 {
    let mut running = Running::start(command);
    let status = PathBuf::from(format!("/proc/{}/status", running.pid()));
    let mut peak = 0;
    while running.is_running() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        // It is gone between two looks, at the end.
        if let Some(kilobytes) = line.and_then(|line| line.trim().strip_suffix(" kB")) {
            peak = kilobytes.parse().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    running.wait(Duration::from_secs(1)).good();
    assert!(peak > 0);
    peak
}

#[test]
fn a_backup_of_8_gb_takes_as_little_memory_as_one_of_1_gb() {
    let program = release();
    let program = program.to_str().unwrap();
    let mut site = Site::new();
    site.encrypt(true);
    // Nothing shrinks of this, so that whoever is slow has the most to hold.
    let piece = noise(10 << 20, 31);
    write(&site.path("media/noise"), piece.repeat(20));
    for gigabytes in [1, 8] {
        let sparse = fs::File::create(site.path("media/sparse")).unwrap();
        sparse.set_len(gigabytes << 30).unwrap();
        let command = |words: &str| {
            let mut command = site.command(program);
            command
                .args(words.split(' '))
                .arg("--config")
                .arg(site.config());
            command
        };
        let backup = peak(&mut command("backup"));
        assert!(backup < MOST, "{backup} kB for a backup of {gigabytes} GB");
        let verify = peak(&mut command("verify"));
        assert!(verify < MOST, "{verify} kB to verify {gigabytes} GB");
        eprintln!("{gigabytes} GB: {backup} kB for the backup, {verify} kB to verify it");
    }
}

#[test]
fn an_upload_and_a_download_take_little_memory() {
    let program = release();
    let program = program.to_str().unwrap();
    let store = common::store::Store::new();
    let site = store.site();
    // Nothing of this shrinks: 1 GB is sent.
    write(&site.path("media/noise"), noise(50 << 20, 32).repeat(20));
    let command = |site: &Site, words: &str| {
        let mut command = site.command(program);
        command
            .args(words.split(' '))
            .arg("--config")
            .arg(site.config());
        command
    };
    Running::start(&mut command(&site, "backup"))
        .wait(Duration::from_secs(600))
        .good();
    let push = peak(&mut command(&site, "push"));
    assert!(push < MOST, "{push} kB for an upload");
    let other = store.site();
    let pull = peak(&mut command(&other, "pull"));
    assert!(pull < MOST, "{pull} kB for a download");
    eprintln!("1 GB: {push} kB to upload it, {pull} kB to download it");
}

#[test]
fn many_files_take_little_memory() {
    let program = release();
    let mut site = Site::new();
    site.encrypt(true);
    for folder in 0..100 {
        for file in 0..300 {
            write(
                &site.path(format!(
                    "media/{folder}/a-name-as-media-files-have-it-{file}.jpg"
                )),
                "x",
            );
        }
    }
    let program = program.to_str().unwrap();
    let mut command = site.command(program);
    let backup = peak(command.args(["backup", "--config"]).arg(site.config()));
    assert!(backup < MOST, "{backup} kB for a backup of 30 000 files");
}
