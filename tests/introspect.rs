//! `POST /oauth2/introspect`: RFC 7662.

use crate::oauth::{App, OTHER, SPA, WEB, jwt_part};
use crate::server::Server;

const INACTIVE: &str = r#"{"active":false}"#;

scenarios! { everywhere:
    /// IN02.
    fn a_client_hears_about_its_own_token(server) {
        let tokens = WEB.tokens(server, "openid profile");
        let told = WEB.introspect(server, &tokens.access).expect(200).json();
        let claims = jwt_part(&tokens.access, 1);
        assert_eq!(told["active"], true);
        assert_eq!(told["token_type"], "Bearer");
        for claim in ["iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti"] {
            assert_eq!(told[claim], claims[claim], "{claim}");
        }
        WEB.revoke(server, &tokens.refresh).expect(200);
        assert_eq!(WEB.introspect(server, &tokens.access).expect(200).body, INACTIVE);
    }
}

scenarios! { doors:
    /// IN03, IN04: of what is not active, or not the asker's, nothing else is told.
    fn nobody_hears_about_anything_else(server) {
        let tokens = WEB.tokens(server, "openid");
        let code = WEB.code(server, "openid");
        let mut forged = tokens.access.clone();
        forged.pop();
        forged.push(if tokens.access.ends_with('A') { 'Q' } else { 'A' });
        assert_eq!(OTHER.introspect(server, &tokens.access).expect(200).body, INACTIVE);
        for token in [&tokens.refresh, &tokens.id, &code, &forged, "x", "é", "a.b.c"] {
            assert_eq!(WEB.introspect(server, token).expect(200).body, INACTIVE, "{token}");
        }
        let long = "A".repeat(50_000);
        assert_eq!(WEB.introspect(server, &long).expect(200).body, INACTIVE);
        let spas = SPA.tokens(server, "openid");
        assert_eq!(WEB.introspect(server, &spas.access).expect(200).body, INACTIVE);
    }

    /// A refresh token is told of only to its client, and only when it is asked for.
    fn a_refresh_token_is_told_of_when_the_hint_says_so(server) {
        let tokens = WEB.tokens(server, "openid");
        let ask = |app: &App| {
            let form = [("token", &*tokens.refresh), ("token_type_hint", "refresh_token")];
            app.sign(server.post("/oauth2/introspect"), &form).send().expect(200)
        };
        let told = ask(&WEB).json();
        assert_eq!((&told["active"], &told["client_id"]), (&true.into(), &"web".into()));
        assert_eq!(ask(&OTHER).body, INACTIVE);
    }

    /// IN01, IN06, IN08.
    fn only_authenticated_clients_may_ask(server) {
        let tokens = WEB.tokens(server, "openid");
        let form = [("token", &*tokens.access)];
        SPA.introspect(server, &tokens.access).refused(401, "invalid_client");
        let bearer = server.post("/oauth2/introspect").bearer(&tokens.access).form(&form).send();
        bearer.refused(401, "invalid_client");
        let url = format!("/oauth2/introspect?token={}", tokens.access);
        server.get(&url).send().expect(405);
        let post = |form: &[(&str, &str)]| WEB.sign(server.post("/oauth2/introspect"), form).send();
        post(&[]).refused(400, "invalid_request");
        post(&[("token", "x"), ("token", "x")]).refused(400, "invalid_request");
        let signed = WEB.sign(server.post("/oauth2/introspect"), &[("token", "x")]);
        let answer = signed.header("accept", "application/token-introspection+jwt").send();
        assert_eq!(answer.body, INACTIVE);
    }
}
