//! HTTPS: the only room that knows axum.
