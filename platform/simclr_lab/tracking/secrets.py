"""Secrets in a diff: lines that look like one are withheld before the diff is recorded.

A net with named meshes, not a proof: who keeps secrets in tracked files uses ``--no-diff``.
"""

import re

PATTERNS = {
    "AWS access key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    "AWS secret key": r"(?i)aws.{0,20}secret.{0,20}[=:]\s*[\"']?[A-Za-z0-9/+=]{40}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "key of an AI service": r"\bsk-[A-Za-z0-9_-]{20,}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}",
    "password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@",
    "named secret": (
        r"(?i)(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
        r"|credentials?)[\"']?\s*[:=]\s*(?:[\"'][^\"'\s]{6,}[\"']|[^\s\"'(){}\[\],]{12,}\s*$)"
    ),
}
_MESHES = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
_BLOCK_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----")
_BLOCK_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY( BLOCK)?-----|^(?:diff --git|@@) ")


def without_secrets(diff: str) -> str:
    """The same lines, a notice in place of each that looks like a secret.

    A notice keeps the line's mark (+, - or space), so that the diff still reads as one.
    """
    kept, in_block = [], False
    for line in diff.splitlines(keepends=True):
        name = secret_in(line)
        if in_block:
            ends = _BLOCK_ENDS.search(line)
            in_block, name = not ends, None if ends and line[0] in "d@" else "private key"
        elif _BLOCK_BEGINS.search(line):
            in_block, name = not re.search("-----END ", line), "private key"
        kept.append(f"{line[:1]}[withheld: {name}]\n" if name else line)
    return "".join(kept)


def secret_in(line: str) -> str | None:
    """The name of the first pattern that the line holds."""
    return next((name for name, mesh in _MESHES.items() if mesh.search(line)), None)
