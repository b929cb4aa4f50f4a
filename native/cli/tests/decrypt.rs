//! `zbackup decrypt`: passwords from files and terminals, and outputs that appear whole or not at all.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::terminal::on_a_terminal;
use common::{
    PASSWORD, Ran, Running, Site, ZBACKUP, interrupted, mode, run, seal_z1, sh, tree, write,
    zbackup,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with an encrypted file, and what is in it.
struct Sealed {
    site: Site,
    folder: PathBuf,
    file: PathBuf,
    plain: Vec<u8>,
}

fn sealed() -> Sealed {
    let mut site = Site::new();
    let media = site.part(&site.backup(), "files");
    let plain = fs::read(media).unwrap();
    site.encrypt(true);
    let name = site.backup();
    let folder = site.path("elsewhere");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("site.tar.gz.enc");
    fs::copy(site.part(&name, "files"), &file).unwrap();
    Sealed {
        site,
        folder,
        file,
        plain,
    }
}

impl Sealed {
    fn password_file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.site.path("given-password");
        write(&path, content);
        path
    }

    fn decrypt(&self, arguments: &[&Path]) -> Ran {
        let password = self.site.path("password");
        let option = [Path::new("--password-file"), &password];
        zbackup([&[Path::new("decrypt"), &self.file], &option[..], arguments].concat())
    }

    /// What is in the folder, without the encrypted file.
    fn others(&self) -> Vec<String> {
        let names = tree(&self.folder).into_keys();
        names
            .map(|name| name.to_str().unwrap().to_owned())
            .filter(|name| name != "site.tar.gz.enc")
            .collect()
    }
}

#[test]
fn the_output_is_beside_the_input_by_default() {
    let sealed = sealed();
    let output = sealed.folder.join("site.tar.gz");
    sealed
        .decrypt(&[])
        .expect(0, &["decrypted to", output.to_str().unwrap()]);
    assert_eq!(fs::read(&output).unwrap(), sealed.plain);
    assert_eq!(mode(&output), 0o600);
    assert_eq!(sealed.others(), ["site.tar.gz"]);
    sh("tar -tzf \"$1\"", &[&output]).expect(0, &["photo.jpg"]);
}

#[test]
fn the_output_can_be_named_also_without_a_folder() {
    let sealed = sealed();
    let output = sealed.site.path("other place.tar.gz");
    sealed.decrypt(&[Path::new("-o"), &output]).good();
    assert_eq!(fs::read(&output).unwrap(), sealed.plain);
    assert!(sealed.others().is_empty());

    let ran = run(Command::new(ZBACKUP)
        .current_dir(&sealed.folder)
        .args([
            "decrypt",
            "site.tar.gz.enc",
            "--output",
            "here",
            "--password-file",
        ])
        .arg(sealed.site.path("password")));
    ran.good();
    assert_eq!(sealed.others(), ["here"]);
}

#[test]
fn no_device_is_replaced_by_a_file() {
    let sealed = sealed();
    let fifo = sealed.site.path("fifo");
    sh("mkfifo \"$1\"", &[&fifo]).good();
    sealed
        .decrypt(&[Path::new("-o"), &fifo, Path::new("--force")])
        .expect(2, &["is not a file"]);
    sh("test -p \"$1\"", &[&fifo]).good();
}

#[test]
fn an_output_that_exists_is_replaced_only_with_force() {
    let sealed = sealed();
    let output = sealed.folder.join("site.tar.gz");
    write(&output, "precious");
    sealed
        .decrypt(&[])
        .expect(1, &["site.tar.gz exists already", " -o", "--force"]);
    assert_eq!(fs::read(&output).unwrap(), b"precious");

    // A wrong password or a damaged file takes nothing away, also with force.
    let wrong = sealed.password_file("wrong\n");
    let arguments = [Path::new("decrypt"), &sealed.file, Path::new("--force")];
    let option = [Path::new("--password-file"), &wrong];
    zbackup([&arguments[..], &option].concat()).expect(3, &["wrong password"]);
    assert_eq!(fs::read(&output).unwrap(), b"precious");
    let whole = fs::read(&sealed.file).unwrap();
    write(&sealed.file, &whole[..whole.len() - 1]);
    sealed
        .decrypt(&[Path::new("--force")])
        .expect(4, &["damaged"]);
    assert_eq!(fs::read(&output).unwrap(), b"precious");

    write(&sealed.file, &whole);
    sealed.decrypt(&[Path::new("--force")]).good();
    assert_eq!(fs::read(&output).unwrap(), sealed.plain);
    assert_eq!(mode(&output), 0o600);
    assert_eq!(sealed.others(), ["site.tar.gz"]);
}

