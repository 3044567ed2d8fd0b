"""What a Kubeflow Pipelines server's refusal means for the person who asked."""

import json
import re

from kfp_server_api import ApiException

from components.core.errors import InputError

# As the server writes the right that it looked for.
RIGHT = re.compile(r"Namespace:(?P<namespace>[^,]*),Verb:(?P<verb>[^,]*),.*?Resource:(?P<resource>[^,]*),")
USER = re.compile(r"User '(?P<user>[^']*)'")
# A server's name of a thing that people call something else.
CALLED = {"jobs": "jobs (schedules)"}


def explain_refusal(error: ApiException) -> InputError:
    """The refusal in words, without the server's JSON: what is missing and what to do."""
    message = _message(error)
    if right := RIGHT.search(message):
        return InputError(_missing_right(message, **right.groupdict()))
    if error.status == 401 or "Unauthenticated" in message:
        return InputError(
            "the server does not know who asks (401): pass --token-file with a token for the audience "
            "pipelines.kubeflow.org, or --cookie-file; if you do, it may have expired"
        )
    if error.status == 403:
        return InputError(
            "the server knows who asks and refuses (403): have its administrator give you rights on "
            "pipelines, experiments, runs and jobs in the namespace, or name another --namespace"
        )
    reason = message.rsplit(": ", 1)[-1].strip()[:300] or error.reason
    if error.status == 404:
        return InputError(f"the server does not know this (404): {reason}")
    if error.status == 409:
        return InputError(
            f"the server has something of that name already (409): {reason}. Take another --name"
        )
    if (error.status or 0) >= 500:
        return InputError(f"the server failed ({error.status}): {reason}. Try again; its own log says more")
    return InputError(f"the server refused the request ({error.status}): {reason}")


def _missing_right(message: str, namespace: str, verb: str, resource: str) -> str:
    user = USER.search(message)
    who = f"{user['user']!r}" if user else "this user"
    return (
        f"{who} may not {verb} {CALLED.get(resource, resource)} in the namespace {namespace!r}. Have a role "
        f"there with the verb {verb!r} on {resource!r} of pipelines.kubeflow.org bound to this user, as in "
        "manifests/base/service-account.yaml, or name another --namespace"
    )


def _message(error: ApiException) -> str:
    try:
        body = json.loads(error.body or "")
    except (TypeError, ValueError):
        return ""
    if not isinstance(body, dict):
        return ""
    texts = (body.get(key) for key in ("message", "error_details", "error_message", "error"))
    return next((text for text in texts if isinstance(text, str) and text), "")
