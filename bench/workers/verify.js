// What a worker in JavaScript would do for a Bearer token: verify it with jose, each time, against
// the keys that it has. It looks at no status list and at no scope, and remembers nothing.
import { createLocalJWKSet, jwtVerify } from "./jose/index.js";

// Made once: importing the keys for each token is not what is measured.
let keys;

export default {
  async fetch(request, env) {
    keys ??= createLocalJWKSet(JSON.parse(env.JWKS));
    const token = request.headers.get("Authorization")?.slice("Bearer ".length) ?? "";
    try {
      await jwtVerify(token, keys, {
        issuer: env.ISSUER,
        audience: env.ISSUER,
        typ: "at+jwt",
        algorithms: ["ES256"],
      });
      return new Response("hello");
    } catch {
      return new Response("", { status: 401 });
    }
  },
};
