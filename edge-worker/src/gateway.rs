//! Upstreams: APIs behind the edge. Their requests are checked here and go to them without a way
//! over the origin.

use js_sys::{Function, Reflect};
use shared::error::OAuthError;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, Request, Response};

use crate::answer::{Answer, Body, Refusal};
use crate::bearer::{self, Wanted};
use crate::config::Upstream;
use crate::incoming::Incoming;
use crate::{Edge, platform, route};

/// How long an upstream may take until its answer begins, milliseconds. How long the answer itself
/// takes is its own affair: it may be a stream.
const ANSWER_BEGINS_IN_MS: i32 = 60_000;

/// Request headers that stay here: those of one connection (RFC 9110 §7.6.1), those that only a
/// proxy may say, and cookies, which are the issuer's. Names are in lower case; `_` counts as `-`,
/// because many servers take one for the other.
const NOT_UP: [&str; 22] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "content-length",
    "cookie",
    "forwarded",
    "via",
    "true-client-ip",
    "client-ip",
    "x-client-ip",
    "x-real-ip",
    "x-cluster-client-ip",
    "x-rewrite-url",
    "x-host",
    "x-scheme",
    "x-request-id",
    "cadence-edge",
];

/// Beginnings of names that only a proxy, or a platform, may say, and of those that make another
/// method of a request's.
const NOT_UP_PREFIXES: [&str; 21] = [
    "proxy",
    "wl-proxy-",
    "x-forwarded",
    "x-original",
    "x-originating",
    "x-auth",
    "x-webauth",
    "x-user",
    "x-remote-",
    "remote-",
    "x-client-cert",
    "x-ssl-client",
    "x-envoy",
    "x-amzn-oidc-",
    "x-azure-",
    "x-goog-authenticated-",
    "x-ms-client-principal",
    "cf-",
    "fastly-",
    "x-http-method",
    "x-method-override",
];

/// Response headers that stay here: those of one connection, what the edge says itself, and what
/// speaks for the whole host, which is the issuer's.
const NOT_DOWN: [&str; 18] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "server",
    "via",
    "x-request-id",
    "set-cookie",
    "strict-transport-security",
    "clear-site-data",
    "nel",
    "report-to",
    "reporting-endpoints",
    "alt-svc",
    "accept-ch",
];

/// Hands a request to an upstream, when its access token is good for that.
///
/// Checks, in order: a path that means the same to everybody, then the token ([`bearer::check`]).
/// Both bodies are passed on as they come. **Does NOT** follow redirects, and does NOT try again.
///
/// # Errors
/// `invalid_request` for a path that can be read in two ways, and for a body where there is none to
/// be; a Bearer challenge; unavailable, and
/// 504 when the upstream's answer does not begin in time.
pub(crate) async fn answer(
    edge: &Edge,
    incoming: &Incoming,
    upstream: &Upstream,
) -> Result<Answer, Refusal> {
    if !is_plain(route::split(&incoming.target).0) {
        return Err(OAuthError::invalid_request("the path is malformed").into());
    }
    if matches!(incoming.method.as_str(), "GET" | "HEAD") && incoming.request.body().is_some() {
        return Err(OAuthError::invalid_request("this method has no body").into());
    }
    let wanted = Wanted { audience: &upstream.audience, scope: upstream.scope.as_deref() };
    bearer::check(edge, incoming, wanted).await?;
    let away = |error: &JsValue| {
        let cause = error.as_string().unwrap_or_else(|| format!("{error:?}"));
        let (prefix, id) = (&upstream.prefix, &incoming.request_id);
        platform::log(&format!("upstream {prefix}: {cause} ({id})"));
        Refusal::Unavailable
    };
    let deadline = Deadline::begin().map_err(|error| away(&error))?;
    let outgoing = prepare(edge, incoming, upstream, &deadline);
    let Some(outgoing) = outgoing.map_err(|error| away(&error))? else {
        return Err(OAuthError::invalid_request("the URL is malformed").into());
    };
    let response = JsFuture::from(platform::global().fetch_with_request(&outgoing)).await;
    let is_late = deadline.end();
    match response {
        Ok(response) => pass_down(edge, &response.unchecked_into()).map_err(|error| away(&error)),
        Err(error) if is_late => {
            away(&error);
            Err(OAuthError::temporarily_unavailable().with_status(504).into())
        }
        Err(error) => Err(away(&error)),
    }
}

