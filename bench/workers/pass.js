// The least that a worker in JavaScript does to pass a request on. It checks nothing.
export default {
  async fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    const response = await fetch(env.UPSTREAM + pathname + search, {
      method: request.method,
      headers: new Headers(request.headers),
      body: request.body,
      redirect: "manual",
    });
    return new Response(response.body, {
      status: response.status,
      headers: new Headers(response.headers),
    });
  },
};
