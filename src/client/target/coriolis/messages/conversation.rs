//! From the first message to the last acknowledgement.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::line::Line;
use super::stream::MessageStream;

/// How long a program that no longer listens may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a program may take to end well: it may have to bring everything to storage first.
const FAREWELL: Duration = Duration::from_secs(1800);

/// Sends the messages that come, as long as any do, and hears their acknowledgements; then waits for
/// the end of the program, if it is one.
///
/// # Errors
/// Where the other side does not acknowledge, or ends too early or badly.
pub(super) async fn converse(
    mut stream: MessageStream,
    mut messages: UnboundedReceiver<Vec<u8>>,
    line: &Arc<Line>,
    patience: Duration,
) -> io::Result<()> {
    let mut program = stream.take_child();
    let MessageStream { input, output, .. } = stream;
    let spoken =
        async { tokio::try_join!(send(input, &mut messages), hear(output, line, patience),) };
    let spoken = tokio::select! {
        spoken = spoken => spoken,
        () = line.ending().is_over() => Err(io::Error::other("it was given up")),
    };
    match (spoken, &mut program) {
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(program)) => {
            let ended = tokio::select! {
                ended = program.end(FAREWELL) => Some(ended),
                () = line.ending().is_over() => None,
            };
            match ended {
                Some(ended) => ended,
                None => {
                    program.kill().await;
                    Err(io::Error::other("it was given up"))
                }
            }
        }
        (Err(error), None) => Err(error),
        // Why it has gone, it knows best.
        (Err(error), Some(program)) => match program.end(LAST_WORDS).await {
            Err(told) if told.kind() != io::ErrorKind::TimedOut => Err(told),
            Ok(()) => Err(error),
            Err(_) => {
                program.kill().await;
                Err(error)
            }
        },
    }
}

async fn send(
    mut input: impl AsyncWrite + Unpin,
    messages: &mut UnboundedReceiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        input.write_all(&message).await?;
        if messages.is_empty() {
            input.flush().await?;
        }
    }
    input.shutdown().await
}

/// Until the last message is acknowledged.
async fn hear(
    mut output: impl AsyncRead + Unpin,
    line: &Line,
    patience: Duration,
) -> io::Result<()> {
    let mut number = [0; 4];
    let mut filled = 0;
    let mut heard = Instant::now();
    loop {
        // To be given up in the middle loses nothing.
        let room = &mut number[filled..];
        let count = match tokio::time::timeout(patience, output.read(room)).await {
            Ok(count) => count?,
            Err(_) if line.is_quiet() => {
                heard = Instant::now();
                continue;
            }
            Err(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "it has acknowledged nothing for {} s",
                        heard.elapsed().as_secs()
                    ),
                ));
            }
        };
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it has ended before it had acknowledged everything",
            ));
        }
        filled += count;
        if filled == number.len() {
            line.acknowledged(u32::from_le_bytes(number))?;
            if line.is_finished() {
                return Ok(());
            }
            filled = 0;
            heard = Instant::now();
        }
    }
}
