//! TLS as a client, for many bytes in one direction.
//!
//! What came is decrypted where it was received, 256 KiB at a time; the common way reads record by
//! record, and takes twice the time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ending::Life;

/// Received at once, to begin with: a record of TLS has at most 18 KiB.
const SMALL: usize = 32 << 10;
/// Received at once from a node that sends more than we ask for; what decrypts it still finds it
/// in the processor's own cache.
const LARGE: usize = 256 << 10;
/// Plain bytes that are encrypted before they are sent, at most: several records.
const SENT: usize = 128 << 10;
/// Plain bytes of one record, at most.
const RECORD: usize = 16 << 10;
/// What TLS adds to them, roughly.
const OVERHEAD: usize = 64;

/// A connection under TLS.
pub(super) struct TlsStream {
    tcp: TcpStream,
    tls: UnbufferedClientConnection,
    /// As it came.
    incoming: Vec<u8>,
    /// Where in it what is not decrypted yet begins, and where it ends.
    start: usize,
    end: usize,
    /// Decrypted, and not asked for yet: what is left of a record.
    plain: Vec<u8>,
    /// How much of that has been given.
    given: usize,
    /// Encrypted, to be sent.
    outgoing: Vec<u8>,
    /// How much of that was sent.
    sent: usize,
    /// The node has said that nothing more comes.
    is_closed: bool,
    /// So have we.
    is_shut: bool,
    /// What came was no TLS, or damaged. Nothing is made of it a second time.
    is_broken: bool,
    life: Life,
}

/// Where TLS goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There is nothing more to do with what came.
    Traffic,
    Handshake,
    Closed,
    /// Bytes were decrypted, and there may be more.
    Given,
    /// What was to be sent is encrypted.
    Written,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
enum Out<'b> {
    Bytes(&'b [u8]),
    /// TLS's own end.
    Close,
}

