//! The contract with scripts: exit codes, errors with a remedy, and a stable order of JSON fields.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::appliance::{bitcall, run};
use crate::installation::{Installation, data};

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

/// What bash offers for the last word of a command line, by the script of `bitcall completions bash`.
fn completed(bitcall: &Installation, line: &str) -> Vec<String> {
    let place = bitcall.data().with_file_name("bin");
    let program = place.join("bitcall");
    if !place.exists() {
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::symlink(bitcall.command().get_program(), &program).unwrap();
    }
    let (status, script, err) = run(bitcall.command().args(["completions", "bash"]));
    assert!(status.success(), "{err}");
    std::fs::write(place.join("script"), script).unwrap();
    let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let [.., before, last] = words.as_slice() else { panic!("{line}") };
    let asked = format!(
        "PATH=$PWD/bin:$PATH; . bin/script; COMP_WORDS=({}); COMP_CWORD={}; \
         $(complete -p bitcall | sed 's/.*-F \\([^ ]*\\).*/\\1/') bitcall {last} {before}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len() - 1
    );
    let command = bitcall.command();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &asked]).current_dir(place.parent().unwrap());
    for (name, value) in command.get_envs() {
        bash.env(name, value.unwrap_or_default());
    }
    let (_, out, err) = run(&mut bash);
    assert_eq!(err, "", "{line}");
    out.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test]
async fn completions_in_a_real_shell_know_commands_options_and_the_names_that_the_server_has() {
    let mut bitcall = Installation::serving().await;
    for tenant in ["acme", "acorn", "other"] {
        bitcall.tenant(tenant, "enterprise").await;
    }
    let key = bitcall.bitcall(&["key", "create", "acme", "--json"]).json()["id"].as_str().unwrap().to_owned();
    bitcall.bitcall(&["domain", "add", "acme", "phone.acme.com"]);
    bitcall.bitcall(&["extension", "add", "acme", "101"]);
    for (line, offered) in [
        ("bitcall tenant pro", &["provision"][..]),
        ("bitcall key list acme --js", &["--json"]),
        ("bitcall tenant show ac", &["acme", "acorn"]),
        ("bitcall tenant show ", &["acme", "acorn", "other"]),
        ("bitcall tenant show nobody", &[]),
        ("bitcall tenant provision ac", &[]),
        ("bitcall audit --tenant ot", &["other"]),
        (&format!("bitcall key revoke acme {}", &key[..7]), &[&key]),
        ("bitcall key revoke other key_x", &[]),
        ("bitcall domain activate ph", &["phone.acme.com"]),
        ("bitcall domain check ", &["acme", "acorn", "other", "phone.acme.com"]),
        ("bitcall tenant plan acme en", &["enterprise"]),
        ("bitcall extension remove acme 1", &["101"]),
        ("bitcall tenant show --socket nowhere ac", &[]),
    ] {
        assert_eq!(completed(&bitcall, line), offered, "{line}");
    }
    let of_acme = completed(&bitcall, "bitcall key rotate acme ");
    assert!(of_acme.len() == 2 && of_acme.contains(&key), "{of_acme:?}");

    bitcall.stop().await;
    assert_eq!(completed(&bitcall, "bitcall tenant show ac"), [""; 0], "nobody is asked, and nothing is said");
    let silent = UnixListener::bind(bitcall.socket()).unwrap();
    assert_eq!(completed(&bitcall, "bitcall tenant show ac"), [""; 0], "and nobody is waited for");
    drop(silent);
}

