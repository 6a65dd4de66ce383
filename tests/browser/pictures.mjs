// Takes the pictures of docs/flows.md from a running system, in Chromium: what a person sees, in every
// flow, at every dead end. Fails when a page does not say what the document says that it says.
//
//   node tests/browser/pictures.mjs http://localhost:8787 docs/pictures [GROUP…]
//
// Groups; without any, all are made:
//   server   login, consent, errors, logout, the account page
//   apps     start page, playground, single-page app with and without the edge's BFF
//   nuxt     examples/nuxt-bff, at NUXT_URL (http://localhost:3000)
//   outage   the origin with the process id ORIGIN_PID stands still for a while
//   busy     too many login forms from one network, for which the edge needs LOGIN_LIMIT. Then nobody of
//            that network signs in for a minute
//
// They sign the user of examples/demo.toml out everywhere, take back what that user has allowed, and leave
// sessions and notes: use a system of your own. `server` and `outage` need no site.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [base, folder, ...wanted] = process.argv.slice(2);
const { NUXT_URL = "http://localhost:3000", ORIGIN_PID } = process.env;
const [username, password] = ["alice@example.test", "correct-horse-battery"];
const at = (path) => new URL(path, base).href;
mkdirSync(folder, { recursive: true });

// Of wrangler, which is here anyway: makes the files small.
const wrangler = createRequire(createRequire(import.meta.url).resolve("wrangler"));
const sharp = createRequire(wrangler.resolve("miniflare"))("sharp");

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});
const WINDOWS =
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36";
const IPHONE =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";
const WIDTH = 960;
const desktop = {
  viewport: { width: WIDTH, height: 640 }, deviceScaleFactor: 1.5, userAgent: WINDOWS,
  colorScheme: "light", reducedMotion: "reduce", locale: "en-US", timezoneId: "UTC",
};
const phone = {
  ...desktop, viewport: { width: 360, height: 640 }, deviceScaleFactor: 2, userAgent: IPHONE, isMobile: true, hasTouch: true,
};

/** How large all pictures are together. */
let bytes = 0;

/** Takes a picture: the page as high as it is, or from one element to another. */
async function picture(page, name, { from, to, highest = 800 } = {}) {
  const size = page.viewportSize();
  await page.mouse.move(0, 0);
  const bottom = (selector) => page.locator(selector).last().evaluate((element) => element.getBoundingClientRect().bottom + scrollY);
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= screen, `${name} is ${wide} wide on ${screen}`);
  let png;
  if (from) {
    const top = await page.locator(from).first().evaluate((element) => element.getBoundingClientRect().top + scrollY);
    const end = Math.min((to ? await bottom(to) : await bottom("main")) + 32, top + highest);
    const y = Math.max(0, top - 32);
    png = await page.screenshot({ fullPage: true, clip: { x: 0, y, width: size.width, height: end - y } });
  } else {
    const height = Math.ceil(Math.min((await bottom(to ?? "main > :visible")) + 56, highest));
    await page.setViewportSize({ ...size, height });
    png = await page.screenshot();
    await page.setViewportSize(size);
  }
  const { size: written } = await sharp(png).png({ palette: true, colours: 48, dither: 0, effort: 10 }).toFile(`${folder}/${name}.png`);
  bytes += written;
  console.log(`${name}.png ${Math.round(written / 1024)} KB`);
}

const button = (page, name) => page.getByRole("button", { name, exact: true });
const heading = (page, name) => page.getByRole("heading", { name, exact: true });

/** Sees to it that a page says something. */
async function says(page, ...texts) {
  for (const text of texts) await page.getByText(text, { exact: false }).first().waitFor({ timeout: 8_000 });
}

async function typePassword(page, typed = password) {
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password").fill(typed);
  await button(page, "Sign in").click();
}

async function visitor(options) {
  const context = await browser.newContext(options);
  return { context, page: await context.newPage() };
}

/** Takes all consents back, and signs the user out everywhere. */
async function beginAnew() {
  const { context, page } = await visitor(desktop);
  await page.goto(at("/account"));
  await typePassword(page);
  await heading(page, "Your account").waitFor();
  for (let left = await button(page, "Take it back").count(); left > 0; left -= 1) {
    await button(page, "Take it back").first().click();
    await page.waitForFunction((count) => document.querySelectorAll("[value=revoke_consent]").length < count, left);
  }
  await button(page, "Sign out everywhere").click();
  await heading(page, "You are signed out").waitFor();
  await context.close();
}

