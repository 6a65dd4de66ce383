//! What the OAuth 2 and OpenID Connect specifications say, as values in and values out.
//!
//! Both halves of Cadence (the origin and the edge worker) stand on this crate, so that no rule
//! is ever typed twice. It never does I/O, never awaits, never reads a clock, an environment or a
//! source of randomness, never logs, and knows no HTTP framework: time, keys and random bytes come
//! in as arguments.

pub mod authorization_response;
pub mod authorize;
pub mod backchannel_logout_uri;
pub mod bearer;
pub mod bff;
pub mod claims;
pub mod client;
pub mod client_auth;
pub mod code;
pub mod cookie;
pub mod cors;
pub mod edge_keys;
pub mod endpoint;
pub mod error;
pub mod form;
pub mod interaction;
pub mod issuer;
pub mod jwk;
pub mod jwt;
pub mod limits;
pub mod logout;
pub mod logout_token;
pub mod metadata;
pub mod network;
pub mod page;
pub mod pkce;
pub mod redirect_uri;
pub mod scope;
pub mod seal;
pub mod secret;
pub mod sign_in;
pub mod signed_request;
pub mod status_list;
pub mod time;
pub mod token;
pub mod token_request;
pub mod transaction;
