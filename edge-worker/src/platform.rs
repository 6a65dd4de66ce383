//! The platform's clock, randomness, timers and log: nothing else reaches for them.

use core::array;

use js_sys::{Promise, Reflect};
use shared::secret::base64url;
use shared::time::UnixTime;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Headers, RequestInit, RequestRedirect, WorkerGlobalScope};

/// Returns the scope that `fetch` and `crypto` are members of.
pub(crate) fn global() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Returns the milliseconds since the epoch.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from f64 saturates, and the clock stands between 0 and 2^53"
)]
pub(crate) fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// Returns the current time.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(now_ms() / 1000)
}

/// Makes random bytes.
///
/// # Errors
/// `None` when the platform has none to give.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = array::from_fn(|_| 0);
    #[expect(clippy::disallowed_methods, reason = "this is the one place of the edge")]
    getrandom::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// Makes a name for a request: 22 characters.
pub(crate) fn request_id() -> String {
    base64url(&random::<16>().unwrap_or_default())
}

/// Makes a promise that is kept with `undefined` after so many milliseconds.
pub(crate) fn timer(ms: i32) -> Promise {
    Promise::new(&mut |resolve, _| {
        // Without a timer the promise is never kept: then the other side of a race decides.
        drop(global().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, ms));
    })
}

/// Waits.
pub(crate) async fn sleep(ms: i32) {
    // A timer's promise is never broken.
    drop(JsFuture::from(timer(ms)).await);
}

/// Begins a request to a server behind the edge: a redirect is that server's answer, and no cache
/// stands in between.
///
/// # Errors
/// Whatever the platform throws.
pub(crate) fn request(method: &str, signal: &AbortSignal) -> Result<RequestInit, JsValue> {
    let init = RequestInit::new();
    init.set_method(method);
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(signal));
    // On Cloudflare, what is fetched would be read through the cache of the zone.
    Reflect::set(&init, &"cache".into(), &"no-store".into())?;
    Ok(init)
}

/// Writes a line to the platform's log.
pub(crate) fn log(line: &str) {
    worker::console_error!("{line}");
}

/// Returns each `Set-Cookie` header by itself: joined ones cannot be told apart.
pub(crate) fn set_cookies(headers: &Headers) -> Vec<String> {
    if headers.has("Set-Cookie").is_ok_and(|has| !has) {
        return Vec::new();
    }
    let list = Reflect::get(headers, &"getSetCookie".into())
        .ok()
        .and_then(|method| method.dyn_into::<js_sys::Function>().ok())
        .and_then(|method| method.call0(headers).ok())
        .and_then(|list| list.dyn_into::<js_sys::Array>().ok());
    list.iter().flat_map(js_sys::Array::iter).filter_map(|cookie| cookie.as_string()).collect()
}
