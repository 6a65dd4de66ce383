// A sign-in, step by step, as an application without a backend would do it: client `demo-spa`.
//
// Nothing is kept longer than it is needed: what the way through the login page must survive lies in
// this tab's sessionStorage and is removed on the way back; tokens are in memory alone.
import { draw } from "./diagram.js";
import { announce, el } from "./dom.js";
import { base64url, hex, randomText, sha256 } from "./encoding.js";
import { exchange, get, post, shownAnswer, shownRequest } from "./exchange.js";
import { accessTokenHash, signatureIsGood, takeApart } from "./jwt.js";
import { CLAIMS, HEADER, LOGOUT_PARAMETERS, PARAMETERS, TIMES } from "./meaning.js";

const CLIENT_ID = "demo-spa";
const SCOPE = "openid profile email offline_access notes:read";
const HERE = new URL("/playground/", location.origin).href;
const KEPT = "cadence-playground";

const light = draw(document.querySelector("#picture"));
const sections = [...document.querySelectorAll(".steps > .step")];

/** What is known by now: metadata, verifier, code, tokens. */
const known = {};

const TEXT = { now: " (now)", done: " (done)", later: " (later)" };

/** Opens a step; those before it are done. Returns the place for what happens in it. */
function open(id) {
  const at = sections.findIndex((section) => section.id === id);
  sections.forEach((section, number) => {
    const state = number < at ? "done" : number === at ? "now" : "later";
    section.dataset.state = state;
    const heading = section.querySelector("h2");
    heading.querySelector(".unseen")?.remove();
    heading.append(el("span", { class: "unseen" }, TEXT[state]));
  });
  const section = sections[at];
  section.querySelector(".inside").hidden = false;
  const title = section.querySelector("h2").firstChild.textContent;
  light(id, title);
  announce(`${document.querySelector("#news").textContent} Next: ${title}.`);
  return section.querySelector(".work");
}

function note(text, kind = "good") {
  return el("p", { class: `note ${kind}` }, text);
}

function press(label, onclick, kind = "primary") {
  return el("p", { class: "press" }, el("button", { class: kind, type: "button", onclick }, label));
}

/** A list of names with their values, and a sentence about each. */
function meanings(entries, sentences) {
  return el("dl", { class: "meanings" }, ...entries.map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const time = TIMES.has(name) && new Date(value * 1000);
    return el("div", {},
      el("dt", {}, el("code", {}, name)),
      el("dd", {},
        el("code", { class: "value" }, text),
        time ? el("span", { class: "time" }, el("time", { datetime: time.toISOString() }, time.toLocaleString())) : null,
        el("span", { class: "meaning" }, sentences[name] ?? "A claim of this server's own.")));
  }));
}

function checks(results) {
  return el("ul", { class: "checks" }, ...results.map(([good, text]) =>
    el("li", { class: good ? "good" : "bad" }, el("span", { class: "unseen" }, good ? "Passed: " : "Failed: "), text)));
}

function beginAgain(text, kind = "bad") {
  return el("div", {}, note(text, kind), press("Begin again", () => location.assign(HERE), "secondary"));
}

// What must survive the way through the login page.

function keep(what) {
  sessionStorage.setItem(KEPT, JSON.stringify(what));
}

function takeKept() {
  const kept = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  return kept && JSON.parse(kept);
}

// The steps.

function discovery() {
  const work = open("discovery");
  const request = get(new URL("/.well-known/openid-configuration", location.origin).href);
  work.append(exchange({
    title: "Discovery",
    request,
    button: "Send it",
    then: (answer) => {
      known.metadata = answer.json;
      known.discovery = answer;
      const good = answer.json?.issuer === location.origin;
      work.append(checks([[good, `issuer is ${location.origin}, the one that was asked`]]));
      if (good) pkce();
      else work.append(beginAgain("Another issuer's document is not to be used."));
    },
  }).element);
}

async function makeVerifier() {
  known.verifier = randomText();
  const hash = await sha256(known.verifier);
  known.challenge = base64url(hash);
  return hash;
}

