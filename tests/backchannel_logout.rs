//! OpenID Connect Back-Channel Logout 1.0, the server as provider: a recipient of the suite's own
//! listens, and what arrives is verified by the crate `jsonwebtoken`.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::drain::{DRAINED_IN, ENDED_IN};
use crate::http::parse_query;
use crate::oauth::{ALICE, ALICES_PASSWORD, App, Tokens, WEB, jwt_part};
use crate::server::{Server, in_time, now, unique, until};

/// What a recipient does with one request.
#[derive(Clone, Debug)]
enum Reaction {
    /// Answers with this status line and these headers.
    Answer(String),
    /// Takes the request and says nothing.
    Silence,
}

fn status(status: &str) -> Reaction {
    Reaction::Answer(status.to_owned())
}

/// One request that has arrived.
#[derive(Clone, Debug)]
struct Arrived {
    line: String,
    head: String,
    body: String,
}

impl Arrived {
    fn token(&self) -> String {
        assert_eq!(self.line, "POST /told?x=1 HTTP/1.1");
        let head = self.head.to_lowercase();
        assert!(head.contains("content-type: application/x-www-form-urlencoded\r\n"), "{head}");
        let form = parse_query(&self.body);
        assert_eq!(form.keys().collect::<Vec<_>>(), ["logout_token"], "{form:?}");
        form["logout_token"].clone()
    }

    fn claim(&self, name: &str) -> Value {
        jwt_part(&self.token(), 1)[name].clone()
    }
}

#[derive(Debug, Default)]
struct Memory {
    arrived: Vec<Arrived>,
    reactions: VecDeque<Reaction>,
}

/// A client's endpoint for logout tokens. Without a script it answers 200.
struct Recipient {
    port: u16,
    memory: Arc<Mutex<Memory>>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Recipient {
    /// Listens, and reacts to the first requests as the script says.
    fn new(script: impl IntoIterator<Item = Reaction>) -> Self {
        let mut recipient = Self::absent();
        recipient.memory.lock().unwrap().reactions.extend(script);
        recipient.appear();
        recipient
    }

    /// Has a port, at which nobody listens yet.
    fn absent() -> Self {
        Self { port: stack::free_port(), memory: Arc::default(), listening: None }
    }

    fn appear(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        let (end, memory) = (Arc::new(AtomicBool::new(false)), self.memory.clone());
        let ends = end.clone();
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                silent.extend(react(stream.unwrap(), &memory));
            }
        });
        self.listening = Some((end, thread));
    }

    fn uri(&self) -> String {
        format!("http://127.0.0.1:{}/told?x=1", self.port)
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.memory.lock().unwrap().arrived.clone()
    }

    /// Waits for so many requests, and returns them.
    #[track_caller]
    fn wait(&self, count: usize) -> Vec<Arrived> {
        until("a logout token", || self.arrived().len() >= count);
        let arrived = self.arrived();
        assert_eq!(arrived.len(), count, "{arrived:?}");
        arrived
    }

    /// Waits long enough for a further request, and asserts that none comes.
    #[track_caller]
    fn hears_no_more_than(&self, count: usize) {
        std::thread::sleep(Duration::from_secs(3));
        let arrived = self.arrived();
        assert_eq!(arrived.len(), count, "{arrived:?}");
    }
}

impl Drop for Recipient {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.listening.take() {
            end.store(true, Ordering::Relaxed);
            // Wakes the thread up.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            let _ = thread.join();
        }
    }
}

/// Reads one request and reacts to it; returns the connection if it stays open.
fn react(stream: TcpStream, memory: &Mutex<Memory>) -> Option<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = BufReader::new(&stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        // Nobody else connects but who ends this thread, and says nothing.
        if reader.read_line(&mut head).unwrap() == 0 {
            return None;
        }
    }
    let length = head.to_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let reaction = {
        let mut memory = memory.lock().unwrap();
        let (line, rest) = head.split_once("\r\n").unwrap();
        let body = String::from_utf8(body).unwrap();
        memory.arrived.push(Arrived { line: line.to_owned(), head: rest.to_owned(), body });
        memory.reactions.pop_front().unwrap_or_else(|| status("200 OK"))
    };
    match reaction {
        Reaction::Answer(answer) => {
            let text = format!(
                "HTTP/1.1 {answer}\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            (&stream).write_all(text.as_bytes()).unwrap();
            None
        }
        Reaction::Silence => Some(stream),
    }
}

