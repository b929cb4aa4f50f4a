//! `zbackup`: backup, proof and recovery of a Zotonic site from a shell.

mod args;
mod progress;
mod show;
mod signal;

use args::{Args, Command, Where};
use clap::Parser;
use progress::Terminal;
use signal::Echo;
use std::fs::File;
use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use zbackup_core::database::UnprovenDump;
use zbackup_core::error::{Error, ErrorKind, Result, harmless};
use zbackup_core::progress::{Cancel, Monitor, NoProgress, Progress};
use zbackup_core::secret::{Password, Secret};
use zbackup_core::site::{self, Site, TimeZone};
use zbackup_core::stream::{Encryption, decrypt_file, decrypted_name};
use zbackup_core::verify::{self, Verified};
use zbackup_core::{backup, list, offsite, priority, restore, revisions};

/// Everything was done.
const DONE: u8 = 0;
/// Something could not be done.
const FAILED: u8 = 1;
/// The command, the configuration or what it needs is wrong. Also clap's code for wrong arguments.
const USAGE: u8 = 2;
/// The password does not open the file.
const WRONG_PASSWORD: u8 = 3;
/// A file is not what it was.
const DAMAGED: u8 = 4;

/// The terminal of the person who started this, whatever the input is.
const TERMINAL: &str = "/dev/tty";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_understood(&error),
    };
    let cancel = Cancel::default();
    signal::cancel_on_interrupt(cancel.clone());
    let is_json = args.command.is_json();
    let code = run(&args, cancel).unwrap_or_else(|error| {
        let words = words(&error, &args.command);
        let json = show::failure(error.kind(), &words);
        if !is_json || print(&json).is_err() {
            tell(&format!("zbackup: {words}\n"));
        }
        exit_code(&error, &args.command)
    });
    ExitCode::from(code)
}

/// What clap says of a command: help that was asked for, or why it is wrong. A program that asked for JSON
/// gets that.
fn not_understood(error: &clap::Error) -> ExitCode {
    let is_wrong = error.use_stderr();
    let is_json = std::env::args_os().any(|word| word == "--json");
    let text = error.to_string();
    let json = show::failure(ErrorKind::Usage, text.trim_end());
    if !is_wrong || !is_json || print(&json).is_err() {
        // With its colours, where it is a terminal.
        let _ = error.print();
    }
    ExitCode::from(if is_wrong { USAGE } else { DONE })
}

/// To stdout. Nothing that a list or an archive says is obeyed by a terminal. A reader that has seen enough, as
/// `head` does, is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(harmless(text).as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Io {
            doing: "cannot write to",
            path: "the standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// To stderr, the same. When nobody listens there, the work goes on.
fn tell(text: &str) {
    let _ = std::io::stderr().write_all(harmless(text).as_bytes());
}

/// What went wrong, and what to do about it on the command line.
fn words(error: &Error, command: &Command) -> String {
    match error {
        Error::Exists(path) => format!(
            "{} exists already: remove it, or choose another output with -o, or replace it with --force",
            path.display()
        ),
        // Only what opens backups asks; a new one would not be encrypted.
        Error::Io { doing, .. } if *doing == Password::READING && command.asks_for_password() => {
            format!("{error}; leave [encryption] out of site.toml to be asked for the password")
        }
        _ => error.to_string(),
    }
}

fn exit_code(error: &Error, command: &Command) -> u8 {
    // What says how to work cannot be read; not what is worked on.
    if let Error::Io { path, doing, .. } = error
        && (command.config() == Some(path) || *doing == Password::READING)
    {
        return USAGE;
    }
    match error.kind() {
        ErrorKind::Usage | ErrorKind::NoPassword => USAGE,
        ErrorKind::WrongPassword => WRONG_PASSWORD,
        ErrorKind::Damaged => DAMAGED,
        _ => FAILED,
    }
}

