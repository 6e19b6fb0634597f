"""What looks like a secret in an environment variable, which Azure stores and shows in plain text.

A name alone says little (TOKENIZER_PATH, SORT_KEY, KEY_VAULT_URL), so that its last word and the value are looked at
together; some values are secrets under any name. No value is ever shown.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from settings.shapes import key_path

PASSWORDS = {"password", "passwd", "pwd", "passphrase", "secret"}
KEYS = {"key", "apikey", "accesskey", "accountkey", "token", "credential", "credentials", "sas"}
VALUES = {
    "a connection string with its key": r"(?i)(^|;)\s*(AccountKey|SharedAccessKey|Password|Pwd)\s*=\s*[^;\s]",
    "a shared access signature": r"(?i)(^|[?&;\s])sig=[\w%+/-]{20,}",
    "a URL with a password": r"\w+://[^/@\s:]*:[^/@\s]+@",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|^(ghp_|gho_|github_pat_|glpat-|hf_|xox[abp]-|AKIA|sk-)[\w-]{16,}$",
}
# What says where a secret is: https://learn.microsoft.com/azure/machine-learning/concept-secret-injection
REFERENCE = re.compile(r"\$\{\{.*\}\}|@Microsoft\.KeyVault\(.*\)|\w+://\S*|\.{0,2}/\S*|[A-Za-z]:\\\S*")
PLAIN = re.compile(r"(?i)true|false|yes|no|on|off|none|null|\d{0,6}|[<\[{].*[>\]}]")
GUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# So many characters in one go, each of so many bits, are nothing that a person thought of.
LONG = re.compile(r"[A-Za-z0-9+=]{16,}")
RANDOM_BITS = 3.0

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


def looks_secret(name: str, value: str) -> str | None:
    """What kind of secret it looks like; None where it does not."""
    kinds = (what for what, pattern in VALUES.items() if re.search(pattern, value))
    if found := next(kinds, None):
        return found
    if REFERENCE.fullmatch(value) or PLAIN.fullmatch(value):
        return None
    last = _last_word(name)
    if last in PASSWORDS:
        return "a password"
    return "a key or a token" if last in KEYS and _is_random(value) else None


def _last_word(name: str) -> str:
    """The last word of DB_PASSWORD, dbPassword or DB_PASSWORD_2, in lower case."""
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    words = [word for word in re.split(r"[^A-Za-z]+", parted) if word]
    return words[-1].lower() if words else ""


def _is_random(value: str) -> bool:
    if GUID.fullmatch(value):
        return False
    runs = LONG.findall(value)
    return any(re.search(r"\d", run) and re.search(r"[A-Za-z]", run) and _bits(run) >= RANDOM_BITS for run in runs)


def _bits(text: str) -> float:
    """How much a character of a text says, in bits."""
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)
