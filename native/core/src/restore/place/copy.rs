//! Moves a file to where another file system is mounted, which is done by a copy.

use crate::owner::Owner;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::fs::{fchmod, fstat, fsync, futimens, openat, readlinkat, renameat, statat};
use rustix::fs::{symlinkat, unlinkat, utimensat};
use rustix::io::{Errno, Result};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// Zeros of this length become a hole.
const PIECE: usize = 64 << 10;

/// Moves a file or a link of this name from a folder to another one. Whoever looks sees the one that was
/// there, or the new one, whole; and it is gone from `from` only when it is safe on the other disk. So each
/// takes its time, as nothing else is known to do.
///
/// `unfinished` is the name of the copy until then: one that a kill has left is removed.
pub(super) fn over(
    from: impl AsFd + Copy,
    name: &[u8],
    kind: FileType,
    to: &OwnedFd,
    unfinished: &[u8],
    owner: Owner,
) -> Result<()> {
    match unlinkat(to, unfinished, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let copied = match kind {
        FileType::Symlink => link(from, name, to, unfinished, owner),
        _ => file(from, name, to, unfinished, owner),
    };
    if let Err(errno) = copied.and_then(|()| renameat(to, unfinished, to, name)) {
        let _ = unlinkat(to, unfinished, AtFlags::empty());
        return Err(errno);
    }
    fsync(to)?;
    unlinkat(from, name, AtFlags::empty())
}

fn link(
    from: impl AsFd + Copy,
    name: &[u8],
    to: &OwnedFd,
    unfinished: &[u8],
    owner: Owner,
) -> Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    symlinkat(&readlinkat(from, name, Vec::new())?, to, unfinished)?;
    owner.give_link(to, unfinished)?;
    utimensat(to, unfinished, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn file(from: impl AsFd, name: &[u8], to: &OwnedFd, unfinished: &[u8], owner: Owner) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&source)?;
    // What was unpacked was given to its owner; this is a name that the owner gave to somebody else's file.
    if stat.st_nlink > 1 && !owner.owns(&stat) {
        return Err(Errno::PERM);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = openat(to, unfinished, flags, Mode::RUSR | Mode::WUSR)?;
    owner.give(&copy)?;
    let copy = File::from(copy);
    fill(File::from(source), &copy).map_err(|error| {
        // The operating system's own, since nothing else reads or writes here.
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })?;
    fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o777))?;
    futimens(&copy, &times(&stat))?;
    fsync(&copy)
}

fn fill(mut source: File, copy: &File) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut at: u64 = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if count == 0 {
            // What is not written at the end is a hole too.
            return copy.set_len(at);
        }
        let piece = &buffer[..count];
        if piece.iter().any(|&byte| byte != 0) {
            copy.write_all_at(piece, at)?;
        }
        at += count as u64;
    }
}

#[allow(clippy::unnecessary_cast)] // not everywhere the same numbers
fn times(stat: &Stat) -> Timestamps {
    let modified = Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::fs;

    /// Where the kernel lets accounts make hard links to files of others.
    #[test]
    fn root_gives_nobody_a_copy_of_its_own_file() {
        if !rustix::process::geteuid().is_root() {
            return; // nobody else can read what is not theirs
        }
        let scratch = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| scratch.path().join(name));
        for folder in [&from, &to] {
            fs::create_dir(folder).unwrap();
            std::os::unix::fs::chown(folder, Some(65534), None).unwrap();
        }
        let secret = scratch.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        fs::hard_link(&secret, from.join("linked")).unwrap();
        for name in ["theirs", "again"] {
            fs::write(from.join(name), "theirs").unwrap();
            std::os::unix::fs::chown(from.join(name), Some(65534), None).unwrap();
        }
        fs::hard_link(from.join("again"), from.join("twice")).unwrap();
        let [source, target] = [&from, &to].map(|folder| fs::File::open(folder).unwrap());
        let target = OwnedFd::from(target);
        let owner = Owner::of(&target).unwrap();
        let copied = |name: &str| {
            let kind = FileType::RegularFile;
            over(
                &source,
                name.as_bytes(),
                kind,
                &target,
                b"unfinished",
                owner,
            )
        };
        assert_eq!(copied("linked"), Err(Errno::PERM));
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
        for name in ["theirs", "again", "twice"] {
            copied(name).unwrap();
            assert_eq!(fs::read(to.join(name)).unwrap(), b"theirs");
        }
    }
}
