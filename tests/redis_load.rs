//! A load of refreshes, code flows and revocations, and what clients must find whatever happens to
//! Redis meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http::Answer;
use crate::oauth::{Tokens, WEB, grant_is_dead, is_alive};
use crate::outage::{answered_at_last, is_outage, refreshes_at_last};
use crate::server::{Server, until};

/// Clients that refresh; as many of the others each are half of them.
const REFRESHING: usize = 4;

/// What the clients of a load were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Answers that were not an outage.
    pub(crate) answered: u64,
    /// Answers 503, or `temporarily_unavailable` on the way back to the client.
    pub(crate) unavailable: u64,
    /// The longest time without an answer to some client.
    pub(crate) longest_outage: Duration,
    /// The last pair of each client that refreshes.
    refreshed: Vec<Tokens>,
    /// Pairs whose revocation was answered 200.
    revoked: Vec<Tokens>,
    /// Codes that were answered with tokens.
    redeemed: Vec<String>,
}

impl Told {
    fn and(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.unavailable += other.unavailable;
        self.longest_outage = self.longest_outage.max(other.longest_outage);
        self.refreshed.extend(other.refreshed);
        self.revoked.extend(other.revoked);
        self.redeemed.extend(other.redeemed);
        self
    }
}

/// One client, which goes on until the load ends.
struct Client<'s> {
    server: &'s Server,
    ended: &'s AtomicBool,
    told: Told,
    answered_at: Instant,
}

impl Client<'_> {
    fn goes_on(&self) -> bool {
        std::thread::sleep(Duration::from_millis(3));
        !self.ended.load(Ordering::Relaxed)
    }

    /// Notes an answer; tells whether it is none. There are no other failures than this one.
    fn is_outage(&mut self, answer: &Answer) -> bool {
        let is_outage = is_outage(answer);
        if is_outage {
            self.told.unavailable += 1;
        } else {
            self.told.answered += 1;
            let since = std::mem::replace(&mut self.answered_at, Instant::now());
            self.told.longest_outage = self.told.longest_outage.max(since.elapsed());
        }
        is_outage
    }

    /// Refreshes again and again, after an outage with the same token (I3).
    fn refresh(mut self, mut tokens: Tokens) -> Told {
        while self.goes_on() {
            let answer = WEB.refresh(self.server, &tokens.refresh);
            if !self.is_outage(&answer) {
                tokens = Tokens::of(&answer);
            }
        }
        self.told.refreshed.push(tokens);
        self.told
    }

    /// Signs in by the session of Alice, and redeems the code. One that was sent into an outage may
    /// be used up (RFC 6749 §4.1.2 knows no second time).
    fn redeem(&mut self) -> Option<(String, Tokens)> {
        let query = WEB.authorization("openid").query();
        let answer = self.server.alice().authorize(&query);
        if self.is_outage(&answer) {
            return None;
        }
        let code = answer.redirects_to(WEB.redirect_uri).remove("code").expect("there is a code");
        for sent in 0.. {
            let answer = WEB.redeem(self.server, &code);
            if self.is_outage(&answer) {
                if !self.goes_on() {
                    break;
                }
            } else if sent > 0 && answer.status == 400 {
                answer.refused(400, "invalid_grant");
                break;
            } else {
                return Some((code, Tokens::of(&answer)));
            }
        }
        None
    }

    fn redeem_many(mut self) -> Told {
        while self.goes_on() {
            if let Some((code, _)) = self.redeem() {
                self.told.redeemed.push(code);
            }
        }
        self.told
    }

    /// Begins grants and revokes them, until it is told that they are (I2).
    fn revoke_many(mut self) -> Told {
        while self.goes_on() {
            let Some((_, tokens)) = self.redeem() else { continue };
            while self.goes_on() {
                let answer = WEB.revoke(self.server, &tokens.refresh);
                if self.is_outage(&answer) {
                    continue;
                }
                answer.expect(200);
                let request = self.server.get("/oauth2/userinfo").bearer(&tokens.access);
                let answer = request.send();
                if !self.is_outage(&answer) {
                    answer.refused(401, "invalid_token");
                }
                self.told.revoked.push(tokens);
                break;
            }
        }
        self.told
    }
}

/// Runs a load, lets `event` happen in the middle of it, and waits until everybody is answered
/// again. Then looks whether what was answered is so.
///
/// - I1: no code is worth tokens twice.
/// - I2: what was revoked is dead.
/// - I3: who was not answered goes on with the token that was sent; nobody signs in again.
pub(crate) fn under_load(server: &Server, event: impl FnOnce()) -> Told {
    let first: Vec<Tokens> =
        (0..REFRESHING).map(|_| WEB.tokens_at_last(server, "openid")).collect();
    let ended = AtomicBool::new(false);
    let client =
        || Client { server, ended: &ended, told: Told::default(), answered_at: Instant::now() };
    let told = std::thread::scope(|scope| {
        let mut clients: Vec<_> =
            first.into_iter().map(|tokens| scope.spawn(|| client().refresh(tokens))).collect();
        for _ in 0..REFRESHING / 2 {
            clients.push(scope.spawn(|| client().redeem_many()));
            clients.push(scope.spawn(|| client().revoke_many()));
        }
        // Ends the clients also when the event fails.
        let end = EndOnDrop(&ended);
        std::thread::sleep(Duration::from_secs(1));
        event();
        until("the server is ready again", || server.get("/readyz").send().status == 200);
        std::thread::sleep(Duration::from_secs(2));
        drop(end);
        clients
            .into_iter()
            .map(|client| client.join().expect("no client was told another no"))
            .fold(Told::default(), Told::and)
    });
    for tokens in &told.refreshed {
        let next = refreshes_at_last(server, &tokens.refresh);
        is_alive(server, &next.access);
    }
    for tokens in &told.revoked {
        grant_is_dead(server, &WEB, tokens);
    }
    for code in &told.redeemed {
        answered_at_last(|| WEB.redeem(server, code)).refused(400, "invalid_grant");
    }
    let counts = (told.refreshed.len(), told.revoked.len(), told.redeemed.len());
    assert!(counts.1 > 2 && counts.2 > 2, "there was a load: {counts:?}");
    println!(
        "{} answers, {} of them 503, none for {:?} at most; {} grants revoked, {} codes redeemed",
        told.answered + told.unavailable,
        told.unavailable,
        told.longest_outage,
        told.revoked.len(),
        told.redeemed.len()
    );
    told
}

struct EndOnDrop<'s>(&'s AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
