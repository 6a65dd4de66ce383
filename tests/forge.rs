//! Codes, refresh tokens and signatures made by the suite itself, from what the documents say about
//! their form and from the secret of its servers: authentic, but of another time.

use std::net::IpAddr;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::Request;
use crate::server::{EDGE_SECRET, now};

/// The key of one purpose: HMAC-SHA256(secret, purpose).
fn key(purpose: &str) -> hmac::Key {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, EDGE_SECRET.as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose.as_bytes()).as_ref())
}

/// HMAC-SHA256 over parts, each with its length before it (8 bytes).
fn tag(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&key(purpose));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

fn version() -> u8 {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, EDGE_SECRET.as_bytes());
    hmac::sign(&secret, b"cadence token key version").as_ref()[0]
}

fn sha256(text: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, text).as_ref().to_vec()
}

/// An authorization code of the moment `issued_at` for this client, redirect URI and challenge.
pub(crate) fn code(issued_at: u64, client_id: &str, redirect_uri: &str, challenge: &str) -> String {
    let mut body = vec![version()];
    body.extend([9; 16]);
    body.extend(issued_at.to_be_bytes());
    let bound = |text: &str| format!("+{}:{text}", text.len());
    let binding = [client_id, redirect_uri, challenge].map(bound).concat();
    let tag = tag("cadence code", &[&body, &sha256(binding.as_bytes())]);
    body.extend(&tag[..16]);
    URL_SAFE_NO_PAD.encode(body)
}

/// A refresh token of a grant that ends at `expires_at`, for this client.
pub(crate) fn refresh_token(expires_at: u64, client_id: &str) -> String {
    let mut body = vec![version()];
    body.extend([7; 16]);
    body.extend(expires_at.to_be_bytes());
    body.extend(1_u32.to_be_bytes());
    body.extend([5; 16]);
    let tag = tag("cadence refresh token", &[&body, client_id.as_bytes()]);
    body.extend(&tag[..16]);
    URL_SAFE_NO_PAD.encode(body)
}

/// The header with which the edge signs a request without a body.
pub(crate) fn signature(
    signed_at: u64,
    nonce: u8,
    address: &str,
    method: &str,
    target: &str,
) -> String {
    signature_over(signed_at, [nonce; 16], address, (method, target, b""))
}

/// The header with which the edge signs a request: method, target and body.
pub(crate) fn signature_over(
    signed_at: u64,
    nonce: [u8; 16],
    address: &str,
    (method, target, body): (&str, &str, &[u8]),
) -> String {
    let nonce = URL_SAFE_NO_PAD.encode(nonce);
    let fields = format!("v1;{signed_at};{nonce};{address}");
    let parts = [fields.as_bytes(), method.as_bytes(), target.as_bytes(), &sha256(body)];
    let tag = tag("cadence edge request", &parts);
    format!("{fields};{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Signs a request to the origin as the edge does when a client has connected from `address`.
pub(crate) fn from_address(request: Request, address: &str) -> Request {
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).unwrap();
    let target = request.url().splitn(4, '/').nth(3).unwrap_or_default();
    let target = format!("/{target}");
    let parts = (request.method(), target.as_str(), request.body_bytes());
    let address: IpAddr = address.parse().unwrap();
    let signature = signature_over(now(), nonce, &address.to_string(), parts);
    request.header("cadence-edge", &signature)
}