// The application of the demo clients, as far as the server is concerned.
const CALLBACK = "http://127.0.0.1:3080/callback";
const application = createServer((_, response) => {
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><title>The application</title><p>The application");
});
application.listen(3080, "127.0.0.1");
application.unref();
const VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
function authorize(more = {}) {
  return at(`/oauth2/authorize?${new URLSearchParams({
    response_type: "code", client_id: "demo-web", redirect_uri: CALLBACK, scope: "openid profile", state: "state-of-the-app",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", code_challenge_method: "S256", ...more,
  })}`);
}

/** Waits until the browser is back at the application. Returns what it brings. */
async function cameBack(page) {
  await page.waitForURL(`${CALLBACK}?**`);
  const brought = Object.fromEntries(new URL(page.url()).searchParams);
  assert.deepEqual([brought.state, brought.iss], ["state-of-the-app", new URL(base).origin]);
  return brought;
}

/** What the application does with a code. */
async function redeem(form, secret) {
  const headers = secret ? { authorization: `Basic ${Buffer.from(secret).toString("base64")}` } : {};
  const response = await fetch(at("/oauth2/token"), { method: "POST", headers, body: new URLSearchParams(form) });
  assert.equal(response.status, 200);
  return response.json();
}

async function server() {
  await beginAnew();
  const { context, page } = await visitor(desktop);
  const full = "openid profile email offline_access notes:read";

  // Login.
  await page.goto(authorize());
  await says(page, "Sign in to Demo web application", "the app never sees your password");
  await picture(page, "login");
  await typePassword(page, "not-the-password");
  await says(page, "Wrong username or password", "Check both and try again.");
  assert.equal(await page.getByLabel("Username").inputValue(), username);
  await picture(page, "login-wrong");
  const throttled = await visitor(desktop);
  await throttled.page.goto(authorize());
  for (let tries = 0; tries < 12 && !(await throttled.page.getByText("Too many attempts").count()); tries += 1) {
    await throttled.page.getByLabel("Username").fill("bob@example.test");
    await throttled.page.getByLabel("Password").fill("a guess");
    await button(throttled.page, "Sign in").click();
  }
  await says(throttled.page, "Too many attempts", "Try again in");
  await picture(throttled.page, "login-too-many");
  await throttled.context.close();

  // Consent: the first time, denied, given, no more asked, grown.
  await page.getByLabel("Password").fill(password);
  await button(page, "Sign in").click();
  await says(page, "Allow Demo web application to use your account?", "Either way, you continue to 127.0.0.1:3080");
  assert.equal(await page.getByText("Already allowed").count(), 0);
  await picture(page, "consent-first");
  await button(page, "Deny").click();
  assert.equal((await cameBack(page)).error, "access_denied");
  await page.goto(authorize());
  await button(page, "Allow").click();
  assert.ok((await cameBack(page)).code);
  await page.goto(authorize());
  await cameBack(page);
  await page.goto(authorize({ scope: "openid profile email offline_access" }));
  assert.equal(await page.getByText("Already allowed").count(), 2);
  await picture(page, "consent-grown", { highest: 1000 });
  const small = await visitor(phone);
  await small.page.goto(authorize({ scope: full, prompt: "login" }));
  await picture(small.page, "login-phone");
  await typePassword(small.page);
  await button(small.page, "Allow").waitFor();
  await picture(small.page, "consent-phone", { highest: 1100 });
  await button(small.page, "Allow").click();
  const { code } = await cameBack(small.page);
  const web = { grant_type: "authorization_code", redirect_uri: CALLBACK, code_verifier: VERIFIER };
  await redeem({ ...web, code }, "demo-web:demo-web-secret");

  // Dead ends.
  const stop = async (name, url, status, ...texts) => {
    const response = await page.goto(url);
    assert.equal(response.status(), status, name);
    await says(page, ...texts);
    await picture(page, name);
  };
  await stop("error-unknown-client", authorize({ client_id: "nobody" }), 400, "This link does not work");
  await stop("error-redirect-uri", authorize({ redirect_uri: "https://evil.example/" }), 400, "This link does not work");
  assert.equal(await page.getByRole("link").count(), 0, "it leads nowhere");
  await page.goto(authorize({ prompt: "consent" }));
  const [consent, kept] = [page.url(), await context.cookies()];
  await button(page, "Allow").click();
  await cameBack(page);
  // The form comes twice, as after a double click.
  const again = kept.filter(({ name }) => name.includes("cadence_tx_"));
  await context.addCookies(again);
  await page.goto(consent);
  await button(page, "Allow").click();
  await says(page, "This page has expired", "Back to the sign-in");
  await picture(page, "error-expired");
  await page.goto(authorize({ prompt: "consent" }));
  const elsewhere = await visitor(desktop);
  await elsewhere.page.goto(page.url());
  await says(elsewhere.page, "This page has expired", "Back to Demo web application");
  await picture(elsewhere.page, "error-other-browser");
  await elsewhere.context.close();
  await page.locator("[name=csrf]").evaluate((field) => { field.value = "of another sign-in"; });
  await button(page, "Allow").click();
  await says(page, "This is not allowed", "access_denied");
  await picture(page, "error-not-allowed");
  const callback = (more) => at(`/bff/callback?${new URLSearchParams({ code: "somebody-elses", state: "not-ours", ...more })}`);
  await stop("error-bff-callback", callback({ iss: new URL(base).origin }), 400, "This page has expired", "Back to the sign-in");
  await stop("error-bff-no-iss", callback(), 400, "This link does not work", "Back to the sign-in");

  // The account page: this browser and a phone, two consents.
  const publicClient = { client_id: "demo-spa" };
  await page.goto(authorize(publicClient));
  await button(page, "Allow").click();
  await redeem({ ...web, ...publicClient, code: (await cameBack(page)).code });
  await page.goto(at("/account"));
  await says(page, "Where you are signed in", "Chrome on Windows", "Safari on an iPhone", "Lost a device?");
  await picture(page, "account-sessions", { from: "header", to: "section[aria-labelledby=sessions]", highest: 900 });
  await picture(page, "account-consents", { from: "#consents", highest: 1100 });
  await small.page.goto(at("/account"));
  await picture(small.page, "account-phone", { highest: 720 });
  await small.context.close();

  // Logout.
  await page.goto(at(`/oauth2/logout?${new URLSearchParams({ client_id: "demo-web", post_logout_redirect_uri: "http://localhost:3000/" })}`));
  await says(page, "Sign out?", "Demo web application asks to end your session here.");
  await picture(page, "logout");
  await page.goto(at("/oauth2/logout"));
  await says(page, "This ends your session here.");
  await button(page, "Sign out").click();
  await says(page, "You are signed out");
  await picture(page, "signed-out");
  await context.close();
}

