//! Where a browser may be sent: RFC 6749 §3.1.2, RFC 8252 §7.3, RFC 9700 §4.1.3.

use crate::both_doors::alike;
use crate::command_line::cadence;
use crate::http::{Answer, encode};
use crate::oauth::{App, NATIVE, OTHER, SPA, WEB};
use crate::server::Server;

/// RU01 to RU12: what is nearly `https://app.example/cb`.
pub(crate) const VARIANTS: &[&str] = &[
    // RU01: paths.
    "https://app.example/cb/",
    "https://app.example/cb/x",
    "https://app.example/cb/..%2fevil",
    "https://app.example/cb/../evil",
    "https://app.example/cb/../cb",
    "https://app.example/cb/..;/evil",
    "https://app.example/./cb",
    "https://app.example//cb",
    "https://app.example/cb;x",
    "https://app.example",
    "https://app.example/",
    // RU02: case.
    "https://app.example/CB",
    "HTTPS://app.example/cb",
    "https://APP.example/cb",
    // RU03: ports.
    "https://app.example:443/cb",
    "https://app.example:8443/cb",
    "https://app.example:/cb",
    "https://app.example:0443/cb",
    // RU04: queries.
    "https://app.example/cb?y=1",
    "https://app.example/cb?",
    // RU05: fragments.
    "https://app.example/cb#",
    "https://app.example/cb#x",
    "https://app.example/cb%23x",
    // RU06: user information.
    "https://app.example@evil.example/cb",
    "https://evil@app.example/cb",
    "https://app.example%25@evil",
    "https://app.example%25@evil.example/cb",
    "https://app.example%2f@evil",
    "https://app.example%2f@evil.example/cb",
    "http://127.0.0.1:49152@evil.example/cb",
    // RU07: hosts.
    "https://app.example.evil.example/cb",
    "https://appXexample/cb",
    "https://app.example./cb",
    "https://app.example%00.evil/cb",
    "https://app.example%00.evil.example/cb",
    "https://app.example%2eevil/cb",
    "https://app.example%2eevil.example/cb",
    "https://evil.example/app.example",
    "https://evil.example/app.example/cb",
    "https://evil.example#app.example",
    "https://evil.example#app.example/cb",
    "https://evil.example\\@app.example/cb",
    "https://app.example\\.evil.example/cb",
    // RU08: slashes.
    "https:\\\\app.example\\cb",
    "https:///app.example/cb",
    "https:/app.example/cb",
    "https:app.example/cb",
    "//app.example/cb",
    "/cb",
    "cb",
    "",
    // RU09: what parsers trim or leave out, as it is and percent-encoded once more.
    " https://app.example/cb",
    "https://app.example/cb ",
    "https://app.example/cb\t",
    "https://app.example/c\tb",
    "https://app.example/cb\n",
    "https://app.example/cb\r\nSet-Cookie:x=1",
    "\u{feff}https://app.example/cb",
    "https://app.example/cb\u{feff}",
    "https://app.example\u{ad}/cb",
    "https://app.example/c\u{200d}b",
    "https://app\u{200d}.example/cb",
    "%20https://app.example/cb",
    "https://app.example/cb%20",
    "https://app.example/cb%09",
    "https://app.example/cb%0a",
    "https://app.example/cb%0d%0aSet-Cookie:x",
    "https://app.example/cb%00",
    "%ef%bb%bfhttps://app.example/cb",
    "https://app.example%c2%ad/cb",
    "https://app%e2%80%8d.example/cb",
    // RU10: encoded, and encoded twice.
    "https://app.example/%63b",
    "https://app.example%2fcb",
    "https://app.example/cb%2f",
    "https://app.example/cb%252f",
    "%68ttps://app.example/cb",
    "%2568ttps://app.example/cb",
    "https%3A%2F%2Fapp.example%2Fcb",
    "https://app.example/cb%c0%af",
    "https://app.example/cb%ff",
    "https://app.example/cb+",
    // RU11: other letters for the same host.
    "https://\u{430}\u{440}\u{440}.example/cb",
    "https://xn--80aa.example/cb",
    "https://xn--app-.example/cb",
    "https://app\u{3002}example/cb",
    "https://app\u{ff0e}example/cb",
    "https://\u{24d0}pp.example/cb",
    "https://\u{ff41}pp.example/cb",
];

/// RU12: what leads elsewhere than to a page or an app.
pub(crate) const OTHER_SCHEMES: &[&str] = &[
    "http://app.example/cb",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "java%0ascript:alert(1)",
    " javascript:alert(1)",
    "javascript://app.example/cb",
    "javascript://app.example/cb%0aalert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://app.example/cb",
    "file:///etc/passwd",
    "view-source:https://app.example/cb",
    "about:blank",
    "intent://app.example/cb",
];

