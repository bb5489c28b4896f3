"""Histories of a small repository, at random: commits as people make them, good and bad."""

import hashlib
import random
import re
from collections.abc import Iterator

from reconciler.source.files import Snapshot, SourceFile

Files = dict[str, list[str]]  # path -> documents
HEAD = "apiVersion: reconciler/v1alpha1\nkind: "
HOSTS, NETWORKS = 5, 4


def host(number: int, more: str = "") -> str:
    return (
        f"{HEAD}Host\nmetadata: {{name: h{number}, labels: {{zone: z{number % 2}}}}}\n"
        f"spec: {{underlay: 172.31.0.{number + 1}{more}}}\n"
    )


def network(number: int, more: str = "") -> str:
    tenant = number % 2
    return (
        f"{HEAD}Network\nmetadata: {{name: n{number}, namespace: t{tenant}}}\n"
        f"spec: {{vpc: main, cidrs: [10.0.{number}.0/27, '2001:db8:{number:x}::/64']{more}}}\n"
    )


def vpc(tenant: int) -> str:
    return (
        f"{HEAD}VPC\nmetadata: {{name: main, namespace: t{tenant}}}\n"
        f"spec: {{vni: {tenant + 7}, cidrs: [10.0.0.0/8, '2001:db8::/32']}}\n"
    )


class History:
    """`snapshots` gives one commit after the other; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.next = 0
        self.files: Files = {
            "hosts.yaml": [host(number) for number in range(HOSTS)],
            "vpcs.yaml": [vpc(0), vpc(1)],
            "net/works.yaml": [network(number) for number in range(NETWORKS)],
            "a.yaml": [self.endpoint() for _ in range(4)],
            "b.yml": [self.endpoint() for _ in range(3)],
        }
        self.past: list[Files] = []

    def endpoint(self, name: int | None = None) -> str:
        draw = self.random
        if name is None:
            name, self.next = self.next, self.next + 1
        number, slot = draw.randrange(NETWORKS), 2 + name % 28
        if draw.random() < 0.05:
            slot = draw.randrange(0, 34)  # outside, reserved, or somebody else's
        addresses = [f"10.0.{number}.{slot}", f"'2001:db8:{number:x}::{slot + 1:x}'"]
        attach = draw.choices(
            [
                "",
                ", attach: {host: true}",
                f", attach: {{interface: tap{name % 3}}}",
                ", attach: {veth: {netns: shared}}",
                f", attach: {{veth: {{netns: t{number % 2}.e{name + 1}}}}}",
            ],
            [40, 1, 2, 1, 1],
        )[0]
        mac = draw.choices(["", ", mac: 02:00:00:00:01:01"], [30, 1])[0]
        where = "nowhere" if draw.random() < 0.02 else f"h{draw.randrange(HOSTS)}"
        return (
            f"{HEAD}Endpoint\nmetadata: {{name: e{name}, namespace: t{number % 2}, "
            f"labels: {{app: a{draw.randrange(3)}}}}}\nspec: {{network: n{number}, host: {where}, "
            f"addresses: [{', '.join(addresses[: draw.randint(1, 2)])}]{mac}{attach}}}\n"
        )

    def snapshots(self, count: int) -> Iterator[Snapshot]:
        for number in range(count):
            self.past.append({path: list(each) for path, each in self.files.items()})
            yield snapshot(f"{number:040x}", self.files)
            for _ in range(self.random.randint(1, 3)):
                self.change()

    def change(self) -> None:
        kinds = [
            (self.add, 6), (self.edit, 6), (self.delete, 3), (self.move, 2), (self.rename, 2),
            (self.split, 1), (self.merge, 1), (self.revert, 2), (self.break_one, 1),
            (self.repeat, 1), (self.remark, 1), (self.change_few, 2),
        ]  # fmt: skip
        self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()
        self.files = {path: each for path, each in self.files.items() if each}

    def _path(self) -> str:
        own = ("hosts.yaml", "vpcs.yaml", "net/works.yaml")
        return self.random.choice([path for path in self.files if path not in own] or ["a.yaml"])

    def _documents(self, path: str) -> list[str]:
        return self.files.setdefault(path, [])

    def _pick(self) -> tuple[list[str], int] | None:
        documents = self._documents(self._path())
        return (documents, self.random.randrange(len(documents))) if documents else None

    def add(self) -> None:
        documents = self._documents(self._path())
        documents.insert(self.random.randint(0, len(documents)), self.endpoint())

    def edit(self) -> None:
        picked = self._pick()
        found = re.search(r"name: e(\d+), ", picked[0][picked[1]]) if picked else None
        if picked and found:
            picked[0][picked[1]] = self.endpoint(int(found[1]))

    def delete(self) -> None:
        if picked := self._pick():
            del picked[0][picked[1]]

    def move(self) -> None:
        if picked := self._pick():
            self._documents(self._path()).append(picked[0].pop(picked[1]))

    def rename(self) -> None:
        path = self._path()
        documents = self.files.pop(path, [])
        folder = self.random.choice(["", "x/", "y/"])
        self._documents(f"{folder}{self.random.randrange(9)}.yaml").extend(documents)

    def split(self) -> None:
        documents = self._documents(self._path())
        half = len(documents) // 2
        self._documents(f"split-{self.random.randrange(9)}.yaml").extend(documents[half:])
        del documents[half:]

    def merge(self) -> None:
        one, other = self._path(), self._path()
        if one != other:
            self._documents(one).extend(self.files.pop(other, []))

    def revert(self) -> None:
        past = self.random.choice(self.past)
        self.files = {path: list(each) for path, each in past.items()}

    def break_one(self) -> None:
        garbage = ["kind: [", "kind: Strange\n", f"{HEAD}Endpoint\nmetadata: {{name: e1}}\n"]
        self._documents("broken.yaml").append(self.random.choice(garbage))

    def repeat(self) -> None:
        if picked := self._pick():
            self._documents(self._path()).append(picked[0][picked[1]])

    def remark(self) -> None:
        if picked := self._pick():
            picked[0][picked[1]] = "# a remark\n" + picked[0][picked[1]].removeprefix(
                "# a remark\n"
            )

    def change_few(self) -> None:
        number = self.random.randrange(HOSTS)
        more = self.random.choice(["", ", cordon: true", ", weight: 3", ", bounce: false"])
        counts = self.random.choice(["", ", bouncers: {count: 3}", ", bouncers: {count: 8}"])
        self.files["hosts.yaml"] = [host(n, more if n == number else "") for n in range(HOSTS)]
        if self.random.random() < 0.3:
            self.files["net/works.yaml"] = [network(n, counts) for n in range(NETWORKS)]


def snapshot(commit: str, files: Files) -> Snapshot:
    """As a repository surveys it: bytes only on request."""
    blobs = {}
    found = []
    for path in sorted(files):
        data = "---\n".join(files[path]).encode()
        blob = hashlib.sha1(data).hexdigest()
        blobs[blob] = data
        found.append(SourceFile(path, blob, None, size=len(data)))
    return Snapshot(commit, tuple(found), blobs.__getitem__)
