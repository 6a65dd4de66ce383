//! Wycheproof's vectors against what [`KeyRing::verify`](super::KeyRing::verify) stands on. The
//! black-box suite runs the same ones in workerd, with the same outcome.

use serde::Deserialize;
use serde_json::{Value, json};
use shared::jwk::{Alg, JwkSet, KeyParameters, PublicJwk};
use shared::jwt::{Typ, UntrustedJwt, Verdict};
use shared::secret::base64url;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify};

use super::{verdict, verifier};

/// How many vectors of a set ran, by what is asked of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    valid: usize,
    invalid: usize,
    /// Those that may go either way, by number, and whether they were good.
    acceptable: Vec<(usize, bool)>,
}

impl Ran {
    /// Runs one vector, and asserts what is asked of it.
    fn run(&mut self, id: usize, asked: TestResult, jwk: &PublicJwk, message: &[u8], sig: &[u8]) {
        let key = verifier(jwk).unwrap_or_else(|error| panic!("{id}: {error}"));
        let is_good = verdict(&key, message, sig) == Verdict::Good;
        match asked {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => return self.acceptable.push((id, is_good)),
        }
        assert_eq!(is_good, asked == TestResult::Valid, "{id}");
    }
}

fn jwk(parameters: KeyParameters, alg: Alg) -> PublicJwk {
    PublicJwk::for_signatures(parameters, "none".into(), alg)
}

#[test]
fn ecdsa_with_p_256_and_sha_256() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        let (x, y) = group.key.key[1..].split_at(32);
        let (x, y) = (base64url(x), base64url(y));
        let key = jwk(KeyParameters::Ec { crv: "P-256".into(), x, y }, Alg::ES256);
        for test in group.tests {
            ran.run(test.tc_id, test.result, &key, &test.msg, &test.sig);
        }
    }
    assert_eq!(ran, Ran { valid: 173, invalid: 89, acceptable: vec![] });
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        let x = base64url(&group.key.pk);
        let key = jwk(KeyParameters::Okp { crv: "Ed25519".into(), x }, Alg::EdDsa);
        for test in group.tests {
            ran.run(test.tc_id, test.result, &key, &test.msg, &test.sig);
        }
    }
    assert_eq!(ran, Ran { valid: 88, invalid: 63, acceptable: vec![] });
}

#[test]
fn rsa_pkcs1_with_2048_bits_and_sha_256() {
    let set = rsa_pkcs1_verify::TestSet::load(rsa_pkcs1_verify::TestName::Rsa2048Sha256).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        let n = base64url(group.key.n.strip_prefix(&[0]).unwrap_or(&group.key.n));
        let key = jwk(KeyParameters::Rsa { n, e: base64url(&group.key.e) }, Alg::RS256);
        for test in group.tests {
            ran.run(test.tc_id, test.result, &key, &test.msg, &test.sig);
        }
    }
    // 8: the parameters of the hash's identifier are absent instead of NULL.
    assert_eq!(ran, Ran { valid: 9, invalid: 249, acceptable: vec![(8, false)] });
}

/// A file of vectors that are whole tokens.
#[derive(Deserialize)]
struct Tokens {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    keys: Vec<Value>,
    tests: Vec<Token>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(rename = "tcId")]
    id: usize,
    jws: String,
    result: TestResult,
}

impl Tokens {
    /// Returns the numbers of all tokens for which `holds`.
    fn find(&self, holds: impl Fn(&[Value], &Token) -> bool) -> Vec<usize> {
        let tests = self.groups.iter().flat_map(|group| {
            group.tests.iter().filter(|token| holds(&group.keys, token)).map(|token| token.id)
        });
        tests.collect()
    }
}

/// Tells whether a token is good, as the server does; claims are not looked at.
fn is_good(keys: &[Value], jws: &str) -> bool {
    let Ok(set) = serde_json::from_value::<JwkSet>(json!({ "keys": keys })) else { return false };
    // The vectors have no `typ`, which an ID token need not have either.
    let Ok(jwt) = UntrustedJwt::parse(jws, Typ::IdToken) else { return false };
    let key = set.find(jwt.kid(), jwt.alg()).and_then(|jwk| verifier(jwk).ok());
    key.is_some_and(|key| verdict(&key, jwt.signing_input(), jwt.signature()) == Verdict::Good)
}

#[test]
fn tokens() {
    let file = include_str!("../../../shared/tests/vectors/wycheproof_jws.json");
    let file: Tokens = serde_json::from_str(file).unwrap();
    assert_eq!(file.find(|_, _| true).len(), 329);
    let good = file.find(|keys, token| is_good(keys, &token.jws));
    assert_eq!(good, [18, 33, 259, 260, 261, 262, 263, 345, 349, 378]);
    // Every other valid one is of an algorithm that is not used here, and ends at its header.
    let others = file.find(|_, token| {
        token.result == TestResult::Valid && UntrustedJwt::parse(&token.jws, Typ::IdToken).is_err()
    });
    let valid = file.find(|_, token| token.result == TestResult::Valid);
    assert_eq!(others, [1, 272, 346, 347, 348, 350, 351, 352, 357, 358, 359, 372, 373, 376, 377]);
    assert_eq!(valid.len(), good.len() + others.len());
    // So does every token for a key of another algorithm, or for none.
    let is_foreign = |keys: &[Value]| {
        let alg = keys.first().map(|key| key["alg"].as_str().unwrap_or("RS256"));
        !alg.is_some_and(|alg| ["ES256", "RS256"].contains(&alg))
    };
    let foreign = file.find(|keys, _| is_foreign(keys));
    let stopped = file.find(|keys, token| {
        is_foreign(keys) && UntrustedJwt::parse(&token.jws, Typ::IdToken).is_err()
    });
    assert_eq!((foreign.len(), stopped), (53, foreign));
}

#[test]
fn key_sets() {
    let file = include_str!("../../../shared/tests/vectors/wycheproof_jwk.json");
    let file: Tokens = serde_json::from_str(file).unwrap();
    assert_eq!(file.find(|_, _| true).len(), 26);
    let valid = file.find(|_, token| token.result == TestResult::Valid);
    // 2, 13, 14, 15: for symmetric keys, which are not used here.
    assert_eq!(valid, [2, 5, 13, 14, 15]);
    // 7: a modulus of Infineon's weak generator (CVE-2017-15361). Keys come from the issuer alone,
    // whose engine makes them; nobody can bring such a one.
    assert_eq!(file.find(|keys, token| is_good(keys, &token.jws)), [5, 7]);
}
