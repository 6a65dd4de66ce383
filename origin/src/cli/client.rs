//! `cadence client`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use shared::backchannel_logout_uri::BackchannelLogoutUri;
use shared::client::{self, AuthMethod, ClientId, GrantType, PkceRule};
use shared::cors::WebOrigin;
use shared::jwk::Alg;
use shared::redirect_uri::RedirectUri;
use shared::scope::Scope;
use shared::secret::{Sha256Digest, base64url};
use shared::time::UnixTime;

use super::output::Output;
use super::{CHANGED_MEANWHILE, CommandError, directory};
use crate::account;
use crate::clock;
use crate::config::Config;
use crate::directory::{ClientRecord, Directory};

/// How long two secrets of a client may be good at most, seconds (90 days): the old one is meant to end.
const LONGEST_OVERLAP: u64 = 90 * 86_400;

/// What can be done with clients.
#[derive(Debug, Subcommand)]
pub enum Client {
    /// Registers a client; a confidential one's secret is shown once, now.
    Create(Box<Create>),
    /// Lists all clients.
    List,
    /// Shows one client.
    Show {
        /// The client.
        client_id: String,
    },
    /// Gives a confidential client a new secret, which is shown once, now.
    RotateSecret {
        /// The client.
        client_id: String,
        /// How long the secret before is good beside it, seconds; `0` if it has leaked.
        #[arg(long, default_value_t = 86_400, value_name = "SECONDS")]
        overlap: u64,
    },
    /// Disables a client: it is treated as unknown from then on.
    Disable {
        /// The client.
        client_id: String,
    },
    /// Enables a client again.
    Enable {
        /// The client.
        client_id: String,
    },
}