#[test]
fn completions_name_the_shells_they_are_for() {
    let (status, _, err) = run(bitcall().args(["completions", "cmd.exe"]));
    assert!(status.code() == Some(2) && err.contains("bash") && err.contains("fish"), "{err}");
    for shell in ["bash", "zsh", "fish"] {
        let (status, script, err) = run(bitcall().args(["completions", shell]));
        assert!(status.success() && script.contains("BITCALL_COMPLETE"), "{shell}: {script}{err}");
    }
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

#[tokio::test]
async fn what_the_plan_withholds_is_said_with_the_plans_that_include_it() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "free").await;
    let colour = json!({ "tenantId": "acme", "branding": { "themeColor": "#123456", "displayName": "Acme" } });
    let kept = bitcall.done("PATCH", "/api/tenant/config", colour).await;
    let withheld = json!({
        "field": "branding.themeColor",
        "entitlement": "customBranding",
        "plans": ["pro", "enterprise"],
    });
    assert_eq!(kept["notApplied"], json!([withheld]));
    let record = data(&bitcall.admin("GET", "/api/admin/tenants/acme", Value::Null).await);
    assert_eq!(
        (&record["notApplied"], &record["raw"]["branding"]["themeColor"]),
        (&json!([withheld]), &json!("#123456"))
    );
    let told = "--accent is kept and not in effect: not in the tenant's plan (included in: pro, enterprise)\n";
    for show in [
        &["tenant", "show", "acme"][..],
        &["tenant", "show", "acme", "--raw"],
        &["tenant", "config", "acme", "--theme", "dark"],
    ] {
        assert!(bitcall.bitcall(show).out.contains(told), "{show:?}");
    }
    let refused = bitcall.bitcall(&["domain", "add", "acme", "phone.acme.com"]);
    assert!(refused.exit == 4 && refused.err.contains("a domain of its own; these do: enterprise\n"), "{refused:?}");
    assert!(refused.err.contains("hint: `bitcall tenant plan "), "{refused:?}");
    let subdomain = bitcall.bitcall(&["subdomain", "check", "acme", "phone"]);
    assert!(subdomain.exit == 1 && subdomain.err.contains("a subdomain; these do: pro, enterprise"), "{subdomain:?}");

    bitcall.bitcall(&["tenant", "plan", "acme", "pro"]);
    let shown = bitcall.bitcall(&["tenant", "show", "acme", "--json"]).json();
    assert_eq!((&shown["notApplied"], &shown["branding"]["themeColor"]), (&json!([]), &json!("#123456")));
    std::fs::write(bitcall.data().with_file_name("password"), "correct horse").unwrap();
    let link = ["link", "create", "acme", "--username", "101", "--password-file", "password"];
    let refused = bitcall.bitcall(&link);
    let hint = "hint: `bitcall tenant config <tenant> --operator --auth-link on` switches it on";
    assert!(refused.exit == 4 && refused.err.contains(hint), "{refused:?}");
    assert_eq!(bitcall.bitcall(&["tenant", "config", "acme", "--operator", "--auth-link", "on"]).exit, 0);
    assert_eq!(bitcall.bitcall(&link).exit, 0);
}

#[tokio::test]
async fn errors_name_the_options_of_the_command_line_and_not_fields_of_requests() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let config = ["tenant", "config", "acme", "--accent", "red", "--origin", "https://a.example", "--origin", "b"];
    for (arguments, said, unsaid) in [
        (&config[..], "--accent must be a colour", "themeColor"),
        (&config, "--origin number 2 \"b\" is not an origin", "allowedOrigins"),
        (&["tenant", "provision", "A B"], "TENANT must", "tenantId"),
        (&["tenant", "config", "acme", "--wss", "https://pbx"], "--wss must be", "wss[0]"),
        (&["key", "rotate", "acme", "key_x", "--overlap", "90d"], "30d at most", "Seconds"),
        (
            &["link", "create", "acme", "--username", "1", "--password-stdin", "--ttl", "48h"],
            "from 10s to 24h",
            "Seconds",
        ),
        (&["domain", "add", "acme", "a..b"], "DOMAIN must be", "\ndomain"),
    ] {
        let refused = bitcall.bitcall(arguments);
        assert_eq!(refused.exit, 2, "{arguments:?}: {refused:?}");
        assert!(refused.err.contains(said) && !refused.err.contains(unsaid), "{arguments:?}: {}", refused.err);
    }
}

/// The output of a command at a terminal of 80 columns.
fn at_a_terminal(bitcall: &Installation, arguments: &str, no_colour: bool) -> String {
    let command = bitcall.command();
    let program = command.get_program().to_str().unwrap();
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut terminal = Command::new("script");
    terminal.envs(environment).env_remove("NO_COLOR").env("TERM", "xterm-256color");
    if no_colour {
        terminal.env("NO_COLOR", "1");
    }
    terminal.args(["-qec", &format!("stty cols 80; exec {program} {arguments}"), "/dev/null"]);
    let (status, out, err) = run(&mut terminal);
    assert!(status.success(), "{out}{err}");
    out
}

#[tokio::test]
async fn tables_fit_the_terminal_and_colour_only_adds_to_the_words() {
    let bitcall = Installation::serving().await;
    bitcall.tenant("acme", "pro").await;
    let name = "a name so long that its change does not fit beside the other columns";
    let change = json!({ "tenantId": "acme", "branding": { "displayName": name } });
    bitcall.done("PATCH", "/api/tenant/config", change).await;
    let audit = at_a_terminal(&bitcall, "audit", true);
    assert!(
        audit.contains("tenant.provision") && audit.lines().all(|line| line.trim_end().chars().count() <= 80),
        "{audit}"
    );
    let when = audit.lines().nth(1).unwrap();
    assert!(when.contains("s ago") || when.contains("now") || when.contains("m ago"), "{when}");
    assert!(!audit.contains('\x1b'), "{audit}");
    let at = bitcall.bitcall(&["audit", "--json"]).json()["entries"][0]["at"].take();
    assert!(at.as_str().unwrap().ends_with('Z'), "the exact time: {at}");

    let coloured = at_a_terminal(&bitcall, "tenant list", false);
    assert!(coloured.contains("\x1b[") && coloured.contains("active"), "{coloured:?}");
    let plain = at_a_terminal(&bitcall, "tenant list", true);
    assert!(!plain.contains('\x1b') && plain.contains("active"), "{plain:?}");
    assert!(!bitcall.bitcall(&["tenant", "list"]).out.contains('\x1b'), "no colour in a file or pipe");
}
