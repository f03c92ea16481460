//! Where log lines go: standard error, or a file that is rotated and that SIGHUP opens again.

mod backups;
mod file;
mod notice;
mod scribe;

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt, reload};

use crate::config::{Config, LogFormat, LogLevel};
use backups::Keep;
use file::{LogFile, Rotation};
use scribe::{InUse, Opening, Output, Scribe};

/// The log of this process.
#[derive(Debug, Clone)]
pub struct Log {
    scribe: Arc<Scribe>,
    filter: reload::Handle<EnvFilter, Registry>,
    /// A log's form stays what it was at the start.
    format: LogFormat,
}

impl Log {
    /// Sends all log lines where the configuration says. A file that cannot be opened is told on
    /// standard error, and tried again from time to time.
    ///
    /// # Errors
    /// When there can be no thread for it, or a log was started before in this process.
    pub fn start(config: &Config) -> io::Result<Log> {
        let log = Log::begin(config.log_level, config.log_format)?;
        let opening = opening(config, log.format, Some(rotation(config)));
        if let Err(error) = log.scribe.turn_to(opening, true) {
            let _ = writeln!(
                io::stderr(),
                "coriolis-ovm-exporter: {error}; it is tried again from time to time"
            );
        }
        Ok(log)
    }

    /// The same beside a daemon, which rotates the file.
    ///
    /// # Errors
    /// As [`Log::start`], and when the file cannot be opened.
    pub fn start_beside(config: &Config, level: LogLevel) -> io::Result<Log> {
        let log = Log::begin(level, config.log_format)?;
        let opening = opening(config, log.format, None);
        log.scribe.turn_to(opening, false)?;
        Ok(log)
    }

    fn begin(level: LogLevel, format: LogFormat) -> io::Result<Log> {
        let scribe = Arc::new(Scribe::start(format)?);
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = fmt::layer()
            .with_target(false)
            .with_writer(Lines(scribe.clone()));
        let lines = match format {
            LogFormat::Human => lines
                .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
                .boxed(),
            LogFormat::Json => lines
                .with_ansi(false)
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(io::Error::other)?;
        Ok(Log {
            scribe,
            filter: handle,
            format,
        })
    }

    /// Opens the file that the configuration names, for those who rotate it themselves too, and takes up
    /// what is kept. Where it cannot be opened the old file stays in use, and the new one is tried
    /// again, from time to time, when there is something to write.
    ///
    /// # Errors
    /// The file system's.
    pub fn take_up(&self, config: &Config) -> io::Result<()> {
        let opening = opening(config, self.format, Some(rotation(config)));
        self.scribe.turn_to(opening, false)
    }

    /// From now on so much is logged.
    pub fn set_level(&self, level: LogLevel) {
        // Fails where the subscriber is gone, and then there is no log.
        let _ = self.filter.reload(filter(level));
    }

    /// Writes into `config` which file is in use, and what is kept of it: not always what was asked
    /// for last.
    pub fn note_in_force(&self, config: &mut Config) {
        let InUse { file, rotation } = self.scribe.in_use();
        config.log_file = file;
        if let Some(rotation) = rotation {
            config.log_max_size = rotation.size;
            config.log_max_files = rotation.keep.files;
            config.log_max_age = rotation.keep.age;
        }
    }
}

/// Libraries speak at their own levels; below warnings only we are of interest.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("warn,coriolis_ovm_exporter={}", level.as_str()))
}

fn rotation(config: &Config) -> Rotation {
    Rotation {
        size: config.log_max_size,
        keep: Keep {
            files: config.log_max_files,
            age: config.log_max_age,
        },
    }
}

fn opening(config: &Config, format: LogFormat, rotation: Option<Rotation>) -> Opening {
    let path = config.log_file.clone();
    Box::new(move || match path {
        None => (Output::StandardError(format), Ok(())),
        Some(path) => {
            let (file, opened) = LogFile::new(&path, format, rotation);
            (Output::File(Box::new(file)), opened)
        }
    })
}

/// Makes a writer for each line.
struct Lines(Arc<Scribe>);

/// Writes one line.
struct Line<'a>(&'a Scribe);

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
