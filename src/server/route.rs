//! A path, who may ask for it, what answers, and what is said of that: no handler goes without.

use axum::Router;
use axum::handler::Handler;
use axum::routing::MethodRouter;

use super::openapi::Operation;
use super::state::Shared;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Open,
    /// Who shows a token.
    Token,
    /// The same, or the token of those who collect figures.
    Figures,
}

/// A path with its methods.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: String,
    pub(super) access: Access,
    methods: MethodRouter<Shared>,
    /// By method, in small letters.
    pub(super) operations: Vec<(&'static str, Operation)>,
}

impl Route {
    fn new(path: String, access: Access) -> Route {
        Route {
            path,
            access,
            methods: MethodRouter::new(),
            operations: Vec::new(),
        }
    }

    pub(super) fn open(path: impl Into<String>) -> Route {
        Route::new(path.into(), Access::Open)
    }

    pub(super) fn protected(path: impl Into<String>) -> Route {
        Route::new(path.into(), Access::Token)
    }

    pub(super) fn figures(path: impl Into<String>) -> Route {
        Route::new(path.into(), Access::Figures)
    }

    /// And HEAD with it.
    pub(super) fn get<T: 'static>(
        mut self,
        handler: impl Handler<T, Shared>,
        operation: Operation,
    ) -> Route {
        self.methods = self.methods.get(handler);
        self.described("get", operation)
    }

    pub(super) fn post<T: 'static>(
        mut self,
        handler: impl Handler<T, Shared>,
        operation: Operation,
    ) -> Route {
        self.methods = self.methods.post(handler);
        self.described("post", operation)
    }

    pub(super) fn patch<T: 'static>(
        mut self,
        handler: impl Handler<T, Shared>,
        operation: Operation,
    ) -> Route {
        self.methods = self.methods.patch(handler);
        self.described("patch", operation)
    }

    pub(super) fn delete<T: 'static>(
        mut self,
        handler: impl Handler<T, Shared>,
        operation: Operation,
    ) -> Route {
        self.methods = self.methods.delete(handler);
        self.described("delete", operation)
    }

    fn described(mut self, method: &'static str, operation: Operation) -> Route {
        self.operations.push((method, operation));
        self
    }

    /// Adds the path, with and without a slash at its end.
    pub(super) fn add_to(self, router: Router<Shared>) -> Router<Shared> {
        let with_slash = format!("{}/", self.path);
        router
            .route(&self.path, self.methods.clone())
            .route(&with_slash, self.methods)
    }
}
