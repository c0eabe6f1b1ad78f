//! A child process that cannot outlive its test and whose output is kept.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// How much of a log is worth printing below a failure.
const LOG_TAIL_BYTES: usize = 6_000;

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Ends by itself with a status that [`Self::ended`] reports.
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its standard output and error going to
    /// `<dir>/<name>.log`, in a process group of its own.
    ///
    /// `setpriv` ties its life to the thread that started it, so that even a
    /// test run that is killed leaves nothing behind.
    pub fn start(name: &str, dir: &Path, command: &Command) -> Self {
        let log = dir.join(format!("{name}.log"));
        let out = File::create(&log).unwrap();
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .process_group(0);
        if let Some(cwd) = command.get_current_dir() {
            tied.current_dir(cwd);
        }
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(key, value),
                None => tied.env_remove(key),
            };
        }
        let child = tied.spawn().unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        Self { name: name.to_owned(), child, log, status: None }
    }

    /// Everything written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The exit status, once there is one.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails the test when the process is gone already.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.ended() {
            panic!("{} ended with {status}:\n{}", self.name, tail(&self.log()));
        }
    }

    /// Ends the process and all it started, without a chance to tidy up.
    pub fn kill(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        self.status = self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("──── {} ────\n{}", self.name, tail(&self.log()));
        }
    }
}

fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(LOG_TAIL_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
