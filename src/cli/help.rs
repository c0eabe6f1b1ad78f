//! What `-h` and `--help` say beyond the definitions: examples, exit codes, and where the options are explained that many
//! commands share. They stand in `bitcall --help` and in a command's `--help`, and in nobody's `-h` but the program's.

use clap::Command;

use super::{Help, examples};

/// Headings of the options that many commands share.
pub const SHARED: &str = "Options of all commands";
pub const TARGET: &str = "Options of commands that administer a server";

/// For the program's own help and man page: the options that are defined with the commands that have them.
const TARGET_OPTIONS: &str = concat!(
    "      --server <URL>   A remote server; its keys are in the environment as\n",
    "                       BITCALL_PANEL_KEY and APP_MASTER_SECRET\n",
    "      --ca <FILE>      Who may certify the remote server\n",
    "      --socket <FILE>  The control socket, instead of the configured one",
);

/// [`Exit`](super::Exit) is the same for the code.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the answer is no: it does not exist; or something went wrong on the way
  2  the command line, the configuration, a secret or a value is wrong
  3  the server cannot be reached, or not do it now: trying again may help
  4  refused: wrong or missing key, not this user, not in this plan
  5  conflict: exists already, limit reached, the last one, changed meanwhile";

const ALL_OPTIONS: &str = "With --help: all options, also those that commands share.";

pub fn add_to(command: Command, help: Help) -> Command {
    let shared: Vec<_> = command.get_arguments().filter(|argument| argument.is_global_set()).cloned().collect();
    command.after_help(format!("{TARGET}:\n{TARGET_OPTIONS}\n\n{EXIT_CODES}")).mut_subcommands(|inner| {
        let path = inner.get_name().to_owned();
        let inner = with_examples(inner, &path, help);
        match help {
            Help::Full => inner,
            // Options that are there already are not handed down.
            Help::Short => inner
                .args(shared.iter().cloned())
                .mut_args(|argument| if argument.is_global_set() { argument.hide(true) } else { argument }),
        }
    })
}

fn with_examples(command: Command, path: &str, help: Help) -> Command {
    let example = examples::of(path).map(|example| format!("Example:\n  {example}"));
    let more = (help == Help::Short).then(|| ALL_OPTIONS.to_owned());
    let text = [example, more].into_iter().flatten().collect::<Vec<_>>().join("\n\n");
    let command = if text.is_empty() { command } else { command.after_help(text) };
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        with_examples(inner, &path, help)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use clap::Args as _;

    use super::super::control::TargetOptions;
    use super::*;

    fn help_of(words: &[&str], help: Help) -> String {
        let mut command = super::super::command(help).term_width(80);
        command.build();
        let mut found = &mut command;
        for word in words {
            found = found.find_subcommand_mut(word).unwrap();
        }
        found.render_help().to_string()
    }

    #[test]
    fn shared_options_stand_in_the_programs_help_and_in_a_commands_full_help_and_not_in_its_short_one() {
        let target = TargetOptions::augment_args(Command::new("any"));
        let target: Vec<_> =
            target.get_arguments().map(|option| format!("--{} ", option.get_long().unwrap())).collect();
        let all: Vec<_> = target.iter().map(String::as_str).chain(["--config ", "--json "]).collect();
        for command in [&["key", "create"][..], &["key"], &["audit"], &["tenant", "config"]] {
            let (short, full) = (help_of(command, Help::Short), help_of(command, Help::Full));
            for option in &all {
                assert!(!short.contains(option), "{option}:\n{short}");
                assert!(full.contains(option), "{option}:\n{full}");
            }
            assert!(short.contains("With --help"), "{short}");
        }
        for help in [Help::Short, Help::Full] {
            let root = help_of(&[], help);
            for option in &all {
                assert!(root.contains(option), "{option}:\n{root}");
            }
        }
    }

    #[test]
    fn short_help_of_every_command_fits_a_terminal_and_explains_every_option_of_its_own() {
        fn check(command: &Command, full: &Command) {
            let text = command.clone().render_help().to_string();
            // The program's own explains the shared options and exit codes; the settings of a tenant are many, and
            // each may take three lines.
            let options = command.get_arguments().count();
            let most = if command.get_name() == "bitcall" { 60 } else { (3 * options).max(40) };
            assert!(text.lines().count() <= most, "{}: {} lines\n{text}", command.get_name(), text.lines().count());
            for option in full.get_arguments().filter(|option| !option.is_global_set() && !option.is_hide_set()) {
                let Some(long) = option.get_long() else { continue };
                assert!(text.contains(&format!("--{long}")), "--{long}:\n{text}");
            }
            command
                .get_subcommands()
                .filter(|inner| !inner.is_hide_set())
                .for_each(|inner| check(inner, full.find_subcommand(inner.get_name()).unwrap()));
        }
        let [mut short, mut full] = [Help::Short, Help::Full].map(|help| super::super::command(help).term_width(80));
        short.build();
        full.build();
        check(&short, &full);
    }

    #[test]
    fn the_shared_options_work_whatever_the_help_shows() {
        for help in [Help::Short, Help::Full] {
            for line in [
                "bitcall key list acme --json --socket s",
                "bitcall key --json --socket s list acme",
                "bitcall --json key --socket s list acme",
            ] {
                let matches = super::super::command(help).try_get_matches_from(line.split(' ')).unwrap();
                let (_, key) = matches.subcommand().unwrap();
                let (_, list) = key.subcommand().unwrap();
                assert!(matches.get_flag("json") && list.get_flag("json"), "{line}");
                assert_eq!(list.get_raw("socket").unwrap().next().unwrap(), "s", "{line}");
            }
        }
    }
}
