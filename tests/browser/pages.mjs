// A real sign-in in Chromium, with JavaScript disabled: wrong password, consent denied, consent
// given, the account page, error page, logout; once in the light, once in the dark, once on a phone. Saves a
// screenshot of each page and prints what happened.
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [issuer, folder, username, password] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });

// The client's own server: it says thank you, and remembers how browsers came back.
const cameBack = [];
const app = createServer((request, response) => {
  const url = new URL(request.url, "http://127.0.0.1");
  if (url.pathname === "/callback") cameBack.push(url);
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><title>Back at the app</title><p>Thank you.");
});
await new Promise((done) => app.listen(0, "127.0.0.1", done));
const redirectUri = `http://127.0.0.1:${app.address().port}/callback`;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});

function authorize(more = {}) {
  const url = new URL("/oauth2/authorize", issuer);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: "demo-web",
    redirect_uri: redirectUri,
    scope: "openid profile email offline_access",
    state: "state-of-the-app",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    code_challenge_method: "S256",
    prompt: "consent",
    ...more,
  });
  return url.href;
}

async function signIn(name, options) {
  const context = await browser.newContext({ javaScriptEnabled: false, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  const look = async (what) => {
    const { width, focus } = await page.evaluate(() => ({
      width: [document.documentElement.scrollWidth, window.innerWidth],
      focus: document.activeElement?.id,
    }));
    if (width[0] > width[1]) problems.push(`${what} is ${width[0]} wide on ${width[1]}`);
    await page.screenshot({ path: `${folder}/${what}-${name}.png`, fullPage: true });
    return focus;
  };
  const button = (text) => page.getByRole("button", { name: text, exact: true });
  const last = () => Object.fromEntries(cameBack.at(-1).searchParams);

  // The browser gives a field of a new page the focus in its own time.
  const focused = () => page.locator(":focus").waitFor();

  await page.goto(authorize());
  await focused();
  const focusAtLogin = await look("login");
  await page.getByLabel("Username").fill(username);
  await page.getByLabel("Password").fill("not-the-password");
  await page.getByLabel("Password").press("Enter");
  const alert = await page.getByRole("alert").innerText();
  await focused();
  const focusAfterError = await look("login-wrong");
  const kept = await page.getByLabel("Username").inputValue();
  await page.getByLabel("Password").fill(password);
  await button("Sign in").click();

  await page.getByRole("heading", { name: /Allow/ }).waitFor();
  await look("consent");
  await button("Deny").click();
  await page.waitForURL(`${redirectUri}**`);
  const denied = last();

  await page.goto(authorize());
  await page.getByRole("heading", { name: /Allow/ }).waitFor();
  await button("Allow").click();
  await page.waitForURL(`${redirectUri}**`);
  const approved = last();

  await page.goto(authorize({ prompt: "" }));
  await page.waitForURL(`${redirectUri}**`);
  const remembered = last();

  await page.goto(new URL("/account", issuer).href);
  await look("account");
  const apps = await page.getByRole("list", { name: "Apps that are signed in from here" }).innerText();
  await button("Take it back").click();
  await page.getByText("You have not allowed any app").waitFor();
  const account = { apps, url: page.url() };

  const response = await page.goto(authorize({ redirect_uri: "https://evil.example/" }));
  await look("error");
  const error = { status: response.status(), text: await page.locator("main").innerText() };
  // What follows is expected to be there: a 400 is an error on the console.
  problems.splice(0, problems.length, ...problems.filter((text) => !text.includes("status of 400")));

  await page.goto(new URL("/oauth2/logout", issuer).href);
  await look("logout");
  await button("Sign out").click();
  await page.getByRole("heading", { name: "You are signed out" }).waitFor();
  await look("signed-out");
  await page.goto(authorize());
  const heading = await page.getByRole("heading", { level: 1 }).innerText();
  await context.close();
  return {
    name, problems, alert, kept, focusAtLogin, focusAfterError,
    denied, approved, remembered, account, error, heading,
  };
}

const desktop = { viewport: { width: 1280, height: 800 } };
const told = [];
for (const [name, options] of [
  ["light", { ...desktop, colorScheme: "light" }],
  ["dark", { ...desktop, colorScheme: "dark" }],
  ["phone", { viewport: { width: 320, height: 640 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
]) {
  told.push(await signIn(name, options));
}
await browser.close();
app.close();
process.stdout.write(JSON.stringify(told));
