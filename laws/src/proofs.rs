//! What proves by itself that it was made here: nothing else does, and not for anybody else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::bff::SessionHandle;
use shared::client::ClientId;
use shared::code::{AuthorizationCode, CodeBinding};
use shared::secret::Sha256Digest;
use shared::signed_request::{ClaimedStatement, RequestParts};
use shared::token::{GrantId, RefreshToken};
use shared::transaction::{Transaction, TransactionId};

use super::{NOW, client, client_id, keys, other_keys};

/// An authorization code.
pub(crate) fn code(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let binding = CodeBinding {
        client_id: client_id(),
        redirect_uri: Some("https://app.example/cb?x=1".to_owned()),
        code_challenge: None,
    };
    let keys = keys().tokens;
    if let Ok(code) = AuthorizationCode::parse(text) {
        assert_eq!(code.as_str(), text);
        assert!(code.verify(&other_keys().tokens, &binding, NOW).is_err(), "{text}");
        let random = bytes_of::<16>(text, 1);
        let made = AuthorizationCode::issue(&keys, random, code.issued_at(), &binding);
        if code.verify(&keys, &binding, code.issued_at()).is_ok() {
            assert_eq!(made.as_str(), text, "only what was made here proves itself");
        }
    }
    let (random, rest) = split::<16>(data);
    let made = AuthorizationCode::issue(&keys, random, NOW, &binding);
    assert!(made.verify(&keys, &binding, NOW).is_ok());
    let others = [
        CodeBinding { redirect_uri: None, ..binding.clone() },
        CodeBinding { client_id: ClientId::parse("web2").unwrap(), ..binding.clone() },
    ];
    assert!(others.iter().all(|other| made.verify(&keys, other, NOW).is_err()));
    if let Some(changed) = changed(made.as_str(), rest) {
        let changed = AuthorizationCode::parse(&changed);
        assert!(changed.is_ok_and(|code| code.verify(&keys, &binding, NOW).is_err()));
    }
}

/// A refresh token.
pub(crate) fn refresh_token(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let keys = keys().tokens;
    let other = ClientId::parse("web2").unwrap();
    if let Ok(token) = RefreshToken::parse(text) {
        assert_eq!(token.as_str(), text);
        assert!(token.verify(&other_keys().tokens, &client_id(), NOW).is_err(), "{text}");
        if token.verify(&keys, &client_id(), NOW).is_ok() {
            assert!(token.verify(&keys, &other, NOW).is_err());
            assert!(NOW < token.expires_at());
        }
        for next in token.successors(&keys, &client_id()) {
            assert_eq!(Some(next.generation()), token.generation().checked_add(1));
            assert_eq!(
                (next.grant_id(), next.expires_at()),
                (token.grant_id(), token.expires_at())
            );
        }
    }
    let (random, rest) = split::<16>(data);
    let grant_id = GrantId::from_bytes(random);
    let made = RefreshToken::first(&keys, grant_id, NOW.plus(1), random, &client_id());
    assert!(made.verify(&keys, &client_id(), NOW).is_ok());
    assert!(made.verify(&keys, &other, NOW).is_err());
    if let Some(changed) = changed(made.as_str(), rest) {
        let changed = RefreshToken::parse(&changed);
        assert!(changed.is_ok_and(|token| token.verify(&keys, &client_id(), NOW).is_err()));
    }
}

