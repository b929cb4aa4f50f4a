//! A tar archive into a folder. Nothing in the archive is trusted: nothing outside the folder is made,
//! changed or read, whatever it says.
//!
//! What the archive has made so far is known from the disk, so that a million entries take no memory.

use super::below::{Below, open_folder, split};
use super::entries::{Entries, Entry, Kind, cleaned, refused};
use super::staged::{FolderEntry, FolderWriter, LEFT_OUT, Staged};
use super::{Incomplete, Report, Skipped};
use crate::durable;
use crate::error::Error;
use crate::owner::Owner;
use crate::progress::Monitor;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::fs::{fchmod, futimens, linkat, mkdirat, openat, statat};
use rustix::fs::{readlinkat, symlinkat, unlinkat, utimensat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Zeros of this length become a hole.
const PIECE: usize = 64 << 10;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Entries that are there now.
    pub entries: u64,
    /// The sum of the lengths of their files.
    pub bytes: u64,
    /// Entries that are not there, or not as they are in the archive.
    pub skipped: Vec<Skipped>,
}

/// Unpacks an archive into the empty folder `into`, from where [`crate::restore::place`] moves it to its
/// place; and makes that safe on the disk. Access to `into` should be for nobody else: it is the files
/// in it that have the modes of the archive. What root unpacks belongs to the owner of `into`.
///
/// `rename` gives the path for each path in the archive, and leaves out an entry with `None`. Bytes that
/// are read count as progress where they are read.
///
/// # Errors
/// `Structure` when the archive is not whole, or has an entry that no honest program writes; `Read` with
/// what `archive` says, or with an [`Error`] about the disk, or `Cancelled`. What was unpacked stays.
pub fn unpack(
    archive: impl Read,
    into: &Path,
    rename: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    monitor: &Monitor,
) -> Result<Unpacked, Incomplete> {
    let cannot = |errno: Errno| Error::io("cannot write the folder", into)(errno.into());
    let (staged, tree) = Staged::create(into)?;
    let owner = Owner::of(&staged).map_err(cannot)?;
    let mut unpacking = Unpacking {
        into,
        owner,
        below: Below::new(tree),
        folders: FolderWriter::create(&staged, owner)
            .map_err(Error::io("cannot write the folder", into))?,
        report: Report::default(),
        entries: 0,
        bytes: 0,
        buffer: vec![0; PIECE],
        monitor,
    };
    let mut entries = Entries::new(BufReader::with_capacity(256 << 10, archive));
    while let Some(entry) = entries.next()? {
        monitor.check()?;
        if let Kind::Other(letter) = entry.kind {
            let reason = format!("it is an entry of the unknown kind {:?}", letter as char);
            unpacking.report.add(&entry.name, reason);
            continue;
        }
        if let Some(path) = rename(&entry.name) {
            let path = match path.as_slice() {
                b"" => path,
                _ => cleaned(&path).map_err(|why| refused(&path, why))?,
            };
            unpacking.entry(&mut entries, &entry, &path, rename)?;
        }
    }
    unpacking
        .folders
        .finish()
        .map_err(Error::io("cannot write the folder", into))?;
    durable::sync_all_in(&staged).map_err(cannot)?;
    Ok(Unpacked {
        entries: unpacking.entries,
        bytes: unpacking.bytes,
        skipped: unpacking.report.finish(),
    })
}

impl From<Error> for Incomplete {
    fn from(error: Error) -> Self {
        Self::Read(error.into())
    }
}

struct Unpacking<'a> {
    /// For messages.
    into: &'a Path,
    owner: Owner,
    below: Below,
    folders: FolderWriter,
    report: Report,
    entries: u64,
    bytes: u64,
    buffer: Vec<u8>,
    monitor: &'a Monitor,
}

