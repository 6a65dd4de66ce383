//! Client authentication: which client a request claims to be, and how it proves that.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::client::{AuthMethod, Client, ClientId};
use crate::error::OAuthError;
use crate::form::{self, Params};
use crate::limits::CLIENT_SECRET_LEN;
use crate::secret::Sha256Digest;

/// The `WWW-Authenticate` value of a 401 for clients (RFC 6749 §5.2).
pub const CHALLENGE: &str = "Basic realm=\"cadence\", charset=\"UTF-8\"";

/// Credentials as they were presented. Nothing is verified yet.
#[derive(Clone)]
pub struct ClientCredentials {
    /// The client that the request claims to come from.
    pub client_id: ClientId,
    /// How it was presented.
    pub method: AuthMethod,
    /// Digest of the secret; `None` with [`AuthMethod::None`].
    pub secret_digest: Option<Sha256Digest>,
}

impl ClientCredentials {
    /// Reads the credentials from the `Authorization` headers and the form.
    ///
    /// Checks, in order: one header at most, one authentication method only, no client assertion
    /// (not supported, and never ignored to fall back on a weaker method), the same `client_id` in
    /// header and form, lengths.
    /// **Does NOT** verify the secret, nor look at the query: a secret there is never read.
    ///
    /// # Errors
    /// `invalid_request` for repeated parameters and for two methods at once, else
    /// `invalid_client`.
    ///
    /// Source: RFC 6749 §2.3.
    pub fn parse<'a>(
        authorization: impl IntoIterator<Item = &'a [u8]>,
        params: &Params,
    ) -> Result<Self, OAuthError> {
        let mut headers = authorization.into_iter();
        let header = headers.next();
        if headers.next().is_some() {
            return Err(OAuthError::invalid_request("there are two Authorization headers"));
        }
        let form_id = params.one("client_id")?;
        let form_secret = params.one("client_secret")?;
        if params.has("client_assertion") || params.has("client_assertion_type") {
            return Err(OAuthError::invalid_client());
        }
        let credentials = match (header, form_secret) {
            (Some(_), Some(_)) => {
                return Err(OAuthError::invalid_request(
                    "the client authenticates with more than one method",
                ));
            }
            (Some(header), None) => basic(header).ok_or(OAuthError::invalid_client())?,
            (None, Some(secret)) => {
                let id = form_id.ok_or(OAuthError::invalid_client())?;
                with_secret(id, secret, AuthMethod::ClientSecretPost)
                    .ok_or(OAuthError::invalid_client())?
            }
            (None, None) => {
                let id = form_id.ok_or(OAuthError::invalid_client())?;
                let client_id = ClientId::parse(id).map_err(|_| OAuthError::invalid_client())?;
                Self { client_id, method: AuthMethod::None, secret_digest: None }
            }
        };
        if form_id.is_some_and(|id| id != credentials.client_id.as_str()) {
            return Err(OAuthError::invalid_request(
                "the form names another client than the Authorization header",
            ));
        }
        Ok(credentials)
    }

    /// Checks that the client is registered for the method that was used.
    ///
    /// # Errors
    /// `invalid_client`.
    pub fn check_method(&self, client: &Client) -> Result<(), OAuthError> {
        (client.client_id == self.client_id && client.token_endpoint_auth_method == self.method)
            .then_some(())
            .ok_or(OAuthError::invalid_client())
    }

    /// Verifies the secret against the digest that is registered, in constant time.
    ///
    /// # Errors
    /// `invalid_client`.
    pub fn verify_secret(&self, registered: Option<&Sha256Digest>) -> Result<(), OAuthError> {
        let same = match (self.method, &self.secret_digest, registered) {
            (AuthMethod::None, None, None) => true,
            (AuthMethod::None, ..) => false,
            (_, Some(presented), Some(registered)) => presented == registered,
            _ => false,
        };
        same.then_some(()).ok_or(OAuthError::invalid_client())
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ClientCredentials {{ client_id: {}, method: {:?}, .. }}",
            self.client_id, self.method
        )
    }
}

/// Checks that no secret stands in the query of a request whose parameters belong into its body.
///
/// # Errors
/// `invalid_request`: whoever sends it there must stop, because queries are logged.
///
/// Source: RFC 6749 §2.3.1 and §4.3.2.
pub fn check_query(query: Option<&str>) -> Result<(), OAuthError> {
    const SECRETS: [&str; 6] =
        ["client_secret", "password", "code", "code_verifier", "refresh_token", "token"];
    let params = Params::parse(query.unwrap_or_default().as_bytes())?;
    if SECRETS.iter().any(|name| params.has(name)) {
        return Err(OAuthError::invalid_request("secrets belong into the body, not the query"));
    }
    Ok(())
}

