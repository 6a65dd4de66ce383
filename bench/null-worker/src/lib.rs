//! The null worker: the least that a Rust worker can do, which is what the edge is compared with.

use worker::{Context, Env, Request, Response, Result, event};

/// Answers every request with one word.
#[event(fetch)]
async fn fetch(_request: Request, _env: Env, _context: Context) -> Result<Response> {
    Response::ok("hello")
}
