//! Reading TOML into settings, collecting every fault with its line instead of
//! stopping at the first: an administrator fixes a file once, not once per error.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigChange;

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// 1-based; `None` where no line of the file is to blame.
    pub line: Option<usize>,
    /// Says what is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug)]
pub struct ConfigErrors {
    pub file: PathBuf,
    pub faults: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(&self.in_words(fault))?;
        }
        Ok(())
    }
}

impl ConfigErrors {
    /// One fault with its place in the file.
    pub fn in_words(&self, fault: &ConfigError) -> String {
        match fault.line {
            Some(line) => format!("{}:{line}: {}", self.file.display(), fault.message),
            None => format!("{}: {}", self.file.display(), fault.message),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// A group of settings, declared by [`section!`](super::section).
pub trait Section: Sized {
    /// Name of the TOML table; empty for the settings above all tables.
    const KEY: &'static str;
    const DOC: &'static [&'static str];
    const SETTINGS: &'static [SettingDoc];

    /// `None` only when a fault was noted.
    fn read(table: &mut SectionReader<'_, '_>) -> Option<Self>;

    /// Takes the values of those settings that a running server can change; returns all that differ.
    fn take_live(&mut self, new: &Self) -> Vec<ConfigChange>;
}

/// A setting's name, explanation and default, as the example file shows them.
pub struct SettingDoc {
    pub name: &'static str,
    pub doc: &'static [&'static str],
    /// In TOML.
    pub default: &'static str,
    /// A reload takes a new value; other settings need a restart.
    pub is_live: bool,
}

/// A type that a setting can have.
pub trait Setting: Sized {
    /// `base` is the directory that relative paths start from. The error
    /// completes the sentence "`name` …".
    fn parse(value: &DeValue<'_>, base: &Path) -> Result<Self, String>;
}

/// A file being read: its root table, and the faults found so far.
pub struct ConfigReader<'i> {
    text: &'i str,
    base: PathBuf,
    root: DeTable<'i>,
    faults: Vec<ConfigError>,
    known_tables: Vec<&'static str>,
}

impl<'i> ConfigReader<'i> {
    /// `base` is the directory that relative paths start from.
    pub fn new(text: &'i str, base: &Path) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut reader =
            Self { text, base: base.to_owned(), root: root.into_inner(), faults: Vec::new(), known_tables: Vec::new() };
        for error in errors {
            reader.note(error.span().map(|span| span.start), error.message().to_owned());
        }
        reader
    }

    pub fn section<S: Section>(&mut self) -> Option<S> {
        let values = if S::KEY.is_empty() {
            let (settings, tables) =
                std::mem::take(&mut self.root).into_iter().partition(|(_, value)| !value.get_ref().is_table());
            self.root = tables;
            settings
        } else {
            self.known_tables.push(S::KEY);
            match self.root.remove(S::KEY).map(Spanned::into_inner) {
                Some(DeValue::Table(values)) => values,
                _ => DeTable::default(),
            }
        };
        let mut table = SectionReader { key: S::KEY, values, reader: self };
        let section = S::read(&mut table);
        table.refuse_unknown(S::SETTINGS);
        section
    }

    /// A fault that concerns the file as a whole or several settings at once.
    pub fn fault(&mut self, message: impl Into<String>) {
        self.note(None, message.into());
    }

    /// To be called after the last section: reports unknown tables.
    pub fn finish(mut self) -> Vec<ConfigError> {
        for (key, value) in std::mem::take(&mut self.root) {
            let name = key.get_ref().as_ref();
            let hint = did_you_mean(name, self.known_tables.iter().copied());
            self.note(Some(value.span().start), format!("unknown table `[{name}]`{hint}"));
        }
        self.faults.sort_by_key(|fault| fault.line);
        // Further faults on the line of a syntax error only follow from it.
        self.faults.dedup_by(|next, first| first.line.is_some() && next.line == first.line);
        self.faults
    }

