"""GitHub's REST API, as far as the workflows need it: comments, issues, pull requests and deployments.

`python -m tools.github deployed ENVIRONMENT` prints the commit that was deployed there last, as an output of a step.
Standard library only: a job that only talks to GitHub need not set up anything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from tools.words import cut, quiet

Item = dict[str, Any]
PAGE = 100
TIMEOUT = 30.0
# GitHub's own limit of a comment and of an issue, in characters.
LONGEST = 65_536
RIGHTS = "see that the job has the `permissions:` that it needs"


class GitHubError(Exception):
    """GitHub refused; the message says what, its answer, and the way out."""


class GitHub:
    """A repository, by the token of the job. Reads the variables that GitHub gives each step."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not environ.get(name)]
        if missing:
            raise GitHubError(
                f"{' and '.join(missing)} not set: this runs in a workflow, with `env:` naming the token."
            )
        self.repository = environ["GITHUB_REPOSITORY"]
        self._token = environ["GITHUB_TOKEN"]
        self._api = environ.get("GITHUB_API_URL") or "https://api.github.com"

    # pull requests

    def pull_requests(self, owner: str, branch: str, commit: str) -> list[int]:
        """The open pull requests of a branch, also one of a fork, whose latest commit this is."""
        query = urlencode({"state": "open", "head": f"{owner}:{branch}"})
        return [each["number"] for each in self._pages(f"pulls?{query}") if each["head"]["sha"] == commit]

    def comment(self, number: int, marker: str, text: str) -> None:
        """Writes the comment with a marker, in place of the one that is there."""
        body = {"body": whole(marker, text)}
        for each in self._pages(f"issues/{number}/comments?"):
            if _is_ours(each, marker):
                self._ask("PATCH", f"issues/comments/{each['id']}", body)
                return
        self._ask("POST", f"issues/{number}/comments", body)

    # issues

    def issue(self, marker: str) -> Item | None:
        """The open issue with a marker."""
        query = urlencode({"state": "open", "sort": "created", "direction": "asc"})
        issues = (each for each in self._pages(f"issues?{query}") if "pull_request" not in each)
        return next((each for each in issues if _is_ours(each, marker)), None)

    def open_issue(self, marker: str, title: str, text: str) -> int:
        """Opens the issue with a marker, or brings the one that is open up to date; returns its number."""
        body = {"title": title, "body": whole(marker, text)}
        if (found := self.issue(marker)) is None:
            return self._ask("POST", "issues", body)["number"]
        if found["title"] != title or found["body"] != body["body"]:
            self._ask("PATCH", f"issues/{found['number']}", body)
        return found["number"]

    def close_issue(self, marker: str, text: str) -> int | None:
        """Closes the issue with a marker, saying why; returns its number, or None where none was open."""
        if (found := self.issue(marker)) is None:
            return None
        self._ask("POST", f"issues/{found['number']}/comments", {"body": text})
        self._ask("PATCH", f"issues/{found['number']}", {"state": "closed", "state_reason": "completed"})
        return found["number"]

    # deployments

    def deployed(self, environment: str) -> str | None:
        """The commit that was deployed last, to its end, to an environment; None where none was."""
        for each in self._pages(f"deployments?{urlencode({'environment': environment})}"):
            statuses = self._pages(f"deployments/{each['id']}/statuses?")
            if any(status["state"] == "success" for status in statuses):
                return each["sha"]
        return None

    # the protocol

    def _pages(self, path: str) -> Iterator[Item]:
        page = 1
        while True:
            items = self._ask("GET", f"{path}&per_page={PAGE}&page={page}".replace("?&", "?"))
            yield from items
            if len(items) < PAGE:
                return
            page += 1

    def _ask(self, method: str, path: str, body: Item | None = None) -> Any:
        url = f"{self._api}/repos/{quote(self.repository)}/{path}"
        request = urllib.request.Request(url, method=method, data=json.dumps(body).encode() if body else None)
        request.add_header("Accept", "application/vnd.github+json")
        request.add_header("Authorization", f"Bearer {self._token}")
        request.add_header("X-GitHub-Api-Version", "2022-11-28")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            answer = error.read().decode(errors="replace")[:500]
            way_out = f"; {RIGHTS}" if error.code in (401, 403, 404) else ""
            raise GitHubError(f"{method} {url}: {error.code} {answer}{way_out}.") from None
        except OSError as error:
            raise GitHubError(f"{method} {url}: {error}; try the job again.") from None


def whole(marker: str, text: str) -> str:
    """The text under its marker, as one that calls nobody, cut where GitHub would refuse it."""
    head, remark = f"{marker}\n", "… cut: GitHub takes no more in one text. The whole of it is in the job's summary."
    return head + cut(quiet(text), LONGEST - len(head), remark)


def _is_ours(item: Item, marker: str) -> bool:
    """Whether a bot wrote it with that marker: anybody may write a marker."""
    return str(item.get("body") or "").startswith(marker) and (item.get("user") or {}).get("type") == "Bot"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["deployed"])
    parser.add_argument("environment")
    options = parser.parse_args(arguments)
    try:
        commit = GitHub().deployed(options.environment)
    except GitHubError as error:
        print(error, file=sys.stderr)
        return 1
    if commit is None:
        print(f"Nothing has been deployed to {options.environment} yet.", file=sys.stderr)
    print(f"commit={commit or ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
