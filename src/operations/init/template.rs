//! `config.toml`: the documented example with this node's values in it.

use std::path::Path;

use anyhow::bail;

use super::plan::Paths;
use crate::config::SecretText;

/// Every key with its default; its own tests keep it so.
const EXAMPLE: &str = include_str!("../../../config.toml.example");
const HEADER: &str = "\
# Configuration of coriolis-ovm-exporter, made by `coriolis-ovm-exporter init`. It holds a secret:
# mode 0600.";
/// Where a node without systemd logs: upstart keeps nothing of what a job prints.
const UPSTART_LOG: &str = "/var/log/coriolis-ovm-exporter.log";

/// The text of the configuration.
///
/// # Errors
/// A path that is not text.
pub(super) fn fill(paths: &Paths, secret: &SecretText) -> anyhow::Result<String> {
    let mut values = vec![
        ("", "db_file", quoted(&paths.directory.join("exporter.db"))?),
        ("jwt", "secret", format!("\"{}\"", secret.expose())),
        ("api.tls", "certificate", quoted(&paths.certificate)?),
        ("api.tls", "key", quoted(&paths.key)?),
    ];
    if Path::new("/sbin/initctl").exists() && !Path::new("/run/systemd/system").exists() {
        values.push(("", "log_file", format!("\"{UPSTART_LOG}\"")));
    }
    with_values(EXAMPLE, &values)
}

/// Puts values in the place of examples and defaults; the first paragraph, which speaks of the
/// example, becomes the header.
fn with_values(example: &str, values: &[(&str, &str, String)]) -> anyhow::Result<String> {
    let mut lines = vec![HEADER.to_owned()];
    let mut section = "";
    let mut set = 0;
    for line in example.lines().skip_while(|line| *line != "#") {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name;
        }
        let key = line.trim_start_matches('#').split_once(" = ");
        let value = values.iter().find(|(wanted, name, _)| {
            *wanted == section && key.is_some_and(|(key, _)| key == *name)
        });
        match value {
            Some((_, name, value)) => {
                set += 1;
                lines.push(format!("{name} = {value}"));
            }
            None => lines.push(line.to_owned()),
        }
    }
    if set != values.len() {
        bail!("the example of a configuration has not all keys that are to be set");
    }
    Ok(lines.join("\n") + "\n")
}

fn quoted(path: &Path) -> anyhow::Result<String> {
    match path.to_str() {
        Some(text) => Ok(toml::Value::from(text).to_string()),
        None => bail!("{} is not text: choose another folder", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::PathBuf;

    #[test]
    fn the_filled_example_says_what_it_should() {
        let directory = PathBuf::from("/etc/odd \"folder\"");
        let paths = Paths::of(&directory, "config.toml").unwrap();
        let secret = config::secret::random_text().unwrap();
        let text = fill(&paths, &secret).unwrap();
        let loaded = config::parse(text.as_bytes(), &paths.config).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let defaults = config::Config::default();
        assert_eq!(loaded.config.db_file, directory.join("exporter.db"));
        assert_eq!(
            loaded.config.api.tls.key,
            Some(directory.join("srv-key.pem"))
        );
        assert_eq!(loaded.config.snapshots, defaults.snapshots);
        assert_eq!(loaded.config.api.limits, defaults.api.limits);
        assert!(config::secret::judge(&loaded.config.jwt).is_ok());
        assert!(!text.contains("config.toml.example"), "{text}");
    }

    #[test]
    fn a_key_that_the_example_lacks_is_noticed() {
        assert!(with_values("#\n", &[("", "db_file", String::new())]).is_err());
    }
}
