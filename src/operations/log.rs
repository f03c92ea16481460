//! Where log lines go: standard error, or a file that SIGHUP opens again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogLevel;

/// The log's file, if it has one.
#[derive(Debug, Clone)]
pub struct Log(Option<Arc<LogFile>>);

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Sends all log lines to `file`, or to standard error.
    ///
    /// # Errors
    /// When the file cannot be opened, or a log was started before in this process.
    pub fn start(file: Option<&Path>, level: LogLevel) -> io::Result<Log> {
        let log = Log(match file {
            None => None,
            Some(path) => Some(Arc::new(LogFile {
                path: path.to_owned(),
                file: Mutex::new(open(path)?),
            })),
        });
        // Libraries speak at their own levels; below warnings only we are of interest.
        let filter = format!("warn,coriolis_ovm_exporter={}", level.as_str());
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_ansi(log.0.is_none() && io::IsTerminal::is_terminal(&io::stderr()))
            .with_target(false)
            .with_writer(log.clone())
            .try_init()
            .map_err(io::Error::other)?;
        Ok(log)
    }

    /// Opens the file again under its name, for those who rotate it. The old one stays in use
    /// where that fails.
    ///
    /// # Errors
    /// The file system's.
    pub fn reopen(&self) -> io::Result<()> {
        if let Some(log) = &self.0 {
            let fresh = open(&log.path)?;
            *log.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot open log_file {}: {error}", path.display()),
            )
        })
}

/// Writes one line.
#[derive(Debug)]
pub struct LogWriter(Option<Arc<LogFile>>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            None => io::stderr().write(bytes),
            Some(log) => log
                .file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = LogWriter;

    fn make_writer(&'w self) -> LogWriter {
        LogWriter(self.0.clone())
    }
}
