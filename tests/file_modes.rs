//! Who may read and write the files that Bitcall makes, whatever the umask.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::appliance::{self, Running, write_configuration};

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

/// In every Debian.
const SERVICE_USER: (&str, u32) = ("nobody", 65534);

/// A configuration whose data directory is in one of the service's user; the directory of that one.
fn installation_of_the_service_user(directory: &Path) -> std::path::PathBuf {
    assert!(rustix::process::geteuid().is_root(), "this test has to run as root, to be able to be somebody else");
    write_configuration(directory, "");
    let place = directory.join("bitcall.toml");
    let text = fs::read_to_string(&place).unwrap();
    fs::write(&place, text.replace("data_dir = 'data'", "data_dir = 'service/data'")).unwrap();
    let service = directory.join("service");
    fs::create_dir(&service).unwrap();
    chown(&service, Some(SERVICE_USER.1), Some(SERVICE_USER.1)).unwrap();
    service
}

#[test]
fn root_does_not_serve_from_the_data_directory_of_the_service_and_is_told_how() {
    let directory = tempfile::tempdir().unwrap();
    let data = installation_of_the_service_user(directory.path()).join("data");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(SERVICE_USER.1), Some(SERVICE_USER.1)).unwrap();
    let config = directory.path().join("bitcall.toml");
    let mut command = appliance::bitcall();
    let mut serve = Running::start(command.args(["serve", "--config"]).arg(&config), &directory.path().join("log"));
    let (status, words) = (serve.ended(), serve.log());
    assert_eq!(status.code(), Some(4), "{words}");
    let (name, _) = SERVICE_USER;
    assert!(words.contains(&format!("{} belongs to the user {name}", data.display())), "{words}");
    let remedy = format!("`sudo -u '{name}' bitcall --config {} serve`", config.display());
    assert!(words.contains("`systemctl start bitcall`") && words.contains(&remedy), "{words}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was left there");
    assert!(!directory.path().join("control.sock").exists());
}

#[test]
fn whatever_a_command_of_root_makes_in_the_data_directory_belongs_to_the_service() {
    let directory = tempfile::tempdir().unwrap();
    let service = installation_of_the_service_user(directory.path());
    let run = |arguments: &[&str]| {
        let mut command = appliance::bitcall();
        command.args(arguments).arg("--config").arg(directory.path().join("bitcall.toml"));
        let (status, _, words) = appliance::run(&mut command);
        assert!(status.success(), "{arguments:?}: {words}");
        let data = service.join("data");
        for file in std::iter::once(data.clone()).chain(fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()))
        {
            assert_eq!(fs::metadata(&file).unwrap().uid(), SERVICE_USER.1, "{} after {arguments:?}", file.display());
        }
    };
    run(&["tenant", "provision", "acme"]);
    run(&["store", "compact"]);
    fs::remove_file(service.join("data/key-pepper")).unwrap();
    run(&["store", "accept-loss"]);
}
