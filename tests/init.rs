//! `bitcall init`: what it writes, what it leaves to do, what it asks for on a terminal, and that it never overlooks a
//! wish where a configuration is there already.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::appliance::{bitcall, run};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const OPTIONS: [&str; 7] = [
    "--public-url",
    "https://phone.example.com",
    "--acme",
    "--email",
    "admin@example.com",
    "--base",
    "bitcall.example",
];

fn init(file: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let (status, stdout, stderr) = run(bitcall().arg("init").arg("--config").arg(file).args(options));
    (status.code(), stdout, stderr)
}

fn in_json(file: &Path, options: &[&str]) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = init(file, &[options, &["--json"]].concat());
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

#[test]
fn init_writes_private_secrets_and_a_configuration_that_check_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("etc/bitcall.toml");
    let data = directory.path().join("data");
    let options = [&OPTIONS[..], &["--data-dir", data.to_str().unwrap()]].concat();
    let (code, told) = in_json(&file, &options);
    assert_eq!((code, &told["config"]), (Some(0), &json!(file)));
    assert_eq!((told["written"].as_array().unwrap().len(), told["kept"].as_array().unwrap().len()), (4, 0), "{told}");

    let text = fs::read_to_string(&file).unwrap();
    for line in [
        "public_url = \"https://phone.example.com\"",
        &format!("data_dir = \"{}\"", data.display()),
        &format!("directories = \"{LETS_ENCRYPT}\""),
        "contact = \"admin@example.com\"",
        "base = \"bitcall.example\"",
        "redirect = [\"0.0.0.0:80\", \"[::]:80\"]",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let secret = directory.path().join("etc/secrets/panel_key");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!text.contains(fs::read_to_string(&secret).unwrap().trim()), "secrets do not stand in the configuration");

    // Whatever listens on this machine.
    let free = text.replace("#https = ", "https = '127.0.0.1:0' # ").replace("#ops = ", "ops = '' # ");
    let free = free.replace("redirect = ", "redirect = '127.0.0.1:0' # ");
    let free = free.replace("public_url = ", "public_url = 'https://phone.example.com:443' # ");
    fs::write(&file, free).unwrap();
    let (status, _, stderr) = run(bitcall().arg("check").arg("--config").arg(&file));
    assert!(status.success(), "{stderr}");
}

#[test]
fn init_says_which_records_user_unit_and_commands_are_left_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bitcall.toml");
    let (code, _, stderr) = init(&file, &OPTIONS);
    assert_eq!(code, Some(0), "{stderr}");
    let place = file.display();
    for told in [
        "phone.example.com.  A  ",
        "*.bitcall.example.  A  ",
        "useradd --system --home-dir /var/lib/bitcall --shell /usr/sbin/nologin bitcall",
        "install -m 644 systemd/bitcall.service systemd/bitcall.socket /etc/systemd/system/",
        "systemctl daemon-reload",
        &format!("Environment=BITCALL_CONFIG={place}"),
        &format!("LoadCredential=store_key:{}/secrets/store_key", directory.path().display()),
        &format!("bitcall --config {place} check"),
        &format!("bitcall --config {place} serve"),
        &format!("bitcall --config {place} tenant provision acme"),
    ] {
        assert!(stderr.contains(told), "{told} in {stderr}");
    }
    let (code, told) = in_json(&file, &OPTIONS);
    assert_eq!((code, told["kept"].as_array().unwrap().len()), (Some(0), 4), "the same again is no fault: {told}");
    assert_eq!((&told["dns"][0]["name"], &told["dns"][0]["type"]), (&json!("phone.example.com."), &json!("A")));
    let commands: Vec<_> = told["commands"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(commands.contains(&format!("bitcall --config {place} check").as_str()), "{told}");
}

#[test]
fn init_with_other_values_says_each_difference_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bitcall.toml");
    assert_eq!(init(&file, &OPTIONS).0, Some(0));
    let before = fs::read_to_string(&file).unwrap();
    let secret = directory.path().join("secrets/panel_key");
    fs::remove_file(&secret).unwrap();

    let other =
        ["--public-url", "https://tel.example.com", "--base", "bitcall.example", "--acme", "https://ca.example/dir"];
    let (code, _, stderr) = init(&file, &other);
    assert_eq!(code, Some(5), "{stderr}");
    for told in [
        "`public_url` is \"https://phone.example.com\" there, and \"https://tel.example.com\" was asked for: write `public_url = \"https://tel.example.com\"`",
        &format!("`acme.directories` is \"{LETS_ENCRYPT}\" there, and \"https://ca.example/dir\" was asked for"),
        "`directories = \"https://ca.example/dir\"` in [acme]",
        "nothing was changed",
    ] {
        assert!(stderr.contains(told), "{told} in {stderr}");
    }
    assert!(!stderr.contains("`domains.base`"), "that one is as asked for: {stderr}");
    let (code, told) = in_json(&file, &other);
    let asked = told["differences"].as_array().unwrap();
    assert_eq!((code, asked.len()), (Some(5), 2), "{told}");
    assert_eq!(
        (&asked[0]["setting"], &asked[0]["file"]),
        (&json!("public_url"), &json!("\"https://phone.example.com\""))
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert!(!secret.exists(), "not even what is missing was made");

    fs::write(&file, before.replace("public_url", "publik_url")).unwrap();
    let (code, _, stderr) = init(&file, &OPTIONS);
    assert!(code == Some(2) && stderr.contains("did you mean `public_url`"), "{stderr}");
    let new = directory.path().join("new.toml");
    let (code, _, stderr) = init(&new, &["--email", "nobody"]);
    assert!(code == Some(2) && stderr.contains("must be a mail address") && !new.exists(), "{stderr}");
}

#[test]
fn init_asks_on_a_terminal_until_the_answer_can_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bitcall.toml");
    let program = bitcall().get_program().to_owned().into_string().unwrap();
    // `script` gives the command a terminal.
    let mut terminal = Command::new("script");
    terminal.args([
        "-qefc",
        &format!("{program} init --config {} --base bitcall.example", file.display()),
        "/dev/null",
    ]);
    terminal.env_remove("BITCALL_CONFIG").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = terminal.spawn().unwrap();
    let answers = b"phone.example.com\nhttps://phone.example.com\nyes\nadmin@example.com\n";
    terminal.stdin.take().unwrap().write_all(answers).unwrap();
    let output = terminal.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("must be http(s)://host"), "the first answer was none: {shown}");
    assert!(!shown.contains("Domain below which"), "an option has said it: {shown}");
    let text = fs::read_to_string(&file).unwrap();
    for line in [
        "public_url = \"https://phone.example.com\"",
        &format!("directories = \"{LETS_ENCRYPT}\""),
        "contact = \"admin@example.com\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}
