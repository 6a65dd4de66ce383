//! Copies in the platform's cache: what one isolate has loaded, the others of the same place find.
//!
//! Others than this worker may be able to write there, so a copy is authenticated. A cache that
//! does not work is the same as an empty one.

use js_sys::{Array, Promise};
use shared::endpoint::INTERNAL;
use shared::secret::{MacKey, base64url, base64url_decode, same_bytes};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Cache, Response};

use super::Written;
use crate::answer::{Answer, Body};
use crate::{Edge, platform};

/// How long a copy is waited for, milliseconds: the origin answers as soon, and whoever waits has
/// little more than a load's time.
const FOUND_IN_MS: i32 = 200;

/// A copy, and the moment for which it stands, milliseconds since the epoch.
pub(super) struct Copied {
    pub(super) written: Written,
    pub(super) loaded_at: u64,
}

/// Finds the copy of what the origin has at `path`; `None` also when the cache takes too long.
pub(super) async fn get(edge: &Edge, path: &str) -> Option<Copied> {
    let deadline = platform::timer(FOUND_IN_MS);
    let response = in_time(&cache().ok()?.match_with_str(&url(edge, path)), &deadline).await?;
    let response: Response = response.dyn_into().ok()?;
    let text = in_time(&response.text().ok()?, &deadline).await?;
    read(&edge.config.keys.kept, path, &text.as_string()?)
}

/// Waits for a promise of the cache until the deadline's is kept: with `undefined`, which the cache,
/// too, says of what is not there.
async fn in_time(promise: &Promise, deadline: &Promise) -> Option<JsValue> {
    JsFuture::from(Promise::race(&Array::of2(promise, deadline))).await.ok()
}

/// Keeps a copy for `stale` milliseconds.
pub(super) async fn put(edge: &Edge, path: &str, written: &Written, loaded_at: u64, stale: u64) {
    let Written::Text { text, etag } = written else { return };
    let copy = write(&edge.config.keys.kept, path, text, etag.as_deref(), loaded_at);
    let copy = Answer::new(200, Body::Text(copy))
        .with("Cache-Control", format!("max-age={}", stale / 1_000));
    if let (Ok(cache), Ok(response)) = (cache(), copy.into_response()) {
        drop(JsFuture::from(cache.put_with_str(&url(edge, path), &response)).await);
    }
}

/// Returns the platform's own cache, which is no member of the standard's `CacheStorage`.
fn cache() -> Result<Cache, JsValue> {
    let caches = platform::global().caches()?;
    let cache = js_sys::Reflect::get(caches.as_ref(), &"default".into())?;
    Ok(cache.unchecked_into())
}

/// The name of a copy: below a path of the issuer's that nobody can ask for.
fn url(edge: &Edge, path: &str) -> String {
    edge.config.issuer.url(&format!("{INTERNAL}/kept{path}"))
}

fn write(key: &MacKey, path: &str, text: &str, etag: Option<&str>, loaded_at: u64) -> String {
    let head = format!("{loaded_at} {}", etag.unwrap_or("-"));
    let tag = key.tag(&[path.as_bytes(), head.as_bytes(), text.as_bytes()]);
    format!("{} {head}\n{text}", base64url(&tag))
}

fn read(key: &MacKey, path: &str, copy: &str) -> Option<Copied> {
    let (line, text) = copy.split_once('\n')?;
    let (tag, head) = line.split_once(' ')?;
    let expected = key.tag(&[path.as_bytes(), head.as_bytes(), text.as_bytes()]);
    if !same_bytes(&expected, &base64url_decode(tag)?) {
        return None;
    }
    let (loaded_at, etag) = head.split_once(' ')?;
    let etag = (etag != "-").then(|| etag.to_owned());
    let written = Written::Text { text: text.to_owned(), etag };
    Some(Copied { written, loaded_at: loaded_at.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_read_as_it_was_written_and_under_no_other_name_or_key() {
        let key = MacKey::derive(b"secret", "test");
        for (text, etag) in [("text\nof two lines", Some("\"tag\"")), ("", None)] {
            let copy = write(&key, "/a", text, etag, 17);
            let read_back = read(&key, "/a", &copy).unwrap();
            assert_eq!(read_back.loaded_at, 17);
            let written = Written::Text { text: text.to_owned(), etag: etag.map(str::to_owned) };
            assert_eq!(read_back.written, written);
            assert!(read(&key, "/b", &copy).is_none(), "another name");
            assert!(read(&MacKey::derive(b"other", "test"), "/a", &copy).is_none());
            assert!(read(&key, "/a", &copy.replacen("17", "18", 1)).is_none(), "another time");
            assert!(read(&key, "/a", &format!("{copy}x")).is_none(), "another text");
        }
        for none in ["", "x", "x y", "x\ny", "x 1 -\ny"] {
            assert!(read(&key, "/a", none).is_none(), "{none}");
        }
    }
}
