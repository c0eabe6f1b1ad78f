//! Files in the data directory: readable by their owner only, and owned by
//! whoever owns the directory. So that a command which root runs before the
//! first start leaves nothing behind that the server's user cannot open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes `path`, which must not exist: what lies there already, be it a link to
/// somewhere else, is not given away.
pub fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(directory) = path.parent() {
        let wanted = fs::metadata(directory)?;
        let found = file.metadata()?;
        if rustix::process::geteuid().is_root() && (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
            std::os::unix::fs::fchown(&file, Some(wanted.uid()), Some(wanted.gid()))?;
        }
    }
    Ok(file)
}
