import { defineConfig, type Plugin, type ProxyOptions } from "vite";

/** Where Cadence answers. */
const ISSUER = "http://localhost:8787";
/** Where Vite's development server answers. */
const HERE = "http://localhost:5173";

/**
 * Hands a path on to Cadence so that the browser sees one site, this one.
 *
 * `Origin` is rewritten for requests of this very page alone: whoever else asks stays recognizable
 * and is refused by Cadence. Redirects to Cadence lead back through this server, so that a sign-in
 * that began here ends here.
 */
const cadence: ProxyOptions = {
  target: ISSUER,
  changeOrigin: true,
  configure: (proxy) => {
    proxy.on("proxyReq", (request) => {
      if (request.getHeader("origin") === HERE) request.setHeader("origin", ISSUER);
    });
    proxy.on("proxyRes", (response) => {
      const { location } = response.headers;
      if (location?.startsWith(`${ISSUER}/`)) response.headers.location = HERE + location.slice(ISSUER.length);
    });
  },
};

/** Leads from the redirect URI that `demo-spa` has registered for this server to the page. */
const callback: Plugin = {
  name: "callback",
  configureServer: ({ middlewares }) => {
    middlewares.use((request, response, next) => {
      if (!request.url?.startsWith("/callback?")) return next();
      response.writeHead(303, { location: request.url.replace("/callback", "/spa/public.html") }).end();
    });
  },
};

export default defineConfig({
  base: "/spa/",
  plugins: [callback],
  build: {
    // Nothing inline: the Content-Security-Policy allows files of this site alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ["index.html", "public.html"] },
  },
  server: {
    // By this name alone: the cookies are those of localhost.
    host: "localhost",
    port: 5173,
    strictPort: true,
    proxy: Object.fromEntries(
      ["/bff", "/oauth2", "/api", "/.well-known", "/account"].map((path) => [path, cadence]),
    ),
  },
});
