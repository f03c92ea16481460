//! What is said of a request: its parameters, its body, and everything that it can be answered.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// Makes a type's schema and leaves what that needs with the generator.
pub(in crate::server) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A request, described.
#[derive(Debug, Clone)]
pub(in crate::server) struct Operation {
    /// Its name in generated clients.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    /// Statuses whose body is the one that every error has.
    pub(super) failures: Vec<u16>,
    /// Operations for which an answer says what to ask.
    pub(super) leads_to: &'static [&'static str],
}

/// A parameter behind the question mark, or a header.
#[derive(Debug, Clone)]
pub(in crate::server) struct Parameter {
    pub(super) name: &'static str,
    /// `query` or `header`.
    pub(super) place: &'static str,
    pub(super) summary: &'static str,
    pub(super) schema: Value,
}

/// A request's body: JSON.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Body {
    pub(super) schema: SchemaOf,
    pub(super) required: bool,
}

/// An answer that is no error.
#[derive(Debug, Clone)]
pub(in crate::server) struct Answer {
    pub(super) status: u16,
    pub(super) summary: &'static str,
    /// Media types, and what is in those that are JSON.
    pub(super) content: Vec<(&'static str, Option<SchemaOf>)>,
    pub(super) headers: &'static [Header],
}

/// A header of an answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Header {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
}

impl Header {
    /// One that is always there.
    pub(in crate::server) const fn new(name: &'static str, summary: &'static str) -> Header {
        Header { name, summary }
    }
}

impl Answer {
    /// One without content.
    pub(in crate::server) fn empty(status: u16, summary: &'static str) -> Answer {
        Answer {
            status,
            summary,
            content: Vec::new(),
            headers: &[],
        }
    }

    /// JSON of this type.
    pub(in crate::server) fn json<T: JsonSchema>(status: u16, summary: &'static str) -> Answer {
        Answer {
            content: vec![("application/json", Some(schema_of::<T>()))],
            ..Answer::empty(status, summary)
        }
    }

    /// Content of other kinds.
    pub(in crate::server) fn of(
        status: u16,
        summary: &'static str,
        kinds: &[&'static str],
    ) -> Answer {
        Answer {
            content: kinds.iter().map(|kind| (*kind, None)).collect(),
            ..Answer::empty(status, summary)
        }
    }

    /// The same with headers that it always has.
    pub(in crate::server) fn with(self, headers: &'static [Header]) -> Answer {
        Answer { headers, ..self }
    }
}

impl Parameter {
    /// Behind the question mark.
    pub(in crate::server) fn query(
        name: &'static str,
        summary: &'static str,
        schema: Value,
    ) -> Parameter {
        Parameter {
            name,
            place: "query",
            summary,
            schema,
        }
    }

    /// One of these words.
    pub(in crate::server) fn word<'w>(
        name: &'static str,
        summary: &'static str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Parameter {
        let words: Vec<&str> = words.into_iter().collect();
        Parameter::query(name, summary, json!({"type": "string", "enum": words}))
    }

    /// A header of the request, any text.
    pub(in crate::server) fn header(name: &'static str, summary: &'static str) -> Parameter {
        Parameter {
            name,
            place: "header",
            summary,
            schema: json!({"type": "string"}),
        }
    }
}

impl Operation {
    pub(in crate::server) fn new(id: &'static str, summary: &'static str) -> Operation {
        Operation {
            id,
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            failures: Vec::new(),
            leads_to: &[],
        }
    }

    pub(in crate::server) fn takes(
        mut self,
        parameters: impl IntoIterator<Item = Parameter>,
    ) -> Operation {
        self.parameters.extend(parameters);
        self
    }

    /// A body that must be there.
    pub(in crate::server) fn body<T: JsonSchema>(mut self) -> Operation {
        self.body = Some(Body {
            schema: schema_of::<T>(),
            required: true,
        });
        self
    }

    /// A body that may be left out.
    pub(in crate::server) fn body_if_any<T: JsonSchema>(mut self) -> Operation {
        self.body = Some(Body {
            schema: schema_of::<T>(),
            required: false,
        });
        self
    }

    pub(in crate::server) fn answers(mut self, answer: Answer) -> Operation {
        self.answers.push(answer);
        self
    }

    pub(in crate::server) fn fails(mut self, statuses: &[u16]) -> Operation {
        self.failures.extend_from_slice(statuses);
        self
    }

    pub(in crate::server) fn leads_to(mut self, operations: &'static [&'static str]) -> Operation {
        self.leads_to = operations;
        self
    }
}

fn schema_of<T: JsonSchema>() -> SchemaOf {
    |generator| generator.subschema_for::<T>()
}
