//! An interrupt at a question.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::terminal::on_a_terminal;
use common::{Site, ZBACKUP, assert_same, tree, write};
use std::process::Command;

const CONTROL_C: &str = "\u{3}";

#[test]
fn an_interrupt_ends_the_question_for_a_password() {
    let mut site = Site::new();
    site.encrypt(true);
    let name = site.backup();
    let file = site.part(&name, "files");
    let before = tree(&site.path(""));
    let mut decrypt = Command::new(ZBACKUP);
    decrypt.arg("decrypt").arg(&file);
    let mut verify = Command::new(ZBACKUP);
    verify.arg("verify").arg("--dir").arg(site.backups());
    for command in [decrypt, verify] {
        // Also in the middle of one.
        for typed in [CONTROL_C, "secret\u{3}"] {
            let (screen, code) = on_a_terminal(&command, ":", typed);
            assert_eq!(code, 130, "{screen:?}");
            assert!(screen.ends_with('\n'), "{screen:?}");
            assert!(
                !screen.contains("no terminal") && !screen.contains("secret"),
                "{screen:?}"
            );
        }
    }
    assert_same(&tree(&site.path("")), &before);
}

#[test]
fn a_question_for_a_password_has_a_line_of_its_own() {
    let mut site = Site::new();
    site.encrypt(true);
    site.backup();
    let mut verify = Command::new(ZBACKUP);
    verify.arg("verify").arg("--dir").arg(site.backups());
    let (screen, _) = on_a_terminal(&verify, ":", "wrong\n");
    let (before, _) = screen.split_once("Password of").unwrap();
    assert!(before.contains("verifying"), "{screen:?}");
    // What was there is erased, and nothing is written after that.
    let (_, left) = before.rsplit_once("\u{1b}[2K").unwrap();
    assert_eq!(left.trim_start_matches("\u{1b}[1A"), "", "{screen:?}");
}

#[test]
fn an_interrupt_ends_the_question_whether_to_go_on() {
    let site = Site::new();
    site.backup();
    write(&site.path("media/a.txt"), "later");
    let before = tree(&site.path(""));
    let mut restore = Command::new(ZBACKUP);
    restore.args(["restore", "recent", "--config"]);
    restore.arg(site.config());
    for typed in [CONTROL_C, "y\u{3}"] {
        let (screen, code) = on_a_terminal(&restore, "[y/N]", typed);
        assert_eq!(code, 130, "{screen:?}");
        assert!(
            screen.contains("Go on?") && screen.ends_with('\n'),
            "{screen:?}"
        );
        assert_same(&tree(&site.path("")), &before);
    }
    // It is said what would be replaced, and where.
    let (screen, _) = on_a_terminal(&restore, "[y/N]", "n\n");
    let folder = |name: &str| site.path(name).display().to_string();
    let private = format!("{}, {}", folder("priv"), folder("priv/config.d"));
    for (what, folder) in [
        ("media files", folder("media")),
        ("configuration files", private),
        ("security files", folder("security")),
    ] {
        let words = format!("{what} in {folder} are replaced");
        assert!(screen.contains(&words), "{words}: {screen}");
    }
    // Who answers is heard.
    let (screen, code) = on_a_terminal(&restore, "[y/N]", "n\n");
    assert_eq!(code, 1, "{screen:?}");
    assert!(screen.contains("nothing was changed"), "{screen:?}");
    let (screen, code) = on_a_terminal(&restore, "[y/N]", "y\n");
    assert_eq!(code, 0, "{screen:?}");
    assert!(screen.contains("is restored"), "{screen:?}");
}