/// Makes the upstream's request; `None` when the platform would send it to another path.
///
/// The platform adds `Cache-Control: no-cache` and `Pragma: no-cache`, where the request has none.
fn prepare(
    edge: &Edge,
    incoming: &Incoming,
    upstream: &Upstream,
    deadline: &Deadline,
) -> Result<Option<Request>, JsValue> {
    let init = platform::request(&incoming.method, &deadline.controller.signal())?;
    if let Some(body) = incoming.request.body() {
        init.set_body(&body);
    }
    let url = format!("{}{}", upstream.url, incoming.target);
    let outgoing = Request::new_with_str_and_init(&url, &init)?;
    if route::split(route::target(&outgoing.url())).0 != route::split(&incoming.target).0 {
        return Ok(None);
    }
    let headers = outgoing.headers();
    let named = named(&incoming.header("Connection").unwrap_or_default());
    for (name, value) in pairs(&incoming.headers) {
        if goes_up(&name, &named) {
            headers.append(&name, &value)?;
        }
    }
    if let Some(address) = incoming.client_address() {
        headers.set("X-Forwarded-For", &address.to_string())?;
    }
    if let Some((proto, host)) = edge.config.issuer.as_str().split_once("://") {
        headers.set("X-Forwarded-Proto", proto)?;
        headers.set("X-Forwarded-Host", host)?;
    }
    headers.set("X-Request-Id", &incoming.request_id)?;
    Ok(Some(outgoing))
}

/// Passes an upstream's answer on: whatever it says is its own, but for the cookies of the issuer.
fn pass_down(edge: &Edge, response: &Response) -> Result<Answer, JsValue> {
    let status = response.status();
    // A redirect that was not followed arrives whole; an opaque one has status 0. The platform
    // passes no others on than these.
    if !(200..=599).contains(&status) {
        return Err(format!("the status is {status}").into());
    }
    // These have no body, and the platform takes none for them.
    let is_bodyless = matches!(status, 204 | 205 | 304);
    let body = response.body().filter(|_| !is_bodyless).map_or(Body::Empty, Body::Stream);
    let mut answer = Answer::new(status, body);
    let headers = response.headers();
    let named = named(&headers.get("Connection")?.unwrap_or_default());
    for (name, value) in pairs(&headers) {
        if goes_down(&name, &named) {
            answer.append(name, value);
        }
    }
    let own = edge.config.cookies().policy.name("cadence_");
    let cookies = platform::set_cookies(&headers);
    let foreign: Vec<String> = cookies.into_iter().filter(|it| !sets(it, &own)).collect();
    if !foreign.is_empty() {
        // What one person is told to keep is nobody else's.
        answer = answer.with("Cache-Control", "private, no-store");
    }
    for cookie in foreign {
        answer.append("Set-Cookie", cookie);
    }
    Ok(answer)
}

/// Tells whether a `Set-Cookie` value sets a cookie whose name begins so, with or without a prefix
/// that browsers know.
fn sets(cookie: &str, own: &str) -> bool {
    let name = cookie.split(['=', ';']).next().unwrap_or_default().trim();
    let bare = |name: &str| {
        let name = name.strip_prefix("__Host-").or(name.strip_prefix("__Secure-")).unwrap_or(name);
        name.to_ascii_lowercase()
    };
    bare(name).starts_with(&bare(own))
}

