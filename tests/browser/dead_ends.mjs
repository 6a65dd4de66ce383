// Every page where a sign-in can end or go wrong, in Chromium: axe has no complaint about any, none is
// wider than its screen, each says its sentence and leads on. In the light, in the dark, on a phone.
// Saves screenshots; prints each page's status, heading and links.
//
//   node dead_ends.mjs ISSUER FOLDER USERNAME PASSWORD
//
// It says "ready", and waits for a line, before what happens without the origin.
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [issuer, folder, username, password] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const at = (path) => new URL(path, issuer).href;
const query = (more = {}) => new URLSearchParams({
  response_type: "code",
  client_id: "demo-web",
  redirect_uri: "http://127.0.0.1/callback",
  scope: "openid profile email",
  state: "state-of-the-app",
  code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
  code_challenge_method: "S256",
  ...more,
});
const authorize = (more) => at(`/oauth2/authorize?${query(more)}`);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});
const desktop = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const looks = [
  ["light", { ...desktop, colorScheme: "light" }],
  ["dark", { ...desktop, colorScheme: "dark" }],
  ["phone", { ...phone, colorScheme: "light" }],
];
const told = [];
const problems = [];

async function look(page, what, name, response) {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (wide > screen) problems.push(`${what} (${name}) is ${wide} wide on ${screen}`);
  const { violations } = await new AxeBuilder({ page }).analyze();
  for (const { id, nodes } of violations) {
    problems.push(`${what} (${name}): ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  }
  await page.screenshot({ path: `${folder}/${what}-${name}.png`, fullPage: true });
  const links = await page.locator("main a").evaluateAll((all) => all.map(({ href }) => href));
  const heading = await page.getByRole("heading", { level: 1 }).innerText();
  told.push({ what, name, status: response?.status(), heading, links });
}

const open = async (page, what, name, url) => look(page, what, name, await page.goto(at(url)));
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

async function typePassword(page, user, typed) {
  await page.getByLabel("Username").fill(user);
  await page.getByLabel("Password").fill(typed);
  const answered = page.waitForResponse((response) => response.request().method() === "POST");
  await press(page, "Sign in");
  return answered;
}

const visits = [];
for (const [number, [name, options]] of looks.entries()) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await open(page, "login", name, authorize());
  await look(page, "login-wrong", name, await typePassword(page, username, "not-the-password"));
  await open(page, "unknown-client", name, authorize({ client_id: "nobody" }));
  await open(page, "foreign-redirect", name, authorize({ redirect_uri: "https://evil.example/" }));
  await open(page, "lost-transaction", name, "/oauth2/login?tx=AAAAAAAAAAAAAAAA&client_id=demo-web");
  await open(page, "lost-consent", name, "/oauth2/consent?tx=AAAAAAAAAAAAAAAA&client_id=demo-web");
  await open(page, "bff-elsewhere", name, "/bff/login?return_to=//evil.example");
  await open(page, "bff-malformed", name, "/bff/callback");
  const stranger = new URLSearchParams({ state: "AAAAAAAAAAAAAAAA", code: "x", iss: issuer });
  await open(page, "bff-other-browser", name, `/bff/callback?${stranger}`);
  // Somebody guesses: after ten passwords, nobody looks at the next one.
  await page.goto(authorize());
  const guessed = `guessed-${number}@example.test`;
  for (let attempt = 0; attempt < 10; attempt++) await typePassword(page, guessed, "a guess");
  await look(page, "throttled", name, await typePassword(page, guessed, "a guess"));

  await page.goto(authorize({ prompt: "consent" }));
  await typePassword(page, username, password);
  await page.getByRole("heading", { name: /Allow/ }).waitFor();
  await look(page, "consent", name);
  await open(page, "account", name, "/account");
  await open(page, "logout", name, "/oauth2/logout");
  visits.push({ context, page, name });
}

process.stdout.write("ready\n");
await once(process.stdin, "data");
for (const { context, page, name } of visits) {
  await open(page, "away-account", name, "/account");
  await open(page, "away-logout", name, "/oauth2/logout");
  await open(page, "away-bff", name, "/bff/login?return_to=/app");
  await context.clearCookies();
  await page.goto(authorize());
  await look(page, "away-login", name, await typePassword(page, username, password));
  await context.close();
}
await browser.close();
process.stdout.write(`${JSON.stringify({ problems, told })}\n`);
process.stdin.destroy();
