//! Wycheproof's vectors in workerd, through the verifier of the edge. `origin/src/keys/vectors.rs`
//! runs the same ones at the origin; what is spelled out here is spelled out there.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use stack::{Edge, EdgeSettings};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify};

/// A signature, and the key that it is checked with.
struct Vector {
    id: usize,
    jwk: Value,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// Returns the verdicts of the worker, in a workerd whose entry asks for nothing else.
fn verdicts(vectors: &[Vector]) -> Vec<String> {
    let artifacts = stack::artifacts();
    let mut settings = EdgeSettings::new(&artifacts.workerd, &artifacts.worker, stack::free_port());
    settings.enter_by(include_str!("support/vectors.js"));
    let edge = Edge::start(settings);
    let vectors: Vec<_> = vectors
        .iter()
        .map(|it| {
            let [message, signature] = [&it.message, &it.signature].map(|it| STANDARD.encode(it));
            json!({ "jwk": it.jwk, "message": message, "signature": signature })
        })
        .collect();
    let body = Value::from(vectors).to_string();
    // Not by the suite's own requests: this is no answer of the product, so its rules do not hold.
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(edge.url()).body(body).send().unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{}", edge.log());
    serde_json::from_str(&answer.text().unwrap()).unwrap()
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How many vectors of a set ran, by what is asked of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    valid: usize,
    invalid: usize,
    /// Those that may go either way, by number, and what was said.
    acceptable: Vec<(usize, String)>,
}

/// Runs vectors, and asserts what is asked of each. No key of them is refused.
fn run(vectors: &[Vector], asked: &[TestResult]) -> Ran {
    let mut ran = Ran::default();
    let verdicts = verdicts(vectors);
    assert_eq!((vectors.len(), asked.len()), (verdicts.len(), verdicts.len()));
    for ((vector, asked), verdict) in vectors.iter().zip(asked).zip(verdicts) {
        let expected = match asked {
            TestResult::Valid => "good",
            TestResult::Invalid => "bad",
            TestResult::Acceptable => {
                ran.acceptable.push((vector.id, verdict));
                continue;
            }
        };
        assert_eq!(verdict, expected, "{}", vector.id);
        *(if expected == "good" { &mut ran.valid } else { &mut ran.invalid }) += 1;
    }
    ran
}

#[test]
fn ecdsa_with_p_256_and_sha_256() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut vectors, mut asked) = (Vec::new(), Vec::new());
    for group in set.test_groups {
        let (x, y) = group.key.key[1..].split_at(32);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y),
            "kid": "none", "alg": "ES256", "use": "sig",
        });
        for test in group.tests {
            let (message, signature) = (test.msg.to_vec(), test.sig.to_vec());
            vectors.push(Vector { id: test.tc_id, jwk: jwk.clone(), message, signature });
            asked.push(test.result);
        }
    }
    assert_eq!(run(&vectors, &asked), Ran { valid: 173, invalid: 89, acceptable: vec![] });
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut vectors, mut asked) = (Vec::new(), Vec::new());
    for group in set.test_groups {
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "x": base64url(&group.key.pk),
            "kid": "none", "alg": "EdDSA", "use": "sig",
        });
        for test in group.tests {
            let (message, signature) = (test.msg.to_vec(), test.sig.to_vec());
            vectors.push(Vector { id: test.tc_id, jwk: jwk.clone(), message, signature });
            asked.push(test.result);
        }
    }
    assert_eq!(run(&vectors, &asked), Ran { valid: 88, invalid: 63, acceptable: vec![] });
}

#[test]
fn rsa_pkcs1_with_2048_bits_and_sha_256() {
    let set = rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap();
    let (mut vectors, mut asked) = (Vec::new(), Vec::new());
    for group in set.test_groups {
        let n = group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n);
        let jwk = json!({
            "kty": "RSA", "n": base64url(n), "e": base64url(&group.key.e),
            "kid": "none", "alg": "RS256", "use": "sig",
        });
        for test in group.tests {
            let (message, signature) = (test.msg.to_vec(), test.sig.to_vec());
            vectors.push(Vector { id: test.tc_id, jwk: jwk.clone(), message, signature });
            asked.push(test.result);
        }
    }
    // 8: the parameters of the hash's identifier are absent instead of NULL.
    let acceptable = vec![(8, "bad".into())];
    assert_eq!(run(&vectors, &asked), Ran { valid: 9, invalid: 249, acceptable });
}

/// Reads a compact JWS strictly: what is signed, the signature, and the key that is meant.
///
/// `None` is what no verifier gets to see: another form than the compact one, or a header that
/// names no key of `keys` together with that key's algorithm.
fn split(id: usize, jws: &str, keys: &[Value]) -> Option<Vector> {
    let (message, signature) = jws.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let decode = |part| URL_SAFE_NO_PAD.decode(part).ok();
    let (header, _, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    let header: Value = serde_json::from_slice(&header).ok()?;
    let is_meant = |key: &&Value| key["kid"] == header["kid"] && key["alg"] == header["alg"];
    let jwk = keys.iter().find(is_meant)?.clone();
    Some(Vector { id, jwk, message: message.as_bytes().to_vec(), signature })
}

/// Returns how many tokens a file has, how many of them reach the verifier, how many of those with
/// a key that is refused, and which are good.
fn tokens(file: &str) -> (usize, usize, usize, Vec<usize>) {
    let file: Value = serde_json::from_str(file).unwrap();
    let mut count = 0;
    let mut vectors = Vec::new();
    for group in file["groups"].as_array().unwrap() {
        let keys = group["keys"].as_array().unwrap();
        for test in group["tests"].as_array().unwrap() {
            count += 1;
            let id = usize::try_from(test["tcId"].as_u64().unwrap()).unwrap();
            vectors.extend(split(id, test["jws"].as_str().unwrap(), keys));
        }
    }
    let verdicts = verdicts(&vectors);
    assert_eq!(vectors.len(), verdicts.len());
    let refused = verdicts.iter().filter(|verdict| verdict.starts_with("refused: ")).count();
    let good = vectors.iter().zip(&verdicts).filter(|(_, verdict)| *verdict == "good");
    (count, vectors.len(), refused, good.map(|(vector, _)| vector.id).collect())
}

#[test]
fn whole_tokens() {
    let file = include_str!("../shared/tests/vectors/wycheproof_jws.json");
    let (count, reached, refused, good) = tokens(file);
    // The 19 are symmetric keys and one for PS256.
    assert_eq!((count, reached, refused), (329, 274, 19));
    assert_eq!(good, [18, 33, 259, 260, 261, 262, 263, 345, 349, 378]);
}

#[test]
fn key_sets() {
    let file = include_str!("../shared/tests/vectors/wycheproof_jwk.json");
    let (count, reached, refused, good) = tokens(file);
    // The 19 are 13 symmetric ones, and those of 8 (1024 bits), 9 (the exponent is 1), 21 (for
    // encryption), 22 (no point of the curve), 23 (another curve) and 24 (another `kty`).
    assert_eq!((count, reached, refused), (26, 21, 19));
    // 7: a modulus of Infineon's weak generator (CVE-2017-15361), which is not looked for.
    assert_eq!(good, [5, 7]);
}
