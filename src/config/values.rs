//! Reading single values: from TOML to a validated type, or to the reason why not.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::settings::{LogFormat, LogLevel, MinFree, SecretText, Toolstack};
use crate::protocol::{Consistency, duration, size};

/// A value that cannot be taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// More about what is wrong with it, where its kind alone does not tell.
    because: Option<String>,
    /// What would be taken.
    accepted: Cow<'static, str>,
    /// It may hold a password: it must not be shown.
    hidden: bool,
}

impl Refusal {
    fn accepted(accepted: impl Into<Cow<'static, str>>) -> Self {
        Self {
            because: None,
            accepted: accepted.into(),
            hidden: false,
        }
    }

    fn because(mut self, reason: impl ToString) -> Self {
        self.because = Some(reason.to_string());
        self
    }

    fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    /// 0 would be taken, too.
    fn or_zero(mut self) -> Self {
        self.accepted = format!("{}; or 0 for no limit", self.accepted).into();
        self
    }

    /// The sentence for the admin.
    pub(super) fn message(&self, value: &DeValue<'_>) -> String {
        let found = if self.hidden {
            Cow::Borrowed(kind(value))
        } else {
            shown(value)
        };
        match &self.because {
            Some(reason) => format!("found {found}: {reason}; accepted: {}", self.accepted),
            None => format!("found {found}; accepted: {}", self.accepted),
        }
    }
}

/// A value, or why it cannot be taken.
pub(super) type Reading<T> = Result<T, Refusal>;

/// The kind of a value, without the value.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// A value as it can be shown in one line.
fn shown(value: &DeValue<'_>) -> Cow<'static, str> {
    const LONGEST: usize = 60;
    match value {
        // No value has several lines, but one whose end was forgotten, and then other keys are in it.
        DeValue::String(text) if text.contains('\n') => Cow::Borrowed("a text of several lines"),
        DeValue::String(text) => {
            let start: String = text.chars().take(LONGEST).collect();
            let more = if start.len() < text.len() { " …" } else { "" };
            Cow::Owned(format!("{start:?}{more}"))
        }
        DeValue::Integer(number) if number.as_str().len() <= LONGEST => {
            Cow::Owned(number.to_string())
        }
        DeValue::Float(number) if number.as_str().len() <= LONGEST => {
            Cow::Owned(number.to_string())
        }
        DeValue::Boolean(truth) => Cow::Owned(truth.to_string()),
        DeValue::Datetime(time) => Cow::Owned(time.to_string()),
        other => Cow::Borrowed(kind(other)),
    }
}

fn whole_number(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Turns a reader around that takes the empty text, too, for a key that is absent: the first
/// generation did, so such files exist.
pub(super) fn optional<T>(
    read: impl FnOnce(&DeValue<'_>) -> Reading<T>,
) -> impl FnOnce(&DeValue<'_>) -> Reading<Option<T>> {
    move |value| match value.as_str() {
        Some("") => Ok(None),
        _ => read(value).map(Some),
    }
}

pub(super) fn boolean(value: &DeValue<'_>) -> Reading<bool> {
    value
        .as_bool()
        .ok_or_else(|| Refusal::accepted("true or false, without quotes"))
}

/// A whole number between two bounds, both included.
pub(super) fn number<T>(low: T, high: T) -> impl FnOnce(&DeValue<'_>) -> Reading<T>
where
    T: TryFrom<i128> + PartialOrd + std::fmt::Display,
{
    move |value| {
        whole_number(value)
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| *number >= low && *number <= high)
            .ok_or_else(|| {
                Refusal::accepted(format!(
                    "a whole number from {low} to {high}, without quotes"
                ))
            })
    }
}

pub(super) fn path(value: &DeValue<'_>) -> Reading<PathBuf> {
    match value.as_str() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(PathBuf::from(text)),
        _ => Err(Refusal::accepted("a path in quotes")),
    }
}

pub(super) fn ip_address(value: &DeValue<'_>) -> Reading<IpAddr> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Refusal::accepted("an IPv4 or IPv6 address in quotes such as \"0.0.0.0\" or \"::\"")
        })
}

/// An address with its port.
pub(super) fn socket_address(value: &DeValue<'_>) -> Reading<SocketAddr> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Refusal::accepted("an address and a port in quotes such as \"127.0.0.1:9549\"")
        })
}

/// A duration in Go's notation that is not below `least`.
pub(super) fn duration(least: Duration) -> impl FnOnce(&DeValue<'_>) -> Reading<Duration> {
    move |value| {
        let refusal = || {
            let bound = if least.is_zero() {
                String::new()
            } else {
                format!(", at least {}", duration::format(least))
            };
            Refusal::accepted(format!(
                "a duration in quotes such as \"168h\", \"1h30m\" or \"500ms\"{bound}"
            ))
        };
        let text = value.as_str().ok_or_else(refusal)?;
        let read = duration::parse(text).map_err(|reason| refusal().because(reason))?;
        if read < least {
            return Err(refusal().because("it is too short"));
        }
        Ok(read)
    }
}

/// A size between two bounds in bytes, both included.
pub(super) fn size(low: u64, high: u64) -> impl FnOnce(&DeValue<'_>) -> Reading<u64> {
    move |value| {
        let refusal = || {
            Refusal::accepted(format!(
                "{}; from {} to {}",
                size::ACCEPTED,
                size::format(low),
                size::format(high)
            ))
        };
        let bytes = match value.as_str() {
            Some(text) => size::parse(text).map_err(|reason| refusal().because(reason))?,
            None => whole_number(value)
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(refusal)?,
        };
        if bytes < low || bytes > high {
            return Err(refusal().because("it is out of bounds"));
        }
        Ok(bytes)
    }
}