/// Registers a client that wants to be told at `recipient`, and waits until it is known.
fn told_client(server: &Server, recipient: &Recipient, more: &str) -> App {
    let id: &'static str = unique("told").split('@').next().unwrap().to_owned().leak();
    let app = App {
        id,
        secret: Some("secret-of-a-told-client-0123456789"),
        redirect_uri: "https://told.example/cb",
    };
    server.apply(&format!(
        "[[clients]]\nclient_id = \"{id}\"\nclient_name = \"{id}\"\n\
         client_secret = \"secret-of-a-told-client-0123456789\"\n\
         token_endpoint_auth_method = \"client_secret_basic\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n\
         redirect_uris = [\"https://told.example/cb\"]\n\
         scope = \"openid profile email offline_access\"\nfirst_party = true\n\
         backchannel_logout_uri = \"{}\"\nbackchannel_logout_session_required = true\n{more}",
        recipient.uri()
    ));
    server.wait_known(&app);
    app
}

/// Signs the browser's user in to a client.
#[track_caller]
fn enter(browser: &mut Browser<'_>, server: &Server, app: &App, scope: &str) -> Tokens {
    let query = app.authorization(scope).query();
    let answer = browser.sign_in(&query, ALICE, ALICES_PASSWORD);
    let code = answer.redirects_to(app.redirect_uri)["code"].clone();
    Tokens::of(&app.redeem(server, &code))
}

#[track_caller]
fn log_out(browser: &mut Browser<'_>, tokens: &Tokens) {
    browser.open(&format!("/oauth2/logout?id_token_hint={}", tokens.id)).expect(200);
}

/// Verifies a token as a client would, with the published keys.
#[track_caller]
fn verify(server: &Server, token: &str, algorithm: Algorithm, client_id: &str) -> Value {
    let jwks = server.get("/oauth2/jwks").send().expect(200).body;
    let jwks: JwkSet = serde_json::from_str(&jwks).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!((header.typ.as_deref(), header.alg), (Some("logout+jwt"), algorithm));
    let key = DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[client_id]);
    validation.set_issuer(&[&server.url]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
}

