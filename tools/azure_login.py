"""Keeps the Azure CLI logged in while a job of GitHub's lasts: `python -m tools.azure_login`, in the background.

The assertion of GitHub's by which azure/login logs the CLI in lives for 10 minutes, and the CLI goes on to ask with it
for each new token (AADSTS700024, https://github.com/Azure/login/issues/372). Pulumi asks the CLI for its state and for
the key of its secrets, until the end of an update that may take an hour. So the CLI is logged in anew every few
minutes, until GitHub gives no more assertions: then the job is over. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.parse import quote

AUDIENCE = "api://AzureADTokenExchange"
EVERY = 240.0
# After a failure: early enough for another attempt within the life of the last assertion.
SOON = 30.0
TIMEOUT = 60.0
VARIABLES = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


class JobIsOver(Exception):
    """GitHub gives no assertions any more."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--tenant-id", required=True)
    parser.add_argument("--every", type=float, default=EVERY, help="seconds between two logins")
    options = parser.parse_args(arguments)
    if missing := [name for name in VARIABLES if not os.environ.get(name)]:
        print(f"{' and '.join(missing)} not set: the job needs `permissions: id-token: write`.", file=sys.stderr)
        return 1
    try:
        while True:
            time.sleep(options.every if _renewed(options.client_id, options.tenant_id) else min(SOON, options.every))
    except JobIsOver:
        return 0


def _renewed(client: str, tenant: str) -> bool:
    """Logs in; whether that went well. Raises `JobIsOver`."""
    try:
        log_in(client, tenant, assertion(os.environ))
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        # Not the error of a command as a whole: that would name the assertion.
        print(f"The login was not renewed: {getattr(error, 'stderr', None) or type(error).__name__}", flush=True)
        return False
    print("The login is renewed.", flush=True)
    return True


def assertion(environ: Mapping[str, str]) -> str:
    """A new assertion of GitHub's of which job this is. Raises `JobIsOver`."""
    url, token = (environ[name] for name in VARIABLES)
    request = urllib.request.Request(f"{url}&audience={quote(AUDIENCE, safe='')}")
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise JobIsOver from None
        raise


def log_in(client: str, tenant: str, assertion: str) -> None:
    command = ["az", "login", "--service-principal", "--username", client, "--tenant", tenant]
    own = ["--federated-token", assertion, "--allow-no-subscriptions", "--output", "none"]
    subprocess.run([*command, *own], check=True, capture_output=True, text=True, timeout=TIMEOUT)


if __name__ == "__main__":
    sys.exit(main())
