"""Remotes over file, https and ssh, by real servers: who is believed, and what survives."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.source.git import GitSource, Repository, SourceError
from tests.source.repositories import commit, create
from tests.source.servers import Https, Ssh, free_port, https, ssh


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder that servers serve, with one repository in it."""
    create(tmp_path / "served" / "net.git", {"a.yaml": "1"})
    return tmp_path / "served"


def fetched(source: GitSource) -> Repository:
    repository = Repository.open(source)
    repository.fetch()
    return repository


def contents(repository: Repository, revision: str = "") -> dict[str, bytes]:
    snapshot = repository.snapshot(repository.resolve(revision))
    return {file.path: file.data for file in snapshot.files}


def by_file(served: Path, cache: Path, **options: str | bool) -> GitSource:
    return GitSource(f"file://{served}/net.git", cache=cache, **options)  # type: ignore[arg-type]


def update(served: Path, text: str, branch: str = "main") -> str:
    import pygit2

    return commit(pygit2.Repository(str(served / "net.git")), {"a.yaml": text}, branch)


def test_a_remote_by_file_is_fetched_and_watched(served: Path, tmp_path: Path) -> None:
    repository = fetched(by_file(served, tmp_path / "cache"))
    assert repository.is_remote
    assert contents(repository) == {"a.yaml": b"1"}
    assert repository.watch_path() == served / "net.git"


def test_a_copy_that_cannot_be_put_in_place_is_a_problem_of_the_source(
    served: Path, tmp_path: Path
) -> None:
    source = by_file(served, tmp_path / "cache")
    fetched(source)
    (copy,) = (tmp_path / "cache").glob("*.git")
    shutil.rmtree(copy)
    copy.write_text("in the way")
    with pytest.raises(SourceError, match="the copy of") as caught:
        fetched(source)
    assert caught.value.again


def test_a_new_commit_is_seen_after_the_next_fetch(served: Path, tmp_path: Path) -> None:
    repository = fetched(by_file(served, tmp_path / "cache"))
    first = repository.resolve()
    second = update(served, "2")
    assert repository.resolve() == first
    repository.fetch()
    assert repository.resolve() == second
    assert contents(repository, first) == {"a.yaml": b"1"}


def test_before_the_first_fetch_nothing_is_known(served: Path, tmp_path: Path) -> None:
    repository = Repository.open(by_file(served, tmp_path / "cache"))
    with pytest.raises(SourceError, match="has not been fetched yet") as caught:
        repository.resolve()
    assert caught.value.again


def test_a_copy_is_used_again_by_the_next_process(served: Path, tmp_path: Path) -> None:
    fetched(by_file(served, tmp_path / "cache"))
    shutil.rmtree(served)
    assert contents(Repository.open(by_file(served, tmp_path / "cache"))) == {"a.yaml": b"1"}


def test_history_that_was_rewritten_is_followed(served: Path, tmp_path: Path) -> None:
    repository = fetched(by_file(served, tmp_path / "cache"))
    shutil.rmtree(served / "net.git")
    create(served / "net.git", {"a.yaml": "other"})
    repository.fetch()
    assert contents(repository) == {"a.yaml": b"other"}


def test_a_branch_that_is_gone_is_an_error_and_no_empty_commit(
    served: Path, tmp_path: Path
) -> None:
    update(served, "2", "side")
    repository = fetched(by_file(served, tmp_path / "cache", branch="side"))
    assert contents(repository) == {"a.yaml": b"2"}
    subprocess.run(["git", "-C", served / "net.git", "branch", "-q", "-D", "side"], check=True)
    repository.fetch()
    with pytest.raises(SourceError, match="has no branch `side`; it has main"):
        repository.resolve()


def test_a_branch_may_take_the_place_of_a_folder_of_branches(served: Path, tmp_path: Path) -> None:
    update(served, "2", "side")
    fetched(by_file(served, tmp_path / "cache"))
    subprocess.run(["git", "-C", served / "net.git", "branch", "-q", "-D", "side"], check=True)
    update(served, "3", "side/one")
    repository = fetched(by_file(served, tmp_path / "cache", branch="side/one"))
    assert contents(repository) == {"a.yaml": b"3"}


def test_an_empty_remote_is_an_error_until_something_is_pushed(tmp_path: Path) -> None:
    served = tmp_path / "served"
    create(served / "net.git")
    repository = fetched(by_file(served, tmp_path / "cache"))
    with pytest.raises(SourceError, match="has no commit yet"):
        repository.resolve()
    update(served, "1")
    repository.fetch()
    assert contents(repository) == {"a.yaml": b"1"}


