"""The environment of a foreign program: a list of what passes, so that no secret of ours reaches it.

A list of what must not pass cannot be complete: secrets stand in DB_PASS, MY_JWT, SENTRY_DSN and in names
that no list foresees.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from echat_eval.clients.keys import remember_secrets_of
from echat_eval.errors import remember_secret

__all__ = ["PASSED", "PASSED_PREFIXES", "ProgramEnvironment", "kept_values", "program_environment"]

#: Variables that every program gets.
PASSED = frozenset(
    [
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "TERM", "TZ", "LANG", "LANGUAGE"),
        *("TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
        *("VIRTUAL_ENV", "JAVA_HOME", "NODE_PATH", "GPU_DEVICE_ORDINAL", "NLTK_DATA", "MODELSCOPE_CACHE"),
        *("HF_HOME", "HF_ENDPOINT", "HUGGINGFACE_HUB_CACHE", "SENTENCE_TRANSFORMERS_HOME"),
        *("TOKENIZERS_PARALLELISM", "NO_COLOR", "FORCE_COLOR", "ECHAT_EVAL_CACHE"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    ]
)
#: Beginnings of further names that pass, unless a name looks like that of a secret.
PASSED_PREFIXES = (
    *("LC_", "PYTHON", "CONDA_", "SLURM_"),
    *("CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "NCCL_", "HIP_", "HSA_", "ROCR_", "ROCM_"),
    *("TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_", "TF_", "XLA_", "JAX_", "VLLM_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "VECLIB_", "BLIS_"),
    *("HF_HUB_", "HF_DATASETS_", "TRANSFORMERS_"),
)
_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE|PRIVATE|JWT|SIGNATURE|BEARER|DSN|WEBHOOK|CONNECTION",
    re.IGNORECASE,
)
#: A password inside a URL, as in the address of a proxy.
_SECRET_VALUE = re.compile(r"://[^/\s@]*:[^/\s@]+@")
#: Variables of every shell and session, which no program needs.
_SESSION = re.compile(
    r"_|PWD|OLDPWD|SHLVL|PS[1-4]|MAIL|EDITOR|PAGER|LS_COLORS|DISPLAY|COLUMNS|LINES|(?:SSH|XDG|DBUS|TMUX)_?.*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEnvironment:
    """The environment of one program.

    Attributes:
        variables: name -> value of what it gets.
        withheld: names of the variables that it does not get, without those of every session.
    """

    variables: Mapping[str, str]
    withheld: Collection[str]

    def missed(self, output: str) -> list[str]:
        """Return the withheld variables that a program which failed names in the end of its stderr."""
        return [name for name in sorted(self.withheld) if re.search(rf"\b{re.escape(name)}\b", output)]

    def hint(self, output: str) -> str:
        """Return the hint for a program that failed, with a semicolon before it; "" if there is none.

        Args:
            output: the end of its stderr, which may name a variable that it misses.
        """
        if named := self.missed(output):
            are = "is set and not" if len(named) == 1 else "are set and not"
            return f"; {', '.join(named)} {are} passed on: --set keep_env={','.join(named)} passes it on"
        if self.withheld:
            return "; it gets few environment variables: --set keep_env=NAME passes on one that it needs"
        return ""


def program_environment(environment: Mapping[str, str], keep: Iterable[str] = ()) -> ProgramEnvironment:
    """Return what a foreign program gets of an environment.

    Args:
        keep: names of further variables; "AWS_*" names all that begin with AWS_. Their secrets are
            scrubbed from all texts from then on.

    >>> given = {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0", "DB_PASS": "x", "HF_TOKEN": "t", "_": "/bin/sh"}
    >>> made = program_environment(given, keep=["HF_TOKEN"])
    >>> sorted(made.variables), sorted(made.withheld)
    (['CUDA_VISIBLE_DEVICES', 'HF_TOKEN', 'PATH'], ['DB_PASS'])
    """
    keep = tuple(keep)
    variables = {}
    for name, value in environment.items():
        if _is_kept(name, keep):
            variables[name] = value
            _remember(name, value)
        elif _passes(name, value):
            variables[name] = value
    withheld = {name for name in environment if name not in variables and not _SESSION.fullmatch(name)}
    return ProgramEnvironment(variables=variables, withheld=frozenset(withheld))


def kept_values(environment: Mapping[str, str], keep: Iterable[str]) -> dict[str, str]:
    """Return the kept variables whose values may determine the replies: those that hold no secret.

    A new key of a service answers like the old one, so it must not make every request be sent again.

    >>> kept_values({"TEMPERATURE": "0.7", "HF_TOKEN": "t", "PATH": "/bin"}, ["TEMPERATURE", "HF_TOKEN"])
    {'TEMPERATURE': '0.7'}
    """
    keep = tuple(keep)
    return {
        name: value
        for name, value in sorted(environment.items())
        if _is_kept(name, keep) and not _SECRET_NAME.search(name) and not _SECRET_VALUE.search(value)
    }


def _is_kept(name: str, keep: Iterable[str]) -> bool:
    return any(name == kept or (kept.endswith("*") and name.startswith(kept[:-1])) for kept in keep)


def _passes(name: str, value: str) -> bool:
    if _SECRET_VALUE.search(value):
        return False
    return name in PASSED or (name.startswith(PASSED_PREFIXES) and _SECRET_NAME.search(name) is None)


def _remember(name: str, value: str) -> None:
    if _SECRET_NAME.search(name):
        remember_secret(value)
    if _SECRET_VALUE.search(value):
        remember_secrets_of(value)
