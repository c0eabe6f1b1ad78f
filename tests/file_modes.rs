//! Who may read and write the files that Bitcall makes, whatever the umask.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::appliance::{self, Running};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_open_umask_opens_no_file_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("etc");
    let bitcall = |arguments: &[&str]| {
        let inner = appliance::bitcall();
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(arguments);
        for (name, _) in inner.get_envs() {
            command.env_remove(name);
        }
        command.env("BITCALL_CONFIG", place.join("bitcall.toml"));
        command
    };
    let (status, _, words) = appliance::run(&mut bitcall(&["init", "--public-url", "https://localhost"]));
    assert!(status.success(), "{words}");
    let config = place.join("bitcall.toml");
    assert_eq!((mode(&place), mode(&config), mode(&place.join("secrets"))), (0o755, 0o644, 0o700));

    let text = "data_dir = '../data'\npublic_url = 'https://localhost'\n\
                [listen]\nhttps = []\nhttp = '127.0.0.1:0'\nops = ''\ncontrol = '../run/control.sock'\n\
                [secrets]\npanel_key_file = 'secrets/panel_key'\nmaster_secret_file = 'secrets/master_secret'\n\
                [log]\nformat = 'json'\n";
    std::fs::write(&config, text).unwrap();
    let mut server = Running::start(&mut bitcall(&["serve"]), &directory.path().join("log"));
    server.wait_for("ready", |line| line.contains("\"ready\"").then_some(()));
    let run = directory.path().join("run");
    assert_eq!((mode(&run), mode(&run.join("control.sock"))), (0o755, 0o660));
    let data = directory.path().join("data");
    assert_eq!(mode(&data), 0o700);
    for file in std::fs::read_dir(data).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
}
