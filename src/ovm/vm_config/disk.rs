//! One entry of a vm.cfg's `disk` list: `file:/path,xvda,w`.
//!
//! The fields are separated by commas, and a path may have commas too. Device and mode have a
//! known form and the path has none, so the entry is read from the right: the last field that is a
//! mode behind a field that is a device name. What stands before them is the path with all its
//! commas; what stands behind them (a back-end domain) is ignored.

/// One virtual disk as vm.cfg lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskEntry {
    /// What kind of thing the path names.
    pub scheme: DiskScheme,
    /// The path in dom0. Empty for a CD drive without a medium.
    pub path: String,
    /// The device in the guest, such as `xvda`; without `:cdrom` and `ioemu:`. May be empty if the
    /// entry could not be read.
    pub device_name: String,
    /// Is it a CD drive (`xvdb:cdrom`)?
    pub is_cdrom: bool,
    /// What the guest may do with it.
    pub mode: DiskMode,
    /// The entry as it stands in the file.
    pub raw: String,
    /// Why no snapshot may use this disk, if so.
    pub problem: Option<DiskProblem>,
}

/// The prefix of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskScheme {
    /// `file:`, an image file.
    File,
    /// `phy:`, a block device (a LUN).
    Phy,
    /// Another prefix, without its last colon: `tap:aio`, `tap2:tapdisk:aio`, `nbd`.
    Other(String),
    /// No prefix.
    Bare,
}

/// The access mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskMode {
    /// `r` (or `ro`)
    Read,
    /// `w` (or `rw`)
    Write,
    /// `w!`: writable, and shared by several virtual machines.
    WriteShared,
    /// Anything else, as written; empty if there is none.
    Other(String),
}

/// Why a listed disk must not be used in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiskProblem {
    /// The entry is no string.
    #[error("the entry is not a string")]
    NotAString,
    /// Neither a device nor a mode was recognised, so the path is a guess.
    #[error("the entry has no device and mode that can be recognised")]
    Unreadable,
    /// There is no path, and it is not a CD drive.
    #[error("the entry has no path")]
    NoPath,
    /// The path does not begin with `/`.
    #[error("the path is relative")]
    RelativePath,
    /// The path has a component `..`.
    #[error("the path contains `..`")]
    ParentDirectory,
    /// The path has a NUL character.
    #[error("the path contains a NUL character")]
    NulCharacter,
    /// The bytes of the path are not known, because the text is not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
}

impl DiskEntry {
    /// Reads an entry. Whatever it is, it stays listed: what could not be read is in `problem`.
    pub fn parse(raw: &str) -> Self {
        let fields: Vec<&str> = raw.split(',').collect();
        let layout = Layout::find(&fields);
        let field = |index: Option<usize>| {
            index
                .and_then(|index| fields.get(index))
                .map_or("", |field| field.trim())
        };
        let (device_name, is_cdrom) = split_device(field(layout.device));
        let path_fields = without_format(fields.get(..layout.path_fields).unwrap_or_default());
        let (scheme, path) = split_scheme(&path_fields.join(","));
        let problem = if layout.device.is_none() {
            Some(DiskProblem::Unreadable)
        } else {
            problem_of(&scheme, &path, is_cdrom)
        };
        Self {
            scheme,
            path,
            device_name: device_name.to_owned(),
            is_cdrom,
            mode: DiskMode::from_text(field(layout.mode)),
            raw: raw.to_owned(),
            problem,
        }
    }

    /// An entry that is not even text.
    pub(super) fn not_a_string(raw: String) -> Self {
        Self {
            scheme: DiskScheme::Bare,
            path: String::new(),
            device_name: String::new(),
            is_cdrom: false,
            mode: DiskMode::Other(String::new()),
            raw,
            problem: Some(DiskProblem::NotAString),
        }
    }

    /// A CD drive that the guest cannot write: it need not be copied, whatever is in it.
    pub fn is_read_only_cdrom(&self) -> bool {
        self.is_cdrom && self.mode == DiskMode::Read
    }

    /// What is odd about the entry, a phrase each. An oddity alone does not keep the disk out of a
    /// snapshot, a problem does.
    pub(super) fn oddities(&self) -> Vec<String> {
        let mut oddities = Vec::new();
        if let Some(problem) = self.problem {
            oddities.push(format!("{problem}; no snapshot can use it"));
            if matches!(problem, DiskProblem::NotAString | DiskProblem::Unreadable) {
                return oddities;
            }
        }
        if !is_device(&self.device_name) {
            oddities.push("its device name is not a known one".to_owned());
        }
        if matches!(self.mode, DiskMode::Other(_)) {
            oddities.push("its mode is not one of r, w, w!".to_owned());
        }
        oddities
    }
}

impl DiskScheme {
    /// Does the path name an image file whose bytes are the disk's, or may it (no prefix)?
    ///
    /// `tap:aio:` and its relatives are raw files. What the path really is, is for `stat` to say.
    pub fn may_be_file(&self) -> bool {
        match self {
            Self::File | Self::Bare => true,
            Self::Phy => false,
            Self::Other(scheme) => scheme.starts_with("tap") && scheme.ends_with(":aio"),
        }
    }
}

