//! The account page, and logouts that fail half way.

use super::revocation::{is_active, list_of};
use super::*;
use crate::clock::now;
use crate::store::TakenNotice;
use crate::store::redis::tests::Server as RedisServer;

/// A server over Redis, in which somebody has signed in to a client that wants to be told.
struct Told {
    redis: RedisServer,
    server: Server,
    tokens: Value,
    /// The cookie of the login session.
    cookies: String,
}

impl Told {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let server = server_over(redis.store().await, TempDir::new().unwrap(), "").await;
        let directory = server.app.known.directory();
        let id = shared::client::ClientId::parse("own").unwrap();
        let mut own = directory.find_client(&id).await.unwrap().unwrap();
        let uri = "https://app.example/told".to_owned();
        own.client.backchannel_logout_uri = Some(uri.try_into().unwrap());
        directory.put_client(&own).await.unwrap();
        let signed_in = server.sign_in("own").await;
        let tokens = server.redeem("own", &code_of(&signed_in)).await.json();
        Self { redis, server, tokens, cookies: signed_in.cookies() }
    }

    async fn page(&self) -> Answer {
        self.server.get("/account", &[("cookie", &self.cookies)]).await
    }

    async fn submit(&self, form: &[(&str, &str)]) -> Answer {
        self.server.post("/account", &[("cookie", &self.cookies)], form).await
    }

    /// The notices that are due within a minute, each for a moment.
    async fn notices(&self) -> Vec<TakenNotice> {
        let soon = now().plus(60);
        self.server.app.store.take_due_notices(10, soon, soon).await.unwrap()
    }

    /// Does something while statuses cannot be set, and then once more.
    async fn fail_then_repeat(&self, act: impl AsyncFn() -> Answer) -> Answer {
        let list = list_of(&self.tokens);
        self.redis.spoil(&list).await;
        let failed = act().await;
        assert_eq!(failed.status, 503, "{}", failed.body);
        assert_eq!(self.notices().await.len(), 1, "whoever stops half way has told everybody");
        self.redis.mend(&list).await;
        let repeated = act().await;
        assert!(repeated.status < 400, "{}", repeated.body);
        assert!(!is_active(&self.server, &self.tokens).await);
        let notices = self.notices().await;
        assert_eq!(notices.len(), 1, "and once only: {notices:?}");
        repeated
    }
}

#[tokio::test]
async fn a_logout_that_failed_half_way_has_told_everybody() {
    let told = Told::new().await;
    let hint = told.tokens["id_token"].as_str().unwrap();
    let url = with_query("/oauth2/logout", [("id_token_hint", hint)]);
    told.fail_then_repeat(async || told.server.get(&url, &[("cookie", &told.cookies)]).await).await;
}

#[tokio::test]
async fn a_session_that_was_ended_half_way_can_be_ended_again() {
    let told = Told::new().await;
    let page = told.page().await;
    assert_eq!(page.status, 200, "{}", page.body);
    let (csrf, sid) = (page.field("csrf"), page.field("sid"));
    let form = [("csrf", csrf.as_str()), ("sid", &sid), ("action", "end_session")];
    let ended = told
        .fail_then_repeat(async || {
            assert_eq!(told.page().await.status, 200, "it is still there");
            told.submit(&form).await
        })
        .await;
    assert!(ended.body.contains("You are signed out"), "{}", ended.body);
    assert_eq!(told.page().await.status, 303);
}

#[tokio::test]
async fn signing_out_everywhere_that_failed_half_way_can_be_repeated() {
    let told = Told::new().await;
    let other = told.server.sign_in("own").await;
    let csrf = told.page().await.field("csrf");
    let form = [("csrf", csrf.as_str()), ("action", "sign_out_everywhere")];
    // The other session has no tokens, so it is this one that fails, and only after the mark: what
    // is left then is dead, and the next login finds it.
    let list = list_of(&told.tokens);
    told.redis.spoil(&list).await;
    assert_eq!(told.submit(&form).await.status, 503);
    assert_eq!(told.notices().await.len(), 2);
    assert!(!is_active(&told.server, &told.tokens).await);
    for cookies in [&told.cookies, &other.cookies()] {
        assert_eq!(told.server.get("/account", &[("cookie", cookies)]).await.status, 303);
    }
}

