//! What a program's own description of its arguments gives besides `--help`: completions for
//! shells, and man pages.

use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Writes the completions of a program for a shell.
///
/// # Errors
/// When they cannot be written.
pub fn completions(mut program: Command, shell: Shell, to: &mut dyn Write) -> io::Result<()> {
    // The generator panics where a write fails.
    let mut script = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(shell, &mut program, name, &mut script);
    to.write_all(&script)
}

/// Writes a man page of a program and of each of its subcommands into a folder, which is made.
///
/// # Errors
/// Whatever keeps a file from being written.
pub fn pages(program: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(program, folder)
}
