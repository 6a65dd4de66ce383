import { defaults, seal, unseal } from "iron-webcrypto";
import type { H3Event } from "h3";

/**
 * A cookie that the browser keeps but can neither read nor change: encrypted (AES-256-CBC) and
 * authenticated (HMAC-SHA-256) under the session password, with its end inside the seal.
 *
 * A browser drops a cookie of more than 4096 bytes without a word, so `set` counts before.
 */
export class SealedCookie<Value> {
  /** `seconds` is how long it is good for, by the browser's clock and by the seal. */
  constructor(
    private readonly label: string,
    private readonly seconds: number,
  ) {}

  /** `__Host-`: only this host, only over https, and no subdomain can plant one. */
  get name(): string {
    return isHttps() ? `__Host-${this.label}` : this.label;
  }

  /** Returns the value, or nothing when there is no cookie, or a changed, foreign or late one. */
  async get(event: H3Event): Promise<Value | undefined> {
    const sealed = getCookie(event, this.name);
    if (!sealed) return undefined;
    try {
      const opened = await unseal(sealed, useSettings().sessionPassword, this.options);
      const { label, value } = opened as { label: string; value: Value };
      // The label is inside the seal, so one kind of cookie cannot stand in for another.
      return label === this.label ? value : undefined;
    } catch {
      return undefined;
    }
  }

  async set(event: H3Event, value: Value): Promise<void> {
    const content = { label: this.label, value };
    const sealed = await seal(content, useSettings().sessionPassword, this.options);
    const bytes = this.name.length + sealed.length + 1;
    if (bytes > 4096) throw new Error(`the cookie ${this.label} would have ${bytes} bytes`);
    setCookie(event, this.name, sealed, { ...this.attributes, maxAge: this.seconds });
  }

  clear(event: H3Event): void {
    deleteCookie(event, this.name, this.attributes);
  }

  private get options() {
    return { ...defaults, ttl: this.seconds * 1000 };
  }

  private get attributes() {
    return { httpOnly: true, path: "/", sameSite: "lax", secure: isHttps() } as const;
  }
}

function isHttps(): boolean {
  return useSettings().baseUrl.protocol === "https:";
}
