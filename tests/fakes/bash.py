"""Names that an app's variables may have, though bash, which `bootstrap` is written in, uses them too."""

from __future__ import annotations

import re

from .process import CHECKOUT

# What bash does something with, and what is no name of a variable for it.
OF_BASH = {
    **dict.fromkeys(("_", "PWD", "OLDPWD", "SHLVL", "IFS", "OPTIND", "OPTERR", "OPTARG", "PS1", "PS2", "PS4"), "mine"),
    **dict.fromkeys(("LINENO", "RANDOM", "SRANDOM", "SECONDS", "EPOCHREALTIME", "EPOCHSECONDS", "HISTCMD"), "mine"),
    **dict.fromkeys(("UID", "EUID", "PPID", "GROUPS", "DIRSTACK", "FUNCNAME", "REPLY", "HOSTNAME", "TMOUT"), "mine"),
    **dict.fromkeys(
        ("BASH", "BASHPID", "BASHOPTS", "SHELLOPTS", "BASH_VERSION", "BASH_SUBSHELL", "BASH_ARGV0"), "mine"
    ),
    **dict.fromkeys(
        ("BASH_COMMAND", "GLOBIGNORE", "EXECIGNORE", "COMP_WORDBREAKS", "POSIXLY_CORRECT", "CDPATH", "ENV"), "mine"
    ),
    "BASH_ENV": "/no/such/file",
    "BASH_FUNC_exec%%": "() { echo exec is not what it was; }",
    "BASH_FUNC_main%%": "() { echo main neither; }",
    "a.b-c": "mine",
    "-i": "mine",
    "LINES_AND_BLANKS": "one\n two  \t'three' $four `five`",
    "EMPTY": "",
    "NOT_UTF_8": "caf\udce9",
}

# Those that bash keeps for itself cannot be given back on Lambda, where one more exec would cost a start its time.
KEPT_BY_BASH = {"_", "PPID", "BASHPID", "BASHOPTS", "SHELLOPTS"}


def own_names() -> set[str]:
    """The names that `bootstrap` gives to variables."""
    return set(re.findall(r"\b_[a-z]+\b", (CHECKOUT / "bootstrap").read_text()))
