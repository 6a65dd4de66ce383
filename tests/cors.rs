//! Cross-origin requests: RFC 9700 §2.6, Fetch Standard.

use crate::http::Answer;
use crate::oauth::{SPA, WEB};
use crate::server::Server;

const SPA_ORIGIN: &str = "https://spa.example";

fn preflight(server: &Server, path: &str, origin: &str, method: &str) -> Answer {
    let request = server
        .request("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type");
    request.send()
}

scenarios! { doors:
    /// HT11, RV10.
    fn a_registered_origin_may_read(server) {
        for (path, method) in [
            ("/oauth2/token", "POST"),
            ("/oauth2/revoke", "POST"),
            ("/oauth2/userinfo", "GET"),
            ("/api/me", "GET"),
            ("/api/auth/logout", "DELETE"),
        ] {
            let answer = preflight(server, path, SPA_ORIGIN, method).expect(204);
            assert_eq!(answer.header("access-control-allow-origin"), Some(SPA_ORIGIN), "{path}");
            assert!(answer.headers("vary").iter().any(|vary| vary.contains("Origin")), "{path}");
            let methods = answer.header("access-control-allow-methods").unwrap_or_default();
            assert!(methods.contains(method), "{path} {methods}");
            let headers = answer.header("access-control-allow-headers").unwrap_or_default();
            let headers = headers.to_lowercase();
            assert!(headers.contains("authorization") && headers.contains("content-type"));
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
        let answer = SPA.sign(server.post("/oauth2/token"), &form).header("origin", SPA_ORIGIN).send();
        answer.refused(400, "invalid_grant");
        assert_eq!(answer.header("access-control-allow-origin"), Some(SPA_ORIGIN));
        assert!(answer.headers("vary").iter().any(|vary| vary.contains("Origin")));
        let revoke = SPA.sign(server.post("/oauth2/revoke"), &[("token", "x")]);
        let answer = revoke.header("origin", SPA_ORIGIN).send().expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(SPA_ORIGIN));
        let answer = server.get("/oauth2/userinfo").header("origin", SPA_ORIGIN).send().expect(401);
        assert_eq!(answer.header("access-control-allow-origin"), Some(SPA_ORIGIN));
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
        assert!(exposed.contains("WWW-Authenticate"), "{answer:?}");
    }

    /// HT11: the setting `CADENCE_CORS_ORIGINS` counts as well.
    fn an_origin_of_the_settings_may_read(server) {
        let answer = preflight(server, "/api/me", "https://settings.example", "GET").expect(204);
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://settings.example"));
    }

    /// HT11, RV10.
    fn no_other_origin_may_read(server) {
        for origin in [
            "https://evil.example",
            "https://spa.example.evil",
            "https://SPA.example",
            "https://spa.example:8443",
            "https://spa.example:443",
            "http://spa.example",
            "https://evil-spa.example",
            "https://spa.example/",
            "null",
            "*",
        ] {
            for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/userinfo", "/api/me"] {
                let is_post = ["/oauth2/token", "/oauth2/revoke"].contains(&path);
                let method = if is_post { "POST" } else { "GET" };
                let answer = preflight(server, path, origin, method);
                assert_eq!(answer.header("access-control-allow-origin"), None, "{origin} {path}");
                let answer = server.request(method, path).header("origin", origin).send();
                assert_eq!(answer.header("access-control-allow-origin"), None, "{origin} {path}");
            }
        }
        for (path, method) in [
            ("/oauth2/introspect", "POST"),
            ("/oauth2/authorize", "GET"),
            ("/oauth2/login", "POST"),
            ("/oauth2/consent/context", "GET"),
            ("/oauth2/consent/decision", "POST"),
            ("/oauth2/logout", "POST"),
        ] {
            let answer = preflight(server, path, SPA_ORIGIN, method);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        }
        let page = WEB.authorization("openid").query();
        let answer = server.get(&format!("/oauth2/authorize?{page}")).header("origin", SPA_ORIGIN).send();
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }

    /// HT12: what holds nothing personal, anyone may read.
    fn anyone_may_read_discovery_and_keys(server) {
        for path in [
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            "/oauth2/jwks",
        ] {
            let answer = server.get(path).header("origin", "https://any.example").send().expect(200);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
            let answer = preflight(server, path, "https://any.example", "GET").expect(204);
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        }
    }
}
