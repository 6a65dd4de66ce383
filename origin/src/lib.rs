//! The authorization server: the only half of Cadence that changes state.
//!
//! A request travels downhill: `http` (one file per endpoint) asks `grant` (pure: who gets what),
//! `store` and `directory` (what is remembered), and `issue` (the only mint). Nothing below knows
//! HTTP; nothing beside `config` reads the environment; nothing beside `clock` makes time or
//! randomness.

pub mod account;
pub mod app;
pub mod backchannel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod directory;
pub mod ending;
pub mod grant;
pub mod holds;
pub mod http;
pub mod issue;
pub mod keys;
pub mod known;
pub mod login;
pub mod logout;
pub mod password;
pub mod schema;
pub mod seen_requests;
pub mod server_secret;
pub mod statuses;
pub mod store;
pub mod thinning;
