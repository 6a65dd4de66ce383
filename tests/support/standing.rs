//! What holds for every answer, whatever was asked: G1, G2, G3, G5 and G6.

use http::HeaderMap;
use serde_json::Value;

use crate::form::decode;

/// Paths whose errors are JSON, and whose answers are never stored.
const TOKEN_PATHS: [&str; 4] =
    ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/userinfo"];

/// An answer as it came over the wire, and what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's path, without its query.
    pub path: &'a str,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a str,
}

impl Seen<'_> {
    /// Checks the standing assertions.
    ///
    /// # Errors
    /// The first one that is broken.
    pub fn check(&self) -> Result<(), String> {
        let json = serde_json::from_str::<Value>(self.body).ok();
        self.shows_no_crash(json.as_ref())?;
        self.keeps_error_characters(json.as_ref())?;
        if TOKEN_PATHS.contains(&self.path) && self.method != "OPTIONS" {
            self.is_not_stored()?;
            holds(self.header("pragma")? == Some("no-cache"), "G3: pragma")?;
        }
        // G5: no cross-origin request carries cookies.
        let credentials = self.header("access-control-allow-credentials")?;
        holds(credentials.is_none(), "G5: credentials are allowed")?;
        self.is_safe_in_browsers()?;
        // Every answer can be found in the log.
        let id = self.header("x-request-id")?.unwrap_or_default();
        holds((8..=64).contains(&id.len()), "there is no X-Request-Id")?;
        self.keeps_cookies_safe()
    }

    /// G1: no crash shows, and machines get JSON.
    fn shows_no_crash(&self, json: Option<&Value>) -> Result<(), String> {
        holds(self.status < 500 || matches!(self.status, 503 | 504), "G1: status")?;
        for trace in ["panicked", "stack backtrace", "RUST_BACKTRACE", ".rs:", "Error 1101"] {
            holds(!self.body.contains(trace), &format!("G1: {trace} in the body"))?;
        }
        if TOKEN_PATHS.contains(&self.path) && self.status >= 400 && self.method != "HEAD" {
            let is_json = self.header("content-type")? == Some("application/json");
            holds(is_json, "G1: the error is not JSON")?;
            let has_error = json.is_some_and(|json| json["error"].is_string());
            holds(has_error, "G1: the error is not named")?;
        }
        Ok(())
    }

    /// G2: errors are in the characters of RFC 6749 §5.2, in bodies and redirects. G3: a redirect
    /// that carries a code or an error is not stored.
    fn keeps_error_characters(&self, json: Option<&Value>) -> Result<(), String> {
        let names = ["error", "error_description"];
        if let Some(json) = json
            && self.header("content-type")? == Some("application/json")
        {
            for text in names.iter().filter_map(|name| json.get(name)) {
                check_error_characters(text.as_str().unwrap_or("\0"))?;
            }
        }
        for challenge in self.headers.get_all("www-authenticate") {
            let challenge = challenge.to_str().map_err(|_| "G2: a challenge is no text")?;
            for name in names {
                // A description may begin with the name of the other.
                let told = challenge.split(&format!(" {name}=\"")).nth(1);
                let told = told.and_then(|rest| rest.split('"').next());
                told.map_or(Ok(()), check_error_characters)?;
            }
        }
        if let Some((_, added)) = self.header("location")?.and_then(|it| it.split_once('?')) {
            let (mut carries, mut before) = (false, Vec::new());
            for pair in added.split('&') {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                if names.contains(&name) {
                    check_error_characters(&decode(value))?;
                }
                holds(!before.contains(&name), "a redirect repeats a parameter")?;
                carries |= matches!(name, "code" | "error");
                before.push(name);
            }
            if carries {
                self.is_not_stored()?;
            }
        }
        Ok(())
    }

    /// G6: headers that browsers obey.
    fn is_safe_in_browsers(&self) -> Result<(), String> {
        let sniff = self.header("x-content-type-options")?;
        holds(sniff == Some("nosniff"), "G6: x-content-type-options")?;
        if !self.header("content-type")?.is_some_and(|it| it.starts_with("text/html")) {
            return Ok(());
        }
        let policy = self.header("content-security-policy")?.unwrap_or_default();
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            holds(policy.contains(directive), &format!("G6: {directive}"))?;
        }
        holds(!policy.contains("unsafe"), "G6: the policy has `unsafe`")?;
        let referrer = self.header("referrer-policy")?;
        holds(referrer == Some("no-referrer"), "G6: referrer-policy")?;
        holds(self.header("x-frame-options")? == Some("DENY"), "G6: x-frame-options")?;
        self.is_not_stored()?;
        holds(!self.body.contains("<script"), "G6: pages need no script")
    }

    fn keeps_cookies_safe(&self) -> Result<(), String> {
        for cookie in self.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().map_err(|_| "a cookie is no text")?;
            if cookie.starts_with("theme=") {
                continue; // An upstream's own, of which nothing is expected.
            }
            let name = cookie.strip_prefix("__Host-").unwrap_or(cookie);
            let of_the_bff = name.starts_with("cadence_bff=");
            let same_site = if of_the_bff { "; SameSite=Strict" } else { "; SameSite=Lax" };
            for attribute in ["; Path=/", "; HttpOnly", same_site] {
                holds(cookie.contains(attribute), &format!("a cookie without {attribute}"))?;
            }
            holds(!cookie.to_lowercase().contains("domain="), "a cookie with a domain")?;
        }
        Ok(())
    }

    /// G3.
    fn is_not_stored(&self) -> Result<(), String> {
        let control = self.header("cache-control")?.unwrap_or_default();
        holds(control.split(", ").any(|it| it == "no-store"), "G3: it may be stored")
    }

    /// Returns a header that may be there once.
    fn header(&self, name: &str) -> Result<Option<&str>, String> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str());
        holds(values.next().is_none(), &format!("{name} is there twice"))?;
        first.transpose().map_err(|_| format!("{name} is no text"))
    }
}

fn holds(it: bool, rule: &str) -> Result<(), String> {
    if it { Ok(()) } else { Err(rule.to_owned()) }
}

fn check_error_characters(text: &str) -> Result<(), String> {
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    holds(text.bytes().all(allowed), "G2: characters of an error")
}
