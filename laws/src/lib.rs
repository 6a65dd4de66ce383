//! What must hold for every input of every parser of `shared`, beside that it does not panic: what is
//! read is written as it was, an error says nothing that may not be said, and nothing proves itself
//! that was not made here.
//!
//! A law takes bytes and panics when it is broken. The fuzzer (`cargo xtask fuzz`) searches for such
//! bytes; an ordinary test tries its seeds, and what they become when a byte changes.

mod credentials;
mod proofs;
mod requests;
mod tokens;

use shared::authorize::AuthorizeError;
use shared::client::{Client, ClientId};
use shared::edge_keys::EdgeKeys;
use shared::error::OAuthError;
use shared::issuer::Issuer;
use shared::time::UnixTime;

/// A law: takes any bytes, and panics when it is broken.
pub type Law = fn(&[u8]);

/// Every law by the name of its target.
pub const LAWS: [(&str, Law); 12] = [
    ("authorize_query", requests::authorize_query),
    ("authorization_header", credentials::authorization_header),
    ("bff_handle", proofs::bff_handle),
    ("code", proofs::code),
    ("cookie_seal", proofs::cookie_seal),
    ("jwt", tokens::jwt),
    ("logout_token", tokens::logout_token),
    ("redirect_uri", requests::redirect_uri),
    ("refresh_token", proofs::refresh_token),
    ("signed_request", proofs::signed_request),
    ("status_list", tokens::status_list),
    ("token_form", requests::token_form),
];

/// Finds a law.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn law(name: &str) -> Law {
    let found = LAWS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("there is no law {name}")).1
}

/// The moment at which everything happens.
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn issuer() -> Issuer {
    Issuer::parse("https://id.example").unwrap()
}

fn client_id() -> ClientId {
    ClientId::parse("web").unwrap()
}

/// A confidential client with every grant, which may go without PKCE: nothing is refused for its sake.
fn client() -> Client {
    serde_json::from_value(serde_json::json!({
        "client_id": "web",
        "client_name": "Web",
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token", "password"],
        "redirect_uris": ["https://app.example/cb?x=1", "http://127.0.0.1/cb"],
        "scope": "openid profile email offline_access",
        "pkce": "optional",
    }))
    .unwrap()
}

fn keys() -> EdgeKeys {
    EdgeKeys::derive(b"a secret of the laws", None)
}

fn other_keys() -> EdgeKeys {
    EdgeKeys::derive(b"another secret", None)
}

/// RFC 6749 §5.2: `error` and `error_description` are printable ASCII without `"` and `\`; and what
/// stands in them was written here, so no input comes back in them.
fn check_error(error: &OAuthError) {
    for text in [error.code().as_str(), error.description()] {
        let may_stand = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!text.is_empty() && text.bytes().all(may_stand), "{text:?}");
    }
    assert!((400..=503).contains(&error.status()), "{error:?}");
    let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
    assert_eq!(json["error"], error.code().as_str());
}

/// An error goes to a client's own redirect URI, or to nobody.
fn check_refusal(refused: &AuthorizeError, client: &Client) {
    match refused {
        AuthorizeError::Page(error) => check_error(error),
        AuthorizeError::Redirect(redirect) => {
            check_error(&redirect.error);
            let location = redirect.location(&issuer());
            check_location(&location, client);
        }
    }
}

/// A `Location` is a registered URI with more parameters, in characters that a header may have.
fn check_location(location: &str, client: &Client) {
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
    let is_ours = |uri: &str| client.redirect_uris.iter().any(|registered| registered.matches(uri));
    let mut separators = location.match_indices(['?', '&']);
    let ours = separators.any(|(at, _)| is_ours(&location[..at]));
    assert!(ours, "{location} is nobody's");
}