#[test]
fn an_output_that_is_a_folder_or_in_none_is_said() {
    let sealed = sealed();
    let folder = sealed.site.path("media");
    for force in [&[][..], &[Path::new("--force")]] {
        let arguments = [&[Path::new("-o"), folder.as_path()], force].concat();
        let ran = sealed.decrypt(&arguments);
        assert!(matches!(ran.status.code(), Some(1 | 2)), "{ran:#?}");
        assert!(ran.stderr.contains("media"), "{ran:#?}");
    }
    let nowhere = sealed.site.path("no such folder/out");
    sealed
        .decrypt(&[Path::new("-o"), &nowhere])
        .expect(1, &["no such folder", "No such file"]);
    assert!(sealed.others().is_empty());
}

#[test]
fn a_wrong_password_is_said_and_writes_nothing() {
    let sealed = sealed();
    let wrong = sealed.password_file("not it\n");
    let ran = zbackup([
        Path::new("decrypt"),
        &sealed.file,
        Path::new("--password-file"),
        &wrong,
    ]);
    ran.expect(3, &["wrong password", "site.tar.gz.enc"])
        .without(&["not it", PASSWORD]);
    assert!(sealed.others().is_empty());
}

#[test]
fn damage_is_said_and_writes_nothing() {
    let sealed = sealed();
    let whole = fs::read(&sealed.file).unwrap();
    let mut spoiled = vec![
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("only its header", whole[..134].to_vec()),
        ("half a header", whole[..60].to_vec()),
        ("longer", [&whole[..], b"x"].concat()),
        ("empty", Vec::new()),
        ("twice", [&whole[..], &whole].concat()),
        ("something else", b"PK\x03\x04 a zip file".to_vec()),
        ("not encrypted", sealed.plain.clone()),
    ];
    for at in [
        0,
        1,
        2,
        6,
        14,
        40,
        70,
        100,
        130,
        134,
        138,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        spoiled.push(("a flipped bit", flipped));
    }
    for (what, content) in spoiled {
        write(&sealed.file, content);
        let ran = sealed.decrypt(&[]);
        assert_eq!(ran.status.code(), Some(4), "{what}: {ran:#?}");
        assert!(ran.stderr.contains("is damaged"), "{what}: {ran:#?}");
        assert!(ran.stderr.contains("site.tar.gz.enc"), "{what}: {ran:#?}");
        assert!(sealed.others().is_empty(), "{what}: {:?}", sealed.others());
    }
}

#[test]
fn an_input_that_cannot_be_is_said() {
    let sealed = sealed();
    let password = sealed.site.path("password");
    let decrypt = |file: &Path| {
        zbackup([
            Path::new("decrypt"),
            file,
            Path::new("--password-file"),
            &password,
        ])
    };
    decrypt(&sealed.folder.join("gone.enc")).expect(1, &["gone.enc", "No such file"]);
    decrypt(&sealed.folder).expect(2, &["elsewhere"]);
    let nameless = sealed.folder.join("nameless");
    fs::copy(&sealed.file, &nameless).unwrap();
    decrypt(&nameless).expect(2, &["nameless", ".enc", "output"]);
    decrypt(Path::new("")).expect(2, &[]);
}

#[test]
fn one_line_break_at_the_end_of_a_password_file_is_not_of_the_password() {
    let sealed = sealed();
    let with = |content: String| {
        let file = sealed.password_file(content);
        let ran = zbackup([
            Path::new("decrypt"),
            &sealed.file,
            Path::new("--force"),
            Path::new("--password-file"),
            &file,
        ]);
        ran.status.code().unwrap()
    };
    assert_eq!(with(PASSWORD.into()), 0);
    assert_eq!(with(format!("{PASSWORD}\n")), 0);
    assert_eq!(with(format!("{PASSWORD}\r\n")), 0);
    assert_eq!(with(format!("{PASSWORD} \n")), 3, "a space counts");
    assert_eq!(with(format!(" {PASSWORD}\n")), 3, "a space counts");
    assert_eq!(with(format!("{PASSWORD}\n\n")), 2, "two lines");
    assert_eq!(with(format!("{PASSWORD}\nmore\n")), 2, "two lines");
    assert_eq!(with(String::new()), 2, "nothing");
    assert_eq!(with("\n".into()), 2, "an empty line");
}

#[test]
fn a_password_file_that_cannot_be_read_is_said() {
    let sealed = sealed();
    let gone = sealed.site.path("no-password-here");
    let ran = zbackup([
        Path::new("decrypt"),
        &sealed.file,
        Path::new("--password-file"),
        &gone,
    ]);
    ran.expect(2, &["password file", "no-password-here", "No such file"]);
    assert!(sealed.others().is_empty());
}

