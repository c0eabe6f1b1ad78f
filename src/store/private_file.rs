//! Files in the data directory: mode 0600, and owned by the directory's owner, so that a command run by root before the
//! first start leaves no file behind that the server's user cannot open.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Makes a directory and those above it that are missing: mode 0700, and owned by the owner of the directory they are in.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent
        && !parent.try_exists()?
    {
        create_private_directory(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    give_to_owner_of(parent.unwrap_or(Path::new(".")), &File::open(path)?)
}

/// Makes `path`, which must not exist: the owner of an existing file, or of a link's target, is never changed.
pub fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(directory) = path.parent() {
        give_to_owner_of(directory, &file)?;
    }
    Ok(file)
}

/// Only root can give a file to somebody else.
fn give_to_owner_of(directory: &Path, file: &File) -> io::Result<()> {
    let (wanted, found) = (fs::metadata(directory)?, file.metadata()?);
    if rustix::process::geteuid().is_root() && (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
        std::os::unix::fs::fchown(file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    Ok(())
}

/// Writes `path` atomically, as [`replace`] does. A file that has these bytes already is not written again.
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return fs::set_permissions(path, Permissions::from_mode(0o600));
    }
    let ((), kept) = replace(path, |mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    })?;
    kept
}

/// Replaces `path` by a new file that `write` fills and syncs. A crash or a loss of power on the way leaves the old file
/// or the new one. The replaced file's owner is kept. On an error the old file is still there. Otherwise the new one is,
/// and the second half of the answer says whether the directory entry was synced, too.
pub fn replace<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(File) -> Result<T, E>,
) -> Result<(T, io::Result<()>), E> {
    // Left by a process that was killed here.
    drop_unfinished(path)?;
    let replaced = || {
        let temporary = temporary_path(path);
        let file = create_private(&temporary)?;
        if let Ok(found) = fs::metadata(path)
            && rustix::process::geteuid().is_root()
        {
            std::os::unix::fs::fchown(&file, Some(found.uid()), Some(found.gid()))?;
        }
        let written = write(file)?;
        fs::rename(&temporary, path)?;
        let kept = path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all());
        Ok((written, kept))
    };
    let outcome = replaced();
    if outcome.is_err() {
        // If this fails, the next call reports it.
        let _ = drop_unfinished(path);
    }
    outcome
}

/// Removes the temporary file of an interrupted [`replace`].
pub fn drop_unfinished(path: &Path) -> io::Result<()> {
    match fs::remove_file(temporary_path(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The temporary file that becomes `path`.
fn temporary_path(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    temporary.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_file_is_replaced_by_another_and_never_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let (path, witness) = (directory.path().join("secret.json"), directory.path().join("witness"));
        fs::write(&path, "old").unwrap();
        fs::hard_link(&path, &witness).unwrap();
        fs::write(directory.path().join("secret.json.new"), "hal").unwrap();
        replace_private(&path, b"new").unwrap();
        assert_eq!(fs::read(&witness).unwrap(), b"old", "there was no moment without a whole file");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn what_is_there_already_is_kept_and_made_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret.json");
        fs::write(&path, "same").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let before = fs::metadata(&path).unwrap();
        replace_private(&path, b"same").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.ino(), after.mode() & 0o777), (before.ino(), 0o600));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        replace_private(&path, b"other").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
