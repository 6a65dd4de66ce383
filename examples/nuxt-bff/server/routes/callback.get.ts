import * as client from "openid-client";

/**
 * Where Cadence sends the browser back to, with a code or an error.
 *
 * Checks, in order: the browser began this sign-in (cookie and `state`), `iss` (RFC 9207), the
 * error, then at the token endpoint the code with its PKCE verifier and the client secret; the ID
 * token's signature, issuer, audience, times and nonce; that userinfo is about the same person.
 * All but the cookie is `openid-client`'s work.
 */
export default defineEventHandler(async (event) => {
  setHeader(event, "cache-control", "no-store");
  const { state } = getQuery(event);
  const cookie = signInCookie(typeof state === "string" ? state : "");
  const signIn = await cookie.get(event);
  if (!signIn) {
    throw createError({
      statusCode: 400,
      statusMessage: "Unknown sign-in",
      message: "This browser began no such sign-in, or it is finished or too old",
    });
  }

  try {
    const cadence = await useCadence();
    const here = new URL(event.path, useSettings().baseUrl);
    const tokens = await client.authorizationCodeGrant(cadence, here, {
      expectedState: signIn.state,
      expectedNonce: signIn.nonce,
      pkceCodeVerifier: signIn.code_verifier,
      idTokenExpected: true,
    });
    const { nonce: _, at_hash: __, ...claims } = tokens.claims()!;
    const userinfo = await client.fetchUserInfo(cadence, tokens.access_token, claims.sub);
    await saveSession(event, toSession(tokens, { user: { ...claims, ...userinfo } }));
  } catch (error) {
    if (error instanceof client.AuthorizationResponseError && error.error === "access_denied") {
      cookie.clear(event);
      return sendRedirect(event, `/denied?${new URLSearchParams({ return_to: signIn.return_to })}`, 303);
    }
    if (isAnswered(error)) cookie.clear(event);
    throw signInFailed(error, signIn.return_to);
  }
  cookie.clear(event);
  return sendRedirect(event, signIn.return_to, 303);
});
