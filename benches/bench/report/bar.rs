use std::fmt;

use serde::{Serialize, Serializer};

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

impl Bar {
    /// Whether a value reaches it. What is not a number does not.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Bar::AtLeast(bar) => value >= bar,
            Bar::AtMost(bar) => value <= bar,
        }
    }

    /// How many times better than asked for: 1 is the bar itself, less is short of it.
    pub fn room(self, value: f64) -> f64 {
        match self {
            Bar::AtLeast(bar) => value / bar,
            // Nothing at all where little is allowed, and where nothing is.
            Bar::AtMost(_) if value <= 0.0 => f64::INFINITY,
            Bar::AtMost(bar) => bar / value,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::AtLeast(bar) => write!(f, ">= {bar}"),
            Bar::AtMost(bar) => write!(f, "<= {bar}"),
        }
    }
}

impl Serialize for Bar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_from_its_side() {
        assert!(Bar::AtLeast(2.5).is_met(2.5) && !Bar::AtLeast(2.5).is_met(2.49));
        assert!(Bar::AtMost(0.4).is_met(0.4) && !Bar::AtMost(0.4).is_met(0.41));
        assert!(!Bar::AtLeast(1.0).is_met(f64::NAN) && !Bar::AtMost(1.0).is_met(f64::NAN));
        assert_eq!(Bar::AtLeast(2.5).to_string(), ">= 2.5");
        assert_eq!(Bar::AtMost(0.0).to_string(), "<= 0");
    }

    #[test]
    fn room_grows_towards_the_better_side() {
        assert!((Bar::AtLeast(2.0).room(4.0) - 2.0).abs() < 1e-9);
        assert!((Bar::AtMost(0.4).room(0.2) - 2.0).abs() < 1e-9);
        assert!((Bar::AtMost(0.4).room(0.8) - 0.5).abs() < 1e-9);
        assert!(Bar::AtMost(0.0).room(3.0).abs() < 1e-9);
        assert!(Bar::AtMost(0.0).room(0.0).is_infinite());
    }
}
