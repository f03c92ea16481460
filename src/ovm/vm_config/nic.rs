//! One entry of a vm.cfg's `vif` list: `mac=00:21:f6:00:00:01,bridge=0004fb001`.

/// One virtual network card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nic {
    /// Its hardware address as written; Xen makes one up if it is absent.
    pub mac: Option<String>,
    /// The bridge that it is plugged into.
    pub bridge: Option<String>,
    /// The emulated card, such as `e1000`.
    pub model: Option<String>,
}

impl Nic {
    /// Reads an entry. Keys that are not known here (`type`, `ip`, `vifname`) are skipped; an empty
    /// entry is a card with defaults.
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let pairs = text.split(',').filter_map(|field| field.split_once('='));
            let found = pairs.into_iter().find(|(name, _)| name.trim() == key);
            found
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        Self {
            mac: value("mac"),
            bridge: value("bridge"),
            model: value("model"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_as_seen_on_nodes() {
        let nic = |mac: &str, bridge: &str, model: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Nic {
                mac: some(mac),
                bridge: some(bridge),
                model: some(model),
            }
        };
        for (text, expected) in [
            (
                "mac=00:21:f6:00:00:01,bridge=0004fb001",
                nic("00:21:f6:00:00:01", "0004fb001", ""),
            ),
            (
                "type=ioemu, mac=00:16:3e:00:00:02, bridge=xenbr0, model=e1000",
                nic("00:16:3e:00:00:02", "xenbr0", "e1000"),
            ),
            ("bridge=xenbr0", nic("", "xenbr0", "")),
            ("mac=,bridge=b=c", nic("", "b=c", "")),
            ("", nic("", "", "")),
            ("nonsense", nic("", "", "")),
        ] {
            assert_eq!(Nic::parse(text), expected, "{text}");
        }
    }
}
