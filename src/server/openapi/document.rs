//! From the table of routes to the document.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

use super::operation::{Answer, Header, Operation};
use crate::protocol::{self, ErrorBody};
use crate::server::route::{Access, Route};

const DESCRIPTION: &str = "Snapshots and changed blocks of the disks of Oracle VM guests. Every path \
may end with a slash. Fields may be added to answers in later releases. A request may bring an \
`X-Request-Id` of its own: letters, digits and `-_.`, at most 64. Requests that no path takes are \
answered 404, wrong methods 405 with `Allow`, both as every error is.";

const PATH_PARAMETERS: [(&str, &str); 3] = [
    (
        "vm",
        "Id of a virtual machine, or vm.cfg's `name` or `uuid`.",
    ),
    ("snapshot", "Id of a snapshot."),
    ("disk", "Name of a disk in its snapshot."),
];

const REQUEST_ID: Header = Header::new("X-Request-Id", "To be found in the daemon's log.");
pub(in crate::server) const RETRY_AFTER: Header =
    Header::new("Retry-After", "Seconds to wait before the next try.");

/// The document of these routes.
pub(in crate::server) fn document(routes: &[Route]) -> Value {
    let mut writer = Writer::new(routes);
    // Stands in the events, which are text.
    writer.answers.subschema_for::<protocol::Operation>();
    let mut paths = Map::new();
    for route in routes {
        let methods: Map<String, Value> = route
            .operations
            .iter()
            .flat_map(|(method, operation)| writer.operations(route, method, operation))
            .collect();
        let mut item = Map::new();
        let parameters = path_parameters(&route.path);
        if !parameters.is_empty() {
            item.insert("parameters".to_owned(), parameters.into());
        }
        item.extend(methods);
        paths.insert(route.path.clone(), item.into());
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "coriolis-ovm-exporter",
            "description": DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://localhost:5544"}],
        "paths": paths,
        "components": {
            "responses": std::mem::take(&mut writer.failures),
            "schemas": writer.definitions(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    })
}

/// Collects the schemas that operations need.
struct Writer<'r> {
    /// What goes out.
    answers: SchemaGenerator,
    /// What comes in, where a field may be left out that an answer always has.
    bodies: SchemaGenerator,
    /// The path of each operation.
    paths: BTreeMap<&'static str, &'r str>,
    /// Answers that are errors, by name.
    failures: Map<String, Value>,
}

