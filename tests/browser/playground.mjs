// The start page and the playground in Chromium: the whole walk, from discovery to logout, once in
// the light, once in the dark, once on a phone; a sign-in that is denied; an answer that nobody asked
// for. Saves screenshots and prints what happened. Fails when something is not as it must be.
//
//   node playground.mjs http://localhost:8787 FOLDER USERNAME PASSWORD
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const [base, folder, username, password] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const here = new URL("/playground/", base).href;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});

/** Runs a command of the page in a shell. Returns the status and the JSON of the answer. */
function run(command) {
  const { stdout, stderr, status } = spawnSync("sh", ["-c", command], { encoding: "utf8" });
  assert.equal(status, 0, `${command}\n${stderr}`);
  const [head, ...body] = stdout.split("\r\n\r\n");
  return { status: Number(head.split(" ")[1]), json: JSON.parse(body.join("\r\n\r\n")) };
}

async function visitor(name, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    // Chromium reports every answer of 400 and above; those that belong to the walk are looked at.
    if (message.type() === "error" && !/status of 40[01]/.test(message.text())) problems.push(message.text());
  });
  const look = async (what) => {
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if (wide > screen) problems.push(`${what} is ${wide} wide on ${screen}`);
    const { violations } = await new AxeBuilder({ page }).analyze();
    for (const { id, nodes } of violations) problems.push(`${what}: ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    await page.screenshot({ path: `${folder}/${what}-${name}.png`, fullPage: true });
  };
  const step = (id) => page.locator(`#${id}`);
  const press = (id, text) => step(id).getByRole("button", { name: text, exact: true }).click();
  /** The exchange with this title, once it was answered: its status, its command. */
  const answered = async (title) => {
    const exchange = page.locator(".exchange").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
    const status = exchange.locator(".answer").last();
    await status.waitFor();
    return {
      status: Number(await status.getAttribute("data-status")),
      curl: await exchange.locator(".request").getAttribute("data-curl"),
      text: await status.locator(".wire").innerText(),
    };
  };
  /** What a step has checked, once it has: the page may have been there before it. */
  const checks = async (id) => {
    await step(id).locator(".checks").first().waitFor();
    return {
      passed: await step(id).locator(".checks .good").count(),
      failed: await step(id).locator(".checks .bad").allInnerTexts(),
    };
  };
  const toLogin = async () => {
    await page.goto(here);
    await press("discovery", "Send it");
    await press("pkce", "Use this one");
    await press("authorize", "Go and sign in");
  };
  const signIn = async () => {
    await page.getByLabel("Username").fill(username);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("heading", { name: /Allow/ }).waitFor();
  };
  return { context, page, problems, look, step, press, answered, checks, toLogin, signIn };
}

async function walk(name, options, { redeemInShell = false } = {}) {
  const { context, page, problems, look, step, press, answered, checks, toLogin, signIn } = await visitor(name, options);
  const statuses = {};

  await page.goto(new URL("/", base).href);
  await look("start");
  const links = await page.locator("main a").evaluateAll((all) => all.map(({ href }) => href));
  await page.getByRole("link", { name: /Playground/ }).click();
  await page.waitForURL(here);
  await look("playground-1-begin");

  await press("discovery", "Send it");
  const discovery = await answered("Discovery");
  statuses.discovery = discovery.status;
  const fromShell = run(discovery.curl);
  assert.equal(fromShell.status, 200);
  assert.equal(fromShell.json.issuer, new URL(base).origin);

  const verifier = await step("pkce").locator("code").first().innerText();
  assert.match(verifier, /^[A-Za-z0-9_-]{43}$/);
  await press("pkce", "Make another");
  await page.waitForFunction((old) => document.querySelector("#pkce code").textContent !== old, verifier);
  await press("pkce", "Use this one");
  await look("playground-2-authorize");
  const shown = await step("authorize").locator(".meanings dt").allInnerTexts();
  await press("authorize", "Go and sign in");

  await signIn();
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await page.waitForURL(here);
  assert.deepEqual(await checks("callback"), { passed: 2, failed: [] });
  assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length), 0, "nothing is kept");

  await press("token", "See it refused");
  const wrong = await answered("With a wrong verifier");
  statuses.wrongVerifier = wrong.status;
  assert.match(wrong.text, /invalid_grant/);
  assert.equal(run(wrong.curl).json.error, "invalid_grant", "a shell is refused like the page");
  await look("playground-3-refused");

  if (redeemInShell) {
    const command = await step("token").locator(".request").last().getAttribute("data-curl");
    const { status, json } = run(command);
    assert.equal(status, 200, "the token request works from a shell");
    assert.ok(json.access_token && json.refresh_token && json.id_token);
    await press("token", "Send it");
    const again = await answered("Token request");
    assert.equal(again.status, 400, "a code is good once");
    await press("token", "Get another code");
    await page.waitForURL((url) => url.pathname !== "/playground/");
    await page.getByRole("button", { name: "Allow", exact: true }).click();
    await page.waitForURL(here);
  }
  await press("token", "Send it");
  statuses.token = (await answered("Token request")).status;
  const claims = await step("tokens").locator(".meanings dt").allInnerTexts();
  await press("tokens", "Get the keys and verify");
  statuses.keys = (await answered("The keys of the issuer")).status;
  await step("userinfo").locator(".exchange").waitFor();
  assert.deepEqual(await checks("tokens"), { passed: 10, failed: [] });
  await press("tokens", "Change a claim and verify again");
  await step("tokens").locator(".checks .bad").waitFor();
  await look("playground-4-tokens");

  await press("userinfo", "Send it");
  const userinfo = await answered("Userinfo");
  statuses.userinfo = userinfo.status;
  assert.ok(userinfo.text.includes(username), "userinfo tells the email");
  await press("refresh", "Send it");
  statuses.refresh = (await answered("Refresh")).status;
  assert.deepEqual(await checks("refresh"), { passed: 2, failed: [] });
  await press("lost", "Send it, and at once again");
  await step("lost").locator(".checks").waitFor();
  statuses.lost = (await answered("Refresh, and its answer gets lost")).status;
  statuses.sameAgain = (await answered("The same once more")).status;
  assert.deepEqual(await checks("lost"), { passed: 2, failed: [] }, "the same successor within the grace");

  await press("reuse", "Use it");
  statuses.successorUsed = (await answered("The new access token is used")).status;
  await press("reuse", "Send the old one");
  const reused = await answered("The old refresh token comes back");
  statuses.oldAgain = reused.status;
  assert.match(reused.text, /invalid_grant/);
  await step("reuse").getByRole("heading", { name: "The new access token, which worked a moment ago" }).waitFor();
  await press("reuse", "Try it");
  statuses.accessTokenAfterReuse = (await answered("The new access token, which worked a moment ago")).status;
  await step("reuse").getByRole("heading", { name: "The newest refresh token" }).waitFor();
  await press("reuse", "Try it");
  statuses.newestRefreshToken = (await answered("The newest refresh token")).status;
  await look("playground-5-reuse");

  await press("logout", "Sign out");
  await step("logout").getByText("You are signed out.").waitFor();
  assert.deepEqual(await checks("logout"), { passed: 2, failed: [] });
  assert.equal(new URL(page.url()).search, "");
  await look("playground-6-signed-out");

  assert.deepEqual(statuses, {
    discovery: 200, wrongVerifier: 400, token: 200, keys: 200, userinfo: 200, refresh: 200,
    lost: 200, sameAgain: 200, successorUsed: 200, oldAgain: 400, accessTokenAfterReuse: 401, newestRefreshToken: 400,
  });
  await context.close();
  return { name, problems, links, verifier: verifier.length, shown, claims, statuses };
}

