//! The ceiling: what bare axum, one Redis round trip and one signature allow, without any policy.
//!
//! Same versions, runtime, allocator and connection to Redis as the origin's, so that a ratio of
//! the two says what the origin's own work costs. Arguments: the address to listen at, and the URL
//! of a Redis.

use std::cell::RefCell;
use std::error::Error;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Consumes one row and writes its successor.
const ROTATE: &str = "
local row = redis.call('GETDEL', KEYS[1])
if not row then return false end
redis.call('SET', KEYS[2], row, 'EX', ARGV[1])
return row";

/// Seconds that a row lives, as long as a refresh token of the origin.
const ROW_LIVES_IN: u64 = 14 * 86_400;

/// Everything that a request needs.
struct Bare {
    redis: MultiplexedConnection,
    rotate: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

#[derive(Deserialize)]
struct Refresh {
    grant_type: String,
    refresh_token: String,
}

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: String,
    scope: &'static str,
}

#[derive(Deserialize)]
struct Lookup {
    token: String,
}

#[derive(Serialize)]
struct Found {
    active: bool,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'static str,
    sub: &'a str,
    aud: &'static str,
    client_id: &'static str,
    scope: &'static str,
    jti: &'a str,
    auth_time: u64,
    iat: u64,
    exp: u64,
}

type Failure = (axum::http::StatusCode, String);

fn failed(error: impl Error) -> Failure {
    (axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(redis)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench-ceiling ADDRESS REDIS_URL".into());
    };
    let mut redis = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
    let rotate = redis::cmd("SCRIPT").arg("LOAD").arg(ROTATE).query_async(&mut redis).await?;
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
    let router = Router::new()
        .route("/start", post(start))
        .route("/rotate", post(rotate_one))
        .route("/get", post(look_up))
        .route("/hash", get(hash))
        .route("/hello", get(async || "hello"))
        .with_state(Arc::new(Bare { redis, rotate, key, random }));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Makes a first token.
async fn start(State(bare): State<Arc<Bare>>) -> Result<Json<Tokens>, Failure> {
    let token = random_text();
    let () = redis::cmd("SET")
        .arg(row(&token))
        .arg("u1")
        .arg("EX")
        .arg(ROW_LIVES_IN)
        .query_async(&mut bare.redis.clone())
        .await
        .map_err(failed)?;
    tokens(&bare, "u1", token)
}

/// One form, one script, one signature.
async fn rotate_one(
    State(bare): State<Arc<Bare>>,
    Form(form): Form<Refresh>,
) -> Result<Json<Tokens>, Failure> {
    if form.grant_type != "refresh_token" {
        return Err((axum::http::StatusCode::BAD_REQUEST, "unsupported_grant_type".to_owned()));
    }
    let successor = random_text();
    let row: Option<String> = redis::cmd("EVALSHA")
        .arg(&bare.rotate)
        .arg(2)
        .arg(row(&form.refresh_token))
        .arg(row(&successor))
        .arg(ROW_LIVES_IN)
        .query_async(&mut bare.redis.clone())
        .await
        .map_err(failed)?;
    let user = row.ok_or((axum::http::StatusCode::BAD_REQUEST, "invalid_grant".to_owned()))?;
    tokens(&bare, &user, successor)
}

/// One form, one `GET`.
async fn look_up(
    State(bare): State<Arc<Bare>>,
    Form(form): Form<Lookup>,
) -> Result<Json<Found>, Failure> {
    let row: Option<String> = redis::cmd("GET")
        .arg(row(&form.token))
        .query_async(&mut bare.redis.clone())
        .await
        .map_err(failed)?;
    Ok(Json(Found { active: row.is_some() }))
}

/// One password hash with the origin's parameters. Each thread has memory of its own for it.
async fn hash() -> Result<String, Failure> {
    thread_local!(static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) });
    let hashed = tokio::task::spawn_blocking(|| {
        let params = Params::new(19_456, 2, 1, None)?;
        BLOCKS.with_borrow_mut(|blocks| {
            blocks.resize(params.block_count(), Block::default());
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let (password, mut hash) = (b"correct-horse-battery", [0; 32]);
            argon2.hash_password_into_with_memory(password, &[7; 16], &mut hash, blocks)?;
            Ok::<_, argon2::Error>(URL_SAFE_NO_PAD.encode(hash))
        })
    });
    hashed.await.map_err(failed)?.map_err(failed)
}

fn tokens(bare: &Bare, user: &str, refresh_token: String) -> Result<Json<Tokens>, Failure> {
    let claims = Claims {
        iss: "http://127.0.0.1:8888",
        sub: user,
        aud: "http://127.0.0.1:8888",
        client_id: "bench-web",
        scope: "profile email",
        jti: &refresh_token[..24],
        auth_time: 1_800_000_000,
        iat: 1_800_000_000,
        exp: 1_800_000_300,
    };
    let claims = serde_json::to_vec(&claims).map_err(failed)?;
    let mut jwt = URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256","typ":"at+jwt","kid":"ceiling"}"#);
    jwt.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut jwt);
    let signature = bare.key.sign(&bare.random, jwt.as_bytes()).map_err(failed)?;
    jwt.push('.');
    URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut jwt);
    Ok(Json(Tokens {
        access_token: jwt,
        token_type: "Bearer",
        expires_in: 300,
        refresh_token,
        scope: "profile email",
    }))
}

#[expect(clippy::disallowed_methods, reason = "this program is no part of the product")]
fn random_text() -> String {
    let mut bytes = [0; 32];
    // Without randomness two tokens would be the same, and the next rotation would fail loudly.
    let _ = getrandom::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn row(token: &str) -> String {
    format!("ceiling:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(token)))
}
