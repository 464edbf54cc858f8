"""`tally redis-users`: the users that the services are to have in Redis, with what each may do."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote_plus

import typer

from tally.cli.output import discard_output
from tally.keys import NAMESPACE_PATTERN
from tally.redis_location import redis_url
from tally.redis_urls import url_problem
from tally.runtime import EXIT_FAILURE, EXIT_USAGE, fail, load_or_exit
from tally.store.user_loading import load_users
from tally.store.users import ADMIN, REPLICA, acl_file, names_with

#: In the folder of a user.
PASSWORD_FILE, URL_FILE = "password", "url"

#: Options of a URL that say as whom to log in.
_LOGIN_OPTIONS = ("username", "password")

#: Behind the name of a file that is not yet whole.
_PARTIAL = ".partial"


def redis_users(
    namespace: Annotated[
        str | None, typer.Option(help="The namespace whose keys they may use. Default: TALLY_NAMESPACE.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMESPACE",
            help="Another namespace in this Redis, whose services have users of their own: `NAMESPACE-ingestor` and so "
            "on. May be given more than once.",
        ),
    ] = None,
    passwords: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where each user has a folder with its `password`, and the services the `url` for "
            "TALLY_REDIS_URL_FILE. What is missing is made, readable for nobody else.",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Where Redis is, for these URLs, without user and password. Default: TALLY_REDIS_URL."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to this file, which is replaced as a whole.")
    ] = None,
    load: Annotated[
        bool,
        typer.Option(
            "--load", help="Then have the Redis of this URL read its `aclfile` again, as `admin`, if it runs already."
        ),
    ] = False,
) -> None:
    """Print the users for Redis' `aclfile`: one a service, which may do only what that does, and `admin`.

    Without `--passwords` each line has a word in the place of the password's hash that Redis refuses.
    """
    settings = load_or_exit(log_level="warning")
    namespace = settings.namespace if namespace is None else namespace
    others = list(dict.fromkeys(also or ()))
    for option, name in (("namespace", namespace), *(("also", other) for other in others)):
        if not NAMESPACE_PATTERN.fullmatch(name):
            fail(f"--{option} {name}: right is 1 to 32 of a-z, 0-9, _ and -", code=EXIT_USAGE)
    if namespace in others:
        fail(f"--also {namespace}: that is the namespace of the users without one in their names", code=EXIT_USAGE)
    where = redis_url(settings) if url is None else url
    if (problem := url_problem(where)) is not None:
        fail(f"--url: {problem}", code=EXIT_USAGE)
    if load and (passwords is None or output is None):
        fail("--load needs --passwords and --output: what Redis reads, and how it is told", code=EXIT_USAGE)
    try:
        known = None if passwords is None else _passwords_in(passwords, where, names_with(others))
        text = acl_file(namespace=namespace, also=others, passwords=known)
        if output is None:
            typer.echo(text, nl=False)
        else:
            _write(output, text, mode=0o644)  # hashes of passwords that nobody can guess
    except OSError as error:
        discard_output()
        fail(f"cannot use {_named(error) or 'the output'}: {error.strerror}", code=EXIT_FAILURE)
    if load and known is not None:
        as_admin = _with_login(where, ADMIN, known[ADMIN])
        for sentence in asyncio.run(load_users(as_admin, tls=settings.redis_tls)):
            typer.echo(f"tally: {sentence}", err=True)


def _named(error: OSError) -> str:
    return str(error.filename or "").removesuffix(_PARTIAL)


def _passwords_in(folder: Path, url: str, names: Iterable[str]) -> dict[str, str]:
    """Return each user's password, made where there is none; write the URL of each that connects as a client."""
    found = {}
    for name in names:
        of_user = folder / name
        of_user.mkdir(mode=0o700, parents=True, exist_ok=True)
        found[name] = password = _password_in(of_user / PASSWORD_FILE)
        if name != REPLICA:
            _write(of_user / URL_FILE, _with_login(url, name, password) + "\n", mode=0o600)
    return found


def _password_in(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip("\r\n")
    except FileNotFoundError:
        text = secrets.token_urlsafe(32)
        _write(path, text + "\n", mode=0o600)
    except UnicodeDecodeError:
        fail(f"{path}: it is not a password in UTF-8", code=EXIT_FAILURE)
    if not text or any(character.isspace() for character in text):
        fail(f"{path}: a password is not empty, and has no white space in it", code=EXIT_FAILURE)
    return text


def _with_login(url: str, user: str, password: str) -> str:
    """Return a URL with this user in the place of whoever is named in it, also as an option: that one would win."""
    scheme, mark, rest = url.partition("://")
    where, _, query = rest.partition("?")
    authority, slash, path = where.partition("/")
    others = [each for each in query.split("&") if each and unquote_plus(each.partition("=")[0]) not in _LOGIN_OPTIONS]
    login = f"{user}:{quote(password, safe='')}@{authority.rpartition('@')[2]}"
    return f"{scheme}{mark}{login}{slash}{path}{'?' if others else ''}{'&'.join(others)}"


def _write(path: Path, text: str, *, mode: int) -> None:
    """Replace a file as a whole, unless it holds this already: a crash leaves the old one or the new one."""
    with suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    partial = path.with_name(path.name + _PARTIAL)
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
