//! The contract with scripts: exit codes, errors with a remedy, and a stable order of JSON fields.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::appliance::{bitcall, run};
use crate::installation::Installation;

#[test]
fn exit_codes_are_documented_where_people_look() {
    let (_, help, _) = run(bitcall().arg("--help"));
    for text in [help.as_str(), include_str!("../man/bitcall.1"), include_str!("../README.md")] {
        let text = text.to_lowercase();
        assert!(text.contains("exit codes") && text.contains("conflict") && text.contains("reached"), "{text}");
    }
}

#[test]
fn absent_stale_and_forbidden_control_sockets_have_errors_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = directory.path().join("control.sock");
    let list = |mut command: Command| {
        let (status, out, err) = run(command.args(["tenant", "list", "--socket"]).arg(&socket));
        assert_eq!(out, "");
        assert!(err.contains(&socket.display().to_string()) && err.contains("\n hint: "), "{err}");
        (status.code().unwrap(), err)
    };
    let (code, err) = list(bitcall());
    assert!(code == 3 && err.contains("there is no control socket") && err.contains("systemctl start"), "{code} {err}");

    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (code, err) = list(as_somebody_else());
    assert!(code == 4 && err.contains("may not open") && err.contains("run it as root"), "{code} {err}");

    drop(listener);
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (code, err) = list(bitcall());
    assert!(code == 3 && err.contains("nobody listens") && err.contains("journalctl"), "{code} {err}");
}

#[test]
fn completions_complete_in_a_real_shell() {
    let (status, script, err) = run(bitcall().args(["completions", "bash"]));
    assert!(status.success(), "{err}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bitcall"), script).unwrap();
    let asked = ". ./bitcall; COMP_WORDS=(bitcall tenant pro); COMP_CWORD=2; _bitcall bitcall pro tenant; \
                 echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    let (status, completed, err) = run(bash.current_dir(directory.path()).args(["--norc", "-c", asked]));
    assert_eq!((status.success(), completed.as_str()), (true, "provision\n"), "{err}");
    let (status, _, err) = run(bitcall().args(["completions", "cmd.exe"]));
    assert!(status.code() == Some(2) && err.contains("bash") && err.contains("fish"), "it names the shells: {err}");
}

/// The command under an unprivileged user, because root may open every file.
fn as_somebody_else() -> Command {
    assert!(rustix::process::geteuid().is_root(), "this test has to run as root, to be able to be somebody else");
    let command = bitcall();
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(command.get_program());
    other
}

#[test]
fn a_store_without_read_permission_is_refused_with_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (config, data) = (directory.path().join("bitcall.toml"), directory.path().join("data"));
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let text = "data_dir = 'data'\n[listen]\ncontrol = 'control.sock'\n";
    std::fs::write(&config, text).unwrap();
    let (status, _, err) = run(as_somebody_else().args(["tenant", "list", "--config"]).arg(&config));
    assert_eq!(status.code(), Some(4), "{err}");
    assert!(err.contains("may not open its store") && err.contains("hint: run it as root"), "{err}");
}

#[tokio::test]
async fn json_has_its_fields_in_the_order_of_the_documentation_from_every_transport() {
    let mut bitcall = Installation::new();
    bitcall.bitcall(&["tenant", "provision", "acme"]);
    let arguments = ["key", "list", "acme", "--json"];
    let in_process = bitcall.bitcall(&arguments).out;
    bitcall.start().await;
    assert_eq!(bitcall.bitcall(&arguments).out, in_process);
    let from_afar = bitcall.bitcall(&["key", "list", "acme", "--json", "--server", &bitcall.origin()]);
    assert_eq!(from_afar.out, in_process);
    let places: Vec<_> = [
        "\"tenantId\"",
        "\"apiKeys\"",
        "\"id\"",
        "\"label\"",
        "\"prefix\"",
        "\"createdAt\"",
        "\"retiresAt\"",
        "\"lastUsedAt\"",
    ]
    .map(|field| in_process.find(field).unwrap_or_else(|| panic!("{field} in {in_process}")))
    .into();
    assert!(places.is_sorted(), "{in_process}");
}
