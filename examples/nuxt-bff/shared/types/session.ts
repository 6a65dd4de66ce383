/** What the pages know about who is signed in: claims, and never a token. */
export interface VisibleSession {
  user: User;
  /** When the access token ends, in seconds since 1970. The server renews it before. */
  expires_at: number;
}

/** The claims of the ID token and of userinfo, by their wire names. */
export interface User {
  sub: string;
  name?: string;
  preferred_username?: string;
  email?: string;
  [claim: string]: unknown;
}

/** A note as the API sends it. */
export interface Note {
  id: number;
  text: string;
}
