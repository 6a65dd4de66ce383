//! Codes, refresh tokens and signatures made by the suite itself, from what the documents say about
//! their form and from the secret of its servers: authentic, but of another time.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::server::EDGE_SECRET;

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
    let nonce = URL_SAFE_NO_PAD.encode([nonce; 16]);
    let fields = format!("v1;{signed_at};{nonce};{address}");
    let nothing = sha256(b"");
    let parts = [fields.as_bytes(), method.as_bytes(), target.as_bytes(), &nothing];
    let tag = tag("cadence edge request", &parts);
    format!("{fields};{}", URL_SAFE_NO_PAD.encode(tag))
}
