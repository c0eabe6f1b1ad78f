//! Files in the data directory: readable by their owner only, and owned by
//! whoever owns the directory. So that a command which root runs before the
//! first start leaves nothing behind that the server's user cannot open.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Makes `path`, which must not exist: what lies there already, be it a link to
/// somewhere else, is not given away.
pub fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(directory) = path.parent() {
        let wanted = fs::metadata(directory)?;
        let found = file.metadata()?;
        if rustix::process::geteuid().is_root() && (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
            std::os::unix::fs::fchown(&file, Some(wanted.uid()), Some(wanted.gid()))?;
        }
    }
    Ok(file)
}

/// Writes `path` whole or not at all, as [`replace`] does. What holds these bytes already is not written again.
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

/// Puts at `path` what `write` makes durable in an empty file: whoever is killed on the way, or loses power, leaves
/// the old file or the new one. A file that is replaced keeps its owner. On an error the old one is there still. Else the
/// new one is, and the second half of the answer says whether it will be after a loss of power.
pub fn replace<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(File) -> Result<T, E>,
) -> Result<(T, io::Result<()>), E> {
    // Perhaps somebody was killed here.
    drop_unfinished(path)?;
    let replaced = || {
        let unnamed = unnamed(path);
        let file = create_private(&unnamed)?;
        if let Ok(found) = fs::metadata(path)
            && rustix::process::geteuid().is_root()
        {
            std::os::unix::fs::fchown(&file, Some(found.uid()), Some(found.gid()))?;
        }
        let written = write(file)?;
        fs::rename(&unnamed, path)?;
        let kept = path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all());
        Ok((written, kept))
    };
    let outcome = replaced();
    if outcome.is_err() {
        // What stays in the way of the next one is told by that.
        let _ = drop_unfinished(path);
    }
    outcome
}

/// Removes what somebody who was killed while he replaced `path` has left.
pub fn drop_unfinished(path: &Path) -> io::Result<()> {
    match fs::remove_file(unnamed(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the new file of `path` is written.
fn unnamed(path: &Path) -> PathBuf {
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(".new");
    unnamed.into()
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
