//! The `OpenAPI` document is true: whatever test asks whatever, an answer at a path that the document
//! has is one that it describes.

use std::sync::OnceLock;

use serde_json::Value;

use crate::server::Server;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let file = stack::root().join("origin/src/http/openapi.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    })
}

/// Checks an answer against the document; `media_type` is that of a body that is there.
///
/// # Errors
/// What the document does not describe.
pub(crate) fn describes(
    method: &str,
    path: &str,
    status: u16,
    media_type: Option<&str>,
) -> Result<(), String> {
    let is_list = path.strip_prefix("/oauth2/status/").is_some_and(|list| list.len() == 22);
    let path = if is_list { "/oauth2/status/{list}" } else { path };
    let Some(operations) = document()["paths"].get(path) else { return Ok(()) };
    let Some(operation) = operations.get(method.to_lowercase()) else { return Ok(()) };
    let response = &operation["responses"][status.to_string()];
    let response = match response.get("$ref").and_then(Value::as_str) {
        Some(reference) => document().pointer(&reference[1..]).unwrap(),
        None => response,
    };
    if response.is_null() {
        return Err(format!("{method} {path}: {status} is not described"));
    }
    match (media_type, response.get("content")) {
        (Some(media_type), Some(content)) if content.get(media_type).is_none() => {
            Err(format!("{method} {path}: {status} is not described as {media_type}"))
        }
        (Some(_), None) => Err(format!("{method} {path}: {status} is described without a body")),
        _ => Ok(()),
    }
}

scenarios! { doors:
    fn the_document_is_served(server) {
        let answer = server.get("/openapi.json").send().expect(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let mut served = answer.json();
        assert_eq!(served["servers"][0]["url"].as_str(), Some(&*server.url));
        served["servers"] = document()["servers"].clone();
        assert_eq!(&served, document());
        let read = server.get("/openapi.json").header("origin", "https://any.example").send();
        assert_eq!(read.expect(200).header("access-control-allow-origin"), Some("*"));
    }
}

#[test]
fn what_is_not_described_is_told() {
    let told = |method, path, status, media_type| describes(method, path, status, media_type).err();
    assert_eq!(told("POST", "/oauth2/token", 200, Some("application/json")), None);
    assert_eq!(told("GET", "/oauth2/status/AwMDAwMDAwMDAwMDAwMDAw", 404, None), None);
    assert_eq!(told("GET", "/elsewhere", 200, Some("text/plain")), None);
    assert!(told("POST", "/oauth2/token", 418, None).is_some());
    assert!(told("POST", "/oauth2/token", 200, Some("text/html")).is_some());
    assert!(told("DELETE", "/api/auth/logout", 204, Some("text/plain")).is_some());
}

#[test]
fn every_path_of_the_document_leads_to_an_endpoint() {
    let server = Server::origin();
    for path in document()["paths"].as_object().unwrap().keys() {
        let path = path.replace("{list}", "AwMDAwMDAwMDAwMDAwMDAw");
        let answer = server.request("PATCH", &path).send();
        assert_eq!(answer.status, 405, "{answer:?}");
    }
}
