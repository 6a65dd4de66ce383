//! `POST /oauth2/revoke`: RFC 7009.

use serde_json::{Value, json};

use crate::forge;
use crate::oauth::{NATIVE, OTHER, SPA, Tokens, WEB, grant_is_dead, is_alive, is_dead, jwt_part};
use crate::server::{Server, now};
use crate::signer::Signer;

scenarios! { everywhere:
    /// RV01: a refresh token takes its whole grant along.
    fn revoking_a_refresh_token_ends_the_grant(server) {
        let first = WEB.tokens(server, "openid");
        let second = Tokens::of(&WEB.refresh(server, &first.refresh));
        let answer = WEB.revoke(server, &second.refresh).expect(200);
        assert_eq!(answer.body, "");
        grant_is_dead(server, &WEB, &second);
        grant_is_dead(server, &WEB, &first);
    }

    /// RV02, RV03: an access token ends alone; one that has ended is revoked already.
    fn revoking_an_access_token_ends_it_alone(server) {
        let tokens = WEB.tokens(server, "openid");
        WEB.revoke(server, &tokens.access).expect(200);
        is_dead(server, &tokens.access);
        WEB.revoke(server, &tokens.access).expect(200);
        is_dead(server, &tokens.access);
        let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
        is_alive(server, &next.access);
    }
}

scenarios! { doors:
    /// F17: a server whose clock is behind or ahead does not say that a token is ended and leave it.
    fn the_time_of_a_token_is_no_reason_to_leave_it_alive(server) {
        for (issued_at, expires_at) in [(now() + 60, now() + 360), (now() - 600, now() - 300)] {
            let tokens = WEB.tokens(server, "openid");
            let mut claims = jwt_part(&tokens.access, 1);
            claims["iat"] = json!(issued_at);
            claims["exp"] = json!(expires_at);
            let keys = Signer::of(server);
            let same = keys.key("ES256").sign(&json!({ "typ": "at+jwt" }), &claims);
            WEB.revoke(server, &same).expect(200);
            is_dead(server, &tokens.access);
        }
    }

    /// RT22: a revocation beats the grace of a lost answer, and its order does not matter.
    fn a_revocation_beats_the_grace(server) {
        let first = WEB.tokens(server, "openid");
        let second = Tokens::of(&WEB.refresh(server, &first.refresh));
        WEB.revoke(server, &first.refresh).expect(200);
        WEB.refresh(server, &first.refresh).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &second);
    }

    /// RV03, RV07, RV08.
    fn whatever_is_no_token_is_revoked_already(server) {
        let tokens = WEB.tokens(server, "openid");
        let keys = Signer::of(server);
        let mut claims = jwt_part(&tokens.access, 1);
        let signed = |claims: &Value| keys.key("ES256").sign(&json!({ "typ": "at+jwt" }), claims);
        claims["jti"] = json!("AAAAAAAAAAAAAAAAAAAAAA.1");
        let nowhere = format!("{}/oauth2/status/AAAAAAAAAAAAAAAAAAAAAA", server.url);
        claims["status"]["status_list"]["uri"] = json!(nowhere);
        let unknown = signed(&claims);
        claims["exp"] = json!(now() - 60);
        claims["iat"] = json!(now() - 360);
        let expired = signed(&claims);
        for token in [
            "x",
            "é",
            "a.b.c",
            &"A".repeat(65_000),
            &tokens.id,
            &unknown,
            &expired,
            &forge::refresh_token(now() + 60, "web"),
            &forge::refresh_token(now() - 60, "web"),
        ] {
            assert_eq!(WEB.revoke(server, token).expect(200).body, "");
        }
        // Beyond any form (docs/architecture.md, Bounds).
        WEB.revoke(server, &"A".repeat(65_536)).refused(413, "invalid_request");
        is_alive(server, &tokens.access);
        let get = server.get(&format!("/oauth2/revoke?token={}", tokens.access)).send().expect(405);
        assert_eq!(get.header("allow"), Some("POST"));
        is_alive(server, &tokens.access);
        let post = |form: &[(&str, &str)]| WEB.sign(server.post("/oauth2/revoke"), form).send();
        post(&[]).refused(400, "invalid_request");
        post(&[("token", "")]).refused(400, "invalid_request");
        post(&[("token", "x"), ("token", "x")]).refused(400, "invalid_request");
        let hints = [("token", "x"), ("token_type_hint", "a"), ("token_type_hint", "a")];
        post(&hints).refused(400, "invalid_request");

        // Whatever the hint is, the token is found; and revoked again, it is revoked already.
        let with_hint = |token: &str, hint: &str| {
            let form = [("token", token), ("token_type_hint", hint)];
            assert_eq!(post(&form).expect(200).body, "");
        };
        for hint in ["access_token", "refresh_token", "unheard_of"] {
            let tokens = WEB.tokens(server, "openid");
            with_hint(&tokens.access, hint);
            is_dead(server, &tokens.access);
            with_hint(&tokens.access, hint);
            WEB.revoke(server, &tokens.access).expect(200);
            // It has ended alone.
            let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
            is_alive(server, &next.access);
            with_hint(&next.refresh, hint);
            grant_is_dead(server, &WEB, &next);
            with_hint(&next.refresh, hint);
            with_hint(&next.access, hint);
        }
        is_alive(server, &tokens.access);
        let json = server.post("/oauth2/revoke").basic("web", "web-secret-0123456789");
        json.body("application/json", "{}").send().refused(400, "invalid_request");
    }

    /// RV05: who does not say who it is revokes nothing, and is told so.
    fn only_a_client_revokes(server) {
        let tokens = WEB.tokens(server, "openid");
        for token in [&*tokens.access, &tokens.refresh, "x"] {
            let post = || server.post("/oauth2/revoke");
            let form = [("token", token)];
            let named = [("token", token), ("client_id", "web")];
            let posted =
                [("token", token), ("client_id", "web"), ("client_secret", WEB.secret.unwrap())];
            for request in [
                post().form(&form),
                post().form(&named),
                post().basic("web", "wrong").form(&form),
                post().basic("web", "").form(&form),
                post().basic("nobody", "x").form(&form),
                post().bearer(&tokens.access).form(&form),
                // The secret is right, and the way to send it is not the registered one.
                post().form(&posted),
            ] {
                request.send().refused(401, "invalid_client");
            }
        }
        is_alive(server, &tokens.access);
        Tokens::of(&WEB.refresh(server, &tokens.refresh));
    }

    /// RV04, RV06: a client revokes its own tokens, and nobody else's.
    fn a_client_revokes_its_own_tokens_alone(server) {
        let tokens = WEB.tokens(server, "openid");
        for token in [&tokens.access, &tokens.refresh] {
            OTHER.revoke(server, token).expect(200);
            SPA.revoke(server, token).expect(200);
            let unsigned = [("client_id", "web"), ("token", token)];
            let answer = server.post("/oauth2/revoke").form(&unsigned).send();
            answer.refused(401, "invalid_client");
        }
        is_alive(server, &tokens.access);
        WEB.refresh(server, &tokens.refresh).expect(200);

        let public = SPA.tokens(server, "openid");
        NATIVE.revoke(server, &public.access).expect(200);
        NATIVE.revoke(server, &public.refresh).expect(200);
        is_alive(server, &public.access);
        SPA.revoke(server, &public.access).expect(200);
        is_dead(server, &public.access);
        SPA.revoke(server, &public.refresh).expect(200);
        grant_is_dead(server, &SPA, &public);
    }
}
