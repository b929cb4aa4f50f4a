//! What is unpacked comes into its place whenever it is killed; and a million entries do not take the memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::room::*;
use common::site::*;
use common::tar::Tar;
use common::{Scratch, noise, stdout, tool};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use zbackup_core::archive::unpack;
use zbackup_core::progress::Monitor;
use zbackup_core::restore::place;

// In a process of its own: this program, once more.

/// What a child does is in its environment.
const CHILD: &str = "ZBACKUP_TEST_CHILD";

#[test]
fn child() {
    let Ok(words) = std::env::var(CHILD) else {
        return;
    };
    let words: Vec<&str> = words.split('\n').collect();
    match words[..] {
        ["place", staged, target] => {
            println!("begins");
            place(Path::new(staged), Path::new(target), &Monitor::silent()).unwrap();
            println!("ends");
        }
        ["restore", into, target, entries] => {
            let archive = Many::new(entries.parse().unwrap());
            std::fs::create_dir(into).unwrap();
            unpack(archive, Path::new(into), &all, &Monitor::silent()).unwrap();
            place(Path::new(into), Path::new(target), &Monitor::silent()).unwrap();
            let status = read("/proc/self/status");
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            println!("peak {}", line.unwrap().trim().strip_suffix(" kB").unwrap());
        }
        ["deep", folder, levels] => deep(&Scratch::at(folder.into()), levels.parse().unwrap()),
        _ => panic!("{words:?}"),
    }
}

fn child_with(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]);
    command.env(CHILD, words.join("\n")).stdout(Stdio::piped());
    command
}

/// A tree of which every file says whether it is of the old or the new one.
fn versioned(version: &str) -> Tar {
    let mut archive = Tar::new();
    for number in 0..40 {
        archive = archive.mode(if number % 3 == 0 { 0o555 } else { 0o755 });
        archive = archive.folder(&format!("f{number}")).mode(0o644);
        for file in 0..10 {
            let content = format!("{version} {number} {file}").repeat(50);
            archive = archive.file(&format!("f{number}/{file}"), content.as_bytes());
        }
        archive = archive.link(b'2', &format!("f{number}/link"), version);
    }
    // Once a folder, once a file.
    let (folder, file) = ("turns-a", "turns-b");
    let (folder, file) = if version == "new" {
        (folder, file)
    } else {
        (file, folder)
    };
    archive
        .file(&format!("{folder}/x"), b"in it")
        .file(file, b"it")
}

#[test]
fn killed_at_any_instant_it_can_be_completed() {
    let scratch = Scratch::new();
    completes(&scratch, &scratch.join("site"), false);
}

/// The same where everything is copied.
#[cfg(target_os = "linux")]
#[test]
fn killed_at_any_instant_a_copy_can_be_completed() {
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    completes(&Scratch::new(), &other.path().join("site"), true);
}

fn completes(scratch: &Scratch, site: &Path, is_copy: bool) {
    let [old, new] = ["old", "new"].map(|version| versioned(version).end());
    let mut expected = {
        let into = staged(scratch, "into", &new[..]);
        placed(&into, &scratch.join("expected"));
        things(&scratch.join("expected"))
    };
    let fresh = || {
        let _ = Command::new("rm").arg("-rf").arg(site).status().unwrap();
        placed(&staged(scratch, "first", &old[..]), site);
        staged(scratch, "into", &new[..])
    };
    let begin = |into: &Path| {
        let words = ["place", into.to_str().unwrap(), site.to_str().unwrap()];
        let mut child = child_with(&words).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // What the test harness says is before it.
        let begins = lines.find(|line| line.as_ref().unwrap().ends_with("begins"));
        assert!(begins.is_some());
        (child, lines)
    };
    // How long it takes here when nobody kills it: the least of some, any of which may have been held up.
    let takes = (0..5).map(|_| {
        let (mut child, mut lines) = begin(&fresh());
        let began = Instant::now();
        assert!(lines.any(|line| line.unwrap() == "ends"));
        let takes = began.elapsed();
        assert!(child.wait().unwrap().success());
        takes
    });
    let takes = takes.min().unwrap();
    let mut in_the_middle = 0;
    let mut delays = noise(100_000, 7).into_iter();
    let began = Instant::now();
    while in_the_middle < 30 {
        assert!(
            began.elapsed() < Duration::from_secs(600),
            "only {in_the_middle}"
        );
        let into = fresh();
        loop {
            let (mut child, mut lines) = begin(&into);
            std::thread::sleep(takes.mul_f64(f64::from(delays.next().unwrap()) / 255.0));
            // It is ours, and not waited for yet: no other process has this number.
            child.kill().unwrap();
            child.wait().unwrap();
            if lines.any(|line| line.unwrap() == "ends") {
                break;
            }
            let now = things(site);
            let mut moved = 0;
            for number in 0..40 {
                for file in 0..10 {
                    let path = format!("f{number}/{file}");
                    let content = read(site.join(&path));
                    let [old, new] =
                        ["old", "new"].map(|v| format!("{v} {number} {file}").repeat(50));
                    assert!(content == old || content == new, "{path}: {content}");
                    moved += usize::from(content == new);
                    // What is not in its place is still to be moved.
                    let is_there = into.join("tree").join(&path).exists();
                    assert!(is_there || content == new, "{path}");
                    assert!(is_copy || !is_there || content == old, "{path}");
                }
            }
            in_the_middle += usize::from((1..400).contains(&moved));
            assert!(now.len() >= 40 * 12);
        }
        let mut now = things(site);
        // What was in the way.
        for path in ["turns-a", "turns-b", "turns-b/x"] {
            let kept = path.replacen("turns-a", "turns-a.before-restore", 1);
            let kept = kept.replacen("turns-b", "turns-b.before-restore", 1);
            now.remove(kept.as_bytes()).unwrap();
        }
        // A folder that no archive names has the time of now.
        for all in [&mut now, &mut expected] {
            all.get_mut(&b"turns-a"[..]).unwrap().modified = 0;
        }
        assert!(now == expected);
        assert!(!into.exists());
    }
}

