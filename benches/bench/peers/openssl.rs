//! `openssl speed`: how fast the cipher is by itself, on one core.

use std::process::Command;

use anyhow::Context as _;

use crate::process;

/// Bytes that AES-128-GCM encrypts in a second, in records as TLS has them.
pub fn cipher_speed(seconds: u32) -> anyhow::Result<f64> {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "speed",
        "-elapsed",
        "-bytes",
        "16384",
        "-evp",
        "aes-128-gcm",
    ]);
    let told = process::finish(openssl.args(["-seconds", &seconds.to_string()]))?.output;
    // AES-128-GCM   11206000.12k
    let last = told
        .lines()
        .last()
        .and_then(|line| line.split_whitespace().last());
    let thousands = last.and_then(|word| word.strip_suffix('k')?.parse::<f64>().ok());
    let thousands = thousands.with_context(|| format!("openssl speed says: {told}"))?;
    Ok(thousands * 1e3)
}