async function apps() {
  await beginAnew();
  const { context, page } = await visitor(desktop);
  await page.goto(at("/"));
  await says(page, "server is running");
  await picture(page, "start", { highest: 1000, to: "main > ul.places" });

  // The single-page app whose tokens are at the edge.
  await page.goto(at("/spa/"));
  await says(page, "Sign in to read them and to write new ones.");
  await picture(page, "spa-signed-out");
  await button(page, "Sign in").click();
  await says(page, "Sign in to Demo backend-for-frontend");
  const notes = page.waitForResponse(at("/bff/api/notes"));
  await typePassword(page);
  await says(page, "Hello,", "This session ends at");
  assert.equal(page.url(), at("/spa/"));
  await (await notes).finished();
  await page.waitForTimeout(500);
  for (const text of ["Water the plants", "Ask about the train to Vienna"]) {
    if (await page.locator("#notes li").filter({ hasText: text }).count()) continue;
    await page.getByLabel("A new note").fill(text);
    await button(page, "Add").click();
    await page.locator("#notes li").filter({ hasText: text }).waitFor();
  }
  await picture(page, "spa-signed-in", { highest: 900, to: "#claims" });
  // The session ends elsewhere, while something is being written: the page hears of it.
  await page.getByLabel("A new note").fill("Half a thought");
  const elsewhere = await context.newPage();
  await elsewhere.goto(at("/oauth2/logout"));
  await button(elsewhere, "Sign out").click();
  await says(elsewhere, "You are signed out");
  await elsewhere.close();
  await heading(page, "Your session is over").waitFor({ timeout: 15_000 });
  await picture(page, "spa-over");
  await page.goto(at("/bff/login?return_to=%2Fspa%2F&prompt=none"));
  await says(page, "Nobody is signed in at Cadence.");

  // The public client, with its tokens in the page.
  await page.goto(at("/spa/public.html"));
  await button(page, "Sign in").click();
  await typePassword(page);
  await says(page, "Allow Demo single-page app to use your account?");
  await button(page, "Deny").click();
  await says(page, "You did not sign in. Nothing has happened.");
  await picture(page, "public-denied", { highest: 520 });
  await button(page, "Sign in").click();
  await button(page, "Allow").click();
  await says(page, "3 tokens that its scripts can read");
  await picture(page, "public-signed-in", { highest: 900 });
  await button(page, "Sign out").click();
  await says(page, "The tokens are in the page");

  // The playground.
  const step = (id, press) => page.locator(`#${id}`).getByRole("button", { name: press, exact: true }).click();
  await page.goto(at("/playground/"));
  await step("discovery", "Send it");
  await step("pkce", "Use this one");
  await step("authorize", "Go and sign in");
  await typePassword(page);
  await button(page, "Allow").click();
  await page.waitForURL(at("/playground/"));
  await step("token", "See it refused");
  await says(page, "With a wrong verifier", "invalid_grant");
  await page.locator("#token .answer").last().waitFor();
  await picture(page, "playground-refused", { from: "#token", to: "#token", highest: 860 });
  await context.close();
}

