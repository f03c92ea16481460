//! The document of the interface: the one that is checked in is the one that the code makes.

use std::collections::BTreeSet;

use coriolis_ovm_exporter::server;
use serde_json::Value;

const CHECKED_IN: &str = include_str!("../../docs/openapi.json");

fn made() -> Value {
    serde_json::from_str(&server::openapi_document()).unwrap()
}

#[test]
fn the_document_that_is_checked_in_is_the_one_that_the_code_makes() {
    let checked_in: Value = serde_json::from_str(CHECKED_IN).unwrap();
    assert!(
        checked_in == made(),
        "docs/openapi.json is out of date; renew it with `make openapi`, and look at what changed"
    );
}

/// Every value below `name`, wherever that stands.
fn values<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match value.as_str() {
                    Some(text) if field == name => found.push(text),
                    _ => values(value, name, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| values(item, name, found)),
        _ => {}
    }
}

#[test]
fn whatever_it_points_to_is_there() {
    let document = made();
    let mut references = Vec::new();
    values(&document, "$ref", &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }

    let paths = document["paths"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    let mut links = BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
            let open = path.starts_with("/health/")
                || ["/api/v1/auth/login", "/api/v1/openapi.json"].contains(&path.as_str());
            assert_eq!(operation["security"].is_null(), open, "{method} {path}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(!answers.contains_key("default"), "{id} hides its answers");
            for answer in answers.values() {
                if let Some(all) = answer["links"].as_object() {
                    let all = all
                        .values()
                        .map(|link| link["operationId"].as_str().unwrap());
                    links.extend(all.map(str::to_owned));
                }
            }
        }
        assert_eq!(item["get"].is_null(), item["head"].is_null(), "{path}");
    }
    assert!(links.len() > 4 && links.is_subset(&ids), "{links:?}");
}