#[track_caller]
fn count_of(server: &Server, outcome: &str) -> u64 {
    let metrics = server.origin.metrics();
    let name = format!("cadence_backchannel_logout_total{{outcome=\"{outcome}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    count.unwrap_or(0)
}

/// Counts how often the origin could not ask its store for notices; it pauses for five seconds then.
fn pauses(server: &Server) -> usize {
    server.origin.log().matches("clients cannot be told of logouts").count()
}

scenarios! { everywhere:
    /// §2.4, §2.5: whoever was signed in to under the session is told, in a token of its own.
    fn a_logout_is_told_to_the_clients_of_the_session(server) {
        let (recipient, stranger) = (Recipient::new([]), Recipient::new([]));
        let app = told_client(server, &recipient, "");
        let rsa = "id_token_signed_response_alg = \"RS256\"\n";
        let other_recipient = Recipient::new([status("204 No Content")]);
        let other = told_client(server, &other_recipient, rsa);
        told_client(server, &stranger, "");
        let mut browser = Browser::new(server);
        let tokens = enter(&mut browser, server, &app, "openid offline_access");
        let others = enter(&mut browser, server, &other, "openid");
        // A client that has not said where is not told, and nobody minds.
        enter(&mut browser, server, &WEB, "openid");
        let id = jwt_part(&tokens.id, 1);
        assert_eq!(id["sid"], jwt_part(&others.id, 1)["sid"], "one session has one name");
        assert!(id["sid"].as_str().is_some_and(|sid| sid.len() == 22), "{id}");
        log_out(&mut browser, &tokens);

        let token = recipient.wait(1)[0].token();
        let claims = verify(server, &token, Algorithm::ES256, app.id);
        let (iat, jti) = (claims["iat"].as_u64().unwrap(), claims["jti"].as_str().unwrap());
        assert!(iat.abs_diff(now()) <= 5 && jti.len() == 22, "{claims}");
        let expected = json!({
            "iss": server.url,
            "sub": id["sub"],
            "aud": app.id,
            "iat": iat,
            "exp": iat + 120,
            "jti": jti,
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
            "sid": id["sid"],
        });
        assert_eq!(claims, expected, "and nothing else, a nonce least of all");
        let token = other_recipient.wait(1)[0].token();
        let claims = verify(server, &token, Algorithm::RS256, other.id);
        assert_eq!((&claims["sub"], &claims["sid"]), (&id["sub"], &id["sid"]));
        assert_ne!(claims["jti"], jti);

        recipient.hears_no_more_than(1);
        assert_eq!((other_recipient.arrived().len(), stranger.arrived().len()), (1, 0));
        // Whom the user has let stay, stays, but knows.
        Tokens::of(&app.refresh(server, &tokens.refresh));
        // Nor is it a token of any other kind.
        server.get("/oauth2/userinfo").bearer(&token).send().refused(401, "invalid_token");
        browser.open(&format!("/oauth2/logout?id_token_hint={token}")).is_page(400);
    }

    /// §2.8: until the client has taken it, it is told again, each time with another token.
    fn a_client_that_is_away_is_told_again(server) {
        let moved = "302 Found\r\nLocation: https://told.example/";
        let script = [status("503 Service Unavailable"), status(moved), status("200 OK")];
        let (recipient, app, tokens, arrived) = in_time("it is told again", || {
            let recipient = Recipient::new(script.clone());
            let app = told_client(server, &recipient, "");
            let (mut browser, tokens) = signed_in(server, &app);
            let before = pauses(server);
            log_out(&mut browser, &tokens);
            let arrived = recipient.wait(3);
            let at = |arrived: &Arrived| arrived.claim("iat").as_u64().unwrap();
            let waited = at(&arrived[2]) - at(&arrived[0]);
            let is_right = (3..=10).contains(&waited);
            let has_paused = pauses(server) > before;
            assert!(is_right || has_paused, "1 s, then 2 s, and not {waited} s together");
            is_right.then_some((recipient, app, tokens, arrived))
        });
        let mut jtis: Vec<String> =
            arrived.iter().map(|it| it.claim("jti").as_str().unwrap().to_owned()).collect();
        jtis.sort();
        jtis.dedup();
        assert_eq!(jtis.len(), 3, "{arrived:?}");
        for arrived in &arrived {
            verify(server, &arrived.token(), Algorithm::ES256, app.id);
            assert_eq!(arrived.claim("sid"), jwt_part(&tokens.id, 1)["sid"]);
        }
        recipient.hears_no_more_than(3);
    }
}

fn signed_in<'s>(server: &'s Server, app: &App) -> (Browser<'s>, Tokens) {
    let mut browser = Browser::new(server);
    let tokens = enter(&mut browser, server, app, "openid");
    (browser, tokens)
}

