//! Answers as people read them: tables that fit the terminal, states in colour, times as how long ago.

use std::io::stdout;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::app::use_colours;
use crate::timestamp::Timestamp;

/// Columns whose words are states.
const STATE_COLUMNS: [&str; 5] = ["status", "enabled", "phase", "stage", "state"];

/// A table with one row for each of `items`; `empty` where there are none. On a terminal, what is too wide for it goes
/// on in the next line of its cell.
pub fn table<const N: usize>(
    headings: [&str; N],
    items: &Value,
    empty: &str,
    row: impl Fn(&Value) -> [String; N],
) -> String {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return empty.to_owned();
    }
    let has_colours = use_colours(&stdout());
    let cells = |item: &Value| {
        let texts = headings.into_iter().zip(row(item));
        let cell = |(heading, text): (&str, String)| {
            let colour = if has_colours && STATE_COLUMNS.contains(&heading) { colour(&text) } else { None };
            let cell = Cell::new(text);
            colour.map_or(cell.clone(), |colour| cell.fg(colour))
        };
        texts.map(cell).collect::<Vec<_>>()
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.map(str::to_uppercase)).add_rows(items.iter().map(cells));
    lines(&table)
}

/// Names on the left, values on the right. Values are never broken: they are copied from here.
pub fn key_value_table(rows: &[(&str, String)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows.iter().map(|(name, value)| [(*name).to_owned(), value.clone()]));
    lines(&table)
}

fn lines(table: &Table) -> String {
    // comfy-table pads every cell with a space on both sides; those at the edges are removed.
    let trimmed: Vec<_> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    trimmed.join("\n")
}

/// Green is in order, yellow under way, red wrong or shut. The word says the same.
fn colour(state: &str) -> Option<Color> {
    Some(match state {
        "active" | "verified" | "issued" | "valid" | "yes" | "connected" => Color::Green,
        "failed" | "expired" | "blocked" | "moved" | "no" | "canceled" | "retired" => Color::Red,
        "-" => return None,
        _ => Color::Yellow,
    })
}

/// A field of the answer as text for people; a dash for null.
pub fn field_text(data: &Value, pointer: &str) -> String {
    match data.pointer(pointer) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".into(),
        Some(Value::Bool(false)) => "no".into(),
        Some(Value::Array(items)) if items.is_empty() => "-".into(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| field_text(item, "")).collect();
            items.join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// A time of the answer as how long ago it is, or in how long; `--json` has it exactly. A dash for null.
pub fn field_time(data: &Value, pointer: &str) -> String {
    let text = field_text(data, pointer);
    text.parse().map_or(text, |moment| relative(moment, Timestamp::now()))
}

fn relative(moment: Timestamp, now: Timestamp) -> String {
    let (length, is_future) = if moment > now { (now.until(moment), true) } else { (moment.until(now), false) };
    let seconds = length.as_secs();
    let text = match seconds {
        0 => return "now".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    };
    if is_future { format!("in {text}") } else { format!("{text} ago") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_told_as_how_long_ago_or_in_how_long() {
        let now = Timestamp::now();
        for (seconds, past, future) in [
            (0, "now", "now"),
            (1, "1s ago", "in 1s"),
            (59, "59s ago", "in 59s"),
            (60, "1m ago", "in 1m"),
            (3599, "59m ago", "in 59m"),
            (3600, "1h ago", "in 1h"),
            (47 * 3600, "47h ago", "in 47h"),
            (48 * 3600, "2d ago", "in 2d"),
            (400 * 86_400, "400d ago", "in 400d"),
        ] {
            let length = Duration::from_secs(seconds);
            assert_eq!(relative(now.before(length), now), past);
            assert_eq!(relative(now.after(length), now), future);
        }
        assert_eq!(field_time(&Value::Null, "/at"), "-");
    }
}