/// A missing part counts as damage. What could not be read, or only not with this password or these settings,
/// may be good.
fn verdict(verified: &[Verified]) -> u8 {
    if verify::is_proven(verified) {
        return DONE;
    }
    let wrong = || verified.iter().filter(|backup| !backup.ok);
    let kinds = || wrong().flat_map(|backup| backup.parts.iter().filter_map(|part| part.kind));
    let is_damage = |kind| matches!(kind, ErrorKind::Damaged | ErrorKind::NotFound);
    if wrong().any(|backup| backup.problem.is_some()) || kinds().any(is_damage) {
        DAMAGED
    } else if wrong().next().is_some() && kinds().all(|kind| kind == ErrorKind::WrongPassword) {
        WRONG_PASSWORD
    } else if wrong().next().is_some() && kinds().all(|kind| kind == ErrorKind::Usage) {
        USAGE
    } else {
        FAILED
    }
}

fn run(args: &Args, cancel: Cancel) -> Result<u8> {
    let mut screen = Weak::new();
    let progress: Arc<dyn Progress> = if args.command.is_json() {
        Arc::new(NoProgress)
    } else {
        let terminal = Arc::new(Terminal::new());
        // Its bar goes away with the monitor.
        screen = Arc::downgrade(&terminal);
        terminal
    };
    let monitor = Monitor::new(progress, cancel);
    // Also what reads the files, and pg_dump: the web site goes first.
    priority::lower();
    match &args.command {
        Command::Backup {
            config,
            database_only,
            json,
        } => {
            let site = read_site(config)?;
            let options = backup::Options {
                database_only: *database_only,
                day: None,
                prove: false,
            };
            let report = backup::run(&site, options, &monitor)?;
            drop(monitor);
            if *json {
                print(&show::json(&report))?;
            } else {
                print(&show::report(&report))?;
                tell(&show::notes(&report.warnings, &report.skipped));
            }
            Ok(DONE)
        }
        Command::List {
            from,
            offsite: is_offsite,
            json,
        } => {
            let (folder, site) = folder(from)?;
            settle_if_possible(site.as_ref(), &monitor);
            let (listing, place, unlisted) = if *is_offsite {
                let store = offsite_of(site.as_ref())?;
                let listing = offsite::list(store, &monitor)?;
                (listing, "the offsite store".into(), None)
            } else {
                let listing = list::run(&folder)?;
                (
                    listing,
                    folder.display().to_string(),
                    list::unlisted(&folder),
                )
            };
            let zone = site.map_or_else(|| Ok(TimeZone::system()), |site| site.time_zone())?;
            print(&if *json {
                show::json(&listing)
            } else {
                show::listing(&listing, &place, unlisted, &zone)
            })?;
            Ok(DONE)
        }
        Command::Verify {
            names,
            from,
            password_file,
            drill,
            trust_dump,
            json,
        } => {
            let (folder, site) = folder(from)?;
            settle_if_possible(site.as_ref(), &monitor);
            let database = site.as_ref().and_then(|site| site.database.as_ref());
            if *drill && database.is_none() {
                return Err(Error::Usage(
                    "--drill needs a server: add [database] to the site".into(),
                ));
            }
            let drill = database.filter(|_| *drill).map(|database| verify::Drill {
                database,
                unproven_dump: UnprovenDump::if_trusted(*trust_dump),
            });
            let verified = with_password(
                password_file.as_deref(),
                site.as_ref(),
                &screen,
                |password| verify::run(&folder, names, password, drill, &monitor),
            )?;
            drop(monitor);
            print(&if *json {
                show::json(&verified)
            } else {
                show::verified(&verified, list::unlisted(&folder))
            })?;
            Ok(verdict(&verified))
        }
        Command::Push {
            names,
            config,
            json,
        } => {
            let site = read_site(config)?;
            settle_if_possible(Some(&site), &monitor);
            let options = offsite::PushOptions {
                names: names.clone(),
                parts: Vec::new(),
            };
            let store = offsite_of(Some(&site))?;
            let pushed = offsite::push(&site.backup_dir, store, &options, &monitor)?;
            drop(monitor);
            if *json {
                print(&show::json(&pushed))?;
            } else {
                print(&show::pushed(&pushed, &site.time_zone()?))?;
                tell(&show::offsite_notes(&pushed.warnings, &pushed.problems));
            }
            Ok(offsite_verdict(&pushed.problems))
        }
        Command::Pull {
            names,
            config,
            allow_unencrypted,
            json,
        } => {
            let site = read_site(config)?;
            settle_if_possible(Some(&site), &monitor);
            let password = site.password()?;
            let options = offsite::PullOptions {
                site: Some(site.site.clone()),
                names: names.clone(),
                require_encrypted: password.is_some() && !allow_unencrypted,
                password,
            };
            let store = offsite_of(Some(&site))?;
            let pulled = offsite::pull(&site.backup_dir, store, &options, &monitor)?;
            drop(monitor);
            if *json {
                print(&show::json(&pulled))?;
            } else {
                print(&show::pulled(&pulled, &site.time_zone()?))?;
                tell(&show::offsite_notes(&pulled.warnings, &pulled.problems));
            }
            Ok(offsite_verdict(&pulled.problems))
        }
        Command::PruneRevisions {
            config,
            dry_run,
            json,
        } => {
            let site = read_site(config)?;
            let database = site.database.ok_or_else(revisions::no_database)?;
            let options = revisions::Options {
                dry_run: *dry_run,
                now: None,
            };
            let pruned = revisions::prune(&database, &site.revisions, options, &monitor)?;
            print(&if *json {
                show::json(&pruned)
            } else {
                show::pruned(&pruned)
            })?;
            Ok(if pruned.is_complete() { DONE } else { FAILED })
        }
        Command::Restore {
            name,
            config,
            only,
            timestamp,
            password_file,
            trust_dump,
            yes,
            json,
        } => {
            let site = read_site(config)?;
            match settle(Some(&site), &monitor) {
                // It may be that this restore takes its place.
                Err(error @ (Error::Unknowable(_) | Error::Unfinished { .. })) => {
                    tell(&format!("zbackup: warning: {error}\n"))
                }
                settled => settled?,
            }
            let mut options = restore::Options {
                only: only.iter().map(|piece| (*piece).into()).collect(),
                timestamp: *timestamp,
                unproven_dump: UnprovenDump::if_trusted(*trust_dump),
            };
            let plan = restore::plan(&site, name, &options)?;
            if !*yes && !confirm(&show::plan(&plan, &site)?)? {
                tell("nothing was changed\n");
                return Ok(FAILED);
            }
            if !*yes && show::is_unproven(&plan) {
                options.unproven_dump = UnprovenDump::Load; // the question said so
            }
            // The one that was agreed to, also when "recent" is another by now, or its name another's.
            let name = plan.backup.name.as_str();
            options.timestamp = Some(plan.backup.timestamp);
            let report =
                with_password(password_file.as_deref(), Some(&site), &screen, |password| {
                    restore::run(&site, name, &options, password, &monitor)
                })?;
            drop(monitor);
            if *json {
                print(&show::json(&report))?;
            } else {
                print(&show::restored(&report))?;
                tell(&show::notes(&report.warnings, &report.skipped));
            }
            Ok(DONE)
        }
        Command::Decrypt {
            file,
            output,
            password_file,
            force,
        } => {
            // A person is not asked for a password in vain.
            let output = decrypted_name(file, output.as_deref(), *force)?;
            let password = match password_file {
                Some(file) => Password::from_file(file)?,
                None => ask_password(file.clone())?,
            };
            let opened = decrypt_file(file, Some(&output), &password, *force, &monitor)?;
            drop(monitor);
            print(&format!("decrypted to {}\n", opened.output.display()))?;
            if opened.encryption == Encryption::Z1 {
                tell(
                    "zbackup: note: this file was encrypted by Zotonic's own module, whose format cannot \
                     show whether it was changed; check it with: gunzip -t\n",
                );
            }
            Ok(DONE)
        }
    }
}

