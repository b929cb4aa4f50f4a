//! What is unpacked and not yet in its place: the tree, with folders that anything can be put into and
//! taken out of; and beside it a list of what the folders shall be in the end.

use super::below::open_folder;
use super::entries::{LONGEST_NAME, cleaned};
use crate::error::{Error, Result};
use crate::owner::Owner;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Timespec, fstat, mkdirat, openat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The start of the name of a folder that holds what a restore will move into its place.
pub(crate) const STAGED: &str = ".zbackup-restore-";

/// The name of the tree.
const TREE: &str = "tree";

/// The name of the list.
const FOLDERS: &str = "folders";

/// In the tree, a symbolic link to here stands for an entry that was left out. No other link leads to
/// an absolute path.
pub(crate) const LEFT_OUT: &CStr = c"/dev/null";

/// The folder that all of it is in, open: whatever else comes to be at its path, this is the one.
pub(crate) struct Staged {
    path: PathBuf,
    folder: OwnedFd,
}

impl Staged {
    /// Opens it, where it is there.
    ///
    /// # Errors
    /// `Io`; `Damaged` when it is something else, or could be somebody else's than the `owner` of where it
    /// belongs: what is in it would be theirs to choose.
    pub(crate) fn open(path: &Path, owner: Owner) -> Result<Option<Self>> {
        let strange = || Error::damaged(path, NOT_OURS);
        let not_private = || Error::damaged(path, format!("{NOT_OURS}. {NO_OWNERS}"));
        let folder = match open_folder(CWD, path.as_os_str().as_bytes()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(strange()),
            Err(errno) => return Err(Error::io("cannot open the folder", path)(errno.into())),
        };
        let staged = Self {
            path: path.to_owned(),
            folder,
        };
        let is_private =
            |folder: &OwnedFd| is_private(folder, owner).map_err(staged.failed("cannot read"));
        if !is_private(&staged.folder)? {
            return Err(not_private());
        }
        match staged.tree() {
            Ok(Some(tree)) if !is_private(&tree)? => Err(not_private()),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(strange()),
            _ => Ok(Some(staged)),
        }
    }

    /// Opens an empty folder and makes the tree in it.
    pub(super) fn create(path: &Path) -> Result<(Self, OwnedFd)> {
        let fail = |errno: Errno| Error::io("cannot write the folder", path)(errno.into());
        let staged = Self {
            path: path.to_owned(),
            folder: open_folder(CWD, path.as_os_str().as_bytes()).map_err(fail)?,
        };
        for entry in Dir::read_from(&staged.folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                return Err(fail(Errno::NOTEMPTY));
            }
        }
        mkdirat(&staged.folder, TREE, Mode::RWXU).map_err(fail)?;
        let tree = open_folder(&staged.folder, TREE.as_bytes()).map_err(fail)?;
        let owner = Owner::of(&staged.folder).map_err(fail)?;
        owner.give(&tree).map_err(fail)?;
        Ok((staged, tree))
    }

    /// Where it was when it was opened: for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is staged, while there is something.
    pub(crate) fn tree(&self) -> rustix::io::Result<Option<OwnedFd>> {
        match open_folder(&self.folder, TREE.as_bytes()) {
            Err(Errno::NOENT) => Ok(None),
            other => other.map(Some),
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(Errno) -> Error + '_ {
        move |errno| Error::io(doing, &self.path)(errno.into())
    }
}

impl AsFd for Staged {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

const NOT_OURS: &str = "it is not the private folder that was made for the restore";
const NO_OWNERS: &str = "On a file system that gives all files one owner and one mode (CIFS, FAT, FUSE), or where \
                         root is nobody (NFS with root_squash), restore as the account that the files belong to; \
                         the mount options uid and dir_mode (FAT: umask) say whose they are and what others may";

/// Whether a folder that was just made is as [`Staged::open`] will want it: some file systems make of it what
/// they like.
pub(crate) fn check_made(folder: impl AsFd, path: &Path, owner: Owner) -> Result<()> {
    match is_private(folder, owner) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Usage(format!(
            "{}, which was just made for the restore, belongs to somebody else, or others may write to it. \
             {NO_OWNERS}",
            path.display()
        ))),
        Err(errno) => Err(Error::io("cannot read", path)(errno.into())),
    }
}

fn is_private(folder: impl AsFd, owner: Owner) -> rustix::io::Result<bool> {
    let stat = fstat(folder)?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(is_folder && owner.has(&stat) && (!owner.is_given() || stat.st_mode & 0o022 == 0))
}

