"""What looks like a secret in an environment variable, which Azure stores and shows in plain text.

The settings refuse it, and so does the pack, which sees also what comes from elsewhere. A name alone says little
(TOKENIZER_PATH, SORT_KEY, KEY_VAULT_URL), so that its last word and the value are looked at together; some values are
secrets under any name. Standard library only: the pack has an environment of its own.
"""

import math
import re
from collections import Counter

PASSWORD = re.compile(r"pass|pwd|passphrase|secret|\w*(password|passwd)s?")
KEY = re.compile(r"key|\w*(api|access|account)key|token|credentials?|sas")
VALUES = {
    "a connection string with its key": (
        r"(?i)(^|;)\s*(AccountKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)\s*=\s*[^;\s]"
    ),
    "a shared access signature": r"(?i)(^|[?&;\s])sig=[\w%+/-]{20,}",
    "a URL with a password": r"\w+://[^/@\s:]*:[^/@\s]+@",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token": (
        r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."
        r"|(?<![\w-])(gh[pousr]_|github_pat_|glpat-|hf_|xox[abp]-|AKIA|sk-(?=[\w-]*\d))[\w-]{16,}"
    ),
}
# What says where a secret is: https://learn.microsoft.com/azure/machine-learning/concept-secret-injection
REFERENCE = re.compile(r"\$\{\{.*\}\}|@Microsoft\.KeyVault\(.*\)|\w+://\S*|\.{0,2}/\S*(?<!=)|[A-Za-z]:\\\S*")
PLAIN = re.compile(r"(?i)true|false|yes|no|on|off|none|null|\d{0,6}|[<\[{].*[>\]}]")
GUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# So many characters in one go, each of so many bits, are nothing that a person thought of.
LONG = re.compile(r"[A-Za-z0-9+=]{16,}")
RANDOM_BITS = 3.0


def looks_secret(name: str, value: str) -> str | None:
    """What kind of secret it looks like; None where it does not."""
    kinds = (what for what, pattern in VALUES.items() if re.search(pattern, value))
    if found := next(kinds, None):
        return found
    if REFERENCE.fullmatch(value) or PLAIN.fullmatch(value):
        return None
    last = _last_word(name)
    if PASSWORD.fullmatch(last):
        return "a password"
    return "a key or a token" if KEY.fullmatch(last) and _is_random(value) else None


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