def test_a_remote_of_another_user_is_fetched_only_if_it_is_trusted(
    served: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("not on this machine: root, to give a file to another user")
    os.chown(served / "net.git", 4242, 4242)
    with pytest.raises(SourceError, match="belongs to another user"):
        fetched(by_file(served, tmp_path / "cache"))
    trusted = by_file(served, tmp_path / "cache", trusted=True)
    assert contents(fetched(trusted)) == {"a.yaml": b"1"}


def test_copies_of_two_remotes_do_not_mix(served: Path, tmp_path: Path) -> None:
    create(served / "other.git", {"b.yaml": "b"})
    cache = tmp_path / "cache"
    one = fetched(by_file(served, cache))
    other = fetched(GitSource(f"file://{served}/other.git", cache=cache))
    assert contents(one) == {"a.yaml": b"1"}
    assert contents(other) == {"b.yaml": b"b"}


def test_what_a_killed_fetch_left_behind_does_not_stop_the_next(
    served: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    repository = fetched(by_file(served, cache))
    (copy,) = cache.glob("*.git")
    (copy / "refs" / "heads" / "main.lock").touch()
    (copy / "packed-refs.lock").touch()
    (copy / "objects" / "pack" / "pack_git2_abc").write_bytes(b"half")
    update(served, "2")
    repository.fetch()
    assert contents(repository) == {"a.yaml": b"2"}
    assert not list(copy.rglob("*.lock"))
    assert not list(copy.glob("objects/pack/pack_git2_*"))


def test_a_fetch_killed_at_any_moment_is_completed_by_the_next(
    served: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    source = by_file(served, cache)
    program = (
        "import sys; from pathlib import Path; from reconciler.source.git import *\n"
        "repository = Repository.open(GitSource(sys.argv[1], cache=Path(sys.argv[2])))\n"
        "print('ready', flush=True)\n"
        "while True: repository.fetch()"
    )
    for number in range(6):
        text = "#" * 300_000 + str(number)
        update(served, text)
        with subprocess.Popen(
            [sys.executable, "-c", program, source.url, str(cache)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(0.004 * number)
            process.send_signal(signal.SIGKILL)
        assert contents(fetched(source)) == {"a.yaml": text.encode()}


def test_a_copy_of_very_many_fetches_is_made_anew(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.source.remote._MAX_PACKS", 3)
    cache = tmp_path / "cache"
    repository = fetched(by_file(served, cache))
    first = repository.resolve()
    for number in range(8):
        update(served, str(number))
        repository.fetch()
        assert contents(repository) == {"a.yaml": str(number).encode()}
        assert len(list(cache.glob("*.git/objects/pack/*.pack"))) <= 3
    assert contents(repository, first) == {"a.yaml": b"1"}


def test_a_remote_without_a_folder_for_its_copy_is_an_error(served: Path) -> None:
    with pytest.raises(SourceError, match="needs a folder for its copy"):
        Repository.open(GitSource(f"file://{served}/net.git"))


@pytest.mark.parametrize("url", ["https://127.0.0.1:{port}/x.git", "ssh://127.0.0.1:{port}/x.git"])
def test_a_server_that_does_not_answer_is_worth_trying_again(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be fetched") as caught:
        fetched(GitSource(url.format(port=free_port()), cache=tmp_path / "cache"))
    assert caught.value.again


@pytest.fixture
def web(served: Path, tmp_path: Path) -> Iterator[Https]:
    with https(served, tmp_path / "keys") as server:
        yield server


def by_https(web: Https, tmp_path: Path, **options: Path | None) -> GitSource:
    files = {"ca": web.ca, **options}
    return GitSource(web.url("net.git"), cache=tmp_path / "cache", **files)  # type: ignore[arg-type]


def test_https_is_fetched_where_the_authority_is_known(
    served: Path, web: Https, tmp_path: Path
) -> None:
    repository = fetched(by_https(web, tmp_path))
    assert contents(repository) == {"a.yaml": b"1"}
    assert repository.watch_path() is None
    update(served, "2")
    repository.fetch()
    assert contents(repository) == {"a.yaml": b"2"}


def test_https_with_an_unknown_authority_is_refused(web: Https, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="certificate is not valid") as caught:
        fetched(by_https(web, tmp_path, ca=None))
    assert not caught.value.again
    assert not web.requests


@pytest.mark.parametrize("name", ["DNS:other.example.com", "IP:127.0.0.2"])
def test_https_with_a_certificate_for_another_name_is_refused(
    served: Path, tmp_path: Path, name: str
) -> None:
    with https(served, tmp_path / "keys", name) as web:
        with pytest.raises(SourceError, match=r"certificate (is|for)"):
            fetched(by_https(web, tmp_path))
        assert not web.requests


def test_a_token_is_read_from_its_file_and_given_when_asked_for(web: Https, tmp_path: Path) -> None:
    web.token = "agent:geheim"
    token = tmp_path / "token"
    token.write_text("agent:geheim\n")
    repository = fetched(by_https(web, tmp_path, token=token))
    assert contents(repository) == {"a.yaml": b"1"}
    web.token = "agent:neu"
    token.write_text("agent:neu\n")
    repository.fetch()


@pytest.mark.parametrize("text", [None, "", "agent:falsch", "falsch"])
def test_a_wrong_or_missing_token_is_an_error_without_the_token(
    web: Https, tmp_path: Path, text: str | None
) -> None:
    web.token = "agent:geheim"
    token = tmp_path / "token"
    if text is not None:
        token.write_text(text)
    with pytest.raises(SourceError, match=r"refuses us.*check key or token") as caught:
        fetched(by_https(web, tmp_path, token=token))
    assert not caught.value.again
    assert "falsch" not in str(caught.value)
    assert len(web.requests) < 6


def test_a_server_that_fails_is_worth_trying_again(web: Https, tmp_path: Path) -> None:
    repository = fetched(by_https(web, tmp_path))
    web.failing = True
    with pytest.raises(SourceError, match="503") as caught:
        repository.fetch()
    assert caught.value.again
    assert contents(repository) == {"a.yaml": b"1"}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    for program in ("dropbear", "unshare", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"not on this machine: {program}")
    if os.geteuid() != 0:
        pytest.skip("not on this machine: root, for a home of its own")
    with ssh(tmp_path_factory.mktemp("ssh")) as server:
        yield server


def by_ssh(shell: Ssh, served: Path, tmp_path: Path, **options: Path) -> GitSource:
    files = {"ssh_key": shell.key, "known_hosts": shell.known_hosts, **options}
    return GitSource(shell.url(served / "net.git"), cache=tmp_path / "cache", **files)  # type: ignore[arg-type]


def test_ssh_is_fetched_where_the_host_key_is_known(
    shell: Ssh, served: Path, tmp_path: Path
) -> None:
    repository = fetched(by_ssh(shell, served, tmp_path))
    assert contents(repository) == {"a.yaml": b"1"}
    update(served, "2")
    repository.fetch()
    assert contents(repository) == {"a.yaml": b"2"}


def test_ssh_with_an_unknown_host_key_is_refused(shell: Ssh, served: Path, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(SourceError, match=rf"host key is not among.*{empty}") as caught:
        fetched(by_ssh(shell, served, tmp_path, known_hosts=empty))
    assert not caught.value.again


def test_ssh_with_another_host_key_than_the_known_one_is_refused(
    shell: Ssh, served: Path, tmp_path: Path
) -> None:
    host, _, _ = shell.known_hosts.read_text().partition(" ")
    other = tmp_path / "known_hosts"
    key = shell.key.with_suffix(".pub").read_text().split()
    other.write_text(f"{host} {key[0]} {key[1]}\n")
    with pytest.raises(SourceError, match="host key is not among"):
        fetched(by_ssh(shell, served, tmp_path, known_hosts=other))


def test_trust_in_one_host_key_file_is_no_trust_in_the_next_fetch(
    shell: Ssh, served: Path, tmp_path: Path
) -> None:
    fetched(by_ssh(shell, served, tmp_path))
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(SourceError, match="host key is not among"):
        fetched(by_ssh(shell, served, tmp_path, known_hosts=empty))


def test_ssh_with_a_key_that_is_not_welcome_is_refused(
    shell: Ssh, served: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    with pytest.raises(SourceError, match="refuses us") as caught:
        fetched(by_ssh(shell, served, tmp_path, ssh_key=other))
    assert not caught.value.again


def test_a_missing_file_of_known_hosts_is_an_error(
    shell: Ssh, served: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="known hosts"):
        fetched(by_ssh(shell, served, tmp_path, known_hosts=tmp_path / "nowhere"))
