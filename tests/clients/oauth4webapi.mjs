// The npm client `oauth4webapi` as a public single-page app: every step by hand, `iss` checked
// (RFC 9207). Prints the authorization URL, reads the URL that the browser came back with.
import { createInterface } from "node:readline/promises";
import * as oauth from "oauth4webapi";

const [issuer, clientId, redirectUri, scope] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const insecure = { [oauth.allowInsecureRequests]: true };

const url = new URL(issuer);
const server = await oauth.processDiscoveryResponse(
  url,
  await oauth.discoveryRequest(url, { ...insecure, algorithm: "oauth2" }),
);
const client = { client_id: clientId, id_token_signed_response_alg: "ES256" };
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const nonce = oauth.generateRandomNonce();
const authorize = new URL(server.authorization_endpoint);
for (const [name, value] of Object.entries({
  client_id: clientId,
  redirect_uri: redirectUri,
  response_type: "code",
  scope,
  state,
  nonce,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
})) {
  authorize.searchParams.set(name, value);
}
say({ url: authorize.href });

const { value: came_back } = await lines.next();
// Refuses an answer without `iss`, because the server's metadata announces it.
let without_iss;
try {
  const stripped = new URL(came_back);
  stripped.searchParams.delete("iss");
  oauth.validateAuthResponse(server, client, stripped, state);
} catch (error) {
  without_iss = error.message;
}
const params = oauth.validateAuthResponse(server, client, new URL(came_back), state);
const token = await oauth.processAuthorizationCodeResponse(
  server,
  client,
  await oauth.authorizationCodeGrantRequest(
    server,
    client,
    oauth.None(),
    params,
    redirectUri,
    verifier,
    insecure,
  ),
  { expectedNonce: nonce, requireIdToken: true },
);
const claims = oauth.getValidatedIdTokenClaims(token);
const userinfo = await oauth.processUserInfoResponse(
  server,
  client,
  claims.sub,
  await oauth.userInfoRequest(server, client, token.access_token, insecure),
);
const refreshed = await oauth.processRefreshTokenResponse(
  server,
  client,
  await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token.refresh_token, insecure),
);
await oauth.processRevocationResponse(
  await oauth.revocationRequest(server, client, oauth.None(), refreshed.refresh_token, insecure),
);
// The access token is dead: userinfo answers with a challenge.
let after;
try {
  const dead = await oauth.userInfoRequest(server, client, refreshed.access_token, insecure);
  await oauth.processUserInfoResponse(server, client, claims.sub, dead);
} catch (error) {
  after = error.cause?.[0]?.parameters?.error;
}
say({ claims, userinfo, refreshed: refreshed.access_token !== token.access_token, without_iss, after });
process.exit(0);