/** Whoever refuses is told so, and an answer that nobody asked for is thrown away. */
async function refuse(name, options) {
  const { context, page, problems, look, step, toLogin, signIn, checks } = await visitor(name, options);
  await toLogin();
  await signIn();
  await page.getByRole("button", { name: "Deny", exact: true }).click();
  await step("callback").getByText("access_denied", { exact: false }).last().waitFor();
  assert.deepEqual(await checks("callback"), { passed: 2, failed: [] });
  const denied = await step("callback").locator(".note").innerText();
  await look("playground-denied");

  await toLogin();
  await page.getByRole("heading", { name: /Allow/ }).waitFor();
  await page.goto(`${here}?code=somebody-elses&state=not-ours&iss=${encodeURIComponent(base)}`);
  await step("callback").getByText("Nothing else of it is looked at.", { exact: false }).waitFor();
  const foreign = await checks("callback");
  assert.equal(foreign.failed.length, 1);
  assert.equal(await step("token").locator(".exchange").count(), 0, "its code is not used");

  await page.goto(`${here}?code=somebody-elses&state=not-ours`);
  const unasked = await page.locator(".opening .note").innerText();

  // The first steps by keyboard alone.
  await page.goto(here);
  const discover = page.getByRole("button", { name: "Send it", exact: true });
  for (let tabs = 0; tabs < 10 && !(await discover.evaluate((button) => button === document.activeElement)); tabs += 1) {
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await step("pkce").locator(".derived").waitFor();
  const focus = await page.evaluate(() => document.activeElement.textContent);
  assert.match(focus, /^200/, "the focus goes to the answer");
  const news = await page.locator("#news").innerText();
  assert.match(news, /Discovery: 200/);
  await context.close();
  return { name, problems, denied, foreign, unasked, focus, news };
}

const desktop = { viewport: { width: 1280, height: 800 } };
const phone = { viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const told = [];
try {
  told.push(await walk("light", { ...desktop, colorScheme: "light" }, { redeemInShell: true }));
  told.push(await walk("dark", { ...desktop, colorScheme: "dark" }));
  told.push(await walk("phone", { ...phone, colorScheme: "light" }));
  told.push(await refuse("refusing", { ...desktop, colorScheme: "light" }));
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify(told)}\n`);
for (const { name, problems } of told) assert.deepEqual(problems, [], name);