scenarios! { doors:
    /// A redirect leads nowhere: whoever answers at the registered URI must be the client.
    fn redirects_are_not_followed(server) {
        let elsewhere = Recipient::new([]);
        let moved = |code: &str| status(&format!("{code}\r\nLocation: {}", elsewhere.uri()));
        let recipient = Recipient::new([moved("307 Temporary Redirect"), moved("303 See Other")]);
        let app = told_client(server, &recipient, "");
        let (mut browser, tokens) = signed_in(server, &app);
        log_out(&mut browser, &tokens);
        recipient.wait(3);
        assert_eq!(elsewhere.arrived().len(), 0);
    }

    /// §2.8: the client says that it cannot use the token, so it will not use the next one either.
    fn a_client_that_refuses_is_not_told_again(server) {
        let recipient = Recipient::new([status("400 Bad Request")]);
        let app = told_client(server, &recipient, "");
        let (mut browser, tokens) = signed_in(server, &app);
        let refused = count_of(server, "refused");
        log_out(&mut browser, &tokens);
        recipient.wait(1);
        recipient.hears_no_more_than(1);
        assert!(count_of(server, "refused") > refused);
        let log = server.origin.log();
        let warning = log.lines().find(|line| line.contains("is invalid") && line.contains(app.id));
        assert!(warning.is_some_and(|line| line.contains("WARN")), "{warning:?}");
    }

    /// One client that says nothing holds up neither logins nor other clients.
    fn a_client_that_is_silent_holds_nobody_up(server) {
        let silent = in_time("one is told while another is silent", || {
            let silent = Recipient::new([Reaction::Silence]);
            let prompt = Recipient::new([]);
            let (one, other) = (told_client(server, &silent, ""), told_client(server, &prompt, ""));
            let mut browser = Browser::new(server);
            enter(&mut browser, server, &one, "openid");
            let tokens = enter(&mut browser, server, &other, "openid");
            let (before, began) = (pauses(server), stack::Stopwatch::start());
            log_out(&mut browser, &tokens);
            prompt.wait(1);
            let took = began.elapsed();
            let is_soon = took < Duration::from_secs(4);
            assert!(is_soon || pauses(server) > before, "{took:?}");
            is_soon.then_some(silent)
        });
        // After its 5 seconds, and the first pause.
        silent.wait(2);
    }

    /// A login of the same user in the same browser goes on with the session's clients; each knows
    /// the session by the name that it was told.
    fn a_session_that_goes_on_is_told_by_its_first_name(server) {
        let recipient = Recipient::new([]);
        let app = told_client(server, &recipient, "");
        let (mut browser, first) = signed_in(server, &app);
        let again = app.authorization("openid").with("prompt", "login").query();
        let page = browser.authorize(&again).expect(200);
        let answer = browser.log_in(&page, ALICE, ALICES_PASSWORD);
        let code = answer.redirects_to(app.redirect_uri)["code"].clone();
        let second = Tokens::of(&app.redeem(server, &code));
        let sids = [&first, &second].map(|tokens| jwt_part(&tokens.id, 1)["sid"].clone());
        assert_ne!(sids[0], sids[1]);
        recipient.hears_no_more_than(0);
        log_out(&mut browser, &second);
        let arrived = recipient.wait(2);
        let told: Vec<Value> = arrived.iter().map(|it| it.claim("sid")).collect();
        assert!(sids.iter().all(|sid| told.contains(sid)), "{sids:?} {told:?}");
    }

    /// Another user's login in the same browser ends the session of the one before.
    fn another_user_ends_the_session_and_its_clients_hear_of_it(server) {
        let recipient = Recipient::new([]);
        let app = told_client(server, &recipient, "");
        let (mut browser, tokens) = signed_in(server, &app);
        let bob = server.new_user("bob");
        let again = app.authorization("openid").with("prompt", "login").query();
        let page = browser.authorize(&again).expect(200);
        browser.log_in(&page, &bob, "a-passphrase-for-tests").redirects_to(app.redirect_uri);
        let arrived = recipient.wait(1);
        let id = jwt_part(&tokens.id, 1);
        assert_eq!((arrived[0].claim("sub"), arrived[0].claim("sid")), (id["sub"].clone(), id["sid"].clone()));
    }
}

