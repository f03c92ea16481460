//! Between hyper and the router: tells handlers their connection, and counts what is in flight.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::connection::{BodyArriving, Connection, ConnectionHandle, RequestInFlight};

/// The router as one connection sees it.
#[derive(Debug, Clone)]
pub(super) struct ConnectionService {
    router: TowerToHyperService<Router>,
    connection: Arc<Connection>,
}

impl ConnectionService {
    pub(super) fn new(router: Router, connection: Arc<Connection>) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            connection,
        }
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response<AnswerBody>;
    type Error = ConnectionCloses;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectionCloses>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(in_flight) = RequestInFlight::begin(&self.connection) else {
            return Box::pin(std::future::ready(Err(ConnectionCloses)));
        };
        let connection = &self.connection;
        let mut request = request.map(|body| RequestBody::new(body, connection));
        request
            .extensions_mut()
            .insert(ConnectionHandle(Arc::clone(connection)));
        let answer = self.router.call(request);
        Box::pin(async move {
            let answer = answer.await.unwrap_or_else(|never| match never {});
            Ok(answer.map(|body| AnswerBody {
                body,
                _in_flight: in_flight,
            }))
        })
    }
}

/// The request came when its connection was about to be closed: it is not begun, and hyper ends
/// the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is about to be closed")]
pub(super) struct ConnectionCloses;

/// A response body; its request is in flight until it is dropped.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    _in_flight: RequestInFlight,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body; notes whether it arrived in full.
#[derive(Debug)]
pub(super) struct RequestBody {
    body: Incoming,
    /// `None` when its last byte is here.
    arriving: Option<BodyArriving>,
}

impl RequestBody {
    fn new(body: Incoming, connection: &Arc<Connection>) -> Self {
        use hyper::body::Body as _;
        let arriving = (!body.is_end_stream()).then(|| BodyArriving::begin(connection));
        Self { body, arriving }
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if (frame.is_none() || self.body.is_end_stream())
            && let Some(arriving) = self.arriving.take()
        {
            arriving.arrived();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
