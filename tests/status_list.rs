//! Token Status Lists, as anybody who checks tokens sees them (draft-ietf-oauth-status-list).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::http::Answer;
use crate::oauth::{ALICE, ALICES_PASSWORD, Tokens, WEB, jwt_part, own_tokens};
use crate::server::{Server, now, until};

/// Where a token says that its status is: path and index.
fn status(server: &Server, access: &str) -> (String, usize) {
    let reference = &jwt_part(access, 1)["status"]["status_list"];
    let uri = reference["uri"].as_str().unwrap();
    let path = uri.strip_prefix(&server.url).unwrap_or_else(|| panic!("not here: {uri}"));
    assert!(path.starts_with("/oauth2/status/"), "{path}");
    (path.to_owned(), usize::try_from(reference["idx"].as_u64().unwrap()).unwrap())
}

/// Unpacks the bits of a list.
fn bits(list: &Answer) -> Vec<u8> {
    let claims = jwt_part(&list.body, 1);
    assert_eq!(claims["status_list"]["bits"], 1);
    let compressed = claims["status_list"]["lst"].as_str().unwrap();
    let compressed = URL_SAFE_NO_PAD.decode(compressed).unwrap();
    miniz_oxide::inflate::decompress_to_vec_zlib(&compressed).unwrap()
}

fn bit(list: &Answer, idx: usize) -> u8 {
    bits(list)[idx / 8] >> (idx % 8) & 1
}

scenarios! { everywhere:
    /// §5.1, §8.1: what a list looks like to whoever fetches it.
    fn a_list_is_a_signed_jwt_that_names_itself(server) {
        let tokens = WEB.tokens(server, "openid");
        let (path, idx) = status(server, &tokens.access);
        let list = server.get(&path).header("origin", "https://anyone.example").send().expect(200);
        assert_eq!(list.header("content-type"), Some("application/statuslist+jwt"));
        assert_eq!(list.header("access-control-allow-origin"), Some("*"));
        let max_age = list.header("cache-control").unwrap().strip_prefix("public, max-age=");
        assert!(max_age.unwrap().parse::<u64>().unwrap() <= 5, "{list:?}");
        let header = jwt_part(&list.body, 0);
        assert_eq!((&header["typ"], &header["alg"]), (&"statuslist+jwt".into(), &"ES256".into()));
        let jwks: Value = server.get("/oauth2/jwks").send().expect(200).json();
        let kids: Vec<&Value> = jwks["keys"].as_array().unwrap().iter().map(|it| &it["kid"]).collect();
        assert!(kids.contains(&&header["kid"]), "{header}");
        let claims = jwt_part(&list.body, 1);
        assert_eq!(claims["sub"], format!("{}{path}", server.url));
        assert_eq!(claims["ttl"], 5);
        let (iat, exp) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
        assert!(now().abs_diff(iat) <= 15 && exp == iat + 300, "{claims}");
        assert_eq!(bits(&list).len(), 16_384);
        assert_eq!(bit(&list, idx), 0);
        // It may be kept, and asked for again.
        let etag = list.header("etag").unwrap();
        let again = server.get(&path).header("if-none-match", etag).send();
        assert!(matches!(again.status, 200 | 304), "{again:?}");
        server.request("HEAD", &path).send().expect(200);
        server.post(&path).form(&[]).send().expect(405);
    }

    /// A revoked token's bit is set, and no other's.
    fn a_revocation_sets_its_bits_and_no_others(server) {
        let [revoked, grant, other] = [(); 3].map(|()| WEB.tokens(server, "openid"));
        let next = Tokens::of(&WEB.refresh(server, &grant.refresh));
        WEB.revoke(server, &revoked.access).expect(200);
        WEB.revoke(server, &grant.refresh).expect(200);
        let set = |access: &str| {
            let (path, idx) = status(server, access);
            bit(&server.get(&path).send().expect(200), idx)
        };
        until("the revocation is published", || set(&revoked.access) == 1);
        until("the revocation is published", || set(&next.access) == 1);
        assert_eq!(set(&grant.access), 1);
        assert_eq!(set(&other.access), 0);
        let places: std::collections::HashSet<_> =
            [&revoked, &grant, &next, &other].map(|it| status(server, &it.access)).into();
        assert_eq!(places.len(), 4, "each token has a place of its own");
    }

    fn a_list_that_is_none_is_not_found(server) {
        for path in [
            "/oauth2/status/",
            "/oauth2/status/x",
            "/oauth2/status/AAAAAAAAAAAAAAAAAAAAAA",
            "/oauth2/status/AAAAAAAAAAAAAAAAAAAAAAAA",
            "/oauth2/status/..%2fjwks",
            "/oauth2/status/*",
        ] {
            server.get(path).send().expect(404);
        }
    }
}

/// A list that was lost with the store takes its tokens with it, and never comes back in another's
/// place.
#[test]
fn an_emptied_store_makes_new_lists() {
    let server = Server::start_edge();
    let _log = server.log_on_failure();
    let before = WEB.tokens(&server, "openid");
    let (path, _) = status(&server, &before.access);
    server.get("/oauth2/userinfo").bearer(&before.access).send().expect(200);
    assert_eq!(server.redis.as_ref().unwrap().command(&["FLUSHALL"]), "+OK\r\n");
    until("the list is gone", || server.get(&path).send().status == 404);
    server.get("/oauth2/userinfo").bearer(&before.access).send().refused(401, "invalid_token");
    // The origin had places in the old list left; what it issues now is in a new one.
    let own = Tokens::of(&own_tokens(&server, ALICE, ALICES_PASSWORD));
    server.get("/oauth2/userinfo").bearer(&own.access).send().expect(200);
    let after =
        crate::oauth::sign_in(&server, &WEB.authorization("openid"), ALICE, ALICES_PASSWORD);
    let code = crate::oauth::come_back(&after.1, &WEB)["code"].clone();
    let after = Tokens::of(&WEB.redeem(&server, &code));
    server.get("/oauth2/userinfo").bearer(&after.access).send().expect(200);
    for tokens in [&own, &after] {
        assert_ne!(status(&server, &tokens.access).0, path);
    }
}
