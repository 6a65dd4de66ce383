import type { VisibleSession } from "./session";

declare module "h3" {
  interface H3EventContext {
    /** What a page that is rendered on the server may see of the session. */
    visibleSession?: VisibleSession;
  }
}
