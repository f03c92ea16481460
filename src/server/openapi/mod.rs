//! The OpenAPI document: made from the table of routes and from the types of
//! [`protocol`](crate::protocol), so that it cannot say anything else than they do.

mod document;
mod operation;

pub(super) use document::{RETRY_AFTER, document};
pub(super) use operation::{Answer, Header, Operation, Parameter};
