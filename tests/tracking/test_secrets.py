"""Secrets in a diff: each named pattern withheld, everything else as it was."""

import pytest

from simclr_lab.tracking.secrets import PATTERNS, secret_in, without_secrets

# Assembled from parts, so that this file itself holds nothing that looks like a secret.
SECRETS = {
    "AWS access key": "key = AKIA" + "IOSFODNN7EXAMPLE",
    "AWS secret key": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "a1B2c3D4" * 3,
    "Slack token": "xoxb-" + "123456789012-abcdef",
    "Google key": "AIza" + "a1B2c3D" * 5,
    "Hugging Face token": "hf_" + "aBcDeF" * 6,
    "key of an AI service": "sk-" + "a1B2c3D4" * 4,
    "JSON web token": "eyJ" + "hbGciOiJIUzI1" + ".eyJ" + "zdWIiOiIxMjM0" + ".c2lnbmF0dXJl",
    "password in an address": "postgresql://lab:" + "hunter2@db/optuna",
    "named secret": 'password = "' + 'correct-horse"',
}

INNOCENT = [
    "password: str,",
    "token = make_token()",
    "secret = None",
    "    token=token,",
    "learning_rate = 0.3",
    "see https://example.org/a:b for more",
    "tokens = [1, 2, 3]",
    "task-specific-heads-and-projections",
]


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_has_a_line_that_it_withholds(name: str) -> None:
    line = f"+{SECRETS[name]}\n"
    assert secret_in(line) is not None
    diff = f" before\n{line}-after\n"
    kept = without_secrets(diff)
    assert SECRETS[name] not in kept
    assert kept.startswith(" before\n+[withheld: ")
    assert kept.endswith("]\n-after\n")


def test_names_of_patterns_are_told() -> None:
    assert {name: secret_in(text) for name, text in SECRETS.items()} == {n: n for n in PATTERNS}


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(f"+{text}\n") == f"+{text}\n"


def test_a_private_key_is_withheld_to_its_end() -> None:
    begin, end = "-----BEGIN RSA " + "PRIVATE KEY-----", "-----END RSA " + "PRIVATE KEY-----"
    diff = f"+x\n+{begin}\n+MIIEow\n+AAAA\n+{end}\n+y\n"
    notice = "+[withheld: private key]\n"
    assert without_secrets(diff) == f"+x\n{notice * 4}+y\n"
    cut = f"+{begin}\n+MIIEow\n@@ -1 +1 @@\n+y\n"
    assert without_secrets(cut) == f"{notice * 2}@@ -1 +1 @@\n+y\n"
