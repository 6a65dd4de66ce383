import * as client from "openid-client";

/** Where Cadence sends browsers back to, exactly as it is registered there. */
export const redirectUri = () => new URL("/callback", useSettings().baseUrl).href;

let discovered: Promise<client.Configuration> | undefined;

/**
 * Returns the configuration of the issuer, from its discovery document, read once.
 *
 * A failure is not remembered: Cadence may be back for the next request.
 */
export function useCadence(): Promise<client.Configuration> {
  discovered ??= discover().catch((error: unknown) => {
    discovered = undefined;
    throw error;
  });
  return discovered;
}

async function discover(): Promise<client.Configuration> {
  const { issuer, clientId, clientSecret } = useSettings();
  const insecure = issuer.protocol === "http:" ? [client.allowInsecureRequests] : [];
  return client.discovery(
    issuer,
    clientId,
    // Cadence signs ID tokens with ES256 unless the client is registered for another algorithm.
    { id_token_signed_response_alg: "ES256" },
    client.ClientSecretBasic(clientSecret),
    {
      // Also check the signature of ID tokens, though they come straight from the issuer.
      execute: [...insecure, client.enableNonRepudiationChecks],
      // Cadence's edge answers within 5 seconds, if only with 503.
      timeout: 8,
    },
  );
}

/**
 * Tells whether Cadence said that the grant is over. Only this may sign somebody out: any other
 * failure (503, a timeout, a proxy's page) says nothing about the grant.
 */
export function isGrantOver(error: unknown): boolean {
  return error instanceof client.ResponseBodyError && error.error === "invalid_grant";
}
