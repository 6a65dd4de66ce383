import { base64url, fromBase64url } from "./encoding.js";

/** How WebCrypto calls the algorithms that this server signs with (RFC 7518 §3, RFC 8037 §3.1). */
const ALGORITHMS = {
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256", digest: "SHA-256" },
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", digest: "SHA-256" },
  EdDSA: { name: "Ed25519", digest: "SHA-512" },
};

/** Takes a token apart. Does NOT verify anything. */
export function takeApart(token) {
  const parts = token.split(".");
  const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(new TextDecoder().decode(fromBase64url(part))));
  return { token, parts, header, claims };
}

/**
 * Verifies the signature of a token with the key of a key set that its `kid` names. The algorithm is
 * the key's, never just what the token says of itself.
 *
 * Does NOT look at the claims.
 */
export async function signatureIsGood({ parts, header }, { keys }) {
  const jwk = keys.find(({ kid }) => kid === header.kid);
  const algorithm = ALGORITHMS[header.alg];
  if (!jwk || jwk.alg !== header.alg || !algorithm) return false;
  const key = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
  const signed = new TextEncoder().encode(`${parts[0]}.${parts[1]}`);
  return crypto.subtle.verify(algorithm, key, fromBase64url(parts[2]), signed);
}

/** Returns what `at_hash` must be for an access token (OpenID Connect Core §3.1.3.6). */
export async function accessTokenHash(accessToken, alg) {
  const digest = await crypto.subtle.digest(ALGORITHMS[alg].digest, new TextEncoder().encode(accessToken));
  return base64url(digest.slice(0, digest.byteLength / 2));
}
