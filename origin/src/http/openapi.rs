//! `GET /openapi.json`: what the endpoints take and answer.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use shared::limits::JWKS_FRESH_IN;

use super::answer;
use crate::app::App;

/// The document (`OpenAPI` 3.1), for the issuer of the documentation's examples.
const DOCUMENT: &str = include_str!("openapi.json");

/// The server in [`DOCUMENT`].
const SERVER: &str = "https://id.example.com";

/// Tells what every endpoint of [`shared::endpoint::Endpoint`] takes and answers.
pub async fn document(State(app): State<Arc<App>>) -> Response {
    // An issuer has no character that JSON would escape.
    let document = DOCUMENT.replacen(SERVER, app.issuer.as_str(), 1);
    let response = answer::text(StatusCode::OK, "application/json", document);
    answer::cacheable(response, &format!("public, max-age={JWKS_FRESH_IN}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use shared::endpoint::Endpoint;

    use super::*;

    #[test]
    fn every_endpoint_and_method_is_described_and_nothing_else() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["servers"][0]["url"], SERVER);
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys().filter(|it| *it != "parameters") {
                described.insert((path.clone(), method.to_uppercase()));
            }
        }
        let mut there = BTreeSet::new();
        for endpoint in Endpoint::ALL {
            for method in endpoint.methods() {
                there.insert((endpoint.path().to_owned(), (*method).to_owned()));
            }
        }
        assert_eq!(described, there);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn follow(document: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(to) = members.get("$ref") {
                        let pointer = to.as_str().unwrap().strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{to}");
                    }
                    members.values().for_each(|member| follow(document, member));
                }
                Value::Array(all) => all.iter().for_each(|one| follow(document, one)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        follow(&document, &document);
    }
}
