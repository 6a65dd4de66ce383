//! The refresh token grant: RFC 6749 §6, RFC 9700 §4.14.2.

use std::collections::BTreeSet;
use std::sync::Barrier;

use crate::oauth::{
    OTHER, OWN, SPA, Tokens, WEB, grant_is_dead, is_alive, is_dead, jwt_part, own_tokens,
};
use crate::server::{Server, until};

scenarios! { everywhere:
    /// RT01, RT20.
    fn a_refresh_token_becomes_a_new_pair(server) {
        let first = WEB.tokens(server, "openid profile");
        let second = Tokens::of(&WEB.refresh(server, &first.refresh));
        assert_ne!(second.refresh, first.refresh);
        assert_ne!(second.access, first.access);
        assert_eq!(second.json["scope"], "openid profile");
        is_alive(server, &second.access);
        let (before, after) = (jwt_part(&first.id, 1), jwt_part(&second.id, 1));
        for claim in ["iss", "sub", "aud", "azp", "auth_time"] {
            assert_eq!(before[claim], after[claim], "{claim}");
        }
        let third = Tokens::of(&WEB.refresh(server, &second.refresh));
        is_alive(server, &third.access);
    }

    /// RT02, RT05.
    fn a_reused_refresh_token_kills_the_grant(server) {
        let first = WEB.tokens(server, "openid");
        let second = Tokens::of(&WEB.refresh(server, &first.refresh));
        let third = Tokens::of(&WEB.refresh(server, &second.refresh));
        is_alive(server, &third.access);
        WEB.refresh(server, &first.refresh).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &third);
        grant_is_dead(server, &WEB, &second);
    }

    /// RT03, RT21: an answer that was lost can be asked for again.
    fn a_repeated_refresh_returns_the_same_successor(server) {
        let first = WEB.tokens(server, "openid");
        let lost = Tokens::of(&WEB.refresh(server, &first.refresh));
        let again = Tokens::of(&WEB.refresh(server, &first.refresh));
        assert_eq!(again.refresh, lost.refresh);
        is_alive(server, &again.access);
        // Its access token was seen: the successor has arrived, and the grace is over.
        WEB.refresh(server, &first.refresh).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &again);
    }

    /// RT06 in small.
    fn of_many_refreshes_at_once_there_is_one_successor(server) {
        const HANDS: usize = 12;
        let first = WEB.tokens(server, "openid");
        let barrier = Barrier::new(HANDS);
        let successors: BTreeSet<String> = std::thread::scope(|scope| {
            let hands: Vec<_> = (0..HANDS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        Tokens::of(&WEB.refresh(server, &first.refresh)).refresh
                    })
                })
                .collect();
            hands.into_iter().map(|hand| hand.join().unwrap()).collect()
        });
        assert_eq!(successors.len(), 1);
        let successor = successors.first().unwrap();
        let next = Tokens::of(&WEB.refresh(server, successor));
        is_alive(server, &next.access);
    }
}

scenarios! { doors:
    /// RT11, RT12: someone else's attempt changes nothing.
    fn a_refresh_token_is_its_clients_alone(server) {
        let tokens = WEB.tokens(server, "openid");
        OTHER.refresh(server, &tokens.refresh).refused(400, "invalid_grant");
        SPA.refresh(server, &tokens.refresh).refused(400, "invalid_grant");
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*tokens.refresh)];
        let unsigned = [&[("client_id", "web")], &form[..]].concat();
        server.post("/oauth2/token").form(&unsigned).send().refused(401, "invalid_client");
        server.post("/oauth2/token").form(&form).send().refused(401, "invalid_client");

        let public = SPA.tokens(server, "openid");
        OTHER.refresh(server, &public.refresh).refused(400, "invalid_grant");
        is_alive(server, &tokens.access);
        is_alive(server, &public.access);
        WEB.refresh(server, &tokens.refresh).expect(200);
        SPA.refresh(server, &public.refresh).expect(200);
    }

    /// RT13, RT14.
    fn a_scope_can_be_narrowed_and_never_widened(server) {
        let tokens = WEB.tokens(server, "openid profile");
        let refresh = |token: &str, scope: &str| {
            let form =
                [("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)];
            WEB.sign(server.post("/oauth2/token"), &form).send()
        };
        refresh(&tokens.refresh, "openid email").refused(400, "invalid_scope");
        refresh(&tokens.refresh, "admin").refused(400, "invalid_scope");
        refresh(&tokens.refresh, "\"").refused(400, "invalid_scope");
        let narrow = Tokens::of(&refresh(&tokens.refresh, "openid"));
        assert_eq!(narrow.json["scope"], "openid");
        assert_eq!(jwt_part(&narrow.access, 1)["scope"], "openid");
        let full = Tokens::of(&WEB.refresh(server, &narrow.refresh));
        assert_eq!(full.json["scope"], "openid profile");
    }

    /// RT19: forged and mangled ones get nothing, and touch nothing.
    fn what_is_no_refresh_token_is_an_invalid_grant(server) {
        let tokens = WEB.tokens(server, "openid");
        let good = &tokens.refresh;
        let mut changed = good.clone();
        let middle = good.len() / 2;
        let other = if good[middle..].starts_with('A') { "B" } else { "A" };
        changed.replace_range(middle..=middle, other);
        for bad in [
            "x",
            "é",
            &changed,
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}A"),
            &"A".repeat(good.len()),
            &"A".repeat(40_000),
            &tokens.access,
            &tokens.id,
        ] {
            WEB.refresh(server, bad).refused(400, "invalid_grant");
        }
        WEB.refresh(server, "").refused(400, "invalid_request");
        WEB.refresh(server, good).expect(200);
    }

    /// RT18.
    fn a_refresh_token_opens_nothing(server) {
        let tokens = WEB.tokens(server, "openid");
        is_dead(server, &tokens.refresh);
        let told = WEB.introspect(server, &tokens.refresh).expect(200);
        assert_eq!(told.body, r#"{"active":false}"#);
        WEB.refresh(server, &tokens.refresh).expect(200);
    }

    /// RT17.
    fn the_refresh_token_of_a_disabled_user_is_worth_nothing(server) {
        let name = server.new_user("rhea");
        let tokens = Tokens::of(&own_tokens(server, &name, "a-passphrase-for-tests"));
        let tokens = Tokens::of(&OWN.refresh(server, &tokens.refresh));
        server.cadence(&["user", "disable", &name]);
        until("the user is disabled", || {
            server.get("/api/me").bearer(&tokens.access).send().status == 401
        });
        OWN.refresh(server, &tokens.refresh).refused(400, "invalid_grant");
        own_tokens(server, &name, "a-passphrase-for-tests").refused(400, "invalid_grant");
    }
}

/// RT04: the grace ends after ten seconds, used or not.
#[test]
fn after_the_grace_a_repeated_refresh_kills_the_grant() {
    let server = Server::edge();
    let first = WEB.tokens(server, "openid");
    let second = Tokens::of(&WEB.refresh(server, &first.refresh));
    std::thread::sleep(std::time::Duration::from_secs(12));
    WEB.refresh(server, &first.refresh).refused(400, "invalid_grant");
    grant_is_dead(server, &WEB, &second);
}
