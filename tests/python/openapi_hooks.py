"""What PyPI's `schemathesis` needs to know to get further than the refusals: who is calling.

Loaded by the end-to-end test `openapi::oauth_10_what_is_served_is_what_the_document_says`;
MARQUE_TEST_SVID is an agent's JWT-SVID.
"""

import os

import schemathesis

SVID = os.environ["MARQUE_TEST_SVID"]
FORM = "application/x-www-form-urlencoded"


@schemathesis.auth().apply_to(path_regex="/v1/")
class Agent:
    """The intents API takes the SVID as a bearer."""

    def get(self, case, context) -> str:
        return SVID

    def set(self, case, data, context) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, **kwargs) -> None:
    """The token service takes it in the form, where the specification has no scheme for it."""
    form = case.body
    if case.media_type != FORM or not isinstance(form, dict):
        return
    for name in ("client_assertion", "subject_token"):
        if isinstance(form.get(name), str) and form[name]:
            form[name] = SVID