fn read_site(config: &Path) -> Result<Site> {
    let site = Site::from_file(config)?;
    let password_file = match &site.encryption {
        Some(site::Encryption::PasswordFile(file)) => Some(file.as_path()),
        _ => None,
    };
    let with_secret = site.holds_secret().then_some(config);
    for file in with_secret.into_iter().chain(password_file) {
        if show::is_open_to_others(file) {
            tell(&format!(
                "zbackup: warning: {} holds a password and others can read it: chmod 600 it\n",
                file.display()
            ));
        }
    }
    if site
        .database
        .as_ref()
        .is_some_and(|database| database.psql.is_some())
    {
        tell("zbackup: note: the setting psql is ignored: a restore needs no psql any more\n");
    }
    Ok(site)
}

/// The store of a site.
fn offsite_of(site: Option<&Site>) -> Result<&offsite::Offsite> {
    let offsite = site.and_then(|site| site.offsite.as_ref());
    offsite.ok_or_else(|| {
        Error::Usage(
            "there is no offsite store: give --config a SITE.TOML with [offsite] url, access_key_id and \
             secret_access_key"
                .into(),
        )
    })
}

/// What could not be copied may be damaged, or only not fit.
fn offsite_verdict(problems: &[offsite::Problem]) -> u8 {
    let is_damage = |problem: &offsite::Problem| problem.kind == ErrorKind::Damaged;
    match problems {
        [] => DONE,
        some if some.iter().any(is_damage) => DAMAGED,
        _ => FAILED,
    }
}

