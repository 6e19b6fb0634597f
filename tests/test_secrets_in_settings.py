"""Layer: the stack configuration; what is taken for a secret in an environment variable, and what is not."""

import json
from typing import Any

import pytest

from policies.secret_looks import looks_secret
from settings import SettingsError, parse

# Made up, of the forms that such values have.
HEX = "9f86d081884c7d659a2feaa0c55ad015"
BASE64 = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0dW1vciJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("DB_PASSWORD", "hunter2", "a password"),
        ("dbPassword", "correct horse", "a password"),
        ("CLIENT_SECRET", "abc~DEF.ghi", "a password"),
        ("DB_PWD_2", "hunter2", "a password"),
        ("DB_PASS", "hunter2", "a password"),
        ("PGPASSWORD", "hunter2", "a password"),
        ("MYSQL_ROOT_PASSWORDS", "hunter2", "a password"),
        ("AZURE_OPENAI_KEY", HEX, "a key or a token"),
        ("COSMOS_KEY", BASE64, "a key or a token"),
        ("COSMOS_KEY", f"/{BASE64[1:]}", "a key or a token"),
        ("SPEECH_KEY", HEX, "a key or a token"),
        ("OPENAI_APIKEY", HEX, "a key or a token"),
        ("API_KEY", HEX, "a key or a token"),
        ("apiKey", BASE64, "a key or a token"),
        ("SERVICE_TOKEN", f"v1-{HEX}", "a key or a token"),
        ("STORAGE", f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={BASE64}", "a connection string"),
        ("BUS", f"Endpoint=sb://a.example.com/;SharedAccessKeyName=k;SharedAccessKey={BASE64}", "a connection string"),
        ("DATABASE", "Server=a;User Id=b;Password=c1d2", "a connection string"),
        ("INBOX", f"https://a.example.com/inbox?sv=2024-01-01&sig={HEX}%3D", "a shared access signature"),
        ("PROXY", "http://user:hunter2@proxy.example.com:3128", "a URL with a password"),
        ("CERTIFICATE", "-----BEGIN RSA PRIVATE KEY-----\nabc", "a private key"),
        ("HEADER", f"Bearer {JWT}", "a token"),
        ("HUB", "hf_" + HEX, "a token"),
        ("PIP_ARGS", f"--token ghp_{HEX}", "a token"),
        ("MODEL_API", "sk-" + HEX, "a token"),
    ],
)
def test_what_looks_like_a_secret_is_refused_without_being_shown(name: str, value: str, what: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(stack({name: value}))
    (finding,) = error.value.findings
    assert finding.startswith(f"onlineEndpoints.tumor.deployments.blue.environmentVariables.{name}: looks like {what}")
    assert "keep it in a key vault" in finding
    assert value not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZER_PATH", f"models/{HEX}"),
        ("KEYBOARD", "qwertzuiopasdfgh123"),
        ("KEY_VAULT_URL", "https://kv-tumor.vault.azure.net/"),
        ("SECRET_NAME", "tumor-api"),
        ("API_KEY", "https://kv-tumor.vault.azure.net/secrets/api-key"),
        ("API_KEY", "${{azureml://connections/hub/credentials/key}}"),
        ("DB_PASSWORD", "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/db)"),
        ("DB_PASSWORD", "/mnt/secrets/db"),
        ("DB_PASSWORD", ""),
        ("USE_SECRET", "true"),
        ("PWD", "/var/app"),
        ("PAD_TOKEN", "<pad>"),
        ("EOS_TOKEN", "[SEP]"),
        ("MAX_TOKENS", "4096"),
        ("SORT_KEY", "customer_segment_identifier"),
        ("CACHE_KEY", "resnet50-imagenet-v2-final"),
        ("PARTITION_KEY", "tumors/2026/01/02"),
        ("PARTITION_KEY", "/tumors/year=2026/month=01"),
        ("INSTRUMENTATION_KEY", "10ca1a2e-0000-4000-8000-000000000001"),
        ("MODEL_DIGEST", HEX),
        ("COMMIT", HEX + "d0c1"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "InstrumentationKey=10ca1a2e-0000-4000-8000-000000000001"),
        ("ENDPOINT", "https://tumor.example.com/score?signature=none&design=blue"),
        ("PROXY", "http://proxy.example.com:3128"),
        ("TASK", "sk-learn"),
        ("TASK", "sk-learn-gradient-boosting"),
        ("TOKEN_TYPE", "bearer"),
        ("SECRETS_BACKEND", "keyvault"),
        ("PASSWORD_FILE", "/run/secrets/password"),
        ("API_KEY_SECRET_NAME", "api-key"),
        ("COMPASS", "north"),
        ("MAX_NEW_TOKENS", "512"),
    ],
)
def test_what_only_sounds_like_a_secret_is_taken(name: str, value: str) -> None:
    assert looks_secret(name, value) is None


@pytest.mark.parametrize(
    "deployment",
    [
        {"environmentVariables": {"DB_PASSWORD": 12345678}},
        {"environmentVariables": "DB_PASSWORD=12345678"},
        [{"environmentVariables": {"DB_PASSWORD": "12345678"}}],
    ],
)
def test_a_value_of_the_wrong_type_is_not_shown_either(deployment: Any) -> None:
    with pytest.raises(SettingsError) as error:
        parse(stack({}) | {"onlineEndpoints": {"tumor": {"deployments": {"blue": deployment}}}})
    assert "12345678" not in str(error.value)
    assert "a value that is not shown" in str(error.value)


def test_a_number_is_to_be_put_in_quotes() -> None:
    with pytest.raises(SettingsError) as error:
        parse(stack({"WORKERS": 4}))
    (finding,) = error.value.findings
    assert finding.endswith("put it in quotes.")


def stack(variables: dict[str, Any]) -> dict[str, Any]:
    blue = {"model": "azureml:tumor:3", "instanceType": "Standard_DS3_v2", "environmentVariables": variables}
    return json.loads(
        json.dumps(
            {
                "azure-native:location": "eastus",
                "nameSuffix": "",
                "workspace": {"name": "aml-test"},
                "onlineEndpoints": {"tumor": {"deployments": {"blue": blue}}},
            }
        )
    )
