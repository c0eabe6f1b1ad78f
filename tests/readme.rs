//! The README works when it is copied top to bottom into a shell. `readme.sh` is the machine on which that is tried, and
//! says what is not real there.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::appliance::bitcall;

/// Nobody answers DNS queries there, which these commands report by their exit code.
const NEEDS_DNS: [&str; 2] =
    ["failed with 3: bitcall domain check acme", "failed with 3: bitcall domain check phone.acme.com"];

#[test]
fn the_readme_copied_into_a_shell_works() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let blocks = shell_blocks(include_str!("../README.md"));
    let scratch = tempfile::tempdir().unwrap();
    let mut machine = Command::new("unshare");
    machine.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]).arg(repository.join("tests/readme.sh"));
    machine.arg(repository).arg(bitcall().get_program()).arg(scratch.path());
    let mut pasting = machine.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    pasting.stdin.take().unwrap().write_all(blocks.as_bytes()).unwrap();
    let output = pasting.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let said =
        || format!("{}\n{stdout}\n──── messages ────\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.ends_with("the end\n"), "{}", said());
    let failed: Vec<_> = stdout.lines().filter(|line| line.starts_with("failed with ")).collect();
    assert_eq!(failed, NEEDS_DNS, "{}", said());
}

/// One after the other.
fn shell_blocks(markdown: &str) -> String {
    let blocks = markdown.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect()
}
