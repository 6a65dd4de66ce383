# The edge in a workerd of your own. docs/self-hosting.md says how to build, start and upgrade it.
#
# Beside this file: cache.js, and the folder worker/, which is build/worker after
# `cargo xtask worker --optimize`.
@0x90c5f2b07cbbfd2d;

using Workerd = import "/workerd/workerd.capnp";
using Edge = import "worker/modules.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "cache", worker = .cache),
    # The way to the origin and to upstreams, which may be on this host.
    (
      name = "internet",
      network = (
        allow = ["public", "private", "local"],
        tlsOptions = (trustBrowserCas = true),
      ),
    ),
  ],
  sockets = [
    # On loopback, because TLS is left to a proxy in front. `--socket-addr=http=…` says otherwise,
    # and `--socket-fd=http=3` takes the socket from systemd.
    (name = "http", address = "127.0.0.1:8787", http = (), service = "edge"),

    # Or TLS by workerd itself, with the files beside this one:
    # (
    #   name = "https",
    #   address = "*:443",
    #   https = (
    #     tlsOptions = (
    #       keypair = (privateKey = embed "key.pem", certificateChain = embed "chain.pem"),
    #       minVersion = tls1Dot2,
    #     ),
    #   ),
    #   service = "edge",
    # ),
  ],
);

const edge :Workerd.Worker = (
  compatibilityDate = "2026-04-01",
  modules = Edge.modules,
  # Each setting is the variable of that name; one that is not set is not there.
  bindings = [
    (name = "CADENCE_ISSUER", fromEnvironment = "CADENCE_ISSUER"),
    (name = "CADENCE_ORIGIN_URL", fromEnvironment = "CADENCE_ORIGIN_URL"),
    (name = "CADENCE_EDGE_SECRET", fromEnvironment = "CADENCE_EDGE_SECRET"),
    (
      name = "CADENCE_EDGE_SECRET_SECOND",
      fromEnvironment = "CADENCE_EDGE_SECRET_SECOND",
    ),
    (name = "CADENCE_CORS_ORIGINS", fromEnvironment = "CADENCE_CORS_ORIGINS"),
    (name = "CADENCE_UPSTREAMS", fromEnvironment = "CADENCE_UPSTREAMS"),
    (
      name = "CADENCE_TRUST_CF_CONNECTING_IP",
      fromEnvironment = "CADENCE_TRUST_CF_CONNECTING_IP",
    ),
  ],
  cacheApiOutbound = "cache",
);

# What is behind the Cache API: without it every use of it is an error.
const cache :Workerd.Worker = (
  compatibilityDate = "2026-04-01",
  modules = [(name = "cache.js", esModule = embed "cache.js")],
);
