//! An example for every command, at the end of its `--help` and man page.

/// By the command without `bitcall`. What follows is a line as it is typed.
const EXAMPLES: &[(&str, &str)] = &[
    ("demo", "bitcall demo --data ./demo"),
    ("init", "bitcall init --public-url https://phone.example.com --acme --email admin@example.com"),
    ("serve", "bitcall serve --config /etc/bitcall/bitcall.toml"),
    ("check", "bitcall check --config /etc/bitcall/bitcall.toml"),
    ("tenant provision", "bitcall tenant provision acme --name Acme --origin https://crm.acme.com"),
    ("tenant list", "bitcall tenant list --plan pro --enabled"),
    ("tenant show", "bitcall tenant show acme"),
    ("tenant config", "bitcall tenant config acme --accent '#14b8a6' --origin https://crm.acme.com"),
    ("tenant plan", "bitcall tenant plan acme pro"),
    ("tenant enable", "bitcall tenant enable acme"),
    ("tenant disable", "bitcall tenant disable acme"),
    ("tenant delete", "bitcall tenant delete acme --dry-run"),
    ("key create", "bitcall key create acme --for pages --label crm"),
    ("key rotate", "bitcall key rotate acme key_5kwfqpvi9ffm --overlap 7d"),
    ("key list", "bitcall key list acme"),
    ("key revoke", "bitcall key revoke acme key_5kwfqpvi9ffm"),
    ("subdomain check", "bitcall subdomain check acme phone"),
    ("subdomain set", "bitcall subdomain set acme phone"),
    ("subdomain remove", "bitcall subdomain remove acme"),
    ("domain add", "bitcall domain add acme phone.acme.com"),
    ("domain show", "bitcall domain show acme"),
    ("domain list", "bitcall domain list"),
    ("domain check", "bitcall domain check phone.acme.com"),
    ("domain recheck", "bitcall domain recheck acme"),
    ("domain sync", "bitcall domain sync phone.acme.com phone.other.com"),
    ("domain activate", "bitcall domain activate phone.acme.com"),
    ("domain remove", "bitcall domain remove acme"),
    ("cert list", "bitcall cert list"),
    ("cert sync", "bitcall cert sync"),
    ("cert renew", "bitcall cert renew phone.example.com"),
    ("cert import", "bitcall cert import phone.example.com --certificate chain.pem --key key.pem"),
    ("cert remove", "bitcall cert remove phone.example.com"),
    ("plan list", "bitcall plan list"),
    ("plan show", "bitcall plan show pro"),
    ("plan set", "bitcall plan set gold --price 29 --grant custom-branding --max-api-keys 10"),
    ("plan remove", "bitcall plan remove gold"),
    ("transport show", "bitcall transport show"),
    ("transport set", "bitcall transport set --wss wss://pbx.example.com/ws --sip-domain pbx.example.com"),
    ("extension add", "bitcall extension add acme 101 --name Reception"),
    ("extension list", "bitcall extension list acme"),
    ("extension remove", "bitcall extension remove acme 101"),
    ("link create", "bitcall link create acme --username 101 --password-file password.txt --ttl 15m"),
    ("calls", "bitcall calls acme --watch"),
    ("secret rotate", "bitcall secret rotate panel-key"),
    ("store compact", "bitcall store compact"),
    ("store accept-loss", "bitcall store accept-loss"),
    ("audit", "bitcall audit --tenant acme --since 7d"),
    ("completions", "bitcall completions bash"),
];

/// The example of the command at `path`.
pub fn of(path: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(known, _)| *known == path).map(|(_, example)| *example)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use clap::Command;

    use super::super::Help;
    use super::*;

    /// The paths of all commands that do something, as far as they are shown.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let path = format!("{path} {}", inner.get_name());
            if inner.has_subcommands() {
                leaves(inner, &path, found);
            } else {
                found.push(path.trim_start().to_owned());
            }
        }
    }

    #[test]
    fn every_command_has_an_example_that_it_accepts() {
        let mut commands = Vec::new();
        leaves(&super::super::command(Help::Full), "", &mut commands);
        assert_eq!(EXAMPLES.iter().map(|(path, _)| *path).collect::<Vec<_>>(), commands);
        for (path, example) in EXAMPLES {
            assert!(example.starts_with(&format!("bitcall {path}")), "{example}");
            let parsed = super::super::command(Help::Full).try_get_matches_from(example.split(' '));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}
