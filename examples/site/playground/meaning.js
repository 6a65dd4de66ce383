/** What the parameters of an authorization request are for. */
export const PARAMETERS = {
  response_type: "Asks for a code, and not for tokens: nothing of worth stands in a URL.",
  client_id: "Names the application. It is public, and proves nothing.",
  redirect_uri: "Where the answer goes. It must be registered, and is compared character by character.",
  scope: "What the application asks for; the person sees it, and may refuse.",
  state: "A random text that comes back unchanged, so an answer that this page did not ask for is noticed.",
  nonce: "A random text that comes back inside the ID token, which ties that token to this request.",
  code_challenge: "The hash of the verifier. Seeing it does not help to redeem the code.",
  code_challenge_method: "How the challenge came from the verifier: by SHA-256.",
};

/** What the parameters of a logout are for. */
export const LOGOUT_PARAMETERS = {
  id_token_hint: "Whose session ends. With a good one of this session nobody is asked again.",
  client_id: "Which application asks.",
  post_logout_redirect_uri: "Where to go afterwards. It must be registered, too.",
  state: "Comes back unchanged.",
};

/** What the members of a token's header are for. */
export const HEADER = {
  alg: "How it was signed. A verifier goes by the key, not by this.",
  typ: "What kind of token it is, so none is taken for another.",
  kid: "Which key of the key set signed it.",
};

/** What claims mean. */
export const CLAIMS = {
  iss: "Who issued it.",
  sub: "Who it is about: the person's id at this issuer.",
  aud: "Who it is for. Nobody else may accept it.",
  exp: "When it ends.",
  iat: "When it was issued.",
  auth_time: "When the person last typed the password.",
  nonce: "The text from the request: this token is the answer to it.",
  at_hash: "Half of the access token's hash, which ties the two together.",
  sid: "Which login session it belongs to.",
  client_id: "Which application it was issued to.",
  scope: "What its holder may do.",
  jti: "Its own id. The origin keeps a list of those that are good.",
  status: "Its place in the status list, where a revocation shows within seconds.",
  name: "The person's name (scope profile).",
  preferred_username: "The name that the person signs in with (scope profile).",
  email: "The email address (scope email).",
  email_verified: "Whether the address was confirmed.",
  azp: "Which application asked for it.",
  amr: "How the person signed in.",
};

/** Claims that are times, in seconds since 1970. */
export const TIMES = new Set(["exp", "iat", "nbf", "auth_time"]);
