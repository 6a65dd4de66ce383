//! How an access token must be signed, door by door: RFC 7515, RFC 7518 §3, RFC 8037, RFC 8725 §3.1.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::jwt::{Doors, with, without};
use crate::oauth::{WEB, base64url};
use crate::signer::{Key, message};

/// JW01: what nobody has signed opens nothing, whatever its algorithm is called.
#[test]
fn an_unsigned_token_opens_nothing() {
    let doors = Doors::open();
    let _log = doors.server.log_on_failure();
    doors.control();
    let key = doors.key("ES256");
    let named = key.named(&doors.header);
    let claims = doors.claims.to_string();
    let good = doors.tokens.access.rsplit('.').next().unwrap();
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(["ES256"]),
        json!(["none", "ES256"]),
        json!(0),
        json!(null),
        json!({}),
    ] {
        let header = with(&named, "alg", alg.clone());
        let unsigned = message(&header.to_string(), &claims);
        let what = alg.to_string();
        doors.opens_nothing(&what, &format!("{unsigned}."));
        doors.opens_nothing(&what, &format!("{unsigned}.{good}"));
        // Signed by the right key, all the same.
        doors.opens_nothing(&what, &key.sign_text(&header.to_string(), &claims));
    }
    let header = without(&named, "alg");
    doors.opens_nothing("no alg", &key.sign_text(&header.to_string(), &claims));
    let unsigned = message(&named.to_string(), &claims);
    for token in [unsigned.clone(), format!("{unsigned}."), format!("{unsigned}..")] {
        for answer in doors.show(&token) {
            assert!(matches!(answer.status, 400 | 401), "{answer:?}");
        }
    }
}

/// Returns what an attacker may take a public key for, as the secret of an HMAC.
fn confused(key: &Key, jwk: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let der = key.public_der();
    let lines: Vec<String> = STANDARD
        .encode(&der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    let number = jwk.get("x").or(jwk.get("n")).unwrap().as_str().unwrap();
    let decoded = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    vec![
        ("PEM", pem.clone().into_bytes()),
        ("PEM with its newline", format!("{pem}\n").into_bytes()),
        ("PEM of Windows", pem.replace('\n', "\r\n").into_bytes()),
        ("PEM in one line", lines.concat().into_bytes()),
        ("DER", der),
        ("JWK", jwk.to_string().into_bytes()),
        ("x or n", number.as_bytes().to_vec()),
        ("raw bytes", [decoded("x"), decoded("n")].concat()),
        ("the point", [vec![4], decoded("x"), decoded("y")].concat()),
        ("kid", key.kid.as_bytes().to_vec()),
        ("nothing", Vec::new()),
    ]
}

/// JW02: a public key is nobody's secret.
#[test]
fn a_public_key_is_no_secret() {
    let doors = Doors::open();
    let set = doors.server.get("/oauth2/jwks").send().expect(200).json();
    for key in doors.signer.keys() {
        let jwk = set["keys"].as_array().unwrap().iter().find(|it| it["kid"] == key.kid).unwrap();
        for (what, secret) in confused(key, jwk) {
            for (alg, algorithm) in [
                ("HS256", hmac::HMAC_SHA256),
                ("HS384", hmac::HMAC_SHA384),
                ("HS512", hmac::HMAC_SHA512),
            ] {
                let header = with(&key.named(&doors.header), "alg", alg.into());
                let message = message(&header.to_string(), &doors.claims.to_string());
                let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), message.as_bytes());
                let token = format!("{message}.{}", base64url(tag.as_ref()));
                doors.opens_nothing(&format!("{} as {alg}: {what}", key.alg), &token);
            }
        }
    }
    doors.control();
}

/// JW03: the algorithm is the key's, not the token's.
#[test]
fn an_algorithm_belongs_to_its_key() {
    let doors = Doors::open();
    let claims = doors.claims.to_string();
    for key in doors.signer.keys() {
        for alg in ["RS256", "PS256", "ES256", "EdDSA", "RS384", "ES384", "ES256K", "Ed25519"] {
            if alg == key.alg {
                continue;
            }
            let header = with(&key.named(&doors.header), "alg", alg.into()).to_string();
            let what = format!("{} as {alg}", key.alg);
            doors.opens_nothing(&what, &key.sign_text(&header, &claims));
            // With the signature of the key that has this algorithm.
            for other in doors.signer.keys().iter().filter(|other| other.alg == alg) {
                doors.opens_nothing(&what, &other.sign_text(&header, &claims));
            }
        }
    }
    let rsa = doors.key("RS256");
    for alg in ["PS256", "RS256"] {
        let header = with(&rsa.named(&doors.header), "alg", alg.into()).to_string();
        let message = message(&header, &claims);
        let signature = base64url(&rsa.pss_signature(message.as_bytes()));
        doors.opens_nothing(&format!("PSS as {alg}"), &format!("{message}.{signature}"));
    }
    doors.control();
}