/// The same, or 0 for no limit.
pub(super) fn size_or_none(low: u64, high: u64) -> impl FnOnce(&DeValue<'_>) -> Reading<u64> {
    move |value| match (whole_number(value), value.as_str()) {
        (Some(0), _) | (_, Some("0")) => Ok(0),
        _ => size(low, high)(value).map_err(Refusal::or_zero),
    }
}

/// Bytes, or a share of the file system such as `5%` or `2.5%`.
pub(super) fn min_free(value: &DeValue<'_>) -> Reading<MinFree> {
    let refusal = || {
        Refusal::accepted(format!(
            "a percentage such as \"5%\" or \"2.5%\" up to 100%, or {}",
            size::ACCEPTED
        ))
    };
    let Some(text) = value.as_str() else {
        return whole_number(value)
            .and_then(|number| u64::try_from(number).ok())
            .map(MinFree::Bytes)
            .ok_or_else(refusal);
    };
    match text.strip_suffix('%') {
        Some(percent) => hundredths_of_percent(percent.trim_end_matches(' '))
            .map(MinFree::HundredthsOfPercent)
            .ok_or_else(refusal),
        None => size::parse(text)
            .map(MinFree::Bytes)
            .map_err(|reason| refusal().because(reason)),
    }
}

/// `2.5` is 250; more than two digits after the point, or more than 100, is nothing.
fn hundredths_of_percent(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 2 {
        return None;
    }
    let whole: u16 = whole.parse().ok()?;
    let hundredths: u16 = format!("{fraction:0<2}").parse().ok()?;
    whole
        .checked_mul(100)?
        .checked_add(hundredths)
        .filter(|sum| *sum <= 10_000)
}

pub(super) fn log_level(value: &DeValue<'_>) -> Reading<LogLevel> {
    let text = value.as_str().unwrap_or_default();
    LogLevel::ALL
        .into_iter()
        .find(|level| level.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| Refusal::accepted("\"error\", \"warn\", \"info\", \"debug\" or \"trace\""))
}

pub(super) fn log_format(value: &DeValue<'_>) -> Reading<LogFormat> {
    match value.as_str() {
        Some("human") => Ok(LogFormat::Human),
        Some("json") => Ok(LogFormat::Json),
        _ => Err(Refusal::accepted("\"human\" or \"json\"")),
    }
}

pub(super) fn toolstack(value: &DeValue<'_>) -> Reading<Toolstack> {
    match value.as_str() {
        Some("auto") => Ok(Toolstack::Auto),
        Some(text) if text.starts_with('/') && !text.contains('\0') => {
            Ok(Toolstack::Program(PathBuf::from(text)))
        }
        _ => Err(Refusal::accepted(
            "\"auto\", or the absolute path of xm or xl",
        )),
    }
}

pub(super) fn consistency(value: &DeValue<'_>) -> Reading<Consistency> {
    let text = value.as_str().unwrap_or_default();
    [Consistency::None, Consistency::Pause, Consistency::Command]
        .into_iter()
        .find(|known| known.as_str() == text)
        .ok_or_else(|| Refusal::accepted("\"none\", \"pause\" or \"command\""))
}

/// A program with an absolute path, and its arguments. No shell reads it. Empty for none.
pub(super) fn command(value: &DeValue<'_>) -> Reading<Vec<String>> {
    let refusal = || {
        Refusal::accepted(
            "a list of texts, the absolute path of a program and its arguments, such as \
             [\"/usr/local/sbin/freeze\", \"--all\"]",
        )
    };
    let words: Vec<String> = value
        .as_array()
        .ok_or_else(refusal)?
        .iter()
        .map(|word| {
            word.get_ref()
                .as_str()
                .filter(|text| !text.contains('\0'))
                .map(str::to_owned)
                .ok_or_else(refusal)
        })
        .collect::<Result<_, _>>()?;
    match words.first() {
        Some(program) if !program.starts_with('/') => {
            Err(refusal().because("its program is not an absolute path"))
        }
        _ => Ok(words),
    }
}

/// Any text, never shown.
pub(super) fn secret(value: &DeValue<'_>) -> Reading<SecretText> {
    value
        .as_str()
        .map(|text| SecretText::new(text.to_owned()))
        .ok_or_else(|| Refusal::accepted("a text of at least 32 bytes in quotes").hidden(true))
}

/// The manager's address. Plain HTTP is refused since administrators' passwords go there.
pub(super) fn manager_endpoint(value: &DeValue<'_>) -> Reading<String> {
    let text = value.as_str().unwrap_or_default();
    // A password may stand before an @, however malformed the rest is.
    let refusal = || {
        Refusal::accepted("\"https://HOST:PORT\" (usually port 7002)").hidden(text.contains('@'))
    };
    if value.as_str().is_none() {
        return Err(refusal());
    }
    let url = reqwest::Url::parse(text).map_err(|reason| refusal().because(reason))?;
    if url.scheme() != "https" {
        return Err(refusal().because("it is not https, and passwords go there"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refusal().because("it has a user name or password in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refusal().because("it has a query or fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
