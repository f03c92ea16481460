//! `GET /api/v1/events`: what runs now, and what becomes of it, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};

use super::watch::{News, Watch};
use crate::protocol::Operation;
use crate::server::error::ApiError;
use crate::server::extract::Parameters;
use crate::server::query::EventsQuery;
use crate::server::state::{App, Shared};

/// A line that means nothing, so that a connection on which nothing happens is seen to be alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(in crate::server) async fn stream(
    State(app): State<Shared>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Response, ApiError> {
    let follow = query.follow()?;
    if !follow {
        let now = Watch::once(&app.activities);
        let now = now
            .into_iter()
            .map(|news| Ok::<_, Infallible>(event(&news)));
        return Ok(Sse::new(stream::iter(now)).into_response());
    }
    let watch = Watch::begin(&app.activities).ok_or(ApiError::TooManyWatchers)?;
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events(app, watch))
        .keep_alive(keep_alive)
        .into_response())
}

/// Ends when the daemon stops, or when it is dropped with its connection.
fn events(app: Arc<App>, watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((app, watch), |(app, mut watch)| async move {
        let news = tokio::select! {
            () = app.lifecycle.stopping() => return None,
            news = watch.next() => news,
        };
        Some((Ok(event(&news)), (app, watch)))
    })
}

fn event(news: &News) -> Event {
    let operation = |name: &str, operation: &Operation| {
        // It is plain data: that it cannot be written does not happen.
        let text = serde_json::to_string(operation).unwrap_or_default();
        Event::default().event(name).data(text)
    };
    match news {
        News::Running(one) => operation("running", one),
        News::Current(count) => Event::default().event("current").data(count.to_string()),
        News::Progress(one) => operation("progress", one),
        News::Ended(one) => operation("ended", one),
        News::Missed(count) => Event::default().event("missed").data(count.to_string()),
    }
}
