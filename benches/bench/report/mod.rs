//! What was found, as JSON, as a table and as a picture. Pure: nothing is measured here.

mod bar;
mod figure;
mod picture;
mod statistics;
mod table;

pub use bar::Bar;
pub use figure::Figure;
pub use statistics::{median, steepest};
pub use table::table;

use serde::Serialize;

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Processor, cores, memory, kernel.
    pub machine: String,
    /// When, in UTC.
    pub date: String,
    /// The load averages before and after.
    pub load: String,
    /// What was found.
    pub figures: Vec<Figure>,
}

impl Report {
    /// For programs.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// For the terminal.
    pub fn table(&self) -> String {
        let (machine, date, load) = (&self.machine, &self.date, &self.load);
        let figures = table::table(&self.figures);
        format!("{machine}\n{date}\nload: {load}\n\n{figures}")
    }

    /// An SVG document.
    pub fn picture(&self) -> String {
        picture::picture(self)
    }
}

#[cfg(test)]
pub(crate) fn example() -> Report {
    Report {
        machine: "A <fast> one & another, 2 cores".to_owned(),
        date: "2026-01-02T03:04:05Z".to_owned(),
        load: "0.00 0.00 0.00 before, 1.00 0.50 0.20 after".to_owned(),
        figures: vec![
            Figure::of("met", "×", Bar::AtLeast(2.5), &[2.0, 3.0, 4.0], "why"),
            Figure::of("missed", "×", Bar::AtMost(0.4), &[0.8], ""),
            Figure::of("none_left", "MiB", Bar::AtMost(0.0), &[0.0], ""),
            Figure::of("told", "s/GiB", None, &[0.5], ""),
            Figure::curve("grows", Bar::AtMost(1.2), &[[1.0, 1.0], [10.0, 10.0]], ""),
            Figure::missing("absent", "there is none"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_these_fields_and_no_others() {
        let value: serde_json::Value = serde_json::from_str(&example().json().unwrap()).unwrap();
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(&value), ["date", "figures", "load", "machine"]);
        for figure in value["figures"].as_array().unwrap() {
            let expected = ["bar", "name", "note", "ok", "runs", "unit", "value"];
            assert_eq!(names(figure), expected);
        }
        assert_eq!(value["figures"][0]["bar"], ">= 2.5");
        assert_eq!(value["figures"][0]["value"], 3.0);
        assert_eq!(
            value["figures"][0]["runs"],
            serde_json::json!([2.0, 3.0, 4.0])
        );
        assert_eq!(value["figures"][1]["ok"], false);
        assert_eq!(value["figures"][3]["bar"], serde_json::Value::Null);
        assert_eq!(
            value["figures"][4]["runs"][1],
            serde_json::json!([10.0, 10.0])
        );
        assert_eq!(value["figures"][5]["value"], serde_json::Value::Null);
    }
}
