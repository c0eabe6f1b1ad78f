//! `bitcall init`: a configuration and secrets for this machine, and what is left to do by hand. Repeating it changes
//! nothing: what exists is kept, and where it is not what was asked for, that is said.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{CliError, Exit, GlobalOptions, output};
use crate::app::{self, DnsRecord};
use crate::config::{self, Config, DirectoryUrl, MailAddress, RotatedSecret};
use crate::hostname::Hostname;
use crate::store::replace_private;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where certificate authorities ask (RFC 8555 section 8.3).
const REDIRECT: &str = r#"["0.0.0.0:80", "[::]:80"]"#;

/// `StateDirectory` of systemd/bitcall.service.
const UNIT_DATA_DIR: &str = "/var/lib/bitcall";
const DROP_IN_DIRECTORY: &str = "/etc/systemd/system/bitcall.service.d";

#[derive(Debug, Args)]
pub struct Init {
    /// Address under which browsers will reach this server, e.g. <https://phone.example.com>
    #[arg(long, value_name = "URL", value_parser = config::PublicUrl::parse)]
    public_url: Option<config::PublicUrl>,
    /// Get certificates from this ACME directory, by default Let's Encrypt's; agrees to its terms of service
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, default_missing_value = LETS_ENCRYPT, value_parser = DirectoryUrl::from_text)]
    acme: Option<DirectoryUrl>,
    /// Mail address under which the certificate authority can reach you
    #[arg(long, value_name = "ADDRESS", value_parser = MailAddress::from_text)]
    email: Option<MailAddress>,
    /// Domain below which tenants have their subdomains, e.g. bitcall.example
    #[arg(long, value_name = "DOMAIN")]
    base: Option<Hostname>,
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Init {
    pub fn run(mut self, globals: &GlobalOptions) -> Result<(), CliError> {
        let file = std::path::absolute(&globals.config)?;
        self.data_dir = self.data_dir.map(std::path::absolute).transpose()?;
        let mut files = Files::default();
        let config = if file.exists() {
            let config = read(&file)?;
            self.refuse_other_values(&config, &file, globals.json)?;
            files.write_missing_secrets(&config)?;
            files.keep(&file);
            config
        } else {
            if !globals.json && io::stdin().is_terminal() && io::stderr().is_terminal() {
                self.ask()?;
            }
            let text = self.configuration(&file);
            let base = file.parent().unwrap_or(Path::new("/"));
            // Before anything is written: what the options say may contradict each other.
            let config = Config::parse(&text, base).map_err(|faults| {
                let faults: Vec<_> = faults.into_iter().map(|fault| fault.message).collect();
                CliError::new(Exit::Misconfigured, faults.join("\n"))
            })?;
            make_directory(base, 0o755)?;
            files.write_missing_secrets(&config)?;
            // Holds no secret, and Bitcall's user must be able to read it.
            files.write(&file, &text, |path, text| {
                fs::File::options().write(true).create_new(true).mode(0o644).open(path)?.write_all(text.as_bytes())
            })?;
            config
        };
        let records = app::dns_records(&config).map_err(|problem| CliError::new(Exit::Misconfigured, problem))?;
        let next = Next { file: &file, config: &config, records: &records };
        if globals.json {
            let (written, kept) = (files.written, files.kept);
            let data = json!({ "config": file, "written": written, "kept": kept, "dns": records, "commands": next.commands() });
            output::data(data)?;
        } else {
            next.tell();
        }
        Ok(())
    }

    /// Asks for what no option says.
    fn ask(&mut self) -> io::Result<()> {
        if self.public_url.is_none() {
            let question = "Address under which browsers will reach this server, e.g. https://phone.example.com";
            self.public_url = answer(question, config::PublicUrl::parse)?;
        }
        if self.acme.is_none() {
            let question = "Get certificates from Let's Encrypt? This agrees to its terms of service (yes or no)";
            let agreed = answer(question, |text| match text {
                "yes" | "y" => Ok(true),
                "no" | "n" => Ok(false),
                _ => Err("must be yes or no".to_owned()),
            })?;
            if agreed == Some(true) {
                self.acme = DirectoryUrl::from_text(LETS_ENCRYPT).ok();
            }
        }
        if self.email.is_none() && self.acme.is_some() {
            self.email = answer("Mail address under which it can reach you", MailAddress::from_text)?;
        }
        if self.base.is_none() {
            let question = "Domain below which tenants have their subdomains, e.g. bitcall.example";
            self.base = answer(question, |text| text.parse::<Hostname>().map_err(|error| error.to_string()))?;
        }
        Ok(())
    }

    /// The example file with the lines filled in that are known already.
    fn configuration(&self, file: &Path) -> String {
        let mut text = config::template();
        let mut set = |name: &str, value: &str| {
            let commented = format!("\n#{name} = ");
            if let Some(start) = text.find(&commented).map(|at| at + 1) {
                let end = text[start..].find('\n').map_or(text.len(), |length| start + length);
                text.replace_range(start..end, &format!("{name} = {value}"));
            }
        };
        let secrets = file.with_file_name("secrets");
        for name in ["panel_key", "master_secret", "store_key"] {
            set(&format!("{name}_file"), &quoted(&secrets.join(name).to_string_lossy()));
        }
        for wish in self.wishes(None) {
            set(wish.name, &wish.asked);
        }
        if self.acme.is_some() {
            set("redirect", REDIRECT);
        }
        text
    }

    /// The settings that options ask for, with what `config` has.
    fn wishes(&self, config: Option<&Config>) -> Vec<Wish> {
        let wish = |table, name, asked: Option<String>, found: &dyn Fn(&Config) -> Option<String>| {
            Some(Wish { table, name, asked: quoted(&asked?), found: config.and_then(found).map(|text| quoted(&text)) })
        };
        let data_dir = self.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        let only_directory = |config: &Config| match config.acme.directories.as_slice() {
            [] => None,
            all => Some(all.iter().map(|url| url.0.as_str()).collect::<Vec<_>>().join(", ")),
        };
        [
            wish("", "public_url", self.public_url.as_ref().map(config::PublicUrl::origin), &|config| {
                config.server.public_url.as_ref().map(config::PublicUrl::origin)
            }),
            wish("", "data_dir", data_dir, &|config| Some(config.server.data_dir.to_string_lossy().into_owned())),
            wish("domains", "base", self.base.as_ref().map(ToString::to_string), &|config| {
                config.domains.base.as_ref().map(ToString::to_string)
            }),
            wish("acme", "directories", self.acme.as_ref().map(|url| url.0.clone()), &only_directory),
            wish("acme", "contact", self.email.as_ref().map(ToString::to_string), &|config| {
                config.acme.contact.as_ref().map(ToString::to_string)
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// That the file which is there says something else than was asked for.
    fn refuse_other_values(&self, config: &Config, file: &Path, as_json: bool) -> Result<(), CliError> {
        let differences: Vec<_> = self
            .wishes(Some(config))
            .iter()
            .filter(|wish| wish.found.as_ref() != Some(&wish.asked))
            .map(Wish::difference)
            .collect();
        if differences.is_empty() {
            return Ok(());
        }
        let file = file.display();
        if as_json {
            let none: [&str; 0] = [];
            output::data(json!({ "config": file.to_string(), "written": none, "differences": differences }))?;
        }
        let lines = differences.iter().map(|Difference { setting, file: found, asked, change }| {
            let found = found.as_deref().unwrap_or("not set");
            format!("`{setting}` is {found} there, and {asked} was asked for: {change}")
        });
        let lines: Vec<_> = lines.collect();
        let message = format!(
            "{file} exists and says something else; nothing was changed\n{}\nhint: after that `bitcall --config {file} check`, and restart the server",
            lines.join("\n")
        );
        Err(CliError::new(Exit::Conflict, message))
    }
}

/// A setting that an option asks for, in TOML.
struct Wish {
    table: &'static str,
    name: &'static str,
    asked: String,
    found: Option<String>,
}

#[derive(Serialize)]
struct Difference {
    setting: String,
    file: Option<String>,
    asked: String,
    /// What to do.
    change: String,
}

impl Wish {
    fn difference(&self) -> Difference {
        let Self { table, name, asked, found } = self;
        let (setting, place) = match *table {
            "" => ((*name).to_owned(), "above all tables".to_owned()),
            table => (format!("{table}.{name}"), format!("in [{table}]")),
        };
        Difference {
            setting,
            file: found.clone(),
            asked: asked.clone(),
            change: format!("write `{name} = {asked}` {place}"),
        }
    }
}

/// What is left to do by hand.
struct Next<'a> {
    file: &'a Path,
    config: &'a Config,
    records: &'a [DnsRecord],
}

impl Next<'_> {
    fn has_default_path(&self) -> bool {
        self.file == Path::new(config::DEFAULT_PATH)
    }

    /// The command with the configuration that it needs.
    fn bitcall(&self, command: &str) -> String {
        if self.has_default_path() {
            format!("bitcall {command}")
        } else {
            format!("bitcall --config {} {command}", in_shell(&self.file.to_string_lossy()))
        }
    }

    /// The service's user and units, from the repository, to be run by root.
    fn install(&self) -> Vec<String> {
        let data_dir = in_shell(&self.config.server.data_dir.to_string_lossy());
        let mut commands = vec![
            format!("useradd --system --home-dir {data_dir} --shell /usr/sbin/nologin bitcall"),
            "install -m 755 target/release/bitcall /usr/bin/bitcall".to_owned(),
            "install -m 644 systemd/bitcall.service systemd/bitcall.socket /etc/systemd/system/".to_owned(),
        ];
        let data_dir_is_default = self.config.server.data_dir == Path::new(UNIT_DATA_DIR);
        if !data_dir_is_default {
            commands.push(format!("install -d -m 700 -o bitcall -g bitcall {data_dir}"));
        }
        if !(data_dir_is_default && self.has_default_path()) {
            let lines: Vec<_> = self.drop_in().iter().map(|line| in_shell(line)).collect();
            commands.push(format!("mkdir -p {DROP_IN_DIRECTORY}"));
            commands.push(format!("printf '%s\\n' {} > {DROP_IN_DIRECTORY}/places.conf", lines.join(" ")));
        }
        commands.push("systemctl daemon-reload".to_owned());
        commands
    }

    /// What the unit needs for other places than the default ones.
    fn drop_in(&self) -> Vec<String> {
        let secrets = &self.config.secrets;
        let credentials = [
            ("panel_key", &secrets.panel_key_file),
            ("master_secret", &secrets.master_secret_file),
            ("store_key", &secrets.store_key_file),
        ];
        let credential = |(name, path): (&str, &Option<PathBuf>)| {
            Some(format!("LoadCredential={name}:{}", path.as_ref()?.display()))
        };
        let mut lines = vec![
            "[Service]".to_owned(),
            format!("Environment=BITCALL_CONFIG={}", self.file.display()),
            format!("ReadWritePaths={}", self.config.server.data_dir.display()),
        ];
        lines.extend(credentials.into_iter().filter_map(credential));
        lines
    }

    fn commands(&self) -> Vec<String> {
        let mut commands = self.install();
        commands.push(self.bitcall("check"));
        commands.push("systemctl enable --now bitcall".to_owned());
        commands.push(self.bitcall("tenant provision acme"));
        commands
    }

    fn tell(&self) {
        let file = self.file.display();
        output::message("\nNext:");
        output::message(format_args!("  1. read {file}: public_url, and [tls] for a certificate of your own"));
        output::message("  2. add these records to the DNS:");
        for record in self.records {
            output::message(format_args!("       {record}"));
        }
        if self.records.is_empty() {
            output::message("       none: `public_url` is no name in the public DNS");
        }
        output::message("  3. as root, from the repository, for a service with a user of its own:");
        for command in self.install() {
            output::message(format_args!("       {command}"));
        }
        output::message(format_args!("  4. {}", self.bitcall("check")));
        let serve = self.bitcall("serve");
        output::message(format_args!("  5. systemctl enable --now bitcall     (or, without systemd: {serve})"));
        output::message(format_args!("  6. {}", self.bitcall("tenant provision acme")));
    }
}

/// A string in TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A word of a shell command.
fn in_shell(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@%+".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Asks until the answer can be used. Nothing for an empty one, and where nobody answers.
fn answer<T>(question: &str, parse: impl Fn(&str) -> Result<T, String>) -> io::Result<Option<T>> {
    loop {
        write!(io::stderr(), "{question}; empty for none: ")?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(None);
        }
        match parse(line.trim()) {
            Ok(value) => return Ok(Some(value)),
            Err(problem) => output::message(format_args!("it {problem}")),
        }
    }
}

fn read(file: &Path) -> Result<Config, CliError> {
    Config::read(file).map_err(|faults| CliError::new(Exit::Misconfigured, faults.to_string()))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), CliError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|error| denied(path, &error))
}