/// The backup folder, and the site where it is known.
fn folder(from: &Where) -> Result<(PathBuf, Option<Site>)> {
    match (&from.config, &from.dir) {
        (Some(config), _) => {
            let site = read_site(config)?;
            Ok((site.backup_dir.clone(), Some(site)))
        }
        (None, Some(dir)) => Ok((dir.clone(), None)),
        (None, None) => Err(Error::Usage("give --config or --dir".into())),
    }
}

/// Completes or takes back a restore of the site that was interrupted.
fn settle(site: Option<&Site>, monitor: &Monitor) -> Result<()> {
    let settled = site
        .map(|site| restore::settle(site, monitor))
        .transpose()?;
    if let Some(settled) = settled.flatten() {
        tell(&show::notes(&[settled.warning()], &settled.skipped));
    }
    Ok(())
}

/// The same before what only reads, or copies backups: that works all the same.
fn settle_if_possible(site: Option<&Site>, monitor: &Monitor) {
    if let Err(error) = settle(site, monitor) {
        tell(&format!("zbackup: warning: {error}\n"));
    }
}

/// Does what may need the password: with that of the file, or of the site, else with one that is asked
/// for.
fn with_password<T>(
    file: Option<&Path>,
    site: Option<&Site>,
    screen: &Weak<Terminal>,
    work: impl Fn(Option<&Password>) -> Result<T>,
) -> Result<T> {
    let password = match (file, site) {
        (Some(file), _) => Some(Password::from_file(file)?),
        (None, Some(site)) => site.password()?,
        (None, None) => None,
    };
    match work(password.as_ref()) {
        Err(Error::PasswordRequired(file)) => {
            let ask = || ask_password(file);
            let password = match screen.upgrade() {
                Some(screen) => screen.without_bar(ask),
                None => ask(),
            };
            work(Some(&password?))
        }
        other => other,
    }
}

/// Asks on the terminal whether to go on.
fn confirm(question: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Error::Usage(
            "there is no terminal to ask whether to go on: use --yes".into(),
        ));
    }
    let ask = || {
        tell(&format!("{question}Go on? [y/N] "));
        let mut answer = String::new();
        input.lock().read_line(&mut answer).map(|_| answer)
    };
    let terminal = input.as_fd().try_clone_to_owned().map(File::from);
    let answer = terminal
        .and_then(|terminal| signal::while_asking(terminal, Echo::Shown, ask))
        .map_err(|error| Error::Usage(format!("no answer could be read: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Asks for the password on the terminal, without showing it.
fn ask_password(file: PathBuf) -> Result<Password> {
    let question = harmless(&format!("Password of {}: ", file.display()));
    let ask = || {
        let input = File::open(TERMINAL)?;
        // A reader and not the terminal itself, which would be told that Control-C is no interrupt, and be
        // set back by one thread while another ends the process.
        let config = rpassword::ConfigBuilder::new().input_reader(input).build();
        let password = rpassword::prompt_password_with_config(question, config);
        // What was typed did not show, nor that it was ended.
        tell("\n");
        password
    };
    let password = File::open(TERMINAL)
        .and_then(|terminal| signal::while_asking(terminal, Echo::Hidden, ask))
        .map_err(|_| {
            Error::Usage(format!(
                "{} is encrypted, and there is no terminal to ask for its password: use --password-file",
                file.display()
            ))
        })?;
    Password::new(Secret::new(password.into_bytes()))
}