    fn note(&mut self, offset: Option<usize>, message: String) {
        let line = offset.map(|offset| self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1);
        self.faults.push(ConfigError { line, message });
    }
}

/// One table being read.
pub struct SectionReader<'r, 'i> {
    key: &'static str,
    values: DeTable<'i>,
    reader: &'r mut ConfigReader<'i>,
}

impl SectionReader<'_, '_> {
    /// The setting's value, else its default. `None` only when a fault was noted.
    pub fn take<T: Setting>(&mut self, name: &str, default: &str) -> Option<T> {
        let given = self.values.remove(name);
        let fallback = DeValue::parse(default);
        let (offset, parsed) = match (&given, &fallback) {
            (Some(value), _) => (Some(value.span().start), T::parse(value.get_ref(), &self.reader.base)),
            (None, Ok(value)) => (None, T::parse(value.get_ref(), &self.reader.base)),
            (None, Err(error)) => (None, Err(format!("has a broken default: {}", error.message()))),
        };
        parsed
            .map_err(|problem| {
                let full = full_name(self.key, name);
                self.reader.note(offset, format!("`{full}` {problem}"));
            })
            .ok()
    }

    fn refuse_unknown(&mut self, settings: &[SettingDoc]) {
        for (key, _) in std::mem::take(&mut self.values) {
            let name = key.get_ref().as_ref();
            let hint = did_you_mean(name, settings.iter().map(|setting| setting.name));
            let full = full_name(self.key, name);
            self.reader.note(Some(key.span().start), format!("unknown setting `{full}`{hint}"));
        }
    }
}

/// A setting as messages name it.
pub fn full_name(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

impl Setting for String {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| must_be("a string", value))
    }
}

impl Setting for PathBuf {
    fn parse(value: &DeValue<'_>, base: &Path) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Err("must not be empty".to_owned()),
            Some(path) => Ok(base.join(path)),
            None => Err(must_be("a path in quotes", value)),
        }
    }
}

/// The empty string stands for "not set".
impl<T: Setting> Setting for Option<T> {
    fn parse(value: &DeValue<'_>, base: &Path) -> Result<Self, String> {
        match value.as_str() {
            Some("") => Ok(None),
            _ => T::parse(value, base).map(Some),
        }
    }
}

impl Setting for SocketAddr {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        const SHAPE: &str = "an address with a port in quotes, such as \"0.0.0.0:443\" or \"[::]:443\"";
        let text = value.as_str().ok_or_else(|| must_be(SHAPE, value))?;
        text.parse().map_err(|_| format!("must be {SHAPE}, not \"{text}\""))
    }
}

impl Setting for IpAddr {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        const SHAPE: &str = "an IP address in quotes, such as \"203.0.113.5\" or \"2001:db8::5\"";
        let text = value.as_str().ok_or_else(|| must_be(SHAPE, value))?;
        text.parse().map_err(|_| format!("must be {SHAPE}, not \"{text}\""))
    }
}

impl Setting for u16 {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|number| u16::from_str_radix(number.as_str(), number.radix()).ok())
            .ok_or_else(|| must_be("a port number, 0 to 65535", value))
    }
}

/// A list, or a single value for a list of one.
impl<T: Setting> Setting for Vec<T> {
    fn parse(value: &DeValue<'_>, base: &Path) -> Result<Self, String> {
        match value.as_array() {
            Some(items) => items.iter().map(|item| T::parse(item.get_ref(), base)).collect(),
            None => T::parse(value, base).map(|item| vec![item]),
        }
    }
}

impl Setting for usize {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok())
            .ok_or_else(|| must_be("a whole number, 0 or more", value))
    }
}

impl Setting for u32 {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok())
            .ok_or_else(|| must_be("a whole number, 0 or more", value))
    }
}

impl Setting for Duration {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        const SHAPE: &str = "a time with its unit in quotes, such as \"10s\", \"5m\" or \"1h\"";
        let text = value.as_str().ok_or_else(|| must_be(SHAPE, value))?;
        match duration(text) {
            Some(Self::ZERO) => Err("must be longer than 0".to_owned()),
            Some(duration) => Ok(duration),
            None => Err(format!("must be {SHAPE}, not \"{text}\"")),
        }
    }
}

/// `10s`, `5m`, `1h`, `7d`; also on the command line.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// "must be …, not …": for a value of the wrong type.
pub fn must_be(what: &str, value: &DeValue<'_>) -> String {
    let found = match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    format!("must be {what}, not {found}")
}

/// The nearest known name, when it is near enough to be a slip of the fingers.
fn did_you_mean(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= tolerance(name))
        .map(|(_, candidate)| format!("; did you mean `{candidate}`?"))
        .unwrap_or_default()
}

/// Whether `name` may be a slip of the fingers for `known`.
pub fn is_near(name: &str, known: &str) -> bool {
    distance(name, known) <= tolerance(name)
}

fn tolerance(name: &str) -> usize {
    1 + name.len() / 4
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
