//! Writing to the terminal, a file or a pipe. Any of them may refuse: the reader of a pipe ends (`| head -1`), a disk is
//! full. Commands use these functions, because `println!` and `eprintln!` panic then.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use super::{CliError, Exit};

/// Whether somebody still reads standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Reads,
    /// The other end of the pipe is closed: nothing that is written from now on is seen.
    Gone,
}

/// Writes data and the end of the line to standard output.
///
/// # Errors
/// When it could not be written although somebody may be reading.
pub fn data(text: impl Display) -> Result<Reader, CliError> {
    reader(write(text))
}

/// Help or the version, as clap shows it: with colours on a terminal.
pub fn styled(text: &clap::Error) -> Result<(), CliError> {
    reader(text.print().and_then(|()| io::stdout().flush())).map(|_| ())
}

/// [`data`] that is lost for good if it is not written: a closed pipe is an error, too.
pub fn write(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn reader(written: io::Result<()>) -> Result<Reader, CliError> {
    match written {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(CliError::new(Exit::Failed, failure(&error))),
    }
}

pub fn failure(error: &io::Error) -> String {
    format!("standard output cannot be written: {error}")
}

/// Writes a message and the end of the line to standard error. Nobody can be told when that fails.
pub fn message(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
