//! A request that has arrived in full.

use core::net::IpAddr;

use js_sys::{ArrayBuffer, Promise, Reflect, Uint8Array};
use shared::error::OAuthError;
use shared::form::{self, Params};
use shared::limits::{FORM_LEN, FORM_PASSED_OVER};
use shared::time::UnixTime;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, ReadableStreamDefaultReader, Request};

use crate::config::TrustConnectingIp;
use crate::{platform, route};

/// How long a body may take to arrive, milliseconds.
const BODY_IN_MS: i32 = 10_000;

/// A request that has arrived in full, and the moment in which it is answered.
#[derive(Clone)]
pub(crate) struct Incoming {
    /// When it arrived: the one `now` of the whole request.
    pub(crate) now: UnixTime,
    /// The method.
    pub(crate) method: String,
    /// Path and query, as they stand in the request line.
    pub(crate) target: String,
    /// The request as the platform hands it over.
    pub(crate) request: Request,
    /// Its headers.
    pub(crate) headers: Headers,
    /// The body; empty for other methods than `POST`, which have none here, and for an upstream's
    /// request, whose body is passed on as it comes.
    pub(crate) body: Vec<u8>,
    /// When the platform is believed about who has connected.
    trust_connecting_ip: TrustConnectingIp,
    /// Its name, made here.
    pub(crate) request_id: String,
}

impl Incoming {
    /// Takes a request whose body is not read yet.
    pub(crate) fn of(request: Request, trust_connecting_ip: TrustConnectingIp) -> Self {
        Self {
            now: platform::now(),
            method: request.method(),
            target: route::target(&request.url()).to_owned(),
            headers: request.headers(),
            request,
            body: Vec::new(),
            trust_connecting_ip,
            request_id: platform::request_id(),
        }
    }

    /// Makes the same request for another target, with other headers.
    pub(crate) fn instead(&self, target: &str, headers: Headers) -> Self {
        Self { target: target.to_owned(), headers, ..self.clone() }
    }

    /// Returns the query.
    pub(crate) fn query(&self) -> Option<&str> {
        route::split(&self.target).1
    }

    /// Returns the values of a header, joined where it stands more than once.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }

    /// Returns who connected to the edge, where that can be believed.
    ///
    /// Not every request needs it, and the platform makes an object of all that it knows.
    pub(crate) fn client_address(&self) -> Option<IpAddr> {
        let trusted = || match self.trust_connecting_ip {
            TrustConnectingIp::Always => true,
            TrustConnectingIp::Never => false,
            TrustConnectingIp::OnPlatform => {
                let cf = Reflect::get(&self.request, &"cf".into());
                // A bare workerd has an empty one: only the platform knows which of its places it
                // is.
                let colo = cf.and_then(|cf| Reflect::get(&cf, &"colo".into()));
                colo.is_ok_and(|colo| colo.is_string())
            }
        };
        self.header("CF-Connecting-IP").filter(|_| trusted())?.parse().ok()
    }

    /// Reads the body as a form.
    ///
    /// # Errors
    /// `invalid_request`, also for another content type.
    pub(crate) fn form(&self) -> Result<Params, OAuthError> {
        if !self.header("Content-Type").is_some_and(|it| form::is_form(&it)) {
            return Err(OAuthError::invalid_request(
                "the body is application/x-www-form-urlencoded in UTF-8",
            ));
        }
        if let Some(coding) = self.header("Content-Encoding") {
            form::check_coding(coding.as_bytes())?;
        }
        Params::parse(&self.body)
    }

    /// Reads the query of a `GET`, the form of a `POST`.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(crate) fn params(&self) -> Result<Params, OAuthError> {
        if self.method == "POST" {
            return self.form();
        }
        Params::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// Returns the `Authorization` headers.
    pub(crate) fn authorization(&self) -> Vec<String> {
        self.header("Authorization").map(|joined| credentials(&joined)).unwrap_or_default()
    }
}

/// Takes `Authorization` headers apart that the platform has joined: a second one begins behind a
/// comma with a scheme of ours. Neither scheme's credentials have a comma in them.
fn credentials(joined: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for part in joined.split(',') {
        let begins = |scheme: &str| {
            let start = part.trim_start().get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        match all.last_mut() {
            Some(last) if !begins("Basic ") && !begins("Bearer ") => {
                last.push(',');
                last.push_str(part);
            }
            _ => all.push(part.to_owned()),
        }
    }
    // Space around a value is not part of it (RFC 9110 §5.5).
    all.iter().map(|value| value.trim().to_owned()).collect()
}

/// Reads the body of a request.
///
/// # Errors
/// 413 for more than [`FORM_LEN`] bytes, announced or not; 408 when it does not arrive in time;
/// 400 when it breaks off.
pub(crate) async fn body(request: &Request) -> Result<Vec<u8>, OAuthError> {
    let announced = request.headers().get("Content-Length").ok().flatten();
    let announced = announced.and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > FORM_PASSED_OVER) {
        return Err(OAuthError::too_large());
    }
    let Some(stream) = request.body() else { return Ok(Vec::new()) };
    let deadline = platform::timer(BODY_IN_MS);
    if announced.is_some_and(|length| length <= FORM_LEN) {
        let buffer = request.array_buffer().map_err(|_| BROKEN_OFF)?;
        let buffer: ArrayBuffer = in_time(buffer, &deadline).await?.unchecked_into();
        let bytes = Uint8Array::new(&buffer).to_vec();
        return if bytes.len() > FORM_LEN { Err(OAuthError::too_large()) } else { Ok(bytes) };
    }
    let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
    let (mut bytes, mut length) = (Vec::new(), 0);
    loop {
        let chunk = in_time(reader.read(), &deadline).await?;
        let value = Reflect::get(&chunk, &"value".into()).map_err(|_| BROKEN_OFF)?;
        if value.is_undefined() {
            return if length > FORM_LEN { Err(OAuthError::too_large()) } else { Ok(bytes) };
        }
        let chunk: Uint8Array = value.unchecked_into();
        length = usize::try_from(chunk.length()).map_or(usize::MAX, |it| length.saturating_add(it));
        if length <= FORM_LEN {
            bytes.extend(chunk.to_vec());
        } else if length > FORM_PASSED_OVER {
            // What is left is not read: the platform closes the connection.
            drop(reader.cancel());
            return Err(OAuthError::too_large());
        }
    }
}

const BROKEN_OFF: OAuthError = OAuthError::invalid_request("the body broke off");

const TOO_SLOW: OAuthError = OAuthError::invalid_request("the body took too long").with_status(408);

/// Waits for a promise of the body until the deadline's promise (of `undefined`) is kept.
async fn in_time(promise: Promise, deadline: &Promise) -> Result<JsValue, OAuthError> {
    let both = js_sys::Array::of2(&promise, deadline);
    let first = JsFuture::from(Promise::race(&both)).await.map_err(|_| BROKEN_OFF)?;
    if first.is_undefined() { Err(TOO_SLOW) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_credentials_are_taken_apart() {
        for (joined, expected) in [
            ("Basic a", &["Basic a"][..]),
            ("Bearer a, Bearer b", &["Bearer a", "Bearer b"]),
            ("Basic a,bearer b", &["Basic a", "bearer b"]),
            ("Digest a=\"b\", c=d", &["Digest a=\"b\", c=d"]),
            ("Bearer a,b", &["Bearer a,b"]),
            ("Bearer ", &["Bearer"]),
            ("", &[""]),
            (", Basic a", &["", "Basic a"]),
        ] {
            assert_eq!(credentials(joined), expected, "{joined}");
        }
    }
}