/// What is registered.
#[derive(Debug, Args)]
pub struct Create {
    /// The identifier: letters, digits, `-`, `.`, `_`, `~`.
    client_id: String,
    /// The name that users see; the identifier, if left out.
    #[arg(long)]
    name: Option<String>,
    /// How it authenticates.
    #[arg(long, value_enum, default_value_t = Method::ClientSecretBasic)]
    auth_method: Method,
    /// A grant that it may use; give it again for more.
    #[arg(long = "grant", value_enum, default_values_t = [Grant::AuthorizationCode, Grant::RefreshToken])]
    grants: Vec<Grant>,
    /// Where users may be sent back to; give it again for more.
    #[arg(long = "redirect-uri")]
    redirect_uris: Vec<String>,
    /// Where users may be sent after a logout; give it again for more.
    #[arg(long = "post-logout-redirect-uri")]
    post_logout_redirect_uris: Vec<String>,
    /// Where a sign-in begins anew, for users who have lost theirs.
    #[arg(long)]
    initiate_login_uri: Option<String>,
    /// Where the client is told that a login session has ended.
    #[arg(long)]
    backchannel_logout_uri: Option<String>,
    /// The client needs to be told which session; it always is.
    #[arg(long, requires = "backchannel_logout_uri")]
    backchannel_logout_session_required: bool,
    /// All that it may ask for.
    #[arg(long, default_value = "openid profile email offline_access")]
    scope: String,
    /// Lets a confidential client go without PKCE.
    #[arg(long)]
    pkce_optional: bool,
    /// The client is the operator's own: its users are not asked for consent.
    #[arg(long)]
    first_party: bool,
    /// A browser origin that may call the API; give it again for more.
    #[arg(long = "cors-origin")]
    cors_origins: Vec<String>,
    /// A further audience of its access tokens; give it again for more.
    #[arg(long = "audience")]
    audience: Vec<String>,
    /// The algorithm of its ID tokens: ES256, EdDSA or RS256.
    #[arg(long, default_value = "ES256")]
    id_token_alg: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Method {
    None,
    ClientSecretBasic,
    ClientSecretPost,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Grant {
    AuthorizationCode,
    RefreshToken,
    Password,
}

impl Client {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence.
    pub async fn run(self, config: &Config, output: &Output) -> Result<(), CommandError> {
        let directory = directory(config).await?;
        match self {
            Self::Create(create) => {
                let client = create.client()?;
                account::check_not_reserved(&client.client_id)?;
                let exists = format!("the client {} exists", client.client_id);
                let (record, secret) = register(client);
                if !directory.change_client(None, &record).await? {
                    return Err(exists.into());
                }
                output.object(&shown(&record, secret.as_deref()));
            }
            Self::List => {
                let clients = directory.list_clients().await?;
                let rows: Vec<Value> = clients.iter().map(|record| shown(record, None)).collect();
                let columns = [
                    "client_id",
                    "client_name",
                    "token_endpoint_auth_method",
                    "grant_types",
                    "backchannel_logout_uri",
                    "disabled_at",
                ];
                output.list(&rows, &columns);
            }
            Self::Show { client_id } => {
                output.object(&shown(&find(&*directory, &client_id).await?, None));
            }
            Self::RotateSecret { client_id, overlap } => {
                rotate(&*directory, &client_id, overlap, output).await?;
            }
            Self::Disable { client_id } => {
                let found = find(&*directory, &client_id).await?;
                let disabled_at = found.disabled_at.or(Some(clock::now()));
                change(&*directory, &found, disabled_at, output).await?;
            }
            Self::Enable { client_id } => {
                let found = find(&*directory, &client_id).await?;
                change(&*directory, &found, None, output).await?;
            }
        }
        Ok(())
    }
}

impl Create {
    fn client(self) -> Result<client::Client, CommandError> {
        let uris = |uris: Vec<String>| {
            uris.iter()
                .map(|uri| RedirectUri::parse(uri).map_err(|error| format!("{uri}: {error}")))
                .collect::<Result<Vec<_>, _>>()
        };
        let client = client::Client {
            client_name: self.name.unwrap_or_else(|| self.client_id.clone()),
            client_id: ClientId::parse(&self.client_id).map_err(|error| error.to_string())?,
            token_endpoint_auth_method: match self.auth_method {
                Method::None => AuthMethod::None,
                Method::ClientSecretBasic => AuthMethod::ClientSecretBasic,
                Method::ClientSecretPost => AuthMethod::ClientSecretPost,
            },
            grant_types: self
                .grants
                .iter()
                .map(|grant| match grant {
                    Grant::AuthorizationCode => GrantType::AuthorizationCode,
                    Grant::RefreshToken => GrantType::RefreshToken,
                    Grant::Password => GrantType::Password,
                })
                .collect(),
            redirect_uris: uris(self.redirect_uris)?,
            post_logout_redirect_uris: uris(self.post_logout_redirect_uris)?,
            initiate_login_uri: uris(self.initiate_login_uri.into_iter().collect())?.pop(),
            backchannel_logout_uri: self
                .backchannel_logout_uri
                .map(|uri| {
                    BackchannelLogoutUri::parse(&uri).map_err(|error| format!("{uri}: {error}"))
                })
                .transpose()?,
            backchannel_logout_session_required: self.backchannel_logout_session_required,
            scope: Scope::parse(&self.scope)?,
            pkce: if self.pkce_optional { PkceRule::Optional } else { PkceRule::Required },
            first_party: self.first_party,
            cors_origins: self
                .cors_origins
                .iter()
                .map(|origin| {
                    WebOrigin::parse(origin).map_err(|error| format!("{origin}: {error}"))
                })
                .collect::<Result<_, _>>()?,
            audience: self.audience,
            id_token_signed_response_alg: Alg::parse(&self.id_token_alg)
                .ok_or("--id-token-alg takes ES256, EdDSA or RS256")?,
        };
        client.validate().map_err(|rule| rule.to_string())?;
        Ok(client)
    }
}

/// Makes a client's record; a confidential client gets a new secret.
#[must_use]
pub fn register(client: client::Client) -> (ClientRecord, Option<String>) {
    let secret = (!client.is_public()).then(new_secret);
    let secret_digest = secret.as_ref().map(|secret| Sha256Digest::of(secret.as_bytes()));
    (ClientRecord { client, secret_digest, former_secret: None, disabled_at: None }, secret)
}

async fn change(
    directory: &dyn Directory,
    found: &ClientRecord,
    disabled_at: Option<UnixTime>,
    output: &Output,
) -> Result<(), CommandError> {
    let record = ClientRecord { disabled_at, ..found.clone() };
    if !directory.change_client(Some(found), &record).await? {
        return Err(CHANGED_MEANWHILE.into());
    }
    output.object(&shown(&record, None));
    Ok(())
}

fn new_secret() -> String {
    base64url(&clock::random::<32>())
}

/// Gives a client a new secret, which is shown once; the one before is good for `overlap` seconds more.
async fn rotate(
    directory: &dyn Directory,
    client_id: &str,
    overlap: u64,
    output: &Output,
) -> Result<(), CommandError> {
    if overlap > LONGEST_OVERLAP {
        return Err("--overlap is at most 7776000 seconds (90 days)".into());
    }
    let found = find(directory, client_id).await?;
    if found.client.is_public() {
        return Err(format!("the client {client_id} is public and has no secret").into());
    }
    let secret = new_secret();
    let digest = Sha256Digest::of(secret.as_bytes());
    let record = found.clone().with_secret(digest, overlap, clock::now());
    if !directory.change_client(Some(&found), &record).await? {
        return Err(CHANGED_MEANWHILE.into());
    }
    output.object(&shown(&record, Some(&secret)));
    Ok(())
}

async fn find(directory: &dyn Directory, client_id: &str) -> Result<ClientRecord, CommandError> {
    let id = ClientId::parse(client_id).map_err(|error| error.to_string())?;
    let record = directory.find_client(&id).await?;
    record.ok_or_else(|| format!("there is no client {client_id}").into())
}

/// Shows a client, with its secret at the moment in which it is made.
#[must_use]
pub fn shown(record: &ClientRecord, secret: Option<&str>) -> Value {
    let mut value = json!(record.client);
    if let Some(secret) = secret {
        value["client_secret"] = json!(secret);
    }
    if let Some(former) = record.former_secret {
        value["former_secret_until"] = json!(former.until);
    }
    value["disabled_at"] = json!(record.disabled_at);
    value
}
