"""Debian 12's own kernel under qemu, with this machine's root as its read-only root.

The kernel package is downloaded once into build/kernel; an initial RAM disk of busybox and the few
modules that are needed mounts the root over 9p below a tmpfs, so that what runs in the guest is the
very checkout under test and nothing that it writes outlives it.
"""

from __future__ import annotations

import fcntl
import lzma
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "kernel"
MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay", "veth", "bridge", "tun", "virtio_net")
SHARE = "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"
NEEDED = ("qemu-system-x86_64", "busybox", "cpio", "depmod", "dpkg")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
{insmod}
mkdir -p /lower /rw /new
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /lower
mount -t tmpfs rw /rw; mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new
for each in proc sys dev; do mount --move /$each /new/$each; done
/bin/busybox mount -t tmpfs run /new/run
/bin/busybox mount -t bpf bpf /new/sys/fs/bpf
/bin/busybox chroot /new /bin/sh -c 'ip link set lo up; cd {root} && {command}'
echo "guest exit code: $?"
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """What a boot left behind."""

    code: int
    console: str


def missing_tools() -> list[str]:
    """Programs that booting needs and this machine lacks."""
    return [each for each in NEEDED if shutil.which(each) is None]


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


def _unpacked() -> Path:
    """The kernel package's files, downloaded and unpacked once."""
    depends = _run("apt-cache", "depends", "linux-image-amd64")
    found = re.search(r"Depends: (linux-image-6\.1\.\S+)", depends)
    if found is None:
        raise AssertionError("apt knows no linux-image-amd64 of Debian 12; run apt-get update")
    target = CACHE / found[1]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests of two files run at once
        _unpack(found[1], target)
    return target


def _unpack(name: str, target: Path) -> None:
    """Unless it is there."""
    if not (target / "boot").is_dir():
        scratch = CACHE / "download"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        _run("apt-get", "-qq", "download", name, cwd=scratch)
        (package,) = scratch.glob("*.deb")
        _run("dpkg", "-x", str(package), str(scratch / "files"))
        (release,) = (scratch / "files" / "lib" / "modules").iterdir()
        _run("depmod", "-b", str(scratch / "files"), release.name)
        (scratch / "files").rename(target)
        shutil.rmtree(scratch)
    if not (target / "vmlinux").is_file():
        (image,) = (target / "boot").glob("vmlinuz-*")
        (target / "vmlinux").write_bytes(_without_its_loader(image.read_bytes()))


def _without_its_loader(image: bytes) -> bytes:
    """The ELF file inside a bzImage of x86: emulated, its unpacking is as long as all the rest."""
    start = image.index(b"\xfd7zXZ\0")
    kernel = lzma.LZMADecompressor().decompress(image[start:])
    assert kernel.startswith(b"\x7fELF")
    return kernel


def _module_files(base: Path) -> list[Path]:
    """The wanted modules after those that they depend on."""
    lines = (base / "modules.dep").read_text().splitlines()
    depends = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    ordered: list[str] = []

    def add(name: str) -> None:
        for each in reversed(depends[name]):
            add(each)
        if name not in ordered:
            ordered.append(name)

    for wanted in MODULES:
        add(next(name for name in depends if Path(name).name.startswith(f"{wanted}.ko")))
    return [base / name for name in ordered]


def boot(
    command: str,
    scratch: Path,
    seconds: int = 600,
    memory: int = 3072,
    cards: Sequence[str] = ("-nic", "none"),
    taps: Sequence[int] = (),
) -> Guest:
    """Boot, run `command` by sh in the checkout, power off; raises TimeoutExpired.

    `cards` are qemu's arguments for network cards, `taps` the open files that they name.
    """
    files = _unpacked()
    (base,) = (files / "lib" / "modules").iterdir()
    modules = _module_files(base)
    for folder in ("bin", "proc", "sys", "dev", "lib"):
        (scratch / folder).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, scratch / "bin" / "busybox")
    for each in modules:
        shutil.copy(each, scratch / "lib" / each.name)
    insmod = "\n".join(f"insmod /lib/{each.name}" for each in modules)
    init = scratch / "init"
    init.write_text(INIT.format(insmod=insmod, root=ROOT, command=command))
    init.chmod(0o755)
    names = "\n".join(str(p.relative_to(scratch)) for p in sorted(scratch.rglob("*")))
    image = scratch.with_suffix(".cpio")
    with image.open("wb") as out:
        subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"],
            input=names.encode(), stdout=out, cwd=scratch, check=True,
        )  # fmt: skip
    done = subprocess.run(
        [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
            "-m", str(memory), "-nographic", "-no-reboot", *cards,
            "-kernel", str(files / "vmlinux"), "-initrd", str(image),
            "-append", "console=ttyS0 quiet panic=-1",
            "-virtfs", SHARE,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        timeout=seconds, check=False, pass_fds=taps,
    )  # fmt: skip
    code = re.search(r"guest exit code: (\d+)", done.stdout)
    return Guest(int(code[1]) if code else -1, done.stdout + done.stderr)