async function nuxt() {
  await beginAnew();
  const { context, page } = await visitor(desktop);
  const home = new URL("/", NUXT_URL).href;
  await page.goto(home);
  await says(page, "Sign in with Cadence");
  await picture(page, "nuxt-signed-out");
  await page.getByRole("link", { name: "Sign in with Cadence" }).click();
  await typePassword(page);
  await button(page, "Deny").click();
  await says(page, "You did not allow", "this application has got nothing");
  await picture(page, "nuxt-denied");
  await page.getByRole("link", { name: "Ask me again" }).click();
  await button(page, "Allow").click();
  await heading(page, "Your notes").waitFor();
  assert.equal(page.url(), new URL("/notes", NUXT_URL).href);
  await picture(page, "nuxt-signed-in");
  await page.goto(`${home}callback?code=somebody-elses&state=not-ours`);
  await says(page, "This sign-in is over", "Sign in again");
  await picture(page, "nuxt-callback");
  await context.close();
}

async function busy() {
  const { context, page } = await visitor(desktop);
  await page.goto(authorize());
  const form = await page.locator("form").evaluate((element) => Object.fromEntries(new FormData(element)));
  // Nothing is typed, so nobody's attempts are used up.
  let status = 0;
  for (let sent = 0; sent < 60 && status !== 429; sent += 1) {
    const response = await page.request.post(at("/oauth2/login"), {
      form: { ...form, username: "", password: "" }, headers: { origin: new URL(base).origin },
    });
    status = response.status();
  }
  assert.equal(status, 429);
  await typePassword(page);
  await says(page, "That was too fast", "Wait a moment, then try again.");
  await picture(page, "error-throttled");
  await context.close();
}

async function outage() {
  assert.ok(ORIGIN_PID, "outage needs ORIGIN_PID");
  const { context, page } = await visitor(desktop);
  await page.goto(authorize());
  process.kill(Number(ORIGIN_PID), "SIGSTOP");
  try {
    await typePassword(page);
    await says(page, "We cannot do this right now", "Nothing is lost; try again in a minute.");
    await picture(page, "error-unavailable");
  } finally {
    process.kill(Number(ORIGIN_PID), "SIGCONT");
  }
  await context.close();
}

const groups = { server, apps, nuxt, outage, busy };
try {
  for (const name of wanted.length > 0 ? wanted : Object.keys(groups)) {
    assert.ok(Object.hasOwn(groups, name), `there is no group ${name}`);
    await groups[name]();
  }
} finally {
  await browser.close();
}
console.log(`together ${Math.round(bytes / 1024)} KB`);
