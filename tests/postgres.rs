//! A directory in PostgreSQL, which two origins share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use stack::{Front, Origin, OriginSettings, Postgres, Redis};

use crate::browser::Browser;
use crate::command_line::cadence;
use crate::http::Request;
use crate::oauth::{
    ALICE, ALICES_PASSWORD, LATER_THAN_THE_GRACE, SPA, Tokens, WEB, grant_is_dead, is_alive,
    jwt_part, own_tokens,
};
use crate::outage::{answered_at_last, is_unavailable};
use crate::server::{EDGE_SECRET, Server, now, until, until_within};
use crate::wire::{self, Connection};

/// Encrypts the signing keys: both origins must have the same.
const SECRET: &str = "a-server-secret-of-the-suite-0123456789";

/// An edge, two origins that take turns behind it, one Redis, one PostgreSQL.
struct Shared {
    server: Server,
    second: Origin,
    postgres: Postgres,
}

impl Shared {
    fn start(postgres: Postgres) -> Self {
        let turns = Turns::begin();
        let common = |settings: &mut OriginSettings| {
            settings.set("CADENCE_DATABASE_URL", &postgres.url());
            settings.set("CADENCE_SECRET", SECRET);
            settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
            settings.set("CADENCE_CORS_ORIGINS", "https://settings.example");
            turns.lead_to(settings.port());
        };
        let server =
            Server::start_tuned(common, |edge| edge.set("CADENCE_ORIGIN_URL", &turns.url()));
        let artifacts = stack::artifacts();
        let mut settings = OriginSettings::new(&artifacts.cadence, &server.url, stack::free_port());
        settings.set("CADENCE_REDIS_URL", &server.redis.as_ref().unwrap().url());
        common(&mut settings);
        let second = Origin::start(settings);
        Self { server, second, postgres }
    }

    /// The edge, and each origin called directly.
    fn doors(&self) -> [String; 3] {
        [self.server.url.clone(), self.server.origin.url(), self.second.url()]
    }
}

/// Hands each connection to the next of several ports: the load balancer before the origins.
struct Turns {
    port: u16,
    ports: Arc<Mutex<Vec<u16>>>,
}