/// RU13, RU15: as good as `http://127.0.0.1/cb`, `http://[::1]/cb` and `com.example.app:/cb`.
pub(crate) const NATIVE_GOOD: &[&str] = &[
    "http://127.0.0.1/cb",
    "http://127.0.0.1:49152/cb",
    "http://127.0.0.1:1/cb",
    "http://127.0.0.1:65535/cb",
    "http://[::1]/cb",
    "http://[::1]:5/cb",
    "com.example.app:/cb",
];

/// RU14, RU15: what is nearly one of them.
pub(crate) const NATIVE_VARIANTS: &[&str] = &[
    "http://localhost:49152/cb",
    "http://localhost/cb",
    "http://127.0.0.2/cb",
    "http://127.1/cb",
    "http://2130706433/cb",
    "http://0x7f.1/cb",
    "http://0177.0.0.1/cb",
    "http://0.0.0.0/cb",
    "http://[::ffff:127.0.0.1]/cb",
    "http://[0:0:0:0:0:0:0:1]/cb",
    "http://[::1%25lo]/cb",
    "http://127.0.0.1:49152/other",
    "http://127.0.0.1:49152/cb/",
    "http://127.0.0.1:49152/cb?x=1",
    "http://127.0.0.1:49152/cb?",
    "http://127.0.0.1:49152/cb#",
    "http://127.0.0.1:49152",
    "https://127.0.0.1:49152/cb",
    "https://127.0.0.1/cb",
    "HTTP://127.0.0.1/cb",
    "http://127.0.0.1:0/cb",
    "http://127.0.0.1:00080/cb",
    "http://127.0.0.1:65536/cb",
    "http://127.0.0.1:4294967376/cb",
    "http://127.0.0.1:-1/cb",
    "http://127.0.0.1:+1/cb",
    "http://127.0.0.1: 1/cb",
    "http://127.0.0.1:80:80/cb",
    "http://127.0.0.1:/cb",
    "http://127.0.0.1:80@evil.example/cb",
    "http://127.0.0.1:49152@evil.example/cb",
    "http://127.0.0.1@evil.example/cb",
    "http://evil@127.0.0.1:1/cb",
    "http://127.0.0.1:1\\@evil.example/cb",
    "http://127.0.0.1:1%2f@evil.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://127.0.0.1%2eevil.example/cb",
    "http://127.0.0.1./cb",
    "com.example.app://cb",
    "com.example.app:///cb",
    "COM.example.app:/cb",
    "com.example.app:cb",
    "com.example.app:/cb/",
    "com.example.app:1/cb",
    "com.example.app2:/cb",
    "com.example.app:/cb?",
    "com.example.app:/CB",
];

/// Asks for a redirect to a URI, by query and by form.
#[track_caller]
fn is_refused(server: &Server, app: &App, uri: &str) {
    let request = app.authorization("openid").with("redirect_uri", uri);
    let target = format!("/oauth2/authorize?{}", request.query());
    alike(server, "GET", &target, |request| request).is_page(400);
    server.post("/oauth2/authorize").form(&request.pairs()).send().is_page(400);
}

/// Asks for an error at a URI that is good: with `prompt=none`, nobody signed in.
#[track_caller]
fn is_redirected(server: &Server, app: &App, uri: &str) {
    let request = app.authorization("openid").with("redirect_uri", uri).with("prompt", "none");
    let target = format!("/oauth2/authorize?{}", request.query());
    let answer = alike(server, "GET", &target, |request| request);
    assert_eq!(answer.redirects_to(uri)["error"], "login_required", "{uri}");
}

/// Sends a query whose redirect URI stands there as it is.
fn unencoded(server: &Server, uri: &str) -> Answer {
    let rest = WEB.authorization("openid").without("redirect_uri").query();
    let target = format!("/oauth2/authorize?{rest}&redirect_uri={uri}");
    alike(server, "GET", &target, |request| request)
}