/// Tells whether a path means the same to everybody who reads it: no segment that climbs, is empty,
/// has parameters or hides a separator, however often it is decoded; nothing that is no UTF-8, in
/// which careless decoders see any of these (RFC 3629 §10); and nothing encoded that could stand
/// there as it is, so that a prefix is compared with what an upstream will read (RFC 3986 §2.3,
/// §6.2.2.2).
pub(crate) fn is_plain(path: &str) -> bool {
    let is_plain_segment = |segment: &str| {
        let Some(decoded) = decode(segment) else { return false };
        let hides = |byte: u8| {
            matches!(byte, b'/' | b'\\' | b'%' | b'#' | b'?' | b';') || byte.is_ascii_control()
        };
        !matches!(decoded.as_str(), "." | ".." | "") && !decoded.bytes().any(hides)
    };
    let Some(segments) = path.strip_prefix('/') else { return false };
    // One slash at the end is a path of its own.
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    segments.split('/').all(is_plain_segment)
}

/// Decodes percent-encoded octets, once; `None` for a `%` that begins none, or encodes an unreserved
/// character, and for octets that are no UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut decoded = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let octet = digit()? * 16 + digit()?;
        let octet = u8::try_from(octet).ok()?;
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            return None;
        }
        decoded.push(octet);
    }
    String::from_utf8(decoded).ok()
}

/// Lists the headers that a `Connection` header names, sorted: they belong to one connection
/// (RFC 9110 §7.6.1).
fn named(connection: &str) -> Vec<String> {
    let mut named: Vec<String> = connection.split(',').map(|name| folded(name.trim())).collect();
    named.sort_unstable();
    named
}

/// Spells a header's name as the lists do.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Tells whether a request header goes up; one that `Connection` has `named` does not, but
/// `Authorization` is never dropped by that trick.
fn goes_up(name: &str, named: &[String]) -> bool {
    let name = folded(name);
    let is_kept = matches!(name.as_str(), "authorization" | "content-type" | "accept");
    !NOT_UP.contains(&name.as_str())
        && !NOT_UP_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && (is_kept || named.binary_search(&name).is_err())
}

/// Tells whether a response header goes down; one that `Connection` has `named` does not.
fn goes_down(name: &str, named: &[String]) -> bool {
    let name = folded(name);
    !NOT_DOWN.contains(&name.as_str())
        && !name.starts_with("access-control-")
        && named.binary_search(&name).is_err()
}

