/** For pages with `definePageMeta({ middleware: "auth" })`: whoever is not signed in signs in first. */
export default defineNuxtRouteMiddleware((to) => {
  const { signedIn, login } = useAuth();
  if (!signedIn.value) return login(to.fullPath);
});
