//! Revocations that fail between their two steps, and what is issued after the store was lost.

use super::*;
use crate::store::redis::tests::Server as RedisServer;

/// Tells whether an access token is accepted.
pub(super) async fn is_active(server: &Server, tokens: &Value) -> bool {
    server.get("/oauth2/userinfo", &[("authorization", &bearer(tokens))]).await.status == 200
}

fn bearer(tokens: &Value) -> String {
    format!("Bearer {}", text(tokens, "access_token"))
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap()
}

/// The path of the status list in which an access token has its place.
fn list_path(tokens: &Value) -> String {
    use base64::Engine as _;
    let claims = text(tokens, "access_token").split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let uri = claims["status"]["status_list"]["uri"].as_str().unwrap();
    uri.strip_prefix("https://id.example").unwrap().to_owned()
}

/// The status list in which an access token has its place.
pub(super) fn list_of(tokens: &Value) -> String {
    list_path(tokens).rsplit('/').next().unwrap().to_owned()
}

/// A server over Redis, in which somebody has signed in.
struct Half {
    redis: RedisServer,
    server: Server,
    code: String,
    tokens: Value,
    /// The cookie of the login session.
    cookies: String,
}

impl Half {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let server = server_over(redis.store().await, TempDir::new().unwrap(), "").await;
        let signed_in = server.sign_in("own").await;
        let code = code_of(&signed_in);
        let tokens = server.redeem("own", &code).await.json();
        Self { redis, server, code, tokens, cookies: signed_in.cookies() }
    }

    fn list(&self) -> String {
        list_of(&self.tokens)
    }

    /// How many tokens the world sees revoked.
    async fn revoked(&self) -> u32 {
        let key = format!("cadence:status-list:{{status}}:{}", self.list());
        let mut count = redis::cmd("BITCOUNT");
        count.arg(key).query_async(&mut self.redis.raw().await).await.unwrap()
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let headers = [("authorization", &*self.server.basic("own"))];
        self.server.post(path, &headers, form).await
    }

    async fn refresh(&self) -> Answer {
        let token = text(&self.tokens, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.form("/oauth2/token", &form).await
    }

    async fn do_what_revokes(&self, way: &str) -> Answer {
        let tokens = &self.tokens;
        match way {
            "refresh token revoked" => {
                self.form("/oauth2/revoke", &[("token", text(tokens, "refresh_token"))]).await
            }
            "access token revoked" => {
                self.form("/oauth2/revoke", &[("token", text(tokens, "access_token"))]).await
            }
            "code replayed" => self.server.redeem("own", &self.code).await,
            "refresh token reused" | "user disabled" => self.refresh().await,
            "API logout" => {
                let request = Request::delete("/api/auth/logout");
                let request = request.header("authorization", bearer(tokens));
                self.server.send(request.body(Body::empty()).unwrap()).await
            }
            _ => {
                let url =
                    with_query("/oauth2/logout", [("id_token_hint", text(tokens, "id_token"))]);
                self.server.get(&url, &[("cookie", &self.cookies)]).await
            }
        }
    }
}

/// The answer to the second try, and how many tokens are revoked then.
#[tokio::test]
async fn whoever_asks_again_completes_a_revocation_that_failed_half_way() {
    for (way, status, revoked) in [
        ("refresh token revoked", 200, 1),
        ("access token revoked", 200, 1),
        ("code replayed", 400, 1),
        ("refresh token reused", 400, 3),
        ("user disabled", 400, 2),
        ("API logout", 401, 1),
        ("logout", 200, 1),
    ] {
        let half = Half::new().await;
        if way == "refresh token reused" {
            let next = half.refresh().await.json();
            let form =
                [("grant_type", "refresh_token"), ("refresh_token", text(&next, "refresh_token"))];
            assert_eq!(half.form("/oauth2/token", &form).await.status, 200);
        }
        if way == "user disabled" {
            let directory = half.server.app.known.directory();
            let mut alice = directory.find_username("alice@example.test").await.unwrap().unwrap();
            alice.disabled_at = Some(clock::now());
            directory.put_user(&alice).await.unwrap();
            tokio::time::sleep(crate::known::BELIEVED_IN).await;
        }
        half.redis.spoil(&half.list()).await;
        let failed = half.do_what_revokes(way).await;
        assert_eq!(failed.status, 503, "{way}: {}", failed.body);
        let failed = half.do_what_revokes(way).await;
        assert_eq!(failed.status, 503, "{way}, once more: {}", failed.body);
        half.redis.mend(&half.list()).await;
        assert_eq!(half.revoked().await, 0, "{way}");
        let completed = half.do_what_revokes(way).await;
        assert_eq!(completed.status, status, "{way}: {}", completed.body);
        assert_eq!(half.revoked().await, revoked, "{way}");
        assert!(!is_active(&half.server, &half.tokens).await, "{way}");
    }
}

