"""No secret in an environment variable, where it would be stored and shown in plain text. No value is ever shown."""

from collections.abc import Iterator, Mapping

# One detector for the settings and the policy pack, so that they never disagree.
from policies.secret_looks import looks_secret
from settings.shapes import key_path

Findings = Iterator[str]


def secret_findings(path: str, variables: Mapping[str, str]) -> Findings:
    """A finding for each environment variable that looks like a secret."""
    for name, value in variables.items():
        if what := looks_secret(name, value):
            yield (
                f"{key_path(path, 'environmentVariables', name)}: looks like {what}, which would be stored and shown "
                "in plain text, in the stack's state and in Azure; take it out, keep it in a key vault, and let the "
                "scoring script read it there with the endpoint's identity."
            )