impl DiskMode {
    fn from_text(text: &str) -> Self {
        match text {
            "r" | "ro" => Self::Read,
            "w" | "rw" => Self::Write,
            "w!" => Self::WriteShared,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The mode as vm.cfg writes it: `r`, `w`, `w!`, or whatever else stands there.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Read => "r",
            Self::Write => "w",
            Self::WriteShared => "w!",
            Self::Other(other) => other,
        }
    }
}

/// Which field is what.
struct Layout {
    /// How many fields, from the left, are the path.
    path_fields: usize,
    device: Option<usize>,
    mode: Option<usize>,
}

impl Layout {
    fn find(fields: &[&str]) -> Self {
        let is_mode = |index: usize| {
            let field = fields.get(index).map_or("", |field| field.trim());
            !matches!(DiskMode::from_text(field), DiskMode::Other(_))
        };
        let is_device = |index: usize| {
            let field = fields.get(index).map_or("", |field| field.trim());
            is_device(split_device(field).0)
        };
        let candidates = || (1..fields.len()).rev();
        // Device and mode; else a device alone; else a mode with whatever stands before it.
        let device = candidates()
            .find(|&index| is_device(index) && is_mode(index + 1))
            .or_else(|| candidates().find(|&index| is_device(index)))
            .or_else(|| candidates().find(|&index| is_mode(index + 1)));
        Self {
            path_fields: device.unwrap_or(1),
            device,
            mode: device.map(|device| device + 1),
        }
    }
}

/// Drops the format of `path,raw,xvda,w`, as newer toolstacks write it.
fn without_format<'f>(fields: &'f [&'f str]) -> &'f [&'f str] {
    match fields.split_last() {
        Some((last, path))
            if !path.is_empty() && matches!(last.trim(), "" | "raw" | "qcow" | "qcow2" | "vhd") =>
        {
            path
        }
        _ => fields,
    }
}

/// Splits `ioemu:hdc:cdrom` into `hdc` and whether it is a CD drive.
fn split_device(field: &str) -> (&str, bool) {
    let name = field.strip_prefix("ioemu:").unwrap_or(field);
    match name.split_once(':') {
        Some((name, kind)) => (name, kind == "cdrom"),
        None => (name, false),
    }
}

/// Is this a guest's device name: `xvda`, `hdc`, `sdaa1`, with or without `/dev/`?
fn is_device(name: &str) -> bool {
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let letters = ["xvd", "hd", "sd", "vd", "fd"]
        .into_iter()
        .find_map(|bus| name.strip_prefix(bus));
    letters.is_some_and(|rest| {
        let partition = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let disk = rest.len() - partition.len();
        (1..=3).contains(&disk)
            && partition.len() <= 3
            && partition.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Splits `file:/path` into its scheme and a normal path.
fn split_scheme(text: &str) -> (DiskScheme, String) {
    let Some((word, path)) = scheme_word(text) else {
        return (DiskScheme::Bare, one_leading_slash(text));
    };
    match word {
        "file" => (DiskScheme::File, one_leading_slash(path)),
        // Xen looks for a name without a slash in /dev.
        "phy" if !path.is_empty() && !path.starts_with('/') => {
            (DiskScheme::Phy, format!("/dev/{path}"))
        }
        "phy" => (DiskScheme::Phy, one_leading_slash(path)),
        "tap" | "tap2" => {
            let mut scheme = word.to_owned();
            let mut path = path;
            while let Some((driver, rest)) = scheme_word(path) {
                scheme.push(':');
                scheme.push_str(driver);
                path = rest;
            }
            (DiskScheme::Other(scheme), one_leading_slash(path))
        }
        _ => (DiskScheme::Other(word.to_owned()), path.to_owned()),
    }
}

/// Splits off one `word:`.
fn scheme_word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(':')?;
    let plain = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    plain.then_some((word, rest))
}

/// `file:///path` means `/path`.
fn one_leading_slash(path: &str) -> String {
    let rest = path.trim_start_matches('/');
    if rest.len() == path.len() {
        path.to_owned()
    } else {
        format!("/{rest}")
    }
}

fn problem_of(scheme: &DiskScheme, path: &str, is_cdrom: bool) -> Option<DiskProblem> {
    if path.is_empty() {
        return (!is_cdrom).then_some(DiskProblem::NoPath);
    }
    if path.contains('\0') {
        return Some(DiskProblem::NulCharacter);
    }
    // What follows `nbd:` or `iscsi:` is an address.
    if matches!(scheme, DiskScheme::Other(name) if !name.starts_with("tap")) {
        return None;
    }
    if !path.starts_with('/') {
        return Some(DiskProblem::RelativePath);
    }
    path.split('/')
        .any(|part| part == "..")
        .then_some(DiskProblem::ParentDirectory)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
