//! A delta as it comes.

use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::Response;

use super::ClientError;
use crate::protocol::delta::{Decoder, DeltaError, Item, StreamHeader, Totals};

/// Frames, reached ones among them, come more often than that from a daemon that lives.
const SILENCE: Duration = Duration::from_secs(120);

/// The frames of one answer, checked.
///
/// A stream is complete only when [`DeltaStream::next`] has given [`Item::End`]; None is never
/// given before that.
#[derive(Debug)]
pub struct DeltaStream {
    response: Response,
    decoder: Decoder,
    header: StreamHeader,
    /// What came, and has not been decoded.
    pending: Bytes,
    /// Bytes of the body that came.
    received: u64,
}

impl DeltaStream {
    /// Waits for the header.
    pub(super) async fn open(response: Response) -> Result<DeltaStream, ClientError> {
        let mut body = DeltaStream {
            response,
            decoder: Decoder::new(),
            header: StreamHeader::default(),
            pending: Bytes::new(),
            received: 0,
        };
        match body.next().await? {
            Some(Item::Header(header)) => {
                body.header = header;
                Ok(body)
            }
            _ => Err(DeltaError::Malformed("it has no header".to_owned()).into()),
        }
    }

    /// What it is about.
    #[must_use]
    pub fn header(&self) -> &StreamHeader {
        &self.header
    }

    /// Everything of the disk before this offset has been given. After a break, ask again from
    /// here.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.decoder.reached()
    }

    /// Bytes that came over the wire, frames' heads included.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The totals, once the end has been given.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        self.decoder.finish().ok()
    }

    /// The next frame; None after the end.
    ///
    /// # Errors
    /// [`ClientError::Delta`] for a stream that is not as specified, was cut off, or in which the
    /// daemon says why it cannot go on; [`ClientError::Transport`] and [`ClientError::Silent`]
    /// where nothing comes any more.
    pub async fn next(&mut self) -> Result<Option<Item>, ClientError> {
        loop {
            let mut input: &[u8] = &self.pending;
            let item = self.decoder.next(&mut input)?;
            let left = input.len();
            self.pending.advance(self.pending.len() - left);
            if item.is_some() {
                return Ok(item);
            }
            let piece = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            match piece.map_err(|_| ClientError::Silent(SILENCE))?? {
                Some(piece) => {
                    self.received += piece.len() as u64;
                    self.pending = piece;
                }
                None => return self.decoder.finish().map(|_| None).map_err(Into::into),
            }
        }
    }
}
