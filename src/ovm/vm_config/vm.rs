//! What a vm.cfg says about its virtual machine.

use super::disk::{DiskEntry, DiskProblem};
use super::literal::Literal;
use super::nic::Nic;
use super::{Assignments, ParseError, VmConfigError, file, parse};

use std::path::Path;

/// The configuration of one virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmConfig {
    /// What people call it: `OVM_simple_name`, else the name.
    pub friendly_name: String,
    /// What the toolstack calls it. Usually its id; else the name of the folder that holds vm.cfg.
    pub name: String,
    /// Is `name` what the file says? Otherwise the toolstack may know the machine by another name.
    pub name_is_certain: bool,
    /// The UUID as written; else made of the folder's name if that is an id; else empty.
    pub uuid: String,
    /// Virtual processors.
    pub vcpus: Option<u32>,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Such as `xen_hvm`, `xen_pvm`, `xen_hvm_pv_drivers`.
    pub domain_type: Option<String>,
    /// The operating system, as the manager names it.
    pub os_type: Option<String>,
    /// The order of boot devices as written, such as `cd`.
    pub boot_order: Option<String>,
    /// Network cards.
    pub nics: Vec<Nic>,
    /// Disks, CD drives and LUNs included: every entry, also one that cannot be read.
    pub disks: Vec<DiskEntry>,
    /// Are these all the disks? When false a snapshot might miss one and must be refused.
    pub disks_complete: bool,
    /// What is wrong with the file, a sentence each.
    pub warnings: Vec<String>,
}

impl VmConfig {
    /// Reads the vm.cfg at `path`; its folder is the last resort for a name.
    ///
    /// # Errors
    /// When the file cannot be read, or is no vm.cfg at all.
    pub fn read(path: &Path) -> Result<Self, VmConfigError> {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let bytes = file::read_bounded(path)?;
        Self::parse(&bytes, &folder.to_string_lossy()).map_err(|source| VmConfigError::Content {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads the text of a vm.cfg that lies in the folder `directory_name`.
    ///
    /// # Errors
    /// When the text is no vm.cfg at all.
    pub fn parse(bytes: &[u8], directory_name: &str) -> Result<Self, ParseError> {
        Ok(Self::from_assignments(&parse(bytes)?, directory_name))
    }

    /// Interprets what a vm.cfg assigned.
    pub fn from_assignments(assignments: &Assignments, directory_name: &str) -> Self {
        let mut reader = Reader {
            assignments,
            warnings: assignments.warnings(),
        };
        let name = reader.text("name");
        if name.is_none() {
            reader.warn("vm.cfg has no `name`; the name of its folder is used");
        }
        let name_is_certain = name.is_some() && !assignments.is_doubtful("name");
        let name = name.unwrap_or_else(|| directory_name.to_owned());
        let uuid = reader.text("uuid").or_else(|| uuid_of(directory_name));
        if uuid.is_none() {
            reader.warn("vm.cfg has no `uuid`");
        }
        let (disks, disks_complete) = reader.disks();
        Self {
            friendly_name: reader
                .text("OVM_simple_name")
                .unwrap_or_else(|| name.clone()),
            name,
            name_is_certain,
            uuid: uuid.unwrap_or_default(),
            vcpus: reader
                .number("vcpus")
                .and_then(|number| u32::try_from(number).ok()),
            memory_mib: reader.number("memory"),
            domain_type: reader.domain_type(),
            os_type: reader.text("OVM_os_type"),
            boot_order: reader.text("boot"),
            nics: reader.nics(),
            disks,
            disks_complete,
            warnings: reader.warnings,
        }
    }
}

/// Takes values out of the assignments and notes what is wrong with them.
struct Reader<'a> {
    assignments: &'a Assignments,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// A value; `None` counts as not there.
    fn value(&self, key: &str) -> Option<&'a Literal> {
        self.assignments
            .get(key)
            .filter(|value| **value != Literal::None)
    }

    /// A string that is not empty. A number is taken as its digits.
    fn text(&mut self, key: &str) -> Option<String> {
        let text = match self.value(key)? {
            Literal::Int(number) => number.to_string(),
            Literal::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            value => match value.as_str() {
                Some(text) => text.to_owned(),
                None => {
                    self.warn(format!("vm.cfg: `{key}` is {}, not a string", value.kind()));
                    return None;
                }
            },
        };
        (!text.trim().is_empty()).then_some(text)
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        let value = self.value(key)?;
        // A value in no unit's range is as wrong as one that is no number.
        let number = value
            .to_u64()
            .filter(|number| *number <= u64::from(u32::MAX));
        if number.is_none() {
            self.warn(format!(
                "vm.cfg: `{key}` is not a whole number that makes sense"
            ));
        }
        number
    }

    fn domain_type(&mut self) -> Option<String> {
        self.text("OVM_domain_type").or_else(|| {
            let builder = self.text("builder")?;
            match builder.as_str() {
                "hvm" => Some("xen_hvm".to_owned()),
                "linux" | "generic" => Some("xen_pvm".to_owned()),
                _ => None,
            }
        })
    }

    /// The items of a list; one string alone is taken as a list of one.
    fn list(&mut self, key: &str) -> Option<&'a [Literal]> {
        let value = self.value(key)?;
        if let Some(items) = value.items() {
            return Some(items);
        }
        self.warn(format!("vm.cfg: `{key}` is {}, not a list", value.kind()));
        matches!(value, Literal::Text(_) | Literal::Bytes(_)).then_some(std::slice::from_ref(value))
    }

