//! The table that a reader gets.

/// One measured value beside its peer's and its goal.
pub struct Row {
    pub what: String,
    pub ours: String,
    pub theirs: String,
    pub goal: String,
    pub met: bool,
}

impl Row {
    /// `ours` must be at most `most` times `theirs`.
    pub fn at_most(what: impl Into<String>, unit: &str, ours: f64, theirs: f64, most: f64) -> Self {
        Self {
            what: what.into(),
            ours: format!("{ours:.1} {unit}"),
            theirs: format!("{theirs:.1} {unit}"),
            goal: format!("{:.2} ≤ {most:.2}", ours / theirs),
            met: ours <= theirs * most,
        }
    }

    /// `ours` must be at least `least` times `theirs`.
    pub fn at_least(what: impl Into<String>, unit: &str, ours: f64, theirs: f64, least: f64) -> Self {
        Self {
            what: what.into(),
            ours: format!("{ours:.0} {unit}"),
            theirs: format!("{theirs:.0} {unit}"),
            goal: format!("{:.2} ≥ {least:.2}", ours / theirs),
            met: ours >= theirs * least,
        }
    }

    /// Without a goal.
    pub fn reported(what: impl Into<String>, unit: &str, ours: f64, theirs: f64) -> Self {
        Self {
            what: what.into(),
            ours: format!("{ours:.1} {unit}"),
            theirs: format!("{theirs:.1} {unit}"),
            goal: format!("{:.2}", ours / theirs),
            met: true,
        }
    }

    /// `ours` must be at most `limit`; there is no peer.
    pub fn below(what: impl Into<String>, unit: &str, ours: f64, limit: f64) -> Self {
        Self {
            what: what.into(),
            ours: format!("{ours:.1} {unit}"),
            theirs: "-".to_owned(),
            goal: format!("≤ {limit} {unit}"),
            met: ours <= limit,
        }
    }
}

pub fn print(rows: &[Row]) {
    println!("\n{:<70} {:>12} {:>12} {:>14}  ", "", "bitcall", "peer", "goal");
    for row in rows {
        let met = if row.met { "met" } else { "MISSED" };
        println!("{:<70} {:>12} {:>12} {:>14}  {met}", row.what, row.ours, row.theirs, row.goal);
    }
}

pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