impl Unpacking<'_> {
    fn entry<R: Read>(
        &mut self,
        entries: &mut Entries<R>,
        entry: &Entry,
        path: &[u8],
        rename: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), Incomplete> {
        if path.is_empty() {
            return match entry.kind {
                // Its place is there already, and is not the archive's to change.
                Kind::Folder => Ok(()),
                _ => Err(refused(&entry.name, "is in the place of the folder itself")),
            };
        }
        let (above, name) = split(path);
        let owner = self.owner;
        let mut make_folder =
            |parent: BorrowedFd<'_>, name: &[u8], _: &[u8]| make_folder(parent, name, owner);
        let folder = match self.below.folder(above, &mut make_folder) {
            Ok(folder) => folder
                .try_clone_to_owned()
                .map_err(|error| Error::io("cannot open the folder", self.into)(error))?,
            Err(errno) => return self.unmade(errno, entry, path),
        };
        let made = match entry.kind {
            Kind::Folder => self.folder(entry, path),
            Kind::File => match create(&folder, name) {
                Ok(file) => {
                    self.owner.give(&file).map_err(self.failed(path))?;
                    self.contents(entries, entry, path, file)?;
                    Ok(())
                }
                Err(errno) => Err(errno),
            },
            Kind::Symlink if leads_out(path, &entry.target) => {
                return self.leave_out(
                    &folder,
                    entry,
                    path,
                    "it is a link that leads, or could lead, out of the folder",
                );
            }
            Kind::Symlink => symlink(&folder, name, &entry.target, entry.modified, owner),
            Kind::HardLink => return self.hard_link(&folder, entry, path, rename),
            Kind::Device => {
                return self.leave_out(&folder, entry, path, "it is a device, not a file");
            }
            Kind::Fifo | Kind::Other(_) => {
                return self.leave_out(&folder, entry, path, "it is a FIFO, not a file");
            }
        };
        match made {
            Ok(()) => {
                self.entries += 1;
                Ok(())
            }
            Err(errno) => self.unmade(errno, entry, path),
        }
    }

    /// An entry could not be made: the archive's fault, that of this file system, or that of the disk.
    fn unmade(&mut self, errno: Errno, entry: &Entry, path: &[u8]) -> Result<(), Incomplete> {
        match errno {
            Errno::NOTDIR | Errno::LOOP => Err(refused(
                &entry.name,
                "is below something that the archive itself has made a file or a link",
            )),
            Errno::EXIST => Err(refused(
                &entry.name,
                "comes twice, and is something else the second time",
            )),
            Errno::NAMETOOLONG | Errno::ILSEQ => {
                self.report
                    .add(path, format!("it cannot have that name here: {errno}"));
                Ok(())
            }
            errno => Err(self.failed(path)(errno).into()),
        }
    }

    fn failed<'p>(&self, path: &'p [u8]) -> impl FnOnce(Errno) -> Error + use<'_, 'p> {
        let into = self.into;
        move |errno| failed(into, path)(errno.into())
    }

    fn folder(&mut self, entry: &Entry, path: &[u8]) -> rustix::io::Result<()> {
        let owner = self.owner;
        let mut make_folder =
            |parent: BorrowedFd<'_>, name: &[u8], _: &[u8]| make_folder(parent, name, owner);
        if let Err(errno) = self.below.folder(path, &mut make_folder) {
            // What it is in is a folder: then this itself is there as something else.
            return Err(match errno {
                Errno::NOTDIR | Errno::LOOP => Errno::EXIST,
                errno => errno,
            });
        }
        self.strip(entry, path);
        let record = FolderEntry {
            path: path.to_vec(),
            mode: entry.mode & 0o777,
            modified: entry.modified,
        };
        self.folders
            .put(&record)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn contents<R: Read>(
        &mut self,
        entries: &mut Entries<R>,
        entry: &Entry,
        path: &[u8],
        file: OwnedFd,
    ) -> Result<(), Incomplete> {
        let file = File::from(file);
        let failed = || failed(self.into, path);
        let mut end = 0;
        for &(offset, length) in &entry.pieces {
            let (mut here, piece_end) = (offset, offset.saturating_add(length));
            while here < piece_end {
                self.monitor.check()?;
                let most = (piece_end - here).min(PIECE as u64);
                let buffer = &mut self.buffer[..most as usize];
                entries.fill(buffer)?;
                if *buffer != ZEROS {
                    file.write_all_at(buffer, here).map_err(failed())?;
                    end = here + most;
                }
                here += most;
            }
        }
        if end < entry.length {
            file.set_len(entry.length).map_err(failed())?;
        }
        self.bytes = self.bytes.checked_add(entry.length).ok_or_else(|| {
            refused(
                &entry.name,
                "makes the files longer, all together, than anything can hold",
            )
        })?;
        let mode = Mode::from_raw_mode((entry.mode & 0o777) as _);
        fchmod(&file, mode)
            .and_then(|()| futimens(&file, &times(entry.modified)))
            .map_err(self.failed(path))?;
        #[cfg(not(target_os = "linux"))]
        file.sync_all().map_err(failed())?;
        self.strip(entry, path);
        Ok(())
    }

    fn strip(&mut self, entry: &Entry, path: &[u8]) {
        if entry.mode & 0o7000 != 0 {
            let reason = "it is restored without its setuid, setgid and sticky bits";
            self.report.add(path, reason);
        }
    }

    fn hard_link(
        &mut self,
        folder: &OwnedFd,
        entry: &Entry,
        path: &[u8],
        rename: &dyn Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), Incomplete> {
        let no_file = || {
            refused(
                &entry.name,
                "is a hard link to what is no earlier file of the archive",
            )
        };
        let target = cleaned(&entry.target).map_err(|_| no_file())?;
        let Some(target) = rename(&target) else {
            self.report
                .add(path, "it is a hard link to a file that is not restored");
            return Ok(());
        };
        let (above, target) = split(&target);
        let from = self
            .below
            .folder(above, &mut |parent, name, _| open_folder(parent, name));
        let found = from.and_then(|from| {
            let stat = statat(from, target, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok((from, FileType::from_raw_mode(stat.st_mode), stat.st_ino))
        });
        let name = split(path).1;
        let made = match found {
            Ok((from, FileType::RegularFile, inode)) => {
                match linkat(from, target, folder, name, AtFlags::empty()) {
                    Err(Errno::EXIST) => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) if stat.st_ino == inode => Ok(()),
                        Ok(stat) if is(&stat, FileType::RegularFile) => {
                            unlinkat(folder, name, AtFlags::empty())
                                .and_then(|()| linkat(from, target, folder, name, AtFlags::empty()))
                        }
                        Ok(_) => Err(Errno::EXIST),
                        Err(errno) => Err(errno),
                    },
                    other => other,
                }
            }
            // Some programs have two names for one symbolic link, which is a new one at its place.
            Ok((from, FileType::Symlink, _)) => {
                let to = readlinkat(from, target, Vec::new()).map_err(self.failed(path))?;
                if to.as_c_str() == LEFT_OUT || leads_out(path, to.to_bytes()) {
                    let reason = "it is a hard link to something that is left out";
                    return self.leave_out(folder, entry, path, reason);
                }
                symlink(folder, name, to.to_bytes(), entry.modified, self.owner)
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
                return Err(no_file());
            }
            Err(errno) => Err(errno),
        };
        match made {
            Ok(()) => {
                self.entries += 1;
                Ok(())
            }
            Err(errno) => self.unmade(errno, entry, path),
        }
    }

    /// Something stands in its place until everything is moved: what the archive has below it, or links
    /// to it, is seen.
    fn leave_out(
        &mut self,
        folder: &OwnedFd,
        entry: &Entry,
        path: &[u8],
        reason: &str,
    ) -> Result<(), Incomplete> {
        self.report.add(path, reason);
        let (name, target) = (split(path).1, LEFT_OUT.to_bytes());
        match symlink(folder, name, target, entry.modified, self.owner) {
            Ok(()) => Ok(()),
            Err(errno) => self.unmade(errno, entry, path),
        }
    }
}