/// What is there at the end.
#[derive(Default)]
struct Files {
    written: Vec<PathBuf>,
    kept: Vec<PathBuf>,
}

impl Files {
    /// Those that the configuration names a file for.
    fn write_missing_secrets(&mut self, config: &Config) -> Result<(), CliError> {
        let files = &config.secrets;
        for path in [&files.panel_key_file, &files.master_secret_file, &files.store_key_file].into_iter().flatten() {
            if let Some(directory) = path.parent() {
                make_directory(directory, 0o700)?;
            }
            self.write(path, &RotatedSecret::random()?.to_text(), |path, text| replace_private(path, text.as_bytes()))?;
        }
        Ok(())
    }

    /// Keeps a file that exists.
    fn write(
        &mut self,
        path: &Path,
        text: &str,
        write: impl Fn(&Path, &str) -> io::Result<()>,
    ) -> Result<(), CliError> {
        if path.exists() {
            self.keep(path);
            return Ok(());
        }
        write(path, text).map_err(|error| denied(path, &error))?;
        output::message(format_args!("written {}", path.display()));
        self.written.push(path.to_owned());
        Ok(())
    }

    fn keep(&mut self, path: &Path) {
        output::message(format_args!("kept    {}", path.display()));
        self.kept.push(path.to_owned());
    }
}

fn denied(path: &Path, error: &io::Error) -> CliError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "\nhint: run it as root, or name a file of your own by --config",
        _ => "",
    };
    CliError::new(Exit::Failed, format!("cannot write {}: {error}{hint}", path.display()))
}
