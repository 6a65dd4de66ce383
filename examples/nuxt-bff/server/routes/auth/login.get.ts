import * as client from "openid-client";

/** Begins a sign-in: `/auth/login?return_to=/notes`. */
export default defineEventHandler(async (event) => {
  const return_to = parseReturnTo(getQuery(event).return_to);
  const cadence = await useCadence().catch((error: unknown) => {
    throw cadenceIsAway(error, return_to);
  });

  const signIn: SignIn = {
    state: client.randomState(),
    nonce: client.randomNonce(),
    code_verifier: client.randomPKCECodeVerifier(),
    return_to,
  };
  dropAbandoned(event);
  await signInCookie(signIn.state).set(event, signIn);

  const url = client.buildAuthorizationUrl(cadence, {
    redirect_uri: redirectUri(),
    scope: useSettings().scope,
    state: signIn.state,
    nonce: signIn.nonce,
    code_challenge: await client.calculatePKCECodeChallenge(signIn.code_verifier),
    code_challenge_method: "S256",
  });
  setHeader(event, "cache-control", "no-store");
  return sendRedirect(event, url.href, 303);
});
