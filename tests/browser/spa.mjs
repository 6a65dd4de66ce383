// The single-page app in Chromium, with its tokens at the edge: sign-in, notes, two tabs, an outage,
// the end of a session, no token anywhere in the browser. Then the contrast page, whose tokens are in
// the page. Once in the light, once in the dark, once on a phone. Saves screenshots and prints what
// happened. Fails when something is not as it must be.
//
//   node spa.mjs http://localhost:8787 FOLDER USERNAME PASSWORD
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [base, folder, username, password] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const at = (path) => new URL(path, base).href;

/** What every JWT looks like. */
const JWT = /eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/;
/** What every refresh token of Cadence looks like: 82 characters of base64url. */
const REFRESH_TOKEN = /(?<![\w-])[\w-]{82}(?![\w-])/;
const holdsToken = (text) => JWT.test(text) || REFRESH_TOKEN.test(text);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});

/** A browser of its own: everything that its pages report, ask and hear is kept. */
async function visitor(name, options) {
  const context = await browser.newContext(options);
  const problems = [];
  const seen = { bodies: [], requests: [] };
  context.on("page", (page) => {
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
      // Chromium reports answers that are part of what is tried: nobody signed in, and an outage.
      if (message.type() === "error" && !/status of (401|503)/.test(message.text())) problems.push(message.text());
    });
    page.on("response", (response) => {
      const { pathname } = new URL(response.url());
      // The body of an answer that the page left before it was read never comes.
      const late = new Promise((done) => setTimeout(done, 5_000));
      const body = Promise.race([response.text(), late]).catch(() => undefined);
      seen.bodies.push(body.then((text) => ({ pathname, text })));
    });
    page.on("request", (request) => {
      const { pathname } = new URL(request.url());
      if (pathname.startsWith("/bff/") && request.resourceType() === "fetch") {
        seen.requests.push({ method: request.method(), pathname, csrf: request.headers()["x-csrf"] });
      }
    });
  });
  const look = async (page, what) => {
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > screen) problems.push(`${what} is ${wide} wide on ${screen}`);
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const { id, nodes } of violations) problems.push(`${what}: ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    await page.screenshot({ path: `${folder}/${what}-${name}.png`, fullPage: true });
  };
  return { context, problems, seen, look };
}

// Sooner than the page asks by itself, which is after ten seconds at the earliest.
const IN_STEP = 8_000;
const button = (page, name) => page.getByRole("button", { name, exact: true });
const heading = (page, name) => page.getByRole("heading", { name });

async function typePassword(page) {
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password").fill(password);
  await button(page, "Sign in").click();
}

async function app(name, options) {
  const { context, problems, seen, look } = await visitor(name, options);
  const page = await context.newPage();

  await page.goto(at("/spa/?from=driver"));
  await heading(page, "Your notes").first().waitFor();
  await look(page, "spa-signed-out");

  await page.goto(at("/bff/login?return_to=%2Fspa%2F&prompt=none"));
  await page.getByText("Nobody is signed in at Cadence.").waitFor();
  assert.equal(page.url(), at("/spa/"), "the error does not stay in the URL");

  await page.goto(at("/spa/?from=driver"));
  await button(page, "Sign in").click();
  await typePassword(page);
  await heading(page, "Hello,").waitFor();
  assert.equal(page.url(), at("/spa/?from=driver"), "the sign-in ends where it began");
  const claims = await page.locator("#claims dt").allInnerTexts();
  assert.ok((await page.locator("#claims").innerText()).includes(username));

  const note = (text) => page.locator("#notes li").filter({ hasText: text });
  // Notes of an earlier run may still be there.
  const run = Date.now();
  const milk = `Milk ${run}`;
  await page.getByLabel("A new note").fill(milk);
  await button(page, "Add").click();
  await note(milk).waitFor();

  // A second tab: a note there is seen here, live.
  const second = await context.newPage();
  await second.goto(at("/spa/"));
  await heading(second, "Hello,").waitFor();
  const bread = `Bread ${run}`;
  await second.getByLabel("A new note").fill(bread);
  await button(second, "Add").click();
  await note(bread).waitFor();
  await look(page, "spa-signed-in");

  // An outage: what is on the screen stays, and nobody is signed out.
  await context.route("**/bff/**", (route) => route.fulfill({
    status: 503,
    headers: { "retry-after": "1", "content-type": "application/json" },
    body: '{"error":"temporarily_unavailable"}',
  }));
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.getByText("Cadence cannot be reached just now.", { exact: false }).waitFor();
  assert.ok(await note(milk).isVisible(), "the notes stay");
  // The page may put other words in their place when it tries again, which can be at once.
  await page.evaluate((expected) => {
    globalThis.isTold = new Promise((told, never) => {
      new MutationObserver((changes) => {
        const texts = changes.flatMap(({ addedNodes }) => [...addedNodes].map((node) => node.textContent));
        if (texts.some((text) => text.startsWith(expected))) told();
      }).observe(document.querySelector("#trouble"), { childList: true });
      setTimeout(never, 30_000, new Error(`nobody is told: ${expected}`));
    });
  }, "You are still signed in");
  await button(page, "Sign out").click();
  await page.evaluate(() => globalThis.isTold);
  await look(page, "spa-outage");
  await context.unroute("**/bff/**");
  await page.locator("#trouble").waitFor({ state: "hidden" });
  assert.ok(await heading(page, "Hello,").isVisible());

  // Nothing that is a token, wherever a script could look.
  const cookies = (await context.cookies()).map(({ name, httpOnly }) => ({ name, httpOnly }));
  const session = cookies.find(({ name }) => name.endsWith("cadence_bff"));
  assert.deepEqual(session?.httpOnly, true);
  const scripts = await page.evaluate(() => ({
    cookie: document.cookie,
    storage: JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }),
  }));
  assert.doesNotMatch(scripts.cookie, /cadence/);
  assert.ok(!holdsToken(scripts.storage), "no token is stored");

  // Two tabs stay in step.
  await button(second, "Sign out").click();
  await page.getByText("You are signed out, in all tabs.").waitFor({ timeout: IN_STEP });
  await button(page, "Sign in").click();
  await typePassword(page);
  await heading(page, "Hello,").waitFor();
  await heading(second, "Hello,").waitFor({ timeout: IN_STEP });
  await second.close();

  // The session ends while something is being written.
  await page.getByLabel("A new note").fill("Half a thought");
  await context.clearCookies({ name: session.name });
  // The page may notice by itself first, and take the button away. Then nobody waits for it to come back:
  // it does with the next session.
  const over = heading(page, "Your session is over").waitFor();
  await button(page, "Add").click({ timeout: 2_000 }).catch(() => {});
  await over;
  assert.equal(await page.locator("#notes li").count(), 0, "what was read is gone");
  await look(page, "spa-over");
  await button(page, "Sign in").click();
  await page.waitForURL(at("/spa/?from=driver"));
  await heading(page, "Hello,").waitFor();
  assert.equal(await page.getByLabel("A new note").inputValue(), "Half a thought");
  await button(page, "Sign out").click();
  await page.getByText("You are signed out, in all tabs.").waitFor();

  await page.close();
  const bodies = (await Promise.all(seen.bodies)).filter(({ text }) => text !== undefined);
  const read = new Set(bodies.map(({ pathname }) => pathname));
  for (const path of ["/spa/", "/bff/session", "/bff/api/notes"]) assert.ok(read.has(path), `${path} was read`);
  const withTokens = bodies.filter(({ text }) => holdsToken(text)).map(({ pathname }) => pathname);
  assert.deepEqual(withTokens, [], "no answer holds a token");
  const withoutCsrf = seen.requests.filter(({ csrf }) => csrf !== "1");
  assert.deepEqual(withoutCsrf, []);
  await context.close();
  return { name, problems, claims, cookies, read: [...read], requests: seen.requests.length };
}

async function contrast(name, options) {
  const { context, problems, seen, look } = await visitor(name, options);
  const page = await context.newPage();
  await page.goto(at("/spa/public.html"));
  await heading(page, "The tokens are in the page").waitFor();
  await look(page, "public-signed-out");
  await button(page, "Sign in").click();
  await typePassword(page);
  await button(page, "Deny").click();
  await page.getByText("You did not sign in.", { exact: false }).waitFor();
  assert.equal(page.url(), at("/spa/public"));

  await button(page, "Sign in").click();
  await button(page, "Allow").click();
  await heading(page, "Hello,").waitFor();
  assert.equal(page.url(), at("/spa/public"), "the code does not stay in the URL");
  assert.ok((await page.locator("#person-claims").innerText()).includes(username));
  const scope = (await page.locator("#access-claims").innerText()).includes("notes:read");
  assert.ok(scope);

  const said = [];
  const hear = async (press, expected) => {
    await button(page, press).click();
    const text = page.locator("#said").filter({ hasText: expected });
    await text.waitFor();
    said.push((await text.innerText()).replace(/eyJ\S*/, "eyJ…"));
  };
  await hear("Call the API", /^The API answered/);
  await hear("Get the next tokens", /^Another access token/);
  await hear("Be an injected script", /^Caught: Bearer eyJ/);
  await look(page, "public-signed-in");
  const bodies = await Promise.all(seen.bodies);
  for (const token of [JWT, REFRESH_TOKEN]) {
    const paths = bodies.filter(({ text }) => token.test(text)).map(({ pathname }) => pathname);
    assert.deepEqual([...new Set(paths)], ["/oauth2/token"], `here the browser does see ${token}: the check can fail`);
  }
  const withTokens = [...new Set(bodies.filter(({ text }) => holdsToken(text)).map(({ pathname }) => pathname))];

  await page.reload();
  await heading(page, "The tokens are in the page").waitFor();
  assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0);
  await button(page, "Sign in").click();
  await button(page, "Allow").click();
  await heading(page, "Hello,").waitFor();
  await button(page, "Sign out").click();
  await heading(page, "The tokens are in the page").waitFor();
  await button(page, "Sign in").click();
  // The login session is over, too: somebody has to type a password.
  await page.getByLabel("Password").waitFor();
  await context.close();
  return { name, problems, said, withTokens };
}

const desktop = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const told = [];
try {
  for (const [name, options] of [
    ["light", { ...desktop, colorScheme: "light" }],
    ["dark", { ...desktop, colorScheme: "dark" }],
    ["phone", { ...phone, colorScheme: "light" }],
  ]) {
    told.push({ app: await app(name, options), contrast: await contrast(name, options) });
  }
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify(told)}\n`);
for (const { app, contrast } of told) assert.deepEqual([app.problems, contrast.problems], [[], []]);