/// Lists headers by name; those that stand more than once are joined.
fn pairs(headers: &Headers) -> Vec<(String, String)> {
    let entries = js_sys::try_iter(&headers.entries()).ok().flatten();
    let pair = |entry: JsValue| {
        let entry: js_sys::Array = entry.dyn_into().ok()?;
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    entries.into_iter().flatten().filter_map(|entry| pair(entry.ok()?)).collect()
}

/// Ends a request when its answer does not begin in time; once it has, nothing ends it.
struct Deadline {
    controller: AbortController,
    timer: i32,
}

impl Deadline {
    fn begin() -> Result<Self, JsValue> {
        let controller = AbortController::new()?;
        // A function of the platform's own: one of ours would have to be kept for the timer.
        let abort: Function = Reflect::get(&controller, &"abort".into())?.dyn_into()?;
        let abort: Function = abort.bind0(&controller);
        let timer = platform::global()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&abort, ANSWER_BEGINS_IN_MS)?;
        Ok(Self { controller, timer })
    }

    /// Lets the request go on; tells whether it was ended.
    fn end(self) -> bool {
        self.controller.signal().aborted()
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        platform::global().clear_timeout_with_handle(self.timer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_or_refused() {
        for path in
            ["/api/notes", "/api/notes/", "/api/notes/1", "/api/n%C3%A4mes/a%20b", "/api/a:b@c"]
        {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "api",
            "//api",
            "/api//notes",
            "/api/./notes",
            "/api/../admin",
            "/api/%2e%2e/admin",
            "/api/.%2E/admin",
            "/api/..;/admin",
            "/api/%2e%2e;x=1/admin",
            "/api/a%2fb",
            "/api/a%2Fb",
            "/api/a%5cb",
            "/api/a\\b",
            "/api/%252e%252e/admin",
            "/api/%00",
            "/api/a%0d%0ab",
            "/api/%zz",
            "/api/%",
            "/api/%23x",
            "/api/%61dmin",
            "/api/%7Euser",
            "/api/a;v=1/b",
            "/api/;/admin",
            "/api/%3Fx",
            "/api/notes//",
            "/api/notes/%c0%ae%c0%ae/admin",
            "/api/notes/x%c0%afy",
            "/api/notes/%e0%80%af",
            "/api/notes/%ff",
            "/api/n%C3",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn only_end_to_end_headers_go_up() {
        for name in ["Authorization", "Content-Type", "Accept", "X-CSRF", "Range", "If-None-Match"]
        {
            assert!(goes_up(name, &[]), "{name}");
        }
        for name in [
            "Connection",
            "Transfer-Encoding",
            "TE",
            "Upgrade",
            "Proxy-Authorization",
            "Cookie",
            "Host",
            "Forwarded",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "x-forwarded-proto",
            "X-Forwarded",
            "X-Original-URL",
            "X-Real-IP",
            "x_real_ip",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Auth-User",
            "X_Auth_User",
            "X-User",
            "X-WebAuth-User",
            "Remote-User",
            "remote_user",
            "X-Remote-User",
            "X-Rewrite-URL",
            "X-Client-Cert-Chain",
            "X-SSL-Client-Verify",
            "X-Envoy-Original-Path",
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X_Method_Override",
            "X-WebAuth-Groups",
            "Remote-Groups",
            "X-Remote-Group",
            "X-Originating-IP",
            "Proxy",
            "WL-Proxy-Client-IP",
            "Fastly-Client-IP",
            "X-Azure-ClientIP",
            "X-Amzn-Oidc-Data",
            "X-Goog-Authenticated-User-Email",
            "X-MS-CLIENT-PRINCIPAL-NAME",
            "Cadence-Edge",
            "cadence_edge",
        ] {
            assert!(!goes_up(name, &[]), "{name}");
        }
    }

    #[test]
    fn what_belongs_to_one_connection_goes_no_further() {
        let named = named("close, x-custom ,X_Other, Authorization,,Content-Type, x-csrf");
        for name in ["X-Custom", "x_custom", "X-Other", "X-CSRF"] {
            assert!(!goes_up(name, &named) && !goes_down(name, &named), "{name}");
        }
        for name in ["Authorization", "Content-Type"] {
            assert!(goes_up(name, &named), "never dropped by a trick: {name}");
        }
        for name in ["X-Customs", "X", "Range"] {
            assert!(goes_up(name, &named) && goes_down(name, &named), "{name}");
        }
    }

    #[test]
    fn an_upstream_sets_no_cookie_of_the_issuer() {
        for own in ["cadence_session=x", "__Host-cadence_session=x; Path=/", " Cadence_tx_a=1"] {
            assert!(sets(own, "__Host-cadence_") && sets(own, "cadence_"), "{own}");
        }
        for other in ["theme=dark", "my_cadence_session=x", "=cadence_session"] {
            assert!(!sets(other, "cadence_"), "{other}");
        }
    }

    #[test]
    fn what_the_edge_says_itself_does_not_come_down() {
        for name in ["Content-Type", "ETag", "Location", "Cache-Control", "WWW-Authenticate"] {
            assert!(goes_down(name, &[]), "{name}");
        }
        for name in ["Server", "Via", "Connection", "Set-Cookie", "Access-Control-Allow-Origin"]
            .into_iter()
            .chain(["Clear-Site-Data", "NEL", "Report-To", "Alt-Svc", "Accept-CH"])
        {
            assert!(!goes_down(name, &[]), "{name}");
        }
    }
}
