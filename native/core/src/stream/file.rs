//! Encrypting and decrypting one file, outside of any backup.

use super::flushed::FlushedFile;
use super::read::{Encryption, StoredReader, is_sealed};
use super::write::StreamWriter;
use super::z2::{Context, Sealer};
use crate::error::{Error, Result};
use crate::progress::{Monitor, Phase};
use crate::secret::Password;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A decrypted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Where it is.
    pub output: PathBuf,
    /// How the input was encrypted. After [`Encryption::Z1`] nothing proves that the output is what
    /// was encrypted.
    pub encryption: Encryption,
}

/// Decrypts `input` to `output`, by default its name without `.enc`. The output appears when
/// everything has authenticated, and only then; one that exists is replaced only with `force`.
///
/// # Errors
/// `Usage`, `Exists`, `WrongPassword`, `Damaged`, `Io`, `Cancelled`. No output then, and one that was
/// there before is untouched.
pub fn decrypt_file(
    input: &Path,
    output: Option<&Path>,
    password: &Password,
    force: bool,
    monitor: &Monitor,
) -> Result<Opened> {
    let output = decrypted_name(input, output, force)?;
    let staged = stage(&output)?;
    monitor.begin(Phase::Decrypt, Some(length(input)?))?;
    let mut reader = StoredReader::open_unhashed(input, Some(password), monitor)?;
    let encryption = reader.encryption();
    if encryption == Encryption::None {
        return Err(not_encrypted(input));
    }
    let file = staged
        .as_file()
        .try_clone()
        .map_err(Error::io("cannot write", &output))?;
    let mut out = FlushedFile::new(file, &output)?;
    reader.write_to(&mut out)?;
    out.finish()?;
    publish(staged, &output, force)?;
    Ok(Opened { output, encryption })
}

/// Where [`decrypt_file`] puts its output, when nothing but the password and the file's content can be in
/// the way.
///
/// # Errors
/// `Usage`, `Exists`, `Io`.
pub fn decrypted_name(input: &Path, output: Option<&Path>, force: bool) -> Result<PathBuf> {
    let output = match output {
        Some(output) => output.to_owned(),
        None if input.extension().is_some_and(|end| end == "enc") => input.with_extension(""),
        None => {
            return Err(Error::Usage(format!(
                "{} does not end in .enc: name the output",
                input.display()
            )));
        }
    };
    check(input, &output, force)?;
    if !is_sealed(input)? {
        return Err(not_encrypted(input));
    }
    Ok(output)
}

/// Encrypts `input` to `output`, by default its name with `.enc` behind it, as backups are.
///
/// # Errors
/// `Exists`, `Io`, `Cancelled`. No output then.
pub fn encrypt_file(
    input: &Path,
    output: Option<&Path>,
    password: &Password,
    force: bool,
    monitor: &Monitor,
) -> Result<PathBuf> {
    let output = output.map_or_else(
        || {
            let mut name = input.as_os_str().to_owned();
            name.push(".enc");
            PathBuf::from(name)
        },
        Path::to_owned,
    );
    check(input, &output, force)?;
    let staged = stage(&output)?;
    monitor.begin(Phase::Encrypt, Some(length(input)?))?;
    let mut source = File::open(input).map_err(Error::io("cannot read", input))?;
    let file = staged
        .reopen()
        .map_err(Error::io("cannot write", &output))?;
    let sealer = Sealer::new(password)?;
    let mut writer = StreamWriter::start(file, &output, None, Some(&sealer), &Context::NONE)?;
    loop {
        let (count, failure) = writer.fill_from(&mut source, super::BLOCK as u64)?;
        if let Some(error) = failure {
            return Err(Error::io("cannot read", input)(error));
        }
        // Also when nothing came: the last chance to be cancelled.
        monitor.add(count)?;
        if count == 0 {
            break;
        }
    }
    writer.finish()?;
    publish(staged, &output, force)?;
    Ok(output)
}

fn not_encrypted(input: &Path) -> Error {
    Error::damaged(input, "it is not an encrypted backup file")
}

fn check(input: &Path, output: &Path, force: bool) -> Result<()> {
    // The input is asked for first: its absence is what a person wants to hear of.
    length(input)?;
    if output.is_dir() {
        return Err(Error::Usage(format!(
            "{} is a folder: name a file in it as the output",
            output.display()
        )));
    }
    match output.symlink_metadata() {
        Ok(_) if !force => Err(Error::Exists(output.to_owned())),
        // Even by force no device is replaced by a file.
        Ok(there) if !there.is_file() && !there.is_symlink() => Err(Error::Usage(format!(
            "{} is not a file: choose another output",
            output.display()
        ))),
        _ => Ok(()),
    }
}

/// A file beside `output`, readable by its owner only, that goes away unless it is published.
fn stage(output: &Path) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".zbackup-")
        .tempfile_in(folder(output))
        .map_err(Error::io("cannot write in", folder(output)))
}

fn publish(staged: NamedTempFile, output: &Path, force: bool) -> Result<()> {
    let published = if force {
        staged.persist(output)
    } else {
        staged.persist_noclobber(output)
    };
    match published {
        Ok(_) => crate::durable::sync_folder(folder(output)),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::Exists(output.to_owned()))
        }
        Err(error) => Err(Error::io("cannot write", output)(error.error)),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn length(input: &Path) -> Result<u64> {
    let metadata = input.metadata().map_err(Error::io("cannot read", input))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() {
            "a folder"
        } else {
            "not a file"
        };
        let input = input.display();
        return Err(Error::Usage(format!("{input} is {kind}: name a file")));
    }
    Ok(metadata.len())
}
