import * as client from "openid-client";

/**
 * Signs out: of this application, and at Cadence.
 *
 * With `offline_access` a grant outlives the session at Cadence, so the refresh token is revoked
 * here; that ends everything of its grant. Signing out of this application does not depend on
 * Cadence being there.
 */
export default defineEventHandler(async (event) => {
  requireSameOrigin(event);
  setHeader(event, "cache-control", "no-store");
  const session = await readSession(event);
  endSession(event);
  if (!session) return sendRedirect(event, "/", 303);
  try {
    const cadence = await useCadence();
    await client.tokenRevocation(cadence, session.refresh_token).catch((error: unknown) => {
      console.warn("the refresh token could not be revoked:", reason(error));
    });
    const url = client.buildEndSessionUrl(cadence, {
      id_token_hint: session.id_token,
      post_logout_redirect_uri: new URL("/", useSettings().baseUrl).href,
    });
    return sendRedirect(event, url.href, 303);
  } catch (error) {
    throw cadenceIsAway(error);
  }
});