#[tokio::test]
async fn signing_out_everywhere_ends_logins_by_a_clock_that_is_ahead() {
    let server = server().await;
    let signed_in = server.sign_in("own").await;
    let alice = server.app.known.directory().find_username("alice@example.test").await.unwrap();
    let alice = alice.unwrap().user_id;
    let page = server.get("/account", &[("cookie", &signed_in.cookies())]).await;
    let csrf = page.field("csrf");
    let form = [("csrf", csrf.as_str()), ("action", "sign_out_everywhere")];
    let ahead = now().plus(shared::limits::CLOCK_SKEW);
    assert!(server.app.known.user(&alice, ahead).await.unwrap().is_some());
    let ended = server.post("/account", &[("cookie", &signed_in.cookies())], &form).await;
    assert!(ended.body.contains("You are signed out"), "{}", ended.body);
    assert!(server.app.known.user(&alice, ahead).await.unwrap().is_none());
    // The next login is later than all that, and is not one that somebody asks for after it.
    let again = server.sign_in("own").await;
    let cookies = again.cookies();
    assert_eq!(server.get("/account", &[("cookie", &cookies)]).await.status, 200);
    for asked in [("prompt", "login"), ("max_age", "0")] {
        let url = with_query(&authorize_url("own"), [asked]);
        let led = server.get(&url, &[("cookie", &cookies)]).await;
        let location = led.header("location").unwrap();
        assert!(location.starts_with("/oauth2/login?"), "{asked:?} {location}");
        let all = format!("{cookies}; {}", led.cookies());
        let consent = location.replace("/login?", "/consent?");
        let skipped = server.get(&consent, &[("cookie", &all)]).await;
        assert_eq!(skipped.status, 303, "{asked:?}: that page is for who has logged in");
        let logged_in = server.log_in(location, &all, "alice@example.test").await;
        code_of(&logged_in);
    }
}

#[tokio::test]
async fn the_account_page_leads_to_the_login_and_is_for_the_person_alone() {
    let server = server().await;
    let led = server.get("/account", &[]).await;
    assert_eq!(led.status, 303);
    let location = led.header("location").unwrap();
    let (before, challenge) = location.split_once("&code_challenge=").unwrap();
    assert_eq!(
        before,
        "/oauth2/authorize?response_type=code&client_id=account\
         &redirect_uri=https%3A%2F%2Fid.example%2Faccount"
    );
    assert_eq!(challenge.len(), 43 + "&code_challenge_method=S256".len());
    let again = server.get("/account", &[]).await;
    assert_ne!(again.header("location").unwrap(), location, "another challenge each time");

    let signed_in = server.sign_in("own").await;
    let page = server.get("/account", &[("cookie", &signed_in.cookies())]).await;
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    assert_eq!(page.header("access-control-allow-origin"), None);
    for name in ["csrf", "sid"] {
        let value = page.field(name);
        assert!(!signed_in.cookies().contains(&value), "{name} is not the cookie");
    }
    let csrf = page.field("csrf");
    let headers = [("cookie", &*signed_in.cookies()), ("sec-fetch-site", "cross-site")];
    let form = [("csrf", csrf.as_str()), ("action", "sign_out_everywhere")];
    assert_eq!(server.post("/account", &headers, &form).await.status, 403);
    let json = Request::post("/account").header("content-type", "application/json");
    let json = json.header("cookie", signed_in.cookies()).body(Body::from("{}")).unwrap();
    assert_eq!(server.send(json).await.status, 400);
}

#[tokio::test]
async fn a_session_keeps_what_the_browser_calls_itself_within_bounds() {
    use shared::limits::USER_AGENT_LEN;
    let server = server().await;
    let alice = server.app.known.directory().find_username("alice@example.test").await.unwrap();
    let alice = alice.unwrap().user_id;
    let long = "Ä".repeat(USER_AGENT_LEN);
    let cut = "Ä".repeat(USER_AGENT_LEN / 2);
    for (sent, kept) in [
        (b"".as_slice(), None),
        (b"Mozilla/5.0", Some("Mozilla/5.0")),
        (b"a\tb", Some("ab")),
        (long.as_bytes(), Some(cut.as_str())),
        (b"\xff\xfe", Some("\u{FFFD}\u{FFFD}")),
        (&[0xff; 2 * USER_AGENT_LEN], Some(&"\u{FFFD}".repeat(USER_AGENT_LEN / 3))),
    ] {
        server.sign_in_as(sent).await;
        let sessions = server.app.store.find_user_sessions(&alice, now()).await.unwrap();
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions[0].record.user_agent.as_deref(), kept);
        server.app.store.take_session(&sessions[0].digest()).await.unwrap();
    }
}