/// The order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3).
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// Returns `N` less a smaller number, the most significant byte first.
fn n_less(number: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference = vec![0; 32];
    for at in (0..32).rev() {
        let digit = i16::from(N[at]) - i16::from(number[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

/// Encodes a signature as X.509 has it: a sequence of two numbers.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let number = |digits: &[u8]| {
        let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
        let sign: &[u8] = if digits[0] < 0x80 { &[] } else { &[0] };
        let length = u8::try_from(sign.len() + digits.len()).unwrap();
        [&[2, length], sign, digits].concat()
    };
    let numbers = [number(r), number(s)].concat();
    [&[0x30, u8::try_from(numbers.len()).unwrap()], &numbers[..]].concat()
}

/// JW04: signatures that are none (CVE-2022-21449 and its kin); and the one other form of a good one.
#[test]
fn a_malformed_ecdsa_signature_opens_nothing() {
    let doors = Doors::open();
    let key = doors.key("ES256");
    let header = key.named(&doors.header).to_string();
    let message = message(&header, &doors.claims.to_string());
    let token = |signature: &[u8]| format!("{message}.{}", base64url(signature));
    let good = key.signature(message.as_bytes());
    doors.opens("the signature itself", &token(&good));
    let (r, s) = good.split_at(32);
    let (zero, one) = ([0; 32], [&[0; 31][..], &[1]].concat());
    for (what, signature) in [
        ("r = s = 0", [zero, zero].concat()),
        ("r = 0", [&zero, s].concat()),
        ("s = 0", [r, &zero].concat()),
        ("r = n", [&N, s].concat()),
        ("s = n", [r, &N].concat()),
        ("r = s = n", [N, N].concat()),
        ("r = s = 1", [&one[..], &one].concat()),
        ("r = s", [r, r].concat()),
        ("r and s exchanged", [s, r].concat()),
        ("-r", [&n_less(r), s].concat()),
        ("all ones", vec![255; 64]),
        ("DER", der(r, s)),
        ("63 bytes", good[..63].to_vec()),
        ("62 bytes", good[1..63].to_vec()),
        ("65 bytes", [&good[..], &[0]].concat()),
        ("a zero before it", [&[0], &good[..]].concat()),
        ("twice", [&good[..], &good].concat()),
        ("32 bytes", r.to_vec()),
        ("1 byte", vec![0]),
    ] {
        doors.opens_nothing(what, &token(&signature));
    }
    // Whoever has a signature can make (r, n - s) of it. It says the same, and is taken: at every
    // door, and each time. Nothing here goes by the text of a token but by its `jti`.
    let high = token(&[r, &n_less(s)].concat());
    for _ in 0..3 {
        doors.opens("high s", &high);
    }
    WEB.revoke(&doors.server, &doors.tokens.access).expect(200);
    let [edge, origin, _] = doors.show(&high);
    edge.refused(401, "invalid_token");
    origin.refused(401, "invalid_token");
}

/// The order of Ed25519's group (RFC 8032 §5.1), the least significant byte first.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Adds `L`, the least significant byte first.
fn plus_l(number: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let digits = number.iter().zip(L).map(|(digit, of_l)| {
        let sum = u16::from(*digit) + u16::from(of_l) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    });
    digits.collect()
}

/// Points of small order, and encodings of points that are not canonical (RFC 8032 §5.1.3).
fn odd_points() -> Vec<[u8; 32]> {
    let beginning = |first: u8, rest: u8, last: u8| {
        let mut point = [rest; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    vec![
        beginning(1, 0, 0),          // the neutral element
        beginning(1, 0, 0x80),       // the same, with a sign that it has not
        beginning(0, 0, 0),          // of order 4
        beginning(0, 0, 0x80),       // of order 4
        beginning(0xec, 0xff, 0x7f), // of order 2
        beginning(0xed, 0xff, 0x7f), // y = p, which is 0
        beginning(0xee, 0xff, 0x7f), // y = p + 1, which is 1
        beginning(0xee, 0xff, 0xff),
        beginning(0xff, 0xff, 0xff),
    ]
}

/// JW05: signatures of Ed25519 that are malleated, or about points that no signature is about.
#[test]
fn a_malformed_ed25519_signature_opens_nothing() {
    let doors = Doors::open();
    let key = doors.key("EdDSA");
    let signed = |header: &Value| {
        let message = message(&key.named(header).to_string(), &doors.claims.to_string());
        let good = key.signature(message.as_bytes());
        (message, good)
    };
    let (message, good) = signed(&doors.header);
    let token = |signature: &[u8]| format!("{message}.{}", base64url(signature));
    doors.opens("the signature itself", &token(&good));
    let (r, s) = good.split_at(32);
    for (what, signature) in [
        ("s + L", [r, &plus_l(s)].concat()),
        ("s + 2 L", [r, &plus_l(&plus_l(s))].concat()),
        ("s = L", [r, &L].concat()),
        ("s = 0", [r, &[0; 32]].concat()),
        ("the highest bit of s", [r, &s[..31], &[s[31] | 0x80]].concat()),
        ("the sign of R", [&r[..31], &[r[31] ^ 0x80], s].concat()),
        ("63 bytes", good[..63].to_vec()),
        ("65 bytes", [&good[..], &[0]].concat()),
        ("zeros", vec![0; 64]),
    ] {
        doors.opens_nothing(what, &token(&signature));
    }
    for point in odd_points() {
        for s in [s, &[0; 32], &L] {
            doors.opens_nothing("another R", &token(&[&point, s].concat()));
        }
        // A key of small order, under which anything may be a signature, is none of the issuer's:
        // it can only be brought along, and is not looked at.
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(&point) });
        let (message, _) = signed(&with(&doors.header, "jwk", jwk));
        let signature = base64url(&[point, [0; 32]].concat());
        doors.opens_nothing("another A", &format!("{message}.{signature}"));
    }
}
