//! `pg_dump` as a child: how it ends, and where the password is meanwhile.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::postgres::toml;
use common::{DUMP, Running, SOON, Site, is_alive, run, tree, until};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Starts a backup whose `pg_dump` writes its PID and then does `script`; waits until it is there.
fn started(script: &str) -> (Site, Running, u32) {
    let mut site = Site::new();
    site.backup();
    let pid_file = site.path("pid");
    site.fake_dump(&format!(
        "echo $$ >'{0}.new'; mv '{0}.new' '{0}'\n{script}",
        pid_file.display()
    ));
    let running = Running::start(&mut site.zbackup("backup"));
    until("pg_dump runs", || pid_file.exists());
    let pid = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    (site, running, pid)
}

#[test]
fn an_interrupt_ends_a_pg_dump_that_hangs() {
    for script in [
        // Silent.
        "sleep 1000",
        // In the middle of a line.
        "printf -- '--\\n-- Postgre'; sleep 1000",
        // With a child that holds its output.
        "sleep 1000 & wait",
        // With nothing more to say.
        "exec >&- 2>&-; sleep 1000",
        // Deaf.
        "trap '' INT TERM HUP; while :; do sleep 1; done",
    ] {
        let (site, running, pid) = started(script);
        assert!(is_alive(pid));
        let began = Instant::now();
        running.signal("INT");
        running.wait(SOON).expect(1, &["cancelled"]);
        assert!(began.elapsed() < SOON, "{script}");
        until("pg_dump is gone", || !is_alive(pid));
        assert!(!site.backups().join(".staging").exists());
        assert!(!site.backups().join(".zbackup.lock").exists());
        site.run("verify").good();
    }
}

#[test]
fn a_helper_that_outlives_pg_dump_and_holds_its_stderr_is_not_waited_for() {
    let mut site = Site::with_dump(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let pid_file = site.path("helper");
    site.fake_dump(&format!(
        "setsid sleep 1000 >/dev/null & echo $! >'{}'\ncat <<'EOF'\n{DUMP}EOF",
        pid_file.display()
    ));
    let ran = Running::start(&mut site.zbackup("backup"));
    until("the helper runs", || {
        fs::read_to_string(&pid_file).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let helper: u32 = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ran.wait(SOON)));
    common::kill("KILL", helper);
    match result {
        Ok(ran) => drop(ran.good()),
        Err(_) => panic!("the backup waits for a process that pg_dump left behind"),
    }
}

/// What a fake `pg_dump` writes down of what it can see: command lines and environments of itself and
/// of its parent (the shell that started it), and its password file.
const SPY: &str = r#"
at='@'
for pid in $$ $PPID; do
    tr '\0' '\n' </proc/$pid/cmdline >>"$at/cmdline"
    tr '\0' '\n' </proc/$pid/environ >>"$at/environ"
done
cat "$PGPASSFILE" >"$at/passfile"
ls -l /proc/$$/fd >"$at/fds"
"#;

const DATABASE_PASSWORD: &str = "p4ss:w\\rd of the d4tabase";

/// A site that is spied on, and the folder with what was seen.
fn spied(then: &str) -> (Site, std::path::PathBuf) {
    let mut site = Site::new();
    site.encrypt(true);
    let seen = site.path("seen");
    fs::create_dir(&seen).unwrap();
    site.fake_dump(&format!(
        "{}\n{then}",
        SPY.replace('@', seen.to_str().unwrap())
    ));
    let settings = format!(
        "host = \"db.example\"\nport = 5433\nuser = \"u\"\ndbname = \"d\"\nschema = \"s\"\npassword = {}\npg_dump = {}\n",
        toml(DATABASE_PASSWORD),
        toml(site.path("pg_dump").to_str().unwrap())
    );
    site.set_database(&settings);
    (site, seen)
}

#[track_caller]
fn only_the_passfile_has_the_password(seen: &Path) {
    let read = |name: &str| fs::read_to_string(seen.join(name)).unwrap();
    assert_eq!(read("passfile"), "*:*:*:*:p4ss\\:w\\\\rd of the d4tabase\n");
    for name in ["cmdline", "environ"] {
        for secret in ["p4ss", "d4tabase", "correct horse"] {
            assert!(!read(name).contains(secret), "{secret} in {name}");
        }
    }
    let environ = read("environ");
    for setting in [
        "PGHOST=db.example",
        "PGPORT=5433",
        "PGUSER=u",
        "PGDATABASE=d",
    ] {
        assert!(
            environ.lines().any(|line| line == setting),
            "no {setting} in {environ}"
        );
    }
    // Neither the pipe of the exit status nor the lock nor a staged file is for pg_dump.
    let fds = read("fds");
    for other in [".zbackup.lock", ".staging", ".sql.gz"] {
        assert!(!fds.contains(other), "{fds}");
    }
}

#[test]
fn the_password_is_in_no_command_line_no_environment_and_no_file_that_stays() {
    let (site, seen) = spied(&format!("cat <<'EOF'\n{DUMP}EOF"));
    let ran = site.run("backup").good();
    only_the_passfile_has_the_password(&seen);
    assert!(tree(&site.tmp()).is_empty(), "after success");
    ran.without(&["p4ss", "d4tabase"]);

    let (site, seen) = spied("echo 'pg_dump: error: no' >&2; exit 1");
    let ran = site.run("backup").expect(1, &["pg_dump: error: no"]);
    only_the_passfile_has_the_password(&seen);
    assert!(tree(&site.tmp()).is_empty(), "after a failure");
    ran.without(&["p4ss", "d4tabase"]);
}

#[test]
fn no_password_file_stays_when_the_program_is_killed() {
    let (site, seen) =
        spied("echo $$ >\"$at/pid.new\"; mv \"$at/pid.new\" \"$at/pid\"; sleep 1000");
    let running = Running::start(&mut site.zbackup("backup"));
    until("pg_dump runs", || seen.join("pid").exists());
    // Also while it runs the file has no name.
    assert!(tree(&site.tmp()).is_empty(), "while it runs");
    let pid: u32 = fs::read_to_string(seen.join("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let group = group(pid);
    running.signal("KILL");
    running.wait(SOON);
    only_the_passfile_has_the_password(&seen);
    assert!(tree(&site.tmp()).is_empty(), "after kill -9");
    if is_alive(pid) {
        run(Command::new("kill").args(["-9", "--", &format!("-{group}")]));
    }
}

/// The process group of a process.
fn group(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    after_name.split(' ').nth(2).unwrap().to_owned()
}

#[test]
fn a_pg_dump_ends_soon_when_the_program_was_killed() {
    let (_site, running, pid) = started("sleep 1000 & wait");
    let group = group(pid);
    running.signal("KILL");
    running.wait(SOON);
    let deadline = Instant::now() + SOON;
    while is_alive(pid) && Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let stays = is_alive(pid);
    if stays {
        run(Command::new("kill").args(["-9", "--", &format!("-{group}")]));
    }
    assert!(
        !stays,
        "pg_dump stays behind, and holds a transaction open on the server"
    );
}