#[test]
fn a_password_can_come_through_a_pipe() {
    let sealed = sealed();
    let script = "printf '%s\\n' \"$3\" | \"$1\" decrypt \"$2\" --password-file /dev/stdin";
    sh(
        script,
        &[Path::new(ZBACKUP), &sealed.file, Path::new(PASSWORD)],
    )
    .good();
    assert_eq!(sealed.others(), ["site.tar.gz"]);
}

#[test]
fn without_a_terminal_and_a_password_file_there_is_no_password() {
    let sealed = sealed();
    let ran = zbackup([Path::new("decrypt"), &sealed.file]);
    ran.expect(2, &["site.tar.gz.enc", "no terminal", "--password-file"]);
    assert!(sealed.others().is_empty());
    // Nor is it read from what happens to be the input.
    let script = "echo \"$3\" | setsid --wait \"$1\" decrypt \"$2\"";
    sh(
        script,
        &[Path::new(ZBACKUP), &sealed.file, Path::new(PASSWORD)],
    )
    .expect(2, &["no terminal"]);
}

/// Types `typed` when the program asks for the password.
fn typing(arguments: &[&Path], typed: &str) -> (String, i32) {
    on_a_terminal(Command::new(ZBACKUP).args(arguments), ":", typed)
}

#[test]
fn on_a_terminal_the_password_is_asked_for_and_not_shown() {
    let sealed = sealed();
    let decrypt = [Path::new("decrypt"), &sealed.file];
    let (screen, code) = typing(&decrypt, &format!("{PASSWORD}\n"));
    assert_eq!(code, 0, "{screen}");
    assert!(
        screen.contains("Password of") && screen.contains("site.tar.gz.enc"),
        "{screen}"
    );
    assert!(!screen.contains("correct horse"), "{screen}");
    assert_eq!(
        fs::read(sealed.folder.join("site.tar.gz")).unwrap(),
        sealed.plain
    );
}

#[test]
fn a_wrong_or_empty_password_on_a_terminal_is_said() {
    let sealed = sealed();
    let decrypt = [Path::new("decrypt"), &sealed.file];
    let (screen, code) = typing(&decrypt, "mistyped\n");
    assert_eq!(code, 3, "{screen}");
    assert!(screen.contains("wrong password"), "{screen}");
    assert!(!screen.contains("mistyped"), "{screen}");
    let (screen, code) = typing(&decrypt, "\n");
    assert_eq!(code, 2, "{screen}");
    assert!(screen.contains("empty"), "{screen}");
    assert!(sealed.others().is_empty());
}

#[test]
fn verify_asks_on_a_terminal_too() {
    let mut site = Site::new();
    site.encrypt(true);
    site.backup();
    let arguments = [Path::new("verify"), Path::new("--dir"), &site.backups()];
    let (screen, code) = typing(&arguments, &format!("{PASSWORD}\n"));
    assert_eq!(code, 0, "{screen}");
    assert!(
        screen.contains("proven") && !screen.contains("correct horse"),
        "{screen}"
    );
}

#[test]
fn a_file_that_zotonic_encrypted_opens_with_a_note() {
    let sealed = sealed();
    let plain = sealed.site.path("plain");
    write(&plain, &sealed.plain);
    seal_z1(PASSWORD, &plain, &sealed.file);
    sealed
        .decrypt(&[])
        .expect(0, &["decrypted to", "Zotonic's own module", "gunzip -t"]);
    assert_eq!(
        fs::read(sealed.folder.join("site.tar.gz")).unwrap(),
        sealed.plain
    );
    let wrong = sealed.password_file("wrong");
    let output = sealed.folder.join("out");
    zbackup([
        Path::new("decrypt"),
        &sealed.file,
        Path::new("-o"),
        &output,
        Path::new("--password-file"),
        &wrong,
    ])
    .expect(3, &["wrong password"]);
    assert!(!output.exists());
}

#[test]
fn an_interrupt_leaves_no_output() {
    let mut site = Site::new();
    let big = fs::File::create(site.path("media/big")).unwrap();
    // Zeros: small when packed, so make it noise enough to take a while.
    drop(big);
    write(&site.path("media/big"), common::noise(64 << 20, 11));
    site.encrypt(true);
    let name = site.backup();
    let folder = site.path("out");
    fs::create_dir(&folder).unwrap();
    let output = folder.join("files.tar.gz");
    let start = || {
        let _ = fs::remove_file(&output);
        Running::start(
            site.command(ZBACKUP)
                .arg("decrypt")
                .arg(site.part(&name, "files"))
                .arg("-o")
                .arg(&output)
                .arg("--password-file")
                .arg(site.path("password")),
        )
    };
    let writes = |_: &Running| fs::read_dir(&folder).unwrap().next().is_some();
    interrupted(start, writes).expect(1, &["cancelled"]);
    assert!(tree(&folder).is_empty());
}
