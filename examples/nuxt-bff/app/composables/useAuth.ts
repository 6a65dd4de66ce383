/**
 * Who is signed in, and the way in and out.
 *
 * The tokens are the server's: nothing here has them, and there is nothing to renew here.
 */
export function useAuth() {
  const session = useState<VisibleSession | null>("session", () => null);
  const user = computed<User | null>(() => session.value?.user ?? null);
  const signedIn = computed(() => user.value !== null);

  /** Asks the server again: another tab may have signed in or out. */
  async function refresh(): Promise<void> {
    const answer = await $fetch<{ session: VisibleSession | null }>("/api/session");
    session.value = answer.session;
  }

  /** Leaves for Cadence; afterwards the browser is at `returnTo`, a path of this site. */
  function login(returnTo: string = useRoute().fullPath) {
    const query = new URLSearchParams({ return_to: returnTo });
    return navigateTo(`/auth/login?${query}`, { external: true });
  }

  /** Signs out here and at Cadence. A form and not a fetch, because the answer leads to Cadence. */
  function logout(): void {
    const form = document.createElement("form");
    form.method = "post";
    form.action = "/auth/logout";
    document.body.append(form);
    form.submit();
  }

  return { session, user, signedIn, refresh, login, logout };
}
