//! The refresh token grant: RFC 6749 §6, RFC 9700 §4.14.2.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bearer::DISABLED_IN;
use crate::http::Answer;
use crate::oauth::{
    NATIVE, OTHER, OWN, SPA, Tokens, WEB, grant_is_dead, is_alive, is_dead, jwt_part, own_tokens,
};
use crate::outage::{answered_at_last, is_unavailable};
use crate::server::{Server, in_time, now, until, until_within};
use crate::wire;

const PASSWORD: &str = "a-passphrase-for-tests";

/// Sooner than the grace ends for whatever was refreshed so long ago.
const WITHIN_THE_GRACE: Duration = Duration::from_secs(9);

scenarios! { everywhere:
    /// RT01, RT20.
    fn a_refresh_token_becomes_a_new_pair(server) {
        let first = WEB.tokens(server, "openid profile");
        let issued_at = jwt_part(&first.id, 1)["iat"].as_u64().unwrap();
        until("another second", || now() > issued_at);
        let second = Tokens::of(&WEB.refresh(server, &first.refresh));
        assert_ne!(second.refresh, first.refresh);
        assert_ne!(second.access, first.access);
        assert_eq!(second.json["scope"], "openid profile");
        is_alive(server, &second.access);
        let (before, after) = (jwt_part(&first.id, 1), jwt_part(&second.id, 1));
        for claim in ["iss", "sub", "aud", "azp", "auth_time"] {
            assert_eq!(before[claim], after[claim], "{claim}");
        }
        assert!(after["iat"].as_u64() > Some(issued_at), "{after}");
        assert!(after["exp"].as_u64() > Some(now()), "{after}");
        assert_eq!(after["nonce"], Value::Null, "it was answered by the first one");
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
        for tokens in [&third, &second, &first] {
            grant_is_dead(server, &WEB, tokens);
        }
    }

    /// RT03: an answer that was lost can be asked for again.
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
        NATIVE.refresh(server, &public.refresh).refused(400, "invalid_grant");
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

    /// RT17: whoever is disabled, or has another password, has to sign in again. A consent that is
    /// taken back is in `account::a_consent_is_taken_back`.
    fn the_refresh_token_of_a_changed_user_is_worth_nothing(server) {
        for change in ["disabled", "another password"] {
            let name = server.new_user("rhea");
            let tokens = Tokens::of(&own_tokens(server, &name, PASSWORD));
            let mut tokens = Tokens::of(&OWN.refresh(server, &tokens.refresh));
            is_alive(server, &tokens.access);
            if change == "disabled" {
                server.cadence(&["user", "disable", &name]);
            } else {
                server.apply(&format!(
                    "[[users]]\nusername = \"{name}\"\nemail = \"{name}\"\n\
                     password = \"another-passphrase\"\n"
                ));
            }
            until_within("nothing is refreshed", DISABLED_IN, || {
                let answer = OWN.refresh(server, &tokens.refresh);
                match answer.status {
                    200 => tokens = Tokens::of(&answer),
                    503 => is_unavailable(&answer),
                    _ => answer.refused(400, "invalid_grant"),
                }
                answer.status == 400
            });
            grant_is_dead(server, &OWN, &tokens);
            own_tokens(server, &name, PASSWORD).refused(400, "invalid_grant");
        }
    }

    /// RT17: guessing a password locks no application out that is signed in already, else anybody
    /// could sign anybody out. A new sign-in has to wait.
    fn whoever_is_locked_stays_signed_in(server) {
        let name = server.new_user("lea");
        let tokens = Tokens::of(&own_tokens(server, &name, PASSWORD));
        for _ in 0..10 {
            own_tokens(server, &name, "a-guess").refused(400, "invalid_grant");
        }
        own_tokens(server, &name, PASSWORD).expect(429);
        let tokens = Tokens::of(&OWN.refresh(server, &tokens.refresh));
        is_alive(server, &tokens.access);
    }

    /// RT04, and what RT01 leaves to policy: for ten seconds the generation before is good, for
    /// requests that are under way; then none of it is, and whoever presents it ends the grant.
    fn after_the_grace_the_generation_before_is_over(server) {
        let lost = WEB.tokens(server, "openid");
        let unseen = Tokens::of(&WEB.refresh(server, &lost.refresh));
        let first = WEB.tokens(server, "openid");
        let second = Tokens::of(&WEB.refresh(server, &first.refresh));
        is_alive(server, &first.access);
        std::thread::sleep(Duration::from_secs(12));
        is_dead(server, &first.access);
        is_alive(server, &second.access);
        WEB.refresh(server, &lost.refresh).refused(400, "invalid_grant");
        grant_is_dead(server, &WEB, &unseen);
        Tokens::of(&WEB.refresh(server, &second.refresh));
    }

    /// RT21: the connection is cut when the request is there, and the same refresh token is
    /// presented again: at once, after a second, and towards the end of the grace, whose bound to the
    /// second is that of `refresh_is_repeated_within_the_grace` (`origin/src/store/contract`).
    fn a_lost_answer_is_asked_for_again(server) {
        in_time("lost answers are asked for again within the grace", || {
            let cuts = [Cut::AtOnce, Cut::Meanwhile, Cut::AtTheAnswer];
            let grants: Vec<_> = [100, 1_000, 7_000]
                .into_iter()
                .flat_map(|after| cuts.map(|cut| (after, cut, WEB.tokens(server, "openid"))))
                .collect();
            let began = Instant::now();
            for (_, cut, tokens) in &grants {
                lose_the_answer(server, &tokens.refresh, *cut);
            }
            let refresh = |token: &str| answered_at_last(|| WEB.refresh(server, token));
            let ask_again = |(after, _, tokens): &(u64, Cut, Tokens)| {
                std::thread::sleep(Duration::from_millis(*after).saturating_sub(began.elapsed()));
                [(); 2].map(|()| refresh(&tokens.refresh))
            };
            // All of one moment at that moment: what has come of them is looked at behind it.
            for grants in grants.chunks(cuts.len()) {
                let asked: Vec<[Answer; 2]> = grants.iter().map(ask_again).collect();
                if began.elapsed() > WITHIN_THE_GRACE {
                    return None;
                }
                for answers in asked {
                    let [again, once_more] = answers.each_ref().map(Tokens::of);
                    assert_eq!(again.refresh, once_more.refresh, "one live leaf");
                    is_alive(server, &again.access);
                    let next = Tokens::of(&refresh(&again.refresh));
                    is_alive(server, &next.access);
                }
            }
            Some(())
        });
    }

    /// RT15, RT16: the grant's absolute end, and its end for want of use, which the row in Redis has.
    /// To the second, and for both stores: `refresh_ends_absolutely`, `refresh_ends_when_idle` and
    /// `refresh_never_outlives_its_grant` (`origin/src/store/contract/refresh.rs`).
    fn a_grant_ends_at_its_end(server) {
        let redis = server.redis.as_ref().unwrap();
        let set = |tokens: &Tokens, field: &str, at: u64| {
            let jti = jwt_part(&tokens.access, 1)["jti"].as_str().unwrap().to_owned();
            let key = format!("cadence:grant:{{{}}}", jti.split_once('.').unwrap().0);
            assert_eq!(redis.command(&["HSET", &key, field, &at.to_string()]), ":0\r\n");
        };
        // For want of use, with the absolute end far away: in the last second a grant is good, and
        // its use moves this end.
        let (next, unused) = in_time("a grant is used in its last second", || {
            let [used, unused] = [(); 2].map(|()| WEB.tokens(server, "openid"));
            let end = now() + 4;
            for tokens in [&used, &unused] {
                set(tokens, "idle_expires_at", end);
            }
            until("the last second", || now() + 1 >= end);
            let answer = WEB.refresh(server, &used.refresh);
            let is_in_time = now() < end;
            until("the end of what is not used", || now() >= end);
            is_in_time.then(|| (Tokens::of(&answer), unused))
        });
        WEB.refresh(server, &unused.refresh).refused(400, "invalid_grant");
        is_dead(server, &unused.access);
        is_alive(server, &next.access);
        Tokens::of(&WEB.refresh(server, &next.refresh));
        // The absolute end alone, which no use moves: all goes on until the last second, and
        // nothing outlives the grant.
        let (refresh, last) = in_time("a grant is used until its last second", || {
            let tokens = WEB.tokens(server, "openid");
            let end = now() + 6;
            set(&tokens, "expires_at", end);
            let mut refresh = tokens.refresh;
            let last = loop {
                let answer = WEB.refresh(server, &refresh);
                if now() >= end {
                    return None;
                }
                let answer = answer.expect(200).json();
                let left = answer["expires_in"].as_u64().unwrap();
                assert!((1..=6).contains(&left), "{answer}");
                answer["refresh_token"].as_str().unwrap().clone_into(&mut refresh);
                let access = answer["access_token"].as_str().unwrap().to_owned();
                assert!(jwt_part(&access, 1)["exp"].as_u64().unwrap() <= end, "{answer}");
                if left == 1 {
                    break access;
                }
                std::thread::sleep(Duration::from_millis(100));
            };
            until("the grant has ended", || now() >= end);
            Some((refresh, last))
        });
        WEB.refresh(server, &refresh).refused(400, "invalid_grant");
        is_dead(server, &last);
    }
}

/// When a connection is closed whose request was sent.
#[derive(Clone, Copy)]
enum Cut {
    AtOnce,
    Meanwhile,
    AtTheAnswer,
}

/// Sends a refresh and closes the connection before anything of the answer is read.
fn lose_the_answer(server: &Server, refresh_token: &str, cut: Cut) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    let request = wire::bytes(&WEB.sign(server.post("/oauth2/token"), &form));
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&request).unwrap();
    match cut {
        Cut::AtOnce => {}
        Cut::Meanwhile => std::thread::sleep(Duration::from_millis(3)),
        Cut::AtTheAnswer => assert_eq!(stream.peek(&mut [0]).unwrap(), 1),
    }
}