function showVerifier(hash) {
  return el("ol", { class: "derived" },
    el("li", {}, el("span", { class: "what" }, "Verifier: 32 random bytes, as 43 characters"), el("code", {}, known.verifier)),
    el("li", {}, el("span", { class: "what" }, "SHA-256 of these 43 characters, in hexadecimal"), el("code", {}, hex(hash))),
    el("li", {}, el("span", { class: "what" }, "Challenge: the same 32 bytes, in base64url"), el("code", {}, known.challenge)));
}

async function pkce() {
  const work = open("pkce");
  const shown = el("div", {}, showVerifier(await makeVerifier()));
  const choose = el("p", { class: "press" },
    el("button", {
      class: "primary",
      type: "button",
      onclick: () => {
        choose.remove();
        authorize();
        document.querySelector("#authorize h2").focus({ preventScroll: true });
      },
    }, "Use this one"),
    el("button", {
      class: "secondary",
      type: "button",
      onclick: async () => {
        shown.replaceChildren(showVerifier(await makeVerifier()));
        announce("Another verifier and its challenge.");
      },
    }, "Make another"));
  work.append(shown, choose);
}

function authorizationUrl() {
  const url = new URL(known.metadata.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: CLIENT_ID,
    redirect_uri: HERE,
    scope: SCOPE,
    state: known.state,
    nonce: known.nonce,
    code_challenge: known.challenge,
    code_challenge_method: "S256",
  });
  return url;
}

/** Shows the authorization request; the button is missing once it was sent. */
function showAuthorize(work, button) {
  const url = authorizationUrl();
  work.append(
    shownRequest("Authorization request", { method: "GET", url: url.href, headers: [["Accept", "text/html"]] }),
    meanings([...url.searchParams], PARAMETERS));
  if (button) work.append(button);
}

function authorize() {
  known.state = randomText();
  known.nonce = randomText();
  showAuthorize(open("authorize"), el("div", {},
    el("p", { class: "hint" }, "Sign in as ", el("code", {}, "alice@example.test"), " with ", el("code", {}, "correct-horse-battery"), "; you come back here."),
    press("Go and sign in", leaveForSignIn)));
}

function leaveForSignIn() {
  const { metadata, discovery, verifier, challenge, state, nonce } = known;
  keep({ kind: "sign-in", metadata, discovery, verifier, challenge, state, nonce });
  location.assign(authorizationUrl());
}

/** For a code that was too old: the same again, with a verifier of its own. */
async function anotherCode() {
  await makeVerifier();
  known.state = randomText();
  known.nonce = randomText();
  leaveForSignIn();
}

/** Shows again what was done before the login page. */
async function showPast() {
  const fill = (id, ...children) => {
    const section = document.getElementById(id);
    section.querySelector(".inside").hidden = false;
    section.querySelector(".work").append(...children);
  };
  fill("discovery",
    shownRequest("Discovery", get(new URL("/.well-known/openid-configuration", location.origin).href)),
    shownAnswer(known.discovery));
  fill("pkce", showVerifier(await sha256(known.verifier)));
  document.querySelector("#authorize .inside").hidden = false;
  showAuthorize(document.querySelector("#authorize .work"));
}

async function callback(kept, url) {
  Object.assign(known, kept);
  await showPast();
  const work = open("callback");
  const answer = url.searchParams;
  const results = [
    [answer.get("state") === known.state, "state is the one that this tab made"],
    [answer.get("iss") === known.metadata.issuer, `iss is ${known.metadata.issuer}`],
  ];
  work.append(
    el("div", { class: "request" },
      el("div", { class: "bar" }, el("h3", {}, "The redirect that led here")),
      el("pre", { class: "wire", tabindex: "0", role: "region", "aria-label": "The redirect that led here" },
        el("code", {}, `HTTP/1.1 303 See Other\nLocation: ${url.href}`))),
    checks(results));
  document.querySelector("#callback").scrollIntoView();
  if (results.some(([good]) => !good)) {
    work.append(beginAgain("This is no answer to what this tab asked. Nothing else of it is looked at."));
    return;
  }
  if (answer.has("error")) {
    const text = answer.get("error") === "access_denied"
      ? "You refused, and the application is told just that: access_denied."
      : `The issuer answered ${answer.get("error")}: ${answer.get("error_description") ?? "no more is said"}`;
    work.append(beginAgain(text));
    return;
  }
  known.code = answer.get("code");
  known.codeUntil = Date.now() + 60_000;
  work.append(el("p", { class: "hint" }, "The address bar no longer shows the code: it would lie in the history."));
  token();
}

