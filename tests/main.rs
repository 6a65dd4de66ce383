//! The black-box suite: real workerd, origin and Redis, and clients that nobody here wrote.
//!
//! One module per endpoint, flow or fault. Tests spell out what goes over the wire, and never
//! compute it with the code under test.

/// Runs each scenario against every server of the suite: one test for each.
///
/// `doors` are the edge and the origin called directly, both on Redis; `everywhere` adds the
/// embedded store.
macro_rules! scenarios {
    ($where:ident: $($(#[$doc:meta])* fn $name:ident($server:ident) $body:block)+) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            fn scenario($server: &Server) $body

            scenarios!(@$where);
        }
    )+};
    (@doors) => {
        #[test]
        fn through_the_edge() {
            let server = Server::edge();
            let _log = server.log_on_failure();
            scenario(server);
            crate::secrets::lie_nowhere(server);
        }

        #[test]
        fn at_the_origin() {
            let server = Server::origin();
            let _log = server.log_on_failure();
            scenario(server);
            crate::secrets::lie_nowhere(server);
        }
    };
    (@everywhere) => {
        scenarios!(@doors);

        #[test]
        fn on_the_embedded_store() {
            let server = Server::embedded();
            let _log = server.log_on_failure();
            scenario(server);
            crate::secrets::lie_nowhere(server);
        }
    };
}

mod account;
mod advertised;
mod apart;
mod apps;
mod authorize;
mod backchannel_logout;
mod bad_origin;
mod bearer;
mod between;
mod bff;
mod bff_api;
mod bff_renewal;
mod both_doors;
mod browser;
mod caching;
mod client_authentication;
mod clocks;
mod code;
mod code_life;
mod code_races;
mod command_line;
mod consent;
mod cors;
mod crowd;
mod deployed;
mod discovery;
mod documents;
mod drain;
mod edge_alone;
mod edge_claims;
mod edge_keeps;
mod edge_trust;
mod embedded_faults;
mod entropy;
mod environments;
mod faults;
mod forge;
mod fuzz;
mod gateway;
mod headers;
mod http;
mod introspect;
mod isolation;
mod jwt;
mod key_set;
mod login;
mod logout;
mod names;
mod npm_clients;
mod oauth;
mod openapi;
mod openidconnect_crate;
mod outage;
mod pages;
mod pair;
mod password;
mod postgres;
mod randomness;
mod rate_limit;
mod redirect_fuzz;
mod redirect_uri;
mod redis_access;
mod redis_failover;
mod redis_load;
mod redis_settings;
mod redis_topologies;
mod refresh;
mod refresh_races;
mod revoke;
mod scripted;
mod secret_change;
mod secrets;
mod self_hosting;
mod server;
mod signatures;
mod signer;
mod smuggling;
mod status_list;
mod throttling;
mod timing;
mod token;
mod vectors;
mod wire;
