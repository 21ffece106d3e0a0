"""Keeps secrets out of what is printed and out of manifests: by the name of a variable, or by the look of a value."""

import re

_NAME = re.compile(r'(^|_)(token|secret|password|passwd|passphrase|credentials?|api_?key|access_?key|private_?key|auth)(_|$)', re.I)
# Hugging Face, GitHub, Google, OpenAI and Anthropic, AWS, Slack, PEM, JWT
_VALUE = re.compile(r'hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AIza[\w-]{30,}|ya29\.[\w.-]{10,}'
                    r'|sk-[\w-]{16,}|AKIA[A-Z0-9]{12,}|xox[abp]-[\w-]{10,}|-----BEGIN [A-Z ]*PRIVATE KEY-----'
                    r'|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)')


def looks_secret(name: str, value: str = '') -> bool:
    """HF_TOKEN, WANDB_API_KEY by name, 'hf_...' by value; MAX_TOKENS and TOKENIZER are none."""
    return bool(_NAME.search(name) or _VALUE.search(value))


def redact(text: str) -> str:
    """Text with what looks like a secret replaced by ***."""
    return _VALUE.sub('***', text)


def refuse(pairs: dict[str, str], what: str) -> None:
    """Raises ValueError for the first pair that looks like a secret, without its value."""
    for name, value in pairs.items():
        if looks_secret(name, value):
            raise ValueError(f'{what} {name} looks like a secret, and would stand readable in commands and manifests: give the '
                             'machine a service account, or the cluster a Secret, and leave it out here.')
