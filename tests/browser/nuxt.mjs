// The Nuxt application of examples/nuxt-bff in Chromium: sign-in with consent denied and given, a
// page rendered on the server, renewal under parallel requests, tampered cookies, sign-out; then
// its pages in the light, in the dark and on a phone. Saves screenshots and prints what it saw.
//
// Renewal is seen only when the application runs with NUXT_RENEW_BEFORE=300, the whole life of an
// access token: then one that is five seconds old is due.
import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [given, folder, username, password] = process.argv.slice(2);
const app = new URL(given).origin;
mkdirSync(folder, { recursive: true });

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});
const desktop = { viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" };
const problems = [];
const violations = [];
const leaks = [];

// A JWT, or a long run of base64url: Cadence's refresh tokens have 82 characters.
const tokens = /eyJ[\w-]{8,}\.[\w-]{8,}|(?<![\w-])[\w-]{70,}(?![\w-])/;
const leak = (where, text) => tokens.test(text) && leaks.push(`${where}: ${text.match(tokens)[0]}`);
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const pathOf = (url) => new URL(url).pathname + new URL(url).search;
const sessionOf = async (context) => {
  return (await context.cookies(app)).find(({ name }) => name.endsWith("notes_session"));
};

// Answers with an error status are errors on the console, too: those that are meant to be seen.
const expected = [];
function watch(page) {
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const at = expected.findIndex((status) => message.text().includes(`status of ${status}`));
    if (at >= 0) expected.splice(at, 1);
    else problems.push(`${pathOf(page.url())}: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`${page.url()}: ${error}`));
  page.on("response", async (response) => {
    const type = response.headers()["content-type"] ?? "";
    if (!response.url().startsWith(app) || !/html|json/.test(type)) return;
    leak(response.url(), await response.text().catch(() => ""));
  });
  return page;
}

async function look(page, what) {
  await page.waitForLoadState("networkidle");
  const { scrollWidth, innerWidth, cookie } = await page.evaluate(() => ({
    scrollWidth: document.documentElement.scrollWidth,
    innerWidth: window.innerWidth,
    cookie: document.cookie,
  }));
  if (scrollWidth > innerWidth) problems.push(`${what} is ${scrollWidth} wide on ${innerWidth}`);
  leak(`document.cookie of ${what}`, cookie);
  leak(`the page ${what}`, await page.content());
  await page.screenshot({ path: `${folder}/nuxt-${what}.png`, fullPage: true });
  const { violations: found } = await new AxeBuilder({ page }).analyze();
  for (const { id, nodes } of found) violations.push(`${what}: ${id} at ${nodes[0].target}`);
}

const context = await browser.newContext({ ...desktop, colorScheme: "light" });
const page = watch(await context.newPage());
const button = (name, on = page) => on.getByRole("button", { name, exact: true });
const link = (name, on = page) => on.getByRole("link", { name, exact: true });
const told = {};

// Nobody is signed in: the page leads to Cadence, and a denial leads to a page that helps.
await page.goto(app);
await look(page, "start-light");
await page.goto(`${app}/notes`);
const issuer = new URL(page.url()).origin;
told.asked = new URL(page.url()).pathname;
await page.getByLabel("Username").fill(username);
await page.getByLabel("Password").fill(password);
await button("Sign in").click();
await page.getByRole("heading", { name: /Allow/ }).waitFor();
await button("Deny").click();
await page.waitForURL(`${app}/denied**`);
told.denied = await page.locator("main").innerText();
told.session_after_denial = await (await context.request.get(`${app}/api/session`)).json();
await look(page, "denied-light");

// Asked again and allowed: back to the page that was wanted.
await link("Ask me again").click();
await page.getByRole("heading", { name: /Allow/ }).waitFor();
told.scopes_asked = await page.locator(".scopes").innerText();
await button("Allow").click();
await page.waitForURL(`${app}/notes`);
told.landed = pathOf(page.url());
const cookie = await sessionOf(context);
told.cookie = {
  bytes: cookie.name.length + cookie.value.length + 1,
  http_only: cookie.httpOnly,
  same_site: cookie.sameSite,
  secure: cookie.secure,
};
told.left_over = (await context.cookies(app)).filter(({ name }) => name.includes("sign_in")).length;

// A note, added in the page, is in the HTML of the first answer.
const text = `a note of ${new Date().toISOString()}`;
await page.waitForLoadState("networkidle");
await page.getByLabel("New note").fill(text);
await button("Add").click();
await page.getByRole("listitem").filter({ hasText: text }).waitFor();
const html = await (await context.request.get(`${app}/notes`)).text();
told.note_in_first_html = html.includes(text);
leak("the HTML of /notes", html);

// Without JavaScript, the same form works.
const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() });
const plainPage = await plain.newPage();
await plainPage.goto(`${app}/notes`);
await plainPage.getByLabel("New note").fill(`${text}, by hand`);
await button("Add", plainPage).click();
await plainPage.waitForURL(`${app}/notes`);
told.note_without_javascript = await plainPage
  .getByRole("listitem").filter({ hasText: `${text}, by hand` }).count();
await plain.close();

// A second tab is the same session.
const second = watch(await context.newPage());
await second.goto(`${app}/account`);
told.second_tab = await second.locator("main").innerText();
await link("Notes", second).click();
await second.getByRole("listitem").filter({ hasText: text }).first().waitFor();
await second.close();

// Twenty requests with a cookie whose access token is due: all are answered, by one renewal.
const before = await (await context.request.get(`${app}/api/session`)).json();
await pause(5500);
const old = await sessionOf(context);
const twenty = await Promise.all(
  Array.from({ length: 20 }, async (_, at) => {
    const answer = await ask(at % 2 ? "/api/notes" : "/api/session", old.value);
    return { status: answer.status, session: at % 2 ? undefined : await answer.json() };
  }),
);
told.parallel = {
  statuses: [...new Set(twenty.map(({ status }) => status))],
  ends: new Set(twenty.flatMap(({ session }) => session?.session.expires_at ?? [])).size,
  renewed: twenty[0].session?.session.expires_at > before.session.expires_at,
};
// The same inside the page, whose requests change the browser's cookie on the way.
await pause(5500);
told.parallel_in_page = await page.evaluate(async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => fetch("/api/notes")));
  return [...new Set(answers.map(({ status }) => status))];
});
told.cookie_changed = (await sessionOf(context)).value !== old.value;
// An answer with a new cookie was lost, long ago: the old cookie still leads to the newest tokens.
await pause(5500);
const late = await ask("/api/notes", old.value);
told.lost_answer = late.status;
told.still_signed_in = (await ask("/api/notes", (await sessionOf(context)).value)).status;

// What must be refused.
const evil = ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "notes"];
told.return_to = [];
for (const return_to of evil) {
  const url = `${app}/auth/login?${new URLSearchParams({ return_to })}`;
  const { status, headers } = await fetch(url, { redirect: "manual" });
  told.return_to.push([status, headers.get("location")]);
}
expected.push(400);
await page.goto(`${app}/auth/login?return_to=//evil.example`);
told.return_to_page = await page.getByRole("heading", { level: 1 }).innerText();
expected.push(400);
await page.goto(`${app}/callback?code=stolen&state=of-another-browser&iss=${encodeURIComponent(issuer)}`);
told.foreign_callback = await page.locator("main").innerText();
await look(page, "error-light");
told.callback = {
  wrong_issuer: await callback({ iss: "https://evil.example" }),
  no_issuer: await callback({ iss: "" }),
  made_up_code: await callback({ iss: issuer }),
};
told.cross_site = {
  note: await crossSite("/api/notes", { "content-type": "application/json" }, '{"text":"csrf"}'),
  logout: await crossSite("/auth/logout", {}, ""),
};
expected.push(404);
await page.goto(`${app}/no-such-page`);
told.missing = await page.getByRole("heading", { level: 1 }).innerText();

// A changed session cookie is nobody's, and no error.
const value = (await sessionOf(context)).value;
const middle = value.length >> 1;
const changed = value.slice(0, middle) + (value[middle] === "A" ? "B" : "A") + value.slice(middle + 1);
const tampered = await ask("/notes", changed);
told.tampered = [
  tampered.status,
  tampered.headers.get("location"),
  await (await ask("/api/session", changed)).json(),
];

// Every page, in three looks.
const state = await context.storageState();
for (const [name, options] of [
  ["light", { ...desktop, colorScheme: "light" }],
  ["dark", { ...desktop, colorScheme: "dark" }],
  ["phone", { ...desktop, viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
]) {
  const other = await browser.newContext({ ...options, storageState: state });
  const tab = watch(await other.newPage());
  await tab.goto(app);
  await look(tab, `home-${name}`);
  for (const [title, what] of [["Notes", "notes"], ["Account", "account"], ["Libraries", "libraries"]]) {
    await link(title, tab).click();
    await tab.waitForURL(`${app}/${what}`);
    await look(tab, `${what}-${name}`);
  }
  if (name !== "light") {
    await tab.goto(`${app}/denied`);
    await look(tab, `denied-${name}`);
    expected.push(404);
    await tab.goto(`${app}/no-such-page`);
    await look(tab, `error-${name}`);
  }
  await other.close();
}

// Signed out: here, at Cadence, and for a copy of the cookie.
await page.goto(`${app}/account`);
await page.waitForLoadState("networkidle");
const copy = (await sessionOf(context)).value;
await page.locator("main").getByRole("button", { name: "Sign out" }).click();
await page.waitForURL(`${app}/`);
told.signed_out = {
  link: await link("Sign in").isVisible(),
  session: await (await context.request.get(`${app}/api/session`)).json(),
  cookie: (await sessionOf(context)) ?? null,
};
let kept = 200;
for (let tries = 0; tries < 20 && kept === 200; tries += 1) {
  kept = (await ask("/api/notes", copy)).status;
  if (kept === 200) await pause(500);
}
told.copied_cookie = kept;
await page.goto(`${app}/notes`);
await page.getByLabel("Password").waitFor();
told.asked_again = new URL(page.url()).pathname;

await browser.close();
process.stdout.write(`${JSON.stringify({ ...told, problems, violations, leaks, unseen: expected })}\n`);

/** Asks with a session cookie, and does not let the answer change the browser's. */
function ask(path, value) {
  return fetch(app + path, {
    headers: { cookie: `${cookie.name}=${value}`, accept: path.startsWith("/api") ? "application/json" : "text/html" },
    redirect: "manual",
  });
}

/** Begins a sign-in by hand, and comes back with something that Cadence did not say. */
async function callback(more) {
  const begun = await fetch(`${app}/auth/login?return_to=/notes`, { redirect: "manual" });
  const { state } = Object.fromEntries(new URL(begun.headers.get("location")).searchParams);
  const query = new URLSearchParams({ code: "made-up", state, ...more });
  if (!more.iss) query.delete("iss");
  const signIn = begun.headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
  const answer = await fetch(`${app}/callback?${query}`, {
    headers: { cookie: signIn, accept: "text/html" },
    redirect: "manual",
  });
  const session = answer.headers.getSetCookie().filter((line) => line.includes("notes_session"));
  return [answer.status, session.length];
}

/** Posts as a form of another site would, with the cookie of whoever is signed in. */
async function crossSite(path, headers, body) {
  const { value } = await sessionOf(context);
  const refused = [];
  for (const from of [
    { origin: "https://evil.example", "sec-fetch-site": "cross-site" },
    { origin: "https://evil.example" },
    {},
  ]) {
    const answer = await fetch(app + path, {
      method: "POST",
      body,
      headers: { ...headers, ...from, cookie: `${cookie.name}=${value}` },
      redirect: "manual",
    });
    refused.push(answer.status);
  }
  return refused;
}
