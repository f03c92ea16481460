use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;
static BEGUN: OnceLock<Instant> = OnceLock::new();
pub fn now() -> u64 { BEGUN.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1 }
pub fn say(line: &str) {
    use std::io::Write as _;
    let mut f = std::fs::OpenOptions::new().append(true).create(true).open("/tmp/fair-shares.log").unwrap();
    let _ = writeln!(f, "{line}");
}
pub fn net() -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for file in ["/proc/self/net/netstat", "/proc/self/net/snmp"] {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for two in lines.chunks(2) {
            for (name, value) in two[0].split_whitespace().zip(two[1].split_whitespace()).skip(1) {
                all.insert(name.to_owned(), value.parse().unwrap_or(0));
            }
        }
    }
    all
}
pub fn diff(a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>) -> Vec<(String, i64)> {
    b.iter().map(|(k, v)| (k.clone(), v - a.get(k).unwrap_or(&0))).filter(|(k, v)| *v != 0 && !k.contains("Octets") && !k.starts_with("In") && !k.starts_with("Out")).collect()
}