    fn nics(&mut self) -> Vec<Nic> {
        let mut nics = Vec::new();
        for (index, item) in self.list("vif").unwrap_or_default().iter().enumerate() {
            if item.as_str().is_none() {
                self.warn(format!(
                    "vm.cfg: entry {} of `vif` is {}, not a string",
                    index + 1,
                    item.kind()
                ));
            }
            nics.push(item.as_str().map(Nic::parse).unwrap_or_default());
        }
        nics
    }

    /// The disks, and whether they are all.
    fn disks(&mut self) -> (Vec<DiskEntry>, bool) {
        let certain = !self.assignments.is_doubtful("disk");
        if !certain {
            self.warn("vm.cfg: a statement that was left out may change `disk`, so no snapshot can be taken");
        }
        if self.assignments.get("disk").is_none() {
            // An empty list is written `disk = []`. Nothing at all is what a file has that is
            // being written at this moment.
            self.warn("vm.cfg has no `disk` that can be read, so no snapshot can be taken");
            return (Vec::new(), false);
        }
        let items = self.list("disk");
        let complete = certain && (items.is_some() || self.value("disk").is_none());
        let mut disks = Vec::new();
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            let disk = self.disk(item);
            let device = match disk.device_name.as_str() {
                "" => String::new(),
                name => format!(" ({name})"),
            };
            for oddity in disk.oddities() {
                self.warn(format!("vm.cfg: disk {}{device}: {oddity}", index + 1));
            }
            disks.push(disk);
        }
        (disks, complete)
    }

    fn disk(&self, item: &Literal) -> DiskEntry {
        let text = match item {
            Literal::Text(text) => text.clone(),
            Literal::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => return DiskEntry::not_a_string(other.kind().to_owned()),
        };
        let mut disk = DiskEntry::parse(&text);
        // Then the text is a guess at the bytes, and the path might name another file.
        let guessed = item.as_str().is_none() || !self.assignments.is_utf8();
        if guessed && !disk.path.is_ascii() {
            disk.problem = disk.problem.or(Some(DiskProblem::NotUtf8));
        }
        disk
    }
}

/// The UUID that an Oracle VM id of 32 hexadecimal digits stands for.
fn uuid_of(id: &str) -> Option<String> {
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id
        .then(|| uuid::Uuid::parse_str(id).ok().map(|uuid| uuid.to_string()))
        .flatten()
}

#[cfg(test)]
#[path = "vm_tests.rs"]
mod tests;