impl TlsStream {
    /// Shakes hands.
    pub(super) async fn connect(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<TlsStream> {
        let mut stream = TlsStream {
            tcp,
            tls: UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?,
            incoming: vec![0; SMALL],
            start: 0,
            end: 0,
            plain: Vec::new(),
            given: 0,
            outgoing: Vec::new(),
            sent: 0,
            is_closed: false,
            is_shut: false,
            is_broken: false,
            life: Life::default(),
        };
        std::future::poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let turn = self.turn(None, None)?;
            ready!(self.poll_send(context))?;
            match turn {
                Turn::Traffic => return Poll::Ready(Ok(())),
                Turn::Given | Turn::Written => {}
                Turn::Handshake => ready!(self.poll_receive(context))?,
                Turn::Closed => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Works on what came: until a record with bytes was decrypted into `buffer`, or beside it where
    /// it has no room, until `out` is encrypted, or until more has to come.
    fn turn(&mut self, buffer: Option<&mut ReadBuf<'_>>, out: Option<Out<'_>>) -> io::Result<Turn> {
        if self.is_broken {
            return Err(broken("it is broken already"));
        }
        let turn = self.work(buffer, out);
        self.is_broken = turn.is_err();
        turn
    }

    fn work(
        &mut self,
        mut buffer: Option<&mut ReadBuf<'_>>,
        out: Option<Out<'_>>,
    ) -> io::Result<Turn> {
        loop {
            let UnbufferedStatus { mut discard, state } = self
                .tls
                .process_tls_records(&mut self.incoming[self.start..self.end]);
            let turn = match state.map_err(broken)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    let mut given = false;
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(broken)?;
                        discard += record.discard;
                        given |= !record.payload.is_empty();
                        let room = buffer.as_ref().map_or(0, |buffer| buffer.remaining());
                        let (now, later) = record.payload.split_at(room.min(record.payload.len()));
                        if let Some(buffer) = &mut buffer {
                            buffer.put_slice(now);
                        }
                        self.plain.extend_from_slice(later);
                    }
                    given.then_some(Turn::Given)
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, 0, |room| {
                        data.encode(room).map_err(|error| match error {
                            EncodeError::InsufficientSize(size) => NotWritten::Needs(size),
                            error @ EncodeError::AlreadyEncoded => {
                                NotWritten::Error(io::Error::other(error))
                            }
                        })
                    })?;
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    // It leaves in its order, with the next thing that is sent.
                    data.done();
                    None
                }
                ConnectionState::WriteTraffic(mut traffic) => match out {
                    None => Some(Turn::Traffic),
                    Some(out) => {
                        let about = match out {
                            Out::Bytes(bytes) => {
                                bytes.len() + OVERHEAD * (1 + bytes.len() / RECORD)
                            }
                            Out::Close => OVERHEAD,
                        };
                        append(&mut self.outgoing, about, |room| {
                            let written = match out {
                                Out::Bytes(bytes) => traffic.encrypt(bytes, room),
                                Out::Close => traffic.queue_close_notify(room),
                            };
                            written.map_err(|error| match error {
                                EncryptError::InsufficientSize(size) => NotWritten::Needs(size),
                                error @ EncryptError::EncryptExhausted => {
                                    NotWritten::Error(io::Error::other(error))
                                }
                            })
                        })?;
                        Some(Turn::Written)
                    }
                },
                ConnectionState::BlockedHandshake => Some(Turn::Handshake),
                ConnectionState::PeerClosed | ConnectionState::Closed => Some(Turn::Closed),
                other => return Err(io::Error::other(format!("TLS is in {other:?}"))),
            };
            self.start += discard;
            if let Some(turn) = turn {
                self.is_closed |= turn == Turn::Closed;
                return Ok(turn);
            }
        }
    }

    /// Encrypts it; what came is decrypted on the way, of which there is a buffer at most.
    fn encrypt(&mut self, out: Out<'_>) -> io::Result<()> {
        let mut told = false;
        loop {
            match self.turn(None, Some(out))? {
                Turn::Written => return Ok(()),
                Turn::Given => {}
                // Told once, and what is to be sent can still be. Told again, both sides have ended it.
                Turn::Closed if !told => told = true,
                Turn::Closed => {
                    return match out {
                        Out::Close => Ok(()),
                        Out::Bytes(_) => Err(io::ErrorKind::NotConnected.into()),
                    };
                }
                Turn::Traffic | Turn::Handshake => {
                    return Err(io::Error::other("TLS takes nothing to send now"));
                }
            }
        }
    }

    /// Receives as much as there is room for.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            // Part of a record.
            self.incoming.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.incoming.len() {
            if self.end >= LARGE {
                return Poll::Ready(Err(broken("a message without end")));
            }
            self.incoming.resize(2 * self.end, 0);
        }
        let mut room = ReadBuf::new(&mut self.incoming[self.end..]);
        ready!(Pin::new(&mut self.tcp).poll_read(context, &mut room))?;
        let count = room.filled().len();
        if count == 0 {
            // Without TLS's own end anybody could have cut it off.
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended without TLS's end",
            )));
        }
        self.end += count;
        if self.end == self.incoming.len() && self.end < LARGE {
            self.incoming.resize(LARGE, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is encrypted.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outgoing.len() {
            let rest = &self.outgoing[self.sent..];
            let count = ready!(Pin::new(&mut self.tcp).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        self.outgoing.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Why something was not written into the room that it was given.
enum NotWritten {
    Needs(InsufficientSizeError),
    Error(io::Error),
}

/// Has something written behind what is in `out`, into about so many bytes, or as many as it asks
/// for.
fn append(
    out: &mut Vec<u8>,
    about: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, NotWritten>,
) -> io::Result<()> {
    let before = out.len();
    let mut room = about;
    loop {
        out.resize(before + room, 0);
        match write(&mut out[before..]) {
            Ok(count) => {
                out.truncate(before + count);
                return Ok(());
            }
            Err(NotWritten::Needs(size)) if size.required_size > room => room = size.required_size,
            Err(NotWritten::Needs(_)) => {
                return Err(io::Error::other("TLS does not say how much room it needs"));
            }
            Err(NotWritten::Error(error)) => return Err(error),
        }
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let before = buffer.filled().len();
        loop {
            if stream.given < stream.plain.len() {
                let rest = &stream.plain[stream.given..];
                let count = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..count]);
                stream.given += count;
            }
            if stream.given == stream.plain.len() {
                stream.plain.clear();
                stream.given = 0;
            }
            if buffer.remaining() == 0 || stream.is_closed {
                return Poll::Ready(Ok(()));
            }
            let turn = stream.turn(Some(buffer), None)?;
            if !stream.outgoing.is_empty() {
                // A change of keys, or what whoever writes has left. Whoever reads does not wait for it;
                // where it cannot be sent any more, what has come may still say why.
                let _later = stream.poll_send(context);
            }
            match turn {
                Turn::Given | Turn::Written => {}
                _ if buffer.filled().len() > before => return Poll::Ready(Ok(())),
                Turn::Closed => return Poll::Ready(Ok(())),
                Turn::Traffic | Turn::Handshake => ready!(stream.poll_receive(context))?,
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        ready!(stream.poll_send(context))?;
        let mut taken = 0;
        for piece in pieces {
            let now = &piece[..piece.len().min(SENT - taken)];
            if !now.is_empty() {
                stream.encrypt(Out::Bytes(now))?;
                taken += now.len();
            }
        }
        let _pending = stream.poll_send(context)?;
        Poll::Ready(Ok(taken))
    }

    /// So that nobody copies a chunk to one piece first.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if !stream.is_shut && !stream.is_broken {
            stream.is_shut = true;
            stream.encrypt(Out::Close)?;
        }
        ready!(stream.poll_send(context))?;
        Pin::new(&mut stream.tcp).poll_shutdown(context)
    }
}

impl Connection for TlsStream {
    fn connected(&self) -> Connected {
        self.life.told()
    }
}