/// Writes the `Authorization` header of a client that authenticates with its secret.
///
/// Source: RFC 6749 §2.3.1.
#[must_use]
pub fn basic_header(client_id: &ClientId, client_secret: &str) -> String {
    let encode = |text| form_urlencoded::byte_serialize(text).collect::<String>();
    let (id, secret) = (encode(client_id.as_str().as_bytes()), encode(client_secret.as_bytes()));
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// Reads `Basic base64(form-encoded id ":" form-encoded secret)` (RFC 6749 §2.3.1).
fn basic(header: &[u8]) -> Option<ClientCredentials> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let id = form::decode(&decoded[..colon]).ok()?;
    let secret = form::decode(&decoded[colon + 1..]).ok()?;
    with_secret(&id, &secret, AuthMethod::ClientSecretBasic)
}

fn with_secret(id: &str, secret: &str, method: AuthMethod) -> Option<ClientCredentials> {
    if secret.is_empty() || secret.len() > CLIENT_SECRET_LEN {
        return None;
    }
    let secret_digest = Some(Sha256Digest::of(secret.as_bytes()));
    Some(ClientCredentials { client_id: ClientId::parse(id).ok()?, method, secret_digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    fn parse(headers: &[&str], form: &str) -> Result<ClientCredentials, ErrorCode> {
        let params = Params::parse(form.as_bytes()).unwrap();
        ClientCredentials::parse(headers.iter().map(|header| header.as_bytes()), &params)
            .map_err(|error| error.code())
    }

    fn header(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn a_basic_header_is_read_back_as_it_was_written() {
        let client_id = ClientId::parse("web").unwrap();
        for secret in ["secret", "a:b %+&=/é", "~._-"] {
            let header = basic_header(&client_id, secret);
            let read = parse(&[&header], "").unwrap();
            assert_eq!(read.client_id, client_id);
            assert_eq!(read.secret_digest, Some(Sha256Digest::of(secret.as_bytes())), "{secret}");
        }
    }

    #[test]
    fn a_secret_in_the_header_is_form_decoded() {
        let credentials = parse(&[&header("web:%3A%25%2B+%C3%A9%2F")], "").unwrap();
        assert_eq!(credentials.client_id.as_str(), "web");
        let secret = Sha256Digest::of(":%+ é/".as_bytes());
        assert_eq!(credentials.verify_secret(Some(&secret)), Ok(()));
        let other = Sha256Digest::of(b"other");
        assert!(credentials.verify_secret(Some(&other)).is_err());
        assert!(credentials.verify_secret(None).is_err());
        assert!(parse(&[&header("web:a:b")], "").is_ok());
    }

    #[test]
    fn two_methods_at_once_are_an_invalid_request() {
        let basic = header("web:secret");
        for (headers, form) in [
            (vec![&*basic], "client_secret=secret"),
            (vec![&*basic], "client_id=other"),
            (vec![&*basic, &*basic], ""),
            (vec![], "client_id=web&client_id=web"),
            (vec![], "client_id=web&client_secret=a&client_secret=b"),
        ] {
            assert_eq!(parse(&headers, form).unwrap_err(), ErrorCode::InvalidRequest, "{form}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_invalid_client() {
        let long = header(&format!("web:{}", "a".repeat(CLIENT_SECRET_LEN + 1)));
        for (headers, form) in [
            (vec![], ""),
            (vec![], "client_secret=secret"),
            (vec![], "client_id=..%2Fa"),
            (vec![], "client_id=web&client_assertion=x&client_assertion_type=y"),
            (vec!["Bearer x"], ""),
            (vec!["Basic"], ""),
            (vec!["Basic !!!"], ""),
            (vec![&*long], ""),
            (vec![&*header("web")], ""),
            (vec![&*header("web:")], ""),
            (vec![&*header("web:%zz")], ""),
            (vec![&*format!("{}, Bearer y", header("web:secret"))], ""),
        ] {
            assert_eq!(
                parse(&headers, form).unwrap_err(),
                ErrorCode::InvalidClient,
                "{headers:?} {form}"
            );
        }
    }

    #[test]
    fn no_secret_stands_in_a_query() {
        assert_eq!(check_query(None), Ok(()));
        assert_eq!(check_query(Some("trace=1")), Ok(()));
        for query in ["client_secret=x", "a=b&password=", "%70assword=x", "token=t"] {
            let refused = check_query(Some(query)).map_err(|error| error.code());
            assert_eq!(refused, Err(ErrorCode::InvalidRequest), "{query}");
        }
    }

    #[test]
    fn the_registered_method_is_the_only_one() {
        let client = crate::client::tests::web();
        assert!(parse(&[&header("web:s")], "").unwrap().check_method(&client).is_ok());
        for form in ["client_id=web&client_secret=s", "client_id=web"] {
            assert!(parse(&[], form).unwrap().check_method(&client).is_err(), "{form}");
        }
    }

    #[test]
    fn a_public_client_never_has_a_secret() {
        let public = parse(&[], "client_id=web").unwrap();
        assert_eq!(public.verify_secret(None), Ok(()));
        assert!(public.verify_secret(Some(&Sha256Digest::of(b""))).is_err());
    }
}
