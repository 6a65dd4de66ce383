//! `POST /oauth2/revoke`: RFC 7009.

use crate::oauth::{OTHER, SPA, Tokens, WEB, grant_is_dead, is_alive, is_dead};
use crate::server::Server;

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

    /// RV02: an access token ends alone.
    fn revoking_an_access_token_ends_it_alone(server) {
        let tokens = WEB.tokens(server, "openid");
        WEB.revoke(server, &tokens.access).expect(200);
        is_dead(server, &tokens.access);
        let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
        is_alive(server, &next.access);
    }
}

scenarios! { doors:
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
        for token in ["x", "é", "a.b.c", &"A".repeat(50_000), &tokens.id] {
            assert_eq!(WEB.revoke(server, token).expect(200).body, "");
        }
        is_alive(server, &tokens.access);
        let post = |form: &[(&str, &str)]| WEB.sign(server.post("/oauth2/revoke"), form).send();
        post(&[]).refused(400, "invalid_request");
        post(&[("token", "")]).refused(400, "invalid_request");
        post(&[("token", "x"), ("token", "x")]).refused(400, "invalid_request");
        let hints = [("token", "x"), ("token_type_hint", "a"), ("token_type_hint", "a")];
        post(&hints).refused(400, "invalid_request");

        let unknown_hint = [("token", &*tokens.access), ("token_type_hint", "unheard_of")];
        post(&unknown_hint).expect(200);
        is_dead(server, &tokens.access);
        let wrong_hint = [("token", &*tokens.refresh), ("token_type_hint", "access_token")];
        post(&wrong_hint).expect(200);
        grant_is_dead(server, &WEB, &tokens);
        post(&wrong_hint).expect(200);
        let json = server.post("/oauth2/revoke").basic("web", "web-secret-0123456789");
        json.body("application/json", "{}").send().refused(400, "invalid_request");
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
        SPA.revoke(server, &public.refresh).expect(200);
        grant_is_dead(server, &SPA, &public);
    }
}
