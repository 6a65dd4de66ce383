export default defineNuxtConfig({
  compatibilityDate: "2026-04-01",
  telemetry: false,
  devtools: { enabled: false },
  css: ["~/assets/style.css"],

  // What fits one machine. Each is replaced by an environment variable when the server starts:
  // NUXT_ISSUER, NUXT_CLIENT_ID, NUXT_CLIENT_SECRET, NUXT_SCOPE, NUXT_BASE_URL,
  // NUXT_SESSION_PASSWORD, NUXT_RENEW_BEFORE. `server/plugins/settings.ts` refuses what is unsafe.
  // Nothing is under `public`: the browser needs none of it.
  runtimeConfig: {
    issuer: "http://localhost:8787",
    clientId: "demo-web",
    clientSecret: "demo-web-secret",
    scope: "openid profile email offline_access notes:read notes:write",
    baseUrl: "http://localhost:3000",
    sessionPassword: "development-only-session-password",
    renewBefore: 30,
  },

  // Style sheets are files, so that the pages need no exception for inline style in their CSP.
  features: { inlineStyles: false },
  app: {
    head: {
      htmlAttrs: { lang: "en" },
      title: "Cadence Notes",
      meta: [
        { name: "color-scheme", content: "light dark" },
        { name: "robots", content: "noindex, nofollow" },
      ],
      link: [{ rel: "icon", type: "image/svg+xml", href: "/favicon.svg" }],
    },
  },
  typescript: { strict: true },
});
