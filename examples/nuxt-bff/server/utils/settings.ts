/** The settings, read once: nothing else on the server reads the environment. */
export interface Settings {
  issuer: URL;
  clientId: string;
  clientSecret: string;
  scope: string;
  /** Where browsers reach this application. URLs are made from it, never from the `Host` header. */
  baseUrl: URL;
  /** Seals the cookies: at least 32 characters. */
  sessionPassword: string;
  /** How many seconds before its end an access token is renewed. */
  renewBefore: number;
}

const developmentSecrets = ["demo-web-secret", "development-only-session-password"];

/**
 * Checks the settings, and throws an error that names the variable to set.
 *
 * `http` is for loopback hosts. The secrets that everybody can read are for a base URL on a
 * loopback host.
 */
export function parseSettings(config: ReturnType<typeof useRuntimeConfig>): Settings {
  const settings: Settings = {
    issuer: url("NUXT_ISSUER", config.issuer),
    clientId: required("NUXT_CLIENT_ID", config.clientId),
    clientSecret: required("NUXT_CLIENT_SECRET", config.clientSecret),
    scope: required("NUXT_SCOPE", config.scope),
    baseUrl: url("NUXT_BASE_URL", config.baseUrl),
    sessionPassword: required("NUXT_SESSION_PASSWORD", config.sessionPassword),
    renewBefore: Number(config.renewBefore),
  };
  if (settings.baseUrl.pathname !== "/") {
    throw new Error("NUXT_BASE_URL must be an origin, without a path");
  }
  if (settings.sessionPassword.length < 32) {
    throw new Error("NUXT_SESSION_PASSWORD must have at least 32 characters");
  }
  if (!Number.isInteger(settings.renewBefore) || settings.renewBefore < 0) {
    throw new Error("NUXT_RENEW_BEFORE must be a number of seconds");
  }
  if (!isLoopback(settings.baseUrl)) {
    for (const name of ["clientSecret", "sessionPassword"] as const) {
      if (developmentSecrets.includes(settings[name])) {
        const variable = name === "clientSecret" ? "NUXT_CLIENT_SECRET" : "NUXT_SESSION_PASSWORD";
        throw new Error(
          `${variable} is the one for development, which everybody can read, ` +
            `but NUXT_BASE_URL is ${settings.baseUrl.origin}: set one of your own`,
        );
      }
    }
  }
  return settings;
}

let settings: Settings | undefined;

export function useSettings(): Settings {
  settings ??= parseSettings(useRuntimeConfig());
  return settings;
}

// Numbers arrive as numbers, because Nuxt reads the variables as JSON where it can.
function required(variable: string, value: unknown): string {
  const text = String(value ?? "");
  if (text === "") throw new Error(`${variable} is not set`);
  return text;
}

function url(variable: string, value: unknown): URL {
  const text = required(variable, value);
  const parsed = URL.canParse(text) ? new URL(text) : undefined;
  if (parsed?.protocol === "https:" || (parsed?.protocol === "http:" && isLoopback(parsed))) {
    return parsed;
  }
  throw new Error(`${variable} must be an https URL, or an http one on a loopback host: ${text}`);
}

function isLoopback(url: URL): boolean {
  return ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
}