scenarios! { doors:
    /// RU01 to RU12, RU17.
    fn no_variant_of_a_redirect_uri_is_redirected_to(server) {
        for uri in VARIANTS.iter().chain(OTHER_SCHEMES) {
            is_refused(server, &WEB, uri);
        }
        // RU17: 8 KB.
        is_refused(server, &WEB, &format!("https://app.example/cb?{}", "x".repeat(8_192)));
        // RU10: malformed as a form: the whole query is.
        for bytes in ["%ff", "%c0%af", "%00", "%", "%zz", "%e2%80", "%ed%a0%80"] {
            unencoded(server, &format!("https%3A%2F%2Fapp.example%2Fcb{bytes}")).is_page(400);
        }
        // RU10: a plus is a space, decoded once.
        unencoded(server, "https://app.example/cb+").is_page(400);
        unencoded(server, "https://app.example/cb%20").is_page(400);
        unencoded(server, "https%253A%252F%252Fapp.example%252Fcb").is_page(400);
        // What is not encoded though it should be is read like what is.
        unencoded(server, "https://app.example/cb&prompt=none").redirects_to(WEB.redirect_uri);
    }

    /// RU04: a registered query is a part of the URI.
    fn a_registered_query_is_a_part_of_the_uri(server) {
        is_redirected(server, &OTHER, "https://other.example/cb?x=1");
        let two = App { id: "queries", secret: None, redirect_uri: "https://queries.example/cb?x=1&y=2" };
        is_redirected(server, &two, two.redirect_uri);
        for (app, uri) in [
            (&OTHER, "https://other.example/cb"),
            (&OTHER, "https://other.example/cb?"),
            (&OTHER, "https://other.example/cb?x=2"),
            (&OTHER, "https://other.example/cb?x=1&x=2"),
            (&OTHER, "https://other.example/cb?x=1%26"),
            (&OTHER, "https://other.example/cb?x=1&"),
            (&OTHER, "https://other.example/cb?x=1&y=2"),
            (&OTHER, "https://other.example/cb?x=1#"),
            (&OTHER, "https://other.example/cb?X=1"),
            (&OTHER, "https://other.example/cb?%78=1"),
            (&two, "https://queries.example/cb?y=2&x=1"),
            (&two, "https://queries.example/cb?x=1"),
            (&two, "https://queries.example/cb?x=1;y=2"),
            (&two, "https://queries.example/cb?x=1&amp;y=2"),
        ] {
            is_refused(server, app, uri);
        }
    }

    /// RU13 to RU15: of a loopback IP only the port may differ.
    fn loopback_and_private_schemes_match_as_rfc_8252_says(server) {
        for uri in NATIVE_GOOD {
            is_redirected(server, &NATIVE, uri);
        }
        for uri in NATIVE_VARIANTS {
            is_refused(server, &NATIVE, uri);
        }
        // RU14: `localhost` is a name, and matches as it is registered.
        let demo = App { id: "demo-spa", secret: None, redirect_uri: "http://localhost:5173/callback" };
        is_redirected(server, &demo, demo.redirect_uri);
        is_refused(server, &demo, "http://localhost:5174/callback");
        is_refused(server, &demo, "http://localhost/callback");
        // A port is free only where an IP was registered.
        is_refused(server, &SPA, "https://spa.example:8443/cb");
    }

    /// RU16: two redirect URIs are one too many, whichever is good.
    fn two_redirect_uris_are_refused(server) {
        let good = WEB.authorization("openid");
        for second in [WEB.redirect_uri, "https://app.example/other", "https://evil.example/cb", ""] {
            for (first, second) in [(WEB.redirect_uri, second), (second, WEB.redirect_uri)] {
                let request = good.clone().with("redirect_uri", first).and("redirect_uri", second);
                let target = format!("/oauth2/authorize?{}", request.query());
                alike(server, "GET", &target, |request| request).is_page(400);
                server.post("/oauth2/authorize").form(&request.pairs()).send().is_page(400);
            }
        }
        // One in the query and one in the form are not two: only the form counts.
        let evil = format!("/oauth2/authorize?redirect_uri={}", encode("https://evil.example/cb"));
        let answer = server.post(&evil).form(&good.clone().with("prompt", "none").pairs()).send();
        if answer.status == 400 {
            answer.is_page(400);
        } else {
            answer.redirects_to(WEB.redirect_uri);
        }
    }
}

/// RU12: what leads elsewhere than to a page or an app is refused at registration, too.
#[test]
fn what_is_no_place_to_be_sent_to_cannot_be_registered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.toml");
    let others = [
        "https://app.example/cb#x",
        "https://user@app.example/cb",
        "https://app.example\\@evil.example/cb",
        "https://app.example/../cb",
        "https://*.example/cb ",
        "//app.example/cb",
        "",
    ];
    for uri in OTHER_SCHEMES.iter().chain(&others) {
        let create = ["client", "create", "bad", "--redirect-uri", uri];
        let created = cadence(folder.path(), &[], &create);
        let told = String::from_utf8_lossy(&created.stderr).into_owned();
        assert!(!created.status.success() && !told.contains("panicked"), "{uri:?}: {created:?}");
        let uri = serde_json::to_string(uri).unwrap();
        let toml = format!(
            "[[clients]]\nclient_id = \"bad\"\nclient_name = \"Bad\"\nscope = \"openid\"\n\
             token_endpoint_auth_method = \"none\"\ngrant_types = [\"authorization_code\"]\n\
             redirect_uris = [{uri}]\n"
        );
        std::fs::write(&file, toml).unwrap();
        let apply = ["apply", "-f", &file.display().to_string()];
        let applied = cadence(folder.path(), &[], &apply);
        let told = String::from_utf8_lossy(&applied.stderr).into_owned();
        assert!(!applied.status.success() && told.contains("bad"), "{uri}: {applied:?}");
    }
    let list = cadence(folder.path(), &[], &["client", "list", "--format", "json"]);
    assert_eq!(String::from_utf8(list.stdout).unwrap().trim(), "[]");
}
