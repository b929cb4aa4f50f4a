//! Whether what is staged can be moved to its place: asked before anything is decided.

use crate::archive::{Below, Staged, length, open_folder, split, walk_in};
use crate::error::{Error, Result, shown};
use crate::owner::Owner;
use crate::progress::Monitor;
use crate::room;
use crate::way;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::fs::{accessat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What tells one mount from another: the same disk can be there twice.
type Mount = (u64, u64);

/// Another file system that is mounted in the target, and what is to be copied to it.
///
/// One file after the other: there must be room for the copy beside what it replaces, which goes before the
/// next one comes.
struct Elsewhere {
    folder: OwnedFd,
    path: PathBuf,
    /// What has been copied by now, less what that has replaced.
    growth: u64,
    /// The most that there is at a time.
    most: u64,
}

/// Whether all that is in `staged` can be moved to `target`: not where we may not write, where a mount is in
/// the way, or where what has to be copied to another file system does not fit.
///
/// # Errors
/// `Usage` with the place; `NoRoom`, `Io`, `Cancelled`.
pub(in crate::restore) fn check(staged: &Path, target: &Path, monitor: &Monitor) -> Result<()> {
    // The target itself may be a link: that is how it was configured.
    match target.metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Error::Usage(format!(
                "{} is not a folder: files cannot be restored there",
                target.display()
            )));
        }
        Ok(_) => {}
        Err(_) if target.symlink_metadata().is_ok() => {
            return Err(Error::Usage(format!(
                "{} is a link to what is not there: is a disk not mounted?",
                target.display()
            )));
        }
        // Where nothing is, nothing is in the way.
        Err(_) => return Ok(()),
    }
    let cannot_open = |errno: Errno| Error::io("cannot open the folder", target)(errno.into());
    let top = way::open(target, way::FOLDER)?;
    let owner = Owner::of(&top).map_err(cannot_open)?;
    let Some(staged) = Staged::open(staged, owner)? else {
        return Ok(());
    };
    let unreadable = |errno: Errno| Error::io("cannot read", staged.path())(errno.into());
    let Some(tree) = staged.tree().map_err(unreadable)? else {
        return Ok(());
    };
    let mut checking = Checking {
        target,
        ours: mount_of(&tree).map_err(unreadable)?,
        below: Below::new(top),
        elsewhere: BTreeMap::new(),
    };
    checking.folder(b"")?;
    walk_in(&tree, staged.path(), &mut |node| {
        monitor.check()?;
        match node.file_type() {
            FileType::Directory => checking.folder(node.path),
            _ => checking.file(node.path, length(&node.stat)),
        }
    })?;
    for Elsewhere {
        folder, path, most, ..
    } in checking.elsewhere.values()
    {
        room::check_in(folder, path, *most)?;
    }
    Ok(())
}

struct Checking<'a> {
    target: &'a Path,
    /// Where the staged files are.
    ours: Mount,
    below: Below,
    elsewhere: BTreeMap<Mount, Elsewhere>,
}

impl<'a> Checking<'a> {
    /// The path in words, when it is needed.
    fn place<'p>(&self, path: &'p [u8]) -> impl Fn() -> PathBuf + use<'a, 'p> {
        let target = self.target;
        move || target.join(OsStr::from_bytes(path))
    }

    /// The folder at a path of the target, or the one above it that is there. `None` for one that is closed
    /// even to us, and is ours to open when its time has come.
    fn there(&mut self, path: &[u8]) -> Result<Option<BorrowedFd<'_>>> {
        let place = self.place(path);
        let mut is_ours = false;
        let found = self.below.nearest(path, &mut |parent, name, _| {
            let opened = open_folder(parent, name);
            if matches!(opened, Err(Errno::ACCESS)) {
                let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                is_ours = stat.st_uid == geteuid().as_raw();
            }
            opened
        });
        match found {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::ACCESS) if is_ours => Ok(None),
            Err(errno) => Err(Error::io("cannot open the folder", &place())(errno.into())),
        }
    }

    fn folder(&mut self, path: &[u8]) -> Result<()> {
        let place = self.place(path);
        let ours = self.ours;
        let failed = |errno: Errno| Error::io("cannot write the folder", &place())(errno.into());
        let Some(there) = self.there(path)? else {
            return Ok(());
        };
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        match accessat(there, ".", wanted, AtFlags::empty()) {
            // Below the target itself what is ours is opened.
            Err(Errno::ACCESS)
                if !path.is_empty()
                    && fstat(there).map_err(failed)?.st_uid == geteuid().as_raw() => {}
            may => may.map_err(failed)?,
        }
        let theirs = mount_of(there).map_err(failed)?;
        if theirs != ours {
            let folder = there.try_clone_to_owned();
            let folder = folder
                .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            self.elsewhere.entry(theirs).or_insert_with(|| Elsewhere {
                folder,
                path: place(),
                growth: 0,
                most: 0,
            });
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], length: u64) -> Result<()> {
        let (above, name) = split(path);
        let place = self.place(path);
        let is_mount_there = !self.elsewhere.is_empty();
        let Some(there) = self.there(above)? else {
            return Ok(());
        };
        let here = mount_of(there).ok();
        // A folder in its place is renamed, which a mount cannot be.
        let found = open_folder(there, name).and_then(mount_of).ok();
        if found.is_some() && found != here {
            return Err(Error::Usage(format!(
                "the backup has a file at {}, where another file system is mounted: unmount it for the \
                 restore, or leave the files out with --only",
                shown(&place())
            )));
        }
        let replaced = if is_mount_there {
            freed(there, name)
        } else {
            0
        };
        if let Some(elsewhere) = here.and_then(|here| self.elsewhere.get_mut(&here)) {
            let with = elsewhere.growth.saturating_add(length);
            elsewhere.most = elsewhere.most.max(with);
            elsewhere.growth = with.saturating_sub(replaced);
        }
        Ok(())
    }
}

/// How much room a file gives back when another takes its place: none of it when it has a second name, and
/// none when it is something else, which is renamed.
fn freed(folder: BorrowedFd<'_>, name: &[u8]) -> u64 {
    /// What `st_blocks` counts.
    const BLOCK: u64 = 512;
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat)
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && stat.st_nlink == 1 =>
        {
            let held = u64::try_from(stat.st_blocks).unwrap_or(0);
            length(&stat).min(held.saturating_mul(BLOCK))
        }
        _ => 0,
    }
}

/// The mount that an open folder is in.
fn mount_of(folder: impl AsFd) -> rustix::io::Result<Mount> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{StatxFlags, statx};
        let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let stat = statx(folder, "", AtFlags::EMPTY_PATH, flags)?;
        let device = (u64::from(stat.stx_dev_major) << 32) | u64::from(stat.stx_dev_minor);
        Ok((device, stat.stx_mnt_id))
    }
    #[cfg(not(target_os = "linux"))]
    {
        Ok((fstat(folder)?.st_dev as u64, 0))
    }
}

/// The same of the folder at a path.
pub(in crate::restore) fn mount(path: &Path) -> Option<Mount> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    mount_of(openat(CWD, path, flags, Mode::empty()).ok()?).ok()
}