/** Counts the life of the code down; quietly, because it is of no use to hear every second. */
function countdown() {
  const element = el("p", { class: "hint" });
  const tick = () => {
    const left = Math.ceil((known.codeUntil - Date.now()) / 1000);
    if (known.tokens) element.remove();
    else element.textContent = left > 0 ? `The code is good for ${left} more seconds.` : "The code is too old by now. Send it and see.";
    if (!known.tokens && left > 0) setTimeout(tick, 1000);
  };
  tick();
  return element;
}

function token() {
  const work = open("token");
  const fields = {
    grant_type: "authorization_code",
    client_id: CLIENT_ID,
    redirect_uri: HERE,
    code: known.code,
  };
  const endpoint = known.metadata.token_endpoint;
  const wrong = exchange({
    title: "With a wrong verifier",
    request: post(endpoint, { ...fields, code_verifier: randomText() }),
    button: "See it refused",
    second: true,
    then: (answer) => {
      const refused = answer.status === 400 && answer.json?.error === "invalid_grant";
      wrong.element.append(note(
        refused ? "Refused. The code is still good: a stranger's attempt does not spoil it." : "This was not expected.",
        refused ? "good" : "bad"));
    },
  });
  const right = exchange({
    title: "Token request",
    request: post(endpoint, { ...fields, code_verifier: known.verifier }),
    button: "Send it",
    then: (answer) => {
      if (answer.status !== 200) {
        right.element.append(
          note("The code is too old, or was used before. Nothing is lost: the login session remembers you.", "bad"),
          press("Get another code", anotherCode));
        return;
      }
      known.tokens = answer.json;
      known.verifier = known.code = undefined;
      tokens();
    },
  });
  work.append(countdown(), wrong.element, right.element);
}

function showToken(title, { parts, header, claims }) {
  return el("article", { class: "token" },
    el("h3", {}, title),
    el("pre", { class: "wire jwt", tabindex: "0", role: "region", "aria-label": `${title}, encoded` }, el("code", {},
      el("span", { class: "jwt-header" }, parts[0]), ".",
      el("span", { class: "jwt-claims" }, parts[1]), ".",
      el("span", { class: "jwt-signature" }, parts[2]))),
    el("h4", { class: "jwt-header" }, "Header"),
    meanings(Object.entries(header), HEADER),
    el("h4", { class: "jwt-claims" }, "Claims"),
    meanings(Object.entries(claims), CLAIMS));
}

function tokens() {
  const work = open("tokens");
  const idToken = takeApart(known.tokens.id_token);
  const accessToken = takeApart(known.tokens.access_token);
  const keys = exchange({
    title: "The keys of the issuer",
    request: get(known.metadata.jwks_uri),
    button: "Get the keys and verify",
    then: async ({ status, json }) => {
      if (status !== 200) return;
      work.append(el("h3", {}, "ID token"), checks(await idTokenChecks(idToken, accessToken, json)));
      work.append(el("h3", {}, "Access token"), checks(await accessTokenChecks(accessToken, json)));
      work.append(tampering(accessToken, json));
      userinfo();
    },
  });
  work.append(showToken("ID token", idToken), showToken("Access token", accessToken), keys.element);
}

