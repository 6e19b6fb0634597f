"""Mistakes and failures that Local Azure reports in one sentence, without a traceback."""


class LocalAzureError(Exception):
    """What went wrong, with which value, and the way out: the text is printed as it is."""


class NotRunning(LocalAzureError):
    """A command needs the daemon and there is none."""


class StartFailed(LocalAzureError):
    """The daemon, or a process it needs, did not come up; the text carries the log's last lines."""


class SettingsInvalid(LocalAzureError):
    """`settings.json` or a `LOCALAZURE_*` variable holds a key or a value that is not known."""


class ToolMissing(LocalAzureError):
    """A program that Local Azure runs is not installed."""


class UnknownName(LocalAzureError, LookupError):
    """No endpoint, deployment or storage account of that name."""


class TokenRefused(LocalAzureError):
    """A bearer token that this Local Azure did not issue, or not for this audience, or that is no longer valid."""