/// Logs out while the client is away, kills the origin, and starts it again.
fn outlives_a_kill(mut server: Server) {
    let mut recipient = Recipient::absent();
    let app = told_client(&server, &recipient, "");
    let tokens = {
        let (mut browser, tokens) = signed_in(&server, &app);
        log_out(&mut browser, &tokens);
        tokens
    };
    until("an attempt", || count_of(&server, "failed") >= 1);
    server.origin.kill();
    recipient.appear();
    recipient.hears_no_more_than(0);
    server.origin.restart();
    let arrived = recipient.wait(1);
    assert_eq!(arrived[0].claim("sid"), jwt_part(&tokens.id, 1)["sid"]);
    verify(&server, &arrived[0].token(), Algorithm::ES256, app.id);

    // And when it dies while the client has the request and has not answered.
    let silent = Recipient::new([Reaction::Silence]);
    let app = told_client(&server, &silent, "");
    let (mut browser, tokens) = signed_in(&server, &app);
    log_out(&mut browser, &tokens);
    silent.wait(1);
    server.origin.kill();
    server.origin.restart();
    until("the lease to end", || silent.arrived().len() == 2);
    assert_eq!(silent.arrived()[1].claim("sid"), jwt_part(&tokens.id, 1)["sid"]);
    recipient.hears_no_more_than(1);
}

/// The notice lies in Redis.
#[test]
fn notices_outlive_the_origin_on_redis() {
    outlives_a_kill(Server::start_origin());
}

/// The notice lies in the data directory.
#[test]
fn notices_outlive_the_origin_on_the_embedded_store() {
    outlives_a_kill(Server::start_embedded());
}

/// Asked to end, the process finishes what it is sending, and does not wait for anything else.
#[test]
fn the_process_ends_although_a_client_is_away() {
    let server = Server::start_origin();
    let silent = Recipient::new([Reaction::Silence, Reaction::Silence]);
    let app = told_client(&server, &silent, "");
    let (mut browser, tokens) = signed_in(&server, &app);
    log_out(&mut browser, &tokens);
    silent.wait(1);
    server.origin.signal(stack::Signal::TERM);
    assert!(server.origin.ends_in() < DRAINED_IN + ENDED_IN);
}

/// A system without certificates reaches no https URI, says so, and does the rest.
#[test]
fn without_certificates_the_rest_goes_on() {
    let server = Server::start_tuned(
        |origin| {
            origin.set("SSL_CERT_FILE", "/dev/null");
            origin.set("SSL_CERT_DIR", "/nonexistent");
        },
        |_| (),
    );
    let warned = server.origin.log();
    assert!(warned.contains("no client can be told of a logout at an https URI"), "{warned}");
    let recipient = Recipient::new([]);
    let app = told_client(&server, &recipient, "");
    let (mut browser, tokens) = signed_in(&server, &app);
    log_out(&mut browser, &tokens);
    recipient.wait(1);
}

/// What cannot be called is not registered.
#[test]
fn a_logout_uri_is_checked_at_registration() {
    let server = Server::origin();
    let create = |id: &str, uri: &str| {
        let uris = ["--redirect-uri", "https://app.example/cb", "--backchannel-logout-uri", uri];
        server.try_cadence(&[&["client", "create", id][..], &uris].concat())
    };
    for bad in ["http://app.example/x", "https://app.example/x#y", "com.example.app:/x", "x"] {
        let refused = create("told-badly", bad);
        assert!(!refused.status.success(), "{bad}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("a backchannel_logout_uri is https"), "{said}");
    }
    assert!(create("told-well", "https://app.example/told?x=1").status.success());
    let shown = server.cadence(&["client", "show", "told-well"]);
    assert!(shown.contains("https://app.example/told?x=1"), "{shown}");
    let listed = server.cadence(&["client", "list"]);
    assert!(listed.contains("https://app.example/told?x=1"), "{listed}");
}

/// Discovery says so.
#[test]
fn discovery_tells_of_back_channel_logout() {
    let told = Server::edge().get("/.well-known/openid-configuration").send().expect(200).json();
    assert_eq!(told["backchannel_logout_supported"], true);
    assert_eq!(told["backchannel_logout_session_supported"], true);
    let claims = told["claims_supported"].as_array().unwrap();
    assert!(claims.contains(&json!("sid")));
}
