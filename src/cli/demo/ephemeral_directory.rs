//! A directory below that for temporary files, which goes with the process.
//!
//! A process that is killed leaves it behind. The next one removes it: by its name, its owner and its mode it is a demo's,
//! nobody has its lock, which the kernel takes from whoever ends, and nobody listens on its control socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::CONTROL_SOCKET;
use crate::cli::output;

const PREFIX: &str = "bitcall-demo-";
const LOCK_FILE: &str = "lock";
const RANDOM_DIGITS: usize = 16;
const MODE: u32 = 0o700;
/// Another demo that starts at the same moment may take a new directory for an abandoned one.
const ATTEMPTS: usize = 3;

pub struct EphemeralDirectory {
    path: PathBuf,
    /// None on a file system without locks, where nobody takes it for abandoned either.
    _lock: Option<OwnedFd>,
}

impl EphemeralDirectory {
    /// Makes one in `place`.
    pub fn make(place: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let random = getrandom::u64().map_err(io::Error::from)?;
            let path = place.join(format!("{PREFIX}{random:0RANDOM_DIGITS$x}"));
            DirBuilder::new().mode(MODE).create(&path)?;
            let lock = match lock(&path, OFlags::CREATE | OFlags::EXCL) {
                Err(Errno::WOULDBLOCK | Errno::NOENT) => continue,
                outcome => outcome.ok(),
            };
            // It may have been removed before it was locked.
            if path.exists() {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("each one that was made was removed at once"))
    }

    /// Removes those in `place` whose processes have ended without doing so.
    pub fn remove_abandoned(place: &Path) {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        for path in entries.filter(|entry| is_name(&entry.file_name().to_string_lossy())).map(|entry| entry.path()) {
            if !is_ours(&path) {
                continue;
            }
            // Held until it is removed.
            let Ok(_lock) = lock(&path, OFlags::empty()) else { continue };
            if UnixStream::connect(path.join(CONTROL_SOCKET)).is_err() {
                remove(&path);
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for EphemeralDirectory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == RANDOM_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// The lock of the directory. It is on a file in it, as the store has that on the directory itself.
fn lock(directory: &Path, how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | how;
    let file = rustix::fs::open(directory.join(LOCK_FILE), flags, Mode::from_raw_mode(0o600))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Whether it is a directory that this user has made, and for itself alone; no link to one.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| {
        let is_mine = found.uid() == rustix::process::geteuid().as_raw();
        found.is_dir() && is_mine && found.permissions().mode() & 0o7777 == MODE
    })
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        output::message(format_args!("warning: {} could not be removed: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_what_an_ended_demo_has_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let directory = |name: &str, mode| {
            let path = place.path().join(name);
            DirBuilder::new().mode(mode).create(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            fs::write(path.join("bitcall.redb"), "data").unwrap();
            fs::write(path.join(LOCK_FILE), "").unwrap();
            path
        };
        let living = EphemeralDirectory::make(place.path()).unwrap();
        let abandoned =
            [directory("bitcall-demo-0123456789abcdef", 0o700), directory("bitcall-demo-0000000000000000", 0o700)];
        let listening = directory("bitcall-demo-1111111111111111", 0o700);
        let _listener = UnixListener::bind(listening.join(CONTROL_SOCKET)).unwrap();
        let link = place.path().join("bitcall-demo-2222222222222222");
        let elsewhere = directory("elsewhere", 0o700);
        symlink(&elsewhere, &link).unwrap();
        let file = place.path().join("bitcall-demo-3333333333333333");
        fs::write(&file, "").unwrap();
        let without_lock = directory("bitcall-demo-7777777777777777", 0o700);
        fs::remove_file(without_lock.join(LOCK_FILE)).unwrap();
        let kept = [
            without_lock,
            living.path().to_owned(),
            listening,
            link,
            elsewhere.join("bitcall.redb"),
            file,
            directory("bitcall-demo-4444444444444444", 0o755),
            directory("bitcall-demo-notes", 0o700),
            directory("bitcall-demo-55555555555555555", 0o700),
            directory("my-bitcall-demo-6666666666666666", 0o700),
        ];
        EphemeralDirectory::remove_abandoned(place.path());
        for path in &abandoned {
            assert!(!path.exists(), "{path:?}");
        }
        for path in &kept {
            assert!(path.exists(), "{path:?}");
        }
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
