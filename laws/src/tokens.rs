//! JSON Web Tokens, and what is in them.

use serde_json::Value;
use shared::claims::{AccessTokenClaims, Audience};
use shared::jwk::{Alg, KeyParameters, PublicJwk};
use shared::jwt::{Typ, UntrustedJwt, Verdict, Verified};
use shared::logout_token::{BACKCHANNEL_LOGOUT, LogoutToken, LogoutTokenClaims};
use shared::status_list::{
    Bits, CompressedStatusList, Status, StatusIndex, StatusList, StatusListId,
};

use super::{NOW, issuer};

const TYPES: [Typ; 4] = [Typ::AccessToken, Typ::IdToken, Typ::StatusList, Typ::LogoutToken];

/// A key of this identifier and algorithm; its verdict is the law's to give.
fn key(kid: &str, alg: Alg) -> PublicJwk {
    let parameters = KeyParameters::Okp { crv: "Ed25519".to_owned(), x: String::new() };
    PublicJwk::for_signatures(parameters, kid.to_owned(), alg)
}

/// A compact JWS.
pub(crate) fn jwt(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    for typ in TYPES {
        let Ok(jwt) = UntrustedJwt::parse(text, typ) else { continue };
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(parts.len(), 3, "{text}");
        assert_eq!(jwt.signing_input(), format!("{}.{}", parts[0], parts[1]).as_bytes());
        let header: Value = serde_json::from_slice(&decoded(parts[0])).unwrap();
        assert_eq!(header["alg"], jwt.alg().as_str(), "the algorithm is one of ours, as spelled");
        assert_eq!(header["kid"], jwt.kid());
        for critical in ["crit", "b64", "zip"] {
            assert_eq!(header.get(critical), None, "{text}");
        }
        let good = key(jwt.kid(), jwt.alg());
        let refused = |key: &PublicJwk, verdict| jwt.accept::<Value>(key, verdict).is_err();
        assert!(refused(&good, Verdict::Bad), "{text}");
        assert!(refused(&key("another", jwt.alg()), Verdict::Good) || jwt.kid() == "another");
        for alg in Alg::ALL.into_iter().filter(|alg| *alg != jwt.alg()) {
            assert!(refused(&key(jwt.kid(), alg), Verdict::Good), "{text}");
        }
        let _ = jwt.accept::<AccessTokenClaims>(&good, Verdict::Good);
        if let Ok(verified) = jwt.accept::<Value>(&good, Verdict::Good)
            && let Some((expires_at, issued_at)) = verified.in_time(NOW)
        {
            assert!(NOW.minus(10) < expires_at && issued_at <= NOW.plus(10));
        }
    }
}

/// The claims of a logout token behind a good signature.
pub(crate) fn logout_token(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<LogoutTokenClaims>(data) else { return };
    let verified = Verified {
        claims: claims.clone(),
        expires_at: Some(NOW.plus(60)),
        not_before: None,
        issued_at: Some(NOW),
    };
    let late = LogoutToken::validate(verified.clone(), &issuer(), "web", NOW.plus(3_600));
    assert!(late.is_err(), "an old one ends nothing");
    let Ok(token) = LogoutToken::validate(verified, &issuer(), "web", NOW) else { return };
    assert_eq!(claims.iss, issuer().as_str());
    let is_for_us = match &claims.aud {
        Audience::One(audience) => audience == "web",
        Audience::Many(audiences) => audiences.iter().any(|audience| audience == "web"),
    };
    assert!(is_for_us && !claims.has_nonce);
    assert!(claims.events.contains_key(BACKCHANNEL_LOGOUT) && !token.jti.is_empty());
    // What is passed over is not even read as UTF-8; nobody but the issuer could have signed it.
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    assert!(json.get("nonce").is_none(), "an ID token is none");
    assert!(json.get("sub").is_some() || json.get("sid").is_some());
}

/// A status list, and a token's place in one.
pub(crate) fn status_list(data: &[u8]) {
    if let Ok(text) = core::str::from_utf8(data)
        && let Some(list) = StatusListId::parse(text)
    {
        assert_eq!(list.to_string(), text);
        assert_eq!(StatusListId::of_path(&list.path()), Some(list));
    }
    if let Ok(status) = serde_json::from_slice::<Status>(data)
        && let Some(index) = status.index(&issuer())
    {
        assert_eq!(Status::new(&issuer(), &index), status);
    }
    if let Ok(compressed) = serde_json::from_slice::<CompressedStatusList>(data)
        && let Ok(list) = compressed.decompress()
    {
        assert!(list.status(u32::MAX).is_none(), "nobody is beyond the end");
        assert_eq!(list.compress().decompress().as_ref(), Ok(&list));
    }
    let bits = [Bits::One, Bits::Two, Bits::Four, Bits::Eight];
    for bits in bits {
        let list = StatusList::new(bits, data.to_vec());
        let per_byte = 8 / u32::from(u8::from(bits));
        let statuses = u32::try_from(data.len()).unwrap() * per_byte;
        assert!(list.status(statuses).is_none());
        for idx in [0, statuses / 2, statuses.saturating_sub(1)] {
            let byte = data.get(usize::try_from(idx / per_byte).unwrap());
            let shift = idx % per_byte * u32::from(u8::from(bits));
            let mask = u8::MAX >> (8 - u8::from(bits));
            assert_eq!(list.status(idx), byte.map(|byte| (byte >> shift) & mask));
        }
        if data.len() <= 1_024 {
            assert_eq!(list.compress().decompress().as_ref(), Ok(&list));
        }
    }
    let index = StatusIndex { list: StatusListId::from_bytes([9; 16]), idx: 7 };
    assert_eq!(Status::new(&issuer(), &index).index(&issuer()), Some(index));
}

fn decoded(part: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()
}
