//! Where a request leads: path and method in, a [`Route`] out. Pure.

use shared::cors::CorsRule;
use shared::endpoint::Endpoint;

use crate::bff::BffEndpoint;
use crate::config::Upstream;

/// Where a request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To an endpoint that has this method.
    Endpoint(Endpoint),
    /// To the answer of a CORS preflight.
    Preflight(Endpoint),
    /// To an endpoint that does not have this method.
    MethodNotAllowed(Endpoint),
    /// To an endpoint of the backend-for-frontend that has this method.
    Bff(BffEndpoint),
    /// To one that does not have it.
    BffMethodNotAllowed(BffEndpoint),
    /// To the upstream of this number.
    Upstream(usize),
    /// To the answer of a CORS preflight for an upstream.
    UpstreamPreflight,
    /// Nowhere. `/internal/*` of the origin is nowhere, too: the edge alone asks for it.
    Nowhere,
}

impl Route {
    /// Finds the route of a path, compared as bytes. `is_preflight` tells that the request has the
    /// two headers of a CORS preflight.
    ///
    /// `upstreams` have the longest prefix first; an endpoint's own path is never one of theirs. A
    /// path that is below a prefix only when case does not count leads nowhere: it is no path of a
    /// shorter prefix to an upstream that reads it so.
    pub(crate) fn find(
        method: &str,
        path: &str,
        is_preflight: bool,
        upstreams: &[Upstream],
    ) -> Self {
        if let Some(endpoint) = BffEndpoint::at(path) {
            return if endpoint.methods().contains(&method) {
                Self::Bff(endpoint)
            } else {
                Self::BffMethodNotAllowed(endpoint)
            };
        }
        let Some(endpoint) = Endpoint::at(path) else {
            let below = |upstream: &Upstream| {
                let (prefix, rest) = path.split_at_checked(upstream.prefix.len())?;
                let is_below = prefix.eq_ignore_ascii_case(&upstream.prefix)
                    && (rest.is_empty() || rest.starts_with('/'));
                is_below.then_some(prefix == upstream.prefix)
            };
            let found = upstreams
                .iter()
                .enumerate()
                .find_map(|(number, upstream)| below(upstream).map(|is_exact| (number, is_exact)));
            return match found {
                Some((_, true)) if method == "OPTIONS" && is_preflight => Self::UpstreamPreflight,
                Some((number, true)) => Self::Upstream(number),
                Some((_, false)) | None => Self::Nowhere,
            };
        };
        if endpoint.methods().contains(&method) {
            Self::Endpoint(endpoint)
        } else if method == "OPTIONS" && is_preflight {
            Self::Preflight(endpoint)
        } else {
            Self::MethodNotAllowed(endpoint)
        }
    }

    /// Returns the endpoint, if the path is one's.
    pub(crate) const fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::Endpoint(endpoint)
            | Self::Preflight(endpoint)
            | Self::MethodNotAllowed(endpoint) => Some(endpoint),
            Self::Bff(_)
            | Self::BffMethodNotAllowed(_)
            | Self::Upstream(_)
            | Self::UpstreamPreflight
            | Self::Nowhere => None,
        }
    }

    /// Tells whether people see the answers: errors are pages there, JSON elsewhere.
    pub(crate) fn is_page(self) -> bool {
        match self {
            Self::Bff(endpoint) | Self::BffMethodNotAllowed(endpoint) => endpoint.is_page(),
            _ => self.endpoint().is_some_and(Endpoint::is_page),
        }
    }

    /// Tells whether the body is passed on as it comes.
    pub(crate) const fn streams(self) -> bool {
        matches!(self, Self::Upstream(_) | Self::Bff(BffEndpoint::Api))
    }

    /// Returns what other origins may do there.
    pub(crate) fn cors(self) -> CorsRule {
        match self {
            Self::Upstream(_) | Self::UpstreamPreflight => CorsRule::Registered,
            _ => self.endpoint().map_or(CorsRule::Never, Endpoint::cors),
        }
    }
}

