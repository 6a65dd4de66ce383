// The contrast: a public client, code and PKCE in the browser, tokens in memory. See public.html for
// what that costs; the app in main.ts has none of this.
import * as oauth from "oauth4webapi";
import { byId, showClaims } from "./dom";

/** On Vite's development server the issuer is another origin; built, it is this one. */
const issuer = new URL(import.meta.env.DEV ? "http://localhost:8787" : location.origin);
const page = `${location.origin}${import.meta.env.BASE_URL}public`;
const redirectUri = import.meta.env.DEV ? `${location.origin}/callback` : page;
const client: oauth.Client = { client_id: "demo-spa" };
const SCOPE = "openid profile email offline_access notes:read";
const KEPT = "sign-in";

// Plain HTTP is for an issuer on this machine.
const http = { [oauth.allowInsecureRequests]: issuer.protocol === "http:" };

let server: oauth.AuthorizationServer;
let tokens: oauth.TokenEndpointResponse | undefined;
let claims: oauth.IDToken | undefined;
let person: oauth.UserInfoResponse | undefined;

/** What must survive the way through the login page. Removed as soon as it was read. */
interface Kept {
  readonly verifier: string;
  readonly state: string;
  readonly nonce: string;
}

async function discover(): Promise<oauth.AuthorizationServer> {
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http));
}

async function signIn(): Promise<void> {
  const kept: Kept = {
    verifier: oauth.generateRandomCodeVerifier(),
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
  };
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
  const url = new URL(server.authorization_endpoint!);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope: SCOPE,
    state: kept.state,
    nonce: kept.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(kept.verifier),
    code_challenge_method: "S256",
  }).toString();
  location.assign(url);
}

/** Takes the answer out of the URL: state and iss are checked first, then the code is redeemed. */
async function finish(url: URL, { verifier, state, nonce }: Kept): Promise<void> {
  const answer = oauth.validateAuthResponse(server, client, url, state);
  const response = await oauth.authorizationCodeGrantRequest(
    server, client, oauth.None(), answer, redirectUri, verifier, http);
  tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
    expectedNonce: nonce,
    requireIdToken: true,
  });
  claims = oauth.getValidatedIdTokenClaims(tokens)!;
  const told = await oauth.userInfoRequest(server, client, tokens.access_token, http);
  person = await oauth.processUserInfoResponse(server, client, claims.sub, told);
}

async function refresh(): Promise<void> {
  const response = await oauth.refreshTokenGrantRequest(
    server, client, oauth.None(), tokens!.refresh_token!, http);
  const next = await oauth.processRefreshTokenResponse(server, client, response);
  claims = oauth.getValidatedIdTokenClaims(next) ?? claims;
  tokens = { ...tokens, ...next };
}

/** Calls the API with the access token, as a Bearer token. */
function call(path: string): Promise<Response> {
  return oauth.protectedResourceRequest(tokens!.access_token, "GET", new URL(path, issuer), undefined, null, http);
}

/**
 * What a script that got into this page could do: wrap `fetch`, and wait. Shows how a token begins
 * that it caught, and puts `fetch` back.
 */
async function inject(): Promise<string> {
  const original = globalThis.fetch;
  let caught: string | null = null;
  globalThis.fetch = (input, init) => {
    caught = new Headers(init?.headers).get("authorization");
    return original(input, init);
  };
  try {
    await call("/api/me");
  } finally {
    globalThis.fetch = original;
  }
  return caught ?? "";
}

/** Ends the grant and the login session. */
async function signOut(): Promise<void> {
  const response = await oauth.revocationRequest(server, client, oauth.None(), tokens!.refresh_token!, http);
  await oauth.processRevocationResponse(response);
  const url = new URL(server.end_session_endpoint!);
  url.search = new URLSearchParams({
    id_token_hint: tokens!.id_token!,
    client_id: client.client_id,
    post_logout_redirect_uri: page,
  }).toString();
  location.assign(url);
}

/** The claims of a JWT, unverified: an app should not look into an access token, a demonstration may. */
function decoded(jwt: string): object {
  const payload = jwt.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (char) => char.charCodeAt(0))));
}

function render(): void {
  byId("waiting").hidden = true;
  byId("signed-out").hidden = Boolean(tokens);
  byId("signed-in").hidden = byId("sign-out").hidden = !tokens;
  if (!tokens) return;
  byId("name").textContent = person?.name ?? person?.email ?? claims?.sub ?? "";
  const held = ["access_token", "refresh_token", "id_token"].filter((name) => tokens?.[name]);
  byId("held").textContent = `${held.length} tokens that its scripts can read`;
  showClaims(byId("id-claims"), claims ?? {});
  showClaims(byId("person-claims"), person ?? {});
  showClaims(byId("access-claims"), decoded(tokens.access_token));
}

function trouble(error: unknown): void {
  const text =
    error instanceof oauth.AuthorizationResponseError
      ? error.error === "access_denied" ? "You did not sign in. Nothing has happened." : `The issuer answered: ${error.error}`
      : error instanceof oauth.ResponseBodyError && error.status < 500
        ? `The server refused: ${error.error}. Sign in again.`
        : error instanceof TypeError || error instanceof oauth.ResponseBodyError
          ? "Cadence cannot be reached just now. Please try again."
          : `This was not expected: ${error instanceof Error ? error.message : String(error)}`;
  byId("trouble").textContent = text;
  byId("trouble").hidden = false;
}

/** Does what a button is for, and says what came of it. */
function on(id: string, act: () => Promise<string | void>): void {
  byId(id).addEventListener("click", async () => {
    byId("trouble").hidden = true;
    try {
      const text = await act();
      if (text) byId("said").textContent = text;
    } catch (error) {
      trouble(error);
    }
  });
}

on("sign-in", signIn);
on("sign-out", signOut);
on("call", async () => {
  const notes: unknown[] = await (await call("/api/notes")).json();
  return `The API answered: you have ${notes.length} ${notes.length === 1 ? "note" : "notes"}.`;
});
on("refresh", async () => {
  await refresh();
  render();
  return "Another access token and another refresh token. The old ones are used up.";
});
on("inject", async () => `Caught: ${(await inject()).slice(0, 40)}… It is good for five minutes, from anywhere.`);

async function begin(): Promise<void> {
  const url = new URL(location.href);
  const kept = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  // The code must not stay in the address bar and in the history.
  if (url.search) history.replaceState(null, "", page);
  try {
    server = await discover();
    if (kept && (url.searchParams.has("code") || url.searchParams.has("error"))) {
      await finish(url, JSON.parse(kept) as Kept);
    }
  } catch (error) {
    trouble(error);
  }
  render();
  if (tokens) byId("in-title").focus();
}

await begin();