/// The sealed cookie of a sign-in.
pub(crate) fn cookie_seal(data: &[u8]) {
    let keys = keys().transactions;
    let ids = [TransactionId::new([1; 12]), TransactionId::new([2; 12])];
    if let Ok(text) = core::str::from_utf8(data) {
        if let Some(id) = TransactionId::parse(text) {
            assert_eq!(id.as_str(), text);
        }
        let opened = Transaction::open(&other_keys().transactions, &ids[0], Some(text), NOW);
        assert!(opened.is_err(), "{text}");
        if Transaction::open(&keys, &ids[0], Some(text), NOW).is_ok() {
            assert!(Transaction::open(&keys, &ids[1], Some(text), NOW).is_err(), "{text}");
        }
    }
    // Whatever a request holds comes out as it went in, and only from its own cookie.
    let Ok(params) = shared::form::Params::parse(data) else { return };
    let request = shared::authorize::AuthorizationRequest::validate(&params, &client());
    let Ok(request) = request else { return };
    let begun = Transaction::begin(&request, None, [3; 16], NOW);
    let Ok(cookie) = begun.seal(&keys, &ids[0], [4; 24]) else { return };
    let opened = Transaction::open(&keys, &ids[0], Some(&cookie), NOW).unwrap();
    assert_eq!(opened.query, request.to_query());
    assert!(opened.check_csrf(Some(begun.csrf())).is_ok() && opened.check_csrf(None).is_err());
    assert!(Transaction::open(&keys, &ids[1], Some(&cookie), NOW).is_err());
    assert!(Transaction::open(&keys, &ids[0], Some(&cookie), begun.expires_at()).is_err());
    if let Some(changed) = changed(&cookie, data) {
        assert!(Transaction::open(&keys, &ids[0], Some(&changed), NOW).is_err());
    }
}

/// The header with which the edge signs a request.
pub(crate) fn signed_request(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let Ok(claimed) = ClaimedStatement::parse(text) else { return };
    let keys = keys().requests;
    let body = Sha256Digest::of(b"a body");
    let request = RequestParts { method: "POST", target: "/oauth2/token", body };
    assert!(claimed.clone().verify(&other_keys().requests, &request, NOW).is_err(), "{text}");
    let Ok(statement) = claimed.clone().verify(&keys, &request, NOW) else { return };
    let header = statement.sign(&keys, &request);
    assert_eq!(header, text, "only what was written here proves itself");
    for other in [
        RequestParts { method: "GET", ..request },
        RequestParts { target: "/oauth2/token?", ..request },
        RequestParts { body: Sha256Digest::of(b""), ..request },
    ] {
        assert!(claimed.clone().verify(&keys, &other, NOW).is_err());
    }
}

/// What a browser holds of its session at the backend-for-frontend.
pub(crate) fn bff_handle(data: &[u8]) {
    let keys = keys().bff_handles;
    if let Ok(text) = core::str::from_utf8(data) {
        assert!(SessionHandle::parse(&other_keys().bff_handles, text).is_none(), "{text}");
        if let Some(handle) = SessionHandle::parse(&keys, text) {
            assert_eq!(handle.as_str(), text);
            let made = SessionHandle::issue(&keys, bytes_of::<32>(text, 0));
            assert_eq!(made.as_str(), text, "only what was made here proves itself");
        }
    }
    let (random, rest) = split::<32>(data);
    let made = SessionHandle::issue(&keys, random);
    assert!(SessionHandle::parse(&keys, made.as_str()).is_some());
    assert!(!format!("{made:?}").contains(made.as_str()), "it is never printed");
    if let Some(changed) = changed(made.as_str(), rest) {
        assert!(SessionHandle::parse(&keys, &changed).is_none());
    }
}

/// Changes one byte of what a text encodes: where and how is in the first two bytes of `how`.
fn changed(text: &str, how: &[u8]) -> Option<String> {
    let [place, change, ..] = *how else { return None };
    let mut bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
    let place = usize::from(place) % bytes.len();
    bytes[place] ^= change.max(1);
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Takes the first bytes, zeros where there are too few.
fn split<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let (first, rest) = data.split_at(data.len().min(N));
    let mut bytes = [0; N];
    bytes[..first.len()].copy_from_slice(first);
    (bytes, rest)
}

/// Reads some of the bytes that a text encodes.
fn bytes_of<const N: usize>(text: &str, from: usize) -> [u8; N] {
    URL_SAFE_NO_PAD.decode(text).unwrap()[from..from + N].try_into().unwrap()
}