/// Opens a folder, and makes it when it is not there. Only its owner comes in until all is in its place.
fn make_folder(parent: BorrowedFd<'_>, name: &[u8], owner: Owner) -> rustix::io::Result<OwnedFd> {
    match open_folder(parent, name) {
        Err(Errno::NOENT) => {
            mkdirat(parent, name, Mode::RWXU)?;
            let folder = open_folder(parent, name)?;
            owner.give(&folder)?;
            Ok(folder)
        }
        other => other,
    }
}

/// Makes a file, in the place of an earlier one of that name. That one may have other names.
fn create(folder: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    again(folder, name, FileType::RegularFile, || {
        openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
    })
}

fn symlink(
    folder: &OwnedFd,
    name: &[u8],
    target: &[u8],
    modified: Timespec,
    owner: Owner,
) -> rustix::io::Result<()> {
    again(folder, name, FileType::Symlink, || {
        symlinkat(target, folder, name)
    })?;
    owner.give_link(folder, name)?;
    utimensat(folder, name, &times(modified), AtFlags::SYMLINK_NOFOLLOW)
}

/// Makes something; if there is something of the same kind, after that was removed.
fn again<T>(
    folder: &OwnedFd,
    name: &[u8],
    kind: FileType,
    make: impl Fn() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if !is(&stat, kind) {
                return Err(Errno::EXIST);
            }
            unlinkat(folder, name, AtFlags::empty())?;
            make()
        }
        other => other,
    }
}

/// The error of writing to what is to be at `path`, with that in words only when it is needed.
fn failed<'a>(into: &'a Path, path: &'a [u8]) -> impl FnOnce(io::Error) -> Error + use<'a> {
    move |error| Error::io("cannot write", &into.join(OsStr::from_bytes(path)))(error)
}

fn is(stat: &rustix::fs::Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

/// Whether a symbolic link at `path` may lead out of the folder. One that goes up only at its start
/// cannot, whatever other links of this kind it leads through.
fn leads_out(path: &[u8], target: &[u8]) -> bool {
    let mut depth = path.iter().filter(|&&byte| byte == b'/').count();
    let mut goes_down = false;
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if goes_down || depth == 0 => return true,
            b".." => depth -= 1,
            _ => goes_down = true,
        }
    }
    target.first().is_none_or(|&byte| byte == b'/')
}

fn times(modified: Timespec) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT as _,
        },
        last_modification: modified,
    }
}
