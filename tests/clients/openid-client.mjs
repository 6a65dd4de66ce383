// The npm client `openid-client`: discovery → code with PKCE → ID token → userinfo → introspection
// → refresh → revocation. The test's browser signs in: this script prints the authorization URL,
// reads the URL that the browser came back with from standard input, and prints what it got.
import { createInterface } from "node:readline/promises";
import * as client from "openid-client";

const [issuer, clientId, clientSecret, redirectUri, scope, idTokenAlg] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const metadata = { redirect_uris: [redirectUri], id_token_signed_response_alg: idTokenAlg };
const authentication = clientSecret ? client.ClientSecretBasic(clientSecret) : client.None();
const config = await client.discovery(new URL(issuer), clientId, metadata, authentication, {
  execute: [client.allowInsecureRequests],
});

const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const nonce = client.randomNonce();
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: redirectUri,
  scope,
  state,
  nonce,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
});
say({ url: url.href });

const { value: came_back } = await lines.next();
const tokens = await client.authorizationCodeGrant(config, new URL(came_back), {
  pkceCodeVerifier: verifier,
  expectedState: state,
  expectedNonce: nonce,
  idTokenExpected: true,
  maxAge: 3600,
});
const claims = tokens.claims();
const userinfo = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
const introspected = clientSecret
  ? await client.tokenIntrospection(config, tokens.access_token)
  : undefined;
const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
await client.tokenRevocation(config, refreshed.refresh_token);
let after;
try {
  await client.refreshTokenGrant(config, refreshed.refresh_token);
} catch (error) {
  after = { status: error.status, error: error.error };
}
say({ claims, userinfo, introspected, tokens, refreshed, refreshed_claims: refreshed.claims(), after });
process.exit(0);
