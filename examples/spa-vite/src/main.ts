// The app with its tokens at the edge: who is signed in, notes, and what happens when the session
// ends or Cadence is away. Everything about the session is in bff.ts.
import { bff, signIn, SignInNeeded, signOut, Unavailable, watchSession, type Session, type State } from "./bff";
import { byId, localTime, showClaims } from "./dom";

interface Note {
  readonly id: number;
  readonly text: string;
}

const DRAFT = "draft";
const input = byId<HTMLInputElement>("text");

/** What the page shows now; an unknown state changes nothing of it. */
let shown: "nothing" | "signed-out" | "signed-in" = "nothing";
let sub: string | undefined;
let count = 0;
let events: EventSource | undefined;
let reload: ReturnType<typeof setTimeout> | undefined;

const returned = readReturn();
const check = watchSession(render);

/** Takes what a failed sign-in left in the URL. */
function readReturn(): string | undefined {
  const url = new URL(location.href);
  const error = url.searchParams.get("error");
  if (!error) return undefined;
  for (const name of ["error", "error_description"]) url.searchParams.delete(name);
  history.replaceState(null, "", url);
  if (error === "access_denied") return "You did not sign in. Nothing has happened.";
  if (error === "login_required") return "Nobody is signed in at Cadence.";
  return "The sign-in did not work this time. Please try again.";
}

const REASONS = {
  nobody: "Sign in to read them and to write new ones.",
  ended: "Sign in again, and you are back here, with what you were writing.",
  "signed-out": "You are signed out, in all tabs.",
};

function render(state: State): void {
  if (state.is === "unknown") {
    trouble(`Cadence cannot be reached just now. What you see stays; the next try is in ${state.retryIn} s.`);
    return;
  }
  trouble();
  byId("waiting").hidden = true;
  byId("signed-in").hidden = byId("sign-out").hidden = state.is !== "signed-in";
  byId("signed-out").hidden = state.is !== "signed-out";
  if (state.is === "signed-in") renderSession(state.session);
  else renderSignedOut(state.why);
}

function renderSession(session: Session): void {
  byId("name").textContent = session.name ?? session.email ?? session.sub;
  byId("until").textContent =
    `This session ends at ${localTime(session.expires_at)}, or at ${localTime(session.idle_expires_at)} if nothing happens until then.`;
  showClaims(byId("claims"), session);
  // Another person's notes are not to be seen for a moment, either.
  if (sub !== session.sub) showNotes([]);
  sub = session.sub;
  if (shown === "signed-in") return;
  shown = "signed-in";
  input.value = sessionStorage.getItem(DRAFT) ?? "";
  sessionStorage.removeItem(DRAFT);
  void loadNotes();
  listen();
}

function renderSignedOut(why: keyof typeof REASONS): void {
  const before = shown;
  if (why === "ended" && input.value) sessionStorage.setItem(DRAFT, input.value);
  if (why === "signed-out") sessionStorage.removeItem(DRAFT);
  byId("out-title").textContent = why === "ended" ? "Your session is over" : "Your notes";
  byId("out-text").textContent = why === "nobody" ? (returned ?? REASONS.nobody) : REASONS[why];
  shown = "signed-out";
  sub = undefined;
  clearTimeout(reload);
  stopListening();
  showNotes([]);
  showClaims(byId("claims"), {});
  input.value = "";
  if (before === "signed-in") byId("out-title").focus();
}

function trouble(text?: string): void {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text ?? "";
}

function showNotes(notes: readonly Note[]): void {
  count = notes.length;
  const known = new Set([...byId("notes").children].map((item) => (item as HTMLElement).dataset["id"]));
  byId("notes").replaceChildren(
    ...notes.map(({ id, text }) => {
      const item = document.createElement("li");
      item.dataset["id"] = String(id);
      item.textContent = text;
      if (known.size > 0 && !known.has(String(id))) item.className = "new";
      return item;
    }),
  );
  byId("empty").hidden = count > 0;
}

async function loadNotes(failures = 0): Promise<void> {
  clearTimeout(reload);
  try {
    const response = await bff("/api/notes");
    if (!response.ok) throw new Error(`notes: ${response.status}`);
    const notes: Note[] = await response.json();
    if (shown !== "signed-in") return;
    showNotes(notes);
    trouble();
  } catch (error) {
    if (error instanceof SignInNeeded) return check();
    if (!(error instanceof Unavailable)) throw error;
    const wait = Math.max(error.retryAfter ?? 0, Math.min(2 ** failures, 60));
    trouble(`Your notes cannot be read just now. The next try is in ${wait} s.`);
    reload = setTimeout(() => void loadNotes(failures + 1), wait * 1000);
  }
}

/** Hears how many notes there are, and reads them when that is not what is shown. */
function listen(): void {
  if (events || shown !== "signed-in" || document.visibilityState !== "visible") return;
  events = new EventSource("/bff/api/notes/events");
  events.addEventListener("open", () => byId("live").classList.add("on"));
  events.addEventListener("notes", ({ data }) => {
    if (Number(data) !== count) void loadNotes();
  });
  events.addEventListener("error", () => {
    byId("live").classList.remove("on");
    // The browser connects again by itself, unless the answer was an error: then somebody must look.
    if (events?.readyState !== EventSource.CLOSED) return;
    stopListening();
    void check();
    setTimeout(listen, 15_000);
  });
}

function stopListening(): void {
  events?.close();
  events = undefined;
  byId("live").classList.remove("on");
}

// A tab that nobody looks at must not keep the session alive.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") listen();
  else stopListening();
});

byId("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text) return;
  byId("problem").textContent = "";
  try {
    const response = await bff("/api/notes", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text }),
    });
    await response.text();
    if (!response.ok) {
      byId("problem").textContent = response.status === 507 ? "There is no room for more notes." : "The note was not taken.";
      return;
    }
    input.value = "";
    await loadNotes();
  } catch (error) {
    if (error instanceof SignInNeeded) return check();
    if (!(error instanceof Unavailable)) throw error;
    // Whether it was stored is not known, so it is not sent again by itself.
    byId("problem").textContent = "There was no answer. Look whether the note is there before you add it again.";
    await loadNotes();
  }
});

byId("sign-in").addEventListener("click", () => signIn());

byId("sign-out").addEventListener("click", async () => {
  try {
    await signOut();
    await check("signed-out");
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    trouble("You are still signed in: Cadence cannot be reached just now. Please try again.");
  }
});