async function idTokenChecks({ header, claims, ...rest }, accessToken, keySet) {
  const now = Date.now() / 1000;
  return [
    [await signatureIsGood({ header, ...rest }, keySet), `signature is by key ${header.kid}`],
    [claims.iss === known.metadata.issuer, "iss is the issuer"],
    [[claims.aud].flat().includes(CLIENT_ID), `aud is ${CLIENT_ID}: this application`],
    [claims.nonce === known.nonce, "nonce is the one of the request"],
    [claims.exp > now, `exp is not over: ${Math.round((claims.exp - now))} s are left`],
    [claims.at_hash === await accessTokenHash(accessToken.token, header.alg), "at_hash fits the access token"],
  ];
}

async function accessTokenChecks(token, keySet) {
  const now = Date.now() / 1000;
  return [
    [await signatureIsGood(token, keySet), `signature is by key ${token.header.kid}`],
    [token.header.typ === "at+jwt", "typ is at+jwt: an access token, and not an ID token"],
    [token.claims.iss === known.metadata.issuer, "iss is the issuer"],
    [token.claims.exp > now, "exp is not over"],
  ];
}

/** Changes one claim and verifies again. */
function tampering(token, keySet) {
  const place = el("div", {}, press("Change a claim and verify again", async () => {
    const claims = { ...token.claims, scope: `${token.claims.scope} admin` };
    const parts = [token.parts[0], base64url(new TextEncoder().encode(JSON.stringify(claims))), token.parts[2]];
    const good = await signatureIsGood({ ...token, parts }, keySet);
    place.replaceChildren(
      checks([[good, "signature with “admin” added to scope"]]),
      note(good ? "This was not expected." : "One word more in scope, and the signature no longer fits.", good ? "bad" : "good"));
    announce(good ? "Verified, which was not expected." : "The changed token is refused.");
  }, "secondary"));
  return place;
}

function userinfo() {
  const work = open("userinfo");
  work.append(exchange({
    title: "Userinfo",
    request: get(known.metadata.userinfo_endpoint, known.tokens.access_token),
    button: "Send it",
    then: ({ status, json }) => {
      if (status === 200) {
        const same = json.sub === takeApart(known.tokens.id_token).claims.sub;
        work.append(checks([[same, "sub is the one of the ID token"]]));
      } else {
        work.append(note("The access token is over: five minutes have passed. The next step brings another.", "bad"));
      }
      refresh();
    },
  }).element);
}

function refreshRequest(refreshToken) {
  return post(known.metadata.token_endpoint, {
    grant_type: "refresh_token",
    client_id: CLIENT_ID,
    refresh_token: refreshToken,
  });
}

/** Takes the tokens of an answer; the ID token of before stays when there is no new one. */
function takeTokens(json) {
  known.tokens = { ...known.tokens, ...json };
}

function refresh() {
  const work = open("refresh");
  const before = known.tokens;
  work.append(exchange({
    title: "Refresh",
    request: refreshRequest(before.refresh_token),
    button: "Send it",
    then: ({ status, json }) => {
      if (status !== 200) {
        work.append(beginAgain("The refresh token was refused: this sign-in has ended."));
        return;
      }
      takeTokens(json);
      work.append(checks([
        [json.access_token !== before.access_token, "another access token"],
        [json.refresh_token !== before.refresh_token, "another refresh token; the old one is used up"],
      ]));
      lost();
    },
  }).element);
}

function lost() {
  const work = open("lost");
  const request = refreshRequest(known.tokens.refresh_token);
  known.old = known.tokens.refresh_token;
  const first = exchange({ title: "Refresh, and its answer gets lost", request });
  const again = exchange({ title: "The same once more", request });
  const button = press("Send it, and at once again", async ({ currentTarget }) => {
    currentTarget.disabled = true;
    const { answer: one } = await first.run();
    const { answer: two, shown } = await again.run();
    if (one.status !== 200 || two.status !== 200) {
      currentTarget.disabled = false;
      if ([one, two].some(({ status }) => status === 0 || status >= 500)) return;
      work.append(beginAgain("Refused: more than ten seconds lay between the two, or this sign-in has ended."));
      button.remove();
      return;
    }
    button.remove();
    shown.querySelector(".status").focus({ preventScroll: true });
    takeTokens(two.json);
    work.append(checks([
      [one.json.refresh_token === two.json.refresh_token, "both answers have the same refresh token"],
      [one.json.access_token !== two.json.access_token, "each has an access token of its own"],
    ]));
    reuse();
  });
  work.append(first.element, button, again.element);
}

