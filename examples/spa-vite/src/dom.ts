/** Returns the element with this id, which the page has. */
export function byId<E extends HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** Claims that are times, in seconds since 1970. */
const TIMES = new Set(["exp", "iat", "nbf", "auth_time", "updated_at", "expires_at", "idle_expires_at"]);

/** Writes claims as a list of names and values, times as local times. */
export function showClaims(list: HTMLElement, claims: object): void {
  list.replaceChildren(
    ...Object.entries(claims).map(([name, value]) => {
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent =
        typeof value === "number" && TIMES.has(name)
          ? localTime(value)
          : typeof value === "string"
            ? value
            : JSON.stringify(value);
      row.append(term, text);
      return row;
    }),
  );
}

/** Writes a time, with the day when it is not today. */
export function localTime(seconds: number): string {
  const time = new Date(seconds * 1000);
  return time.toDateString() === new Date().toDateString()
    ? time.toLocaleTimeString([], { timeStyle: "short" })
    : time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
