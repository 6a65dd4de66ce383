/** Writes bytes as base64url without padding (RFC 4648 §5, RFC 7515 §2). */
export function base64url(bytes) {
  const binary = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Reads base64url. Throws when it is not. */
export function fromBase64url(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** Returns 32 bytes that nobody can guess, as 43 characters. */
export function randomText() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

/** Returns the SHA-256 of a text's bytes. */
export function sha256(text) {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}

/** Writes bytes as hexadecimal digits. */
export function hex(bytes) {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
