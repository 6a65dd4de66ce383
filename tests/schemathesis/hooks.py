"""Who schemathesis is: the demo clients, and Alice."""

import requests
import schemathesis

RESOURCES = r"^/(oauth2/userinfo|api/.*)$"
CLIENTS = r"^/oauth2/(token|revoke|introspect)$"


@schemathesis.auth().apply_to(path_regex=RESOURCES)
class AccessToken:
    """An access token of Alice's, by the password grant. It lives longer than a run."""

    def get(self, case, context):
        form = {
            "grant_type": "password",
            "username": "alice@example.test",
            "password": "correct-horse-battery",
            "scope": "openid profile email",
        }
        answer = requests.post(
            f"{case.operation.base_url}/oauth2/token".replace("//oauth2", "/oauth2"),
            data=form,
            auth=("demo-cli", "demo-cli-secret"),
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json()["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth().apply_to(path_regex=CLIENTS)
class Client:
    """The demo client with a secret."""

    def get(self, case, context):
        return "Basic ZGVtby13ZWI6ZGVtby13ZWItc2VjcmV0"

    def set(self, case, data, context):
        case.headers["Authorization"] = data


@schemathesis.hook
def map_body(context, body):
    """A made-up client in the form would contradict the one in the header, each time."""
    if isinstance(body, dict):
        for name in ("client_id", "client_secret"):
            body.pop(name, None)
    return body