/// An archive of these many entries. The first are files, links out and folders that nobody may write, with
/// long names; a disk takes its time for them. After that come the folders again and again.
struct Many {
    number: u64,
    entries: u64,
    block: io::Cursor<Vec<u8>>,
}

impl Many {
    fn new(entries: u64) -> Self {
        Self {
            number: 0,
            entries,
            block: io::Cursor::default(),
        }
    }
}

impl Read for Many {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.block.read(buffer)?;
        if count > 0 || self.number > self.entries {
            return Ok(count);
        }
        let (folder, file) = (self.number / 1000, self.number % 1000);
        let above = format!("folder-{}", folder % 30);
        let name = format!("{above}/{file:0>230}");
        let long = || Tar::new().long(b'L', name.as_bytes());
        let tar = match file {
            _ if self.number == self.entries => Tar::new().end(),
            _ if folder >= 30 => {
                Tar::new()
                    .mode(0o555 + 0o200 * (file % 2) as u32)
                    .folder(&above)
                    .0
            }
            0 => Tar::new().folder(&above).0,
            1..100 => long().mode(0o500).folder("x").0,
            100..200 => long().link(b'2', "x", "/etc/passwd").0,
            _ => long().file("x", b"").0,
        };
        self.number += 1;
        self.block = io::Cursor::new(tar);
        self.block.read(buffer)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_million_entries_take_little_memory() {
    let peak = |entries: u64| -> u64 {
        let scratch = Scratch::new();
        let [into, site] = ["into", "site"].map(|name| scratch.join(name));
        let entries = entries.to_string();
        let words = [
            "restore",
            into.to_str().unwrap(),
            site.to_str().unwrap(),
            &entries,
        ];
        let output = child_with(&words).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let peak = said.lines().find_map(|line| line.split_once("peak "));
        peak.unwrap_or_else(|| panic!("{said}")).1.parse().unwrap()
    };
    let (few, many) = (peak(2000), peak(1_000_000));
    eprintln!("{few} kB for two thousand entries, {many} kB for a million");
    assert!(many < few + (4 << 10), "{few} kB, then {many} kB");
}

/// Folders in folders, with a file in each on the way back: unpacked, moved, moved over what is there, packed.
fn deep(scratch: &Scratch, levels: usize) {
    let mut archive = Tar::new().mode(0o555);
    let path = |level: usize| "d/".repeat(level);
    for level in 1..=levels {
        archive = archive.long(b'L', path(level).as_bytes()).folder("d/");
    }
    archive = archive.mode(0o644);
    for level in (1..=levels).rev() {
        let name = path(level) + "z";
        archive = archive.long(b'L', name.as_bytes()).file("z", b"");
    }
    let archive = archive.end();
    let site = site(scratch);
    for _ in 0..2 {
        placed(
            &staged(scratch, "into", &archive[..]),
            &scratch.join("media"),
        );
    }
    assert_eq!(backup(&site).0.skipped, []);
}

/// As many folders as there are, and not as many as there are pairs of them.
#[cfg(target_os = "linux")]
#[test]
fn depth_costs_what_its_folders_cost() {
    let opened = |levels: usize| -> u64 {
        let scratch = Scratch::new();
        let counts = scratch.join("counts");
        let folder = scratch.join("folder");
        std::fs::create_dir(&folder).unwrap();
        let mut command = tool("strace");
        command.args(["-f", "-qq", "-c", "-e", "trace=openat", "-o"]);
        command.arg(&counts).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]);
        let words = ["deep", folder.to_str().unwrap(), &levels.to_string()].join("\n");
        stdout(command.env(CHILD, words));
        let counts = read(counts);
        let line = counts.lines().find(|line| line.ends_with(" openat"));
        let calls = line.unwrap().split_whitespace().nth(3).unwrap();
        calls.parse().unwrap()
    };
    let (few, many) = (opened(500), opened(1500));
    eprintln!("{few} folders are opened for 500 levels, {many} for 1500");
    assert!(many < 3 * few + few / 5, "{few}, then {many}");
}
