//! Running a program, without an async runtime: bounded in time and output, never waited for
//! longer than that.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::ovm::domains::first_line;
use crate::sys::child::with_every_signal;

/// The most that standard output may have, in bytes.
const MAX_OUTPUT: usize = 1 << 20;
/// How much of standard error is kept for the message, in bytes.
const MAX_MESSAGE: usize = 4096;
/// How often to look whether the program has ended, or should.
const GLANCE: Duration = Duration::from_millis(10);
/// How long a killed program, or what an ended one still had to say, is waited for. A process
/// that the kernel holds cannot be killed; it is left behind.
const AFTERMATH: Duration = Duration::from_millis(200);

/// A program and how it is run.
#[derive(Debug)]
pub(super) struct Call<'c> {
    pub(super) program: &'c Path,
    pub(super) arguments: Vec<OsString>,
    /// Beside `PATH` and the language, all that it gets.
    pub(super) environment: Vec<(&'static str, String)>,
    /// It is killed after this time.
    pub(super) limit: Duration,
    /// It is one that may be killed where memory runs out.
    pub(super) expendable: bool,
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With success, and this on standard output.
    Well(Vec<u8>),
    /// With an error; the text names the program and says why.
    Badly(String),
    /// It was killed, since time was up or somebody said stop. What it has done is not known.
    Killed(String),
    /// It could not be started.
    NotStarted(String),
}

impl Ended {
    /// Its output, or why there is none.
    pub(super) fn output(self) -> Result<Vec<u8>, String> {
        match self {
            Ended::Well(output) => Ok(output),
            Ended::Badly(text) | Ended::Killed(text) | Ended::NotStarted(text) => Err(text),
        }
    }
}

impl Call<'_> {
    /// Runs it to its end, or until `stop` says so.
    pub(super) fn run(&self, mut stop: impl FnMut() -> bool) -> Ended {
        let begun = Instant::now();
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => {
                let program = self.program.display();
                return Ended::NotStarted(format!("cannot start {program}: {error}"));
            }
        };
        let mut output = Stream::of(child.stdout.take(), MAX_OUTPUT);
        let mut message = Stream::of(child.stderr.take(), MAX_MESSAGE);
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            wait_for(&output, &message, GLANCE);
            output.take_in();
            message.take_in();
            if ended.is_none()
                && let Ok(Some(status)) = child.try_wait()
            {
                ended = Some((status, Instant::now()));
            }
            match ended {
                // Something that it started may still hold its output.
                Some((status, at))
                    if output.is_over() && message.is_over() || at.elapsed() > AFTERMATH =>
                {
                    return self.judge(status, output, &message);
                }
                Some(_) => {}
                None if begun.elapsed() > self.limit => {
                    kill(&mut child);
                    return Ended::Killed(format!(
                        "{} did not end within {:?} and was killed",
                        self.shown(),
                        self.limit
                    ));
                }
                None if stop() => {
                    kill(&mut child);
                    return Ended::Killed(format!("{} was told to end", self.shown()));
                }
                None => {}
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("LANG", "C")
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = with_every_signal(&mut command).spawn()?;
        if self.expendable {
            // It has inherited that it must not be killed. Without /proc, so be it.
            let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "0");
        }
        Ok(child)
    }

    fn judge(
        &self,
        status: ExitStatus,
        output: Stream<impl Read>,
        message: &Stream<impl Read>,
    ) -> Ended {
        if !status.success() {
            let said = first_line(&message.bytes);
            return Ended::Badly(format!("{} failed ({status}): {said}", self.shown()));
        }
        if output.overflowed {
            return Ended::Badly(format!(
                "{} wrote more than {MAX_OUTPUT} bytes",
                self.shown()
            ));
        }
        Ended::Well(output.bytes)
    }

    /// The program and its first argument: `/usr/sbin/xm pause`.
    fn shown(&self) -> String {
        let mut shown = self.program.display().to_string();
        if let Some(first) = self.arguments.first() {
            shown.push(' ');
            shown.push_str(&first.to_string_lossy());
        }
        shown
    }
}

/// Kills the program with all that it started and has not moved away.
fn kill(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    let deadline = Instant::now() + AFTERMATH;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

/// A pipe's end, read without waiting.
struct Stream<R> {
    pipe: Option<R>,
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl<R: Read + AsFd> Stream<R> {
    fn of(pipe: Option<R>, limit: usize) -> Stream<R> {
        // Its own end of the pipe: the program's is not touched.
        let pipe = pipe.filter(|pipe| fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok());
        Stream {
            pipe,
            bytes: Vec::new(),
            limit,
            overflowed: false,
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    fn is_over(&self) -> bool {
        self.pipe.is_none()
    }

    /// Takes what is there; what exceeds the limit is thrown away.
    fn take_in(&mut self) {
        let mut block = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut block) {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    let room = self.limit - self.bytes.len();
                    self.overflowed |= length > room;
                    self.bytes.extend_from_slice(&block[..length.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }
}

/// Waits until there is something to read, for a moment at most.
fn wait_for<A: Read + AsFd, B: Read + AsFd>(one: &Stream<A>, other: &Stream<B>, most: Duration) {
    let mut ends: Vec<PollFd<'_>> = [one.fd(), other.fd()]
        .into_iter()
        .flatten()
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    if ends.is_empty() {
        // It has closed its output, so it is about to end.
        thread::sleep(Duration::from_millis(1));
        return;
    }
    let most = u16::try_from(most.as_millis()).unwrap_or(u16::MAX);
    // A signal that interrupts it only makes the wait shorter.
    let _ = poll(&mut ends, most);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Call<'static> {
        Call {
            program: Path::new("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("WHO", "me".to_owned())],
            limit,
            expendable: true,
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn output_and_message_are_told() {
        let ended = shell("echo $WHO $HOME; echo x >&2", LONG).run(|| false);
        assert_eq!(ended.output().unwrap(), b"me\n");
        let failed = shell("echo; echo the reason >&2; exit 3", LONG).run(|| false);
        let Ended::Badly(text) = failed else {
            panic!("{failed:?}");
        };
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("the reason"), "{text}");
    }

    #[test]
    fn much_output_does_not_hold_it_up() {
        let text = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2";
        let ended = shell(text, LONG).run(|| false);
        assert!(
            matches!(&ended, Ended::Badly(text) if text.contains("more than")),
            "{ended:?}"
        );
    }

    #[test]
    fn what_does_not_end_is_killed_with_its_children() {
        let begun = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alive");
        let script = format!("(sleep 1; touch {}) & sleep 60", file.display());
        let ended = shell(&script, Duration::from_millis(100)).run(|| false);
        assert!(matches!(ended, Ended::Killed(_)), "{ended:?}");
        let ended = shell("sleep 60", LONG).run(|| begun.elapsed() > Duration::from_millis(200));
        assert!(matches!(ended, Ended::Killed(_)), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(1500));
        assert!(!file.exists());
    }

    #[test]
    fn a_child_that_keeps_the_pipes_does_not_hold_it_up() {
        let begun = Instant::now();
        let ended = shell("sleep 5 & echo done", LONG).run(|| false);
        assert_eq!(ended.output().unwrap(), b"done\n");
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_program_that_is_not_there_is_not_started() {
        let call = Call {
            program: Path::new("/none/such"),
            ..shell("", LONG)
        };
        let ended = call.run(|| false);
        assert!(matches!(&ended, Ended::NotStarted(text) if text.contains("/none/such")));
    }
}