/// Returns path and query of an absolute URL, as they stand in it.
pub(crate) fn target(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() { "/" } else { target }
}

/// Tells whether a path is at a prefix, or below it; compared as bytes.
pub(crate) fn is_at_or_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Splits a target into its path and its query.
pub(crate) fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_every_endpoint_is_routed_and_no_other() {
        for endpoint in Endpoint::ALL {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get"] {
                let expected = if endpoint.methods().contains(&method) {
                    Route::Endpoint(endpoint)
                } else {
                    Route::MethodNotAllowed(endpoint)
                };
                let path = endpoint.path().replace("{list}", "AwMDAwMDAwMDAwMDAwMDAw");
                assert_eq!(Route::find(method, &path, false, &[]), expected, "{method}");
            }
        }
    }

    #[test]
    fn a_preflight_is_told_from_a_mere_options() {
        let path = "/oauth2/token";
        assert_eq!(Route::find("OPTIONS", path, true, &[]), Route::Preflight(Endpoint::Token));
        assert_eq!(
            Route::find("OPTIONS", path, false, &[]),
            Route::MethodNotAllowed(Endpoint::Token)
        );
        assert_eq!(Route::find("POST", path, true, &[]), Route::Endpoint(Endpoint::Token));
    }

    #[test]
    fn what_is_no_endpoint_leads_nowhere() {
        for path in ["/", "", "/internal/clients", "/oauth2/token/", "/OAUTH2/token", "/metrics"] {
            assert_eq!(Route::find("GET", path, false, &[]), Route::Nowhere, "{path}");
        }
    }

    #[test]
    fn upstreams_have_what_is_at_and_below_their_prefix() {
        let upstream = |prefix: &str| Upstream {
            prefix: prefix.to_owned(),
            url: "http://127.0.0.1:9090".to_owned(),
            scope: None,
            audience: "a".to_owned(),
        };
        let upstreams = [upstream("/api/notes"), upstream("/api")];
        let find = |method, path, is_preflight| Route::find(method, path, is_preflight, &upstreams);
        for (path, expected) in [
            ("/api/notes", Route::Upstream(0)),
            ("/api/notes/", Route::Upstream(0)),
            ("/api/notes/1", Route::Upstream(0)),
            ("/api/notesx", Route::Upstream(1)),
            ("/api", Route::Upstream(1)),
            ("/apis", Route::Nowhere),
            ("/API/notes", Route::Nowhere),
            ("/api/Notes", Route::Nowhere),
            ("/api/NOTES/1", Route::Nowhere),
            ("/api/me", Route::Endpoint(Endpoint::Me)),
        ] {
            assert_eq!(find("GET", path, false), expected, "{path}");
        }
        assert_eq!(find("OPTIONS", "/api/notes", true), Route::UpstreamPreflight);
        assert_eq!(find("OPTIONS", "/api/notes", false), Route::Upstream(0));
        assert_eq!(find("PATCH", "/api/notes", false).cors(), CorsRule::Registered);
        assert_eq!(find("PUT", "/api/me", false), Route::MethodNotAllowed(Endpoint::Me));
    }

    #[test]
    fn a_target_is_path_and_query_as_they_stand() {
        for (url, expected) in [
            ("http://h/a/b?c=%2F&d", "/a/b?c=%2F&d"),
            ("http://h:8787/a?b=http://x/", "/a?b=http://x/"),
            ("https://h/a#b?c", "/a"),
            ("https://h", "/"),
            ("https://h?a=b", "?a=b"),
            ("/a?b", "/a?b"),
        ] {
            assert_eq!(target(url), expected, "{url}");
        }
    }

    #[test]
    fn a_query_begins_at_the_first_question_mark() {
        assert_eq!(split("/a?b?c"), ("/a", Some("b?c")));
        assert_eq!(split("/a?"), ("/a", Some("")));
        assert_eq!(split("/a"), ("/a", None));
    }
}
