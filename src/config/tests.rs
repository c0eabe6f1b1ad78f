#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<Config, Vec<ConfigError>> {
    Config::parse(text, Path::new("/etc/bitcall"))
}

#[test]
fn an_empty_file_means_all_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.server.data_dir, Path::new("/var/lib/bitcall"));
    assert_eq!(config.listen.https.len(), 2);
    assert_eq!(config.limits.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.log.format, LogFormat::Human);
}

#[test]
fn the_example_file_with_every_line_switched_on_means_the_defaults() {
    let active: String = template()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let spelled_out = parse(&active).unwrap();
    assert_eq!(format!("{spelled_out:?}"), format!("{:?}", parse("").unwrap()));
}

#[test]
fn the_example_file_in_the_repository_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/bitcall.toml");
    let expected = template();
    if std::env::var_os("BITCALL_REGENERATE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        expected,
        "run: BITCALL_REGENERATE=1 cargo test -p bitcall"
    );
}

#[test]
fn relative_paths_start_at_the_files_directory() {
    let config = parse("[tls]\ncertificate = 'cert.pem'\nkey = '/elsewhere/key.pem'").unwrap();
    assert_eq!(config.tls.certificate.unwrap(), Path::new("/etc/bitcall/cert.pem"));
    assert_eq!(config.tls.key.unwrap(), Path::new("/elsewhere/key.pem"));
}

#[test]
fn every_fault_is_found_at_once_with_its_line() {
    let text = "\
public_url = \"phone.example.com\"

[listen]
https = [\"0.0.0.0\"]
htpp = []
ops = 9180

[limit]
[log]
format = \"yaml\"
";
    let faults = parse(text).unwrap_err();
    let lines: Vec<_> = faults.iter().map(|fault| fault.line.unwrap()).collect();
    assert_eq!(lines, [1, 4, 5, 6, 8, 10], "{faults:#?}");
    assert!(faults[2].message.contains("did you mean `http`"), "{}", faults[2].message);
    assert!(faults[4].message.contains("did you mean `limits`"), "{}", faults[4].message);
}

#[test]
fn broken_toml_names_the_line_and_the_rest_is_still_checked() {
    let faults = parse("data_dir = \n[log]\nformat = 3\n").unwrap_err();
    assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [Some(1), Some(3)], "{faults:#?}");
}

#[test]
fn plain_http_listeners_must_be_on_loopback() {
    assert!(parse("[listen]\nhttp = '127.0.0.1:8080'").is_ok());
    let faults = parse("[listen]\nhttp = '0.0.0.0:8080'").unwrap_err();
    assert!(faults[0].message.contains("loopback"), "{}", faults[0].message);
}

#[test]
fn a_certificate_without_its_key_is_a_fault() {
    assert!(parse("[tls]\ncertificate = 'c.pem'").is_err());
}

#[test]
fn a_public_url_is_an_origin() {
    assert_eq!(PublicUrl::parse("https://Phone.Example.com:443/").unwrap().origin(), "https://phone.example.com");
    assert_eq!(PublicUrl::parse("http://[::1]:8080").unwrap().host(), "::1");
    for bad in [
        "",
        "phone.example.com",
        "ftp://a",
        "https://a/b",
        "https://a?x",
        "https://u@a",
        "https://a..b",
        "https://-a.b",
    ] {
        assert!(PublicUrl::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_directory_url_has_a_host_that_can_be() {
    assert!(parse("[acme]\ndirectories = 'https://ca.example/dir'").is_ok());
    for bad in ["http://ca.example/dir", "https://ca..example/dir", "ca.example"] {
        assert!(parse(&format!("[acme]\ndirectories = '{bad}'")).is_err(), "{bad}");
    }
}

#[test]
fn host_names_are_normalised_and_invalid_ones_reported() {
    let config = parse("[domains]\nbase = 'Bücher.Example'\n").unwrap();
    assert_eq!(config.domains.base.unwrap().as_str(), "xn--bcher-kva.example");
    assert_eq!(config.domains.ingress, None);
    for bad in ["base = 'https://bitcall.example'", "base = '*.bitcall.example'", "ingress = '192.0.2.1'", "base = 3"] {
        let faults = parse(&format!("[domains]\n{bad}")).unwrap_err();
        assert!(faults[0].message.contains("domain name"), "{faults:?}");
    }
}

#[test]
fn media_addresses_and_port_are_read_and_their_faults_named() {
    let config = parse("[sip]\nmedia_addresses = ['203.0.113.5', '2001:db8::5']\nmedia_port = 40000").unwrap();
    assert_eq!(config.sip.media_addresses.len(), 2);
    assert_eq!(config.sip.media_port, 40000);
    for (text, fault) in [
        ("media_addresses = ['203.0.113.5:4']", "IP address"),
        ("media_port = 70000", "port number"),
        ("media_port = -1", "port number"),
    ] {
        let faults = parse(&format!("[sip]\n{text}")).unwrap_err();
        assert!(format!("{faults:?}").contains(fault), "{faults:?}");
    }
}

#[test]
fn a_reload_takes_live_settings_and_leaves_the_others_to_a_restart() {
    let mut running = parse("[sip]\nmedia_port = 4000\n[limits]\nrequest_timeout = '5s'").unwrap();
    let text =
        "[sip]\nmedia_port = 5000\n[limits]\nrequest_timeout = '6s'\nmax_connections = 5\n[log]\nfilter = 'warn'";
    let changes = running.take_live(&parse(text).unwrap());
    let named: Vec<_> = changes.iter().map(|change| (change.setting.as_str(), change.is_live)).collect();
    let expected = [
        ("sip.media_port", false),
        ("limits.max_connections", false),
        ("limits.request_timeout", true),
        ("log.filter", true),
    ];
    assert_eq!(named, expected);
    assert_eq!((running.limits.request_timeout, running.sip.media_port), (Duration::from_secs(6), 4000));
    assert_eq!((running.log.filter.as_str(), running.limits.max_connections), ("warn", 10_000));

    // Certificate files in the place of others, but not in the place of none.
    let files = |name: &str| parse(&format!("[tls]\ncertificate = '{name}.crt'\nkey = '{name}.key'")).unwrap();
    let mut development = parse("").unwrap();
    assert!(development.take_live(&files("a")).iter().all(|change| !change.is_live));
    assert_eq!(development.tls.certificate, None);
    let mut running = files("a");
    assert!(running.take_live(&files("b")).iter().all(|change| change.is_live));
    assert_eq!(running, files("b"));
}