function reuse() {
  const work = open("reuse");
  const say = ({ element }, answer, expected, good, bad) => element.append(note(
    answer.status === expected ? good : bad, answer.status === expected ? "good" : "bad"));
  const steps = [
    {
      title: "The new access token is used",
      request: get(known.metadata.userinfo_endpoint, known.tokens.access_token),
      button: "Use it",
      expected: 200,
      good: "The new tokens are in use: from now on the old refresh token has no excuse.",
      bad: "The access token is no longer good. More than ten seconds have passed, so the old refresh token has no excuse either way.",
    },
    {
      title: "The old refresh token comes back",
      request: refreshRequest(known.old),
      button: "Send the old one",
      expected: 400,
      good: "invalid_grant, and not for this token alone: the whole sign-in is revoked.",
      bad: "This was not expected.",
    },
    {
      title: "The new access token, which worked a moment ago",
      request: get(known.metadata.userinfo_endpoint, known.tokens.access_token),
      button: "Try it",
      expected: 401,
      good: "Dead, although its exp is not over: the origin has struck it off its list. APIs that ask nobody see it in the status list within five seconds.",
      bad: "This was not expected.",
    },
    {
      title: "The newest refresh token",
      request: refreshRequest(known.tokens.refresh_token),
      button: "Try it",
      expected: 400,
      good: "Dead, too. Thief and owner both have nothing; the owner signs in again.",
      bad: "This was not expected.",
    },
  ];
  const next = () => {
    const step = steps.shift();
    if (!step) {
      logout();
      return;
    }
    const one = exchange({
      ...step,
      then: (answer) => {
        say(one, answer, step.expected, step.good, step.bad);
        next();
      },
    });
    work.append(one.element);
  };
  next();
}

function logout() {
  const work = open("logout");
  const url = new URL(known.metadata.end_session_endpoint);
  const state = randomText();
  url.search = new URLSearchParams({
    id_token_hint: known.tokens.id_token,
    client_id: CLIENT_ID,
    post_logout_redirect_uri: HERE,
    state,
  });
  work.append(
    shownRequest("Logout", { method: "GET", url: url.href, headers: [["Accept", "text/html"]] }),
    meanings([...url.searchParams], LOGOUT_PARAMETERS),
    press("Sign out", () => {
      keep({ kind: "sign-out", state });
      location.assign(url);
    }));
}

function signedOut(kept, url) {
  const work = open("logout");
  document.querySelector("#logout").dataset.state = "done";
  work.append(
    checks([
      [url.searchParams.get("state") === kept.state, "state came back unchanged"],
      [sessionStorage.length === 0 && !document.cookie, "nothing is left in this tab: no token, no cookie that it can read"],
    ]),
    note("You are signed out. The next sign-in asks for the password."),
    press("Begin again", () => location.assign(HERE)));
  document.querySelector("#logout").scrollIntoView();
}

function begin() {
  for (const section of sections) section.querySelector("h2").tabIndex = -1;
  const url = new URL(location.href);
  const kept = takeKept();
  if (url.search) history.replaceState(null, "", HERE);
  const isAnswer = url.searchParams.has("code") || url.searchParams.has("error");
  if (isAnswer && kept?.kind === "sign-in") return callback(kept, url);
  if (kept?.kind === "sign-out" && url.searchParams.has("state")) return signedOut(kept, url);
  discovery();
  if (isAnswer) {
    document.querySelector(".opening").append(note("Somebody sent this page an answer that this tab never asked for. It was thrown away.", "bad"));
  }
}

// A page that the browser kept as it was on the way to the login page would show old things.
addEventListener("pageshow", ({ persisted }) => persisted && location.reload());

await begin();