#[tokio::test]
async fn a_token_that_is_dead_alone_logs_nothing_out() {
    let half = Half::new().await;
    assert_eq!(half.do_what_revokes("access token revoked").await.status, 200);
    assert_eq!(half.do_what_revokes("API logout").await.status, 401);
    assert_eq!(half.refresh().await.status, 200, "the grant lives on");
    assert_eq!(half.revoked().await, 1);
}

#[tokio::test]
async fn a_login_that_could_not_end_the_session_before_it_is_tried_again() {
    let half = Half::new().await;
    let server = &half.server;
    let bob = user::register("bob@example.test", None, None, PASSWORD).unwrap();
    server.app.known.directory().put_user(&bob).await.unwrap();
    let url = with_query(&authorize_url("own"), [("prompt", "login")]);
    let log_in = async || {
        let authorize = server.get(&url, &[("cookie", &half.cookies)]).await;
        let cookies = format!("{}; {}", half.cookies, authorize.cookies());
        let location = authorize.header("location").unwrap();
        server.log_in(location, &cookies, "bob@example.test").await
    };
    half.redis.spoil(&half.list()).await;
    let failed = log_in().await;
    let location = failed.header("location").unwrap();
    assert!(location.contains("error=temporarily_unavailable"), "{location}");
    assert_eq!(failed.header("set-cookie"), None, "the browser keeps its cookie");
    half.redis.mend(&half.list()).await;
    assert_eq!(half.revoked().await, 0);
    let logged_in = log_in().await;
    assert!(logged_in.cookies().contains("__Host-cadence_session="), "{}", logged_in.cookies());
    let tokens = server.redeem("own", &code_of(&logged_in)).await.json();
    assert_eq!(half.revoked().await, 1, "what the other user began");
    assert!(!is_active(server, &half.tokens).await);
    assert!(is_active(server, &tokens).await);
}

#[tokio::test]
async fn tokens_that_are_issued_after_the_store_was_lost_are_in_lists_that_are_there() {
    let half = Half::new().await;
    let (redis, server) = (&half.redis, &half.server);
    let folder = TempDir::new().unwrap();
    let mut other = server_over(redis.store().await, folder, "").await;
    // Another process of the same issuer: with the same directory, and places of its own.
    let config = ("CADENCE_ISSUER".to_owned(), "https://id.example".to_owned());
    let config = Config::parse("", [config]).unwrap();
    let directory = Sqlite::open(&server.folder.path().join("directory.db")).await.unwrap();
    let secret = b"a secret of the tests";
    let store = redis.store().await;
    let app = App::new(&config, secret, store, Arc::new(directory), clock::now()).await.unwrap();
    other.app = Arc::new(app);
    other.secret.clone_from(&server.secret);
    other.app.statuses.take(clock::now()).await.unwrap();
    server.app.statuses.take(clock::now()).await.unwrap();

    redis.flush().await;
    assert_eq!(server.get(&list_path(&half.tokens), &[]).await.status, 404);
    // One issues the code, the other redeems it, both refresh. It notices within a second.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let code = code_of(&server.sign_in("own").await);
    let redeemed = other.redeem("own", &code).await.json();
    let is_there = async |tokens: &Value| server.get(&list_path(tokens), &[]).await.status == 200;
    assert!(is_there(&redeemed).await);
    assert!(is_active(&other, &redeemed).await);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut tokens = redeemed;
    for server in [server, &other] {
        let token = text(&tokens, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        let refreshed = server.token("own", &form).await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.body);
        tokens = refreshed.json();
        assert!(is_there(&tokens).await);
    }
}
