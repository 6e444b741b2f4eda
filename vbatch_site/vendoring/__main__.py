"""Fetch the kit from the npm registry into `static/vendor/`: `make vendor`.

    python -m vbatch_site.vendoring [--registry URL]

Run by developers when `kit.lock.json` has changed; the results are committed, so that neither
installing nor serving needs Node or the network.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import sys
import tarfile
import urllib.request
import xml.etree.ElementTree as ET

from vbatch_site.vendoring.kit import SPRITE, Package, read_lock

REGISTRY = "https://registry.npmjs.org"
TIMEOUT_S = 120
SVG = "{http://www.w3.org/2000/svg}"
# A map that is not there would break the hashed names of static files.
_SOURCE_MAP = re.compile(rb"\n?/[/*]# sourceMappingURL=[^\n]*\s*\Z")
_MIT = """\
The MIT License (MIT)

{copyright}

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in
all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN
THE SOFTWARE.
"""


def fetch(package: Package, registry: str) -> tarfile.TarFile:
    """Download a package and check it against the lockfile."""
    base = package.name.rpartition("/")[2]
    url = f"{registry.rstrip('/')}/{package.name}/-/{base}-{package.version}.tgz"
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        data = answer.read()
    algorithm, _, expected = package.integrity.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    if found != expected:
        sys.exit(f"{package.name}: the checksum is {algorithm}-{found}, not {package.integrity}")
    return tarfile.open(fileobj=io.BytesIO(data), mode="r:gz")


def member(archive: tarfile.TarFile, path: str) -> bytes:
    file = archive.extractfile(f"package/{path}")
    if file is None:
        sys.exit(f"{path} is not a file of the package")
    return file.read()


def take_files(package: Package, archive: tarfile.TarFile) -> None:
    package.target.mkdir(parents=True, exist_ok=True)
    for taken in package.files:
        content = _SOURCE_MAP.sub(b"\n", member(archive, taken.source))
        digest = hashlib.sha256(content).hexdigest()
        if digest != taken.sha256:
            sys.exit(f"{taken.source}: the SHA-256 is {digest}, not {taken.sha256}")
        (package.target / taken.target).write_bytes(content)
    licence = _MIT.format(copyright="\n".join(package.copyright))
    (package.target / "LICENSE").write_text(licence, encoding="utf-8")


def symbol(name: str, svg: bytes) -> str:
    """Return an icon as a symbol of the sprite, with nothing but its lines in it."""
    lines = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        if path.get("stroke") == "none" and path.get("fill") == "none":
            continue  # the bounding box that every icon carries
        lines.append(f'<path d="{path.get("d")}"/>')
    identity = name.rpartition("/")[2]
    return f'<symbol id="i-{identity}" viewBox="0 0 24 24">{"".join(lines)}</symbol>'


def make_sprite(package: Package, archive: tarfile.TarFile) -> None:
    symbols = [symbol(i, member(archive, f"icons/{i}.svg")) for i in sorted(package.icons)]
    origin = f"{package.name} {package.version}, MIT; written by `make vendor`"
    SPRITE.write_text(
        f"{{# {origin} #}}\n"
        '<svg xmlns="http://www.w3.org/2000/svg" hidden aria-hidden="true">\n'
        + "\n".join(symbols)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vbatch_site.vendoring", description=__doc__)
    parser.add_argument("--registry", default=REGISTRY, help="an npm registry (%(default)s)")
    registry = parser.parse_args().registry
    for package in read_lock():
        with fetch(package, registry) as archive:
            take_files(package, archive)
            if package.icons:
                make_sprite(package, archive)
        print(f"{package.name} {package.version}: {package.target}")


if __name__ == "__main__":
    main()
