//! Two edges, each with an origin of its own, on one Redis and one directory: one issuer.

use stack::{Edge, EdgeSettings, Origin, OriginSettings};

use crate::server::{EDGE_SECRET, Server};

/// A system that is there twice.
pub(crate) struct Pair {
    /// The first edge, which is the issuer, with the first origin and Redis.
    pub(crate) server: Server,
    pub(crate) second_origin: Origin,
    pub(crate) second_edge: Edge,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let server = Server::start_edge();
        let artifacts = stack::artifacts();
        let mut settings = OriginSettings::new(&artifacts.cadence, &server.url, stack::free_port());
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        settings.set("CADENCE_REDIS_URL", &server.redis.as_ref().unwrap().url());
        settings.keep_in(server.origin.data_dir());
        let second_origin = Origin::start(settings);
        let mut settings =
            EdgeSettings::new(&artifacts.workerd, &artifacts.worker, stack::free_port());
        settings.set("CADENCE_ISSUER", &server.url);
        settings.set("CADENCE_ORIGIN_URL", &second_origin.url());
        settings.set("CADENCE_EDGE_SECRET", EDGE_SECRET);
        let second_edge = Edge::start(settings);
        Self { server, second_origin, second_edge }
    }

    /// Returns the URLs of the edges, `0`, and of the origins, `1`.
    pub(crate) fn doors(&self) -> [[String; 2]; 2] {
        [
            [self.server.url.clone(), self.second_edge.url()],
            [self.server.origin.url(), self.second_origin.url()],
        ]
    }
}