/// What a folder shall be.
#[derive(Debug)]
pub(crate) struct FolderEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) modified: Timespec,
}

/// The list when it is written.
pub(crate) struct FolderWriter(BufWriter<File>);

impl FolderWriter {
    pub(crate) fn create(staged: &Staged, owner: Owner) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(staged, FOLDERS, flags, Mode::RUSR | Mode::WUSR)?;
        owner.give(&file)?;
        Ok(Self(BufWriter::new(file.into())))
    }

    pub(crate) fn put(&mut self, folder: &FolderEntry) -> io::Result<()> {
        self.0
            .write_all(&(folder.path.len() as u64).to_le_bytes())?;
        self.0.write_all(&folder.mode.to_le_bytes())?;
        self.0.write_all(&folder.modified.tv_sec.to_le_bytes())?;
        self.0.write_all(&folder.modified.tv_nsec.to_le_bytes())?;
        self.0.write_all(&folder.path)
    }

    /// Not safe on the disk yet.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The list when it is read.
pub(crate) struct FolderReader(BufReader<File>);

impl FolderReader {
    /// `None` when there is no list (any more).
    pub(crate) fn open(staged: &Staged) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(staged, FOLDERS, flags, Mode::empty()) {
            Ok(file) => Ok(Some(Self(BufReader::new(file.into())))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whoever the target belongs to may write to the list, and we may be root: what is in it is looked at as
    /// if it came from an archive.
    pub(crate) fn next(&mut self) -> io::Result<Option<FolderEntry>> {
        if self.is_at_end()? {
            return Ok(None);
        }
        let length = u64::from_le_bytes(self.bytes()?);
        let mode = u32::from_le_bytes(self.bytes()?) & 0o777;
        let modified = Timespec {
            tv_sec: i64::from_le_bytes(self.bytes()?),
            tv_nsec: i64::from_le_bytes(self.bytes()?),
        };
        if length > LONGEST_NAME as u64 {
            return Err(not_ours());
        }
        let mut path = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut path)?;
        if path.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The target itself has an empty path.
        if !path.is_empty() && cleaned(&path).as_ref() != Ok(&path) {
            return Err(not_ours());
        }
        Ok(Some(FolderEntry {
            path,
            mode,
            modified,
        }))
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        loop {
            match self.0.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                filled => return filled.map(<[u8]>::is_empty),
            }
        }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn not_ours() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "its list of folders is not the one that was made for the restore",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// As whoever the target belongs to could write it.
    #[test]
    fn a_list_of_folders_leads_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let staged = Staged::create(scratch.path()).unwrap().0;
        let read = |path: &[u8], mode: u32| {
            let _ = std::fs::remove_file(scratch.path().join(FOLDERS));
            let mut list =
                FolderWriter::create(&staged, Owner::at(scratch.path()).unwrap()).unwrap();
            let modified = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let path = path.to_vec();
            let entry = FolderEntry {
                path,
                mode,
                modified,
            };
            list.put(&entry).unwrap();
            list.finish().unwrap();
            FolderReader::open(&staged).unwrap().unwrap().next()
        };
        for path in ["..", "../etc", "a/../../etc", "/etc", "a//b", "a/.", "a\0b"] {
            let error = read(path.as_bytes(), 0o755).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{path}");
        }
        assert!(read(&vec![b'x'; LONGEST_NAME + 1], 0o755).is_err());
        let entry = read(b"a/b", 0o104_777).unwrap().unwrap();
        assert_eq!((entry.path.as_slice(), entry.mode), (&b"a/b"[..], 0o777));
        assert_eq!(read(b"", 0o755).unwrap().unwrap().mode, 0o755);
    }

    /// As CIFS and FAT make it, whatever was asked for.
    #[test]
    fn a_folder_that_all_may_write_to_is_refused_where_we_are_root() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let owner = Owner::at(scratch.path()).unwrap();
        let check = |mode: u32| {
            std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(mode)).unwrap();
            let folder = std::fs::File::open(scratch.path()).unwrap();
            check_made(&folder, scratch.path(), owner)
        };
        check(0o700).unwrap();
        match check(0o777) {
            Err(error) if owner.is_given() => {
                assert_eq!(error.kind(), crate::error::ErrorKind::Usage);
                assert!(error.to_string().contains("dir_mode"), "{error}");
            }
            checked => assert!(checked.is_ok() && !owner.is_given()),
        }
    }
}