impl Turns {
    fn begin() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ports = Arc::new(Mutex::new(Vec::new()));
        let known = ports.clone();
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                let known = known.lock().unwrap().clone();
                let Ok(client) = client else { continue };
                if known.is_empty() {
                    continue;
                }
                let port = known[number % known.len()];
                if let Ok(origin) = TcpStream::connect(("127.0.0.1", port)) {
                    join(client, origin);
                }
            }
        });
        Self { port, ports }
    }

    fn lead_to(&self, port: u16) {
        self.ports.lock().unwrap().push(port);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Carries bytes both ways until either side ends.
fn join(client: TcpStream, origin: TcpStream) {
    let (up, down) = ((client.try_clone(), origin.try_clone()), (origin, client));
    let (Ok(from), Ok(to)) = up else { return };
    for (mut from, mut to) in [(from, to), down] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}

fn at(door: &str, path: &str) -> Request {
    Request::new("GET", format!("{door}{path}"))
}

fn kid(token: &str) -> String {
    jwt_part(token, 0)["kid"].as_str().unwrap().to_owned()
}

fn kids(door: &str) -> Vec<String> {
    let set = at(door, "/oauth2/jwks").send().expect(200).json();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Refreshes at a door of one's choice; the tokens that were are replaced.
fn refresh_at(door: &str, tokens: &mut Tokens) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    let request = || Request::new("POST", format!("{door}/oauth2/token"));
    *tokens = Tokens::of(&answered_at_last(|| WEB.sign(request(), &form).send()));
}

#[test]
fn the_flows_work_over_two_origins_that_share_a_directory() {
    let shared = Shared::start(Postgres::start());
    let server = &shared.server;
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(server, "openid email");
    let next = Tokens::of(&WEB.refresh(server, &tokens.refresh));
    for door in shared.doors() {
        let told = at(&door, "/oauth2/userinfo").bearer(&next.access).send().expect(200).json();
        assert_eq!(told["email"], ALICE);
    }
    assert_eq!(WEB.introspect(server, &next.access).expect(200).json()["active"], true);
    WEB.revoke(server, &next.refresh).expect(200);
    grant_is_dead(server, &WEB, &next);

    // A consent is asked for once, whichever origin was told.
    for _ in 0..4 {
        let answer = server.alice().authorize(&WEB.authorization("openid email").query());
        assert!(answer.redirects_to(WEB.redirect_uri).contains_key("code"));
    }
    // A client and a user that one origin's command line has registered are known to both.
    let app = server.new_client("newcomer");
    let name = server.new_user("newcomer");
    for door in shared.doors() {
        let url = format!("{door}/oauth2/authorize?{}", app.authorization("openid").query());
        assert_eq!(Request::new("GET", url).send().status, 303);
    }
    let mut own = Vec::new();
    for _ in 0..4 {
        own.push(Tokens::of(&own_tokens(server, &name, "a-passphrase-for-tests")));
    }
    server.cadence(&["user", "disable", &name]);
    until("both origins have noticed", || {
        shared.doors().iter().all(|door| {
            let answer = at(door, "/oauth2/userinfo").bearer(&own[0].access).send();
            answer.status == 401
        })
    });
    own_tokens(server, &name, "a-passphrase-for-tests").refused(400, "invalid_grant");
    let public = SPA.tokens(server, "openid");
    is_alive(server, &public.access);
}

/// JW23: a rotation at one origin; the other publishes the key within its five seconds, both begin to
/// sign with it in the same second, and nobody is told no from beginning to end.
#[test]
fn a_key_rotation_at_one_origin_disturbs_nobody() {
    let shared = Shared::start(Postgres::start());
    let server = &shared.server;
    let _log = server.log_on_failure();
    let [edge, first, second] = shared.doors();
    let mut grants = [WEB.tokens(server, "openid"), WEB.tokens(server, "openid")];
    let before = kids(&first);
    let old = kid(&grants[0].access);
    assert_eq!(kids(&second), before, "they begin with the same keys");

    server.cadence(&["key", "rotate", "--alg", "ES256", "--signs-in", "20"]);
    let rotated_at = Instant::now();
    let rows = server.cadence(&["key", "list", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let is_new = |row: &&serde_json::Value| !before.iter().any(|kid| row["kid"] == **kid);
    let new = rows.as_array().unwrap().iter().find(is_new).unwrap();
    let (new, signs_at) = (new["kid"].as_str().unwrap(), new["signs_at"].as_u64().unwrap());

    // When each door was asked last in vain: a machine that is busy makes that no later.
    let (mut published, mut asked_in_vain) = (BTreeSet::new(), BTreeMap::new());
    let mut signed = Vec::new();
    while now() < signs_at + 4 {
        for (door, tokens) in [&first, &second].into_iter().zip(&mut grants) {
            let asked = rotated_at.elapsed();
            if kids(door).iter().any(|kid| kid == new) {
                published.insert(door);
            } else {
                asked_in_vain.insert(door, asked);
            }
            refresh_at(door, tokens);
            let issued_at = jwt_part(&tokens.access, 1)["iat"].as_u64().unwrap();
            signed.push((door.clone(), issued_at, kid(&tokens.access)));
            for other in [&edge, &first, &second] {
                let userinfo = || at(other, "/oauth2/userinfo").bearer(&tokens.access).send();
                answered_at_last(userinfo).expect(200);
            }
        }
        thread::sleep(Duration::from_millis(300));
    }
    for door in [&first, &second] {
        let in_vain = asked_in_vain.get(door).copied().unwrap_or_default();
        let is_in_time = published.contains(door) && in_vain < Duration::from_secs(8);
        assert!(is_in_time, "{door}: {published:?}, in vain {asked_in_vain:?}");
        let of_door = || signed.iter().filter(|(signer, ..)| signer == door);
        assert!(of_door().any(|(.., kid)| *kid == old) && of_door().any(|(.., kid)| kid == new));
    }
    for (door, issued_at, kid) in signed {
        let expected = if issued_at < signs_at { &old } else { new };
        assert_eq!(kid, *expected, "{door} at {issued_at}; the new one signs from {signs_at}");
    }
}

#[track_caller]
/// What everybody may see while PostgreSQL is away: 503, or still the truth.
fn nobody_is_told_no(shared: &Shared, tokens: &Tokens, cookie: &str) {
    let server = &shared.server;
    let began = Instant::now();
    is_unavailable(&WEB.refresh(server, &tokens.refresh));
    is_unavailable(&WEB.introspect(server, &tokens.access));
    is_unavailable(&server.get("/oauth2/userinfo").bearer(&tokens.access).send());
    is_unavailable(&own_tokens(server, ALICE, ALICES_PASSWORD));
    let url = format!("/oauth2/authorize?{}", WEB.authorization("openid").query());
    let answer = server.get(&url).header("cookie", cookie).send();
    if answer.is_html() {
        answer.is_page(503);
    } else {
        let told = answer.redirects_to(WEB.redirect_uri);
        assert_eq!(told["error"], "temporarily_unavailable");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    for door in shared.doors() {
        at(&door, "/.well-known/openid-configuration").send().expect(200);
        at(&door, "/oauth2/jwks").send().expect(200);
        at(&door, "/healthz").send().expect(200);
        at(&door, "/readyz").send().expect(503);
    }
    WEB.refresh(server, "x").refused(400, "invalid_grant");
}

/// F1 of the directory: PostgreSQL is killed under load, hangs, and comes back.
#[test]
fn without_postgres_nobody_is_told_no() {
    let mut shared = Shared::start(Postgres::start_durable());
    let tokens = WEB.tokens(&shared.server, "openid");
    let cookie = shared.server.alice().cookies()[0].clone();
    let cookie = format!("{}={}", cookie.0, cookie.1);
    let load = Load::begin(&shared.server.url, &tokens.access);

    for fault in ["killed", "frozen"] {
        let frozen = (fault == "frozen").then(|| shared.postgres.freeze());
        if frozen.is_none() {
            shared.postgres.kill();
        }
        // What was remembered for two seconds is forgotten, and whoever asks notices it.
        thread::sleep(Duration::from_millis(2_500));
        until_within("no origin remembers the user", Duration::from_secs(2), || {
            let userinfo = |door| at(door, "/oauth2/userinfo").bearer(&tokens.access).send();
            shared.doors().iter().all(|door| userinfo(door).status == 503)
        });
        {
            let _log = shared.server.log_on_failure();
            nobody_is_told_no(&shared, &tokens, &cookie);
        }
        drop(frozen);
        if fault == "killed" {
            shared.postgres.restart();
        }
        let returned_at = Instant::now();
        let _log = shared.server.log_on_failure();
        until("both origins are ready again", || {
            let ready = |door: &String| at(door, "/readyz").send().status == 200;
            shared.doors().iter().all(ready)
        });
        is_alive(&shared.server, &tokens.access);
        println!("{fault}: ready {:?} after its return", returned_at.elapsed());
        assert!(returned_at.elapsed() < Duration::from_secs(10), "{:?}", returned_at.elapsed());
    }
    let (good, unavailable) = load.end();
    assert!(good > 0 && unavailable > 0, "{good} {unavailable}");
    // What the clients had is still good: nothing was decided against them.
    let next = Tokens::of(&WEB.refresh(&shared.server, &tokens.refresh));
    is_alive(&shared.server, &next.access);
    Browser::new(&shared.server).sign_in(
        &WEB.authorization("openid").query(),
        ALICE,
        ALICES_PASSWORD,
    );
}

/// Somebody who asks all the time, and never hears anything but yes or "later".
struct Load {
    ends: Arc<AtomicBool>,
    counts: Arc<[AtomicUsize; 2]>,
    asks: thread::JoinHandle<()>,
}

impl Load {
    fn begin(url: &str, access_token: &str) -> Self {
        let (url, access_token) = (url.to_owned(), access_token.to_owned());
        let ends = Arc::new(AtomicBool::new(false));
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (end, count) = (ends.clone(), counts.clone());
        let asks = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let answer = at(&url, "/oauth2/userinfo").bearer(&access_token).send();
                match answer.status {
                    200 => count[0].fetch_add(1, Ordering::Relaxed),
                    503 => count[1].fetch_add(1, Ordering::Relaxed),
                    _ => panic!("{answer:?}"),
                };
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { ends, counts, asks }
    }

    fn end(self) -> (usize, usize) {
        self.ends.store(true, Ordering::Relaxed);
        self.asks.join().unwrap();
        (self.counts[0].load(Ordering::Relaxed), self.counts[1].load(Ordering::Relaxed))
    }
}

/// Runs `cadence` on a database.
fn on(postgres: &Postgres, more: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let url = postgres.url();
    let settings =
        [&[("CADENCE_DATABASE_URL", url.as_str()), ("CADENCE_SECRET", SECRET)][..], more].concat();
    cadence(folder.path(), &settings, arguments)
}

#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} are not in {told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn migrations_are_checked_run_and_refused() {
    let postgres = Postgres::start();
    let redis = ("CADENCE_REDIS_URL", "redis://127.0.0.1:1");
    let never = ("CADENCE_MIGRATE", "false");
    let check = on(&postgres, &[redis], &["migrate", "--check"]);
    refused(&check, &["pending"]);
    assert!(String::from_utf8_lossy(&check.stdout).contains("1:directory"), "{check:?}");
    refused(&on(&postgres, &[redis, never], &["serve"]), &["cadence migrate"]);
    refused(&on(&postgres, &[redis, never], &["user", "list"]), &["cadence migrate"]);
    assert_eq!(postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");

    assert!(told(&on(&postgres, &[redis], &["migrate"])).contains("migrated"));
    assert!(told(&on(&postgres, &[redis], &["migrate"])).contains("unchanged"));
    assert!(told(&on(&postgres, &[redis], &["migrate", "--check"])).contains("unchanged"));
    told(&on(&postgres, &[never], &["user", "list"]));
    // Without Redis, the embedded store has a schema, too.
    let both = on(&postgres, &[], &["migrate", "--check"]);
    refused(&both, &["pending"]);
    let shown = String::from_utf8_lossy(&both.stdout);
    assert!(
        shown.contains("directory  unchanged") && shown.contains("store      pending"),
        "{shown}"
    );

    let _ = postgres.sql(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'of a newer program', true, '', 0)",
    );
    for arguments in [&["serve"][..], &["migrate"], &["migrate", "--check"], &["user", "list"]] {
        refused(&on(&postgres, &[redis], arguments), &["version 99", "newer program"]);
    }
}

#[test]
fn the_command_line_works_on_postgres_and_its_secrets_stay_secret() {
    let postgres = Postgres::start();
    let demo = stack::root().join("examples/demo.toml").display().to_string();
    assert!(told(&on(&postgres, &[], &["apply", "-f", &demo])).contains("created"));
    assert!(!told(&on(&postgres, &[], &["apply", "-f", &demo])).contains("created"));
    let create = ["client", "create", "app", "--redirect-uri", "https://a.example/cb"];
    let secret = told(&on(&postgres, &[], &[&create[..], &["--format", "json"]].concat()));
    let secret: serde_json::Value = serde_json::from_str(&secret).unwrap();
    let secret = secret["client_secret"].as_str().unwrap();
    refused(&on(&postgres, &[], &create), &["exists"]);
    told(&on(&postgres, &[], &["client", "disable", "app"]));
    told(&on(&postgres, &[], &["user", "create", "ann", "--name", "Änn \u{1F600}"]));
    assert!(told(&on(&postgres, &[], &["user", "list"])).contains("Änn \u{1F600}"));
    refused(&on(&postgres, &[], &["user", "create", "ANN"]), &["exists"]);
    assert_eq!(told(&on(&postgres, &[], &["key", "rotate"])).lines().count(), 4);

    // Keys at rest can be read by nobody without the secret, and secrets and passwords by nobody.
    let dump = postgres.dump();
    for secret in [secret, "demo-web-secret", ALICES_PASSWORD, SECRET, postgres.password()] {
        assert!(!dump.contains(secret), "{secret} is in the dump");
    }
    let der = postgres.sql("SELECT count(*) FROM keys WHERE get_byte(sealed_pkcs8, 0) = 48");
    assert_eq!(der, "0", "a key in clear begins with an ASN.1 sequence");
    let other = ("CADENCE_SECRET", "another-server-secret-0123456789");
    let folder = tempfile::tempdir().unwrap();
    let url = postgres.url();
    let database = ("CADENCE_DATABASE_URL", url.as_str());
    let ports = ("CADENCE_LISTEN", "127.0.0.1:1");
    refused(&cadence(folder.path(), &[database, other, ports], &["serve"]), &["decrypted"]);
    refused(&cadence(folder.path(), &[database, ports], &["serve"]), &["secret"]);

    // The password also comes from a file, and is never repeated.
    let file = folder.path().join("url");
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let file = ("CADENCE_DATABASE_URL_FILE", file.to_str().unwrap());
    told(&cadence(folder.path(), &[file], &["user", "list"]));
    let wrong = url.replace(postgres.password(), "a-wrong-password-0123");
    let log = ("CADENCE_LOG", "trace");
    for url in [wrong.as_str(), "postgres://u:a-wrong-password-0123@127.0.0.1:1/x"] {
        let output =
            cadence(folder.path(), &[("CADENCE_DATABASE_URL", url), log, ports], &["serve"]);
        refused(&output, &["directory"]);
        assert!(!format!("{output:?}").contains("a-wrong-password"), "{output:?}");
    }
    let typed = ("CADENCE_DATABASE_URL", "postgres://u:p@h/x?sslmod=disable");
    refused(&cadence(folder.path(), &[typed], &["user", "list"]), &["sslmode"]);
}

/// Runs `apply` eight times at once on an empty directory; returns the secrets that were shown.
fn apply_at_once(settings: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.toml");
    let text = "[[clients]]\nclient_id = \"made\"\nclient_name = \"Made\"\n\
                token_endpoint_auth_method = \"client_secret_basic\"\n\
                grant_types = [\"authorization_code\"]\n\
                redirect_uris = [\"https://made.example/cb\"]\nscope = \"openid\"\n\
                [[users]]\nusername = \"ann\"\npassword = \"a-passphrase-for-tests\"\n";
    std::fs::write(&file, text).unwrap();
    let arguments = ["apply", "-f", file.to_str().unwrap(), "--format", "json"];
    let outputs: Vec<Output> = thread::scope(|scope| {
        let run = || scope.spawn(|| cadence(folder.path(), settings, &arguments));
        let running: Vec<_> = (0..8).map(|_| run()).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let secret = |output: &Output| {
        let rows: serde_json::Value = serde_json::from_str(&told(output)).unwrap();
        rows[0]["client_secret"].as_str().map(str::to_owned)
    };
    outputs.iter().filter_map(secret).collect()
}

/// A secret that is shown is the one that is good, also when several apply one file at once.
#[test]
fn of_many_that_apply_one_file_at_once_one_is_shown_the_secret() {
    let postgres = Postgres::start();
    let url = postgres.url();
    for settings in [&[("CADENCE_DATABASE_URL", url.as_str())][..], &[]] {
        let shown = apply_at_once(settings);
        assert_eq!(shown.len(), 1, "{shown:?}");
    }
    assert_eq!(postgres.sql("SELECT count(*) FROM users"), "1");
}

/// I3: whoever hangs up while the directory keeps a refresh waiting, and whoever is told to ask again,
/// finds the same refresh token good, however late.
#[test]
fn who_hangs_up_before_the_answer_keeps_the_session() {
    let (postgres, redis) = (Postgres::start(), Redis::start(stack::artifacts()));
    let server = Server::start_on(&redis.url(), Front::Direct, |origin| {
        origin.set("CADENCE_DATABASE_URL", &postgres.url());
        origin.set("CADENCE_SECRET", SECRET);
    });
    let _log = server.log_on_failure();
    let tokens = WEB.tokens(&server, "openid");
    hang_up(&server, &postgres, &tokens.refresh);
    thread::sleep(LATER_THAN_THE_GRACE);
    let next = Tokens::of(&WEB.refresh(&server, &tokens.refresh));
    is_alive(&server, &next.access);
    WEB.refresh(&server, &next.refresh).expect(200);

    // RT04: whoever was told the successor, and hangs up on a repetition, gains nothing by it.
    let stolen = WEB.tokens(&server, "openid");
    let told = Tokens::of(&WEB.refresh(&server, &stolen.refresh));
    for _ in 0..3 {
        hang_up(&server, &postgres, &stolen.refresh);
    }
    thread::sleep(LATER_THAN_THE_GRACE);
    WEB.refresh(&server, &stolen.refresh).refused(400, "invalid_grant");
    grant_is_dead(&server, &WEB, &told);
}

/// Refreshes, and hangs up while the directory keeps the request waiting.
fn hang_up(server: &Server, postgres: &Postgres, token: &str) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let request = WEB.sign(server.post("/oauth2/token"), &form);
    // The client is remembered; what the user has consented to is not.
    WEB.revoke(server, "x").expect(200);
    let frozen = postgres.freeze();
    let mut connection = Connection::open(&server.url);
    connection.write(&wire::bytes(&request));
    thread::sleep(Duration::from_millis(300));
    drop(connection);
    thread::sleep(Duration::from_millis(300));
    drop(frozen);
}
