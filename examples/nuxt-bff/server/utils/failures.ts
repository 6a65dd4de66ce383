import * as client from "openid-client";

/** An error page that says why, and leads back to where the sign-in was going. */
export function signInFailed(error: unknown, return_to: string) {
  if (!isAnswered(error)) return cadenceIsAway(error, return_to);
  console.warn("a sign-in was refused:", reason(error));
  return createError({
    statusCode: 400,
    statusMessage: "Sign-in refused",
    message: "The answer of the sign-in could not be accepted",
    data: { return_to },
  });
}

/** 503: nothing is wrong with the person or the browser. Nobody is signed out by it. */
export function cadenceIsAway(error: unknown, return_to?: string) {
  console.warn("Cadence did not answer:", reason(error));
  return createError({
    statusCode: 503,
    statusMessage: "Sign-in unavailable",
    message: "Cadence does not answer at the moment",
    data: { return_to },
  });
}

/**
 * Tells whether asking again is pointless: Cadence answered, and with a refusal, or its answer
 * failed a check. Otherwise it was not reached, or said 5xx.
 */
export function isAnswered(error: unknown): boolean {
  if (error instanceof client.ResponseBodyError) return error.status < 500;
  if (error instanceof client.AuthorizationResponseError) {
    return !["server_error", "temporarily_unavailable"].includes(error.error);
  }
  return error instanceof client.ClientError && !isNoAnswer.includes(error.code ?? "");
}

// Too late, or an answer that is not Cadence's: a proxy's page, say.
const isNoAnswer = [
  "OAUTH_TIMEOUT",
  "OAUTH_ABORT",
  "OAUTH_RESPONSE_IS_NOT_CONFORM",
  "OAUTH_RESPONSE_IS_NOT_JSON",
];