impl<'r> Writer<'r> {
    fn new(routes: &'r [Route]) -> Writer<'r> {
        let generator = |contract: Contract| {
            SchemaSettings::draft2020_12()
                .with(|settings| {
                    settings.meta_schema = None;
                    settings.definitions_path = "/components/schemas".into();
                    settings.contract = contract;
                })
                .into_generator()
        };
        Writer {
            failures: Map::new(),
            answers: generator(Contract::Serialize),
            bodies: generator(Contract::Deserialize),
            paths: routes
                .iter()
                .flat_map(|route| {
                    let operations = route.operations.iter();
                    operations.map(|(_, operation)| (operation.id, route.path.as_str()))
                })
                .collect(),
        }
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.bodies.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }

    /// The operation, and for a GET its HEAD.
    fn operations(
        &mut self,
        route: &Route,
        method: &str,
        operation: &Operation,
    ) -> Vec<(String, Value)> {
        let mut all = vec![(method.to_owned(), self.operation(route, operation, false))];
        if method == "get" {
            all.push(("head".to_owned(), self.operation(route, operation, true)));
        }
        all
    }

    fn operation(&mut self, route: &Route, operation: &Operation, is_head: bool) -> Value {
        let mut answers = Map::new();
        for answer in &operation.answers {
            let links = if is_head {
                Map::new()
            } else {
                self.links(operation, answer)
            };
            let answer = self.answer(answer, links, is_head);
            answers.insert(answer.0, answer.1);
        }
        for status in failures(route, operation) {
            let name = self.failure(status, is_head);
            let path = format!("#/components/responses/{name}");
            answers.insert(status.to_string(), json!({"$ref": path}));
        }
        let id = if is_head {
            let (first, rest) = operation.id.split_at(1);
            format!("head{}{rest}", first.to_uppercase())
        } else {
            operation.id.to_owned()
        };
        let summary = if is_head {
            format!("As GET, without the body: {}", operation.summary)
        } else {
            operation.summary.to_owned()
        };
        let mut value = json!({
            "operationId": id,
            "summary": summary,
            "responses": answers,
        });
        let parameters: Vec<Value> = operation
            .parameters
            .iter()
            .map(|parameter| {
                json!({
                    "name": parameter.name,
                    "in": parameter.place,
                    "description": parameter.summary,
                    "required": false,
                    "schema": parameter.schema,
                })
            })
            .collect();
        if !parameters.is_empty() {
            value["parameters"] = parameters.into();
        }
        if let Some(body) = operation.body {
            let schema = (body.schema)(&mut self.bodies);
            value["requestBody"] = json!({
                "required": body.required,
                "content": {"application/json": {"schema": schema}},
            });
        }
        if route.access != Access::Open {
            value["security"] = json!([{"token": []}]);
        }
        value
    }

    fn answer(
        &mut self,
        answer: &Answer,
        links: Map<String, Value>,
        is_head: bool,
    ) -> (String, Value) {
        let mut value = json!({
            "description": answer.summary,
            "headers": headers(answer.headers.iter().chain([&REQUEST_ID])),
        });
        if !is_head && !answer.content.is_empty() {
            let content: Map<String, Value> = answer
                .content
                .iter()
                .map(|(kind, schema)| {
                    let schema = schema.map(|schema| schema(&mut self.answers));
                    let media = schema.map_or(json!({}), |schema| json!({"schema": schema}));
                    ((*kind).to_owned(), media)
                })
                .collect();
            value["content"] = content.into();
        }
        if !links.is_empty() {
            value["links"] = links.into();
        }
        (answer.status.to_string(), value)
    }

    /// The name of an answer that is an error, the same wherever it is given.
    fn failure(&mut self, status: u16, is_head: bool) -> String {
        let known = StatusCode::from_u16(status).ok();
        let reason = known.and_then(|known| known.canonical_reason());
        let reason = reason.unwrap_or_default();
        let mut name = reason.replace(' ', "");
        if is_head {
            name.push_str("Head");
        }
        if self.failures.contains_key(&name) {
            return name;
        }
        let mut named = vec![&REQUEST_ID];
        if [429, 503].contains(&status) {
            named.insert(0, &RETRY_AFTER);
        }
        let mut value = json!({
            "description": reason,
            "headers": headers(named.into_iter()),
        });
        if !is_head {
            let schema = self.answers.subschema_for::<ErrorBody>();
            value["content"] = json!({"application/json": {"schema": schema}});
        }
        self.failures.insert(name.clone(), value);
        name
    }

    /// With what an answer says, these can be asked for.
    fn links(&self, operation: &Operation, answer: &Answer) -> Map<String, Value> {
        let from_answer = |name: &str| match name {
            "snapshot" => "$response.body#/id",
            "disk" => "$response.body#/disks/0/name",
            _ => "$request.path.vm",
        };
        let leads = answer.status == 200;
        let all = operation.leads_to.iter().filter(|_| leads);
        all.map(|id| {
            let path = self.paths.get(id).copied().unwrap_or_default();
            let parameters: Map<String, Value> = names(path)
                .map(|name| (name.to_owned(), from_answer(name).into()))
                .collect();
            let link = json!({"operationId": id, "parameters": parameters});
            ((*id).to_owned(), link)
        })
        .collect()
    }
}

/// All that this can be answered and is an error, in order.
fn failures(route: &Route, operation: &Operation) -> Vec<u16> {
    let mut all = operation.failures.clone();
    if route.access != Access::Open {
        all.push(401);
    }
    if operation.parameters.iter().any(|one| one.place == "query") {
        all.push(400);
    }
    if operation.body.is_some() {
        all.extend([400, 408, 413]);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn headers<'h>(headers: impl Iterator<Item = &'h Header>) -> Value {
    let all: Map<String, Value> = headers
        .map(|header| {
            let said = json!({
                "description": header.summary,
                "required": true,
                "schema": {"type": "string"},
            });
            (header.name.to_owned(), said)
        })
        .collect();
    all.into()
}

/// What stands in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameters(path: &str) -> Vec<Value> {
    names(path)
        .map(|name| {
            let known = PATH_PARAMETERS.iter().find(|(known, _)| *known == name);
            json!({
                "name": name,
                "in": "path",
                "description": known.map_or("", |(_, summary)| summary),
                "required": true,
                "schema": {"type": "string"},
            })
        })
        .collect()
}
